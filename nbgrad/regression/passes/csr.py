"""The pass over a CSR matrix: SciPy multiplies, in float64 (it adds up one row after the other: in float32 thousands of
rows would cost digits), the compiled loop does what is between the products.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64
from nbgrad.cpu.lanes import LANES
from nbgrad.cpu.regression import one_pass as cpu_regression
from nbgrad.cpu.regression.one_pass import Terms, wide_size, work_size

__all__ = ["checked", "one_pass_csr"]

#: The scores of a block.
BLOCK_BYTES = 16 * 1024 * 1024


def one_pass_csr(
    terms: Terms,
    X: Any,
    target: NDArray[Any],
    weight: NDArray[Any],
    w: NDArray[Any],
    intercept: NDArray[Any],
    parameters: tuple[Any, ...] = (),
    direction: tuple[NDArray[Any], NDArray[Any]] | None = None,
) -> tuple[int, np.float64, NDArray[Any], NDArray[Any]]:
    """As `nbgrad.regression.passes.one_pass.one_pass`."""
    classes = len(w)
    work, wide = np.empty(work_size(classes, 0)), np.zeros(wide_size(classes, 0))
    gradient = np.zeros(w.shape)
    loop = cpu_regression.of_scores(terms, direction is not None).serial
    v, v_intercept = direction or (w, intercept)
    for start, block in _blocks(X, max(BLOCK_BYTES // (8 * classes), LANES)):
        n = block.shape[0]
        scores = np.ascontiguousarray((block @ w.T).T, FLOAT64)
        u = np.ascontiguousarray((block @ v.T).T, FLOAT64) if direction else scores
        bad = loop(
            scores.reshape(-1), u.reshape(-1), n, target[start : start + n], weight[start : start + n], intercept,
            v_intercept, parameters, work, wide,
        )  # fmt: skip
        if bad >= 0:
            return start + bad, np.float64(np.nan), w, intercept
        gradient += (block.T @ u.T).T
    slopes = wide[2 * LANES :].reshape(classes, LANES).sum(axis=1)
    return -1, wide[LANES : 2 * LANES].sum(), gradient, slopes


def _blocks(X: Any, rows: int) -> Iterator[tuple[int, Any]]:
    """Blocks over the memory of a CSR matrix."""
    for start in range(0, X.shape[0], rows):
        yield start, checked(X, start, min(start + rows, X.shape[0]))


def checked(X: Any, start: int, stop: int) -> Any:
    """Rows of a CSR matrix, over its memory. SciPy trusts the indices in products: they are checked."""
    features = X.shape[1]
    ends = X.indptr[start : stop + 1]
    first, last = int(ends[0]), int(ends[-1])
    indices, data = X.indices[first:last], X.data[first:last]
    whole = len(ends) == stop - start + 1 and first >= 0 and len(indices) == len(data) == last - first
    inside = not indices.size or (indices.min() >= 0 and indices.max() < features)
    if not (whole and inside and (ends[1:] >= ends[:-1]).all()):
        raise ValueError(f"X: expected valid CSR indices, got invalid ones in rows {start}..{stop - 1}")
    return type(X)((data, indices, ends - first), shape=(stop - start, features), copy=False)
