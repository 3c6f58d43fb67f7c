"""What each function is measured against.

float32: the float64 kernel of the same formula (2 ulp of float64 are 4e-9 ulp of float32), for every input there is.
float64: the formula in exact arithmetic, 40 digits of mpmath; `tests/formulas/test_formulas.py` holds the formulas
against textbook definitions, and `tests/test_ops.py` the derivatives against finite differences of those.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from numba import njit

from nbgrad import elementary
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import OPS

sys.path.append(str(Path(__file__).parent.parent / "tests"))
from reference import MPMATH, exact  # noqa: E402

__all__ = ["FUNCTIONS", "in_arrays", "in_exact_arithmetic"]

#: (name, "value" or "gradient"), of the elementary functions and of every operator
FUNCTIONS = [(name, "value") for name in elementary.__all__] + [
    (name, direction) for name in OPS for direction in ("value", "gradient")
]


def _loop(scalar: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @njit(error_model="numpy")
    def loop(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y[i] = scalar(x[i])
        return y

    return loop


def in_arrays(name: str, direction: str) -> Callable[[Any], Any]:
    """The function of an array of either precision, with the table's parameters (in float32's precision)."""
    if name not in OPS:
        return _loop(getattr(elementary, name))
    op = OPS[name]

    def compute(x: Any) -> Any:
        out = np.empty_like(x)
        parameters = [x.dtype.type(np.float32(v)) for v in op.parameters.values()]
        if direction == "value":
            cpu.forward(op)(x.size, x, out, *parameters)
        else:
            cpu.backward(op)(x.size, np.ones_like(x), x, out, *parameters)
        return out

    return compute


def in_exact_arithmetic(name: str, direction: str) -> Callable[[Any], Any]:
    """The function of an mpmath number."""
    if name not in OPS:
        return MPMATH[name]
    op = OPS[name]
    formula = exact(op.forward if direction == "value" else op.derivative)
    parameters = [mpmath.mpf(float(np.float32(v))) for v in op.parameters.values()]
    return lambda x: formula(x, *parameters)
