"""`Shaping`: a Tensor's shape."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.operators.axes import from_front, integers
from nbgrad.autograd.operators.indexing import View, view

__all__ = ["Shaping"]


class Reshape(View):
    __slots__ = ()
    _shares = True

    @staticmethod
    def undo(saved, shape):
        node = Reshape()
        node._saved = shape
        return node

    def forward(self, x, shape):
        self._saved = x.shape
        return x.reshape(shape)

    def vjp(self, g):
        return (g.reshape(self._saved),)


class Permute(View):
    __slots__ = ()
    _shares = True

    @staticmethod
    def undo(saved, shape):
        node = Permute()
        node._saved = _inverse(saved)
        return node

    def forward(self, x, axes):
        self._saved = axes
        return x.transpose(axes)

    def vjp(self, g):
        return (g.transpose(_inverse(self._saved)),)


def _inverse(axes: tuple[int, ...]) -> list[int]:
    """The order of axes that takes back another."""
    return sorted(range(len(axes)), key=axes.__getitem__)


class Shaping(TensorBase):
    """The part of `nbgrad.Tensor` that rearranges; see there."""

    __slots__ = ()

    def reshape(self, *shape: Any) -> Self:
        """The same elements in another shape, one length may be -1. A view where NumPy makes one.

        >>> import nbgrad
        >>> nbgrad.tensor([1, 2, 3, 4]).reshape(2, -1)
        tensor([[1, 2],
                [3, 4]])
        """
        return view(Reshape(), self, integers(shape[0] if len(shape) == 1 else shape, "shape"))

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
        return view(Permute(), self, tuple(i % n for i in order))

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
        return view(Permute(), self, tuple(range(self._data.ndim)[::-1]))
