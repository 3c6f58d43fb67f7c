"""Stand-ins for what the estimators take from scikit-learn, where that is not installed: the same names, the same
behaviour as far as the estimators need it, the same words in errors.
"""

from __future__ import annotations

import inspect
import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BaseEstimator", "ClassifierMixin", "ConvergenceWarning", "DataConversionWarning", "NotFittedError",
    "RegressorMixin", "check_classification_targets", "check_is_fitted", "validate_data",
]  # fmt: skip


class ConvergenceWarning(UserWarning):
    """A minimizer stopped before the minimum."""


class DataConversionWarning(UserWarning):
    """An input was given another shape."""


class NotFittedError(ValueError, AttributeError):
    """A method that needs `fit` was called before it."""


class BaseEstimator:
    """Parameters are what the constructor takes, and attributes of the same names."""

    @classmethod
    def _parameters(cls) -> dict[str, Any]:
        return {p.name: p.default for p in inspect.signature(cls).parameters.values()}

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's parameters and their values."""
        return {name: getattr(self, name) for name in sorted(self._parameters())}

    def set_params(self, **params: Any) -> Self:
        """Set parameters of the constructor."""
        valid = sorted(self._parameters())
        for name, value in params.items():
            if name not in valid:
                raise ValueError(f"Invalid parameter {name!r} for estimator {self!r}. Valid parameters are: {valid!r}.")
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = [
            f"{name}={getattr(self, name)!r}"
            for name, default in sorted(self._parameters().items())
            if repr(getattr(self, name)) != repr(default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"


class ClassifierMixin:
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The share of rows whose label is predicted."""
        predicted = self.predict(X)  # type: ignore[attr-defined]
        return float(np.average(_column(y, len(predicted)) == predicted, weights=sample_weight))


class RegressorMixin:
    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R² = 1 − Σ (y − prediction)² / Σ (y − mean y)²."""
        predicted = self.predict(X)  # type: ignore[attr-defined]
        y = _targets(y, len(predicted), predicted.ndim > 1).astype(np.float64).reshape(len(predicted), -1)
        weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, np.float64)
        residual = weight @ (y - predicted.reshape(y.shape)) ** 2
        variance = weight @ (y - np.average(y, axis=0, weights=weight)) ** 2
        each = np.where(variance > 0, 1 - residual / np.where(variance > 0, variance, 1), residual == 0)
        return float(each.mean())


def check_is_fitted(estimator: Any) -> None:
    if not hasattr(estimator, "n_features_in_"):
        raise NotFittedError(
            f"This {type(estimator).__name__} instance is not fitted yet. Call 'fit' with appropriate arguments before "
            "using this estimator."
        )


def check_classification_targets(y: NDArray[Any]) -> None:
    if y.dtype.kind == "f" and (y != np.floor(y)).any():
        raise ValueError(
            "Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete classes "
            "on a regression target with continuous values."
        )


def validate_data(
    estimator: Any,
    X: Any,
    y: Any = "no_validation",
    *,
    reset: bool = True,
    y_numeric: bool = False,
    multi_output: bool = False,
    accept_sparse: str | bool = "csr",
    dtype: Any = "numeric",
) -> Any:
    """X as a two-dimensional array of numbers or CSR, and y as one row of finite values."""
    name = type(estimator).__name__
    if y is None:
        raise ValueError(f"This {name} estimator requires y to be passed, but the target y is None.")
    _check_feature_names(estimator, X, reset)
    if _is_sparse(X) and not accept_sparse:
        raise TypeError(
            "Sparse data was passed for X, but dense data is required. Use '.toarray()' to convert to a dense numpy "
            "array."
        )
    X = _matrix(X, name)
    check_features(estimator, X, reset)
    if isinstance(y, str) and y == "no_validation":
        return X
    y = _targets(y, X.shape[0], multi_output)
    check_finite(y, "y", name)
    return X, y.astype(np.float64) if y_numeric and y.dtype.kind == "O" else y


def check_features(estimator: Any, X: Any, reset: bool) -> None:
    """The number of features: kept, or held against that of `fit`."""
    name = type(estimator).__name__
    if not reset and X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"X has {X.shape[1]} features, but {name} is expecting {estimator.n_features_in_} features as input."
        )
    if reset:
        estimator.n_features_in_ = X.shape[1]


def _matrix(X: Any, name: str) -> Any:
    sparse = _is_sparse(X)
    X = X.tocsr() if sparse else np.asarray(X)
    check_shape(X, name)
    if X.dtype.kind not in "fiub":
        X = X.astype(np.float64)
    check_finite(X.data if sparse else X, "X", name)
    return X


def check_shape(X: Any, name: str) -> None:
    """Real numbers in two dimensions, some."""
    if X.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{X}\n")
    if X.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {X.ndim}D array instead:\narray={X}.\nReshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it contains a single "
            "sample."
        )
    for count, what in zip(X.shape, ("sample(s)", "feature(s)"), strict=True):
        if not count:
            raise ValueError(f"Found array with 0 {what} (shape={X.shape}) while a minimum of 1 is required by {name}.")


def _column(y: Any, rows: int) -> NDArray[Any]:
    return _targets(y, rows, False)


def _targets(y: Any, rows: int, several: bool) -> NDArray[Any]:
    """y as an array (rows,); with ``several`` also (rows, targets)."""
    if _is_sparse(y):
        raise TypeError(
            "Sparse data was passed for y, but dense data is required. Use '.toarray()' to convert to a dense numpy "
            "array."
        )
    return as_targets(np.asarray(y), rows, several)


def as_targets(y: Any, rows: int, several: bool = False) -> Any:
    """An array of targets as one of one dimension; ``several``: or of two as it is."""
    if several and y.ndim == 2 and y.shape[1] and y.dtype.kind != "c":
        if len(y) != rows:
            raise ValueError(f"Found input variables with inconsistent numbers of samples: [{rows}, {len(y)}]")
        return y
    if y.ndim == 2 and y.shape[1] == 1:
        warnings.warn(
            "A column-vector y was passed when a 1d array was expected. Please change the shape of y to (n_samples, ), "
            "for example using ravel().",
            DataConversionWarning,
            stacklevel=5,
        )
        y = y.ravel()
    if y.ndim != 1:
        raise ValueError(f"y should be a 1d array, got an array of shape {y.shape} instead.")
    if y.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{y}\n")
    if len(y) != rows:
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{rows}, {len(y)}]")
    return y


def check_finite(array: Any, argument: str, name: str) -> None:
    # A sum needs no memory for its answers, and X may be larger than memory. It can overflow: then in blocks.
    with np.errstate(all="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum()):
            return
    step = max(1, 2**20 // max(1, array[:1].size))
    for start in range(0, len(array), step):
        block = array[start : start + step]
        if np.isnan(block).any():
            raise ValueError(f"Input {argument} contains NaN.\n{name} does not accept missing values.")
        if np.isinf(block).any():
            raise ValueError(f"Input {argument} contains infinity or a value too large for {array.dtype!r}.")


def _check_feature_names(estimator: Any, X: Any, reset: bool) -> None:
    """Keep the names of a DataFrame's columns, or hold them against those of `fit`."""
    columns = np.asarray(getattr(X, "columns", []), dtype=object)
    names = columns if len(columns) and all(isinstance(c, str) for c in columns) else None
    if reset:
        if names is not None:
            estimator.feature_names_in_ = names
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        return
    fitted, name = getattr(estimator, "feature_names_in_", None), type(estimator).__name__
    if names is None and fitted is None:
        return
    if fitted is None:
        warnings.warn(f"X has feature names, but {name} was fitted without feature names", UserWarning, stacklevel=4)
    elif names is None:
        warnings.warn(
            f"X does not have valid feature names, but {name} was fitted with feature names", UserWarning, stacklevel=4
        )
    elif list(names) != list(fitted):
        raise ValueError(
            "The feature names should match those that were passed during fit.\n"
            f"Expected {list(fitted)}, got {list(names)}.\n"
        )


def _is_sparse(value: Any) -> bool:
    from scipy.sparse import issparse

    return bool(issparse(value))
