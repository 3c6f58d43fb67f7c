"""X goes through the compiled pass (`nbgrad.cpu.regression.one_pass`) in ranges of rows, on all threads.

An array is read where it lies if its rows are contiguous and it is of float32, float64 or uint8. Of another kind each
range brings a piece after the other into that form. Ranges, blocks and what is added to what follow from the shapes and
the precision of the products, not from how X lies: the same numbers give the same bits.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT32, FLOAT64, contiguous
from nbgrad.cpu.lanes import LANES
from nbgrad.cpu.regression import one_pass as cpu_regression
from nbgrad.cpu.regression.one_pass import FLUSH, Terms, wide_size, work_size
from nbgrad.cpu.regression.products import ROWS, padded
from nbgrad.cpu.transpose import Rows
from nbgrad.jit.thread_map import thread_map

__all__ = ["Curvature", "one_pass", "scores"]

# A block of rows is read twice, for the scores and for the gradient: the second time it must be in the cache, of the
# first level where there is one score a row (an eighth of the time is arithmetic), of the second where there are many,
# and of the third where there are so many that rows count more (20000×2000, 100 classes: 336 ms in blocks of 16 rows,
# 320 in blocks of 64).
BLOCK_BYTES, MATRIX_BLOCK_BYTES = 24 * 1024, 512 * 1024
#: Multiplications that are worth a thread's time, and the most ranges that X is cut into.
RANGE_WORK, RANGES = 2_000_000, 32
#: What a range converts at a time.
PIECE_BYTES = 128 * 1024
#: The same for scores: columns that lie one after the other are read in longer runs.
SCORES_PIECE_BYTES = 512 * 1024
#: Scores read X but once: memory is asked for it so far ahead (500000×100 in float32: half the time). Their ranges may
#: be as many as threads want, because a row's scores are its own.
AHEAD, RANGES_OF_A_THREAD = 96 * 1024, 4
READ_AS_IT_IS = (FLOAT32, FLOAT64, np.dtype(np.uint8))


class _Plan:
    """How n rows are cut up, and the memory for their sums: a sixteenth of what X takes in the precision of the
    products, or what two ranges need.
    """

    def __init__(self, n: int, features: int, classes: int, terms: Terms, dtype: np.dtype[Any], convert: bool) -> None:
        row = max(1, features * dtype.itemsize)
        self.rows = min(max((MATRIX_BLOCK_BYTES if terms.matrix else BLOCK_BYTES) // row // 8 * 8, 8), LANES)
        self.w_step = padded(features, dtype.itemsize)
        narrow, wide = work_size(classes, self.w_step), wide_size(classes, self.w_step)
        operations, buffer = n * max(features, 1) * classes, self.rows * features
        most = n * row // 16 // ((narrow + buffer) * dtype.itemsize + wide * 8)
        self.ranges = max(1, min(operations // RANGE_WORK, RANGES, max(most, 2), n // LANES))
        self.small = operations < 2 * RANGE_WORK
        step = -(-n // (self.ranges * LANES)) * LANES
        self.bounds = [min(k * step, n) for k in range(self.ranges + 1)]
        self.piece = max(PIECE_BYTES // row // self.rows, 1) * self.rows
        narrow += buffer if convert else 0
        self.work, self.wide = np.empty((self.ranges, narrow), dtype), np.zeros((self.ranges, wide))

    def filled(self, matrix: NDArray[Any]) -> NDArray[Any]:
        """Rows of coefficients, filled up with zeros, flat."""
        filled = np.zeros((len(matrix), self.w_step), self.work.dtype)
        filled[:, : matrix.shape[1]] = matrix
        return filled.reshape(-1)

    def kept_shape(self, classes: int) -> tuple[int, int]:
        """(ranges, numbers): of each block of a range; of at least two, because one means that nothing is kept."""
        blocks = -(-(self.bounds[1] - self.bounds[0]) // self.rows)
        return self.ranges, max(2, blocks) * classes * LANES

    def sums(self, features: int, classes: int) -> tuple[np.float64, NDArray[Any], NDArray[Any]]:
        """(loss, gradient (classes, features), sums of the residuals (classes,))"""
        total = self.wide.sum(axis=0)
        slopes = total[2 * LANES : (2 + classes) * LANES].reshape(classes, LANES).sum(axis=1)
        gradient = total[(2 + classes) * LANES :].reshape(classes, self.w_step)[:, :features]
        return total[LANES : 2 * LANES].sum(), gradient, slopes


def _as_it_lies(X: NDArray[Any], dtype: np.dtype[Any]) -> tuple[NDArray[Any], int] | None:
    """(X's numbers flat, distance of two rows), or None where the loops cannot read it there."""
    n, features = X.shape
    step = X.strides[0] // X.itemsize if n > 1 else features
    lies = X.dtype in READ_AS_IT_IS and X.dtype.isnative and X.flags.aligned
    lies = lies and (features < 2 or X.strides[1] == X.itemsize) and X.strides[0] % X.itemsize == 0
    if X.size and not (lies and (step == features or (X.dtype == dtype and step >= features))):
        return None
    size = max(0, (n - 1) * step + features) if X.size else 0
    return contiguous(np.lib.stride_tricks.as_strided(X, (size,), (X.itemsize,), writeable=False)), step


class Curvature:
    """What the Hessian needs of params, once it has been computed: second derivatives, of softmax the probabilities."""

    kept: NDArray[Any] | None = None

    def memory(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> tuple[NDArray[Any], bool]:
        """(where it lies, whether it is there already)"""
        have = self.kept is not None
        if self.kept is None:
            self.kept = np.empty(shape, dtype)
        return self.kept, have


def one_pass(
    terms: Terms,
    X: NDArray[Any],
    target: NDArray[Any],
    weight: NDArray[Any],
    w: NDArray[Any],
    intercept: NDArray[Any],
    parameters: tuple[Any, ...] = (),
    direction: tuple[NDArray[Any], NDArray[Any]] | None = None,
    curvature: Curvature | None = None,
) -> tuple[int, np.float64, NDArray[Any], NDArray[Any]]:
    """(place of a bad target or −1, Σ w·loss, its gradient in w, in the intercept), float64; with a ``direction`` the
    product of the Hessian with it, what it needs of w kept in ``curvature``.

    ``w`` (classes, features), ``intercept`` (classes,) and the model's own ``parameters`` in the precision of the
    products.
    """
    (n, features), dtype, classes = X.shape, w.dtype, len(w)
    v, v_intercept = direction or (w[:0], intercept)
    flat, step = _as_it_lies(X, dtype) or (None, features)
    convert = flat is not None and flat.dtype != dtype
    others = Rows(X, dtype)
    plan = _Plan(n, features, classes, terms, dtype, convert)
    coefficients = plan.filled(w), intercept, plan.filled(v), v_intercept, parameters
    kernel = cpu_regression.value_and_grad if direction is None else cpu_regression.hessian_product
    loop = kernel(terms, convert).serial
    kept, have = np.empty((plan.ranges, classes * LANES), dtype), False
    if curvature is not None:
        kept, have = curvature.memory(plan.kept_shape(classes), dtype)

    def part(k: int, x: NDArray[Any], ends: Any, since: int, end: bool, targets: Any, kept: NDArray[Any]) -> int:
        rows, sums = (x, features, step, plan.rows, *ends), (plan.work[k], plan.wide[k])
        bad: int = loop(*rows, since, end, *targets, coefficients, plan.w_step, kept, have, *sums)
        return bad

    def in_range(k: int) -> int:
        first, last = plan.bounds[k : k + 2]
        if flat is not None:
            return part(k, flat, (first, last), 0, True, (target, weight), kept[k])
        for start in range(first, last, plan.piece):
            stop, blocks = min(start + plan.piece, last), (start - first) // plan.rows
            x, targets = others[start:stop].reshape(-1), (target[start:stop], weight[start:stop])
            since = blocks % (FLUSH // plan.rows) * plan.rows
            rest = kept[k, blocks * classes * LANES :] if curvature else kept[k]
            bad = part(k, x, (0, stop - start), since, stop == last, targets, rest)
            if bad >= 0:
                return start + bad
        return -1

    bad = [place for place in thread_map(in_range, plan.ranges, alone=plan.small) if place >= 0]
    if bad:
        return bad[0], np.float64(np.nan), w, intercept
    return -1, *plan.sums(features, classes)


def scores(X: NDArray[Any], w: NDArray[Any], intercept: Any) -> NDArray[Any]:
    """X·wᵀ + intercept, (rows, classes), in the precision of ``w`` (classes, features). A row's scores follow from its
    numbers alone, bit by bit: not from the rows beside it, nor from how they lie.
    """
    (n, features), dtype, classes = X.shape, w.dtype, len(w)
    if w.shape[1] != features:
        raise ValueError(f"X: expected {w.shape[1]} features, a coefficient for each, got {features}")
    flat, step = _as_it_lies(X, dtype) or (None, features)
    if flat is not None and flat.dtype != dtype:
        flat = None
    others = Rows(X, dtype)
    w_step, row = padded(features, dtype.itemsize), max(1, features * dtype.itemsize)
    piece = max(SCORES_PIECE_BYTES // row // LANES, 1) * LANES
    coefficients, out = np.zeros((classes, w_step), dtype), np.empty((n, classes), dtype)
    coefficients[:, :features] = w
    rest = coefficients.reshape(-1), w_step, np.array(np.broadcast_to(intercept, classes), dtype), out.reshape(-1)
    loop = cpu_regression.scores(classes > 1).serial
    most = RANGES_OF_A_THREAD * numba.get_num_threads()
    ranges = max(1, min(n * features * classes // RANGE_WORK, most, n // LANES))

    def in_range(k: int) -> None:
        first, last = n * k // ranges, n * (k + 1) // ranges
        if flat is not None:
            loop(flat, features, step, first, last, first, max(AHEAD // row, ROWS) * step, *rest)
            return
        for start in range(first, last, piece):
            stop = min(start + piece, last)
            loop(others[start:stop].reshape(-1), features, features, 0, stop - start, start, 0, *rest)

    thread_map(in_range, ranges)
    return out
