"""The one pass over X that every regression objective makes: blocks of rows in, additive sums out.

For each block: scores = block·Wᵀ + b by BLAS, loss and residual (its derivative in the score) by a compiled
loop, gradient += residualᵀ·block by BLAS while the block is still in the cache. Sums over blocks are float64.
X is never copied; a block that BLAS cannot take as it is (another dtype, strides) is converted into one
reused buffer.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad import rows
from nbgrad.arrays import FLOAT64, as_array, as_float, as_labels, check_number, contiguous
from nbgrad.jit import Loop
from nbgrad.ops import Elementwise

__all__ = ["Objective", "binary", "elementwise", "labels", "one_pass", "real", "softmax"]

# Both products of a block want it in the L2 cache (1 MiB a core here): 60000×784 float32 with 10 classes took
# 33 ms with blocks of 256 KiB, 53 ms with 64 KiB (too many calls), 80 ms with 512 KiB (see below); one class
# 16, 25 and 16 ms. One thread.
BLOCK_BYTES = 256 * 1024
# OpenBLAS has kernels for small products without packing and threads, up to these sizes; just beyond, the
# same pass takes twice the time.
SMALL_SCORES, SMALL_PRODUCT = 1200, 1_000_000
# Below this it is one thread in any case, and more rows mean fewer calls.
SINGLE_THREAD = 250_000
# Where not even that many rows stay within the small kernels the general one works, and wants many rows:
# 10000×2000 with 100 classes took 430 ms in blocks of 4 rows, 88 ms in blocks of 524.
FEW_ROWS, MANY_ROWS, MANY_BYTES = 32, 512, 64 * 1024 * 1024


def block_rows(row_bytes: int, features: int, classes: int) -> int:
    """How many rows a block has."""
    count = BLOCK_BYTES // max(1, row_bytes)
    if classes > 1:
        width = max(1, features) * classes
        count = min(count, max(min(SMALL_SCORES // classes, SMALL_PRODUCT // width), SINGLE_THREAD // width))
        if count < FEW_ROWS:
            count = min(MANY_ROWS, MANY_BYTES // max(1, row_bytes))
    return min(max(count, FEW_ROWS), 8192)


@functools.cache
def elementwise(op: Elementwise) -> Loop:
    """``loop.serial(scores, intercept, target, weight, residual, residual_sum, *parameters)``.

    Returns Σ weight·f at score + intercept[0], writes residual = weight·f' and adds it up in residual_sum[0].
    A row of weight 0 is absent, even where its loss is infinite.
    """
    f, df = op.forward, op.derivative

    def loop(scores, intercept, target, weight, residual, residual_sum, *parameters):
        total, slope, zero = 0.0, 0.0, scores.dtype.type(0)
        for i in range(scores.size):
            x, w = scores[i] + intercept[0], weight[i]
            r = zero if w == zero else w * df(x, target[i], *parameters)
            residual[i] = r
            slope += np.float64(r)
            total += np.float64(zero if w == zero else w * f(x, target[i], *parameters))
        residual_sum[0] += slope
        return total

    return Loop(loop, name=op.name + "_residuals", reduction=True)


@functools.cache
def softmax() -> Loop:
    """The same for rows of class scores and class labels: cross-entropy."""
    value_and_grad = rows.d_cross_entropy

    def loop(scores, intercept, label, weight, residual, residual_sum):
        total, zero = 0.0, scores.dtype.type(0)
        for i in range(scores.shape[0]):
            w = weight[i]
            if w == zero:
                residual[i, :] = zero
                continue
            for j in range(scores.shape[1]):
                scores[i, j] += intercept[j]
            total += np.float64(w * value_and_grad(scores[i], label[i], w, residual[i]))
            for j in range(scores.shape[1]):
                residual_sum[j] += np.float64(residual[i, j])
        return total

    return Loop(loop, name="softmax_residuals")


def real(y: Any, dtype: np.dtype[Any], num_classes: int) -> NDArray[Any]:
    """Targets of linear regression: any finite numbers."""
    target = contiguous(as_float(y, "y").astype(dtype, copy=False))
    return _checked(target, np.isfinite(target), f"finite numbers (in {dtype})")


def binary(y: Any, dtype: np.dtype[Any], num_classes: int) -> NDArray[Any]:
    """Targets of logistic regression."""
    target = as_float(y, "y")
    _checked(target, (target == 0) | (target == 1), "labels 0 or 1")
    return contiguous(target.astype(dtype, copy=False))


def labels(y: Any, dtype: np.dtype[Any], num_classes: int) -> NDArray[Any]:
    """Targets of softmax regression: they will index memory."""
    target = as_labels(y, "y")
    return _checked(target, (target >= 0) & (target < num_classes), f"labels in 0..{num_classes - 1}")


def _checked(target: NDArray[Any], good: NDArray[Any], expected: str) -> NDArray[Any]:
    if not good.all():
        at = int(np.argmin(good))
        raise ValueError(f"y: expected {expected}, got {target[at]} at position {at}")
    return target


@dataclass(frozen=True)
class Objective:
    """What distinguishes the models: how scores become losses, and which targets there are."""

    loop: Callable[[], Loop]
    targets: Callable[[Any, np.dtype[Any], int], NDArray[Any]]
    parameters: tuple[float, ...] = ()
    classes: bool = False  # a row of scores for each row of X


def one_pass(
    objective: Objective,
    params: NDArray[Any],
    X: Any,
    y: Any,
    sample_weight: Any,
    fit_intercept: Any,
    x_scale: Any,
) -> tuple[np.float64, NDArray[Any], np.float64]:
    """(Σ w·loss, its gradient in ``params`` and in their shape, Σ w), float64."""
    X = _checked_X(X)
    n, features = X.shape
    if not isinstance(fit_intercept, (bool, np.bool_)):
        raise TypeError(f"fit_intercept: expected a bool, got {type(fit_intercept).__name__}")
    x_scale = check_number(x_scale, "x_scale", FLOAT64)
    if not np.isfinite(x_scale):
        raise ValueError(f"x_scale: expected a finite number, got {x_scale}")
    matrix = _coefficients(params, features, bool(fit_intercept), objective.classes)
    # SciPy's products add up one row after the other: in float32 thousands of rows would cost digits that
    # BLAS keeps.
    dtype = params.dtype if isinstance(X, np.ndarray) else FLOAT64
    num_classes = len(matrix) if objective.classes else 1
    if np.shape(y) != (n,):
        raise ValueError(f"y: expected shape ({n},), a target for each row of X, got {np.shape(y)}")

    with np.errstate(all="ignore"):  # nan and inf in X or params come back as nan and inf: that is the answer
        target = objective.targets(y, dtype, num_classes)
        weight, unit, weight_sum = _weights(sample_weight, n, dtype)
        coefficients = (matrix[..., :features].astype(FLOAT64) * x_scale).astype(dtype)
        intercept = np.zeros(num_classes, dtype)
        if fit_intercept:
            intercept[:] = matrix[..., features]
        loop = objective.loop().serial
        parameters = tuple(dtype.type(p) for p in objective.parameters)
        gradient, residual_sum, loss = np.zeros(coefficients.shape), np.zeros(num_classes), 0.0
        for start, block in _blocks(X, block_rows(_row_bytes(X, dtype), features, num_classes), dtype):
            scores = block @ coefficients.T
            stop = start + len(scores)
            residual = np.empty_like(scores)
            w = weight[start:stop] if sample_weight is not None else weight[: len(scores)]
            loss += loop(scores, intercept, target[start:stop], w, residual, residual_sum, *parameters)
            gradient += residual.T @ block
        gradient *= x_scale
        if fit_intercept:
            gradient = np.concatenate([gradient, residual_sum.reshape(*gradient.shape[:-1], 1)], axis=-1)
        return np.float64(loss * unit), (gradient * unit).reshape(params.shape), weight_sum


def _checked_X(X: Any) -> Any:
    """A 2-D array or SciPy's CSR of real numbers, as it lies in memory."""
    sparse = sys.modules.get("scipy.sparse")  # not imported: no sparse X
    if sparse is not None and sparse.issparse(X):
        if X.format != "csr":
            raise TypeError(
                f"X: expected an array or SciPy's CSR format, got {X.format.upper()} (X.tocsr() converts it)"
            )
        as_float(X.data[:0], "X")
    else:
        X = as_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (rows, features), got {X.shape}")
    if isinstance(X, np.ndarray):
        as_float(X[:0], "X")  # its dtype; the rows are converted block by block
    return X


def _coefficients(params: NDArray[Any], features: int, fit_intercept: bool, classes: bool) -> NDArray[Any]:
    """params as (columns,) or (num_classes, columns), the intercept in the last column."""
    columns = features + fit_intercept
    meant = f"for {features} features and " + ("an intercept" if fit_intercept else "no intercept")
    if not classes:
        if params.shape != (columns,):
            raise ValueError(f"params: expected shape ({columns},) {meant}, got {params.shape}")
        return params
    matrix = params.ndim == 2 and params.shape[1] == columns and len(params) > 0
    flat = params.ndim == 1 and columns > 0 and params.size > 0 and params.size % columns == 0
    if not (matrix or flat):
        raise ValueError(
            f"params: expected shape (num_classes, {columns}), or that flattened, {meant}, got {params.shape}"
        )
    return params if matrix else params.reshape(-1, columns)


def _weights(sample_weight: Any, n: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], float, np.float64]:
    """The weights in a unit that keeps them in ``dtype``'s range, the unit (a power of 2), and their sum."""
    if sample_weight is None:
        return np.ones(8192, dtype), 1.0, np.float64(n)
    weight = as_float(sample_weight, "sample_weight")
    if weight.shape != (n,):
        raise ValueError(
            f"sample_weight: expected shape ({n},), a weight for each row of X, got {weight.shape}"
        )
    low, high = (weight.min(), weight.max()) if n else (0.0, 0.0)
    if not (low >= 0 and high < np.inf):  # nan is the minimum and the maximum
        raise ValueError(f"sample_weight: expected finite numbers >= 0, got {high if low >= 0 else low}")
    unit = math.ldexp(1.0, max(math.frexp(high)[1] - 1, -1074))
    return (
        contiguous((weight / weight.dtype.type(unit)).astype(dtype, copy=False)),
        unit,
        np.sum(weight, dtype=np.float64),
    )


def _row_bytes(X: Any, dtype: np.dtype[Any]) -> int:
    if isinstance(X, np.ndarray):
        return int(X.shape[1]) * dtype.itemsize
    return int(X.nnz // max(1, X.shape[0])) * (dtype.itemsize + X.indices.itemsize)


def _blocks(X: Any, rows: int, dtype: np.dtype[Any]) -> Iterator[tuple[int, Any]]:
    """(first row, block): blocks that can be multiplied; each is valid until the next."""
    if not isinstance(X, np.ndarray):
        yield from _csr_blocks(X, rows)
        return
    flags, buffer = X.flags, None
    if X.dtype != dtype or not flags.aligned or not (flags.c_contiguous or flags.f_contiguous):
        by_column = abs(X.strides[0]) < abs(X.strides[1])  # read it in the order in which it lies
        buffer = np.empty((min(rows, len(X)), X.shape[1]), dtype, order="F" if by_column else "C")
    for start in range(0, len(X), rows):
        block = X[start : start + rows]
        if buffer is not None:
            converted = buffer[: len(block)]
            np.copyto(converted, block, casting="same_kind")
            block = converted
        yield start, block


def _csr_blocks(X: Any, rows: int) -> Iterator[tuple[int, Any]]:
    """Blocks over the memory of a CSR matrix. SciPy trusts the indices in products: they are checked."""
    n, features = X.shape
    for start in range(0, n, rows):
        stop = min(start + rows, n)
        ends = X.indptr[start : stop + 1]
        first, last = int(ends[0]), int(ends[-1])
        indices, data = X.indices[first:last], X.data[first:last]
        whole = len(ends) == stop - start + 1 and first >= 0 and len(indices) == len(data) == last - first
        inside = not indices.size or (indices.min() >= 0 and indices.max() < features)
        if not (whole and inside and (ends[1:] >= ends[:-1]).all()):
            raise ValueError(f"X: expected valid CSR indices, got invalid ones in rows {start}..{stop - 1}")
        yield start, type(X)((data, indices, ends - first), shape=(stop - start, features), copy=False)
