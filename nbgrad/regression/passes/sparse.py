"""Compiled loops over a sparse matrix: by its rows what a pass adds up, by its columns products, curvatures and
coordinate descent.

Source: G.-X. Yuan, C.-H. Ho, C.-J. Lin, An improved GLMNET for l1-regularized logistic regression, J. Mach. Learn. Res.
13 (2012) 1999: a quadratic is minimized column by column, its slope in each row kept.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit import Loop
from nbgrad.jit.thread_map import thread_map

__all__ = ["SparseColumns", "add_products", "add_extent", "columns_of", "scores"]

#: Parts of about as many numbers, for threads; fewer numbers than that are not worth one.
PARTS, PART = 4, 1 << 18
#: Columns that follow each other in every order of a sweep: memory is read in runs.
BLOCK = 16


def columns_of(X: Any, scale: NDArray[np.float64]) -> SparseColumns:
    """Of a canonical CSR matrix, each column times its ``scale``."""
    ends = np.zeros(X.shape[1] + 1, np.int64)
    indices, data = np.empty(X.nnz, np.int32 if X.shape[0] < 2**31 else np.int64), np.empty(X.nnz)
    _to_columns.serial(X.data, X.indices, X.indptr, scale, data, indices, ends)
    return SparseColumns(data, indices, ends, X.shape)


def scores(x: Any, unit: NDArray[np.float64], V: NDArray[np.float64]) -> NDArray[np.float64]:
    """V·(x·unit)ᵀ of rows in CSR format, with V's last column where it has one more."""
    out = np.empty((len(V), x.shape[0]))
    _scores.serial(x.data, x.indices, x.indptr, unit, V, out)
    return out


def add_products(x: Any, unit: NDArray[np.float64], A: NDArray[Any], power: int, out: NDArray[np.float64]) -> None:
    """out += A·(x·unit)^power, element by element, with a last column of ones where ``out`` has one more."""
    _add_products.serial(x.data, x.indices, x.indptr, unit, A, power, out)
    if out.shape[1] > len(unit):
        out[:, -1] += A.sum(axis=1)


def add_extent(x: Any, w: NDArray[np.float64], sums: NDArray[np.float64]) -> None:
    """`nbgrad.regression.passes.columns.add_extent` of rows in CSR format."""
    count = np.zeros(x.shape[1], np.int64)
    _add_extent.serial(x.data, x.indices, x.indptr, w, sums, count)
    zero = count < x.shape[0]
    sums[2, zero], sums[3, zero] = np.minimum(sums[2, zero], 0), np.maximum(sums[3, zero], 0)


class SparseColumns:
    """The columns of a sparse matrix: its numbers, their rows, where each column begins."""

    def __init__(self, data: NDArray[Any], indices: NDArray[Any], indptr: NDArray[Any], shape: tuple[int, int]) -> None:
        self.rows, self.features = shape
        self.arrays, nnz = (data, indices, indptr), len(data)
        parts = max(1, min(PARTS, nnz // PART))
        ends = np.searchsorted(indptr, [nnz * k // parts for k in range(1, parts)])
        self.bounds = [0, *ends.tolist(), self.features]

    def _each(self, call: Any) -> list[Any]:
        return thread_map(lambda k: call(k, *self.bounds[k : k + 2]), len(self.bounds) - 1)

    def times(self, v: NDArray[Any]) -> NDArray[np.float64]:
        """A·v"""
        out = np.zeros((len(self.bounds) - 1, self.rows))
        self._each(lambda k, first, last: _times.serial(*self.arrays, first, last, v, out[k]))
        return out.sum(axis=0)

    def curvatures(self, slope: NDArray[Any], D: NDArray[Any]) -> NDArray[np.float64]:
        """(Aᵀ·slope, (A∘A)ᵀ·D, Aᵀ·D)"""
        out = np.empty((3, self.features))
        self._each(lambda k, first, last: _curvatures.serial(*self.arrays, first, last, slope, D, out))
        return out

    def descend(
        self, columns: NDArray[Any], v: NDArray[Any], slope: NDArray[Any], D: NDArray[Any], curvature: tuple[Any, ...],
        penalty: tuple[Any, ...], *, offset: float = 0.0, exact: float = 0.0, relative: float = 0.0, most: int,
        seed: int = 0,
    ) -> tuple[int, float]:  # fmt: skip
        """Move ``v`` towards the minimum of slope·δ + ½·δ·D·δ + Σ l1·|v| + ½·l2·v², δ = A·change + an offset that
        follows without a penalty, coordinate by coordinate: (sweeps, offset).

        ``slope`` (rows,) is kept, but for the offset, whose slope at 0 and curvature are ``curvature``'s last, after
        (A∘A)ᵀ·D and Aᵀ·D (with curvature 0 there is none). ``penalty``: l1, l2 (features,), and whether v must not be
        below 0. It ends after ``most`` sweeps, or where no coordinate has moved by more than ``exact``, times the root
        of its curvature, nor by more than ``relative`` of the largest. With a ``seed`` each sweep goes through
        blocks of columns in an order of its own.
        """
        state = np.array([offset])
        sweeps = _descend.serial(
            *self.arrays, columns, v, slope, D, *curvature, *penalty, state, exact, relative, most, seed
        )  # fmt: skip
        return int(sweeps), float(state[0])


@Loop
def _to_columns(data, indices, indptr, scale, values, rows, ends):  # type: ignore[no-untyped-def]
    for j in indices:
        ends[j + 1] += 1
    for j in range(scale.size):
        ends[j + 1] += ends[j]
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j = indices[k]
            at = ends[j]
            rows[at], values[at] = i, data[k] * scale[j]
            ends[j] = at + 1
    for j in range(scale.size, 0, -1):
        ends[j] = ends[j - 1]
    ends[0] = 0


def _scores_loop(data, indices, indptr, unit, V, out):  # type: ignore[no-untyped-def]
    for c in range(len(V)):
        base = V[c, unit.size] if V.shape[1] > unit.size else 0.0
        for i in range(indptr.size - 1):
            s = base
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                s += data[k] * unit[j] * V[c, j]
            out[c, i] = s


_scores = Loop(_scores_loop, name="sparse_scores")


@Loop
def _add_products(data, indices, indptr, unit, A, power, out):  # type: ignore[no-untyped-def]
    for c in range(len(A)):
        for i in range(indptr.size - 1):
            a = A[c, i]
            for k in range(indptr[i], indptr[i + 1]):
                j = indices[k]
                x = data[k] * unit[j]
                out[c, j] += a * x if power == 1 else a * x * x


@Loop
def _add_extent(data, indices, indptr, w, sums, count):  # type: ignore[no-untyped-def]
    for i in range(indptr.size - 1):
        for k in range(indptr[i], indptr[i + 1]):
            j, x = indices[k], data[k]
            count[j] += 1
            sums[0, j] += w[i] * x
            sums[1, j] += w[i] * x * x
            sums[2, j] = x if x < sums[2, j] else sums[2, j]
            sums[3, j] = x if x > sums[3, j] else sums[3, j]


@Loop
def _times(data, indices, indptr, first, last, v, out):  # type: ignore[no-untyped-def]
    for j in range(first, last):
        t = v[j]
        if t != 0.0:
            for k in range(indptr[j], indptr[j + 1]):
                out[indices[k]] += t * data[k]


@Loop
def _curvatures(data, indices, indptr, first, last, slope, D, out):  # type: ignore[no-untyped-def]
    for j in range(first, last):
        a, b, c = 0.0, 0.0, 0.0
        for k in range(indptr[j], indptr[j + 1]):
            x, i = data[k], indices[k]
            t = x * D[i]
            a += x * slope[i]
            b += x * t
            c += t
        out[0, j], out[1, j], out[2, j] = a, b, c


@Loop
def _descend(  # type: ignore[no-untyped-def]
    data, indices, indptr, columns, v, slope, D, square, cross, total, l1, l2, positive, state, exact, relative, most,
    seed,
):  # fmt: skip
    offset, random = state[0], np.uint32(seed)
    order = np.arange((columns.size + BLOCK - 1) // BLOCK)
    for sweep in range(most):
        for m in range(order.size - 1 if seed > 0 else 0, 0, -1):
            random = np.uint32(np.uint64(random) * np.uint64(1664525) + np.uint64(1013904223))
            k = np.int64((np.uint64(random) * np.uint64(m + 1)) >> np.uint64(32))
            order[m], order[k] = order[k], order[m]
        moved, farthest, largest = 0.0, 0.0, 0.0
        for at in range(order.size * BLOCK):
            place = order[at // BLOCK] * BLOCK + at % BLOCK
            if place >= columns.size:
                continue
            j = columns[place]
            first, last = indptr[j], indptr[j + 1]
            share = cross[j] / total if total > 0.0 else 0.0
            h = square[j] - share * cross[j]
            if h <= 1e-13 * square[j]:
                continue
            a, b, c, d = offset * cross[j], 0.0, 0.0, 0.0
            k = first
            while k + 4 <= last:  # sums that do not wait for each other; by gathered vectors it takes longer
                a += data[k] * slope[indices[k]]
                b += data[k + 1] * slope[indices[k + 1]]
                c += data[k + 2] * slope[indices[k + 2]]
                d += data[k + 3] * slope[indices[k + 3]]
                k += 4
            while k < last:
                a += data[k] * slope[indices[k]]
                k += 1
            old = v[j]
            t = h * old - ((a + b) + (c + d))
            if t > l1[j]:
                new = (t - l1[j]) / (h + l2[j])
            elif t < -l1[j] and not positive:
                new = (t + l1[j]) / (h + l2[j])
            else:
                new = 0.0
            step = new - old
            if step != 0.0:
                v[j] = new
                offset -= share * step
                for k in range(first, last):
                    i = indices[k]
                    slope[i] += step * data[k] * D[i]
                moved = max(moved, abs(step) * np.sqrt(h))
                farthest = max(farthest, abs(step))
            largest = max(largest, abs(new))
        if moved <= exact or farthest <= relative * largest:
            state[0] = offset
            return sweep + 1
    state[0] = offset
    return most
