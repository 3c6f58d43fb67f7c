"""`Arithmetic`: the operators and methods of a Tensor that compute, each thin over its rule in
`nbgrad.autograd.rules_arithmetic`.

Dtypes are NumPy's (NEP 50): a Python number is weak, so float32 times 2.5 stays float32; float32 with
float64, or with an int64 array, is float64; an integer tensor over or to a float is float64. Floating-point
warnings are NumPy's too; where they are exceptions (`numpy.errstate`, ``python -W error``) there are none.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable
from typing import Any, Self

import numpy as np

from nbgrad.arrays import FLOATING_POINT, on_device, quietly
from nbgrad.autograd import rules_arithmetic as rules
from nbgrad.autograd.devices import check_same_device, on_cpu, together
from nbgrad.autograd.inputs import as_array, check_dtype
from nbgrad.autograd.tape import _KEPT_SIZE, Node, mode, next_order

__all__ = ["Arithmetic", "apply", "binary", "compare", "result"]

_new = object.__new__
_OF_NUMPY = frozenset({np.ndarray, *np.sctypeDict.values()})


def _constant(value: Any) -> Any:
    """The other operand where it is not a tensor: a Python number as it is, an array or NumPy scalar;
    NotImplemented else.
    """
    if type(value) in (float, int, bool):
        return value
    if type(value) is np.ndarray or isinstance(value, np.generic):
        check_dtype(value.dtype, "operand")
        return value
    if isinstance(value, np.ndarray) or on_device(value):
        return as_array(value, copy=False, name="operand")
    return value + 0 if isinstance(value, float | int) else NotImplemented  # an IntEnum is a number too


def result(cls: type, node: Node | None, data: Any, recorded: bool) -> Any:
    """A new tensor around `data`; `node` becomes a part of the graph if `recorded`."""
    out: Any = _new(cls)
    out._data = data
    out._view_of = None
    if recorded and node is not None:
        node._order = next_order()
        node._shape = data.shape
        node._dtype = data.dtype
        node._retain = False
        node._value = data if data.size <= _KEPT_SIZE else weakref.ref(data)
        out._node = node
    else:
        out._node = None
    return out


def binary(op: type[Node], a: Any, b: Any, *args: Any) -> Any:
    """The tensor that `op().forward(a, b, *args)` gives; one of `a` and `b` is a tensor, the other may be a
    number or an array.
    """
    if isinstance(a, Arithmetic):
        cls = type(a)
        x, edge_a = a._data, a._node
    else:
        cls = type(b)
        x, edge_a = _constant(a), None
    if isinstance(b, Arithmetic):
        y, edge_b = b._data, b._node
    else:
        y, edge_b = _constant(b), None
    if x is NotImplemented or y is NotImplemented:
        return _not_with(*((a, y) if x is NotImplemented else (b, x)))
    node = op()
    node._edges = edge_a, edge_b
    try:
        data = node.forward(x, y, *args)
    except FLOATING_POINT:
        data = quietly(node.forward, x, y, *args)
    except TypeError:
        numbers = together(x, y)
        if numbers is None:
            raise
        data = quietly(node.forward, *numbers, *args)
    recorded = (edge_a is not None or edge_b is not None) and mode.enabled
    if recorded and type(data) not in _OF_NUMPY:
        node._edges = _moved(cls, x, edge_a), _moved(cls, y, edge_b)
    return result(cls, node, data, recorded)


def _moved(cls: type, data: Any, edge: Any) -> Any:
    """The edge of an operand of a result on a GPU: of a number on the CPU with a move between, for its gradient."""
    if edge is None or not on_cpu(data):
        return edge
    node = rules.Move()
    node._edges = (edge,)
    return result(cls, node, node.forward(data, data), True)._node


def _not_with(other: Any, data: Any) -> Any:
    """NotImplemented; for a sequence an error of our own, because Python would go on to join or repeat it, and speak of
    that. One integer may repeat a list.
    """
    repeats = not data.ndim and data.dtype.kind in "iu"
    if isinstance(other, list | tuple | str | bytes) and not repeats:
        raise TypeError(
            f"other: expected a number, an array or a Tensor, got {type(other).__name__}; tensor() takes lists"
        )
    return NotImplemented


def apply(node: Node, inputs: tuple[Any, ...], *args: Any) -> Any:
    """The tensor that `node.forward(*arrays of the inputs, *args)` gives, recorded where an input requires a
    gradient.
    """
    recorded = mode.enabled and any([t._node is not None for t in inputs])
    # Without a graph no edge is set: the losses look there whether to compute a gradient with the value.
    node._edges = tuple([t._node if recorded else None for t in inputs])
    try:
        data = node.forward(*[t._data for t in inputs], *args)
    except FLOATING_POINT:
        data = quietly(node.forward, *[t._data for t in inputs], *args)
    except TypeError as error:
        if ": expected" not in str(error):  # a kernel's error names its arguments already
            check_same_device(*[t._data for t in inputs])
        raise
    return result(type(inputs[0]), node, data, recorded)


def compare(function: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
    """A comparison or a logical operator, one of `a` and `b` a tensor: nothing to differentiate."""
    x, y = (value._data if isinstance(value, Arithmetic) else _constant(value) for value in (a, b))
    if x is NotImplemented or y is NotImplemented:
        return NotImplemented
    try:
        data = function(x, y)
    except FLOATING_POINT:
        data = quietly(function, x, y)
    except TypeError:
        numbers = together(x, y)
        if numbers is None:
            raise
        data = quietly(function, *numbers)
    return result(type(a if isinstance(a, Arithmetic) else b), None, data, False)


def _bound(value: Any, name: str) -> Any:
    """A number, or an array or tensor of no dimension, for `clip`; None as it is."""
    number = value._data if isinstance(value, Arithmetic) and value._node is None else value
    if number is None:
        return None
    number = _constant(number)
    if number is NotImplemented or np.ndim(number):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}; maximum and minimum take tensors")
    return number[()] if hasattr(number, "dtype") else number


class Arithmetic:
    """The computing half of `nbgrad.Tensor`; see there."""

    __slots__ = ("__weakref__", "_aside", "_data", "_node", "_view_of")
    _aside: Node | None  # set only where a leaf was taken out of the graph: its node
    _data: Any  # the array; where ndim is 0 it may be a NumPy scalar
    _node: Node | None  # None: requires no gradient
    _view_of: tuple[Any, Any, Any] | None  # of a view: the tensor, the rule and what it saved

    __hash__ = object.__hash__

    def __add__(self, other: Any) -> Self:
        return binary(rules.Add, self, other)

    def __radd__(self, other: Any) -> Self:
        return binary(rules.Add, other, self)

    def __sub__(self, other: Any) -> Self:
        return binary(rules.Sub, self, other)

    def __rsub__(self, other: Any) -> Self:
        return binary(rules.Sub, other, self)

    def __mul__(self, other: Any) -> Self:
        return binary(rules.Mul, self, other)

    def __rmul__(self, other: Any) -> Self:
        return binary(rules.Mul, other, self)

    def __truediv__(self, other: Any) -> Self:
        return binary(rules.Div, self, other)

    def __rtruediv__(self, other: Any) -> Self:
        return binary(rules.Div, other, self)

    def __floordiv__(self, other: Any) -> Self:
        return binary(rules.FloorDiv, self, other)

    def __rfloordiv__(self, other: Any) -> Self:
        return binary(rules.FloorDiv, other, self)

    def __mod__(self, other: Any) -> Self:
        return binary(rules.Mod, self, other)

    def __rmod__(self, other: Any) -> Self:
        return binary(rules.Mod, other, self)

    def __pow__(self, other: Any) -> Self:
        return binary(rules.Pow, self, other)

    def __rpow__(self, other: Any) -> Self:
        return binary(rules.Pow, other, self)

    def __matmul__(self, other: Any) -> Self:
        return binary(rules.MatMul, self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return binary(rules.MatMul, other, self)

    def __neg__(self) -> Self:
        return apply(rules.Neg(), (self,))

    def __pos__(self) -> Self:
        return self

    def __abs__(self) -> Self:
        return self.abs()

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

    def abs(self) -> Self:
        """|x|; derivative sign(x), 0 at the kink.

        >>> import nbgrad
        >>> nbgrad.tensor([-2.0, 3.0]).abs()
        tensor([2., 3.])
        """
        return apply(rules.Abs(), (self,))

    def exp(self) -> Self:
        """eˣ; derivative eˣ.

        >>> import nbgrad
        >>> nbgrad.tensor([0.0, -1000.0]).exp()
        tensor([1., 0.])
        """
        return apply(rules.Exp(), (self,))

    def log(self) -> Self:
        """ln x; derivative 1/x. -inf at 0 and NaN below, with NumPy's warnings.

        >>> import nbgrad
        >>> nbgrad.tensor([1.0]).log()
        tensor([0.])
        """
        return apply(rules.Log(), (self,))

    def sqrt(self) -> Self:
        """√x; derivative 1/(2√x), inf at 0, with NumPy's warning.

        >>> import nbgrad
        >>> nbgrad.tensor([4.0, 9.0]).sqrt()
        tensor([2., 3.])
        """
        return apply(rules.Sqrt(), (self,))

    def clip(self, min: float | None = None, max: float | None = None) -> Self:
        """x limited to [min, max], numbers; derivative 1 within and at the bounds, 0 outside.

        >>> import nbgrad
        >>> nbgrad.tensor([-2.0, 0.5, 3.0]).clip(0, 1)
        tensor([0. , 0.5, 1. ])
        """
        if min is None and max is None:
            raise TypeError("min: expected a number for min or max, got neither")
        return apply(rules.Clip(), (self,), _bound(min, "min"), _bound(max, "max"))

    def clone(self) -> Self:
        """A copy, within the graph.

        >>> import nbgrad
        >>> nbgrad.tensor([1.0, 2.0]).clone()
        tensor([1., 2.])
        """
        return apply(rules.Cast(), (self,), self._data.dtype)
