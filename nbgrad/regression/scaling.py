"""Other variables for a minimizer, in which the objective is nearly round, so that few passes over X suffice.

With f the mean curvature of the loss in a score, the Hessian is about A = f·M + l2, one block for each class, M being
the mean of x·xᵀ of the columns in their frame (`nbgrad.regression.passes.second_order.Frame`). It hardly depends on the
parameters: all rows tell its diagonal, a sample of them the rest. With A = L·Lᵀ and params = L⁻ᵀ·u the Hessian in u is
about 1. MNIST, softmax, passes of L-BFGS down to the objective that scikit-learn's reaches in 100 iterations, and to
that of its Newton-CG: 105 and 447 in params themselves; 64 and 319 where each feature is divided by its root mean
square; 16 and 78 in u.

Source: D. Böhning, Multinomial logistic regression algorithm, Ann. Inst. Stat. Math. 44 (1992) 197, who bounds the
Hessian by such a product; the sample and the smaller f are ours.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.cpu.blas import one_blas_thread
from nbgrad.jit.thread_map import thread_map
from nbgrad.regression.passes.second_order import Frame

__all__ = ["Scaling", "moments", "sample", "scaling"]

# Rows of the sample, at least and for each feature: the sample's M is that of all rows within a factor of 2 or 4, in
# every direction (the eigenvalues of their quotient lie between (1 ± √¼)²). MNIST: 4, 8, 19 rows a feature: 78, 69, 66
# passes.
ROWS, ROWS_A_FEATURE = 4096, 4
# The whole of M is worth the work of this many passes and, for so many columns, its memory (34 MB); else its diagonal
# must do.
PASSES, COLUMNS = 25, 2048
# A column is rare where so few rows of a random sample have what makes its square mean.
FEW = 2
# Numbers of the sample that are worked on at a time, in float64: 4 MB.
PIECE = 1 << 19
# So many products are worth threads, and the parts that are made of them.
THREADED, PARTS = 10**8, 4
# So many products are made in float32, twice as fast (MNIST: 50 ms, 25), of columns that came in no more.
NARROW = 10**9
# Of the curvature at params = 0, which is about 1/classes, this much is left where the labels are nearly sure. MNIST:
# 1/3, 1/10, 1/30: 100, 78, 69 passes for softmax, 11, 11, 13 for two classes.
LEFT = 0.1
# Added to A with a diagonal of 1: where the sample knows nothing of a direction, the step there stays finite; ten times
# more, and so on, where the products' rounding asks for it.
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

    def hessian(self) -> NDArray[np.float64]:
        """What it takes for one class's Hessian (columns, columns), or for its diagonal (columns,)."""
        if self.L is None:
            return 1 / self.scale**2
        return (self.L @ self.L.T) / self.scale / self.scale[:, np.newaxis]

    def _solve(self, rows: NDArray[np.float64], trans: str) -> NDArray[np.float64]:
        if self.L is None:
            return rows
        from scipy.linalg import solve_triangular

        return solve_triangular(self.L, rows.T, trans=trans, lower=True, check_finite=False).T


def sample(rows: int, share: float) -> NDArray[np.intp]:
    """Positions of a share of the rows, sorted, at random from a fixed seed: a step would meet a period of the rows."""
    count = min(rows, -int(-share * rows // 1))
    if count == rows:
        return np.arange(rows)
    return np.sort(np.random.default_rng(rows).choice(rows, count, replace=False, shuffle=False))


def _strata(X: Any, frame: Frame, share: float, rare: Any, x_scale: float, xp: Any) -> tuple[Any, Any]:
    """(positions, factors of their weights): a random ``share`` of the rows; but of those that show something in a rare
    column as many as that, or all.
    """
    chosen = xp.asarray(sample(X.shape[0], share))
    columns, least = rare
    if not len(columns) or not X.shape[0]:
        return chosen, xp.ones(len(chosen))
    part = Frame(frame.unit[columns], None if frame.centre is None else frame.centre[columns])
    shows, step = xp.zeros(X.shape[0], bool), max(1, PIECE // len(columns))
    for start in range(0, X.shape[0], step):
        x = X[start : start + step][:, columns]
        x = part.columns(x.toarray() if hasattr(x, "tocsr") else xp.ascontiguousarray(x), x_scale, False, xp)
        shows[start : start + step] = (xp.abs(x) >= xp.asarray(least)).any(axis=1)
    rest, those = chosen[~shows[chosen]], xp.flatnonzero(shows)
    of_those = min(1.0, max(len(chosen), 1) / max(len(those), 1))
    those = those[xp.asarray(sample(len(those), of_those))]
    factors = xp.concatenate([xp.ones(len(rest)), xp.full(len(those), share / of_those)])
    return xp.concatenate([rest, those]), factors


def moments(
    X: Any, weight: Any, frame: Frame, *, share: float, x_scale: float, fit_intercept: bool, rare: Any = ((), ()),
    xp: Any = np,
) -> tuple[NDArray[np.float64], float]:  # fmt: skip
    """(Σ weight·x·xᵀ; Σ weight) over a random ``share`` of the rows of an array or CSR matrix, x being the columns in
    their frame and a 1 for the intercept. Additive over blocks of rows. ``rare``: (columns of which that would miss
    what they show, and from what |x| on they show it); ``xp``: the library whose arrays they are.
    """
    with np.errstate(all="ignore"):  # what overflows is noticed by `scaling`
        chosen, factors = _strata(X, frame, share, rare, x_scale, xp)
        weight = factors if weight is None else factors * weight[chosen].astype(np.float64, order="C")
        columns = X.shape[1] + fit_intercept
        narrow = X.dtype.itemsize <= 4 and len(chosen) * columns**2 > NARROW
        dtype, size = np.float32 if narrow else np.float64, max(1, PIECE // columns)
        ends = [len(chosen) * k // PARTS for k in range(PARTS + 1)]

        def part(k: int) -> Any:
            found = xp.zeros((columns, columns))
            with np.errstate(all="ignore"):
                for start in range(ends[k], ends[k + 1], size):
                    at = slice(start, min(start + size, ends[k + 1]))
                    x, w = X[chosen[at]], weight[at]
                    x = frame.columns(x.toarray() if hasattr(x, "tocsr") else x, x_scale, fit_intercept, xp, dtype)
                    if (w != 1).any():
                        x *= xp.sqrt(w)[:, np.newaxis]
                        x[w == 0] = 0.0  # whatever is written there
                    found += x.T @ x
            return found

        with one_blas_thread():
            found = sum(thread_map(part, PARTS, alone=xp is not np or len(chosen) * columns**2 < THREADED))
        return found, float(weight.sum())


def scaling(smooth: Any) -> Scaling:
    """For the minimum of a problem in its frame (`nbgrad.regression.solvers.smooth.Smooth`). Without change where
    nothing is known of the columns.
    """
    from scipy.linalg import LinAlgError, cholesky

    problem, columns, classes, features = smooth.problem, smooth.columns, smooth.classes, smooth.problem.n_features
    with np.errstate(all="ignore"):
        of, frame = smooth.ranges, smooth.frame
        f = LEFT / max(classes, 2)
        M = np.ones(columns)
        centre = 0.0 if frame.centre is None else frame.centre
        mean = of.total / of.weight
        spread = np.maximum(of.high - centre, centre - of.low)
        square = (of.squares / of.weight - centre * (2 * mean - centre)) * frame.unit * frame.unit
        most = (spread * frame.unit) ** 2
        M[:features] = np.where((square > 1e-30 * most) & (square < most), square, most)
        diagonal = f * M + smooth.penalty
        rows = min(problem.rows, max(ROWS, ROWS_A_FEATURE * columns))
        # in multiply-adds; a pass makes two for each number of X and class
        work = rows * columns**2 / 2 + columns**3 / 6
        full = columns <= COLUMNS and work <= PASSES * 2 * problem.rows * columns * classes
        if full:
            # So many rows of the sample would show more than a third of the largest of a column.
            few = np.flatnonzero((square > 0) & (rows * square < FEW * most))
            found, weight = problem.moments(frame, rows / problem.rows, (few, np.sqrt(most[few] / 10)))
            A = found * (f / np.float64(weight)) if weight > 0 else np.full_like(found, np.nan)
            # What few rows have a sample may lack, and all rows show: that column then stands for itself.
            diagonal = np.maximum(diagonal, A.diagonal() + smooth.penalty)
        scale = np.where(diagonal > 0, 1 / np.sqrt(diagonal), 1.0)
        scale = np.where(np.isfinite(scale), scale, 1.0)
        if not full:
            return Scaling(scale)
        A *= scale[:, np.newaxis] * scale
    if not np.isfinite(A).all():
        return Scaling(scale)
    ridge = RIDGE
    while True:
        A[np.diag_indices(columns)] = 1 + ridge  # l2 included
        with contextlib.suppress(LinAlgError), one_blas_thread():
            return Scaling(scale, cholesky(A, lower=True, check_finite=False))
        ridge *= 10
