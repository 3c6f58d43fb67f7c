"""What the estimators share: scikit-learn's base classes and checks of data where it is installed, stand-ins with the
same words where it is not, and the checks that scikit-learn leaves to each estimator.
"""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT32, FLOAT64, as_array, check_mask, on_device
from nbgrad.place import plug_in
from nbgrad.regression.blocks import Summary, scan
from nbgrad.regression.passes.one_pass import scores

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError:
    from nbgrad.regression.scikit.without_sklearn import (
        BaseEstimator,
        ClassifierMixin,
        ConvergenceWarning,
        RegressorMixin,
        check_classification_targets,
        check_is_fitted,
        validate_data,
    )

__all__ = [
    "BaseEstimator", "check_blocks", "check_classification_targets", "check_coefficients", "check_is_fitted",
    "check_parameters", "check_sample_weight", "check_weight", "check_X_y", "class_weights", "ClassifierMixin",
    "ConvergenceWarning", "dense", "kept_if_refused", "linear_scores", "numbers_of", "precision", "RegressorMixin",
    "take", "validate_data",
]  # fmt: skip

BLOCK_BYTES = 4 * 1024 * 1024  # of rows converted at a time


def check_X_y(
    estimator: Any, X: Any, y: Any, *, y_numeric: bool = False, multi_output: bool = False,
    accept_sparse: str | bool = "csr",
) -> tuple[Any, NDArray[Any]]:  # fmt: skip
    """X and y for `fit`. X is not copied where it is float32, float64 or uint8, in any memory order, memory-mapped, or
    CSR.
    """
    if on_device(y):
        as_array(y, "y")  # refuses it
    check_mask(X, "X")
    check_mask(y, "y")
    X, y = validate_data(estimator, X, y, accept_sparse=accept_sparse, y_numeric=y_numeric, multi_output=multi_output)
    if hasattr(y, "toarray"):
        raise TypeError("y: expected a dense array, got a sparse one (y.toarray() makes one)")
    return numbers_of(X), y


def check_blocks(estimator: Any, blocks: Any, *, classify: bool) -> Summary:
    """The first pass over blocks, for `fit`: what `check_X_y` and `check_sample_weight` find of arrays."""
    summary = scan(blocks, classify=classify)
    if not summary.features:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={(summary.rows, 0)}) while a minimum of 1 is required by "
            f"{type(estimator).__name__}."
        )
    if not summary.weight_sum:
        raise ValueError("Sample weights must contain at least one non-zero number.")
    if classify:
        # Twice: labels that all differ look like a regression to scikit-learn.
        check_classification_targets(np.repeat(np.asarray(summary.classes), 2))
    estimator.n_features_in_ = summary.features
    vars(estimator).pop("feature_names_in_", None)
    if getattr(blocks, "names", None) is not None:
        estimator.feature_names_in_ = np.asarray(blocks.names, object)
    return summary


def precision(dtype: Any) -> np.dtype[Any]:
    """Of products with X, of coefficients and answers: float32 where X is, else float64."""
    return FLOAT32 if dtype.newbyteorder("=") == FLOAT32 else FLOAT64


def numbers_of(X: Any) -> Any:
    """X in a dtype that is taken as it is, in either byte order (of SciPy's matrices in the machine's)."""
    native = X.dtype.newbyteorder("=")
    if native not in (FLOAT32, FLOAT64, np.uint8):
        return X.astype(FLOAT64)
    return X if X.dtype.isnative or isinstance(X, np.ndarray) else X.astype(native)


def check_sample_weight(sample_weight: Any, n: int) -> NDArray[np.float64] | None:
    """None, or a finite weight >= 0 for each of n rows."""
    if sample_weight is None:
        return None
    if hasattr(sample_weight, "toarray"):
        raise TypeError(
            "Sparse data was passed for sample_weight, but dense data is required. Use '.toarray()' to convert to a "
            "dense numpy array."
        )
    weight = as_array(sample_weight, "sample_weight")
    if weight.dtype.kind == "c":
        raise ValueError(f"Complex data not supported\n{weight}\n")
    weight = np.full(n, weight, np.float64) if weight.ndim == 0 else np.ascontiguousarray(weight, np.float64)
    check_weight(weight, n)
    return weight


def check_weight(weight: Any, n: int) -> None:
    """Finite numbers >= 0, one for each of n rows, not all 0; of NumPy's or a GPU's array."""
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar, got {weight.ndim}D array. Expected either a scalar value or a "
            f"1D array of length {n}."
        )
    if weight.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected {(n,)}!")
    if np.isnan(weight).any():
        raise ValueError("Input sample_weight contains NaN.")
    if np.isinf(weight).any():
        raise ValueError(f"Input sample_weight contains infinity or a value too large for {weight.dtype!r}.")
    if (weight < 0).any():
        raise ValueError("Negative values in data passed to `sample_weight`.")
    if not weight.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")


def class_weights(class_weight: Any, classes: NDArray[Any], count: NDArray[Any]) -> NDArray[np.float64]:
    """The weight of each class. "balanced": n_samples / (n_classes · its samples), both weighted; ``count``: the
    samples of each class, weighted.
    """
    if isinstance(class_weight, str):
        with np.errstate(divide="ignore"):
            return np.where(count > 0, count.sum() / (len(classes) * count), 0.0)
    for name, value in class_weight.items():
        if not (_real(value) and 0 <= value < np.inf):
            raise ValueError(f"class_weight: expected finite numbers >= 0, got {value!r} for the class {name!r}")
    names = classes.tolist()
    missing = [name for name in names if name not in class_weight]
    if missing and len(names) - len(missing) != len(class_weight):
        raise ValueError(f"The classes, {missing}, are not in class_weight")
    return np.array([class_weight.get(name, 1.0) for name in names], np.float64)


def _real(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def _count(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, (bool, np.bool_)) and int(value) >= 0


def _flag(value: Any) -> bool:
    return isinstance(value, (bool, np.bool_))


CLASSIFIERS_SOLVERS = ("auto", "lbfgs", "newton-cg", "newton-cholesky", "sag", "saga", "scaled-lbfgs")
_PARAMETERS = {
    "C": ("a float in the range (0.0, inf]", lambda v: _real(v) and v > 0),
    "alpha": ("a float in the range [0.0, inf)", lambda v: _real(v) and 0 <= v < np.inf),
    "class_weight": (
        "an instance of 'dict', a str among {'balanced'} or None",
        lambda v: v is None or isinstance(v, dict) or (isinstance(v, str) and v == "balanced"),
    ),
    "copy_X": ("an instance of 'bool'", _flag),
    "epsilon": ("a float in the range [1.0, inf)", lambda v: _real(v) and 1 <= v < np.inf),
    "fit_intercept": ("an instance of 'bool'", _flag),
    "l2": ("a float in the range [0.0, inf)", lambda v: _real(v) and 0 <= v < np.inf),
    "n_jobs": ("None or an instance of 'int'", lambda v: v is None or isinstance(v, numbers.Integral)),
    "precompute": (
        "an instance of 'bool' or an instance of 'numpy.bool' or an array-like",
        lambda v: _flag(v) or hasattr(v, "__array__") or isinstance(v, (list, tuple)),
    ),
    "selection": ("a str among {'cyclic', 'random'}", lambda v: isinstance(v, str) and v in ("cyclic", "random")),
    "positive": ("an instance of 'bool'", _flag),
    "dual": ("an instance of 'bool'", _flag),
    "intercept_scaling": ("a float in the range (0.0, inf)", lambda v: _real(v) and 0 < v < np.inf),
    "l1_ratio": ("a float in the range [0.0, 1.0] or None", lambda v: v is None or (_real(v) and 0 <= v <= 1)),
    "penalty": (
        "a str among {'elasticnet', 'l1', 'l2'} or None",
        lambda v: v is None or (isinstance(v, str) and v in ("deprecated", "elasticnet", "l1", "l2")),
    ),
    "max_iter": ("an int in the range [0, inf)", _count),
    "solver": (
        "a str among {'auto', 'lbfgs', 'newton-cg', 'newton-cholesky', 'sag', 'saga', 'scaled-lbfgs'}",
        lambda v: isinstance(v, str) and v in CLASSIFIERS_SOLVERS,
    ),
    "tol": ("a float in the range [0.0, inf)", lambda v: _real(v) and 0 <= v < np.inf),
    "verbose": ("an int in the range [0, inf) or an instance of 'bool'", lambda v: _flag(v) or _count(v)),
    "warm_start": ("an instance of 'bool'", _flag),
    "x_scale": ("a finite float", lambda v: _real(v) and np.isfinite(v)),
}


@contextlib.contextmanager
def kept_if_refused(estimator: Any) -> Iterator[None]:
    """A `fit` within that ends with an error leaves the estimator as it was."""
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise


def check_parameters(estimator: Any, others: dict[str, Any] | None = None) -> None:
    """The constructor's parameters, checked by `fit` as scikit-learn wants it. ``others``: domains of its own."""
    for name, (expected, good) in (_PARAMETERS | (others or {})).items():
        if hasattr(estimator, name) and not good(value := getattr(estimator, name)):
            raise ValueError(
                f"The {name!r} parameter of {type(estimator).__name__} must be {expected}. Got {value!r} instead."
            )


def check_coefficients(estimator: Any) -> None:
    """ValueError where numbers that were fitted have no place in the estimator's precision."""
    if not (np.isfinite(estimator.coef_).all() and np.isfinite(estimator.intercept_).all()):
        raise ValueError(
            f"X: expected numbers whose coefficients are in the range of {estimator.coef_.dtype}, got coefficients "
            "beyond it: X is too small beside y, or float32. Multiply X, or make it float64."
        )


def take(labels: NDArray[Any], index: Any) -> Any:
    """The labels at these places; beside the places, where they are numbers and the places on a GPU."""
    if isinstance(index, np.ndarray):
        return labels[index]
    there = plug_in("cuda").tensor
    return there.library().asarray(labels)[index] if labels.dtype.kind in "biuf" else labels[there.get(index)]


def dense(coef: Any) -> NDArray[Any]:
    """Coefficients that may be a sparse matrix, as an array."""
    return coef.toarray() if hasattr(coef, "toarray") else coef  # type: ignore[no-any-return]


def linear_scores(X: Any, coef: NDArray[Any], intercept: Any, x_scale: float) -> Any:
    """x_scale·X·coefᵀ + intercept in X's precision (float64 for uint8), converting a block of rows at a time."""
    dtype = precision(X.dtype)
    weights, intercept = (dense(coef) * x_scale).astype(dtype), np.asarray(intercept, dtype)
    if isinstance(X, np.ndarray):
        answer = scores(np.asarray(X), np.atleast_2d(weights), intercept)
        return answer if weights.ndim == 2 else answer[:, 0]
    if hasattr(X, "tocsr"):
        answer = X @ weights.T
    else:
        xp = plug_in("cuda").tensor.library()
        weights, intercept = xp.asarray(weights), xp.asarray(intercept)
        step = max(1, len(X) if X.dtype == dtype else BLOCK_BYTES // (dtype.itemsize * X.shape[1]))
        parts = [X[i : i + step].astype(dtype, copy=False) @ weights.T for i in range(0, max(1, len(X)), step)]
        answer = parts[0] if len(parts) == 1 else xp.concatenate(parts)
    answer += intercept
    return answer
