"""What X, y, weights and coefficients of a regression model may be; every error about one."""

from __future__ import annotations

import math
import sys
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arguments import RANGES, check_number
from nbgrad.arrays import FLOAT32, FLOAT64, as_array, as_float, as_labels, contiguous
from nbgrad.cpu.sums.add_up import add_up
from nbgrad.formulas.regression import SCORE_MODELS, SOFTMAX
from nbgrad.formulas.row import RegressionModel

__all__ = [
    "MODELS", "check_labels", "coefficients", "dtype_of", "expected_targets", "finite", "flag", "in_precision",
    "matrix", "parameters", "penalty", "product_dtype", "targets", "weight_unit", "weights", "wrong_target",
]  # fmt: skip

MODELS: dict[str, RegressionModel] = {**SCORE_MODELS, "softmax": SOFTMAX}


def matrix(X: Any) -> Any:
    """A 2-D array or SciPy's CSR of real numbers, as it lies in memory."""
    sparse = sys.modules.get("scipy.sparse")  # not imported: no sparse X
    if sparse is not None and sparse.issparse(X):
        if X.format != "csr":
            raise TypeError(
                f"X: expected an array or SciPy's CSR format, got {X.format.upper()} (X.tocsr() converts it)"
            )
        as_float(X.data[:0], "X")
    else:
        X = as_array(X, "X")
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (rows, features), got {X.shape}")
    if isinstance(X, np.ndarray):
        as_float(X[:0], "X")  # its dtype; the rows are read where they lie
        return np.asarray(X)  # not a memmap: its slices are slow
    return X


def flag(value: Any, name: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected a bool, got {type(value).__name__}")
    return bool(value)


def finite(value: Any, name: str) -> Any:
    number = check_number(value, name, FLOAT64)
    if not np.isfinite(number):
        raise ValueError(f"{name}: expected a finite number, got {number}")
    return number


def penalty(l2: Any) -> Any:
    l2 = check_number(l2, "l2", FLOAT64)
    if not 0 <= l2 < np.inf:
        raise ValueError(f"l2: expected a finite number >= 0, got {l2}")
    return l2


def parameters(model: str, given: dict[str, Any]) -> dict[str, float]:
    """The model's own parameters, in its row's order, from the caller's keywords."""
    row = MODELS[model]
    for name in given:
        if name not in row.parameters:
            known = f"of its own {', '.join(row.parameters)}" if row.parameters else "none of its own"
            raise TypeError(f"{name}: unexpected keyword argument, model {model!r} takes {known}")
    values = {**row.parameters, **given}
    return {name: float(check_number(v, name, FLOAT64, row.ranges.get(name, ""))) for name, v in values.items()}


def in_precision(model: str, parameters: dict[str, float], dtype: np.dtype[Any]) -> tuple[Any, ...]:
    """`parameters` as the loops take them."""
    numbers, ranges = {}, MODELS[model].ranges
    for name, value in parameters.items():
        numbers[name] = check_number(value, name, dtype)
        if name in ranges and not RANGES[ranges[name]](numbers[name]):
            raise ValueError(f"{name}: expected a number {ranges[name]} in {dtype}, got {value}")
    return tuple(numbers.values())


def product_dtype(dtype: Any, x_dtype: Any) -> np.dtype[Any]:
    """The precision of the products: what was asked for, else that of X, in either byte order."""
    if dtype is None:
        return FLOAT32 if x_dtype.newbyteorder("=") == FLOAT32 else FLOAT64
    native = np.dtype(dtype).newbyteorder("=")
    if native not in (FLOAT32, FLOAT64):
        raise TypeError(f"dtype: expected float32 or float64, got {native}")
    return native


def dtype_of(params: Any) -> np.dtype[Any]:
    """float32 or float64, as that of an array of NumPy's or a GPU's is."""
    return FLOAT32 if str(params.dtype).endswith("float32") else FLOAT64


def coefficients(
    params: NDArray[Any], features: int, fit_intercept: bool, classes: bool, name: str = "params"
) -> NDArray[Any]:
    """params as (num_classes or 1, columns), the intercept in the last column."""
    columns = features + fit_intercept
    meant = f"for {features} features and " + ("an intercept" if fit_intercept else "no intercept")
    if not classes:
        if params.shape != (columns,):
            raise ValueError(f"{name}: expected shape ({columns},) {meant}, got {params.shape}")
        return params[np.newaxis]
    rows = params.ndim == 2 and params.shape[1] == columns and len(params) > 0
    flat = params.ndim == 1 and columns > 0 and params.size > 0 and params.size % columns == 0
    if not (rows or flat):
        raise ValueError(
            f"{name}: expected shape (num_classes, {columns}), or that flattened, {meant}, got {params.shape}"
        )
    return params if rows else params.reshape(-1, columns)


def targets(model: str, y: Any, n: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """y as the loops read it. What its numbers may be, they check themselves."""
    if np.shape(y) != (n,):
        raise ValueError(f"y: expected shape ({n},), a target for each row of X, got {np.shape(y)}")
    if model == "softmax":
        return as_labels(y, "y")
    y = as_array(y, "y")
    if y.dtype.kind not in "iub":
        y = as_float(y, "y")
    with np.errstate(over="ignore"):  # inf is refused
        return contiguous(y.astype(dtype, copy=False))


def check_labels(y: NDArray[Any]) -> None:
    """Labels of an estimator: anything that can be sorted and is there."""
    missing = []
    if y.dtype.kind in "mM":
        missing = ["NaT"] if np.isnat(y).any() else []
    elif y.dtype.kind == "f":
        missing = ["NaN"] if np.isnan(y).any() else []
    elif y.dtype.kind == "O":
        missing = [value for value in y.ravel() if _is_missing(value)][:1]
        kinds = {"str" if isinstance(v, str) else "number" if isinstance(v, Real) else type(v).__name__ for v in y}
        if not missing and len(kinds) > 1:
            got = " and ".join(sorted(kinds))
            raise TypeError(f"y: expected labels of one kind, which can be sorted, got {got}")
    if missing:
        raise ValueError(f"Input y contains {'NaN' if isinstance(missing[0], float) else missing[0]}.")


def _is_missing(label: Any) -> bool:
    """None, nan, NaT and the like, which are not equal to themselves."""
    if label is None or isinstance(label, (str, bytes, int)):
        return label is None
    try:
        return bool(label != label)
    except (TypeError, ValueError):  # pandas' NA does not say
        return True


def expected_targets(model: str, dtype: np.dtype[Any], num_classes: int) -> str:
    return MODELS[model].targets.format(dtype=dtype, last=num_classes - 1)


def wrong_target(model: str, value: Any, at: int, dtype: np.dtype[Any], num_classes: int) -> ValueError:
    value = value if model == "softmax" else float(value)
    return ValueError(f"y: expected {expected_targets(model, dtype, num_classes)}, got {value} at position {at}")


def weights(sample_weight: Any, n: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], float, np.float64]:
    """The weights (none: all are 1) in a unit that keeps them in ``dtype``'s range, that unit (a power of 2), their
    sum.
    """
    if sample_weight is None:
        return np.empty(0, dtype), 1.0, np.float64(n)
    weight = as_float(sample_weight, "sample_weight")
    if weight.shape != (n,):
        raise ValueError(f"sample_weight: expected shape ({n},), a weight for each row of X, got {weight.shape}")
    unit = weight_unit(*(weight.min(), weight.max()) if n else (0.0, 0.0))
    scaled = (weight / weight.dtype.type(unit)).astype(dtype, copy=False)
    return contiguous(scaled), unit, add_up(weight, dtype=FLOAT64)


def weight_unit(low: Any, high: Any) -> float:
    """The unit of weights between these two. ValueError where such weights there cannot be."""
    if not (low >= 0 and high < np.inf):  # nan is the minimum and the maximum
        raise ValueError(f"sample_weight: expected finite numbers >= 0, got {high if low >= 0 else low}")
    return math.ldexp(1.0, max(math.frexp(high)[1] - 1, -1074))
