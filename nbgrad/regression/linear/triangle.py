"""The triangle of a table of rows: all that least squares needs of it.

R of [1, X, Y] (rows weighted by √weight) is built from blocks of rows, R ← qr([R; block]), so that X is read once and
never copied as a whole. Triangles put on top of each other have the triangle of all their rows: data that lie elsewhere
are factored there, and triangles travel (tall-skinny QR). The column of ones stands first: the reflection that clears
it centres the other columns.

Columns are brought to a common place and size before: with an intercept one row, the heaviest, is subtracted from all,
and each column is divided by a power of 2 near its largest number. Differences have a relative error of ½ eps at most,
so that what varies beside an offset keeps its digits, constant columns become 0, and no square overflows or vanishes.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, on_device
from nbgrad.place import plug_in

__all__ = ["Triangle", "add_triangles", "library", "power_of_2", "triangle_of", "weighted_rows"]

BLOCK_ROWS, BLOCK_WIDTHS = 4096, 4  # a block has at least 4 times as many rows as columns: R adds a quarter to its work
SMALLEST, LARGEST = 2.0**-1022, 2.0**1022  # units, which have a reciprocal


@dataclass(frozen=True)
class Triangle:
    """R of the rows √weight·[1, (X − shift)/unit, (Y − shift)/unit], without the 1 where there is no intercept.

    ``R``: of R the rows that belong to columns of [1, X]; ``rest`` (targets,): the lengths of what is below in the
    targets' columns; ``shift`` and ``unit`` (features + targets,); ``heaviest``: the largest weight; ``root``:
    √Σ weight; ``rows``: how many have weight.
    """

    R: NDArray[np.float64]
    rest: NDArray[np.float64]
    shift: NDArray[np.float64]
    unit: NDArray[np.float64]
    heaviest: float
    root: float
    rows: int

    @property
    def fit_intercept(self) -> int:
        return self.R.shape[1] - len(self.shift)

    def moved(self, shift: NDArray[np.float64], unit: NDArray[np.float64]) -> NDArray[np.float64]:
        """R with another shift, in another unit. A shift adds a multiple of the first column, which is 0 below R's
        first row.
        """
        R = self.R.copy(order="F")
        R[:, self.fit_intercept :] *= self.unit / unit
        if self.fit_intercept and len(R):
            R[0, 1:] += R[0, 0] * (self.shift / unit - shift / unit)
        return R


def library(X: Any) -> Any:
    """Whose functions take X: CuPy for an array on a GPU, else NumPy."""
    if isinstance(X, np.ndarray) or not on_device(X):
        return np
    return plug_in("cuda").tensor.library()


def to_host(array: Any, xp: Any) -> Any:
    return array if xp is np else xp.asnumpy(array)


def weighted_rows(X: Any, y: Any, weight: Any, order: Any) -> Iterator[tuple[Any, Any]]:
    """(rows of [X, Y] in float64, their weights or None), some thousand at a time. Rows of weight 0 are left out."""
    (n, features), xp = X.shape, library(X)
    y = y[:, np.newaxis] if y.ndim == 1 else y
    step = max(BLOCK_ROWS, BLOCK_WIDTHS * features)
    for start in range(0, n, step):
        some = slice(start, start + step)
        part = X[some]
        part = part.toarray() if hasattr(part, "toarray") else part
        rows = xp.empty((len(part), features + y.shape[1]), FLOAT64, order=order)
        rows[:, :features] = part
        rows[:, features:] = y[some]
        if weight is None:
            yield rows, None
        else:
            of_rows = weight[some].astype(FLOAT64)
            kept = of_rows > 0
            yield (rows, of_rows) if kept.all() else (rows[kept], of_rows[kept])


def triangle_of(i: int, block: tuple[Any, Any, Any], fit_intercept: bool) -> Triangle:
    """Of a block (X, y, weight), where it lies."""
    X, y, weight = block
    xp = library(X)
    targets = 1 if y.ndim == 1 else y.shape[1]
    columns = X.shape[1] + targets
    found = Triangle(
        np.zeros((0, fit_intercept + columns), order="F"), np.zeros(targets), np.zeros(columns),
        np.full(columns, SMALLEST), 0.0, 0.0, 0,
    )  # fmt: skip
    for rows, of_rows in weighted_rows(X, y, weight, "F"):
        if len(rows):
            found = _add_rows(found, rows, of_rows, fit_intercept, xp)
    return found


def _add_rows(found: Triangle, rows: Any, of_rows: Any, fit_intercept: bool, xp: Any) -> Triangle:
    top = 0 if of_rows is None else int(of_rows.argmax())
    heaviest = 1.0 if of_rows is None else float(of_rows[top])
    shift = found.shift
    if heaviest > found.heaviest and fit_intercept:
        shift = to_host(rows[top], xp).copy()
    size = to_host(xp.maximum(rows.max(axis=0), -rows.min(axis=0)), xp)
    unit = np.maximum(found.unit, power_of_2(np.maximum(size, np.abs(shift))))
    A = xp.ones((len(rows), fit_intercept + rows.shape[1]), order="F")
    np.multiply(rows, xp.asarray(1 / unit), out=A[:, fit_intercept:])
    if fit_intercept:
        A[:, 1:] -= xp.asarray(shift / unit)
    root = np.sqrt(float(len(rows)))
    if of_rows is not None:
        A *= xp.sqrt(of_rows)[:, np.newaxis]
        root = np.sqrt(heaviest) * np.sqrt(float((of_rows / heaviest).sum()))
    R = to_host(_qr(xp.concatenate([xp.asarray(found.moved(shift, unit)), A]), xp), xp)
    more = Triangle(R, found.rest, shift, unit, max(heaviest, found.heaviest), np.hypot(found.root, root),
                    found.rows + len(rows))  # fmt: skip
    return _cut(more, found.unit)


def add_triangles(*parts: Triangle) -> Triangle:
    """The triangle of all their rows."""
    base = max(parts, key=lambda part: part.heaviest)
    unit = functools.reduce(np.maximum, (part.unit for part in parts))
    targets = slice(len(unit) - len(base.rest), None)
    rests = [part.rest * (part.unit / unit)[targets] for part in parts]
    R = _qr(np.concatenate([part.moved(base.shift, unit) for part in parts]), np)
    total = Triangle(
        R, functools.reduce(np.hypot, rests), base.shift, unit, base.heaviest,
        functools.reduce(np.hypot, (part.root for part in parts)), sum(part.rows for part in parts),
    )  # fmt: skip
    return _cut(total, unit)


def _cut(triangle: Triangle, unit: NDArray[np.float64]) -> Triangle:
    """Without the rows that say nothing of the coefficients; ``unit``: that of ``rest`` so far."""
    targets = len(triangle.rest)
    at = triangle.R.shape[1] - targets
    rest = triangle.rest * (unit / triangle.unit)[-targets:] if targets else triangle.rest
    rest = np.hypot(rest, np.linalg.norm(triangle.R[at:, at:], axis=0))
    return Triangle(
        np.asfortranarray(triangle.R[:at]), rest, triangle.shift, triangle.unit, triangle.heaviest, triangle.root,
        triangle.rows,
    )  # fmt: skip


def power_of_2(size: NDArray[np.float64]) -> NDArray[np.float64]:
    """The power of 2 above ``size``, within those that have a reciprocal."""
    return np.clip(np.ldexp(1.0, np.clip(np.frexp(size)[1], -1022, 1022)), SMALLEST, LARGEST)


def _qr(A: Any, xp: Any) -> Any:
    """The triangle of A, or the trapezoid where it has fewer rows than columns."""
    if xp is not np:
        return xp.linalg.qr(A, mode="r")
    from scipy.linalg import qr

    (R,) = qr(A, mode="r", overwrite_a=True, check_finite=False)
    return R[: min(R.shape)]
