"""The coefficients that a triangle says: one solution, the shortest of many, or a penalised one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.linear.triangle import SMALLEST, Triangle

__all__ = ["plain", "ridge"]

EPS = float(np.finfo(np.float64).eps)
#: A column's length is known to so many eps of what it was as the column came.
GIVEN = 4
#: And to 16·(√rows + features) eps of the length that centring has left, which the reflections' rounding may take.
COMPUTED = 16
#: Singular values in units of rounding: beyond this the rank is full without a doubt.
CLEAR = 8.0
#: Where lengths of solutions are compared, columns are shorter than the next longer one by no more than 2 to `GAP`, so
#: that those beyond keep their lengths among themselves (1e154 beside 1: all others were equally long), and than the
#: longest by no more than 2 to `RANGE`. (A gap of 120 leaves a column of 1e-200 noise of 1e67 for a coefficient.)
RANGE, GAP = 900, 480


def plain(
    R: NDArray[np.float64], Z: NDArray[np.float64], row: NDArray[np.float64], triangle: Triangle
) -> tuple[NDArray[np.float64], int, NDArray[np.float64]]:
    """(W, rank, doubt): the W (features, targets) that minimize ‖R·W − Z‖, the shortest in the triangle's units; the
    rank of R's columns; the relative error that each target's coefficients may have, where that is one solution.

    ``R``, ``Z``: of the centred columns; ``row``: the first row that the columns had with their offsets. Their rounding
    is some eps of the lengths that they had with it; and dependent is a column of which, when others are taken from it,
    no more is left than that.
    """
    from scipy.linalg import solve_triangular
    from scipy.linalg.lapack import dtrcon

    features, left = R.shape[1], np.linalg.norm(R, axis=0)
    own = np.hypot(left, row)
    own[own == 0] = 1
    rounding = EPS * (GIVEN * own + COMPUTED * (np.sqrt(triangle.rows) + features) * left)
    if len(R) >= features > 0:
        square = np.asfortranarray(R[:features])
        in_rounding = square / rounding
        if float(dtrcon(in_rounding)[0]) * float(np.abs(in_rounding).sum(axis=0).max()) > CLEAR:
            scaled = np.asfortranarray(square / own)
            inverse_condition = float(dtrcon(scaled)[0])
            tangent = triangle.rest / np.maximum(np.linalg.norm(Z[:features], axis=0), 1e-300)
            doubt = EPS / inverse_condition * (1 + tangent / inverse_condition)
            return solve_triangular(scaled, Z[:features], check_finite=False) / own[:, np.newaxis], features, doubt
    W, rank = _shortest(R, Z, rounding, np.frexp(triangle.unit[:features])[1])
    return W, rank, np.zeros(Z.shape[1])


def _shortest(
    R: NDArray[np.float64], Z: NDArray[np.float64], rounding: NDArray[np.float64], size: NDArray[np.int64]
) -> tuple[NDArray[np.float64], int]:
    """Columns are taken as long as what is left of one is beyond its rounding, the clearest first. The others are
    combinations A of these: V + A·U = basic holds for all solutions, V of the columns that were taken and U of the
    others.
    """
    from scipy.linalg import qr, solve_triangular

    # Of columns that say the same the longest is taken: a combination of short ones would have large numbers.
    length = size + np.log2(np.maximum(np.linalg.norm(R, axis=0), SMALLEST))
    rounding = rounding * (1 + np.argsort(np.argsort(-length)) / len(length))
    Q, T, order = qr(R / rounding, mode="economic", pivoting=True, check_finite=False)
    rank = int((np.abs(T.diagonal()) > 1).sum())
    W = np.zeros((R.shape[1], Z.shape[1]))
    if rank:
        square = T[:rank, :rank]
        basic, A, inverse = (
            solve_triangular(square, right, check_finite=False)
            for right in (Q[:, :rank].T @ Z, T[:rank, rank:], np.eye(rank))
        )
        unclear = np.linalg.norm(inverse, axis=1)[:, np.newaxis] * (1 + np.abs(A).sum(axis=0))
        unit = (size + np.log2(rounding))[order]
        V, U = _share(basic, A, unclear, unit[:rank], unit[rank:])
        W[order] = np.concatenate([V, U])
    return W / rounding[:, np.newaxis], rank


def _share(
    basic: NDArray[np.float64], A: NDArray[np.float64], unclear: NDArray[np.float64], one: NDArray[np.float64],
    other: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:  # fmt: skip
    """The solution (V, U) of V + A·U = basic for which (V/2^one, U/2^other) is shortest. Of A's numbers counts what is
    not ``unclear``: a column of another order of magnitude would have its share in noise, and noise for coefficients.
    """
    from scipy.linalg import qr, solve_triangular
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    clear = np.where(np.abs(A) > unclear, A, 0.0)
    V, U = basic.copy(), np.zeros((A.shape[1], basic.shape[1]))
    i, j = clear.nonzero()
    # Columns that have nothing to do with each other are no matter of lengths, which could differ by any power.
    _, part = connected_components(coo_array((np.ones(len(i)), (i, len(V) + j)), shape=(len(V) + len(U),) * 2), False)
    for found in np.unique(part[len(V) + j]):
        at, beside = (np.flatnonzero(of == found) for of in np.split(part, [len(V)]))
        below = _below(np.concatenate([one[at], other[beside]]))
        v, u = np.split(np.exp2(np.minimum(below, RANGE))[:, np.newaxis], [len(at)])
        of_others = (v * clear[np.ix_(at, beside)] / u.T).T
        Q, T = qr(np.concatenate([np.eye(len(at)), of_others]), mode="economic", check_finite=False)
        shared = Q @ solve_triangular(T, v * basic[at], trans="T", check_finite=False)
        V[at], U[beside] = np.split(shared / np.concatenate([v, u]), [len(at)])
    # Its error is relative to the longest number. Where that is more than rounding in an equation, the equation counts:
    # predictions do not change with the choice.
    error = basic - A @ U - V
    noise = 4 * EPS * (np.abs(basic) + np.abs(A) @ np.abs(U) + np.abs(V))
    return np.where(np.abs(error) > noise, V + error, V), U


def _below(unit: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each is below the largest, no `GAP` between two neighbours being wider than that."""
    falling = np.argsort(-unit, kind="stable")
    below = np.zeros(len(unit))
    below[falling[1:]] = np.cumsum(np.minimum(-np.diff(unit[falling]), GAP))
    return below


def ridge(R: NDArray[np.float64], Z: NDArray[np.float64], penalty: NDArray[np.float64]) -> NDArray[np.float64]:
    """W that minimizes ‖R·W − Z‖² + ‖penalty·W‖²: least squares with rows diag(penalty) below R."""
    from scipy.linalg import qr, solve_triangular

    rows, features = R.shape
    if rows >= features:
        (T,) = qr(
            np.block([[R, Z], [np.diag(penalty), np.zeros((features, Z.shape[1]))]]), mode="r", check_finite=False
        )
        return solve_triangular(T[:features, :features], T[:features, features:], check_finite=False)
    # Fewer rows than features: (penalty·W, U) is the shortest solution of R·W + U = Z, which needs no matrix of
    # n_features².
    Q, T = qr(np.concatenate([(R / penalty).T, np.eye(rows)]), mode="economic", check_finite=False)
    return (Q @ solve_triangular(T, Z, trans="T", check_finite=False))[:features] / penalty[:, np.newaxis]
