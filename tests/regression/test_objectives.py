"""The regression objectives against their definitions in long double, and finite differences of those."""

import functools

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import differences
from regression_models import LABELS, example, losses, models, reference, same, sums, value_and_grad
from scipy import sparse
from scipy.optimize import minimize

from nbgrad import jit, regression
from nbgrad.datasets import load_digits
from nbgrad.regression.passes import csr, one_pass


@st.composite
def problems(draw, model, min_rows=1, dtype=np.float64, max_side=3):
    """(params, X, y) and keyword arguments."""
    rows, features = draw(st.integers(min_rows, 8)), draw(st.integers(1, 4))
    fit_intercept = draw(st.booleans())
    numbers = st.floats(-max_side, max_side, width=8 * np.dtype(dtype).itemsize)
    columns = features + fit_intercept
    shape = (columns,)
    if model == "softmax":
        classes = draw(st.integers(1, 4))
        shape = (classes, columns)
        y = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, classes - 1)))
    elif model not in LABELS:
        least = {"poisson": 0, "gamma": 0.125}.get(model, -max_side)
        y = draw(hnp.arrays(dtype, rows, elements=st.floats(least, max_side, width=8 * np.dtype(dtype).itemsize)))
    else:
        y = draw(hnp.arrays(np.int64, rows, elements=st.integers(0, 1)))
    params = draw(hnp.arrays(dtype, shape, elements=numbers))
    X = draw(hnp.arrays(dtype, (rows, features), elements=numbers))
    options = {"fit_intercept": fit_intercept, "l2": draw(st.sampled_from([0.0, 0.5, 2.0]))}
    options["x_scale"] = draw(st.sampled_from([1.0, 0.25, -1.5]))
    if draw(st.booleans()):
        weight = draw(hnp.arrays(np.float64, rows, elements=st.floats(0, 4)))
        weight[draw(st.integers(0, rows - 1))] = 1.0
        options["sample_weight"] = weight
    return params, X, y, options


@models
@given(st.data())
def test_value_and_gradient(model, data):
    params, X, y, options = data.draw(problems(model))
    value, grad = value_and_grad(model)(params, X, y, **options)
    f = functools.partial(reference, model, X=X, y=y, **options)
    assert type(value) is np.float64 and grad.dtype == np.float64 and grad.shape == params.shape
    # the scores are sums of terms up to 40; their rounding errors are the loss's, times the residual
    assert abs(value - f(params)) <= 1e-12 * max(1, abs(f(params)))
    true = differences(f, params.astype(np.longdouble))
    np.testing.assert_allclose(grad, true.astype(np.float64), rtol=1e-8, atol=1e-8)


@models
@given(st.data())
def test_float32(model, data):
    params, X, y, options = data.draw(problems(model, dtype=np.float32))
    value, grad = value_and_grad(model)(params, X, y, **options)
    exact = value_and_grad(model)(params.astype(np.float64), X, y, **options)
    assert type(value) is np.float32 and grad.dtype == np.float32
    assert abs(value - exact[0]) <= 1e-5 * max(1, exact[0])
    np.testing.assert_allclose(grad, exact[1], rtol=1e-5, atol=1e-4)  # sums of products up to 160 that cancel


@models
@pytest.mark.parametrize(("dtype", "tolerance", "rows"), [(np.float64, 1e-12, 100_000), (np.float32, 1e-5, 1_000_000)])
def test_many_rows_lose_no_digits(model, dtype, tolerance, rows):
    params, X, y = example(model, rows, 3, dtype=dtype)
    wide = np.longdouble if dtype == np.float64 else np.float64
    value, grad = value_and_grad(model)(params, X, y)
    loss = losses(model, params, X, y)
    assert abs(value - loss.mean()) <= tolerance * loss.mean()
    # the residual of each row from the definition of the derivative, in the wider precision
    ones = np.column_stack([X, np.ones(rows, dtype)]).astype(wide)
    scores = ones @ params.astype(wide).T
    p = 1 / (1 + np.exp(-scores))
    residual = {
        "linear": lambda: scores - y,
        "logistic": lambda: p - y,
        "logistic_mse": lambda: 2 * (p - y) * p * (1 - p),
        "poisson": lambda: np.exp(scores) - y,
        "gamma": lambda: 1 - y * np.exp(-scores),
        "huber": lambda: np.clip(scores - y, -1, 1),
        "quantile": lambda: 1 / (1 + np.exp((y - scores) * 10)) - 0.5,
        "softmax": lambda: np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True) - np.eye(len(params))[y],
    }[model]()
    true, magnitude = (residual.T @ ones) / rows, (np.abs(residual).T @ np.abs(ones)) / rows
    assert (np.abs(grad - true) <= tolerance * magnitude).all()


@given(st.data())
def test_two_class_softmax_is_logistic_regression(data):
    params, X, y, options = data.draw(problems("logistic"))
    value, grad = regression.logistic_value_and_grad(params, X, y, **options)
    both = np.stack([np.zeros_like(params), params])
    value2, grad2 = regression.softmax_value_and_grad(both, X, y, **options)
    same((value2, grad2[1]), (value, grad), 1e-13)
    # the first class, which has no penalty, is pushed the other way
    penalty = options["l2"] * params
    penalty[X.shape[1] :] = 0
    np.testing.assert_allclose(grad2[0], penalty - grad, rtol=1e-13, atol=1e-13)


def test_logistic_mse_is_the_slides_formula():
    """1/m Σ (σ(wᵀx) − y)²"""
    params, X, y = example("logistic_mse")
    w, m = params[:-1], len(X)
    value, _ = regression.logistic_mse_value_and_grad(w, X, y, fit_intercept=False)
    assert value == pytest.approx(sum((1 / (1 + np.exp(-(w @ x))) - t) ** 2 for x, t in zip(X, y, strict=True)) / m, rel=1e-14)


def test_scipy_minimizes_softmax_regression_on_uint8_pixels():
    digits = load_digits()
    X = digits.train_images.reshape(len(digits.train_images), -1)
    objective = functools.partial(regression.softmax_value_and_grad, l2=1e-3, x_scale=1 / 16)
    args = (X, digits.train_labels)
    options = {"maxiter": 1000, "gtol": 1e-7, "ftol": 0}
    found = minimize(objective, np.zeros(10 * 65), args=args, jac=True, method="L-BFGS-B", options=options)
    value, grad = objective(found.x, *args)
    assert grad.shape == (650,) and np.abs(grad).max() < 1e-5
    assert value < 0.3
    scores = digits.test_images.reshape(-1, 64) / 16 @ found.x.reshape(10, 65)[:, :-1].T + found.x.reshape(10, 65)[:, -1]
    assert (scores.argmax(axis=1) == digits.test_labels).mean() > 0.95


@pytest.mark.parametrize("model", ["linear", "logistic", "logistic_mse"])
def test_scipy_minimizes_as_it_is(model):
    params, X, y = example(model, 300, 3)
    found = minimize(value_and_grad(model), np.zeros_like(params), args=(X, y), jac=True)
    assert np.abs(value_and_grad(model)(found.x, X, y)[1]).max() < 1e-4
    if model == "linear":
        ones = np.column_stack([X, np.ones(len(X))])
        np.testing.assert_allclose(found.x, np.linalg.lstsq(ones, y, rcond=None)[0], atol=1e-4)


def test_flat_params_are_answered_flat():
    params, X, y = example("softmax")
    for function in (regression.softmax_value_and_grad, regression.softmax_sums):
        flat, matrix = function(params.ravel(), X, y), function(params, X, y)
        assert flat[0] == matrix[0]
        np.testing.assert_array_equal(flat[1], matrix[1].ravel())


@models
@given(st.data())
def test_sums_of_parts_add_up(model, data):
    params, X, y, options = data.draw(problems(model, min_rows=2))
    del options["l2"]
    weight = options.pop("sample_weight", np.ones(len(X)))
    cut = data.draw(st.integers(0, len(X)))
    whole = sums(model)(params, X, y, sample_weight=weight, **options)
    parts = [sums(model)(params, X[s], y[s], sample_weight=weight[s], **options) for s in (np.s_[:cut], np.s_[cut:])]
    assert all(np.asarray(v).dtype == np.float64 for v in whole)
    for i in range(3):
        np.testing.assert_allclose(parts[0][i] + parts[1][i], whole[i], rtol=1e-12, atol=1e-12)
    value, grad = value_and_grad(model)(params, X, y, sample_weight=weight, **options)
    same((value, grad), (whole[0] / whole[2], whole[1] / whole[2]), 1e-15)


@models
@pytest.mark.parametrize("block", [1, 1500, 10**6])
@pytest.mark.parametrize("work", [500, 10**9])
@pytest.mark.parametrize("kind", [np.asarray, np.asfortranarray, sparse.csr_array, lambda X: X[:, ::-1]])
def test_any_blocks_and_ranges_give_the_same(model, block, work, kind, monkeypatch):
    params, X, y = example(model, 333, 6)
    true = sums(model)(params, kind(X), y)
    for name, value in (("BLOCK_BYTES", block), ("MATRIX_BLOCK_BYTES", block), ("RANGE_WORK", work)):
        monkeypatch.setattr(one_pass, name, value)
    monkeypatch.setattr(one_pass, "PIECE_BYTES", 10 * block)
    monkeypatch.setattr(csr, "BLOCK_BYTES", block)
    same(sums(model)(params, kind(X), y), true, 1e-13)


@models
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_the_same_bits_for_any_number_of_threads(model, dtype, monkeypatch):
    monkeypatch.setattr(one_pass, "RANGE_WORK", 2000)
    params, X, y = example(model, 3000, 20)
    X = (20 * X).astype(dtype)
    function = functools.partial(value_and_grad(model), params, X, y, x_scale=0.1)
    results = [function()]
    with jit.serial_loops():
        results.append(function())
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
        before = numba.get_num_threads()
        numba.set_num_threads(threads)
        try:
            results.append(function())
        finally:
            numba.set_num_threads(before)
    assert all(r[0] == results[0][0] and (r[1] == results[0][1]).all() for r in results)


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_array])
def test_sums_are_float64_for_float32_params(kind):
    """Adding 0.1 up 100 000 times in float32 is off by 1e-3."""
    X = np.full((100_000, 1), 0.1, np.float32)
    arguments = np.zeros(1, np.float32), kind(X), np.zeros(len(X))
    loss, grad, weight = regression.logistic_sums(*arguments, fit_intercept=False)
    assert [np.asarray(v).dtype for v in (loss, grad, weight)] == [np.float64] * 3
    np.testing.assert_allclose(loss, len(X) * np.log(2), rtol=1e-7)
    np.testing.assert_allclose(grad, [X.sum(dtype=np.float64) / 2], rtol=1e-5)
    assert weight == len(X)


@models
def test_weights_are_repetitions(model):
    params, X, y = example(model, 50)
    times = np.random.default_rng(4).integers(0, 4, 50)
    true = value_and_grad(model)(params, np.repeat(X, times, axis=0), np.repeat(y, times), l2=0.3)
    for weight in (times, times * 0.25, times * 1e-310, times * 1e305, times.astype(np.uint8)):
        same(value_and_grad(model)(params, X, y, sample_weight=weight, l2=0.3), true, 1e-12)
    tiny = value_and_grad(model)(params.astype(np.float32), X, y, sample_weight=times * 1e-60, l2=0.3)
    same(tiny, true, 1e-5)


@models
def test_a_row_of_weight_0_is_absent_where_its_score_overflows(model):
    params, X, y = example(model, 20)
    params *= 2 if model in ("poisson", "gamma") else 1  # as large as the others'
    X[3] = 1e308 * np.sign(params[..., :-1].reshape(-1, 5)[0])
    assert np.abs(params[..., :-1]).sum() > 2
    got = value_and_grad(model)(params, X, y, sample_weight=np.arange(20) != 3)
    same(got, value_and_grad(model)(params, np.delete(X, 3, 0), np.delete(y, 3)), 1e-13)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_scores(dtype):
    X, far = np.array([[1.0], [-1.0]], dtype), dtype(1e20)
    params = np.array([far], dtype)
    for y, value, grad in (([1, 0], 0, 0), ([0, 1], far, 1), ([1, 1], far / 2, 0.5)):
        got = regression.logistic_value_and_grad(params, X, np.array(y), fit_intercept=False)
        assert got[0] == value and got[1] == grad
    for y, value in (([1, 0], 0), ([0, 1], 1), ([1, 1], 0.5)):
        got = regression.logistic_mse_value_and_grad(params, X, np.array(y), fit_intercept=False)
        assert got[0] == value and got[1] == 0
    both = np.array([[0], [far]], dtype)
    got = regression.softmax_value_and_grad(both, X, np.array([1, 0]), fit_intercept=False)
    assert got[0] == 0 and (got[1] == 0).all()
    got = regression.softmax_value_and_grad(both, X, np.array([0, 1]), fit_intercept=False)
    assert got[0] == far and (got[1] == [[-1], [1]]).all()


@pytest.mark.parametrize(("dtype", "scores"), [(np.float32, (17.0, 40.0, 80.0)), (np.float64, (40.0, 300.0, 700.0))])
def test_tails_keep_their_digits(dtype, scores):
    """The loss and residual of sure and right predictions are about e⁻ˢ, where 1 − σ(s) is 0."""
    X, y = np.array([[1.0]], dtype), np.array([1])
    # the square of a tail leaves the range before the tail does
    close = functools.partial(np.testing.assert_allclose, rtol=8 * np.finfo(dtype).eps, atol=0)
    square_close = functools.partial(close, atol=np.finfo(dtype).tiny)
    for score in scores:
        e = np.exp(np.longdouble(-score))
        loss, tail = np.log1p(e), e / (1 + e)
        params = np.array([score], dtype)
        both = np.array([[0], [score]], dtype)
        value, grad = regression.logistic_value_and_grad(params, X, y, fit_intercept=False)
        close((value, grad[0]), (loss, -tail))
        value, grad = regression.softmax_value_and_grad(both, X, y, fit_intercept=False)
        close((value, *grad[:, 0]), (loss, tail, -tail))
        value, grad = regression.logistic_mse_value_and_grad(params, X, y, fit_intercept=False)
        square_close((value, grad[0]), (tail**2, -2 * tail**2 * (1 - tail)))
