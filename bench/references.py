"""What each function is measured against: the textbook formula in a wider precision (float64 for float32,
long double for float64).

Written for NumPy arrays of any float type, on purpose not the way `nbgrad.formulas` does it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def _sigmoid(x: Any) -> Any:
    return np.where(
        x >= 0, 1 / (1 + np.exp(-np.abs(x))), np.exp(np.minimum(x, 0)) / (1 + np.exp(np.minimum(x, 0)))
    )


def _sech_squared(x: Any) -> Any:
    e = np.exp(-2 * np.abs(x))
    return 4 * e / (1 + e) ** 2


def _slope(x: Any) -> Any:
    """Leaky ReLU's 0.1 as the kernel's precision has it, in the wider one."""
    return x.dtype.type(np.float32(0.1) if x.dtype == np.float64 else np.float64(0.1))


#: name → (function, derivative), each for the default parameters
REFERENCES: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sigmoid": (_sigmoid, lambda x: np.exp(-np.abs(x)) / (1 + np.exp(-np.abs(x))) ** 2),
    "tanh": (np.tanh, _sech_squared),
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(np.isnan(x), x, np.heaviside(x, 0))),
    "leaky_relu": (
        lambda x: np.where(x > 0, x, x * _slope(x)),
        lambda x: np.where(np.isnan(x), x, np.where(x > 0, x.dtype.type(1), _slope(x))),
    ),
    "elu": (
        lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
        lambda x: np.where(x > 0, x.dtype.type(1), np.exp(np.minimum(x, 0))),
    ),
}

#: name → function
ELEMENTARY: dict[str, Callable[[Any], Any]] = {
    "exp": np.exp,
    "expm1": np.expm1,
    "log": np.log,
    "log1p": np.log1p,
}
