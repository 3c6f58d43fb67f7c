"""Estimators fitted on every device: NumPy's coefficients, the CPU's, and answers of the caller's kind of array."""

import numpy as np
import pytest
from devices import DTYPES

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression, regression

precisions = pytest.mark.parametrize("dtype", DTYPES)


def hard(classes, rows=14):
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, 3)), rng.integers(0, classes, rows) * 2 + 3


@pytest.mark.parametrize(
    ("estimator", "weighted"),
    [
        (LogisticRegression(), False),
        (LogisticRegression(solver="scaled-lbfgs", class_weight="balanced", fit_intercept=False), True),
        (SoftmaxRegression(solver="scaled-lbfgs", class_weight={3: 2.0}), False),
        (SoftmaxRegression(solver="newton-cg", x_scale=0.5, max_iter=2), True),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:newton-cg failed to converge")
def test_estimators(estimator, weighted, device):
    X, y = hard(2 if isinstance(estimator, LogisticRegression) else 3)
    weight = np.linspace(0, 2, len(y)) if weighted else None
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(device.array(X), device.array(y), None if weight is None else device.array(weight))
    assert type(there.coef_) is np.ndarray and there.n_iter_ == here.n_iter_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(there.classes_, here.classes_)
    device.same(here.predict(device.array(X)), here.predict(X))
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        np.testing.assert_allclose(device.numpy(getattr(here, name)(device.array(X))), getattr(here, name)(X), rtol=1e-12)
    assert here.score(device.array(X), device.array(y)) == here.score(X, y)


@precisions
@pytest.mark.parametrize(
    ("estimator", "weighted"),
    [(LinearRegression(), False), (LinearRegression(l2=0.1, fit_intercept=False), True), (LinearRegression(x_scale=0.5), True)],
    ids=str,
)
def test_linear_regression(estimator, weighted, dtype, device):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(9000, 3)).astype(dtype)  # several blocks
    y = X @ np.array([1.0, -2.0, 3.0]) + rng.normal(size=len(X))
    weight = rng.uniform(size=len(X)) if weighted else None
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(device.array(X), device.array(y), None if weight is None else device.array(weight))
    assert type(there.coef_) is np.ndarray and there.coef_.dtype == here.coef_.dtype and there.rank_ == here.rank_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-12 if dtype == np.float64 else 1e-6)
    np.testing.assert_allclose(there.intercept_, here.intercept_, rtol=1e-10 if dtype == np.float64 else 1e-5)
    assert there.score(device.array(X), device.array(y)) == pytest.approx(here.score(X, y), rel=1e-9)


@pytest.mark.parametrize("estimator", [regression.PoissonRegressor(), regression.GammaRegressor(alpha=0.1), regression.HuberRegressor()], ids=str)
def test_other_losses(estimator, device):
    rng = np.random.default_rng(3)
    X, weight = rng.normal(size=(40, 3)), rng.integers(0, 3, 40).astype(float)
    y = np.exp(X @ [0.5, -0.3, 0.2] + rng.normal(size=40) / 4)
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(device.array(X), device.array(y), device.array(weight))
    assert type(there.coef_) is np.ndarray and there.n_iter_ == here.n_iter_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
    np.testing.assert_allclose(device.numpy(here.predict(device.array(X))), here.predict(X), rtol=1e-12)
    assert here.score(device.array(X), device.array(y)) == pytest.approx(here.score(X, y), rel=1e-12)


def test_linear_regression_of_a_high_condition_is_refined(device):
    x = np.arange(21.0)
    X = x[:, np.newaxis] ** np.arange(1, 6)  # NIST's Wampler5
    y = 1 + X.sum(axis=1) + 1e4 * np.where(np.arange(21) % 2, -1, 1) * np.sin(x)
    here, there = LinearRegression().fit(X, y), LinearRegression().fit(device.array(X), device.array(y))
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-11)


@pytest.mark.parametrize("unit", [1e-200, 1e-6, 1.0, 1e155])
def test_linear_regression_in_any_units(unit, device):
    rng = np.random.default_rng(4)
    levels, z, weight = np.eye(3)[np.arange(90) % 3], rng.normal(size=90), rng.integers(0, 3, 90).astype(float)
    X = np.column_stack([levels, np.full(90, 1.7e9), unit * z, unit * z])
    X[weight == 0] = 1e300  # as if removed
    y = levels @ [1.0, 2.0, 3.0] + 4 * z + 1e6
    there = LinearRegression().fit(device.array(X), device.array(y), device.array(weight))
    assert there.rank_ == 3
    np.testing.assert_allclose(there.coef_ * [1, 1, 1, 1, unit, unit], [-1, 0, 1, 0, 2, 2], atol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
def test_linear_regression_of_several_targets(positive, device):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    here = LinearRegression(positive=positive).fit(X, Y)
    there = LinearRegression(positive=positive).fit(device.array(X), device.array(Y))
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
    np.testing.assert_allclose(device.numpy(there.predict(device.array(X))), here.predict(X), rtol=1e-9)
    assert there.score(device.array(X), device.array(Y)) == pytest.approx(here.score(X, Y), rel=1e-9)


def test_elastic_net(device):
    rng = np.random.default_rng(6)
    X, weight = rng.normal(size=(60, 8)), rng.integers(0, 3, 60).astype(float)
    y = X[:, 0] - 2 * X[:, 1] + rng.normal(size=60)
    for model in (regression.Lasso(0.2, tol=1e-12), regression.ElasticNet(0.2, tol=1e-12, x_scale=2.0)):
        here = type(model)(**model.get_params()).fit(X, y, weight)
        there = model.fit(device.array(X), device.array(y), device.array(weight))
        np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
        assert type(there.coef_) is np.ndarray and (there.coef_ == 0).any()
        np.testing.assert_allclose(device.numpy(there.predict(device.array(X))), here.predict(X), rtol=1e-9)
