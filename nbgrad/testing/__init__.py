"""Gradient checking for anybody's functions: finite differences with error bars, driven by hypothesis.

`check_gradient` looks at one point, `gradient_test` makes a property of it that hypothesis tries to refute. To read:
`check.py`, `compare.py`, `oracle/differences.py`. NumPy is all that `check_gradient` needs; the specs and
`gradient_test` need hypothesis, a sharper oracle for functions of plain NumPy mpmath: ``pip install nbgrad[testing]``.

>>> from nbgrad import kernels, testing
>>> test_sigmoid = testing.gradient_test(kernels.sigmoid, kernels.sigmoid_backward, testing.array())
>>> test_sigmoid()
>>> test_sigmoid.report.confirmed > 0
True
"""

from __future__ import annotations

from typing import Any

from nbgrad.testing.examples.property import gradient_test
from nbgrad.testing.examples.specs import array, drawing, labels, simplex, symmetric
from nbgrad.testing.formula import check
from nbgrad.testing.forward_mode import check_jvp
from nbgrad.testing.frameworks.adapters import check_autograd
from nbgrad.testing.gradient import check_gradient
from nbgrad.testing.objectives import check_hessp, check_objective
from nbgrad.testing.report import GradientError, GradientReport, GradientWarning

__all__ = [
    "GradientError", "GradientReport", "GradientWarning", "array", "check", "check_autograd", "check_gradient",
    "check_hessp", "check_jvp", "check_objective", "gradient_test", "labels", "simplex", "strategies", "symmetric",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name == "strategies":
        return drawing()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
