"""`Indexing`: a Tensor's elements by index, and changes in place."""

from __future__ import annotations

import operator
from typing import Any, Self

import numpy as np

from nbgrad.arrays import check_mask, on_device, quietly
from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import (
    add_at,
    check_same_device,
    device_name,
    empty,
    last,
    move,
    on_cpu,
    picks_by_number,
    same_place,
    write_at,
    zeros,
)
from nbgrad.autograd.inputs import as_array
from nbgrad.autograd.operators.apply import apply, result
from nbgrad.autograd.operators.arithmetic import Arithmetic
from nbgrad.autograd.sharing import lineage, others, share
from nbgrad.autograd.tape import Leaf, Node, mode, note_mutation, owner

__all__ = ["Indexing", "View", "view"]


class View(Node):
    """A rule whose result may be a view of x."""

    __slots__ = ()

    @staticmethod
    def undo(saved: Any, shape: tuple[int, ...]) -> Node:
        """For the history of x after a change of its view: the node that makes the new x of the view (`SetItem`: of
        the old x and the view), but for its edges. `saved`: what this rule had saved; `shape`: the view's.
        """
        raise NotImplementedError


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
            a[key] = 0 if on_cpu(a) else zeros((), a)
        return a, b


def view(node: View, tensor: Any, argument: Any) -> Any:
    """`apply` for a result that may share the tensor's memory."""
    out = apply(node, (tensor,), argument)
    data = out._data
    if not isinstance(data, np.generic) and (memory := owner(data)) is owner(tensor._data):
        share(tensor, memory)
        share(out, memory)
        if mode.enabled:  # else the view would keep alive a graph that it has no part in
            out._view_of = tensor, type(node), node._saved
    return out


_PLAIN_BOUNDS = {int, type(None)}


def _plain_key(key: Any, data: Any) -> tuple[tuple[Any, ...], bool]:
    """An index into ``data`` as a tuple of integers, slices, None, ... and arrays, and whether it is basic (without
    arrays: gives a view). What NumPy makes an array of becomes one, whatever sequence it is.

    Arrays are copied: the caller may change his before the backward pass. CuPy takes indices modulo the length: those
    of the CPU are checked here.
    """
    basic, parts = True, []
    for part in key if isinstance(key, tuple) else (key,):
        if type(part) is slice:
            if not {type(part.start), type(part.stop), type(part.step)} <= _PLAIN_BOUNDS:
                bounds = part.start, part.stop, part.step
                part = slice(*(bound if bound is None else operator.index(bound) for bound in bounds))
        elif type(part) is not int and part is not None and part is not Ellipsis:
            part = _integer_or_array(part)
            basic = basic and type(part) is int
        parts.append(part)
    if not basic and not on_cpu(data):
        there = [0 if on_device(part) else part for part in parts]
        if not any(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in there):
            np.broadcast_to(np.empty((), bool), data.shape)[tuple(there)]
    return tuple(parts), basic


def _integer_or_array(part: Any) -> Any:
    check_mask(part, "index")
    if isinstance(part, TensorBase):
        part = part._data
    if on_device(part):
        return as_array(part, copy=True, name="index")
    if hasattr(part, "__index__") and not isinstance(part, bool | np.bool_ | np.ndarray):
        return operator.index(part)
    array = np.array(part)
    if not array.size and not isinstance(part, np.ndarray):  # [] picks nothing
        array = array.astype(np.intp)
    return array


class Indexing(Arithmetic):
    """The part of `nbgrad.Tensor` that picks and writes; see there."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Self:
        key, basic = _plain_key(key, self._data)
        if not basic and mode.recorder is not None:
            mode.recorder.indexing(key)
        return view(GetItem(), self, key) if basic else apply(GetItem(), (self,), key)

    def __contains__(self, value: Any) -> bool:
        """Whether an element equals the value."""
        equal = self == value
        if not isinstance(equal, TensorBase):
            raise TypeError(f"in: expected a number, an array or a Tensor, got {type(value).__name__}")
        if mode.recorder is not None:
            mode.recorder.leaving("a decision that depends on a tensor's value")
        return bool(equal._data.any())

    def _own(self) -> np.ndarray:
        """The elements as an array that changes with the tensor (`_data` may be a NumPy scalar, which cannot
        change).
        """
        if isinstance(self._data, np.generic):
            self._data = np.array(self._data)
        return self._data

    def _hand_out(self) -> np.ndarray:
        """`_own`, for whoever may make another tensor of it."""
        data = self._own()
        share(self)
        return data

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write elements in place. Part of the graph where the tensor, then not a leaf, or the value requires
        a gradient: then what the tensor is a view of has the new history too, and RuntimeError where another tensor
        on these elements would be left with an old one. OverflowError for a number that an integer dtype does not
        hold, TypeError for a gradient on its way into integers.

        >>> import nbgrad
        >>> w = nbgrad.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
        >>> y = w * 2
        >>> y[0] += 1
        >>> y[:, 1] = 0
        >>> y.sum().backward()
        >>> w.grad
        tensor([[2., 0.],
                [2., 0.]])
        """
        self._write(*_plain_key(key, self._data), value)

    def _write(self, key: tuple[Any, ...], basic: bool, value: Any) -> None:
        data = self._own()
        if not basic and mode.recorder is not None:
            mode.recorder.indexing(key)
        of_graph = isinstance(value, TensorBase) and value._node is not None
        if not (mode.enabled and (of_graph or self._node is not None)):
            value = self._beside(value, fills=basic)
            check_same_device(data, value)
            write_at(data, key, value)
            note_mutation(data)
            return
        if any(type(tensor._node) is Leaf for tensor in (self, *lineage(self))):
            raise RuntimeError("a leaf that requires a gradient is not changed in place except under no_grad()")
        if data.dtype.kind != "f":
            raise TypeError(
                f"value: expected one that requires no gradient, as {data.dtype} has none; use .detach(), or write "
                "into a float tensor"
            )
        # The elements to be written; of an index with arrays all count as such.
        part = data[key if any(k is Ellipsis for k in key) else (*key, ...)] if basic else data
        if of_graph and any(tensor is self for tensor in lineage(value)) and same_place(value._data, part):
            return  # y[0] += 1 has changed the view y[0], and y with it; then Python assigns the view to y[0]
        if next(others(self, part), None) is not None:
            # They would keep a history that no longer tells how their values came about.
            raise RuntimeError(
                "a tensor that shares its memory with a view cannot be changed in place; change a clone()"
            )
        if not isinstance(value, TensorBase):
            value = result(type(self), None, self._beside(value), False)
        check_same_device(data, value._data)
        note_mutation(data)
        self._continue_at(apply(SetItem(), (self, value), key)._node)
        changed: Any = self
        while changed._view_of is not None:  # what it is a view of has changed too
            tensor, op, saved = changed._view_of
            if owner(tensor._data) is not owner(data):  # moved to another device since
                break
            node = op.undo(saved, changed._data.shape)
            node._edges = (tensor._node, changed._node) if type(node) is SetItem else (changed._node,)
            tensor._continue_at(result(type(tensor), node, tensor._data, True)._node)
            changed = tensor

    def _continue_at(self, node: Node | None) -> None:
        """The history goes on at another node, after a change in place."""
        before, self._node = self._node, node
        if before is not None and before._retain and node is not None:
            # `retain_grad` was meant for the tensor, whose node is another now.
            node._retain, node._grad = True, before._grad
            before._retain = False

    def _beside(self, value: Any, fills: bool = False) -> Any:
        """What is to be written, as an array or NumPy scalar of the tensor's dtype; numbers on its device, unless it
        can be filled with them.
        """
        data = self._data
        if type(value) in (float, int, bool):
            array = quietly(data.dtype.type, value)  # OverflowError for an integer that does not fit
            if fills:
                return array
        else:
            array = as_array(value, copy=False, dtype=data.dtype, name="value")
        if on_cpu(data) or not on_cpu(array) or (hasattr(value, "dtype") and array.ndim):
            return array
        if array.ndim:
            return move(array, device_name(data))
        number = empty((), data)  # filled: nothing is copied from the CPU's memory
        number[...] = array[()]
        return number

    def __iadd__(self, other: Any) -> Self:
        return self._replace(self + other)

    def __isub__(self, other: Any) -> Self:
        return self._replace(self - other)

    def __imul__(self, other: Any) -> Self:
        return self._replace(self._kept() * other)

    def __itruediv__(self, other: Any) -> Self:
        return self._replace(self._kept() / other)

    def __ifloordiv__(self, other: Any) -> Self:
        return self._replace(self // other)

    def __imod__(self, other: Any) -> Self:
        return self._replace(self % other)

    def __ipow__(self, other: Any) -> Self:
        return self._replace(self._kept() ** other)

    def _kept(self) -> Self:
        """Itself, or where recorded a copy: a product and a power keep their operands for the gradients."""
        return self if self._node is None or not mode.enabled else self.clone()

    def _replace(self, value: Any) -> Self:
        old, new = self._data, value._data
        if new.shape != old.shape or (new.dtype.kind == "f") > (old.dtype.kind == "f"):
            raise ValueError(f"in place: expected a result of {old.dtype} {old.shape}, got {new.dtype} {new.shape}")
        self._write((...,), True, value)
        return self

    def zero_(self) -> Self:
        """Set all elements to 0, in place; returns the tensor itself."""
        self[...] = 0
        return self
