"""`Arithmetic`: a Tensor's arithmetic operators, comparisons and logic."""

from __future__ import annotations

import functools
import operator
from typing import Any, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import on_cpu, zeros
from nbgrad.autograd.factors import in_range, power, product
from nbgrad.autograd.operators.apply import apply, binary, compare
from nbgrad.autograd.operators.elementwise import UFUNCS, elementwise, itself
from nbgrad.autograd.tape import Node

__all__ = ["Arithmetic", "Cast"]

Add = elementwise("Add", operator.add, itself, itself, ufunc=np.add)
Sub = elementwise("Sub", operator.sub, itself, lambda g: -g, ufunc=np.subtract)
Mul = elementwise("Mul", operator.mul, lambda g, y: g * y, lambda g, x: g * x, ufunc=np.multiply)
Neg = elementwise("Neg", operator.neg, lambda g: -g, ufunc=np.negative)
Cast = elementwise("Cast", lambda x, dtype: x.astype(dtype), itself)  # to another dtype, or a copy of the same
# ⌊x/y⌋ is a step function.
FloorDiv = elementwise(
    "FloorDiv", operator.floordiv, lambda g: zeros(g.shape, g), lambda g: zeros(g.shape, g), ufunc=np.floor_divide
)


def _base_gradient(g, x, y):
    """y·x^(y−1); d(x^0)/dx = 0 at x = 0 too: there that would be 0·inf."""
    less = np.where(y == 0, y, y - 1) if getattr(y, "ndim", 0) else y if y == 0 else y - 1
    return in_range(lambda: g * (y * x**less), lambda: product((g, y, *power(x, less))), g)


def _exponent_gradient(g, x, y, z):
    """z·log(x); d(0^y)/dy = 0 for y >= 0, the limit from above in x: there that would be 0·−inf."""
    log = np.log(np.where((x == 0) & (y >= 0), z.dtype.type(1), x))
    # z itself may have left the range before; a GPU is not asked, there `in_range` always makes both
    lost = on_cpu(g) and np.any(((abs(z) < np.finfo(z.dtype).tiny) & (x != 0)) | ~np.isfinite(z))
    return in_range(lambda: g * (z * log), lambda: product((g, *power(x, y), log)), g, bool(lost))


Pow = elementwise("Pow", operator.pow, _base_gradient, _exponent_gradient, ufunc=np.power)


class Div(Node):
    """x/y; no row, as the gradients have a quotient in common: formulas for each took 1.2 times as long."""

    __slots__ = ()

    def forward(self, x, y):
        self._saved = self._edges[1] and x, y
        return x / y

    def vjp(self, g):
        x, y = self._saved
        if not self._edges[1]:
            return g / y, None

        ga = None

        def quick():
            nonlocal ga
            ga = g / y
            return -ga * (x / y)  # not x/y²: y² overflows where the quotient does not

        gb = in_range(quick, lambda: -product((g, x), (y, y)), g)
        return ga, gb


class Mod(Node):
    """x − y·⌊x/y⌋; no row, as it keeps ⌊x/y⌋: its operands may be changed in place."""

    __slots__ = ()

    def forward(self, x, y):
        self._saved = self._edges[1] and x // y
        return x % y

    def vjp(self, g):
        return g, self._edges[1] and -g * self._saved


UFUNCS |= {np.divide: functools.partial(binary, Div), np.remainder: functools.partial(binary, Mod)}
UFUNCS |= {np.positive: operator.pos, np.invert: operator.invert, np.square: lambda x: x * x}
UFUNCS |= {
    ufunc: functools.partial(compare, function)
    for ufunc, function in {
        np.equal: operator.eq, np.not_equal: operator.ne, np.less: operator.lt, np.less_equal: operator.le,
        np.greater: operator.gt, np.greater_equal: operator.ge, np.bitwise_and: operator.and_,
        np.bitwise_or: operator.or_, np.bitwise_xor: operator.xor,
    }.items()
}  # fmt: skip


class Arithmetic(TensorBase):
    """The part of `nbgrad.Tensor` that computes with signs; see there."""

    __slots__ = ()

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Self:
        return binary(Add, self, other)

    def __radd__(self, other: Any) -> Self:
        return binary(Add, other, self)

    def __sub__(self, other: Any) -> Self:
        return binary(Sub, self, other)

    def __rsub__(self, other: Any) -> Self:
        return binary(Sub, other, self)

    def __mul__(self, other: Any) -> Self:
        return binary(Mul, self, other)

    def __rmul__(self, other: Any) -> Self:
        return binary(Mul, other, self)

    def __truediv__(self, other: Any) -> Self:
        return binary(Div, self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return binary(Div, other, self)

    def __floordiv__(self, other: Any) -> Self:
        return binary(FloorDiv, self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return binary(FloorDiv, other, self)

    def __mod__(self, other: Any) -> Self:
        return binary(Mod, self, other)

    def __rmod__(self, other: Any) -> Self:
        return binary(Mod, other, self)

    def __pow__(self, other: Any) -> Self:
        return binary(Pow, self, other)

    def __rpow__(self, other: Any) -> Self:
        return binary(Pow, other, self)

    def __neg__(self) -> Self:
        return apply(Neg(), (self,))

    def __pos__(self) -> Self:
        return self

    def __eq__(self, other: Any) -> Any:
        return compare(operator.eq, self, other)

    def __ne__(self, other: Any) -> Any:
        return compare(operator.ne, self, other)

    def __lt__(self, other: Any) -> Self:
        return compare(operator.lt, self, other)

    def __le__(self, other: Any) -> Self:
        return compare(operator.le, self, other)

    def __gt__(self, other: Any) -> Self:
        return compare(operator.gt, self, other)

    def __ge__(self, other: Any) -> Self:
        return compare(operator.ge, self, other)

    def __and__(self, other: Any) -> Self:
        return compare(operator.and_, self, other)

    def __or__(self, other: Any) -> Self:
        return compare(operator.or_, self, other)

    def __xor__(self, other: Any) -> Self:
        return compare(operator.xor, self, other)

    __rand__, __ror__, __rxor__ = __and__, __or__, __xor__  # they do not ask which operand comes first

    def __invert__(self) -> Self:
        return compare(lambda x, _: ~x, self, 0)

    def clone(self) -> Self:
        """A copy, within the graph.

        >>> import nbgrad
        >>> nbgrad.tensor([1.0, 2.0]).clone()
        tensor([1., 2.])
        """
        return apply(Cast(), (self,), self._data.dtype)
