"""What a pass in float64 does with a piece of rows that lies in the cache, compiled: columns into their frame, products
with few vectors, what the columns show. BLAS's threads would meet those that go through the pieces.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit import Loop
from nbgrad.regression.passes.one_pass import READ_AS_IT_IS

__all__ = ["add_extent", "add_products", "in_frame", "scores"]


def in_frame(x: Any, frame: Any, x_scale: float, intercept: bool, dtype: Any = np.float64) -> NDArray[Any]:
    """Rows of (x·x_scale − centre)·unit, computed in float64, with a column of ones for the intercept."""
    if x.dtype not in READ_AS_IT_IS or not (x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative):
        x = x.astype(np.float64, order="C")
    out = np.empty((len(x), x.shape[1] + intercept), dtype)
    centre = np.zeros(x.shape[1]) if frame.centre is None else frame.centre
    _in_frame.serial(x, x_scale, centre, frame.unit, out)
    return out


@Loop
def _in_frame(x, x_scale, centre, unit, out):  # type: ignore[no-untyped-def]
    T = out.dtype.type
    for i in range(len(x)):
        for j in range(unit.size):
            out[i, j] = T((np.float64(x[i, j]) * x_scale - centre[j]) * unit[j])
        if out.shape[1] > unit.size:
            out[i, unit.size] = T(1)


def scores(x: NDArray[np.float64], V: NDArray[np.float64]) -> NDArray[np.float64]:
    """V·xᵀ"""
    out = np.empty((len(V), len(x)))
    _scores.serial(x, V, out)
    return out


def _scores_loop(x, V, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        for k in range(len(V)):
            s = 0.0
            for j in range(x.shape[1]):
                s += x[i, j] * V[k, j]
            out[k, i] = s


_scores = Loop(_scores_loop, name="scores_of_columns", reduction=True)


def add_products(x: NDArray[np.float64], A: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """out += A·x"""
    _add_products.serial(x, A, out)


@Loop
def _add_products(x, A, out):  # type: ignore[no-untyped-def]
    i, n = 0, len(x)
    while i < n:
        four = i + 4 <= n  # rows at a time: out is read and written as often less
        for k in range(len(A)):
            if four:
                a, b, c, d = A[k, i], A[k, i + 1], A[k, i + 2], A[k, i + 3]
                for j in range(x.shape[1]):
                    out[k, j] += (a * x[i, j] + b * x[i + 1, j]) + (c * x[i + 2, j] + d * x[i + 3, j])
            else:
                a = A[k, i]
                for j in range(x.shape[1]):
                    out[k, j] += a * x[i, j]
        i += 4 if four else 1


def add_extent(x: NDArray[np.float64], w: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """To the rows of ``sums``: Σ w·x, Σ w·x² added, the smallest and the largest x (of numbers, not nan)."""
    _add_extent.serial(x, w, sums)


@Loop
def _add_extent(x, w, sums):  # type: ignore[no-untyped-def]
    i, n = 0, len(x)
    while i < n:
        two = i + 2 <= n
        last = i + two
        for j in range(x.shape[1]):
            a, b = x[i, j], x[last, j]
            u, v = w[i] * a, w[last] * b if two else 0.0
            sums[0, j] += u + v
            sums[1, j] += u * a + v * b
            low, high = (a, b) if a < b else (b, a)
            sums[2, j] = low if low < sums[2, j] else sums[2, j]
            sums[3, j] = high if high > sums[3, j] else sums[3, j]
        i = last + 1
