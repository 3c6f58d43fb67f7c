"""The rules of reductions, shapes, indexing and joining; see `nbgrad.autograd.rules_arithmetic` for what a
rule is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbgrad.autograd.devices import add_at, add_up, empty, last, picks_by_number, write_at, zeros
from nbgrad.autograd.tape import Node


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


class View(Node):
    """A rule whose result may be a view of x."""

    __slots__ = ()

    @staticmethod
    def undo(saved: Any, shape: tuple[int, ...]) -> Node:
        """For the history of x after a change of its view: the node that makes the new x of the view (`SetItem`: of
        the old x and the view), but for its edges. `saved`: what this rule had saved; `shape`: the view's.
        """
        raise NotImplementedError


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


class GetItem(View):
    """x[key] for a tuple `key`."""

    __slots__ = ()

    @staticmethod
    def undo(saved, shape):
        node = SetItem()
        node._saved = saved[1]
        return node

    def forward(self, x, key):
        self._saved = x.shape, key
        return x[key]

    def vjp(self, g):
        shape, key = self._saved
        out = zeros(shape, g)
        if picks_by_number(key):
            add_at(out, key, g)
        else:
            out[key] = g
        return (out,)


class SetItem(Node):
    """x[key] = value, in place: the result is x."""

    __slots__ = ()
    _shares = True

    def forward(self, x, value, key):
        self._saved = key
        write_at(x, key, value)
        return x

    def vjp(self, g):
        key = self._saved
        a, b = self._edges
        if b:
            b = g[key]
            if picks_by_number(key):  # of several values for one element the last has the gradient
                staying, numbers = last(g, key)
                b = np.where(staying == numbers, b, 0)
        if a:
            a = np.array(g) if isinstance(g, np.generic) else g.copy()
            a[key] = 0
        return a, b


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


class Stack(Node):
    __slots__ = ()
    _shares = True

    def forward(self, *args):
        *arrays, self._saved = args
        return np.stack(arrays, self._saved)

    def vjp(self, g):
        return np.moveaxis(g, self._saved, 0)
