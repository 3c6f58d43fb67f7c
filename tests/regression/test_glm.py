"""Poisson, gamma and Huber regressors: scikit-learn's coefficients, any units, any kind of data, errors."""

import warnings

import numpy as np
import pytest
from scipy import optimize, sparse
from test_without_sklearn import BLOCKED, run

pytest.importorskip("sklearn")

from sklearn import linear_model  # noqa: E402
from sklearn.linear_model._huber import _huber_loss_and_gradient  # noqa: E402

from nbgrad import regression  # noqa: E402
from nbgrad.regression import ConvergenceWarning, GammaRegressor, HuberRegressor, PoissonRegressor  # noqa: E402
from nbgrad.regression.blocks import Blocks  # noqa: E402
from nbgrad.regression.glm.huber_objective import Objective  # noqa: E402
from nbgrad.testing import check_hessp, check_objective  # noqa: E402

KINDS = (PoissonRegressor, GammaRegressor, HuberRegressor)
every = pytest.mark.parametrize("kind", KINDS)
logs = pytest.mark.parametrize("kind", KINDS[:2])
BETA = np.array([0.5, -0.3, 0.2, 0.0])


def drawn(kind, n=400, seed=0):
    """(X, y, weights): a tenth of Huber's are outliers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    s = X @ BETA + 1
    if kind is HuberRegressor:
        y = s + rng.normal(size=n) + np.where(rng.random(n) < 0.1, 30.0, 0.0)
    else:
        y = rng.poisson(np.exp(s)).astype(float) if kind is PoissonRegressor else rng.gamma(2.0, np.exp(s) / 2)
    return X, y, rng.integers(0, 4, n).astype(float)


def close(a, b, rtol=1e-9):
    for x, y in ((a.coef_, b.coef_), (a.intercept_, b.intercept_)):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.abs(b.coef_).max())


@logs
@pytest.mark.parametrize("alpha", [0.0, 1e-3, 1.0, 100.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_scikit_learns_coefficients(kind, alpha, fit_intercept, weighted):
    X, y, weight = drawn(kind)
    options = {"alpha": alpha, "fit_intercept": fit_intercept, "tol": 1e-12}
    theirs = getattr(linear_model, kind.__name__)(solver="newton-cholesky", max_iter=1000, **options)
    theirs.fit(X, y, weight if weighted else None)
    for solver in ("auto", "newton-cg"):
        ours = kind(solver=solver, **options).fit(X, y, weight if weighted else None)
        close(ours, theirs)
        assert ours.score(X, y, weight) == pytest.approx(theirs.score(X, y, weight), rel=1e-9)
        np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-9)


@pytest.mark.parametrize("epsilon", [1.1, 1.35, 3.0])
@pytest.mark.parametrize("alpha", [0.0, 1e-4, 10.0])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_scikit_learns_coefficients_and_scale(epsilon, alpha, fit_intercept, weighted):
    """Its L-BFGS ends where a step changes the value by 2e-9: here it goes on."""
    X, y, weight = drawn(HuberRegressor)
    weight = weight if weighted else np.ones(len(y))
    options = {"epsilon": epsilon, "alpha": alpha, "fit_intercept": fit_intercept}
    ours = HuberRegressor(tol=1e-10, **options).fit(X, y, weight)
    theirs = linear_model.HuberRegressor(max_iter=10000, **options).fit(X, y, weight)
    start = np.array([*theirs.coef_, *([theirs.intercept_] if fit_intercept else []), theirs.scale_])
    for _ in range(20):  # a fresh memory of the curvature each time
        found = optimize.minimize(
            _huber_loss_and_gradient, start, args=(X, y, epsilon, alpha, weight), jac=True, method="L-BFGS-B",
            options={"ftol": 0, "gtol": 1e-10, "maxiter": 10000, "maxls": 100},
        )  # fmt: skip
        start = found.x
    own = np.array([*ours.coef_, *([ours.intercept_] if fit_intercept else []), ours.scale_])
    np.testing.assert_allclose(own, start, rtol=1e-6)
    value, gradient = _huber_loss_and_gradient(own, X, y, epsilon, alpha, weight)
    assert value <= found.fun * (1 + 1e-14) and np.abs(gradient).max() < 1e-8 * len(y)
    np.testing.assert_array_equal(ours.outliers_, np.abs(y - ours.predict(X)) > epsilon * ours.scale_)
    assert ours.outliers_.sum() == pytest.approx(theirs.outliers_.sum(), abs=2)


def test_derivatives_of_the_objective_with_a_scale():
    X, y, weight = drawn(HuberRegressor, 50)
    objective = Objective(HuberRegressor(alpha=0.1), Blocks([(X, y, weight)]))
    params = objective.inner(BETA + 0.1, 1.0, 0.9)[0]
    check_objective(lambda p: (objective.at(p[np.newaxis]).value, objective.at(p[np.newaxis]).gradient[0]), params)
    check_hessp(
        lambda p: objective.at(p[np.newaxis]).gradient[0],
        lambda p, v: objective.at(p[np.newaxis]).second.reshape(6, 6) @ v, params,
    )  # fmt: skip


def quiet_fit(model, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return model.fit(*data)


@every
@pytest.mark.parametrize(("offset", "unit"), [(0.0, 1e-8), (2000.0, 5.0), (1e6, 1.0), (0.0, [1e-100, 1e-8, 1.0, 1e100]), (0.0, 1e150)], ids=str)
def test_any_units(kind, offset, unit):
    X, y, _ = drawn(kind)
    plain = quiet_fit(kind(alpha=0.0, tol=1e-10), X, y)
    moved = quiet_fit(kind(alpha=0.0, tol=1e-10), offset + np.multiply(unit, X), y)
    np.testing.assert_allclose(moved.coef_ * unit, plain.coef_, rtol=1e-6)
    assert moved.score(offset + np.multiply(unit, X), y) == pytest.approx(plain.score(X, y), abs=1e-8)


@pytest.mark.parametrize("unit", [1e-150, 1e-8, 1e150])
def test_any_units_of_the_targets(unit):
    X, y, _ = drawn(HuberRegressor)
    plain, moved = (quiet_fit(HuberRegressor(alpha=0.0, tol=1e-10), X, t) for t in (y, y * unit))
    np.testing.assert_allclose(moved.coef_ / unit, plain.coef_, rtol=1e-9)
    np.testing.assert_allclose(moved.scale_ / unit, plain.scale_, rtol=1e-9)
    X, y, _ = drawn(GammaRegressor)
    plain, moved = (quiet_fit(GammaRegressor(alpha=0.0, tol=1e-10), X, t) for t in (y, y * unit))
    np.testing.assert_allclose(moved.coef_, plain.coef_, rtol=1e-7)


@every
def test_any_kind_of_data(kind):
    """CSR, memory orders, blocks, Dask, float32, bytes."""
    X, y, weight = drawn(kind)
    X = np.rint(8 * X + 40).clip(0, 255)
    options = {"tol": 1e-9, "x_scale": 0.125}
    want = kind(**options).fit(X, y, weight)
    for other in (np.asfortranarray(X), sparse.csr_array(X), sparse.csc_array(X), X.astype(np.uint8)):
        close(kind(**options).fit(other, y, weight), want, 1e-8)
    blocks = [(X[a:b], y[a:b], weight[a:b]) for a, b in ((0, 7), (7, 200), (200, 400))]
    close(kind(**options).fit(blocks), want, 1e-8)
    low = kind(**options).fit(X.astype(np.float32), y, weight)
    assert low.coef_.dtype == np.float32 and low.predict(X.astype(np.float32)).dtype == np.float32
    close(low, want, 1e-3)
    da = pytest.importorskip("dask.array")
    arrays = [da.from_array(a, chunks=(150, *a.shape[1:])) for a in (X, y, weight)]
    there = kind(**options).fit(*arrays)
    close(there, want, 1e-8)
    np.testing.assert_allclose(there.predict(arrays[0]).compute(), there.predict(X), rtol=1e-12)
    assert there.score(arrays[0], arrays[1]) == pytest.approx(there.score(X, y), rel=1e-9)


@every
def test_weights_are_repetitions_and_0_is_absent(kind):
    X, y, weight = drawn(kind)
    X[weight == 0], y[weight == 0] = 1e300, 1e300
    times = weight.astype(int)
    repeated = kind(tol=1e-10).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    close(kind(tol=1e-10).fit(X, y, weight), repeated, 1e-7)


@every
def test_warm_start(kind):
    X, y, _ = drawn(kind)
    model = kind(warm_start=True, tol=1e-8).fit(X, y)
    first = model.n_iter_
    assert model.fit(X, y).n_iter_ < min(first, 2)
    with pytest.raises(ValueError, match="Initialization coef is of shape"):
        model.fit(X[:, :2], y)


@pytest.mark.parametrize(("kind", "value"), [(PoissonRegressor, -1.0), (GammaRegressor, 0.0), (GammaRegressor, -2.0)])
def test_targets_that_cannot_be(kind, value):
    X, y, _ = drawn(kind)
    bad = np.where(np.arange(400) == 7, value, y)
    sign = ">=" if kind is PoissonRegressor else ">"
    message = rf"y: expected finite numbers {sign} 0 \(in float64\), got {value} at position 7$"
    with pytest.raises(ValueError, match="^" + message):
        kind().fit(X, bad)
    with pytest.raises(ValueError, match="^block 0: " + message):
        kind().fit([(X, bad)])
    with pytest.raises(ValueError, match="^" + message):
        kind().fit(X, y).score(X, bad)


def test_parameters_that_cannot_be():
    X, y, _ = drawn(PoissonRegressor)
    for model in (PoissonRegressor(alpha=-1), HuberRegressor(epsilon=0.9), HuberRegressor(alpha="a"), GammaRegressor(solver="x")):
        with pytest.raises(ValueError, match=r"^The '(alpha|epsilon|solver)' parameter of \w+ must be"):
            model.fit(X, y + 1)


def test_what_does_not_converge_says_so():
    X, y, _ = drawn(HuberRegressor)
    for model, t in ((HuberRegressor(max_iter=1), y), (PoissonRegressor(max_iter=1, alpha=0), np.abs(y))):
        with pytest.warns(ConvergenceWarning, match=r"failed to converge after 1 iteration"):
            model.fit(X, t)


def test_an_outlier_out_of_all_proportion():
    X, y, _ = drawn(HuberRegressor)
    want = quiet_fit(HuberRegressor(alpha=0.0, tol=1e-9), X, np.where(np.arange(400) == 5, 1e3, y))
    got = quiet_fit(HuberRegressor(alpha=0.0, tol=1e-9), X, np.where(np.arange(400) == 5, 1e12, y))
    close(got, want, 1e-6)


def test_counts_that_are_all_0():
    X, y, _ = drawn(PoissonRegressor)
    with pytest.warns(ConvergenceWarning, match="All targets are 0"):
        PoissonRegressor().fit(X, 0 * y)


def test_targets_without_residuals():
    """Nearly all rows lie on a plane: the scale is next to nothing, the plane is found."""
    X = np.random.default_rng(2).normal(size=(50, 2))
    y = X @ [1.0, -2.0] + 3
    y[:3] += 50
    model = HuberRegressor(alpha=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    np.testing.assert_allclose(model.coef_, [1.0, -2.0], rtol=1e-6)
    assert model.scale_ < 1e-6 and model.outliers_[:3].all()


def absolute(model, X, y, weight):
    return weight @ np.abs(y - model.predict(X))


@pytest.mark.parametrize(("n", "features"), [(31, 2), (200, 10), (1500, 4)])
@pytest.mark.parametrize("kind", ["plain", "weights", "ties", "far"])
def test_epsilon_of_1_is_least_absolute_deviations(n, features, kind):
    """There the scale falls to 0: no warning, and linear programming's minimum."""
    rng = np.random.default_rng(n)
    Z = rng.normal(size=(n, features)) * np.logspace(0, 3, features)
    y = Z @ (1 / np.logspace(0, 3, features)) + 1 + 0.3 * rng.standard_t(2, size=n)
    weight = rng.integers(0, 3, n).astype(float) if kind == "weights" else np.ones(n)
    y = np.round(y, 1) if kind == "ties" else y
    X = Z + 1e4 if kind == "far" else Z
    model = quiet_fit(HuberRegressor(epsilon=1.0, alpha=0.0), X, y, weight)
    theirs = linear_model.QuantileRegressor(quantile=0.5, alpha=0.0).fit(Z, y, weight)
    assert absolute(model, X, y, weight) <= absolute(theirs, Z, y, weight) * (1 + 1e-8)
    assert model.scale_ < 1e-6


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("epsilon", [1.0001, 1.01, 1.05, 1.1])
def test_a_scale_next_to_0(seed, epsilon):
    """Steps that shrink the scale faster than coefficients follow stopped far from the minimum, without a word."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(31, 2))
    y = X @ [1.0, -2.0] + 1 + 0.3 * rng.standard_t(2, size=31)
    model = quiet_fit(HuberRegressor(epsilon=epsilon, alpha=1e-4), X, y)

    def value(p):
        return _huber_loss_and_gradient(p, X, y, epsilon, 1e-4, np.ones(31))[0]

    found = np.array([*model.coef_, model.intercept_, model.scale_])
    theirs = linear_model.HuberRegressor(epsilon=epsilon, max_iter=10000, tol=1e-9).fit(X, y)
    others = [np.array([*theirs.coef_, theirs.intercept_, theirs.scale_])]
    for size in np.logspace(-8, 0, 400):  # of a convex function
        others.append(found + size * rng.normal(size=4) * [1, 1, 1, found[-1]])
    assert value(found) <= min(value(p) for p in others if p[-1] > 0) * (1 + 1e-9)


def test_without_scikit_learn():
    code = """
import numpy as np
from nbgrad.regression import GammaRegressor, HuberRegressor, PoissonRegressor
X = np.arange(12.0).reshape(6, 2) % 5
for model in (PoissonRegressor(alpha=0.5), GammaRegressor(), HuberRegressor(epsilon=2.0)):
    assert model.fit(X, [1, 2, 3, 4, 5, 7]).score(X, [1, 2, 3, 4, 5, 7]) <= 1
    print(model)
"""
    want = ["PoissonRegressor(alpha=0.5)", "GammaRegressor()", "HuberRegressor(epsilon=2.0)"]
    assert run(BLOCKED + code) == want


def test_public_names():
    assert {"GammaRegressor", "HuberRegressor", "PoissonRegressor"} <= set(regression.__all__)
