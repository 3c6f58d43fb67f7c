"""Least squares with a penalty on |w|: coordinate descent on working sets of columns, and Newton's step on the support
where it takes too many sweeps, and to end with.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit import Loop
from nbgrad.jit.thread_map import thread_map
from nbgrad.regression.passes.sparse import columns_of

__all__ = ["Dense", "Found", "Penalty", "Sparse", "Table", "minimize"]

#: The first working set has so many columns; later ones twice as many, or twice the support.
FIRST = 64
#: Of a column's length what other columns must leave, to take the Newton step: below, the Gram matrix says noise.
CLEAR = 1e-7
#: Sweeps between two looks at all columns, and before a Newton step is tried, twice as many before each further one.
SWEEPS, PATIENCE = 10, 50
#: Coordinates that a Newton step may drop on its way, at most, and their work, each support³; and the share of them
#: whose sign may be wrong: more, and the support is not settled.
DROPS, DROPPING, WRONG = 200, 2 * 10**8, 0.1
#: Numbers of X for which threads pay, and their parts.
THREADED, PARTS = 1 << 22, 4
#: Of a support³ beyond this there is no Newton step: the sweeps must do.
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
    def descend(
        self, columns: NDArray[Any], v: NDArray[Any], r: NDArray[Any], penalty: Penalty, exact: float, most: int
    ) -> int: ...


class Dense:
    """``X`` in Fortran's order."""

    def __init__(self, X: NDArray[np.float64]) -> None:
        self.X = X
        parts = PARTS if X.size >= THREADED else 1
        self.ends = [X.shape[1] * k // parts for k in range(parts + 1)]

    def times(self, v: NDArray[Any]) -> NDArray[Any]:
        on = np.flatnonzero(v)
        return self.X[:, on] @ v[on] if 2 * len(on) < len(v) else self.X @ v

    def back(self, u: NDArray[Any]) -> NDArray[Any]:
        out = np.empty(self.X.shape[1])
        thread_map(lambda k: _back.serial(self.X, u, *self.ends[k : k + 2], out), len(self.ends) - 1)
        return out

    def gram(self, columns: NDArray[Any]) -> NDArray[Any]:
        part = self.X[:, columns]
        return part.T @ part

    def descend(
        self, columns: NDArray[Any], v: NDArray[Any], r: NDArray[Any], penalty: Penalty, exact: float, most: int
    ) -> int:
        """Sweeps over some columns of ½‖r‖² + ``penalty``, at most ``most``, until none moves by more than ``exact`` of
        the largest; r = z − X·v is kept. Returns how many.
        """
        return int(_descend.serial(self.X, columns, v, r, penalty.l1, penalty.l2, penalty.positive, exact, most))


class Sparse:
    """Of a `Standardised` matrix."""

    def __init__(self, table: Any) -> None:
        self.times, self.back, self.mean, self.root = table.times, table.back, table.mean, table.root
        self.columns = columns_of(table.A, np.ones(table.shape[1]))
        self.ones = np.ones(table.shape[0])
        self.square = self.columns.curvatures(self.ones, self.ones)[1]

    def gram(self, columns: NDArray[Any]) -> NDArray[Any]:
        from scipy.sparse import csc_array

        data, rows, ends = self.columns.arrays
        part = csc_array((data, rows, ends), shape=(len(self.ones), len(self.mean)))[:, columns]
        mean = self.mean[columns]
        return (part.T @ part).toarray() - np.outer(mean, mean)

    def descend(
        self, columns: NDArray[Any], v: NDArray[Any], r: NDArray[Any], penalty: Penalty, exact: float, most: int
    ) -> int:
        """As `Dense.descend`; what centring subtracts follows as an offset of the rows, in multiples of ``root``."""
        return self.columns.descend(
            columns, v, -r, self.ones, (self.square, self.mean, 1.0), (penalty.l1, penalty.l2, penalty.positive),
            exact=-1.0, relative=exact, most=most,
        )[0]  # fmt: skip


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
        c = min(c, max(inner / squares, 0.0)) if squares else c  # below 0 the bounds would be |c|·over
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
    minimized one after the other, the residual kept. Newton's step, which is the exact solution where support and signs
    are settled, is tried where that takes long, and in the end: its 0s are those of the coordinates.

    Source: J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models via coordinate
    descent, J. Stat. Softw. 33 (2010) 1; M. Massias, A. Gramfort, J. Salmon, Celer: a fast solver for the lasso with
    dual extrapolation, ICML (2018), for working sets; S.-J. Kim et al., IEEE J. Sel. Top. Signal Process. 1 (2007) 606,
    for the gap.
    """
    v, goal, sweeps, size = start.copy(), tol * (float(z @ z) + rest), 0, FIRST
    best, settled, more, before, since, patience, made = None, False, 0, None, 0, PATIENCE, SWEEPS
    while True:
        r = z - table.times(v)
        back = table.back(r)
        gap = penalty.gap(v, z, r, back, rest)
        if best is None or gap < best.gap or gap <= goal:
            best = Found(v.copy(), gap, goal, 1)
        support = np.flatnonzero(v)
        more += gap <= goal
        still = before is not None and np.array_equal(v, before)
        ended = gap <= goal and (settled or more > MORE or len(support) ** 3 > WORK)
        if ended or sweeps >= max_iter or still:
            return replace(best, sweeps=max(sweeps, 1))
        before = v.copy()
        if gap > goal or more > 1:
            wanted = penalty.beyond(back - penalty.l2 * v)
            wanted[support] = np.inf
            columns = np.flatnonzero(wanted > 0)
            if len(columns) > (most := max(size, 2 * len(support))):
                columns = np.sort(columns[np.argsort(-wanted[columns], kind="stable")[:most]])
            if shuffle is not None:
                columns = shuffle(columns)
            made = table.descend(columns, v, r, penalty, EXACT, min(SWEEPS, max_iter - sweeps))
            sweeps, since, size = sweeps + made, since + made, 2 * size
        settled = False
        if gap <= goal or since >= patience or made < SWEEPS:
            settled = _polished(table, z, penalty, v)
            since, patience = 0, patience if settled else 2 * patience


def _polished(table: Table, z: NDArray[Any], penalty: Penalty, v: NDArray[Any]) -> bool:
    """Move v to the minimum for its support, as far as its signs allow. Whether that is there."""
    from scipy.linalg import cho_solve

    support = np.flatnonzero(v)
    if len(support) ** 3 > WORK:
        return False
    G, w, l1, l2 = table.gram(support), v[support], penalty.l1[support], penalty.l2[support]
    signed = (l1 > 0) | penalty.positive
    ended = _newton(G, table.back(z - table.times(v))[support] + G @ w, l1, l2, w, signed)
    v[support] = w
    if ended is None:
        return False
    on, scale, factor = support[ended[0]], *ended[1:]  # the same step once more, with the residual's own digits
    lacking = table.back(z - table.times(v))[on] - penalty.l1[on] * np.sign(v[on]) - penalty.l2[on] * v[on]
    step = scale * cho_solve(factor, scale * lacking, check_finite=False)
    v[on] += np.where(np.abs(step) < np.abs(v[on]), step, 0)
    return True


def _newton(
    G: NDArray[Any], b: NDArray[Any], l1: NDArray[Any], l2: NDArray[Any], w: NDArray[Any], signed: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[Any], Any] | None:
    """Move w to the minimum for its support and signs; where a sign would change on the way, to there, and on without
    that coordinate. Where the support's columns are dependent the way is one that leaves X·w as it is. The support, its
    scale and the factor of its Hessian, if that ended well.

    Source: H. Lee, A. Battle, R. Raina, A. Y. Ng, Efficient sparse coding algorithms, NIPS 19 (2006) 801.
    """
    from scipy.linalg import cho_solve
    from scipy.linalg.lapack import dpotrf

    size = max(1, int(np.count_nonzero(w)))
    for _ in range(max(1, min(DROPS, DROPPING // size**3))):
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
        crossing = (np.sign(old) * (old + step) <= 0) & signed[on]  # a penalty on squares alone has no corner at 0
        if settled and crossing.sum() > 1 + WRONG * len(on):
            return None
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


def _back_loop(X, u, first, last, out):  # type: ignore[no-untyped-def]
    for j in range(first, last):
        x, t = X[:, j], 0.0
        for i in range(u.size):
            t += x[i] * u[i]
        out[j] = t


def _descent(X, columns, v, r, l1, l2, positive, exact, most):  # type: ignore[no-untyped-def]
    for sweep in range(most):
        moved, largest = 0.0, 0.0
        for j in columns:
            x, old, t = X[:, j], v[j], 0.0
            for i in range(r.size):
                t += x[i] * r[i]
            t += old  # of a column of length 1; one of length 0 is never in use
            if t > l1[j]:
                new = (t - l1[j]) / (1.0 + l2[j])
            elif t < -l1[j] and not positive:
                new = (t + l1[j]) / (1.0 + l2[j])
            else:
                new = 0.0
            step = new - old
            if step != 0.0:
                v[j] = new
                for i in range(r.size):
                    r[i] -= step * x[i]
                moved = max(moved, abs(step))
            largest = max(largest, abs(new))
        if moved <= exact * largest:
            return sweep + 1
    return most


_back, _descend = Loop(_back_loop, name="back", reduction=True), Loop(_descent, name="sweeps", reduction=True)
