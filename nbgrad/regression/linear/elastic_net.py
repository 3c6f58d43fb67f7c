"""`ElasticNet` and `Lasso`. The rules they share with the other estimators: `nbgrad.regression.estimators`."""

from __future__ import annotations

import numbers
import warnings
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import on_device
from nbgrad.cpu.blas import one_blas_thread
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.dispatch import as_blocks
from nbgrad.regression.linear import coordinate_descent
from nbgrad.regression.linear.centred import Centred, centred, centred_rows
from nbgrad.regression.linear.linear_regression import LinearRegression
from nbgrad.regression.linear.solve import EPS, GIVEN
from nbgrad.regression.linear.sparse import Standardised, is_large
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

__all__ = ["ElasticNet", "Lasso"]

MAX_ITER = 1000  # where max_iter is None
SMALL = 2**25  # numbers of X that are copied and centred; of more the triangle is made
LARGEST = 1e150  # of a penalty in a column's unit: its square is a number
#: Parameters that other estimators have with other values.
DOMAINS = {
    "l1_ratio": ("a float in the range [0.0, 1.0]", lambda v: isinstance(v, numbers.Real) and 0 <= float(v) <= 1),
    "max_iter": (
        "an int in the range [1, inf) or None",
        lambda v: v is None or (isinstance(v, numbers.Integral) and not isinstance(v, bool) and int(v) >= 1),
    ),
}


class ElasticNet(RegressorMixin, BaseEstimator):
    """Least squares with a penalty that makes coefficients 0: minimizes

        Σ weight·(x·coef + intercept − y)² / (2·Σ weight)
            + alpha·l1_ratio·Σ|coef| + ½·alpha·(1 − l1_ratio)·‖coef‖²,

    the objective of scikit-learn's ``ElasticNet``, with its parameters; the intercept is not penalised.

    Coordinate descent on working sets of columns, whose last step is the exact solution for the support that it has
    found, until the duality gap is at most ``tol`` of y's squares. X is centred in a copy; large data, in memory, in
    blocks or on a GPU, are read once: what remains is a triangle of n_features columns. A sparse X with more than 512
    rows and features stays sparse.

    Parameters
    ----------
    alpha : float
        The penalty's strength; 0 is `LinearRegression`.
    l1_ratio : float
        The share of Σ|coef| in the penalty, 0 to 1.
    fit_intercept : bool
        Whether there is an intercept.
    precompute, copy_X
        For scikit-learn's signature: the Gram matrix of the working set is always computed, X is never overwritten.
    max_iter : int or None
        Sweeps over the working set, at most (None: 1000); if they do not suffice, `fit` ends with a ConvergenceWarning.
    tol : float
        The duality gap that is small enough, as a share of Σ weight·(y − mean y)².
    warm_start : bool
        Whether `fit` starts from the last coefficients.
    positive : bool
        Whether the coefficients must not be below 0.
    random_state : int, numpy's RandomState or None
        Of the order of the coordinates with ``selection="random"``.
    selection : "cyclic" or "random"
        Coordinates in order, or in a random one.
    x_scale : float
        A number that X is multiplied by.

    Attributes
    ----------
    coef_ : (n_features,), or (n_targets, n_features) for several targets
    sparse_coef_ : the same as a CSR array
    intercept_ : float, or (n_targets,)
    n_iter_ : sweeps over the working set, or a list of them
    dual_gap_ : what the objective may be above its minimum, or (n_targets,) of it
    n_features_in_ : int
    feature_names_in_ : names of the columns, if X was a DataFrame.

    Notes
    -----
    X, weights, errors: `nbgrad.regression.estimators`.

    Source: H. Zou, T. Hastie, Regularization via the elastic net, J. R. Stat. Soc. B 67 (2005) 301.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 0.1], [2.0, 0.0], [3.0, -0.1], [4.0, 0.2]])
    >>> model = ElasticNet(alpha=0.1).fit(X, 2 * X[:, 0])
    >>> print(model.coef_.round(4), round(model.intercept_, 4))
    [1.8846 0.    ] 0.2885
    """

    coef_: NDArray[Any]
    intercept_: Any
    n_iter_: Any
    dual_gap_: Any

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        l1_ratio: float = 0.5,
        fit_intercept: bool = True,
        precompute: Any = False,
        max_iter: int | None = 1000,
        copy_X: bool = True,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: Literal["cyclic", "random"] = "cyclic",
        x_scale: float = 1.0,
    ) -> None:
        self.alpha = alpha
        self.l1_ratio = l1_ratio
        self.fit_intercept = fit_intercept
        self.precompute = precompute
        self.max_iter = max_iter
        self.copy_X = copy_X
        self.tol = tol
        self.warm_start = warm_start
        self.positive = positive
        self.random_state = random_state
        self.selection = selection
        self.x_scale = x_scale

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit to the numbers ``y`` (n_samples,), or (n_samples, n_targets): each column is fitted for itself."""
        with np.errstate(all="ignore"), kept_if_refused(self):
            check_parameters(self, DOMAINS)
            if self.alpha == 0:
                return self._unpenalised(X, y, sample_weight)
            device = on_device(X)
            blocks: Any = None if device else as_blocks(X, y, sample_weight)
            large = flat = small = False
            if device:
                from nbgrad.regression.scikit.device_data import Measured

                blocks = Measured(self, X, y, sample_weight)
                dtype = blocks.dtype
            elif blocks is None:
                X, y = check_X_y(self, X, y, y_numeric=True, multi_output=True)
                weight = check_sample_weight(sample_weight, X.shape[0])
                y, dtype, large, flat = y.astype(np.float64, copy=False), X.dtype, is_large(X), y.ndim == 1
                small = isinstance(X, np.ndarray) and (X.shape[0] * X.shape[1] <= SMALL or X.shape[0] < 2 * X.shape[1])
                blocks = Blocks([(X, y, weight)])
            else:
                dtype = check_blocks(self, blocks, classify=False).dtype
            if large or small:
                with one_blas_thread():
                    if large:
                        coef, intercept = self._of_sparse(Standardised(X, y, weight, bool(self.fit_intercept)))
                    else:
                        coef, intercept = self._of_dense(centred_rows(X, y, weight, bool(self.fit_intercept)))
            else:
                problem, _, flat = centred(blocks, bool(self.fit_intercept))
                with one_blas_thread():
                    coef, intercept = self._of_dense(problem)
            dtype = precision(dtype)
            one = len(coef) == 1
            if one:
                self.n_iter_, self.dual_gap_ = self.n_iter_[0], self.dual_gap_[0]
            self.coef_ = (coef[0] if one else coef).astype(dtype)
            self.intercept_ = (intercept[0] if flat else intercept).astype(dtype) if self.fit_intercept else 0.0
            check_coefficients(self)
            return self

    def _of_dense(self, problem: Centred) -> tuple[Any, Any]:
        length, unit = np.sqrt(np.einsum("ij,ij->j", problem.R, problem.R)), problem.unit
        length[length <= GIVEN * EPS * np.hypot(length, problem.row)] = np.inf  # constant: the column becomes 0
        table = coordinate_descent.Dense(np.asfortranarray(np.divide(problem.R, length, out=problem.R)))
        per, root = problem.root / length / unit[: problem.features], problem.root
        V = self._minima(table, problem.Z / root, (problem.rest / root) ** 2, per, unit[problem.features :])
        return problem.given(V * (root / length)[:, np.newaxis], float(self.x_scale))

    def _of_sparse(self, problem: Standardised) -> tuple[Any, Any]:
        size = np.abs(problem.Y).max(axis=0)
        size[size == 0] = 1
        per = 1 / problem.length / problem.unit
        V = self._minima(coordinate_descent.Sparse(problem), problem.Y / size, np.zeros(len(size)), per, size)
        return problem.given((V * size).T, float(self.x_scale))

    def _minima(
        self, table: Any, Z: NDArray[Any], rest: NDArray[Any], per: NDArray[Any], size: NDArray[Any]
    ) -> NDArray[np.float64]:
        """V (features, targets) for targets Z, divided by ``size``, of weight 1 in all: coef·x_scale = V·per·size."""
        V, x_scale = np.zeros((len(per), len(size))), float(self.x_scale)
        self.n_iter_, self.dual_gap_ = [1] * len(size), np.zeros(len(size))
        last = np.atleast_2d(self.coef_).T if self.warm_start and hasattr(self, "coef_") else V
        last = last if last.shape == V.shape else V
        for t in range(len(size) if x_scale else 0):
            sign = np.sign(x_scale)  # positive is coef
            scale = np.minimum(per / abs(x_scale), LARGEST**2)
            penalty = coordinate_descent.Penalty(
                np.minimum(self.alpha * self._l1_ratio() * scale / size[t], LARGEST),
                np.minimum((np.sqrt(self.alpha * (1 - self._l1_ratio())) * scale) ** 2, LARGEST),
                bool(self.positive),
            )
            start = np.where(scale > 0, last[:, t] / np.where(scale > 0, scale, 1) / size[t], 0.0)
            found = coordinate_descent.minimize(
                table, sign * Z[:, t], penalty, np.where(np.isfinite(start), start, 0.0), tol=float(self.tol),
                max_iter=MAX_ITER if self.max_iter is None else int(self.max_iter), rest=float(rest[t]),
                shuffle=self._shuffle(),
            )  # fmt: skip
            V[:, t], self.n_iter_[t], self.dual_gap_[t] = sign * found.v, found.sweeps, found.gap * size[t] ** 2
            if not found.converged:
                warnings.warn(
                    f"The duality gap of the mean is {self.dual_gap_[t]:.3e} after {found.sweeps} sweeps, more than "
                    f"tol asks for ({found.goal * size[t] ** 2:.3e}). Increase max_iter, alpha, or tol.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        return V

    def _l1_ratio(self) -> float:
        return float(self.l1_ratio)

    def _shuffle(self) -> Any:
        if self.selection == "cyclic":
            return None
        state = self.random_state
        return (state if hasattr(state, "permutation") else np.random.RandomState(state)).permutation

    def _unpenalised(self, X: Any, y: Any, sample_weight: Any) -> Self:
        """alpha = 0, where a gap says nothing."""
        model = LinearRegression(
            fit_intercept=self.fit_intercept, positive=self.positive, x_scale=self.x_scale, tol=min(self.tol, 1e-6)
        ).fit(X, y, sample_weight)
        for name in ("n_features_in_", "feature_names_in_", "coef_", "intercept_"):
            self.__dict__.pop(name, None)
            if hasattr(model, name):
                setattr(self, name, getattr(model, name))
        several = self.coef_.ndim == 2 and len(self.coef_) > 1
        self.n_iter_, self.dual_gap_ = ([1] * len(self.coef_), np.zeros(len(self.coef_))) if several else (1, 0.0)
        self.coef_ = self.coef_ if several else self.coef_.reshape(-1)
        return self

    @property
    def sparse_coef_(self) -> Any:
        """``coef_`` as a CSR array, a row for each target."""
        from scipy.sparse import csr_array

        return csr_array(np.atleast_2d(self.coef_))

    def predict(self, X: Any) -> Any:
        """x·coef + intercept of each row."""
        return by_rows(self, lambda m, X: linear_scores(X, m.coef_, m.intercept_, m.x_scale), X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (y − prediction)² / Σ (y − mean y)²."""
        return score(RegressorMixin, self, X, y, sample_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags


class Lasso(ElasticNet):
    """Least squares with a penalty on Σ|coef|, which makes coefficients 0: minimizes

        Σ weight·(x·coef + intercept − y)² / (2·Σ weight) + alpha·Σ|coef|,

    the objective of scikit-learn's ``Lasso``, with its parameters: `ElasticNet` with ``l1_ratio`` 1, whose other
    parameters and attributes it has.

    Source: R. Tibshirani, Regression shrinkage and selection via the lasso, J. R. Stat. Soc. B 58 (1996) 267.

    >>> import numpy as np
    >>> X = np.array([[1.0, 0.1], [2.0, 0.0], [3.0, -0.1], [4.0, 0.2]])
    >>> model = Lasso(alpha=0.1).fit(X, 2 * X[:, 0])
    >>> print(model.coef_.round(4), round(model.intercept_, 4))
    [1.92 0.  ] 0.2
    """

    def __init__(
        self,
        alpha: float = 1.0,
        *,
        fit_intercept: bool = True,
        precompute: Any = False,
        copy_X: bool = True,
        max_iter: int | None = 1000,
        tol: float = 1e-4,
        warm_start: bool = False,
        positive: bool = False,
        random_state: Any = None,
        selection: Literal["cyclic", "random"] = "cyclic",
        x_scale: float = 1.0,
    ) -> None:
        super().__init__(
            alpha, fit_intercept=fit_intercept, precompute=precompute, copy_X=copy_X, max_iter=max_iter, tol=tol,
            warm_start=warm_start, positive=positive, random_state=random_state, selection=selection, x_scale=x_scale,
        )  # fmt: skip
        del self.l1_ratio

    def _l1_ratio(self) -> float:
        return 1.0
