"""`Shaping`: a Tensor's indexing, changes in place, shapes and reductions."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.autograd import rules_shape as rules
from nbgrad.autograd.arithmetic import Arithmetic, apply, result
from nbgrad.autograd.devices import check_same_device, device_name, move, on_cpu, write_at
from nbgrad.autograd.inputs import as_array
from nbgrad.autograd.tape import Leaf, Node, mode, note_mutation

__all__ = ["Extreme", "Shaping"]


def _view(node: Node, tensor: Any, *args: Any) -> Any:
    """`apply` for a result that may share the tensor's memory: writing into the tensor can no longer be
    recorded.
    """
    tensor._viewed = True
    return apply(node, (tensor,), *args)


def _plain_key(key: Any, data: Any) -> tuple[tuple[Any, ...], bool]:
    """An index into ``data`` as a tuple without tensors, and whether it is basic (gives a view).

    Arrays are copied: the caller may change his before the backward pass. CuPy takes indices modulo the length: those
    of the CPU are checked here.
    """
    basic, parts = True, []
    for part in key if isinstance(key, tuple) else (key,):
        if isinstance(part, Arithmetic):
            part = part._data
        if on_device(part):
            part, basic = as_array(part, copy=True), False
        elif isinstance(part, list | np.ndarray | np.bool_ | bool):
            part, basic = np.array(part), False
            if part.dtype.kind == "f" and not part.size:  # [] picks nothing
                part = part.astype(np.intp)
        parts.append(part)
    if not basic and not on_cpu(data):
        there = [0 if on_device(part) else part for part in parts]
        if not any(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in there):
            np.broadcast_to(np.empty((), bool), data.shape)[tuple(there)]
    return tuple(parts), basic


def choose_axis(axis: Any, dim: Any, default: int | None = None) -> Any:
    """`axis`, or `dim`, PyTorch's name for it; TypeError for both."""
    if dim is not None:
        if axis != default:
            raise TypeError("axis: give axis or dim, not both")
        axis = dim
    return tuple(axis) if isinstance(axis, list) else axis


class Extreme(NamedTuple):
    """What `max(axis)` and `min(axis)` return."""

    values: Any
    indices: Any


class Shaping(Arithmetic):
    """The part of `nbgrad.Tensor` that picks, writes and rearranges; see there."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Self:
        key, basic = _plain_key(key, self._data)
        return _view(rules.GetItem(), self, key) if basic else apply(rules.GetItem(), (self,), key)

    def _own(self) -> np.ndarray:
        """The elements as an array that changes with the tensor (`_data` may be a NumPy scalar, which cannot
        change).
        """
        if isinstance(self._data, np.generic):
            self._data = np.array(self._data)
        return self._data

    def __setitem__(self, key: Any, value: Any) -> None:
        """Write elements in place. Part of the graph where the tensor, then not a leaf, or the value requires
        a gradient.
        """
        self._write(_plain_key(key, self._data)[0], value)

    def _write(self, key: tuple[Any, ...], value: Any) -> None:
        data = self._own()
        recorded = self._node is not None or (isinstance(value, Arithmetic) and value._node is not None)
        if mode.enabled and recorded:
            if type(self._node) is Leaf:
                raise RuntimeError(
                    "a leaf that requires a gradient is not changed in place except under no_grad()"
                )
            if self._viewed or data.base is not None:
                # The other tensors on this memory would keep a history that no longer tells how their values
                # came about.
                raise RuntimeError(
                    "a tensor that shares its memory with a view cannot be changed in place; change a clone()"
                )
            if not isinstance(value, Arithmetic):
                value = result(type(self), None, self._beside(value), False)
            check_same_device(data, value._data)
            note_mutation(data)
            before, self._node = self._node, apply(rules.SetItem(), (self, value), key)._node
            if before is not None and before._retain and self._node is not None:
                # `retain_grad` was meant for the tensor, whose node is another now.
                self._node._retain, self._node._grad = True, before._grad
                before._retain = False
        else:
            value = value._data if isinstance(value, Arithmetic) else value if on_cpu(data) else self._beside(value)
            check_same_device(data, value)
            write_at(data, key, value)
            note_mutation(data)

    def _beside(self, value: Any) -> Any:
        """Numbers or an array as an array of the tensor's dtype; numbers on its device."""
        if on_device(value):
            return as_array(value, copy=False)
        array = np.asarray(value, self._data.dtype)
        return array if isinstance(value, np.ndarray) and array.ndim else move(array, device_name(self._data))

    def __iadd__(self, other: Any) -> Self:
        return self._replace(self + other)

    def __isub__(self, other: Any) -> Self:
        return self._replace(self - other)

    def __imul__(self, other: Any) -> Self:
        return self._replace(self._kept() * other)

    def __itruediv__(self, other: Any) -> Self:
        return self._replace(self._kept() / other)

    def _kept(self) -> Self:
        """Itself, or where recorded a copy: a product keeps its factors for their gradients."""
        return self if self._node is None or not mode.enabled else self.clone()

    def _replace(self, value: Any) -> Self:
        old, new = self._data, value._data
        if new.shape != old.shape or (new.dtype.kind == "f") > (old.dtype.kind == "f"):
            raise ValueError(
                f"in place: expected a result of {old.dtype} {old.shape}, got {new.dtype} {new.shape}"
            )
        self._write((...,), value)
        return self

    def zero_(self) -> Self:
        """Set all elements to 0, in place; returns the tensor itself."""
        self[...] = 0
        return self

    def reshape(self, *shape: Any) -> Self:
        """The same elements in another shape, one length may be -1. A view where NumPy makes one.

        >>> import nbgrad
        >>> nbgrad.tensor([1, 2, 3, 4]).reshape(2, -1)
        tensor([[1, 2],
                [3, 4]])
        """
        return _view(rules.Reshape(), self, shape[0] if len(shape) == 1 else shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Self:
        """The axes from `start_dim` to `end_dim` as one.

        >>> import nbgrad
        >>> nbgrad.tensor([[[1, 2], [3, 4]]]).flatten(1)
        tensor([[1, 2, 3, 4]])
        """
        shape = self._data.shape or (1,)
        for name, axis in (("start_dim", start_dim), ("end_dim", end_dim)):
            if not -len(shape) <= axis < len(shape):
                raise IndexError(f"{name}: expected an axis of a tensor of shape {self._data.shape}, got {axis}")
        start, end = start_dim % len(shape), end_dim % len(shape)
        if start > end:
            raise ValueError(f"start_dim: expected at most end_dim, got {start_dim} and {end_dim}")
        return self.reshape(*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :])

    def permute(self, *axes: Any, dims: Any = None) -> Self:
        """The axes in another order: a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[[1, 2, 3]]]).permute(2, 0, 1).shape
        (3, 1, 1)
        """
        order = dims if dims is not None else axes[0] if len(axes) == 1 else axes
        n = self._data.ndim
        order = [order] if isinstance(order, int) else order
        if sorted(i % n for i in order if -n <= i < n) != list(range(n)) or len(order) != n:
            raise ValueError(f"axes: expected an order of the {n} axes, got {tuple(order)}")
        return _view(rules.Permute(), self, tuple(i % n for i in order))

    def transpose(self, axis0: int, axis1: int) -> Self:
        """The two axes exchanged, as in PyTorch (`T` reverses all): a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[1, 2], [3, 4]]).transpose(0, 1)
        tensor([[1, 3],
                [2, 4]])
        """
        order = list(range(self._data.ndim))
        order[axis0], order[axis1] = order[axis1], order[axis0]
        return self.permute(order)

    @property
    def T(self) -> Self:  # noqa: N802 (NumPy's name)
        """All axes in reverse order: a view.

        >>> import nbgrad
        >>> nbgrad.tensor([[1, 2, 3]]).T.shape
        (3, 1)
        """
        return self.permute(range(self._data.ndim)[::-1])

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
        if not (axis is None or hasattr(axis, "__index__")):
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
