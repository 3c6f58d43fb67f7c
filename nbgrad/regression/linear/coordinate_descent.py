"""Least squares with a penalty on |w|: coordinate descent on working sets, ended by Newton's step on the support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit import Loop

__all__ = ["Dense", "Found", "Penalty", "Sparse", "Table", "minimize"]

#: The first working set has so many columns; later ones twice as many, or twice the support.
FIRST = 64
#: Of a column's length what other columns must leave, to take the Newton step: below, the Gram matrix says noise.
CLEAR = 1e-7
#: Sweeps before a Newton step is tried, and coordinates that it may drop on its way, at most.
SWEEPS, DROPS = 50, 200
#: They cost a factor each, of the support³, which may not exceed this together; for more the sweeps must do.
WORK = 3 * 10**9
#: Working sets after the goal has been met, at most, to settle the support.
MORE = 3
#: Of the length of the targets: the rounding of a column's product with what is left of them.
ROUNDING = 16 * float(np.finfo(np.float64).eps)
#: Of the largest coordinate: what a sweep must move another.
EXACT = 1e-16


class Table(Protocol):
    """Columns of length 1 or 0."""

    def times(self, v: NDArray[Any]) -> NDArray[Any]: ...
    def back(self, u: NDArray[Any]) -> NDArray[Any]: ...
    def gram(self, columns: NDArray[Any]) -> NDArray[Any]: ...


@dataclass
class Dense:
    X: NDArray[np.float64]

    def times(self, v: NDArray[Any]) -> NDArray[Any]:
        return self.X @ v

    def back(self, u: NDArray[Any]) -> NDArray[Any]:
        return self.X.T @ u

    def gram(self, columns: NDArray[Any]) -> NDArray[Any]:
        part = self.X[:, columns]
        return part.T @ part


class Sparse:
    """Of a `Standardised` matrix."""

    def __init__(self, table: Any) -> None:
        self.times, self.back, self.mean = table.times, table.back, table.mean
        self.by_columns = table.A.tocsc()

    def gram(self, columns: NDArray[Any]) -> NDArray[Any]:
        part, mean = self.by_columns[:, columns], self.mean[columns]
        return (part.T @ part).toarray() - np.outer(mean, mean)


@dataclass
class Penalty:
    """Σ l1·|v| + ½·l2·v², a number for each column; ``positive``: v must not be below 0."""

    l1: NDArray[np.float64]
    l2: NDArray[np.float64]
    positive: bool

    def beyond(self, gradient: NDArray[Any]) -> NDArray[Any]:
        """By how much the falling gradient exceeds l1, which keeps a 0 where it is."""
        return np.maximum((gradient if self.positive else np.abs(gradient)) - self.l1, 0.0)

    def gap(self, v: NDArray[Any], z: NDArray[Any], r: NDArray[Any], back: NDArray[Any], rest: float) -> float:
        """The duality gap at v: r = z − X·v, back = Xᵀ·r. ``rest`` is the square of what no column of X touches.

        The dual at θ = c·r is θ·z − ½‖θ‖² − Σ (|Xᵀθ| − l1)₊²/2l2, where a column without l2 must have |Xᵀθ| <= l1, but
        for rounding: a penalty may be less than that.
        """
        rounding = ROUNDING * np.sqrt(float(z @ z) + rest)
        over = np.maximum((back if self.positive else np.abs(back)) - rounding, 0.0)
        squares, inner = float(r @ r) + rest, float(r @ z) + rest
        primal = squares / 2 + float(self.l1 @ np.abs(v)) + float(self.l2 @ v**2) / 2
        bound = (self.l2 == 0) & (over > self.l1)
        c = float((self.l1[bound] / over[bound]).min()) if bound.any() else 1.0
        c = min(c, inner / squares) if squares else c
        ridged = self.l2 > 0
        excess = np.maximum(c * over[ridged] - self.l1[ridged], 0.0)
        return primal - (c * inner - c * c * squares / 2 - float((excess**2 / self.l2[ridged]).sum()) / 2)


@dataclass
class Found:
    """``v`` and its duality gap, the gap that was asked for, and how many sweeps it took."""

    v: NDArray[np.float64]
    gap: float
    goal: float
    sweeps: int

    @property
    def converged(self) -> bool:
        return self.gap <= self.goal


def minimize(
    table: Table, z: NDArray[np.float64], penalty: Penalty, start: NDArray[np.float64], *, tol: float, max_iter: int,
    rest: float = 0.0, shuffle: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
) -> Found:  # fmt: skip
    """v that minimizes ½‖z − X·v‖² + ``penalty``, until the duality gap is at most tol·(‖z‖² + rest) or ``max_iter``
    sweeps over the working set have been made.

    A working set holds the columns that are not 0 and those that most want to leave it. Within it coordinates are
    minimized one after the other, by the Gram matrix; where that has settled the support and the signs, Newton's step
    is the exact solution, and its 0s are those of the coordinates.

    Source: J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models via coordinate
    descent, J. Stat. Softw. 33 (2010) 1; M. Massias, A. Gramfort, J. Salmon, Celer: a fast solver for the lasso with
    dual extrapolation, ICML (2018), for working sets; S.-J. Kim et al., IEEE J. Sel. Top. Signal Process. 1 (2007) 606,
    for the gap.
    """
    from scipy.linalg import cho_solve

    v, goal, sweeps, size, exact = start.copy(), tol * (float(z @ z) + rest), 0, FIRST, 1e-2
    best, settled, more, before = None, True, 0, None
    while True:
        r = z - table.times(v)
        back = table.back(r)
        gap = penalty.gap(v, z, r, back, rest)
        if best is None or gap < best.gap or gap <= goal:
            best = Found(v.copy(), gap, goal, 1)
        more += gap <= goal
        still = before is not None and np.array_equal(v, before)
        if (gap <= goal and (settled or more > MORE)) or sweeps >= max_iter or still:
            return replace(best, sweeps=max(sweeps, 1))
        before = v.copy()
        support = np.flatnonzero(v)
        wanted = penalty.beyond(back - penalty.l2 * v)
        wanted[support] = np.inf
        count = min(max(size, 2 * len(support)), int((wanted > 0).sum()))
        columns = np.sort(np.argsort(-wanted, kind="stable")[:count])
        if shuffle is not None:
            columns = shuffle(columns)
        G, w, l1, l2 = table.gram(columns), v[columns], penalty.l1[columns], penalty.l2[columns]
        q = back[columns].copy()
        most = min(SWEEPS, max_iter - sweeps)
        sweeps += int(_descend.serial(G, q, l1, l2, w, exact, most, penalty.positive))
        newton = np.count_nonzero(w) ** 3 <= WORK
        ended = _newton(G, q + G @ w, l1, l2, w) if newton else None
        v[columns], settled = w, ended is not None or not newton
        if ended is not None:  # the same step once more, with the residual's own digits
            on, scale, factor = columns[ended[0]], *ended[1:]
            lacking = table.back(z - table.times(v))[on] - penalty.l1[on] * np.sign(v[on]) - penalty.l2[on] * v[on]
            step = scale * cho_solve(factor, scale * lacking, check_finite=False)
            v[on] += np.where(np.abs(step) < np.abs(v[on]), step, 0)
        exact, size = max(exact / 10, EXACT), 2 * size


def _newton(
    G: NDArray[Any], b: NDArray[Any], l1: NDArray[Any], l2: NDArray[Any], w: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], Any] | None:
    """Move w to the minimum for its support and signs; where a sign would change on the way, to there, and on without
    that coordinate. Where the support's columns are dependent the way is one that leaves X·w as it is. The support, its
    scale and the factor of its Hessian, if that ended well.

    Source: H. Lee, A. Battle, R. Raina, A. Y. Ng, Efficient sparse coding algorithms, NIPS 19 (2006) 801.
    """
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpotrf

    size = max(1, int(np.count_nonzero(w)))
    for _ in range(max(1, min(DROPS, WORK // size**3))):
        on = np.flatnonzero(w)
        if not len(on):
            return None
        H = G[np.ix_(on, on)]
        H[np.diag_indices(len(H))] += l2[on]
        scale = 1 / np.sqrt(H.diagonal())
        H *= scale[:, np.newaxis] * scale
        U, failed = dpotrf(H)
        bad = failed - 1 if failed else int(np.argmax(U.diagonal() < CLEAR))
        slope = scale * (b[on] - G[np.ix_(on, on)] @ w[on] - l2[on] * w[on] - l1[on] * np.sign(w[on]))  # falling
        if failed or U[bad, bad] < CLEAR:
            step, settled = _along(H, U, bad, slope, w[on] / scale), False
        else:
            step, settled = cho_solve((U, False), slope, check_finite=False), True
        old, step = w[on], scale * step
        crossing = np.sign(old) * (old + step) <= 0
        if not crossing.any():
            w[on] = old + step
            return (on, scale, (U, False)) if settled else None
        share = np.where(crossing, -old / np.where(crossing, step, 1), np.inf)
        first = share.min()
        w[on] = np.where(share == first, 0.0, old + first * step)
    return None


def _along(H: NDArray[Any], U: NDArray[Any], bad: int, slope: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    """A step, as far as it pays, on which column ``bad`` is exchanged for those before, which say the same; where it
    costs nothing, far enough to be without it.
    """
    from scipy.linalg import cho_solve

    step = np.zeros(len(H))
    step[bad] = 1
    if bad:
        step[:bad] = -cho_solve((U[:bad, :bad], False), H[:bad, bad], check_finite=False)
    gain = float(slope @ step)
    if abs(gain) <= 1e-10 * float(np.abs(slope) @ np.abs(step)) + 1e-300:
        return -2 * w[bad] * step
    curvature = float(step @ H @ step)
    farthest = 2 * np.abs(w / np.where(step == 0, np.inf, step)).max()  # beyond all crossings
    return step * np.sign(gain) * (min(abs(gain) / curvature, farthest) if curvature > 0 else farthest)


def _descent(G, q, l1, l2, w, exact, most, positive):  # type: ignore[no-untyped-def]
    """Sweeps over the coordinates of ½w·G·w − b·w + Σ l1·|w| + ½·l2·w², at most ``most``, until none moves by more than
    ``exact`` of the largest; q = b − G·w is kept. Returns how many.
    """
    for sweep in range(most):
        moved, largest = 0.0, 0.0
        for j in range(w.size):
            if G[j, j] <= 0.0:
                continue
            old = w[j]
            t = q[j] + G[j, j] * old
            if t > l1[j]:
                new = (t - l1[j]) / (G[j, j] + l2[j])
            elif t < -l1[j] and not positive:
                new = (t + l1[j]) / (G[j, j] + l2[j])
            else:
                new = 0.0
            step = new - old
            if step != 0.0:
                w[j] = new
                for i in range(w.size):
                    q[i] -= step * G[j, i]
                moved = max(moved, abs(step))
            largest = max(largest, abs(new))
        if moved <= exact * largest:
            return sweep + 1
    return most


_descend = Loop(_descent, name="coordinate_descent")
