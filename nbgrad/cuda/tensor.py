"""What a Tensor on "cuda" holds, and its way there and back: CuPy's arrays; the simulator's are marked as such."""

from __future__ import annotations

from typing import Any

from nbgrad.cuda import device
from nbgrad.cuda.device import adopt, empty, get, put

__all__ = ["adopt", "apart", "empty", "get", "name", "overlap", "put", "zeros"]


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
    return bool(device.module().may_share_memory(device.unwrap(a, "a"), device.unwrap(b, "b")))


def name(array: Any) -> str:
    """The device of a tensor's array, as PyTorch writes it."""
    return f"cuda:{device.device_of(array)}"
