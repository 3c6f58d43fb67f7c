"""X goes through the compiled pass (`nbgrad.backends.cpu_regression`) in ranges of rows, on all threads.

An array is read where it lies if its rows are contiguous and it is of float32, float64 or uint8; of another kind a few
megabytes at a time are converted. A CSR matrix is multiplied by SciPy, in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT32, FLOAT64, contiguous
from nbgrad.backends import cpu_regression
from nbgrad.backends.cpu_regression import Model, wide_size, work_size
from nbgrad.backends.products import padded
from nbgrad.backends.strips import LANES
from nbgrad.threads import spread

__all__ = ["Curvature", "one_pass"]

# A block of rows is read twice, for the scores and for the gradient: the second time it must be in the cache, of the
# first level where there is one score a row (an eighth of the time is arithmetic), of the second where there are many.
BLOCK_BYTES, MATRIX_BLOCK_BYTES = 24 * 1024, 160 * 1024
#: Multiplications that are worth a thread's time, and the most ranges that X is cut into.
RANGE_WORK, RANGES = 2_000_000, 32
#: What is converted at a time: a part of X, of at least and at most so many bytes.
PIECE, PIECES = 32, (1024 * 1024, 16 * 1024 * 1024)
READ_AS_IT_IS = (FLOAT32, FLOAT64, np.dtype(np.uint8))


class _Plan:
    """How an array is cut up, and the memory for its sums: an eighth of the array's, or what two ranges need."""

    def __init__(
        self, n: int, features: int, classes: int, model: Model, dtype: np.dtype[Any], nbytes: int, convert: bool
    ) -> None:
        row = max(1, features * dtype.itemsize)
        self.rows = min(max((MATRIX_BLOCK_BYTES if model.matrix else BLOCK_BYTES) // row // 8 * 8, 8), LANES)
        self.w_step = padded(features, dtype.itemsize)
        buffer = self.rows * features if convert else 0
        narrow, wide = work_size(classes, self.w_step, buffer), wide_size(classes, self.w_step)
        operations = n * max(features, 1) * classes
        room = nbytes // 8 // (narrow * dtype.itemsize + wide * 8)
        self.ranges = max(1, min(operations // RANGE_WORK, RANGES, max(room, 2), n // LANES))
        self.small = operations < 2 * RANGE_WORK
        self.work, self.wide = np.empty((self.ranges, narrow), dtype), np.zeros((self.ranges, wide))

    def filled(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Rows of coefficients, filled up with zeros, flat."""
        filled = np.zeros((len(matrix), self.w_step), self.work.dtype)
        filled[:, : matrix.shape[1]] = matrix
        return filled.reshape(-1)

    def kept_shape(self, bounds: NDArray[np.intp], classes: int) -> tuple[int, int]:
        """(ranges, numbers): of each block of a range; of at least two, because one means that nothing is kept."""
        blocks = -(-int(np.diff(bounds).max()) // self.rows)
        return self.ranges, max(2, blocks) * classes * LANES

    def bounds(self, n: int) -> NDArray[np.intp]:
        """Where the ranges begin and end."""
        step = -(-n // (self.ranges * LANES)) * LANES
        return np.minimum(np.arange(self.ranges + 1) * step, n)

    def sums(self, features: int, classes: int) -> tuple[np.float64, NDArray[Any], NDArray[Any]]:
        """(loss, gradient (classes, features), sums of the residuals (classes,))"""
        total = self.wide.sum(axis=0)
        slopes = total[2 * LANES : (2 + classes) * LANES].reshape(classes, LANES).sum(axis=1)
        gradient = total[(2 + classes) * LANES :].reshape(classes, self.w_step)[:, :features]
        return total[LANES : 2 * LANES].sum(), gradient, slopes


def _pieces(X: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[tuple[int, int, NDArray[Any], int]]:
    """(first row, rows, their numbers flat, distance of two rows): all of X where it lies, or pieces converted."""
    n, features = X.shape
    step = X.strides[0] // X.itemsize if n > 1 else features
    lies = X.dtype in READ_AS_IT_IS and X.dtype.isnative and X.flags.aligned
    lies = lies and (features < 2 or X.strides[1] == X.itemsize) and X.strides[0] % X.itemsize == 0
    if X.size == 0 or (lies and (step == features or (X.dtype == dtype and step >= features))):
        size = max(0, (n - 1) * step + features) if X.size else 0
        flat = np.lib.stride_tricks.as_strided(X, (size,), (X.itemsize,), writeable=False)
        yield 0, n, contiguous(flat), step
        return
    size = min(max(X.nbytes // PIECE, PIECES[0]), PIECES[1])
    rows = max(size // (features * dtype.itemsize) // LANES, 1) * LANES
    for start in range(0, n, rows):
        piece = X[start : start + rows]
        converted = np.empty(piece.shape, dtype)
        np.copyto(converted, piece, casting="same_kind")
        yield start, len(piece), converted.reshape(-1), features


class Curvature:
    """What the Hessian needs of params, once it has been computed: for each piece of X, by its first row."""

    def __init__(self) -> None:
        self.kept: dict[int, NDArray[Any]] = {}

    def room(self, start: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> tuple[NDArray[Any], bool]:
        """(where it lies, whether it is there already)"""
        have = start in self.kept
        if not have:
            self.kept[start] = np.empty(shape, dtype)
        return self.kept[start], have


def one_pass(
    model: Model,
    X: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    w: NDArray[Any],
    intercept: NDArray[Any],
    direction: tuple[NDArray[Any], NDArray[Any]] | None = None,
    curvature: Curvature | None = None,
) -> tuple[int, np.float64, NDArray[Any], NDArray[Any]]:
    """(place of a bad target or −1, Σ w·loss, its gradient in w, in the intercept), float64; with a ``direction`` the
    product of the Hessian with it, what it needs of w kept in ``curvature``.

    ``w`` (classes, features), ``intercept`` (classes,) in the precision of the products.
    """
    features, dtype, classes = X.shape[1], w.dtype, len(w)
    v, v_intercept = direction or (w[:0], intercept)
    plan, coefficients = None, None
    loops = cpu_regression.slopes if direction is None else cpu_regression.curvatures
    for start, count, x, step in _pieces(X, dtype):
        convert = x.dtype != dtype
        if plan is None:
            plan = _Plan(count, features, classes, model, dtype, X.nbytes, convert)
            coefficients = plan.filled(w), intercept, plan.filled(v), v_intercept
        loop, bounds = loops(model, convert).serial, plan.bounds(count)
        kept, have = np.empty((plan.ranges, classes * LANES), dtype), False
        if curvature is not None:
            kept, have = curvature.room(start, plan.kept_shape(bounds, classes), dtype)
        rows = x, features, step, plan.rows
        targets = target[start : start + count], weight[start : start + count]
        places = _in_ranges(loop, rows, bounds, targets, (coefficients, plan.w_step), kept, have, plan)
        bad = [place for place in places if place >= 0]
        if bad:
            return start + bad[0], np.float64(np.nan), w, intercept
    assert plan is not None
    return -1, *plan.sums(features, classes)


def _in_ranges(
    loop: Any, rows: Any, bounds: Any, targets: Any, coefficients: Any, kept: Any, have: bool, plan: _Plan
) -> list[int]:
    """What the loop answers for each range."""

    def of(k: int) -> Any:
        ends = bounds[k], bounds[k + 1]
        return loop(*rows, *ends, *targets, *coefficients, kept[k], have, plan.work[k], plan.wide[k])

    return spread(of, plan.ranges, alone=plan.small)
