"""Poisson, gamma, Huber and quantile regression: parameters of their own, targets, edges, known answers."""

import numpy as np
import pytest
from scipy import optimize, sparse, stats

from nbgrad import regression
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.regression import Problem, dispatch
from nbgrad.testing import check_hessp, check_objective

PARAMETERS = [
    ("huber", {"delta": 0.3}), ("huber", {"delta": 1e10}), ("quantile", {"q": 0.9}), ("quantile", {"q": 0.25, "smoothing": 2.0}),
    ("quantile", {"q": 1.0, "smoothing": 0.5}), ("poisson", {}), ("gamma", {}),
]  # fmt: skip
every = pytest.mark.parametrize(("model", "parameters"), PARAMETERS)


def drawn(model, n=60, seed=0):
    rng = np.random.default_rng(seed)
    X, w = rng.normal(size=(n, 3)), rng.normal(size=4) / 2
    y = {"poisson": rng.poisson(2.0, n), "gamma": rng.gamma(2.0, size=n)}.get(model, rng.normal(size=n) * 2)
    return w, X, y.astype(float)


def of(model, kind):
    return getattr(regression, f"{model}_{kind}")


@every
def test_gradients_and_products_of_the_parameters(model, parameters):
    w, X, y = drawn(model)
    options = {"l2": 0.1, **parameters}
    check_objective(lambda w: of(model, "value_and_grad")(w, X, y, **options), w)
    check_hessp(
        lambda w: of(model, "value_and_grad")(w, X, y, **options)[1],
        lambda w, v: of(model, "hessp")(w, v, X, y, **options), w,
    )  # fmt: skip


@every
def test_everywhere_the_same(model, parameters):
    """Objectives, Problem, CSR, blocks, float32."""
    w, X, y = drawn(model)
    v = w[::-1].copy()
    weight = np.random.default_rng(3).random(len(y))
    value, grad = of(model, "value_and_grad")(w, X, y, sample_weight=weight, l2=0.2, **parameters)
    product = of(model, "hessp")(w, v, X, y, sample_weight=weight, l2=0.2, **parameters)
    blocks = [(X[a:b], y[a:b], weight[a:b]) for a, b in ((0, 7), (7, 40), (40, 60))]
    for problem in (
        Problem(model, X, y, sample_weight=weight, l2=0.2, **parameters),
        Problem(model, sparse.csr_array(X), y, sample_weight=weight, l2=0.2, **parameters),
        dispatch.as_problem(model, blocks, l2=0.2, **parameters),
    ):
        got, got_grad = problem.value_and_grad(w)
        np.testing.assert_allclose(got, value, rtol=1e-13)
        np.testing.assert_allclose(got_grad, grad, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(problem.hessian(w) @ v, product, rtol=1e-12, atol=1e-13)
    loss, slopes, total = of(model, "sums")(w, X, y, sample_weight=weight, **parameters)
    np.testing.assert_allclose(loss / total + 0.1 * w[:3] @ w[:3], value, rtol=1e-13)
    low = of(model, "value_and_grad")(w.astype(np.float32), X, y, sample_weight=weight, l2=0.2, **parameters)
    np.testing.assert_allclose(low[1], grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("model", "least"), [("poisson", 0.0), ("gamma", np.nextafter(0, 1))])
def test_targets(model, least):
    w, X, y = drawn(model)
    wrong = [-1.0, np.nan, np.inf, -1e-300] + ([0.0] if model == "gamma" else [])
    expected = SCORE_MODELS[model].targets.format(dtype="float64").replace("(", r"\(").replace(")", r"\)")
    for value in wrong:
        bad = np.where(np.arange(60) == 11, value, y)
        for X_ in (X, sparse.csr_array(X)):
            with pytest.raises(ValueError, match=rf"^y: expected {expected}, got {value} at position 11$"):
                of(model, "value_and_grad")(w, X_, bad)
        with pytest.raises(ValueError, match=r"block 0: .*y"):
            dispatch.as_problem(model, [(X, bad)]).value_and_grad(w)
    assert np.isfinite(of(model, "value_and_grad")(w, X, np.full(60, least))[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_far_out(dtype):
    X, far = np.array([[1.0], [-1.0]], dtype), np.array([1e5], dtype)
    value, grad = regression.poisson_value_and_grad(far, X, np.array([3, 0]), fit_intercept=False)
    assert value == np.inf and grad[0] == np.inf
    value, grad = regression.poisson_value_and_grad(-far, X[:1], np.array([0]), fit_intercept=False)
    assert value == 0 and grad[0] == 0
    value, grad = regression.poisson_value_and_grad(-far, X[:1], np.array([3]), fit_intercept=False)
    assert value == dtype(3e5) and grad[0] == -3
    value, grad = regression.gamma_value_and_grad(far, X[:1], np.array([3]), fit_intercept=False)
    assert value == far[0] and grad[0] == 1
    value, grad = regression.gamma_value_and_grad(far, X[1:], np.array([3]), fit_intercept=False)
    assert value == np.inf and grad[0] == np.inf
    value, grad = regression.huber_value_and_grad(far, X, np.array([0, 0]), fit_intercept=False, delta=2.0)
    assert value == dtype(2e5 - 2) and grad[0] == 2
    value, grad = regression.quantile_value_and_grad(far, X[:1], np.array([0]), fit_intercept=False, q=0.75)
    assert value == dtype(0.25) * far[0] and grad[0] == 0.25


def root(problem):
    return optimize.brentq(lambda b: problem.value_and_grad(np.array([b]))[1][0], -50, 50, xtol=1e-12)


def test_minima_that_are_known():
    """Of the intercept alone: the logarithm of the mean; a location between mean and median; the quantile."""
    rng = np.random.default_rng(5)
    y, X = rng.gamma(2.0, size=501), np.zeros((501, 0))
    for model in ("poisson", "gamma"):
        found = optimize.minimize(of(model, "value_and_grad"), np.zeros(1), args=(X, y), jac=True, tol=1e-10)
        np.testing.assert_allclose(found.x, np.log(y.mean()), rtol=1e-6)
    y = rng.standard_t(2, size=501)
    for q in (0.1, 0.5, 0.9):
        problem = Problem("quantile", X, y, q=q, smoothing=1e-3)
        found = root(problem)
        assert abs(found - np.quantile(y, q, method="inverted_cdf")) < 0.03
    problem = Problem("huber", X, y, delta=1.0)
    found = root(problem)
    assert abs(np.clip(y - found, -1, 1).mean()) < 1e-12
    assert abs(found) < abs(y.mean()) or abs(found - np.median(y)) < stats.sem(y)


@pytest.mark.parametrize(
    ("model", "parameters", "error", "message"),
    [
        ("huber", {"delta": 0.0}, ValueError, r"delta: expected a number > 0, got 0.0"),
        ("huber", {"delta": np.nan}, ValueError, r"delta: expected a number > 0, got nan"),
        ("huber", {"delta": "1"}, TypeError, r"delta: expected a real number, got str"),
        ("quantile", {"q": 1.5}, ValueError, r"q: expected a number in 0..1, got 1.5"),
        ("quantile", {"smoothing": -1}, ValueError, r"smoothing: expected a number > 0, got -1"),
        ("quantile", {"delta": 1}, TypeError, r"delta: unexpected keyword argument, model 'quantile' takes of its own q, smoothing"),
        ("poisson", {"delta": 1}, TypeError, r"delta: unexpected keyword argument, model 'poisson' takes none of its own"),
    ],
)
def test_parameters_that_cannot_be(model, parameters, error, message):
    w, X, y = drawn(model)
    for call in (
        lambda: of(model, "value_and_grad")(w, X, y, **parameters), lambda: Problem(model, X, y, **parameters),
        lambda: of(model, "hessian")(w, X, y, **parameters), lambda: of(model, "sums")(w, X, y, **parameters),
    ):  # fmt: skip
        with pytest.raises(error, match="^" + message):
            call()
    with pytest.raises(ValueError, match=r"^smoothing: expected a number > 0 in float32, got 1e-60$"):
        regression.quantile_value_and_grad(w.astype(np.float32), X, y, smoothing=1e-60)
