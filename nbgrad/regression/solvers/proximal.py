"""Newton's method where the penalty has a part l1·‖w‖₁: each step minimizes the loss's quadratic with the penalty as it
is, by coordinate descent, on the features that are in use or want to be (the working set).

Where these are too many for their Hessian, or it is too much work, accelerated proximal gradients go on, which need
gradients alone, in the metric of `nbgrad.regression.scaling`. A large
sparse matrix begins with `nbgrad.regression.solvers.column_descent`.

Source: J. D. Lee, Y. Sun, M. A. Saunders, Proximal Newton-type methods for minimizing composite functions, SIAM J.
Optim. 24 (2014) 1420; A. Beck, M. Teboulle, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sci. 2
(2009) 183.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.cpu.blas import one_blas_thread
from nbgrad.jit.thread_map import thread_map
from nbgrad.regression.scaling import scaling
from nbgrad.regression.solvers.column_descent import column_descent
from nbgrad.regression.solvers.coordinates import coordinate_descent
from nbgrad.regression.solvers.smooth import PARAMS, WORK, Certificate, Point, Smooth

__all__ = ["Proximal"]

#: Parameters of a working set, at most: its Hessian takes 8 MB.
WORKING = 1000
#: Of the curvature of the others, along what all classes have in common.
STIFFNESS = 1e-3
#: Steps of accelerated gradients that count as one iteration, and what of the error their quadratics leave.
ACCELERATED, LEAVES = 20, 0.03


class Proximal:
    """Minimizes ``smooth`` + l1·‖w‖₁; parameters are those of the frame."""

    def __init__(self, smooth: Smooth, l1: float) -> None:
        self.smooth = smooth
        threshold = np.zeros(smooth.columns)
        with np.errstate(all="ignore"):
            threshold[: smooth.problem.n_features] = min(l1, 1e300) * smooth.frame.unit
        self.threshold = np.broadcast_to(threshold, (smooth.classes, smooth.columns)).copy()
        self.small = smooth.classes * smooth.columns <= PARAMS
        self.diagonal: NDArray[np.float64] = np.empty(0)
        self.metric: Any = None
        self.lipschitz = 1.0

    def penalty(self, params: NDArray[np.float64]) -> float:
        return float((self.threshold * np.abs(params)).sum())

    def slack(self, point: Point) -> NDArray[np.float64]:
        """The smallest subgradient: what the conditions of Karush, Kuhn and Tucker lack."""
        g, t, v = point.gradient, self.threshold, point.params
        at_zero = np.sign(g) * np.maximum(np.abs(g) - t, 0.0)
        return np.where(v != 0, g + t * np.sign(v), at_zero)

    def certificate(self, params: NDArray[np.float64]) -> Certificate:
        """Of an answer, by a pass of its own: the largest slack, each in the unit of its curvature; where the Hessian
        is small the decrement of the quadratic with its penalty as well.
        """
        with np.errstate(all="ignore"):
            if self.small:
                point = self.smooth.at(params)
                return Certificate(self._exact(point)[0], point.value + self.penalty(params))
            point = self._look(params)
            return Certificate(self._error(point), point.value + self.penalty(params))

    def _look(self, params: NDArray[np.float64]) -> Point:
        point = self.smooth.at(params, "diagonal")
        assert point.second is not None
        self.diagonal = point.second[0]
        return point

    def _error(self, point: Point) -> float:
        slack = self.slack(point)
        found = np.where(self.diagonal > 0, np.abs(slack) / np.sqrt(self.diagonal), np.where(slack == 0, 0.0, np.inf))
        return float(found.max(initial=0.0))

    def _exact(self, point: Point) -> tuple[float, NDArray[np.float64]]:
        """(error, where the whole quadratic leads)"""
        assert point.second is not None
        shape = point.params.shape
        H = point.second.reshape(point.params.size, -1)
        self.diagonal = H.diagonal().reshape(shape)
        error = self._error(point)
        if not math.isfinite(error):
            return math.nan, point.params
        z = self._quadratic(H, point, np.ones(shape, bool), error)
        step = (z - point.params).ravel()
        return max(error, math.sqrt(max(0.0, float(step @ H @ step)))), z

    def _quadratic(self, H: Any, point: Point, chosen: Any, error: float) -> NDArray[np.float64]:
        z = point.params.copy()
        if len(z) > 1:
            H = self._stiffened(H, chosen)
        tol = max(1e-16, 0.1 * error * min(1.0, error))  # inexact far from the minimum, quadratic near it
        z[chosen] = coordinate_descent(H, point.gradient[chosen], z[chosen], self.threshold[chosen], tol)
        return z

    def _stiffened(self, H: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """With a curvature along what all classes of softmax have in common, where there is next to none: coordinate
        descent would take as many sweeps as the others are larger. `_common` does the rest.
        """
        H = H.reshape(len(chosen), -1, len(chosen), int(chosen[0].sum())).copy()
        for j, alike in enumerate(np.einsum("kjkj->j", H) / len(chosen)):
            H[:, j, :, j] += STIFFNESS * alike
        return H.reshape(int(chosen.sum()), -1)

    def _common(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of softmax moved alike, which leaves the loss as it is, to where the penalty is least: where one of them
        is 0, or where the slope is, the signs adding up to any number.
        """
        classes, features = len(params), self.smooth.problem.n_features
        if classes == 1:
            return params
        v, t, l2 = params[:, :features], self.threshold[0, :features], self.smooth.penalty[:features]
        signs = np.arange(-classes, classes + 1)[:, np.newaxis]
        flat = -(v.sum(axis=0) + np.where(l2 > 0, t / l2, 0.0) * signs) / classes
        best, least = v, np.full(features, np.inf)
        for i, move in enumerate([np.zeros(features), *-v, *flat]):
            moved = v + move
            if 0 < i <= classes:
                moved[i - 1] = 0.0  # exactly
            cost = (t * np.abs(moved) + 0.5 * l2 * moved * moved).sum(axis=0)
            better = cost < least * (1 - 1e-15)
            best, least = np.where(better, moved, best), np.where(better, cost, least)
        found = params.copy()
        found[:, :features] = best
        return found

    def minimize(
        self, begin: NDArray[np.float64], *, tol: float, max_iter: int, report: Callable[[float, str, float], None]
    ) -> tuple[NDArray[np.float64], str]:
        """(parameters, why it ended: "" where the error is at most ``tol``)"""
        with np.errstate(all="ignore"):
            done = 0
            if not self.small and (columns := self.smooth.by_columns()) is not None:
                begin, done, ended = column_descent(
                    self.smooth.problem, columns, begin, (self.threshold[0], self.smooth.penalty), tol=tol,
                    max_iter=max_iter, report=report,
                )  # fmt: skip
                self.smooth.passes += done
                if ended:
                    return begin, ""
            slow = False
            point, idle, best = (self.smooth.at(begin) if self.small else self._look(begin)), 0, math.inf
            for iteration in range(done, max_iter + 1):
                error, z = self._exact(point) if self.small else (self._error(point), point.params)
                if iteration > done:
                    report(point.value + self.penalty(point.params), "error", error)
                if not math.isfinite(error):
                    return point.params, "value or derivatives are not finite"
                idle = idle + 1 if error > 0.9 * best and error < 1e-7 else 0
                slow = slow or error > 0.5 * best  # then Hessians, whatever their work
                best = min(best, error)
                if error <= tol or idle >= 5 or iteration == max_iter:
                    return point.params, "" if error <= tol else "rounding" if idle >= 5 else "iterations"
                if self.small:
                    found = self._along(point, z, "hessian")
                elif (chosen := self._chosen(point)) is None or not (slow or self._is_cheap(chosen)):
                    with one_blas_thread():  # ours compute between its products
                        found = self._accelerated(point, error)
                else:
                    found = self._along(point, self._working(point, chosen, error), "diagonal")
                if found is None:
                    return point.params, "rounding"
                point = self._kept(found)
        return point.params, "iterations"

    def _kept(self, point: Point) -> Point:
        """The point, or the one beside it that the penalty prefers."""
        params = self._common(point.params)
        if not self.small:
            assert point.second is not None
            self.diagonal = point.second[0]
        return point if params is point.params else Point(
            params, point.value + self._ridge(params) - self._ridge(point.params),
            point.gradient + self.smooth.penalty * (params - point.params), point.second,
        )  # fmt: skip

    def _ridge(self, params: NDArray[np.float64]) -> float:
        return 0.5 * float((self.smooth.penalty * params * params).sum())

    def _along(self, point: Point, z: NDArray[np.float64], kind: str) -> Point | None:
        """From the point to z, or part of the way."""
        step = z - point.params
        before = point.value + self.penalty(point.params)
        fall = float(np.vdot(point.gradient, step)) + self.penalty(z) - self.penalty(point.params)
        t = 1.0
        for _ in range(40):
            other = self.smooth.at(z if t == 1 else point.params + t * step, kind)
            value = other.value + self.penalty(other.params)
            if value <= before + 1e-4 * t * fall or abs(t * fall) <= 1e-13 * abs(before) >= value - before:
                return other
            t /= 2
        return None

    def _chosen(self, point: Point) -> NDArray[np.intp] | None:
        """Features of the working set: those in use, and of the others those whose slack is largest. None where too
        many are in use.
        """
        features, most = self.smooth.problem.n_features, WORKING // self.smooth.classes
        used = (point.params[:, :features] != 0).any(axis=0)
        count = int(used.sum())
        wish = (np.abs(self.slack(point)) / np.sqrt(np.where(self.diagonal > 0, self.diagonal, 1.0)))[:, :features]
        wish = np.where(used, np.inf, wish.max(axis=0))
        if count >= most and (count > most or not most or (wish[~used] > 0).any()):
            return None
        room = min(most, max(2 * count, 100), features)
        chosen = np.argpartition(-wish, room - 1)[:room]
        return np.sort(chosen[wish[chosen] > 0])

    def _is_cheap(self, chosen: NDArray[np.intp]) -> bool:
        """Whether the Hessian of these features is little work."""
        return self.smooth.problem.rows * float(self.smooth.classes * len(chosen)) ** 2 <= WORK

    def _working(self, point: Point, chosen: NDArray[np.intp], error: float) -> NDArray[np.float64]:
        smooth, columns = self.smooth, chosen
        if smooth.problem.fit_intercept:
            columns = np.append(chosen, smooth.problem.n_features)
        H = smooth.hessian_of(point.params, columns).reshape(smooth.classes * len(columns), -1)
        mask = np.zeros(point.params.shape, bool)
        mask[:, columns] = True
        return self._quadratic(H, point, mask, error)

    def _accelerated(self, point: Point, error: float) -> Point:
        """`ACCELERATED` steps of proximal gradients, in the metric of the scaling, or of the Hessian's diagonal."""
        if self.metric is None:
            self.metric, self.lipschitz = scaling(self.smooth).hessian(), 1.0
        v, ahead, momentum, L = point.params, point, 1.0, self.lipschitz
        for _ in range(ACCELERATED):
            z = self._nearest(ahead, L, LEAVES * error)
            restarted = self._square(ahead.params - z, z - v) > 0
            following = (1 + math.sqrt(1 + (0 if restarted else 4 * momentum * momentum))) / 2
            beyond = z if restarted else z + (momentum - 1) / following * (z - v)
            step = beyond - ahead.params
            other, size = self.smooth.quick(beyond), self._square(step, step)
            bend = float(np.vdot(other.gradient - ahead.gradient, step))  # slopes keep more digits than values
            if bend > L * size and L < 1e12:  # once more from here
                L, momentum = max(2 * L, bend / size), 1.0
                continue
            v, ahead, momentum = z, other, following
        self.lipschitz = 0.9 * L
        return self._look(v)

    def _nearest(self, point: Point, L: float, exact: float) -> NDArray[np.float64]:
        """Where the slope, with the penalty, is that of L·metric."""
        A, t = self.metric, self.threshold / L
        if A.ndim == 1:
            at = point.params - point.gradient / (L * A)
            return np.sign(at) * np.maximum(np.abs(at) - t / A, 0.0)
        g, v = point.gradient / L, point.params
        return np.stack(thread_map(lambda k: coordinate_descent(A, g[k], v[k], t[k], exact / L), len(v)))

    def _square(self, u: NDArray[np.float64], v: NDArray[np.float64]) -> float:
        """u·metric·v"""
        A = self.metric
        return float(((u * A if A.ndim == 1 else u @ A) * v).sum())
