"""Poisson and gamma regression: the mean is e^(x·coef + intercept)."""

from __future__ import annotations

import functools
import warnings
from types import SimpleNamespace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.glm.regressor import Regressor
from nbgrad.regression.minimize import minimize
from nbgrad.regression.problem import Problem
from nbgrad.regression.scikit.answers import by_rows, score
from nbgrad.regression.scikit.base import ConvergenceWarning
from nbgrad.regression.scikit.device_data import Measured

__all__ = ["GammaRegressor", "PoissonRegressor"]


class LogLink(Regressor):
    """`PoissonRegressor` and `GammaRegressor` but for their losses."""

    _model: str

    def __init__(
        self,
        *,
        alpha: float = 1.0,
        fit_intercept: bool = True,
        solver: Literal["auto", "lbfgs", "newton-cg", "newton-cholesky", "scaled-lbfgs"] = "auto",
        max_iter: int = 100,
        tol: float = 1e-4,
        warm_start: bool = False,
        verbose: int = 0,
        x_scale: float = 1.0,
    ) -> None:
        self.alpha = alpha
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.max_iter = max_iter
        self.tol = tol
        self.warm_start = warm_start
        self.verbose = verbose
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the numbers ``y`` (n_samples,)."""
        with np.errstate(all="ignore"):
            X, y, weight, dtype = self._data(X, y, sample_weight)
            make = functools.partial(
                _problem, X, y, weight, fit_intercept=bool(self.fit_intercept), x_scale=float(self.x_scale)
            )
            problem = make(self._model)
            problem.l2 = float(self.alpha)
            start = np.zeros(self.n_features_in_ + bool(self.fit_intercept))
            if (last := self._last()) is not None:
                start[:] = last[: len(start)]
            elif self.fit_intercept:
                mean = -make("linear").value_and_grad(start)[1][-1]  # of nothing: Σ weight·(0 − y) / Σ weight
                if mean > 0:
                    start[-1] = np.log(mean)
                elif mean == 0:
                    warnings.warn(
                        "All targets are 0: there is no best intercept, it falls for ever.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
            found = minimize(
                problem, start, solver=self.solver,
                tol=float(self.tol), max_iter=int(self.max_iter), verbose=int(self.verbose), stacklevel=3,
            )  # fmt: skip
            self.n_iter_ = found.n_iter
            coef = found.params[: self.n_features_in_]
            self._keep(coef, found.params[-1] if self.fit_intercept else 0.0, dtype)
            return self

    def predict(self, X: Any) -> Any:
        """e^(x·coef + intercept) of each row."""
        return by_rows(self, lambda m, X: np.exp(m._scores(X)), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """D² = 1 − deviance / deviance of the mean of y."""
        mixin = SimpleNamespace(score=functools.partial(_explained, self._model, self._deviance))
        return score(mixin, self, X, y, sample_weight)

    @staticmethod
    def _deviance(y: NDArray[Any], mean: Any) -> Any:
        """Half of it, for each row."""
        raise AssertionError

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = True
        return tags


def _problem(X: Any, y: Any, weight: Any, model: str, **options: Any) -> Any:
    if isinstance(X, Measured):
        return Problem(model, X.like, X.numbers, sample_weight=X.weight, **options)
    return BlockProblem(model, X, **options) if y is None else Problem(model, X, y, sample_weight=weight, **options)


def _explained(model: str, deviance: Any, estimator: Any, X: Any, y: Any, sample_weight: Any) -> float:
    predicted = np.asarray(estimator.predict(X), np.float64)
    y = np.asarray(y, np.float64)
    if y.shape != predicted.shape:
        raise ValueError(f"y: expected shape {predicted.shape}, a target for each row of X, got {y.shape}")
    row = SCORE_MODELS[model]
    for at, target in enumerate(y):
        if not row.is_target(target):
            raise ValueError(f"y: expected {row.targets.format(dtype=y.dtype)}, got {target} at position {at}")
    average = functools.partial(np.average, weights=sample_weight)
    return float(1 - average(deviance(y, predicted)) / average(deviance(y, average(y))))


class PoissonRegressor(LogLink):
    """Poisson regression of counts: the mean is e^(x·coef + intercept).

    Minimizes the mean of half the Poisson deviance, y·ln(y/μ) − y + μ, plus ½·alpha·‖coef‖²; the same minimum as
    scikit-learn's ``PoissonRegressor``.

    Parameters
    ----------
    alpha : float
        Strength of the penalty.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    solver : "auto", "lbfgs", "newton-cg", "newton-cholesky" or "scaled-lbfgs"
        As `LogisticRegression` has them.
    max_iter : int
        Iterations, at most: if they do not suffice, `fit` ends with a ConvergenceWarning.
    tol : float
        As `LogisticRegression` has it.
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    verbose : int
        1 prints a line after each iteration.
    x_scale : float
        A number that X is multiplied by.

    Attributes
    ----------
    coef_ : (n_features,)
    intercept_ : float
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    ``y`` (n_samples,): finite numbers >= 0. X, weights, errors: `nbgrad.regression.estimators`; blocks, Dask and GPUs,
    too.

    Source: J. A. Nelder, R. W. M. Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972) 370.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1, 2, 4, 8])
    >>> model = PoissonRegressor(alpha=0.0, tol=1e-12).fit(X, y)
    >>> print(model.coef_.round(6), model.predict([[4.0]]).round(6), round(model.score(X, y), 6))
    [0.693147] [16.] 1.0
    """

    _model = "poisson"

    @staticmethod
    def _deviance(y: NDArray[Any], mean: Any) -> Any:
        from scipy.special import xlogy

        return xlogy(y, y / mean) - y + mean


class GammaRegressor(LogLink):
    """Gamma regression of sizes: the mean is e^(x·coef + intercept), the standard deviation a share of it.

    Minimizes the mean of half the gamma deviance, ln(μ/y) + y/μ − 1, plus ½·alpha·‖coef‖²; the same minimum as
    scikit-learn's ``GammaRegressor``.

    Parameters
    ----------
    alpha : float
        Strength of the penalty.
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    solver : "auto", "lbfgs", "newton-cg", "newton-cholesky" or "scaled-lbfgs"
        As `LogisticRegression` has them.
    max_iter : int
        Iterations, at most: if they do not suffice, `fit` ends with a ConvergenceWarning.
    tol : float
        As `LogisticRegression` has it.
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    verbose : int
        1 prints a line after each iteration.
    x_scale : float
        A number that X is multiplied by.

    Attributes
    ----------
    coef_ : (n_features,)
    intercept_ : float
    n_iter_ : int
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    ``y`` (n_samples,): finite numbers > 0. X, weights, errors: `nbgrad.regression.estimators`; blocks, Dask and GPUs,
    too.

    Source: J. A. Nelder, R. W. M. Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972) 370.

    Examples
    --------
    >>> import numpy as np
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([1.0, 2.0, 4.0, 8.0])
    >>> model = GammaRegressor(alpha=0.0, tol=1e-12).fit(X, y)
    >>> print(model.coef_.round(6), model.predict([[4.0]]).round(6), round(model.score(X, y), 6))
    [0.693147] [16.] 1.0
    """

    _model = "gamma"

    @staticmethod
    def _deviance(y: NDArray[Any], mean: Any) -> Any:
        return np.log(mean / y) + y / mean - 1
