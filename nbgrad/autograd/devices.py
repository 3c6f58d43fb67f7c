"""Where a tensor's array lies, "cpu" or "cuda:0", the way between, and what CuPy does otherwise than NumPy.

The rules of autograd call NumPy's functions, which hand CuPy's arrays on to CuPy by NumPy's protocols. What CuPy lacks,
or does in another order on every run, is in the plug-ins: `nbgrad.cpu.tensor`, `nbgrad.cuda.tensor`.
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from nbgrad.arrays import FLOATING_POINT, on_device, quietly
from nbgrad.autograd.modes import mode
from nbgrad.place import plug_in, plug_in_of

__all__ = [
    "OF_NUMPY",
    "add_at", "add_up", "check_device", "check_same_device", "device_name", "empty", "kept", "last", "matmul", "move",
    "on_cpu", "overlap", "picks_by_number", "same_place", "together", "write_at", "zeros",
]  # fmt: skip

_CPU = plug_in("cpu").tensor


#: The types of what most tensors hold: `on_cpu` answers for them without being asked.
OF_NUMPY = frozenset({np.ndarray, *np.sctypeDict.values()})


def on_cpu(data: Any) -> bool:
    """Whether an array of a tensor or beside one, or a NumPy scalar, is in the CPU's memory: an ndarray of any class
    is, but for the simulator's. (Of whatever a caller may give `nbgrad.arrays.on_device` tells whether it is on a GPU.)
    """
    return type(data) in OF_NUMPY or (isinstance(data, np.ndarray | np.generic) and not on_device(data))


def device_name(data: Any) -> str:
    """Where a tensor's array is: "cpu", "cuda:0" and so on."""
    return "cpu" if on_cpu(data) else str(_of(data).name(data))


def _of(data: Any) -> Any:
    """What the plug-in of its device knows of tensors."""
    return _CPU if on_cpu(data) else plug_in_of(data).tensor


def check_device(device: Any) -> str:
    """The device's name; ValueError for what is no device."""
    if not re.fullmatch(r"cpu(:0)?|cuda(:\d+)?", str(device)):
        raise ValueError(f"device: expected cpu or cuda, got {device!r}")
    return str(device)


def move(data: Any, device: Any) -> Any:
    """A tensor's array on this device; itself where it is there already. RuntimeError, which says what is missing,
    where there is no usable GPU.
    """
    device = check_device(device)
    if mode.recorder is not None:
        mode.recorder.moving(data, device)
    if device.startswith("cpu"):
        return _of(data).get(data)
    try:
        return plug_in(device).tensor.put(data, device)
    except (RuntimeError, ImportError) as error:
        raise RuntimeError(f"device: {device} is not available: {error}") from None


def overlap(a: Any, b: Any) -> bool:
    """Whether two tensors' arrays have memory in common; True where that is too much work to tell."""
    return on_cpu(a) == on_cpu(b) and _of(a).overlap(a, b)


def same_place(a: Any, b: Any) -> bool:
    """Whether two tensors' arrays have every element at the same address."""
    if on_cpu(a) != on_cpu(b) or a.shape != b.shape or a.strides != b.strides or a.dtype != b.dtype:
        return False
    first, second = (x.ctypes.data if isinstance(x, np.ndarray) else x.data.ptr for x in (a, b))
    return first == second


def check_same_device(*operands: Any) -> None:
    """TypeError that names the operand which is not where the first array is; numbers are everywhere."""
    arrays = [
        (i, device_name(a).partition(":")[0])
        for i, a in enumerate(operands)
        if hasattr(a, "dtype") and not isinstance(a, np.generic)
    ]
    for i, device in arrays:
        if device != arrays[0][1]:
            raise TypeError(
                f"operand {i}: expected a tensor on {arrays[0][1]} as operand {arrays[0][0]} is, got one on {device}; "
                "use .to(device)"
            )


def together(*operands: Any) -> tuple[Any, ...] | None:
    """The operands with the CPU's arrays of no dimension as numbers; None where that changes nothing. TypeError, as
    `check_same_device`.
    """
    numbers = tuple(a[()] if isinstance(a, np.ndarray) and not a.ndim and on_cpu(a) else a for a in operands)
    check_same_device(*numbers)
    return None if all(map(on_cpu, numbers)) or all(map(lambda a, b: a is b, numbers, operands)) else numbers


def empty(shape: tuple[int, ...], like: Any) -> Any:
    """An array of this shape in C order, of the dtype and on the device of another. (np.empty_like takes 3 times as
    long, and keeps the other's order; CuPy's ignores the shape ().)
    """
    return np.empty(shape, like.dtype) if on_cpu(like) else _of(like).empty(shape, like.dtype)


def zeros(shape: tuple[int, ...], like: Any, dtype: Any = None) -> Any:
    """As `empty`, of zeros."""
    dtype = like.dtype if dtype is None else dtype
    return np.zeros(shape, dtype) if on_cpu(like) else _of(like).zeros(shape, dtype)


def add_up(x: Any, axis: Any, keepdims: Any = False, dtype: Any = None) -> Any:
    """The sum over axes: `nbgrad.cpu.sums.add_up`, CuPy's on a GPU."""
    return _of(x).add_up(x, axis=axis, keepdims=keepdims, dtype=dtype)


def matmul(x: Any, y: Any) -> Any:
    """``x @ y``, of two arrays; on the CPU with as many of BLAS's threads as that is worth."""
    return _of(x).matmul(x, y)


def kept(rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
    """Factors for dropout, an array like ``like``: 0 with probability p, else ``scale``."""
    return _of(like).kept(rng, p, scale, like)


def picks_by_number(key: tuple[Any, ...]) -> bool:
    """Whether a key has an integer array: only then an element may be picked more than once."""
    return any(getattr(k, "ndim", 0) and k.dtype.kind in "iu" for k in key)


def add_at(out: Any, key: tuple[Any, ...], g: Any) -> None:
    """``out[key] += g``, an element as often as it is picked, in the order of the picks."""
    _of(out).add_at(out, key, g)


def write_at(x: Any, key: tuple[Any, ...], value: Any) -> None:
    """``x[key] = value``; of several values for one element the last stays."""
    if not on_cpu(x):
        value = _of(x).apart(value, x)  # CuPy copies between overlapping parts in any order
        if picks_by_number(key) and getattr(value, "ndim", None):  # and writes any of several values
            staying, _ = last(x, key)
            value = np.broadcast_to(value, staying.shape).reshape(-1)[staying]
    try:
        x[key] = value
    except FLOATING_POINT:  # of the cast
        quietly(x.__setitem__, key, value)


def last(x: Any, key: tuple[Any, ...]) -> tuple[Any, Any]:
    """For ``x[key] = values``, in the shape of the values: the number of the one that stays where each was written, and
    their own numbers.
    """
    found: tuple[Any, Any] = _of(x).last(x, key)
    return found
