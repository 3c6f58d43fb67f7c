"""scikit-learn's own checks of estimators, all of them: `parametrize_with_checks`."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression  # noqa: E402


@parametrize_with_checks(
    [
        LinearRegression(),
        LinearRegression(fit_intercept=False, l2=0.1, x_scale=0.5),
        LogisticRegression(),
        LogisticRegression(solver="newton-cg", fit_intercept=False, class_weight="balanced", tol=1e-6),
        LogisticRegression(C=float("inf"), warm_start=True),
        SoftmaxRegression(),
        SoftmaxRegression(solver="newton-cg", C=0.1, x_scale=2.0),
        SoftmaxRegression(fit_intercept=False, class_weight="balanced", warm_start=True),
    ]
)
def test_sklearn_checks(estimator, check):
    check(estimator)
