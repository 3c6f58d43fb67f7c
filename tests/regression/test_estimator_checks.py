"""scikit-learn's own checks of estimators, all of them: `parametrize_with_checks`."""

import pytest

pytest.importorskip("sklearn")

from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks  # noqa: E402

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression  # noqa: E402
from nbgrad.regression import ElasticNet, GammaRegressor, HuberRegressor, Lasso, PoissonRegressor  # noqa: E402

# No classifier without an intercept among them: check_class_weight_classifiers asks for a prior that then cannot be
# expressed (scikit-learn's LogisticRegression(fit_intercept=False) fails it, too). And none with a large C:
# check_classifiers_train has separable data in float32, where the logarithm of a probability that rounds to 1 is wanted
# to be 0 to 1e-9, and is -3e-9 here, rightly.
ESTIMATORS = [
    LinearRegression(),
    LinearRegression(fit_intercept=False, l2=0.1, x_scale=0.5),
    LinearRegression(positive=True),
    Lasso(alpha=0.1),
    ElasticNet(alpha=0.1, positive=True, selection="random", random_state=0),
    LogisticRegression(),
    LogisticRegression(solver="newton-cg", class_weight="balanced", tol=1e-6),
    LogisticRegression(C=0.5, warm_start=True),
    SoftmaxRegression(),
    SoftmaxRegression(solver="newton-cg", C=0.1, x_scale=2.0),
    SoftmaxRegression(class_weight="balanced", warm_start=True),
    PoissonRegressor(),
    PoissonRegressor(alpha=0.1, solver="lbfgs", warm_start=True),
    GammaRegressor(),
    GammaRegressor(alpha=0.1, solver="scaled-lbfgs", x_scale=0.5),
    HuberRegressor(),
    HuberRegressor(epsilon=2.0, alpha=1.0, fit_intercept=False, warm_start=True),
]


# Some of their data are separable, or take more than 100 iterations: scikit-learn's estimators warn there, too.
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks(ESTIMATORS)
def test_sklearn_checks(estimator, check):
    check(estimator)


def test_there_are_checks():
    """60 a regressor, 64 or 65 a classifier in scikit-learn 1.9; a tag set wrongly would leave some out."""
    assert sum(len(list(estimator_checks_generator(e))) for e in ESTIMATORS) >= 760
