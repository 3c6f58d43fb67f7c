"""Least squares on blocks of rows, by QR and never by normal equations, which would square the condition number.

The R factor of [1, X·x_scale, y], rows multiplied by √weight, is all that least squares needs of the data. R of rows
put together is R of their R factors put on top of each other, so that blocks are factored where they lie and only
triangles travel: tall-skinny QR. The column of ones comes first: what R has below its first row belongs to the centred
columns.

Source: J. Demmel, L. Grigori, M. Hoemmen, J. Langou, Communication-optimal parallel and sequential QR and LU
factorizations, SIAM J. Sci. Comput. 34 (2012) A206.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import qr, solve_triangular

__all__ = ["least_squares", "r_factor", "solve"]


def least_squares(blocks: Any, *, fit_intercept: bool = True, x_scale: float = 1.0) -> NDArray[Any]:
    """The params (features + 1,), intercept last, that minimise Σ weight·(x·w + b − y)²; of several, those of the
    smallest ‖w‖. One pass. ``blocks``: `nbgrad.regression.blocks.Blocks` or DaskBlocks.

    Memory beside a block: 4·(features + 2)² numbers. float64, whatever X is.

    >>> import numpy as np
    >>> from nbgrad.regression.blocks import Blocks
    >>> X = np.arange(6.0)[:, None]
    >>> least_squares(Blocks([(X[:2], 2 * X[:2, 0] + 1), (X[2:], 2 * X[2:, 0] + 1)])).round(12).tolist()
    [2.0, 1.0]

    Errors: as those of `nbgrad.regression.blocks.scan`, which is to be called before.
    """
    R = blocks.reduce("qr", r_factor, stack, (fit_intercept, x_scale))
    return solve(R, fit_intercept=fit_intercept)


def r_factor(i: int, block: tuple[Any, Any, Any], argument: tuple[bool, float]) -> NDArray[Any]:
    """R of [1, X·x_scale, y] (without the ones where there is no intercept), each row times √weight."""
    (X, y, weight), (fit_intercept, x_scale) = block, argument
    n, features = X.shape
    columns = features + 1 + fit_intercept
    rows = 4 * columns  # at a time: fewer cost flops, since R is factored again with each; more cost memory
    R = np.empty((0, columns))
    for start in range(0, n, rows):
        part = X[start : start + rows]
        stop = start + part.shape[0]
        matrix = np.empty((len(R) + part.shape[0], columns), order="F")
        matrix[: len(R)], fresh = R, matrix[len(R) :]
        fresh[:, 0] = 1  # overwritten where there is no intercept
        np.multiply(part.toarray() if hasattr(part, "tocsr") else part, x_scale, out=fresh[:, fit_intercept:-1])
        fresh[:, -1] = y[start:stop]
        if weight is not None:
            fresh *= np.sqrt(np.asarray(weight[start:stop], np.float64))[:, None]
        R = _triangle(matrix)
    return R


def stack(*factors: NDArray[Any]) -> NDArray[Any]:
    """R of the rows whose R factors these are."""
    return _triangle(np.asfortranarray(np.concatenate(factors)))


def _triangle(matrix: NDArray[Any]) -> NDArray[Any]:
    (R,) = qr(matrix, mode="r", overwrite_a=True, check_finite=False)
    return np.ascontiguousarray(R[: R.shape[1]])


def solve(R: NDArray[Any], *, fit_intercept: bool = True) -> NDArray[Any]:
    """The params of smallest ‖w‖ that belong to the R factor of [1, X, y].

    Columns are scaled to length 1 before the rank is decided: powers of one variable (NIST's Wampler1) differ by 10⁶
    in length, and without it they lose every digit. The length is that of the column with its mean, so that what
    rounding leaves of a constant column counts as nothing.
    """
    first = int(fit_intercept)
    A, b = R[first:, first:-1], R[first:, -1]
    length = np.sqrt((R[:, first:-1] ** 2).sum(axis=0))
    length[length == 0] = 1
    w = np.zeros(A.shape[1])
    if A.size:
        Q, T, order = qr(A / length, mode="economic", pivoting=True)
        pivots = np.abs(np.diag(T))
        rank = int((pivots > 10 * max(R.shape) * np.finfo(np.float64).eps).sum())
        c = Q[:, :rank].T @ b
        T = T[:rank] * length[order]
        if rank == len(w):
            w[order] = solve_triangular(T, c)
        elif rank:  # T·w = c has many solutions: the one in the span of T's rows is the shortest
            P, L = qr(T.T, mode="economic")
            w[order] = P @ solve_triangular(L, c, trans="T")
    if not fit_intercept:
        return w
    with np.errstate(all="ignore"):  # no weight at all: nan
        return np.append(w, (R[0, -1] - R[0, 1:-1] @ w) / R[0, 0])
