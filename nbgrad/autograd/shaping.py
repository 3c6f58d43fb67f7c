"""`Shaping`: a Tensor's shapes and reductions."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple, Self

import numpy as np

from nbgrad.autograd import rules_shape as rules
from nbgrad.autograd.arithmetic import apply, result
from nbgrad.autograd.indexing import Indexing, view
from nbgrad.autograd.tape import Node

__all__ = ["Extreme", "Shaping", "choose_axis", "from_front", "integers"]


def integers(value: Any, name: str) -> Any:
    """An integer as an int, and a sequence of integers, of whatever kind, as a tuple of ints; TypeError for others."""
    if not isinstance(value, tuple | list):
        try:
            return operator.index(value)
        except TypeError:
            pass
    try:
        return tuple(map(operator.index, value))
    except TypeError:
        raise TypeError(f"{name}: expected an integer or a sequence of integers, got {value!r}") from None


def choose_axis(axis: Any, dim: Any, default: int | None = None) -> Any:
    """`axis`, or `dim`, PyTorch's name for it, as an int, a tuple of ints or None; TypeError for both."""
    if dim is not None:
        if axis is not default:
            raise TypeError("axis: give axis or dim, not both")
        axis = dim
    if isinstance(axis, bool):
        raise TypeError(f"axis: expected an integer or a sequence of integers, got {axis}; keepdims comes next")
    return axis if axis is None else integers(axis, "axis")


def from_front(axis: Any, shape: tuple[int, ...], name: str) -> int:
    """An axis counted from the front; AxisError (an IndexError and a ValueError) where there is none such."""
    index = integers(axis, name)
    if not (isinstance(index, int) and -len(shape) <= index < len(shape)):
        raise np.exceptions.AxisError(f"{name}: expected an axis of a tensor of shape {shape}, got {axis}")
    return index % len(shape)


class Extreme(NamedTuple):
    """What `max(axis)` and `min(axis)` return."""

    values: Any
    indices: Any


class Shaping(Indexing):
    """The part of `nbgrad.Tensor` that rearranges and reduces; see there."""

    __slots__ = ()

    def reshape(self, *shape: Any) -> Self:
        """The same elements in another shape, one length may be -1. A view where NumPy makes one.

        >>> import nbgrad
        >>> nbgrad.tensor([1, 2, 3, 4]).reshape(2, -1)
        tensor([[1, 2],
                [3, 4]])
        """
        return view(rules.Reshape(), self, integers(shape[0] if len(shape) == 1 else shape, "shape"))

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """The axes from `start_dim` to `end_dim` as one.

        >>> import nbgrad
        >>> nbgrad.tensor([[[1, 2], [3, 4]]]).flatten(1)
        tensor([[1, 2, 3, 4]])
        """
        shape = self._data.shape or (1,)
        start, end = from_front(start_dim, shape, "start_dim"), from_front(end_dim, shape, "end_dim")
        if start > end:
            raise ValueError(f"start_dim: expected at most end_dim, got {start_dim} and {end_dim}")
        return self.reshape(*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])

    def permute(self, *axes: Any, dims: Any = None) -> Self:
        """The axes in another order: a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[[1, 2, 3]]]).permute(2, 0, 1).shape
        (3, 1, 1)
        """
        n = self._data.ndim
        given = integers(dims if dims is not None else axes[0] if len(axes) == 1 else axes, "axes")
        order = (given,) if isinstance(given, int) else given
        if len(order) != n or sorted(i % n for i in order if -n <= i < n) != list(range(n)):
            raise ValueError(f"axes: expected an order of the {n} axes, got {order}")
        return view(rules.Permute(), self, tuple(i % n for i in order))

    def transpose(self, axis0: int, axis1: int) -> Self:
        """The two axes exchanged, as in PyTorch (`T` reverses all): a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[1, 2], [3, 4]]).transpose(0, 1)
        tensor([[1, 3],
                [2, 4]])
        """
        order = list(range(self._data.ndim))
        shape = self._data.shape
        first, second = from_front(axis0, shape, "axis0"), from_front(axis1, shape, "axis1")
        order[first], order[second] = order[second], order[first]
        return self.permute(order)

    @property
    def T(self) -> Self:  # noqa: N802 (NumPy's name)
        """All axes in reverse order: a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[1, 2, 3]]).T.shape
        (3, 1)
        """
        return view(rules.Permute(), self, tuple(range(self._data.ndim)[::-1]))

    def sum(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Self:
        """Σ x, of all or along an axis or a tuple of axes; derivative 1.

        >>> import nbgrad
        >>> nbgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(axis=0)
        tensor([4., 6.])
        """
        return apply(rules.Sum(), (self,), choose_axis(axis, dim), keepdims or keepdim)

    def mean(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Self:
        """(1/n) Σ x, of all or along an axis or a tuple of axes; derivative 1/n. The mean of nothing is NaN.

        >>> import nbgrad
        >>> nbgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(axis=1, keepdims=True)
        tensor([[1.5],
                [3.5]])
        """
        return apply(rules.Mean(), (self,), choose_axis(axis, dim), keepdims or keepdim)

    def max(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Any:
        """The greatest element; along an axis a pair `(values, indices)`. Among equals the first has the
        gradient.

        (PyTorch: along an axis the same, of all elements equals share it.) NaN is greatest.

        >>> import nbgrad
        >>> values, indices = nbgrad.tensor([[1.0, 5.0], [4.0, 3.0]]).max(axis=1)
        >>> values, indices
        (tensor([5., 4.]), tensor([1, 0]))
        """
        return self._extreme(rules.Max(), self._one_axis(axis, dim), keepdims or keepdim)

    def min(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Any:
        """The smallest element; along an axis a pair `(values, indices)`; as `max`.

        >>> import nbgrad
        >>> nbgrad.tensor([3.0, 1.0, 2.0]).min()
        tensor(1.)
        """
        return self._extreme(rules.Min(), self._one_axis(axis, dim), keepdims or keepdim)

    def _one_axis(self, axis: Any, dim: Any) -> Any:
        """`choose_axis` for what takes one axis or all, and at least one element along it."""
        axis, shape = choose_axis(axis, dim), self._data.shape
        if isinstance(axis, tuple):
            raise TypeError(f"axis: expected one axis (an integer) or None, got {axis!r}")
        if not self._data.size and (axis is None or 0 in shape[axis : axis + 1 or None]):
            raise ValueError(f"axis: expected an element to choose among, got axis {axis} of shape {shape}")
        return axis

    def _extreme(self, node: Node, axis: Any, keepdims: bool) -> Any:
        values = apply(node, (self,), axis, keepdims)
        if axis is None:
            return values
        index = node._saved[2]
        return Extreme(values, result(type(self), node, index if keepdims else index.squeeze(axis), False))

    def argmax(
        self,
        axis: int | None = None,
        keepdims: bool = False,
        *,
        dim: int | None = None,
        keepdim: bool = False,
    ) -> Self:
        """The index of the first greatest element, of all (counted row by row) or along an axis.

        >>> import nbgrad
        >>> nbgrad.tensor([[1.0, 5.0], [4.0, 3.0]]).argmax(axis=1)
        tensor([1, 0])
        """
        index = np.argmax(self._data, axis=self._one_axis(axis, dim), keepdims=keepdims or keepdim)
        return result(type(self), None, index, False)
