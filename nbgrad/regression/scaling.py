"""Other variables for a minimizer, in which the objective is nearly round, so that few passes over X suffice.

With f the mean curvature of the loss in a score, the Hessian is about A = f·M + l2, one block for each class, M being
the mean of x·xᵀ. It hardly depends on the parameters, and a sample of the rows tells it. With A = L·Lᵀ and
params = L⁻ᵀ·u the Hessian in u is about 1. MNIST, softmax, passes of L-BFGS down to the objective that scikit-learn's
reaches in 100 iterations, and to that of its Newton-CG: 105 and 447 in params themselves; 64 and 319 where each feature
is divided by its root mean square; 16 and 78 in u.

Source: D. Böhning, Multinomial logistic regression algorithm, Ann. Inst. Stat. Math. 44 (1992) 197, who bounds the
Hessian by such a product; the sample and the smaller f are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Scaling", "moments", "scaling"]

# Rows of the sample, at least and for each feature: the sample's M is that of all rows within a factor of 2 or 4, in
# every direction (the eigenvalues of their quotient lie between (1 ± √¼)²). MNIST: 4, 8, 19 rows a feature: 78, 69, 66
# passes.
ROWS, ROWS_A_FEATURE = 4096, 4
# The whole of M is worth the work of this many passes and, for so many columns, its memory (34 MB); else its diagonal
# must do.
PASSES, COLUMNS = 25, 2048
# Numbers of the sample that are worked on at a time, in float64: 4 MB.
PIECE = 1 << 19
# Of the curvature at params = 0, which is about 1/classes, this much is left where the labels are nearly sure. MNIST:
# 1/3, 1/10, 1/30: 100, 78, 69 passes for softmax, 11, 11, 13 for two classes.
LEFT = 0.1
# Added to A with a diagonal of 1: where the sample knows nothing of a direction, the step there stays finite.
RIDGE = 1e-6


@dataclass(frozen=True)
class Scaling:
    """params = scale·L⁻ᵀ·u, row by row; without L: params = scale·u."""

    scale: NDArray[np.float64]
    L: NDArray[np.float64] | None = None

    def params(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of the variables ``u`` (in params' shape)."""
        return self.scale * self._solve(u, "T")

    def gradient(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """In u, of that in params."""
        return self._solve(self.scale * gradient, "N")

    def variables(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """u of ``params``."""
        u = params / self.scale
        return u if self.L is None else u @ self.L

    def _solve(self, rows: NDArray[np.float64], trans: str) -> NDArray[np.float64]:
        if self.L is None:
            return rows
        from scipy.linalg import solve_triangular

        return solve_triangular(self.L, rows.T, trans=trans, lower=True, check_finite=False).T


def moments(
    X: Any, weight: Any, *, step: int, x_scale: float, fit_intercept: bool, full: bool, xp: Any = np
) -> tuple[NDArray[np.float64], float]:
    """(Σ weight·x·xᵀ, or its diagonal; Σ weight) over every ``step``-th row of an array or CSR matrix, x with
    ``x_scale`` and a 1 for the intercept. Additive over blocks of rows. ``xp``: the library whose arrays they are.
    """
    with np.errstate(all="ignore"):  # what overflows is noticed by `scaling`
        rows = X[::step]
        weight = xp.ones(rows.shape[0]) if weight is None else weight[::step].astype(np.float64, order="C")
        columns = rows.shape[1] + fit_intercept
        if not full and hasattr(rows, "tocsr"):  # which as an array might be larger than memory
            found = np.ones(columns) * weight.sum()
            found[: rows.shape[1]] = rows.astype(np.float64).power(2).T @ weight * x_scale**2
            return found, float(weight.sum())
        found = xp.zeros((columns, columns) if full else columns)
        size = max(1, PIECE // columns)
        for start in range(0, rows.shape[0], size):
            x, w = rows[start : start + size], weight[start : start + size, np.newaxis]
            x = (x.toarray() if hasattr(x, "tocsr") else x).astype(np.float64, order="C") * x_scale
            if fit_intercept:
                x = xp.concatenate([x, xp.ones((len(x), 1))], axis=1)
            x *= xp.sqrt(w)
            found += x.T @ x if full else xp.einsum("ij,ij->j", x, x)
        return found, float(weight.sum())


def scaling(problem: Any, shape: tuple[int, ...]) -> Scaling:
    """For the minimum of ``problem`` (a `Problem` or `BlockProblem` of logistic or softmax regression), whose params
    have this ``shape``. Without change where the sample's moments are not finite.
    """
    from scipy.linalg import cholesky

    columns = shape[-1]
    classes = shape[0] if len(shape) == 2 else 1
    sample = min(problem.rows, max(ROWS, ROWS_A_FEATURE * columns))
    # in multiply-adds; a pass makes two for each number of X and class
    work = sample * columns**2 / 2 + columns**3 / 6
    full = columns <= COLUMNS and work <= PASSES * 2 * problem.rows * columns * classes
    if not full:
        sample = min(sample, ROWS)
    found, weight = problem.moments(-(-problem.rows // sample), full)
    with np.errstate(all="ignore"):
        A = found * (LEFT / max(classes, 2) / np.float64(weight))
        diagonal = A.diagonal() if full else A
        scale = diagonal + problem.l2 * (np.arange(columns) < problem.n_features)
        if not (np.isfinite(A).all() and np.isfinite(scale).all()):
            return Scaling(np.ones(columns))
        scale = np.where(scale > 0, 1 / np.sqrt(scale), 1.0)
        if not (full and np.isfinite(scale).all()):
            return Scaling(np.where(np.isfinite(scale), scale, 1.0))
    A *= scale[:, np.newaxis] * scale
    A[np.diag_indices(columns)] = 1 + RIDGE  # l2 included
    return Scaling(scale, cholesky(A, lower=True, overwrite_a=True, check_finite=False))
