"""How an operator is applied to tensors: `apply` to some, `binary` to two of which one may be a number or an array,
`compare` where there is nothing to differentiate.

Dtypes are NumPy's (NEP 50): a Python number is weak, so float32 times 2.5 stays float32; float32 with
float64, or with an int64 array, is float64; an integer tensor over or to a float is float64. Floating-point
warnings are NumPy's too; where they are exceptions (`numpy.errstate`, ``python -W error``) there are none.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import FLOATING_POINT, on_device, quietly
from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import OF_NUMPY, check_same_device, device_name, move, on_cpu, together
from nbgrad.autograd.inputs import as_array, check_dtype
from nbgrad.autograd.tape import _KEPT_SIZE, Node, mode, next_order

__all__ = ["Move", "apply", "binary", "compare", "constant", "result"]

_new = object.__new__


def constant(value: Any) -> Any:
    """The other operand where it is not a tensor: a Python number as it is, an array or NumPy scalar;
    NotImplemented else.
    """
    if type(value) in (float, int, bool):
        return value
    if type(value) in OF_NUMPY:
        check_dtype(value.dtype, "operand")
        return value
    if isinstance(value, np.ndarray | np.generic) or on_device(value):
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
    if isinstance(a, TensorBase):
        cls = type(a)
        x, edge_a = a._data, a._node
    else:
        cls = type(b)
        x, edge_a = constant(a), None
    if isinstance(b, TensorBase):
        y, edge_b = b._data, b._node
    else:
        y, edge_b = constant(b), None
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
    if recorded and type(data) not in OF_NUMPY:  # `on_cpu`, without the call
        node._edges = _moved(cls, x, edge_a), _moved(cls, y, edge_b)
    return result(cls, node, data, recorded)


class Move(Node):
    """The same elements on another device; the gradient goes back."""

    __slots__ = ()
    _shares = True

    def forward(self, x, moved):
        self._saved = device_name(x)
        return moved

    def vjp(self, g):
        return (move(g, self._saved),)


def _moved(cls: type, data: Any, edge: Any) -> Any:
    """The edge of an operand of a result on a GPU: of a number on the CPU with a move between, for its gradient."""
    if edge is None or not on_cpu(data):
        return edge
    node = Move()
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
    x, y = (value._data if isinstance(value, TensorBase) else constant(value) for value in (a, b))
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
    return result(type(a if isinstance(a, TensorBase) else b), None, data, False)
