"""`Reductions`: a Tensor's sums, means and extremes."""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import add_up, empty, zeros
from nbgrad.autograd.operators.apply import apply, result
from nbgrad.autograd.operators.axes import choose_axis
from nbgrad.autograd.tape import Node

__all__ = ["Extreme", "Reductions"]


def _kept(shape: tuple[int, ...], axis: Any) -> tuple[int, ...]:
    """The shape after a reduction that keeps its axes with length 1."""
    if axis is None or not shape:
        return (1,) * len(shape)
    axes = {i % len(shape) for i in (axis if isinstance(axis, tuple) else (axis,))}
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def _spread(g: Any, shape: tuple[int, ...], axis: Any) -> Any:
    """The gradient of a sum: its own, repeated along the axes summed over."""
    out = empty(shape, g)  # not broadcast_to: it takes three times as long, and a leaf may keep this array
    out[...] = g.reshape(_kept(shape, axis))
    return out


class Sum(Node):
    __slots__ = ()

    def forward(self, x, axis, keepdims):
        self._saved = x.shape, axis
        return add_up(x, axis, keepdims)

    def vjp(self, g):
        return (_spread(g, *self._saved),)


class Mean(Node):
    __slots__ = ()

    def forward(self, x, axis, keepdims):
        dtype = np.dtype(np.float64) if x.dtype.kind == "f" else None  # the mean of numbers whose sum overflows is none
        total = add_up(x, axis, keepdims, dtype)
        count = math.prod(n for n, kept in zip(x.shape, _kept(x.shape, axis), strict=True) if n != kept)
        self._saved = x.shape, axis, count
        if count:
            total = total / count
        else:
            with np.errstate(invalid="ignore"):  # the mean of nothing is NaN
                total = total / count
        return total if dtype is None else total.astype(x.dtype)

    def vjp(self, g):
        shape, axis, count = self._saved
        return (_spread(g / (count or 1), shape, axis),)


class Max(Node):
    """The first greatest element, along an axis or (None) of all. The last of `_saved` is its index, along an
    axis with the axis kept.
    """

    __slots__ = ()
    pick = staticmethod(np.argmax)

    def forward(self, x, axis, keepdims):
        if axis is None:
            index = self.pick(x)
            y = x.reshape(-1)[index]
            y = y.reshape((1,) * x.ndim) if keepdims else y
        else:
            index = self.pick(x, axis=axis, keepdims=True)
            y = np.take_along_axis(x, index, axis)
            y = y if keepdims else y.squeeze(axis)
        self._saved = x.shape, axis, index
        return y

    def vjp(self, g):
        shape, axis, index = self._saved
        out = zeros(shape, g)
        if axis is None:
            out.reshape(-1)[index] = g.reshape(())
        else:
            np.put_along_axis(out, index, g.reshape(index.shape), axis)
        return (out,)


class Min(Max):
    """The first smallest element, as `Max`."""

    __slots__ = ()
    pick = staticmethod(np.argmin)


class Extreme(NamedTuple):
    """What `max(axis)` and `min(axis)` return."""

    values: Any
    indices: Any


class Reductions(TensorBase):
    """The part of `nbgrad.Tensor` that reduces; see there."""

    __slots__ = ()

    def sum(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> Self:
        """Σ x, of all or along an axis or a tuple of axes; derivative 1.

        >>> import nbgrad
        >>> nbgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).sum(axis=0)
        tensor([4., 6.])
        """
        return apply(Sum(), (self,), choose_axis(axis, dim), keepdims or keepdim)

    def mean(self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False) -> Self:
        """(1/n) Σ x, of all or along an axis or a tuple of axes; derivative 1/n. The mean of nothing is NaN.

        >>> import nbgrad
        >>> nbgrad.tensor([[1.0, 2.0], [3.0, 4.0]]).mean(axis=1, keepdims=True)
        tensor([[1.5],
                [3.5]])
        """
        return apply(Mean(), (self,), choose_axis(axis, dim), keepdims or keepdim)

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
        return self._extreme(Max(), self._one_axis(axis, dim), keepdims or keepdim)

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
        return self._extreme(Min(), self._one_axis(axis, dim), keepdims or keepdim)

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
        kept = keepdims or keepdim
        index = np.argmax(self._data, axis=self._one_axis(axis, dim), keepdims=kept)  # type: ignore[call-overload]
        return result(type(self), None, index, False)
