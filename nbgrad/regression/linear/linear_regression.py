"""`LinearRegression`: least squares with scikit-learn's methods. The rules it shares with the other estimators:
`nbgrad.regression.estimators`.
"""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import on_device
from nbgrad.regression.dispatch import as_blocks
from nbgrad.regression.linear.least_squares import least_squares
from nbgrad.regression.linear.sparse import is_large, sparse_least_squares
from nbgrad.regression.scikit.answers import by_rows, score
from nbgrad.regression.scikit.base import (
    BaseEstimator,
    ConvergenceWarning,
    RegressorMixin,
    check_blocks,
    check_coefficients,
    check_parameters,
    check_sample_weight,
    check_X_y,
    kept_if_refused,
    linear_scores,
    precision,
)

__all__ = ["LinearRegression"]


class LinearRegression(RegressorMixin, BaseEstimator):
    """Least squares, solved directly: minimizes mean ½(x·coef + intercept − y)² + ½·l2·‖coef‖².

    One pass over X brings it to a triangle by Householder reflections, whatever its columns' units and offsets are:
    constant is a column, and dependent on others, of which no more is left than rounding of its own length. Where
    rounding would cost more than 11 digits (high condition and large residuals), a second pass takes the residuals in
    twice the precision. Where the data leave a choice, ``coef_`` is the shortest solution, as `numpy.linalg.lstsq` has
    it. Memory, beside X: 8·(n_features + 2)² bytes or a little more.

    Parameters
    ----------
    fit_intercept : bool
        Whether there is an intercept; it is not penalised.
    l2 : float
        Ridge regression; scikit-learn's ``Ridge(alpha=l2 * n_samples)``.
    x_scale : float
        A number that X is multiplied by.
    positive : bool
        Whether the coefficients must not be below 0; X must be dense then.
    tol : float
        Of a sparse X with more than 512 rows and features, which is not made dense: LSMR's atol and btol. What is
        solved directly is as right as rounding lets it be.
    copy_X, n_jobs
        For scikit-learn's signature: X is never overwritten, and the threads are Numba's and BLAS's.

    Attributes
    ----------
    coef_ : (n_features,), or (n_targets, n_features) where y had two dimensions
    intercept_ : float, or (n_targets,)
    rank_ : int
        The rank of the (centred) columns of X, where it was solved directly.
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    Notes
    -----
    X, weights, errors: `nbgrad.regression.estimators`.

    Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805); Å. Björck,
    Numerical methods for least squares problems (SIAM, 1996).

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, 1.0], [4.0, 3.0]])
    >>> model = LinearRegression().fit(X, X @ [2.0, -1.0] + 0.5)
    >>> print(model.coef_.round(12), round(model.intercept_, 12), model.score(X, X @ [2.0, -1.0] + 0.5))
    [ 2. -1.] 0.5 1.0
    """

    coef_: NDArray[Any]
    intercept_: Any
    rank_: int

    def __init__(
        self,
        *,
        fit_intercept: bool = True,
        copy_X: bool = True,
        tol: float = 1e-6,
        n_jobs: int | None = None,
        positive: bool = False,
        l2: float = 0.0,
        x_scale: float = 1.0,
    ) -> None:
        self.fit_intercept = fit_intercept
        self.copy_X = copy_X
        self.tol = tol
        self.n_jobs = n_jobs
        self.positive = positive
        self.l2 = l2
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the numbers ``y`` (n_samples,), or (n_samples, n_targets): each column is fitted for itself."""
        with np.errstate(all="ignore"), kept_if_refused(self):
            check_parameters(self)
            device = on_device(X)
            blocks: Any = None if device else as_blocks(X, y, sample_weight)
            if device:
                from nbgrad.regression.scikit.device_data import Measured

                X = Measured(self, X, y, sample_weight)
                y, sample_weight, dtype = None, None, X.dtype
            elif blocks is None:
                X, y = check_X_y(
                    self, X, y, y_numeric=True, multi_output=True, accept_sparse=False if self.positive else "csr"
                )
                sample_weight = check_sample_weight(sample_weight, X.shape[0])
                y, dtype = y.astype(np.float64, copy=False), X.dtype
            else:
                dtype = check_blocks(self, blocks, classify=False).dtype
                X, y, sample_weight = blocks, None, None
            options: dict[str, Any] = {
                "l2": float(self.l2), "fit_intercept": bool(self.fit_intercept), "x_scale": float(self.x_scale),
            }  # fmt: skip
            self.__dict__.pop("rank_", None)
            if y is not None and is_large(X):
                coef, intercept, converged = sparse_least_squares(
                    X, y, sample_weight=sample_weight, tol=float(self.tol), **options
                )
                if not converged:
                    warnings.warn(
                        "LSMR has not reached tol: the columns are nearly dependent. Give a larger tol, a penalty l2, "
                        "or a dense X.",
                        ConvergenceWarning,
                        stacklevel=2,
                    )
            else:
                coef, intercept, self.rank_ = least_squares(
                    X, y, sample_weight=sample_weight, positive=bool(self.positive), **options
                )
            dtype = precision(dtype)
            self.coef_ = coef.astype(dtype)
            self.intercept_ = np.asarray(intercept, dtype)[()] if self.fit_intercept else dtype.type(0)
            check_coefficients(self)
            return self

    def predict(self, X: Any) -> Any:
        """x·coef + intercept of each row."""
        return by_rows(self, lambda m, X: linear_scores(X, m.coef_, m.intercept_, m.x_scale), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (y − prediction)² / Σ (y − mean y)²."""
        return score(RegressorMixin, self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = not self.positive
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags
