"""Value, gradient and Hessian (or what else a minimizer wants to know of the rows) in one pass, in float64.

Rows come in pieces that stay in the cache, as (x·x_scale − centre)·unit of each column: `Frame`. The products are
BLAS's, what is between them is the models' own loop. All sums are additive over blocks of rows; none is divided by
Σ weight, none has a penalty. A row of weight 0 is absent.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit.thread_map import thread_map
from nbgrad.regression.passes import columns as compiled
from nbgrad.regression.passes import sparse as compiled_sparse

__all__ = ["Frame", "Ranges", "pieces", "ranges", "second_order", "with_ones"]

#: Numbers of X in a piece, in float64: 1 MB.
PIECE = 1 << 17
#: Rows of a sparse matrix.
ROWS = 1 << 13
#: Numbers of X that are worth threads, and the parts that are made of them.
THREADED, PARTS = 1 << 21, 8
#: Classes up to which compiled products in these threads take less time than BLAS's in its own.
FEW = 32


@dataclass(frozen=True)
class Ranges:
    """What the columns show: Σ weight·x, Σ weight·x², the smallest and the largest x; Σ weight."""

    total: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    weight: float

    def __add__(self, other: Ranges) -> Ranges:
        return Ranges(
            self.total + other.total, self.squares + other.squares, np.minimum(self.low, other.low),
            np.maximum(self.high, other.high), self.weight + other.weight,
        )  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """Coordinates of the columns in which Hessians keep their digits: (x − centre)·unit, units being powers of two.

    Without ``centre`` (no intercept, or a sparse matrix of many columns) nothing is subtracted.
    """

    unit: NDArray[np.float64]
    centre: NDArray[np.float64] | None = None

    @staticmethod
    def of(found: Ranges, l2: float, centred: bool) -> Frame:
        """Columns about as long as 1: those with the penalty, where that is more than their spread."""
        low, high = found.low, found.high
        centre = np.zeros(len(low))
        if centred:
            centre = np.where(low == high, low, found.total / found.weight)
            centre = np.where(np.isfinite(centre), centre, low / 2 + high / 2)
        spread = np.maximum(np.maximum(high - centre, centre - low), min(np.sqrt(l2), 1e150))
        exponent = np.frexp(np.where(np.isfinite(spread) & (spread > 0), spread, 1.0))[1]
        return Frame(np.ldexp(1.0, np.clip(-exponent, -1000, 1000)), centre if centred else None)

    def columns(self, x: Any, x_scale: float, intercept: bool, xp: Any = np, dtype: Any = np.float64) -> Any:
        """Rows of X (an array of ``xp``) in the frame, with a column of ones for the intercept."""
        if xp is np:
            return compiled.in_frame(x, self, x_scale, intercept, dtype)
        x = x.astype(np.float64) * x_scale
        columns = xp.ones((len(x), x.shape[1] + intercept))
        columns[:, : x.shape[1]] = (x if self.centre is None else x - xp.asarray(self.centre)) * xp.asarray(self.unit)
        return columns

    def inner(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of parameters of x, as parameters of the frame's columns."""
        features = len(self.unit)
        found = np.array(params, np.float64)
        found[:, :features] /= self.unit
        if self.centre is not None:
            found[:, features] += params[:, :features] @ self.centre
        return found

    def outer(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """The way back."""
        features = len(self.unit)
        found = np.array(params, np.float64)
        found[:, :features] *= self.unit
        if self.centre is not None:
            found[:, features] -= found[:, :features] @ self.centre
        return found


def pieces(rows: Any, frame: Frame, first: int, last: int) -> Any:
    """(range of rows, their columns in the frame and a 1 for the intercept)"""
    sparse = rows.sparse and frame.centre is None
    step = ROWS if sparse else max(64, PIECE // max(1, min(rows.n_features, PIECE)))
    for start in range(first, last, step):
        at = slice(start, min(start + step, last))
        weight = rows.weights(at)
        if sparse:
            yield at, rows.numbers(at, dense=False)
            continue
        columns = rows.in_frame(at, frame)
        if weight is not None:
            columns[weight == 0] = 0.0  # whatever is written there
        yield at, columns


def second_order(
    rows: Any, params: NDArray[np.float64], frame: Frame, kind: str, chosen: NDArray[np.intp] | None = None
) -> tuple[Any, ...]:
    """(Σ weight·loss, its gradient, and by ``kind``: "gradient" nothing more; "hessian": the whole Hessian, or that of
    the ``chosen`` columns; "diagonal": of each class's block its diagonal and its intercept's row) at ``params``
    (classes, columns) of the frame.
    """
    by_loops = rows.xp is np and kind != "hessian" and len(params) <= FEW
    if by_loops and (rows.size >= THREADED or (rows.sparse and frame.centre is None)):
        params, alone = np.ascontiguousarray(params), rows.size < THREADED
        parts = thread_map(lambda k: _diagonal(rows, params, frame, kind, *_part(rows, k)), PARTS, alone=alone)
        found = tuple(sum(several) for several in zip(*parts, strict=True))
    else:
        found = _by_products(rows, params, frame, kind, chosen)
    return tuple(rows.on_host(a) * rows.unit for a in found)


def with_ones(x: Any, frame: Frame, intercept: bool) -> Any:
    """A sparse matrix in its frame."""
    from scipy.sparse import diags_array, hstack

    x = x @ diags_array(frame.unit)
    return (hstack([x, np.ones((x.shape[0], 1))], format="csr") if intercept else x).tocsr()


def _part(rows: Any, k: int) -> tuple[int, int]:
    """Of `PARTS` that follow from the shape alone."""
    return rows.rows * k // PARTS, rows.rows * (k + 1) // PARTS


def _diagonal(
    rows: Any, params: NDArray[np.float64], frame: Frame, kind: str, first: int, last: int
) -> tuple[Any, ...]:
    """`second_order` of some rows, without a Hessian, by compiled products."""
    loss, gradient, second = 0.0, np.zeros(params.shape), np.zeros((2, *params.shape))
    sparse = rows.sparse and frame.centre is None
    with np.errstate(all="ignore"):
        for at, x in pieces(rows, frame, first, last):
            scores = compiled_sparse.scores(x, frame.unit, params) if sparse else compiled.scores(x, params)
            curvature = None if kind == "gradient" else np.ascontiguousarray(_curvature(rows, at, scores, False))
            found, residuals = rows.loss_and_residuals(at, scores)
            loss += found
            if sparse:
                for A, power, out in ((residuals, 1, gradient), (curvature, 1, second[1]), (curvature, 2, second[0])):
                    if A is not None:
                        compiled_sparse.add_products(x, frame.unit, A, power, out)
                continue
            compiled.add_products(x, residuals, gradient)
            if curvature is not None:
                compiled.add_products(x, curvature, second[1])
                x *= x
                compiled.add_products(x, curvature, second[0])
    return (loss, gradient) if kind == "gradient" else (loss, gradient, second)


def _by_products(
    rows: Any, params: NDArray[np.float64], frame: Frame, kind: str, chosen: NDArray[np.intp] | None
) -> tuple[Any, ...]:
    """The same of all rows, of any kind, by matrix products."""
    classes, columns = params.shape
    size = columns if chosen is None else len(chosen)
    with rows.computing(), np.errstate(all="ignore"):
        xp = rows.xp
        V, loss, gradient = xp.asarray(params), 0.0, xp.zeros((classes, columns))
        shape = {"gradient": (0,), "hessian": (classes, size, classes, size), "diagonal": (2, classes, columns)}[kind]
        second = xp.zeros(shape)
        for at, x in pieces(rows, frame, 0, rows.rows):
            if rows.sparse and frame.centre is None:
                x = with_ones(x, frame, rows.fit_intercept)
            scores = xp.ascontiguousarray((x @ V.T).T)
            curvature: Any = None if kind == "gradient" else _curvature(rows, at, scores, kind == "hessian")
            found, residuals = rows.loss_and_residuals(at, scores)
            loss += found
            gradient += (x.T @ residuals.T).T
            if kind == "hessian":
                _add_hessian(second, x if chosen is None else x[:, xp.asarray(chosen)], curvature, xp)
            elif kind == "diagonal":
                second[0] += ((x.multiply(x) if hasattr(x, "tocsr") else x * x).T @ curvature.T).T
                second[1] += (x.T @ curvature.T).T
        if kind == "hessian" and classes > 1:
            for k in range(classes):
                for m in range(k):
                    second[k, :, m] = second[m, :, k].T
        return (loss, gradient, second) if second.size else (loss, gradient)


def _curvature(rows: Any, at: slice, scores: Any, pairs: bool) -> Any:
    """weight·f'' (1, n); of softmax weight·p_k(1 − p_k) (classes, n), or with ``pairs`` (weighted p, p, 1 − p). The
    likeliest class's 1 − p is the others' sum: a sure class keeps its digits.
    """
    if rows.model != "softmax":
        return rows.curvature(at, scores)
    xp, columns = rows.xp, rows.xp.arange(scores.shape[1])
    top = scores.argmax(axis=0)
    e = xp.exp(scores - scores[top, columns])
    e[top, columns] = 0.0
    others = e.sum(axis=0)
    e[top, columns] = 1.0
    p = e / (1.0 + others)
    rest = 1.0 - p
    rest[top, columns] = others / (1.0 + others)
    weight = rows.weights(at)
    weighted = p if weight is None else xp.where(weight > 0, p * weight, 0.0)
    return (weighted, p, rest) if pairs else weighted * rest


def _add_hessian(hessian: Any, x: Any, curvature: Any, xp: Any) -> None:
    def weighted_rows(factor: Any) -> Any:
        return x.multiply(factor[:, np.newaxis]).tocsr() if hasattr(x, "tocsr") else x * factor[:, np.newaxis]

    def add(k: int, m: int, product: Any) -> None:
        hessian[k, :, m] += product.toarray() if hasattr(product, "toarray") else product

    if not isinstance(curvature, tuple):
        y = weighted_rows(xp.sqrt(curvature[0]))
        add(0, 0, y.T @ y)
        return
    weighted, p, rest = curvature
    for k in range(len(p)):
        y = weighted_rows(xp.sqrt(weighted[k] * rest[k]))
        add(k, k, y.T @ y)
        for m in range(k + 1, len(p)):
            add(k, m, weighted_rows(-weighted[k] * p[m]).T @ x)


def ranges(rows: Any) -> Ranges:
    """What the columns show, of the rows that have a weight."""
    if rows.xp is not np or rows.size < THREADED:
        parts = [_ranges_of(rows, 0, rows.rows)]
    else:
        parts = thread_map(lambda k: _ranges_of(rows, *_part(rows, k)), PARTS)
    total = functools.reduce(operator.add, parts)
    return Ranges(total.total * rows.unit, total.squares * rows.unit, total.low, total.high, total.weight * rows.unit)


def _ranges_of(rows: Any, first: int, last: int) -> Ranges:
    with rows.computing(), np.errstate(all="ignore"):
        xp, features = rows.xp, rows.n_features
        sums, count = xp.zeros((4, features)), 0.0
        sums[2], sums[3] = np.inf, -np.inf
        step = ROWS if rows.sparse else max(64, PIECE // max(1, min(features, PIECE)))
        for start in range(first, last, step):
            at = slice(start, min(start + step, last))
            x, weight = rows.numbers(at, dense=not rows.sparse), rows.weights(at)
            if weight is not None and not bool((weight > 0).all()):
                x, weight = x[weight > 0], weight[weight > 0]
            if not x.shape[0]:
                continue
            w = xp.ones(x.shape[0]) if weight is None else weight
            count += float(w.sum())
            if xp is np:
                (compiled_sparse if rows.sparse else compiled).add_extent(x, w, sums)
                continue
            sums[2], sums[3] = xp.minimum(sums[2], x.min(axis=0)), xp.maximum(sums[3], x.max(axis=0))
            sums[0] += x.T @ w
            sums[1] += (x * x).T @ w
        sums[2:, xp.isnan(sums[1])] = np.nan  # compiled comparisons pass it by
        total, squares, low, high = (rows.on_host(row) for row in sums)
        return Ranges(total, squares, low, high, count)
