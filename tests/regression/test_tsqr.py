"""Least squares by blocks: the digits of a QR of all rows, the shortest of many solutions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression_models import cut

from nbgrad.regression import tsqr
from nbgrad.regression.blocks import Blocks


def fit(sizes, *arrays, **options):
    return tsqr.least_squares(Blocks(cut(sizes, *arrays)), **options)


@given(st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda s: sum(s) > 8), st.booleans())
def test_is_numpys_least_squares(sizes, fit_intercept):
    rng = np.random.default_rng(sum(sizes))
    n = sum(sizes)
    X, y, weight = rng.normal(size=(n, 4)), rng.normal(size=n), rng.random(n) + 0.1
    A = np.column_stack([X / 2, np.ones(n)]) if fit_intercept else X / 2
    true, *_ = np.linalg.lstsq(A * np.sqrt(weight)[:, None], y * np.sqrt(weight))
    got = fit(sizes, X, y, weight, fit_intercept=fit_intercept, x_scale=0.5)
    np.testing.assert_allclose(got, true, rtol=1e-9, atol=1e-9)


# NIST's Wampler1 and Wampler2, https://www.itl.nist.gov/div898/strd/lls/lls.shtml: y is the polynomial, x = 0..20.
@pytest.mark.parametrize(("coefficients", "digits"), [([1.0] * 6, 8), ([1, 0.1, 0.01, 1e-3, 1e-4, 1e-5], 11)])
def test_wampler(coefficients, digits):
    x = np.arange(21.0)
    X = np.stack([x**k for k in range(1, 6)], axis=1)
    y = np.round(sum(c * x**k for k, c in enumerate(coefficients)), 5)
    got = fit([2, 9, 10], X, y)
    true = np.array([*coefficients[1:], coefficients[0]])
    assert (np.abs(got / true - 1) < 10.0**-digits).all()
    np.testing.assert_allclose(fit([2, 9, 10], X, y, fit_intercept=False), np.linalg.lstsq(X, y)[0], rtol=1e-6)


def test_keeps_the_digits_that_normal_equations_lose():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1000, 2))
    X[:, 1] = X[:, 0] + 1e-8 * X[:, 1]  # condition 10⁸, squared 10¹⁶
    got = fit([300, 700], X, X @ [1.0, 2.0])
    np.testing.assert_allclose(got[:2], [1, 2], rtol=1e-6)


@pytest.mark.parametrize("sizes", [[7], [2, 2, 3], [1] * 7])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_fewer_rows_than_features_and_equal_columns_give_the_shortest(sizes, fit_intercept):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(7, 5)) + 3, rng.normal(size=7)
    for A in (np.hstack([X, X[:, :2]]), np.hstack([X, 2 * X, X[:, 1:]]), np.hstack([X, np.zeros((7, 3))])):
        got = fit(sizes, A, y, fit_intercept=fit_intercept)
        if fit_intercept:
            centred, top = A - A.mean(axis=0), y.mean()
            true = np.linalg.lstsq(centred, y - top, rcond=1e-10)[0]
            assert got[-1] == pytest.approx(top - A.mean(axis=0) @ true, abs=1e-9)
        else:
            true = np.linalg.lstsq(A, y, rcond=1e-10)[0]
        np.testing.assert_allclose(got[: A.shape[1]], true, atol=1e-9)


def test_a_constant_column_gets_no_coefficient():
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(size=30_000), np.full(30_000, 1234.567)])
    got = fit([10_000] * 3, X, 2 * X[:, 0] + 1)
    np.testing.assert_allclose(got, [2, 0, 1], atol=1e-9)


def test_pixels_and_rows_without_weight():
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, (400, 6)).astype(np.uint8), rng.normal(size=400)
    weight = (np.arange(400) % 3 > 0).astype(np.float32)
    got = fit([100, 100, 200], X, y, weight, x_scale=1 / 255)
    kept = weight > 0
    A = np.column_stack([X[kept] / 255, np.ones(kept.sum())])
    np.testing.assert_allclose(got, np.linalg.lstsq(A, y[kept])[0], rtol=1e-10)


def test_nothing_to_fit():
    assert fit([3], np.zeros((3, 0)), np.array([1.0, 2, 6])).tolist() == pytest.approx([3.0])
    assert fit([3], np.zeros((3, 0)), np.array([1.0, 2, 6]), fit_intercept=False).size == 0
    assert fit([2, 1], np.ones((3, 2)), np.full(3, 4.0)).tolist() == pytest.approx([0, 0, 4])
