"""A problem in coordinates in which it can be judged without units: value, gradient and Hessian, Newton's step, and the
certificate of a minimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.passes.second_order import Frame

__all__ = ["Certificate", "Point", "Smooth", "newton_step"]

# Newton's method with the exact Hessian is for so many parameters, and for so much work, rows·params² (0.3 s): a few of
# its steps do what tens to thousands of L-BFGS's do, whatever the data are. On easy data it costs time. Beside scaled
# L-BFGS, on one core: 2000 rows: 4 and 4 ms with 21 parameters, 21 and 8 with 65, 51 and 24 with 256, 203 and 36 with
# 501; 50000 rows: 44 and 17 with 21, 126 and 35 with 65, 302 and 75 with 129, 820 and 68 with 255.
PARAMS, WORK, FEW = 256, 1e9, 32
#: Of a sparse matrix more columns than that are never made an array.
COLUMNS = 512


@dataclass(frozen=True)
class Point:
    """Value and gradient at ``params`` (of the frame), and what else was asked for."""

    params: NDArray[np.float64]
    value: float
    gradient: NDArray[np.float64]
    second: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class Certificate:
    """How far from the minimum an answer is, in no units: ``error`` is Newton's decrement √(gᵀH⁻¹g), the root of the
    mean over the rows of curvature·(change of the score)² on the way to the minimum. Where the Hessian is too large, of
    each parameter alone, the intercept following: the largest.

    ``step`` is Newton's, in the frame, where the Hessian is known.
    """

    error: float
    value: float
    step: NDArray[np.float64] | None = None


def newton_step(hessian: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    """−H⁻¹·gradient, of a Hessian (classes, columns, classes, columns) whose classes may all be moved alike for nothing
    (softmax): the step does not move them so. Where H is singular otherwise a little is added.
    """
    from scipy.linalg import LinAlgError, cho_factor, cho_solve

    classes, columns = gradient.shape
    H = hessian.copy()
    if classes > 1:
        alike = np.einsum("kjkj->j", H) / classes
        for j in range(columns):
            H[:, j, :, j] += alike[j]
    H = H.reshape(classes * columns, -1)
    diagonal = H.diagonal()
    scale = np.where(diagonal > 0, 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    H = H * scale * scale[:, np.newaxis]
    g, ridge = gradient.ravel() * scale, 0.0
    H[np.diag_indices(len(H))] = 1.0
    if not (np.isfinite(H).all() and np.isfinite(g).all()):
        return np.full_like(gradient, np.nan)
    while True:
        try:
            A = H + ridge * np.eye(len(H)) if ridge else H
            factor = cho_factor(A, lower=True, check_finite=False)
            if np.diagonal(factor[0]).min() > 1e-7 or ridge > 1e-14 or not ridge:
                break
        except LinAlgError:
            pass
        ridge = ridge * 10 if ridge else 1e-15 * len(H)
    step = -cho_solve(factor, g, check_finite=False)
    if np.isfinite(step).all() and not ridge:
        step -= cho_solve(factor, H @ step + g, check_finite=False)
    return (step * scale).reshape(gradient.shape)


class Smooth:
    """Mean loss + ½·l2·‖w‖² of ``problem``, in `Frame`'s coordinates; parameters are (classes, columns) there."""

    def __init__(self, problem: Any, shape: tuple[int, ...]) -> None:
        self.problem, self.shape, self.passes = problem, shape, 1
        self.classes, self.columns = (shape[0] if len(shape) == 2 else 1), shape[-1]
        self.ranges = problem.ranges()
        params = self.classes * self.columns
        self.small = params <= PARAMS and (params <= FEW or problem.rows * params**2 <= WORK)
        many = problem.sparse and self.columns > COLUMNS
        self.frame = Frame.of(self.ranges, float(problem.l2), problem.fit_intercept and not many)
        self.penalty = np.zeros(self.columns)
        with np.errstate(all="ignore"):
            self.penalty[: problem.n_features] = (min(np.sqrt(float(problem.l2)), 1e150) * self.frame.unit) ** 2

    def inner(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of parameters in the problem's shape."""
        return self.frame.inner(params.reshape(self.classes, self.columns))

    def outer(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.frame.outer(params.reshape(self.classes, self.columns)).reshape(self.shape)

    def gradient(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """In the frame, of that in the problem's parameters."""
        g, features = np.array(gradient).reshape(self.classes, self.columns), self.problem.n_features
        if self.frame.centre is not None:
            g[:, :features] -= g[:, features:] * self.frame.centre
            g[:, :features][:, self.ranges.low == self.ranges.high] = 0.0  # a constant column: all else is rounding
        g[:, :features] *= self.frame.unit
        return g

    def at(self, params: NDArray[np.float64], kind: str = "hessian") -> Point:
        """One pass. ``kind``: `nbgrad.regression.passes.second_order.second_order`."""
        self.passes += 1
        loss, gradient, *second = self.problem.second_order(params, self.frame, kind)
        with np.errstate(all="ignore"):
            weight = self.problem.weight_sum
            value = float(loss / weight + 0.5 * np.sum(self.penalty * params * params))
            gradient = gradient / weight + self.penalty * params
            if not second:
                return Point(params, value, gradient)
            found = second[0] / weight
            if kind == "hessian":
                at = np.arange(self.columns)
                for k in range(self.classes):
                    found[k, at, k, at] += self.penalty
            else:
                found[0] += self.penalty
            return Point(params, value, gradient, found)

    def quick(self, params: NDArray[np.float64]) -> Point:
        """Value and gradient in the precision of the problem's products."""
        self.passes += 1
        value, gradient = self.problem.value_and_grad(self.outer(params))
        return Point(params, float(value), self.gradient(gradient))

    def by_columns(self) -> Any:
        """`nbgrad.regression.passes.sparse_columns.SparseColumns`, where the problem has such."""
        made = getattr(self.problem, "by_columns", None)
        return None if made is None else made(self.frame)

    def hessian_of(self, params: NDArray[np.float64], columns: NDArray[np.intp]) -> NDArray[np.float64]:
        """The Hessian of some columns' parameters, (classes, len(columns), classes, len(columns))."""
        self.passes += 1
        found = self.problem.second_order(params, self.frame, "hessian", columns)[2] / self.problem.weight_sum
        at = np.arange(len(columns))
        for k in range(self.classes):
            found[k, at, k, at] += self.penalty[columns]
        return found

    def without_common_part(self, params: NDArray[np.float64]) -> NDArray[np.float64]:
        """Rows of softmax, of which the part that all classes have changes the penalty only: without it."""
        if self.classes == 1 or not self.problem.l2:
            return params
        found, features = params.copy(), self.problem.n_features
        outer = self.frame.outer(found)
        outer[:, :features] -= outer[:, :features].mean(axis=0)
        return self.frame.inner(outer)

    def certificate(self, params: NDArray[np.float64]) -> Certificate:
        """Of parameters of the frame, by a pass of its own."""
        if self.small:
            point = self.at(params)
            assert point.second is not None
            with np.errstate(all="ignore"):
                step = newton_step(point.second, point.gradient)
                error = math.sqrt(max(0.0, -float(np.vdot(point.gradient, step))))
            return Certificate(error if np.isfinite(step).all() else np.nan, point.value, step)
        point = self.at(params, "diagonal")
        assert point.second is not None
        with np.errstate(all="ignore"):
            squares, cross = point.second
            g, features = point.gradient, self.problem.n_features
            if self.problem.fit_intercept:
                own = cross[:, features:]
                share = np.where(own > 0, cross / own, 0.0)
                lone = np.maximum(squares - share * cross, 1e-12 * squares)
                along = g - share * g[:, features:]
                lone[:, features], along[:, features] = own[:, 0], g[:, features]
            else:
                lone, along = squares, g
            found = np.where(lone > 0, np.abs(along) / np.sqrt(lone), np.where(along == 0, 0.0, np.inf))
            return Certificate(float(found.max(initial=0.0)), point.value)
