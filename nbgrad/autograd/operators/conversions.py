"""`Conversions`: a Tensor as NumPy's arrays, Python's numbers, other libraries' arrays; its dtype and device."""

from __future__ import annotations

import re
from typing import Any, Self

import numpy as np

from nbgrad.autograd.devices import device_name, move, on_cpu
from nbgrad.autograd.inputs import as_dtype, cast
from nbgrad.autograd.operators.apply import Move, apply, result
from nbgrad.autograd.operators.arithmetic import Cast
from nbgrad.autograd.operators.indexing import Indexing
from nbgrad.autograd.operators.ufuncs import ArrayUfunc
from nbgrad.autograd.tape import mode

__all__ = ["Conversions"]


class Conversions(Indexing):
    """The part of `nbgrad.Tensor` that leads out of it, to another dtype or to another device; see there."""

    __slots__ = ()

    def numpy(self) -> np.ndarray:
        """The elements as a NumPy array that shares the tensor's memory and is outside the graph.

        >>> import nbgrad
        >>> nbgrad.tensor([1.0, 2.0], requires_grad=True).numpy()
        array([1., 2.], dtype=float32)
        """
        self._check_cpu("numpy()")
        return self._hand_out()

    def _check_cpu(self, what: str) -> None:
        if not on_cpu(self._data):
            if mode.recorder is not None:
                mode.recorder.leaving("a tensor's values as an array of NumPy's")
                np.asarray(self._data)  # its error
            raise TypeError(f"{what}: expected a tensor on cpu, got one on {device_name(self._data)}; use .cpu() first")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        self._check_cpu("array")
        # np.dot(array, tensor) comes here: it would cut the graph unseen, and a gradient would be wrong.
        if self._node is not None and mode.enabled:
            raise RuntimeError("a tensor that requires a gradient becomes no array unasked; use .numpy() or no_grad()")
        return np.array(self._hand_out(), dtype=dtype, copy=copy)

    # For CuPy and PyTorch: `cupy.asarray(tensor)`, `torch.from_dlpack(tensor)`, over the same memory.

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if on_cpu(self._data):
            raise AttributeError("__cuda_array_interface__: the tensor is on cpu")
        return self._outside_the_graph().__cuda_array_interface__

    def __dlpack__(self, **keywords: Any) -> Any:
        return self._outside_the_graph().__dlpack__(**keywords)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._own().__dlpack_device__()

    def _outside_the_graph(self) -> Any:
        if self._node is not None:
            raise RuntimeError("a tensor that requires a gradient becomes no array unasked; use .detach()")
        return self._hand_out()

    __array_ufunc__ = ArrayUfunc()

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        # These call the tensor's method of their name, with arguments that only NumPy's has.
        if function in (np.sum, np.mean, np.max, np.min, np.amax, np.amin):
            name = function.__name__.removeprefix("a")
            raise TypeError(f"numpy.{name}: expected an array, got a Tensor; use its own {name}() or .numpy()")
        return function._implementation(*args, **kwargs)

    def item(self) -> Any:
        """The one element as a Python number.

        >>> import nbgrad
        >>> nbgrad.tensor([2.5]).item()
        2.5
        """
        if self._data.size != 1:
            raise ValueError(f"item: expected a tensor of one element, got shape {self._data.shape}")
        return self._leaving("item(): a tensor's value as a number of Python's").item()

    def _leaving(self, what: str) -> Any:
        """The array, of which a value is asked for: nothing that `nbgrad.compile` records."""
        if mode.recorder is not None:
            mode.recorder.leaving(what)
        return self._data

    def tolist(self) -> Any:
        """The elements as nested lists of Python numbers."""
        return self._leaving("tolist(): a tensor's values as numbers of Python's").tolist()

    def __bool__(self) -> bool:
        if self._data.size != 1:
            raise ValueError(
                f"the truth value of a tensor of shape {self._data.shape} is ambiguous; use .numpy().all() or any()"
            )
        return bool(self._leaving("a decision that depends on a tensor's value"))

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu" or self._data.ndim:
            raise TypeError(f"index: expected a 0-d integer tensor, got {self._data.dtype} of shape {self._data.shape}")
        return int(self._leaving("a tensor's value as a number of Python's"))

    def __format__(self, spec: str) -> str:
        if spec and self._data.size == 1:
            return format(self.item(), spec)
        try:
            return format(repr(self), spec)
        except ValueError:
            shape = self._data.shape
            raise TypeError(f"format: expected a tensor of one number for {spec!r}, got shape {shape}") from None

    def to(self, *args: Any, dtype: Any = None, device: Any = None) -> Self:
        """The tensor with another dtype, within the graph, or on another device ("cpu", "cuda", "cuda:1"), also
        within the graph; itself if it is so already. RuntimeError where there is no usable GPU, OverflowError for a
        number that an integer dtype does not hold.

        >>> import nbgrad
        >>> nbgrad.tensor([1, 2]).to(np.float32)
        tensor([1., 2.])
        """
        for arg in args:
            if isinstance(arg, str) and re.fullmatch(r"(cpu|cuda)(:\d+)?", arg):
                device = arg
            else:
                dtype = arg
        if device is not None:
            moved = self._move(device)
            return moved if dtype is None else moved.to(dtype=dtype)
        if dtype is None:
            return self
        dtype = as_dtype(dtype)
        if dtype == self._data.dtype:
            return self
        if dtype.kind != "f":
            return result(type(self), None, cast(self._data, dtype, "to"), False)
        return apply(Cast(), (self,), dtype)

    def cpu(self) -> Self:
        """The tensor in the CPU's memory; itself if it is there already."""
        return self if on_cpu(self._data) else self._move("cpu")

    def cuda(self, device: int | None = None) -> Self:
        """The tensor on a GPU, the current one or that of this number; itself if it is there already."""
        return self._move("cuda" if device is None else f"cuda:{device}")

    def _move(self, device: Any) -> Self:
        data = move(self._data, device)
        if data is self._data:
            return self
        return apply(Move(), (self,), data)
