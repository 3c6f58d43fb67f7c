"""Sums in twice float64's precision, where a triangle's solution has lost digits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.elementary.division import two_product, two_sum
from nbgrad.jit import Loop
from nbgrad.regression.linear.triangle import Triangle, library, to_host, weighted_rows

__all__ = ["dot", "refinement"]


def refinement(
    params: NDArray[np.float64], R: NDArray[np.float64], triangle: Triangle, blocks: Any
) -> NDArray[np.float64]:
    """R⁻¹·R⁻ᵀ·Aᵀ·(Y − A·params), what the params (columns of [1, X], targets) of the shifted problem lack, where A is
    multiplied in twice the precision.

    Large residuals and a high condition take digits from any solution in float64 (condition²·tangent·eps), because
    rounding X once moves it that far; here X is exact. A second pass over X, for Wampler4 and 5: 7.9 and 5.9 digits
    without, 14 with.
    """
    from scipy.linalg import solve_triangular

    unit = np.ldexp(1.0, 2 * (np.frexp(np.sqrt(triangle.heaviest))[1] - 1))  # of weights, whose digits must stay
    argument = params, triangle.shift, triangle.unit, triangle.fit_intercept, unit
    high, low = blocks.reduce("gradient", _block_gradient, _add_gradients, argument)
    R = R / np.sqrt(unit)
    return solve_triangular(R, solve_triangular(R, high + low, trans="T", check_finite=False), check_finite=False)


def _block_gradient(i: int, block: tuple[Any, Any, Any], argument: tuple[Any, ...]) -> tuple[Any, Any]:
    (X, y, weight), (params, shift, unit, fit_intercept, of_weights) = block, argument
    high, low = np.zeros_like(params), np.zeros_like(params)
    xp = library(X)
    for rows, of_rows in weighted_rows(X, y, weight, "C"):
        rows = to_host(rows, xp) / unit  # from a GPU block by block: the loop is the CPU's
        of_rows = np.ones(len(rows)) if of_rows is None else to_host(of_rows, xp) / of_weights
        _double_precision_gradient.serial(rows, shift / unit, of_rows, params, fit_intercept, high, low)
    return high, low


def _add_gradients(first: tuple[Any, Any], *others: tuple[Any, Any]) -> tuple[Any, Any]:
    high, low = (part.copy() for part in first)
    for other in others:
        _double_precision_sum.serial(*(part.reshape(-1) for part in other), high.reshape(-1), low.reshape(-1))
    return high, low


def _gradient(rows, shift, weight, params, fit_intercept, high, low):  # type: ignore[no-untyped-def]
    """Add Aᵀ·weight·(Y − A·params) of the rows [A, Y] − shift to high + low, in twice float64's precision. (A has a
    column of ones before, with an intercept.)
    """
    targets = params.shape[1]
    features = rows.shape[1] - targets
    for i in range(rows.shape[0]):
        for t in range(targets):
            r, rest = two_sum(rows[i, features + t], -shift[features + t])
            if fit_intercept:
                r, carry = two_sum(r, -params[0, t])
                rest += carry
            for j in range(features):
                w = params[fit_intercept + j, t]
                x, low_x = two_sum(rows[i, j], -shift[j])
                p, error = two_product(-x, w)
                r, carry = two_sum(r, p)
                rest += error + carry - low_x * w
            r, rest = two_sum(r, rest)
            r, error = two_product(r, weight[i])
            rest = rest * weight[i] + error
            if fit_intercept:
                high[0, t], carry = two_sum(high[0, t], r)
                low[0, t] += carry + rest
            for j in range(features):
                x, low_x = two_sum(rows[i, j], -shift[j])
                p, error = two_product(x, r)
                high[fit_intercept + j, t], carry = two_sum(high[fit_intercept + j, t], p)
                low[fit_intercept + j, t] += error + carry + x * rest + low_x * r


def _sum(more_high, more_low, high, low):  # type: ignore[no-untyped-def]
    """Add a sum in twice float64's precision to another: those of blocks cancel each other."""
    for j in range(high.size):
        high[j], carry = two_sum(high[j], more_high[j])
        low[j] += carry + more_low[j]


def dot(terms: NDArray[np.float64], factors: NDArray[np.float64], X: NDArray[np.float64]) -> NDArray[np.float64]:
    """Σ terms − factors·X, in twice the precision: terms (some, targets), factors (others,), X (others, targets)."""
    found = np.empty(terms.shape[1])
    _double_precision_dot.serial(terms, factors, X, found)
    return found


def _dot(terms, factors, X, found):  # type: ignore[no-untyped-def]
    for t in range(found.size):
        total, rest = 0.0, 0.0
        for i in range(terms.shape[0]):
            total, carry = two_sum(total, terms[i, t])
            rest += carry
        for j in range(factors.size):
            p, error = two_product(-factors[j], X[j, t])
            total, carry = two_sum(total, p)
            rest += error + carry
        found[t] = total + rest


_double_precision_sum = Loop(_sum, name="least_squares_sum")
_double_precision_gradient = Loop(_gradient, name="least_squares_gradient")
_double_precision_dot = Loop(_dot, name="least_squares_dot")
