"""Functions of several tensors: joining them, and choosing between them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nbgrad.autograd.devices import device_name, on_cpu
from nbgrad.autograd.inputs import as_array, integer_dtype
from nbgrad.autograd.operators.apply import apply, binary
from nbgrad.autograd.operators.axes import choose_axis
from nbgrad.autograd.operators.elementwise import elementwise
from nbgrad.autograd.operators.functions import Maximum, Minimum
from nbgrad.autograd.tape import Node
from nbgrad.autograd.tensor import Tensor

__all__ = ["as_tensors", "cat", "maximum", "minimum", "stack", "where"]


class Cat(Node):
    __slots__ = ()
    _shares = True

    def forward(self, *args):
        *arrays, axis = args
        y = np.concatenate(arrays, axis)
        self._saved = np.cumsum([x.shape[axis] for x in arrays])[:-1].tolist(), axis
        return y

    def vjp(self, g):
        return np.split(g, *self._saved)


def cat(tensors: Any, axis: int = 0, *, dim: int | None = None) -> Tensor:
    """The tensors one behind the other, along an axis that is there.

    Returns
    -------
    Tensor
        Of the lengths' sum along the axis.

    Examples
    --------
    >>> from nbgrad import tensor
    >>> cat([tensor([1, 2]), tensor([3])])
    tensor([1, 2, 3])
    """
    return apply(Cat(), _as_tensors(tensors), _axis(axis, dim))


class Stack(Node):
    __slots__ = ()
    _shares = True

    def forward(self, *args):
        *arrays, self._saved = args
        return np.stack(arrays, self._saved)

    def vjp(self, g):
        return np.moveaxis(g, self._saved, 0)


def stack(tensors: Any, axis: int = 0, *, dim: int | None = None) -> Tensor:
    """The tensors, all of one shape, one behind the other along a new axis.

    Returns
    -------
    Tensor
        With one axis more.

    Examples
    --------
    >>> from nbgrad import tensor
    >>> stack([tensor([1, 2]), tensor([3, 4])], axis=1)
    tensor([[1, 3],
            [2, 4]])
    """
    return apply(Stack(), _as_tensors(tensors), _axis(axis, dim))


def maximum(input: Any, other: Any) -> Tensor:
    """The greater of each pair of elements, broadcast; NaN where one is NaN.

    The gradient goes to the greater; where they are equal each gets half of it, as in PyTorch.

    Returns
    -------
    Tensor
        In the shape that both broadcast to.

    Examples
    --------
    >>> from nbgrad import tensor
    >>> maximum(tensor([1.0, 5.0]), 3.0)
    tensor([3., 5.])
    """
    return _pair(Maximum, input, other)


def minimum(input: Any, other: Any) -> Tensor:
    """The smaller of each pair of elements, broadcast; NaN where one is NaN.

    The gradient goes to the smaller; where they are equal each gets half of it, as in PyTorch.

    Returns
    -------
    Tensor
        In the shape that both broadcast to.

    Examples
    --------
    >>> from nbgrad import tensor
    >>> minimum(tensor([1.0, 5.0]), 3.0)
    tensor([1., 3.])
    """
    return _pair(Minimum, input, other)


def _fitting(x: Any, y: Any) -> Any:
    """A Python integer beside integers in their dtype: OverflowError where that does not hold it."""
    return y.dtype.type(x) if type(x) is int and y.dtype.kind in "iu" else x


Where = elementwise(
    "Where",
    lambda x, y, condition: np.where(condition, _fitting(x, y), _fitting(y, x)),
    lambda g, condition: np.where(condition, g, 0),  # no products: 0·inf
    lambda g, condition: np.where(condition, 0, g),
)


def where(condition: Any, input: Any, other: Any) -> Tensor:
    """`input` where `condition` (bools) is true, else `other`, all broadcast. The gradient goes to the one
    that was taken.

    Returns
    -------
    Tensor
        In the shape that all broadcast to.

    Examples
    --------
    >>> from nbgrad import tensor
    >>> x = tensor([-1.0, 2.0])
    >>> where(x > 0, x, 0.0)
    tensor([0., 2.])
    """
    of_tensor = isinstance(condition, Tensor)
    condition = condition._data if of_tensor else as_array(condition, copy=True, name="condition")
    elsewhere = [t for t in (input, other) if isinstance(t, Tensor) and on_cpu(t._data) != on_cpu(condition)]
    if elsewhere and condition.ndim == 0 and on_cpu(condition):
        condition = condition[()]
    elif any(t._data.ndim for t in elsewhere):
        raise TypeError(f"condition: expected one on {elsewhere[0].device}, got one on {device_name(condition)}")
    if condition.dtype != bool:
        raise TypeError(f"condition: expected bools, got {condition.dtype}")
    return _pair(Where, input, other, condition)


def as_tensors(*values: Any) -> tuple[Tensor, ...]:
    """Each value as a tensor; Python's floats, also in lists, in float64 where one of the others is of that."""
    made = [value if isinstance(value, Tensor) else Tensor(value) for value in values]
    if any(tensor.dtype == np.float64 for tensor in made):
        for i, value in enumerate(values):
            if made[i].dtype == np.float32 and not hasattr(value, "dtype"):
                made[i] = Tensor(as_array(value, copy=False, dtype=np.dtype(np.float64)))
    return tuple(made)


def _as_tensors(values: Any) -> tuple[Tensor, ...]:
    if isinstance(values, Tensor | str | bytes) or not isinstance(values, Iterable):
        raise TypeError(f"tensors: expected a list or tuple of tensors, got {type(values).__name__}")
    tensors = as_tensors(*values)
    if not tensors:
        raise TypeError("tensors: expected a list or tuple of at least one tensor, got none")
    kinds = {tensor.dtype for tensor in tensors}
    if len(kinds) > 1 and all(kind.kind in "iub" for kind in kinds) and np.result_type(*kinds).kind == "f":
        common = integer_dtype([tensor._data for tensor in tensors], "tensors")  # NumPy makes float64
        return tuple(tensor.to(common) for tensor in tensors)
    return tensors


def _axis(axis: Any, dim: Any) -> int:
    axis = choose_axis(axis, dim, 0)
    if not isinstance(axis, int):
        raise TypeError(f"axis: expected an integer, got {axis!r}")
    return axis


def _pair(op: type[Node], input: Any, other: Any, *args: Any) -> Tensor:
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        input = Tensor(input)
    out = binary(op, input, other, *args)
    if out is NotImplemented:
        kinds = " and ".join(type(value).__name__ for value in (input, other))
        raise TypeError(f"input, other: expected tensors, arrays or numbers, got {kinds}")
    return out
