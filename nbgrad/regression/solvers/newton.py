"""Newton's method with a line search that knows value and slope, for smooth convex functions that may have no minimum.

A step is taken where the value falls; where that is lost in rounding, where the slope along it shrinks. Where the
function still falls steeply at the end of a step (an exponential tail: separated classes), the step is doubled.

Source: J. Nocedal, S. J. Wright, Numerical optimization, 2nd ed. (Springer, 2006), chapters 3 and 7; W. Hager,
H. Zhang, A new conjugate gradient method with guaranteed descent, SIAM J. Optim. 16 (2005) 170: the slopes' test.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.solvers.smooth import Point

__all__ = ["conjugate_gradients", "newton"]

#: The share of the fall that a step must keep of the one its slope promises.
FALL = 1e-4
#: A value's rounding, relative.
ROUNDING = 1e-12
#: The slope at the end of a step, relative to that at its beginning: what is left means that the step is too short.
STEEP = 0.25
#: Halvings and doublings of a step.
TRIALS = 60


def newton(
    at: Callable[[NDArray[np.float64]], Point],
    step_at: Callable[[Point], NDArray[np.float64]],
    start: NDArray[np.float64],
    *,
    tol: float,
    max_iter: int,
    report: Callable[[Point, float], None],
) -> tuple[NDArray[np.float64], int, str]:
    """(parameters, iterations, why it ended: "" where Newton's decrement is at most ``tol``)

    ``at`` makes a pass, ``step_at`` Newton's step at the point.
    """
    point, idle, best = at(start), 0, math.inf
    with np.errstate(all="ignore"):
        for iteration in range(max_iter + 1):
            step = step_at(point)
            slope = float(np.vdot(point.gradient, step))
            decrement = math.sqrt(max(0.0, -slope)) if math.isfinite(slope) else math.nan
            if iteration:
                report(point, decrement)
            if not math.isfinite(decrement):
                return point.params, iteration, "value or derivatives are not finite"
            if decrement <= tol:
                return point.params, iteration, ""
            idle = idle + 1 if decrement > 0.5 * best and decrement < 1e-5 else 0
            best = min(best, decrement)
            if idle >= 3:
                return point.params, iteration, "rounding"
            if iteration == max_iter:
                break
            found = _along(at, point, step, slope)
            if found is None:
                return point.params, iteration, "rounding"
            point = found
    return point.params, max_iter, "iterations"


def _along(
    at: Callable[[NDArray[np.float64]], Point], point: Point, step: NDArray[np.float64], slope: float
) -> Point | None:
    """The point to which ``step`` leads."""

    def good(other: Point, t: float, end: float) -> bool:
        if not (math.isfinite(other.value) and math.isfinite(end)):
            return False
        rounding = ROUNDING * abs(point.value)
        if abs(t * slope) <= rounding:  # the value has no digits for it
            return abs(end) <= 0.9 * abs(slope) and other.value <= point.value + rounding
        return other.value <= point.value + FALL * t * slope

    t, best = 1.0, None
    for _ in range(TRIALS):
        other = at(point.params + t * step)
        end = float(np.vdot(other.gradient, step))
        if good(other, t, end):
            best = other
            if end > STEEP * slope:
                return best
            t *= 2
        elif best is not None:
            return best
        else:
            t *= min(0.5, max(0.1, slope / (slope - end))) if math.isfinite(end) and end > slope else 0.1
    return best


def conjugate_gradients(
    product: Callable[[NDArray[np.float64]], NDArray[np.float64]], gradient: NDArray[np.float64], most: int
) -> NDArray[np.float64]:
    """Newton's step −H⁻¹·gradient from products with H, to a residual of min(0.1, √|gradient|) of the gradient."""
    step, residual = np.zeros_like(gradient), -gradient
    direction, size = residual.copy(), float(np.vdot(residual, residual))
    if not math.isfinite(size):
        return np.full_like(gradient, np.nan)
    enough = size * min(0.1, max(math.sqrt(math.sqrt(size)), 1e-3)) ** 2
    for _ in range(most):
        if size <= max(enough, 1e-300):
            break
        image = product(direction)
        curvature = float(np.vdot(direction, image))
        if not curvature > 0:
            break
        step = step + size / curvature * direction
        residual = residual - size / curvature * image
        last, size = size, float(np.vdot(residual, residual))
        direction = residual + size / last * direction
    return step if step.any() else -gradient
