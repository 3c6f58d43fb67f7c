"""`Functions`: functions of each element: a row or a rule, and the Tensor's method. (Without a method they are NumPy's
ufuncs: ``np.maximum(x, y)``.)
"""

from __future__ import annotations

import functools
from typing import Any, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.operators.apply import apply, binary, constant
from nbgrad.autograd.operators.elementwise import UFUNCS, elementwise
from nbgrad.autograd.tape import Node

__all__ = ["Functions", "Maximum", "Minimum"]

Exp = elementwise("Exp", np.exp, lambda g, z: g * z)
Log = elementwise("Log", np.log, lambda g, x: g / x)
Sqrt = elementwise("Sqrt", np.sqrt, lambda g, z: g / (2 * z))
Abs = elementwise("Abs", abs, lambda g, x: g * np.sign(x), ufunc=np.absolute)


def _clip_gradient(g, x, low, high):
    inside = (low is None or x >= low) & (high is None or x <= high)
    return np.where(inside, g, 0)


Clip = elementwise("Clip", lambda x, low, high: np.clip(x, low, high), _clip_gradient)


class Maximum(Node):
    """Where both are equal each has half of the gradient; no row, as the gradients have that in common: formulas for
    each took 1.1 to 4 times as long.
    """

    __slots__ = ()

    def forward(self, x, y):
        self._saved = x, y
        return np.maximum(x, y)

    def vjp(self, g):
        return self._share(g, *self._saved, *self._edges)

    @staticmethod
    def _share(g, greater, smaller, a, b):
        half = np.where(greater == smaller, g / 2, g)
        return a and np.where(greater < smaller, 0, half), b and np.where(greater > smaller, 0, half)


class Minimum(Maximum):
    """As `Maximum`."""

    __slots__ = ()

    def forward(self, x, y):
        self._saved = x, y
        return np.minimum(x, y)

    def vjp(self, g):
        return self._share(g, *self._saved, *self._edges[::-1])[::-1]


UFUNCS |= {np.maximum: functools.partial(binary, Maximum), np.minimum: functools.partial(binary, Minimum)}


def _bound(value: Any, name: str) -> Any:
    """A number, or an array or tensor of no dimension, for `clip`; None as it is."""
    number = value._data if isinstance(value, TensorBase) and value._node is None else value
    if number is None:
        return None
    number = constant(number)
    if number is NotImplemented or np.ndim(number):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}; maximum and minimum take tensors")
    return number[()] if hasattr(number, "dtype") else number


class Functions(TensorBase):
    """The part of `nbgrad.Tensor` with functions of each element; see there."""

    __slots__ = ()

    def __abs__(self) -> Self:
        return self.abs()

    def abs(self) -> Self:
        """|x|; derivative sign(x), 0 at the kink.

        >>> import nbgrad
        >>> nbgrad.tensor([-2.0, 3.0]).abs()
        tensor([2., 3.])
        """
        return apply(Abs(), (self,))

    def exp(self) -> Self:
        """eˣ; derivative eˣ.

        >>> import nbgrad
        >>> nbgrad.tensor([0.0, -1000.0]).exp()
        tensor([1., 0.])
        """
        return apply(Exp(), (self,))

    def log(self) -> Self:
        """ln x; derivative 1/x. -inf at 0 and NaN below, with NumPy's warnings.

        >>> import nbgrad
        >>> nbgrad.tensor([1.0]).log()
        tensor([0.])
        """
        return apply(Log(), (self,))

    def sqrt(self) -> Self:
        """√x; derivative 1/(2√x), inf at 0, with NumPy's warning.

        >>> import nbgrad
        >>> nbgrad.tensor([4.0, 9.0]).sqrt()
        tensor([2., 3.])
        """
        return apply(Sqrt(), (self,))

    def clip(self, min: float | None = None, max: float | None = None) -> Self:
        """x limited to [min, max], numbers; derivative 1 within and at the bounds, 0 outside.

        >>> import nbgrad
        >>> nbgrad.tensor([-2.0, 0.5, 3.0]).clip(0, 1)
        tensor([0. , 0.5, 1. ])
        """
        if min is None and max is None:
            raise TypeError("min: expected a number for min or max, got neither")
        return apply(Clip(), (self,), _bound(min, "min"), _bound(max, "max"))
