"""What a Tensor on "cuda" holds, CuPy's arrays, and what is done with them otherwise than on the CPU.

`nbgrad.cpu.tensor` has the same functions.
"""

from __future__ import annotations

from typing import Any

from nbgrad.cuda import device
from nbgrad.cuda.device import adopt, empty, get, matmul, put
from nbgrad.cuda.device import module as library
from nbgrad.cuda.indexing import add_at, last
from nbgrad.cuda.random import kept

__all__ = [
    "add_at", "add_up", "adopt", "apart", "empty", "get", "kept", "last", "library", "matmul", "name", "overlap", "put",
    "zeros",
]  # fmt: skip


def zeros(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array of zeros in C order."""
    out = empty(shape, dtype)
    out[...] = 0
    return out


def apart(value: Any, other: Any) -> Any:
    """The value, copied where it may share memory with the other array."""
    return value.copy() if isinstance(value, type(other)) and overlap(value, other) else value


def overlap(a: Any, b: Any) -> bool:
    """Whether two arrays may have memory in common."""
    return bool(library().may_share_memory(device.unwrap(a, "a"), device.unwrap(b, "b")))


def name(array: Any) -> str:
    """The device of a tensor's array, as PyTorch writes it."""
    return f"cuda:{device.device_of(array)}"


def add_up(x: Any, axis: Any = None, keepdims: bool = False, dtype: Any = None) -> Any:
    """The sum over axes, CuPy's: a tree of threads is added up, each of which goes through its share, of n/512 numbers
    or so, in the precision ``dtype``, x's own by default.
    """
    return x.sum(axis=axis, keepdims=keepdims, dtype=dtype)
