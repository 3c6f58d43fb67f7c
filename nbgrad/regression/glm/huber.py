"""Huber's regression with a scale of its own: the estimator."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.glm.huber_objective import Objective
from nbgrad.regression.glm.regressor import Regressor, in_one
from nbgrad.regression.linear.least_squares import least_squares
from nbgrad.regression.scikit.answers import by_rows, score
from nbgrad.regression.scikit.base import ConvergenceWarning, RegressorMixin

__all__ = ["HuberRegressor"]


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

    Notes
    -----
    X, weights, errors: `nbgrad.regression.estimators`; blocks, Dask and GPUs, too.

    Source: P. J. Huber, E. M. Ronchetti, Robust statistics, 2nd ed. (Wiley, 2009), section 7.7; A. B. Owen, A robust
    hybrid of lasso and ridge regression, Contemp. Math. 443 (2007) 59.

    Examples
    --------
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
            objective = Objective(self, blocks)
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
