"""The objective of Huber's regression with a scale of its own, and its minimum by Newton's method on coefficients and
scale together.

All that a step needs are sums over the rows, which one pass makes; so the rows may come in blocks. With r the
residuals, "in" the rows of |r| ≤ ε·σ and "out" the others, the objective is

    Σ w·σ + Σ_in w·r²/σ + Σ_out w·(2ε|r| − ε²σ) + α‖coef‖²,

which is convex in (coef, intercept, σ).
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.linear.triangle import library, to_host
from nbgrad.regression.solvers.newton import newton
from nbgrad.regression.solvers.smooth import Point, newton_step

__all__ = ["Objective"]

#: Numbers of X that are worked on at a time, in float64: 4 MB.
PIECE = 1 << 19
#: The smallest scale, relative to y's own spread: where most residuals are 0 there is no other.
SMALLEST = 10 * float(np.finfo(np.float64).eps)
#: Of the curvature that majorizes the outliers' |r|: with 0 steps are long where few rows are within, with 1 short.
SHARE = 0.01
#: A share of rows within that is few, and a σ, relative to the outliers' |r|, that is next to 0: what is minimized then
#: is Σ w·|r| (``epsilon`` near 1).
FEW, NEAR = 0.25, 1e-7


@dataclass(frozen=True)
class _Point(Point):
    """The shares of the rows: ``within``, and Σ_out 1/|r|, ``near``."""

    within: float = 0.0
    near: float = 0.0


class Objective:
    """The objective divided by Σ weight, of rows (1, columns): coefficients of columns that are centred and about as
    long as 1, intercept, σ; y in a unit of its own, a power of two.
    """

    def __init__(self, model: Any, blocks: Any) -> None:
        self.blocks, self.intercept, self.x_scale = blocks, bool(model.fit_intercept), float(model.x_scale)
        self.epsilon = float(model.epsilon)
        low, high = self._pass(_extent, _wider, self.x_scale)
        centre = low / 2 + high / 2 if self.intercept else np.zeros(len(low))
        centre[-1] = 0.0  # an outlier's distance would cost the others digits
        spread = np.maximum(high - centre, centre - low)
        usable = np.isfinite(spread) & (spread > 0)
        self.unit = np.ldexp(1.0, np.frexp(np.where(usable, spread, 1.0))[1])
        self.centre = centre
        self.weight, square = self._pass(_spread, _add, self._frame)
        self.least = SMALLEST * float(np.sqrt(square / self.weight)) or SMALLEST
        self.alpha, self.floor = float(model.alpha), 0.0
        self.whole: Any = None  # Σ w·x·xᵀ / Σ w, once it is needed

    @property
    def penalty(self) -> NDArray[np.float64]:
        """α of each coefficient in these units: the objective is divided by y's, which the square has twice."""
        of_columns = self.alpha / self.weight * (np.sqrt(self.unit[-1]) / self.unit[:-1]) ** 2
        return np.append(of_columns, [0.0] * self.intercept)

    @property
    def _frame(self) -> tuple[Any, ...]:
        return self.centre, self.unit, self.intercept, self.x_scale

    def _pass(self, function: Any, combine: Any, *argument: Any) -> Any:
        return self.blocks.reduce("huber", function, combine, argument)

    def inner(self, coef: NDArray[Any], intercept: float, sigma: float) -> NDArray[np.float64]:
        intercept = intercept + self.centre[:-1] @ coef - self.centre[-1]
        numbers = [*(coef * self.unit[:-1]), *([intercept] if self.intercept else []), sigma]
        return np.array([numbers]) / self.unit[-1]

    def outer(self, params: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float]:
        numbers = params[0] * self.unit[-1]
        coef = numbers[: len(self.unit) - 1] / self.unit[:-1]
        intercept = numbers[-2] + self.centre[-1] - self.centre[:-1] @ coef if self.intercept else 0.0
        return coef, float(intercept), float(numbers[-1])

    def rms(self, params: NDArray[np.float64]) -> float:
        """Of the residuals."""
        sums = self._pass(_sums, _add, self._frame, params[0, :-1], np.inf)
        return float(np.sqrt(sums[0] / self.weight))

    def at(self, params: NDArray[np.float64]) -> _Point:
        """One pass; σ is kept above the least, and no line leads far below the σ where it began."""
        if params[0, -1] < self.floor:
            return _Point(params, np.inf, np.zeros_like(params))
        theta, sigma = params[0, :-1], max(float(params[0, -1]), self.least)
        sums = self._pass(_sums, _add, self._frame, theta, self.epsilon * sigma)
        inside, outside, out, near, g_in, g_out, H = (s / self.weight for s in sums)
        eps, size = self.epsilon, len(theta) + 1
        value = sigma + inside / sigma + 2 * eps * outside - eps**2 * sigma * out + self.penalty @ theta**2
        gradient, hessian = np.empty((1, size)), np.empty((size, size))
        gradient[0, :-1] = -2 / sigma * g_in - 2 * eps * g_out + 2 * self.penalty * theta
        gradient[0, -1] = 1 - inside / sigma**2 - eps**2 * out
        hessian[:-1, :-1] = 2 / sigma * H + 2 * np.diag(self.penalty)
        hessian[-1, :-1] = hessian[:-1, -1] = 2 / sigma**2 * g_in
        hessian[-1, -1] = 2 * inside / sigma**3
        if sigma == self.least and gradient[0, -1] > 0:  # it stays there
            gradient[0, -1], hessian[-1, :-1], hessian[:-1, -1], hessian[-1, -1] = 0.0, 0.0, 0.0, 1.0
        params = np.append(theta, sigma)[np.newaxis]
        return _Point(params, float(value), gradient, hessian.reshape(1, size, 1, size), 1 - float(out), float(near))

    def step(self, point: Point) -> NDArray[np.float64]:
        """Newton's, of coefficients and σ; where that leads below σ/2, of the coefficients alone until they are settled
        for this σ, then with σ/2. Few rows may be within then, and less than fill the Hessian: a share of the curvature
        that majorizes the others' |r| keeps such a step short.
        """
        assert isinstance(point, _Point) and point.second is not None
        gradient, sigma, size = point.gradient, float(point.params[0, -1]), point.gradient.size
        H = point.second.reshape(size, size).copy()
        self.floor = 0.45 * sigma
        if point.within < FEW:
            if self.whole is None:
                sums = self._pass(_sums, _add, self._frame, np.zeros(size - 1), np.inf)
                self.whole = sums[-1] / self.weight
            H[:-1, :-1] += SHARE * 2 * self.epsilon * point.near * self.whole
        joint = newton_step(H.reshape(point.second.shape), gradient)
        if sigma <= self.least or (np.vdot(gradient, joint) <= 0 and joint[0, -1] >= -0.5 * sigma):
            return joint

        def of_theta(g: NDArray[np.float64]) -> NDArray[np.float64]:
            return newton_step(H[:-1, :-1].reshape(1, size - 1, 1, size - 1), g[np.newaxis])[0]

        slope, along = gradient[0, -1], of_theta(gradient[0, :-1])
        settled = -float(gradient[0, :-1] @ along) < 0.5 * sigma * slope
        if settled and point.within < FEW and sigma * point.near <= NEAR * (1 - point.within):
            return np.zeros_like(joint)
        if settled:
            fall = max(-0.5 * sigma, self.least - sigma)
            both = np.append(of_theta(gradient[0, :-1] + H[:-1, -1] * fall), fall)[np.newaxis]
            if np.vdot(gradient, both) < 0:
                return both
        return np.append(along, 0.0)[np.newaxis]

    def minimum(self, params: NDArray[np.float64], tol: float, max_iter: int) -> tuple[NDArray[np.float64], int, str]:
        """(the parameters, iterations, why it failed or ""), ``tol`` being meant for y in units of about σ."""
        count, why = 0, ""
        while True:
            sigma = float(params[0, -1])
            power = float(np.ldexp(1.0, np.frexp(sigma)[1]))
            self.unit[-1] *= power
            self.least, self.floor, params = self.least / power, 0.0, params / power
            params, more, why = newton(
                self.at, self.step, params, tol=tol, max_iter=max_iter - count, report=lambda point, decrement: None
            )
            count += more
            sigma = float(params[0, -1])
            if sigma <= self.least or not more or count >= max_iter or 0.125 < sigma < 8:
                break
        point = self.at(params)
        if sigma <= self.least and point.within >= FEW:
            return params, count, "so many residuals are 0 that there is no scale"
        fall = max(0.0, -float(np.vdot(point.gradient, self.step(point))))
        found = np.sqrt(fall) <= max(tol, 1e-6)
        if point.within < FEW:  # next to Σ w·|r|, whose minimum is a corner
            found |= fall + sigma * max(0.0, point.gradient[0, -1]) <= max(tol, 1e-5) ** 2 * point.value
        return params, count, "" if why == "rounding" and found else why


def _columns(block: tuple[Any, Any, Any], frame: tuple[Any, ...]) -> Any:
    """(rows of X with a 1 for the intercept, y, weights) in the frame, some at a time."""
    (X, y, weight), (centre, unit, intercept, x_scale) = block, frame
    xp = library(X)
    step = max(1, PIECE // len(unit))
    for start in range(0, X.shape[0], step):
        at = slice(start, start + step)
        part = X[at]
        part = part.toarray() if hasattr(part, "toarray") else part
        rows = xp.ones((len(part), len(unit) - 1 + intercept))
        rows[:, : len(unit) - 1] = (part.astype(np.float64) * x_scale - xp.asarray(centre[:-1])) / xp.asarray(unit[:-1])
        w = xp.ones(len(part)) if weight is None else xp.asarray(weight[at]).astype(np.float64)
        rows[w == 0] = 0.0  # absent, whatever is written there
        yield rows, xp.where(w == 0, 0.0, (y[at].astype(np.float64) - centre[-1]) / unit[-1]), w, xp


def _extent(i: int, block: tuple[Any, Any, Any], argument: tuple[float]) -> tuple[Any, Any]:
    """The smallest and the largest number of each column, and of y."""
    X, y, weight = block
    low = high = None
    for rows, t, w, xp in _columns(block, (np.zeros(X.shape[1] + 1), np.ones(X.shape[1] + 1), False, *argument)):
        there = xp.concatenate([rows, t[:, np.newaxis]], axis=1)[w > 0]
        if len(there):
            ends = there.min(axis=0), there.max(axis=0)
            low = ends[0] if low is None else xp.minimum(low, ends[0])
            high = ends[1] if high is None else xp.maximum(high, ends[1])
    if low is None:
        return np.full(X.shape[1] + 1, np.inf), np.full(X.shape[1] + 1, -np.inf)
    return to_host(low, xp), to_host(high, xp)


def _wider(*parts: Any) -> Any:
    return np.minimum.reduce([p[0] for p in parts]), np.maximum.reduce([p[1] for p in parts])


def _spread(i: int, block: tuple[Any, Any, Any], argument: tuple[Any]) -> tuple[float, float]:
    """(Σ weight, Σ weight·y²)"""
    total = square = 0.0
    for _, t, w, _ in _columns(block, *argument):
        total, square = total + float(w.sum()), square + float((w * t * t).sum())
    return total, square


def _sums(i: int, block: tuple[Any, Any, Any], argument: tuple[Any, NDArray[Any], float]) -> tuple[Any, ...]:
    """(Σ_in w·r², Σ_out w·|r|, Σ_out w, Σ_out w/|r|, Σ_in w·r·x, Σ_out w·sign(r)·x, Σ_in w·x·xᵀ)"""
    frame, theta, most = argument
    size = len(theta)
    sums: list[Any] = [0.0, 0.0, 0.0, 0.0, np.zeros(size), np.zeros(size), np.zeros((size, size))]
    for rows, t, w, xp in _columns(block, frame):
        r = t - rows @ xp.asarray(theta)
        out = xp.abs(r) > most
        inner, outer = xp.where(out, 0.0, w), xp.where(out, w, 0.0)
        y = rows * xp.sqrt(inner)[:, np.newaxis]
        found = (
            (inner * r * r).sum(), (outer * xp.abs(r)).sum(), outer.sum(),
            (outer / xp.where(out, xp.abs(r), 1.0)).sum(), (inner * r) @ rows, (outer * xp.sign(r)) @ rows, y.T @ y,
        )  # fmt: skip
        sums = [a + to_host(b, xp) for a, b in zip(sums, found, strict=True)]
    return tuple(sums)


def _add(*parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(functools.reduce(operator.add, column) for column in zip(*parts, strict=True))
