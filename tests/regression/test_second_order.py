"""The pass of value, gradient and curvature in float64: in threads, by compiled products, what BLAS gives; what columns show."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from nbgrad.regression import Problem
from nbgrad.regression import scaling as scaling_module
from nbgrad.regression.passes import second_order as module
from nbgrad.regression.scaling import moments


def problem(n, features, classes, dtype, weighted, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 200, (n, features)).astype(dtype)
    y, weight = rng.integers(0, max(classes, 2), n), rng.integers(0, 3, n).astype(float) if weighted else None
    if weighted:
        X = X.astype(float)
        X[weight == 0] = np.nan  # absent
    made = Problem("softmax" if classes > 1 else "logistic", X, y, sample_weight=weight, x_scale=1 / 8)
    return made, rng.normal(size=(classes, features + 1)) / 100, X


@given(
    st.integers(8, 60), st.integers(1, 20), st.sampled_from([1, 2, 5]), st.sampled_from(["float32", "float64", "uint8", "int16"]),
    st.booleans(), st.sampled_from(["gradient", "diagonal"]), st.integers(0, 99),
)  # fmt: skip
def test_threads_give_what_products_give(n, features, classes, dtype, weighted, kind, seed):
    made, params, X = problem(n, features, classes, dtype, weighted, seed)
    ranges = made.ranges()
    frame = module.Frame.of(ranges, 0.0, True)
    wanted = made.second_order(params, frame, kind)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "THREADED", 0)
        patch.setattr(module, "PIECE", 100)
        found, threaded = made.second_order(params, frame, kind), made.ranges()
    assert len(found) == len(wanted) == (2 if kind == "gradient" else 3)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-10)
    w = np.ones(n) if not weighted else np.where(np.isnan(X[:, 0]), 0, made._passes._weight * made._passes.unit)
    x = X[w > 0] / 8
    for each in (ranges, threaded) if len(x) else ():
        np.testing.assert_allclose(each.total, w[w > 0] @ x, rtol=1e-12)
        np.testing.assert_allclose(each.squares, w[w > 0] @ x**2, rtol=1e-12)
        np.testing.assert_array_equal(each.low, x.min(axis=0))
        np.testing.assert_array_equal(each.high, x.max(axis=0))


@given(st.sampled_from([1, 3]), st.booleans(), st.booleans(), st.integers(0, 99))
def test_sparse_rows_give_what_products_give(classes, fit_intercept, weighted, seed):
    rng = np.random.default_rng(seed)
    n, features = 40, 9
    dense = rng.integers(-3, 4, (n, features)) * (rng.random((n, features)) < 0.4)
    dense[:, 2] = 0
    dense[:, 4] = rng.integers(1, 9, n)
    y, weight = rng.integers(0, max(classes, 2), n), rng.integers(0, 3, n).astype(float) if weighted else None
    model, params = ("softmax" if classes > 1 else "logistic"), rng.normal(size=(classes, features + fit_intercept))
    X = sparse.csr_matrix(dense.astype(float))
    twice = sparse.csr_matrix((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    options = {"sample_weight": weight, "x_scale": 1 / 8, "fit_intercept": fit_intercept}
    wanted = Problem(model, dense.astype(float), y, **options)
    frame = module.Frame(np.ldexp(1.0, rng.integers(-2, 3, features)))
    for form in (X, twice, X.astype(np.float32), X.astype(np.int32)):
        found = Problem(model, form, y, **options)
        for a, b in zip(found.second_order(params, frame, "diagonal"), wanted.second_order(params, frame, "diagonal"), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
        for name in ("total", "squares", "low", "high", "weight"):
            np.testing.assert_allclose(getattr(found.ranges(), name), getattr(wanted.ranges(), name), rtol=1e-12, atol=1e-15)


def test_nan_shows():
    X = np.arange(12.0).reshape(4, 3)
    X[1, 1], X[0, 2], X[3, 2] = np.nan, np.inf, -np.inf
    found = Problem("logistic", X, np.arange(4) % 2).ranges()
    np.testing.assert_array_equal(found.low, [0, np.nan, -np.inf])
    np.testing.assert_array_equal(found.high, [9, np.nan, np.inf])


def test_large_moments_of_float32_are_made_in_float32(monkeypatch):
    X = np.random.default_rng(0).normal(size=(500, 20)) + 3
    frame = module.Frame(np.ones(20), X.mean(axis=0))
    exact, _ = moments(X, None, frame, share=1.0, x_scale=1.0, fit_intercept=True)
    monkeypatch.setattr(scaling_module, "NARROW", 0)
    narrow, _ = moments(X.astype(np.float32), None, frame, share=1.0, x_scale=1.0, fit_intercept=True)
    wide, _ = moments(X, None, frame, share=1.0, x_scale=1.0, fit_intercept=True)
    np.testing.assert_array_equal(wide, exact)
    assert 0 < np.abs(narrow - exact).max() < 1e-3
