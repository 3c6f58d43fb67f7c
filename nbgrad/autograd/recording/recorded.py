"""`Recorded`: what a tensor holds while a step is recorded: an array, and whoever notes what is done with it.

It goes through rules and kernels as a GPU's array does: by NumPy's protocols, and by the switch between plug-ins.
"""

from __future__ import annotations

import linecache
import os
import sys
import traceback
from types import SimpleNamespace
from typing import Any, NoReturn

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

__all__ = ["OnGpu", "Recorded", "Watcher", "refuse", "where"]

_HOME = os.path.dirname(os.path.dirname(os.path.dirname(__file__))) + os.sep
_NOT_THE_USERS = _HOME, os.path.dirname(np.__file__) + os.sep, "<the rule", "<derived", "<frozen"


def where() -> str:
    """The user's line that runs: file, number and text."""
    frame: Any = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return "an unknown line" if frame is None else _line(frame.f_code.co_filename, frame.f_lineno)


def where_of(error: BaseException) -> str:
    """The user's line that an error comes from."""
    lines = [(tb.f_code.co_filename, line) for tb, line in traceback.walk_tb(error.__traceback__)]
    lines = [line for line in lines if not line[0].startswith(_NOT_THE_USERS) and not line[0].endswith(".pyx")]
    lines = [line for line in lines if "site-packages" not in line[0]]
    return _line(*lines[-1]) if lines else "an unknown line"


def _line(file: str, line: int) -> str:
    return f"{os.path.basename(file)}, line {line}: {linecache.getline(file, line).strip()}"


def refuse(what: str, error: BaseException | None = None) -> NoReturn:
    """The error for what cannot be recorded, where that is known by an ``error``."""
    line = where() if error is None else where_of(error)
    raise RuntimeError(
        f"compile: {what} cannot be recorded ({line}); do it outside of the compiled function, or with operations "
        "of tensors, such as nbgrad.where"
    ) from error


class OnGpu(Exception):  # noqa: N818 (no error)
    """The function, which has computed nothing so far, computes with tensors on a GPU."""


class Watcher:
    """What a recorder is told of tensors. On the CPU `Recorded` itself refuses what cannot be recorded."""

    def leaving(self, what: str) -> None:
        """A tensor's value is asked for."""

    def moving(self, array: Any, device: str) -> None:
        """An array goes to another device."""

    def indexing(self, parts: Any) -> None:
        """Elements are picked by arrays."""


class Recorded(NDArrayOperatorsMixin):
    """``array``: the memory itself, with the values that it has in the recorded run."""

    __slots__ = ("__weakref__", "array", "recorder", "root")

    def __init__(self, array: Any, recorder: Any, root: Any = None) -> None:
        self.array, self.recorder, self.root = array, recorder, root

    # What is known of it

    shape = property(lambda self: self.array.shape)
    dtype = property(lambda self: self.array.dtype)
    ndim = property(lambda self: self.array.ndim)
    size = property(lambda self: self.array.size)
    itemsize = property(lambda self: self.array.itemsize)
    nbytes = property(lambda self: self.array.nbytes)
    strides = property(lambda self: self.array.strides)
    flags = property(lambda self: self.array.flags)
    base = property(lambda self: self.root)
    data = property(lambda self: SimpleNamespace(ptr=self.array.ctypes.data))

    #: the plug-in that `nbgrad.place` asks: `nbgrad.autograd.recording.plug_in`, which sets it
    __nbgrad_plug_in__: Any = None

    def __len__(self) -> int:
        return len(self.array)

    # What is done with it

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if method != "__call__":
            return self.recorder.call(getattr(ufunc, method), inputs, keywords)
        return self.recorder.ufunc(ufunc, inputs, keywords)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        if function in (np.ndim, np.shape, np.size):
            return function(args[0].array)
        return self.recorder.call(function, args, keywords)

    def __pow__(self, other: Any) -> Any:
        # as NumPy's arrays do it: these powers of Python's numbers are functions of their own
        known = {2: np.square, 1: np.positive, 0.5: np.sqrt, -1: np.reciprocal}
        if type(other) in (int, float) and other in known and (self.dtype.kind == "f" or other in (1, 2)):
            return known[other](self)
        return np.power(self, other)

    def __getitem__(self, key: Any) -> Any:
        for part in key if isinstance(key, tuple) else (key,):
            if getattr(part, "ndim", 0) and part.dtype.kind == "b":
                refuse("picking by a mask, which gives a shape that depends on values,")
        return self.recorder.call(np.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        self.recorder.write(self, key, value)

    def reshape(self, *shape: Any) -> Any:
        return self.recorder.call(np.ndarray.reshape, (self, *shape), {})

    def transpose(self, *axes: Any) -> Any:
        return self.recorder.call(np.ndarray.transpose, (self, *axes), {})

    def swapaxes(self, first: int, second: int) -> Any:
        return self.recorder.call(np.ndarray.swapaxes, (self, first, second), {})

    def squeeze(self, axis: Any = None) -> Any:
        return self.recorder.call(np.ndarray.squeeze, (self, axis), {})

    def ravel(self) -> Any:
        return self.reshape(-1)

    @property
    def T(self) -> Any:  # noqa: N802 (NumPy's name)
        return self.transpose()

    def astype(self, dtype: Any, copy: bool = True, order: str = "K") -> Any:
        if not copy and self.dtype == dtype:
            return self
        return self.recorder.copy(self, np.dtype(dtype))

    def copy(self, order: str = "C") -> Any:
        return self.recorder.copy(self, self.dtype)

    def sum(self, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
        return self.recorder.add_up(self, axis, keepdims, dtype)

    def any(self) -> Any:
        return self.recorder.call(np.any, (self,), {})

    def max(self) -> Any:
        return self.recorder.call(np.max, (self,), {})

    def min(self) -> Any:
        return self.recorder.call(np.min, (self,), {})

    # What would lead out of the recording

    def __bool__(self) -> bool:
        refuse("a decision that depends on a tensor's value")

    def __float__(self) -> float:
        refuse("a tensor's value as a number of Python's")

    def __int__(self) -> int:
        refuse("a tensor's value as a number of Python's")

    __index__ = __int__

    def item(self) -> Any:
        refuse("item(): a tensor's value as a number of Python's")

    def tolist(self) -> Any:
        refuse("tolist(): a tensor's values as numbers of Python's")

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        refuse("a tensor's values as an array of NumPy's")

    def __iter__(self) -> Any:
        return (self[i] for i in range(len(self)))

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"compile: .{name} of an array cannot be recorded ({where()})")
