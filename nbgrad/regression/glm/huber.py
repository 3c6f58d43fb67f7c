"""Huber's regression with a scale of its own, by Newton's method on coefficients and scale together.

All that a step needs are sums over the rows, which one pass makes; so the rows may come in blocks. With r the
residuals, "in" the rows of |r| ≤ ε·σ and "out" the others, the objective is

    Σ w·σ + Σ_in w·r²/σ + Σ_out w·(2ε|r| − ε²σ) + α‖coef‖²,

which is convex in (coef, intercept, σ).
"""

from __future__ import annotations

import functools
import operator
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.glm.regressor import Regressor, in_one
from nbgrad.regression.linear.least_squares import least_squares
from nbgrad.regression.linear.triangle import library, to_host
from nbgrad.regression.scikit.answers import by_rows, score
from nbgrad.regression.scikit.base import ConvergenceWarning, RegressorMixin
from nbgrad.regression.solvers.newton import newton
from nbgrad.regression.solvers.smooth import Point, newton_step

__all__ = ["HuberRegressor"]

#: Numbers of X that are worked on at a time, in float64: 4 MB.
PIECE = 1 << 19
#: The smallest scale, relative to y's own spread: where most residuals are 0 there is no other.
SMALLEST = 10 * float(np.finfo(np.float64).eps)


class HuberRegressor(Regressor):
    """Linear regression in which rows with large residuals count less, however y is scaled.

    Minimizes, over coefficients and a scale σ > 0, the sum of σ + H(r/σ)·σ over the rows, plus alpha·‖coef‖²; r is the
    residual, H(z) = z² for abs(z) ≤ epsilon and 2·epsilon·abs(z) − epsilon² beyond; the same minimum as scikit-learn's
    ``HuberRegressor``. (`nbgrad.regression.huber_value_and_grad` is the loss of a given scale.)

    Parameters
    ----------
    epsilon : float
        Residuals beyond so many scales count as outliers; 1 at least. 1.35: 95 % of the efficiency of least squares.
    max_iter : int
        Iterations, at most: if they do not suffice, `fit` ends with a ConvergenceWarning.
    alpha : float
        Strength of the penalty.
    warm_start : bool
        Whether `fit` starts from the last coefficients and scale.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    tol : float
        Newton's decrement, of the objective divided by Σ weight·σ, at which it stops.
    x_scale : float
        A number that X is multiplied by.

    Attributes
    ----------
    coef_ : (n_features,)
    intercept_ : float
    scale_ : float
        σ.
    outliers_ : (n_samples,)
        Whether a row is an outlier; of data in blocks there is none.
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    X, weights, errors: `nbgrad.regression.estimators`; blocks, Dask and GPUs, too.

    Source: P. J. Huber, E. M. Ronchetti, Robust statistics, 2nd ed. (Wiley, 2009), section 7.7; A. B. Owen, A robust
    hybrid of lasso and ridge regression, Contemp. Math. 443 (2007) 59.

    >>> import numpy as np
    >>> X = np.arange(20.0)[:, None]
    >>> y = 2 * X[:, 0] + 1 + 0.01 * np.sin(7 * X[:, 0])
    >>> y[3] = 1000.0
    >>> model = HuberRegressor().fit(X, y)
    >>> print(model.coef_.round(2), model.outliers_[3], model.scale_ < 0.02)
    [2.] True True
    """

    scale_: float
    outliers_: NDArray[np.bool_]

    def __init__(
        self,
        *,
        epsilon: float = 1.35,
        max_iter: int = 100,
        alpha: float = 0.0001,
        warm_start: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-05,
        x_scale: float = 1.0,
    ) -> None:
        self.epsilon = epsilon
        self.max_iter = max_iter
        self.alpha = alpha
        self.warm_start = warm_start
        self.fit_intercept = fit_intercept
        self.tol = tol
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the numbers ``y`` (n_samples,)."""
        with np.errstate(all="ignore"):
            X, y, weight, dtype = self._data(X, y, sample_weight)
            blocks = in_one(X, y, weight)
            objective = _Objective(self, blocks)
            last = self._last()
            if last is None:
                coef, intercept, _ = least_squares(
                    blocks, fit_intercept=bool(self.fit_intercept), x_scale=float(self.x_scale)
                )
                start = objective.inner(coef, intercept, 0.0)
                start[0, -1] = max(objective.rms(start), objective.least)
            else:
                start = objective.inner(last[:-1], last[-1], max(float(self.scale_), objective.least))
            params, self.n_iter_, why = objective.minimum(start, float(self.tol), int(self.max_iter))
            if why:
                cure = f". Increase the number of iterations (max_iter={self.max_iter})" if why == "iterations" else ""
                warnings.warn(
                    f"newton failed to converge after {self.n_iter_} iteration(s): {why}{cure}", ConvergenceWarning,
                    stacklevel=2,
                )  # fmt: skip
            coef, intercept, self.scale_ = objective.outer(params)
            self._keep(coef, intercept, dtype)
            self.__dict__.pop("outliers_", None)
            if y is not None:
                self.outliers_ = np.abs(y - self._scores(X)) > self.scale_ * self.epsilon
            return self

    def predict(self, X: Any) -> Any:
        """x·coef + intercept of each row."""
        return by_rows(self, lambda m, X: m._scores(X), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (y − prediction)² / Σ (y − mean y)²."""
        return score(RegressorMixin, self, X, y, sample_weight)


class _Objective:
    """The objective divided by Σ weight, of rows (1, columns): coefficients of columns that are centred and about as
    long as 1, intercept, σ; y in a unit of its own, a power of two.
    """

    def __init__(self, model: HuberRegressor, blocks: Any) -> None:
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

    def at(self, params: NDArray[np.float64]) -> Point:
        """One pass; σ is kept above the least, and no line leads far below the σ where it began."""
        if params[0, -1] < self.floor:
            return Point(params, np.inf, np.zeros_like(params))
        theta, sigma = params[0, :-1], max(float(params[0, -1]), self.least)
        sums = self._pass(_sums, _add, self._frame, theta, self.epsilon * sigma)
        inside, outside, out, g_in, g_out, H = (s / self.weight for s in sums)
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
        return Point(np.append(theta, sigma)[np.newaxis], float(value), gradient, hessian.reshape(1, size, 1, size))

    def step(self, point: Point) -> NDArray[np.float64]:
        """Newton's, σ a tenth at least; where few rows are within, so that its direction is rounding, a shorter one."""
        assert point.second is not None
        sigma, size = point.params[0, -1], point.gradient.size
        H = point.second.reshape(size, size)
        self.floor = 0.05 * sigma
        for more in (0.0, 1e-10, 1e-6, 1e-2):
            step = newton_step((H + more * np.diag(H.diagonal())).reshape(point.second.shape), point.gradient)
            if np.vdot(point.gradient, step) <= 0:
                break
        return step * min(1.0, 0.9 * sigma / max(-step[0, -1], 1e-300))

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
            if sigma <= self.least:  # on its way to 0: the residuals of so many rows are 0
                return params, count, "most residuals are 0, there is no scale"
            if not more or count >= max_iter or 0.125 < sigma < 8:
                break
        point = self.at(params)
        decrement = np.sqrt(max(0.0, -float(np.vdot(point.gradient, self.step(point)))))
        return params, count, "" if why == "rounding" and decrement <= max(tol, 1e-6) else why


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
    """(Σ_in w·r², Σ_out w·|r|, Σ_out w, Σ_in w·r·x, Σ_out w·sign(r)·x, Σ_in w·x·xᵀ)"""
    frame, theta, most = argument
    size = len(theta)
    sums: list[Any] = [0.0, 0.0, 0.0, np.zeros(size), np.zeros(size), np.zeros((size, size))]
    for rows, t, w, xp in _columns(block, frame):
        r = t - rows @ xp.asarray(theta)
        out = xp.abs(r) > most
        inner, outer = xp.where(out, 0.0, w), xp.where(out, w, 0.0)
        y = rows * xp.sqrt(inner)[:, np.newaxis]
        found = (
            (inner * r * r).sum(), (outer * xp.abs(r)).sum(), outer.sum(), (inner * r) @ rows,
            (outer * xp.sign(r)) @ rows, y.T @ y,
        )  # fmt: skip
        sums = [a + to_host(b, xp) for a, b in zip(sums, found, strict=True)]
    return tuple(sums)


def _add(*parts: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(functools.reduce(operator.add, column) for column in zip(*parts, strict=True))
