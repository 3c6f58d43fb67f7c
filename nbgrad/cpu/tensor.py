"""What a Tensor on "cpu" holds, NumPy's arrays, and what is done with them otherwise than on a GPU.

`nbgrad.cuda.tensor` has the same functions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.cpu.blas import matmul
from nbgrad.cpu.random import kept
from nbgrad.cpu.sums.add_up import add_up

__all__ = [
    "add_at", "add_up", "adopt", "apart", "empty", "get", "kept", "last", "library", "matmul", "name", "overlap", "put",
    "zeros",
]  # fmt: skip


def library() -> Any:
    """The library of arrays."""
    return np


def name(array: Any) -> str:
    """The device of a tensor's array, as PyTorch writes it."""
    return "cpu"


def adopt(data: Any) -> NDArray[Any]:
    """The caller's array as a tensor's array, over the same memory."""
    return np.asarray(data)


def put(array: Any, device: str) -> Any:
    """A tensor's array on this device: it is there already."""
    return array


def get(array: Any) -> Any:
    """A tensor's array in the CPU's memory."""
    return array


def empty(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array in C order."""
    return np.empty(shape, dtype)


def zeros(shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    """An array of zeros in C order."""
    return np.zeros(shape, dtype)


def overlap(a: Any, b: Any) -> bool:
    """Whether two arrays have memory in common; True where that is too much work to tell."""
    try:
        return np.shares_memory(a, b, max_work=10_000)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def apart(value: Any, other: Any) -> Any:
    """The value, where writing it to parts of the other array needs it copied before: NumPy sees to that."""
    return value


def add_at(out: Any, key: tuple[Any, ...], g: Any) -> None:
    """``out[key] += g``, an element as often as it is picked, in the order of the picks."""
    # In the order of the picks, not in that in which the key's arrays lie.
    key = tuple(np.ascontiguousarray(k) if getattr(k, "ndim", 0) else k for k in key)
    # A float32 element picked a million times would lose 3 digits. Of `wide` only what is picked takes memory.
    wide = np.zeros(out.shape)
    wide[key] = out[key]
    np.add.at(wide, key, np.ascontiguousarray(g, wide.dtype))
    out[key] = wide[key]


def last(x: Any, key: tuple[Any, ...]) -> tuple[NDArray[Any], NDArray[Any]]:
    """For ``x[key] = values``, in the shape of the values: the number of the one that stays where each was written, and
    their own numbers.
    """
    written = np.full(x.shape, -1)
    shape = written[key].shape
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    written[key] = numbers
    return written[key], numbers
