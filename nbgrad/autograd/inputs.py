"""What a tensor may be made of: dtypes, and arrays from Python's numbers or other libraries' arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.arrays import on_device

__all__ = ["as_array", "check_dtype"]


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """TypeError unless a tensor may have this dtype: float32, float64, any integer, bool."""
    if not (dtype.kind in "iub" or (dtype.kind == "f" and dtype.itemsize in (4, 8))):
        raise TypeError(f"{name}: expected dtype float32, float64, an integer or bool, got {dtype}")


def as_array(data: Any, *, copy: bool) -> Any:
    """What a tensor holds of `data`: an array of a native dtype, or a NumPy scalar where there are no axes.

    Python floats make float32, as in PyTorch; NumPy's float64 and arrays of it stay what they are. Unless
    `copy` an array is taken as it is, where its bytes are in the machine's order.
    """
    if hasattr(data, "mask") and isinstance(data, np.ma.MaskedArray):
        raise TypeError("data: expected an array without a mask, got a masked array")
    if type(data) is not np.ndarray and on_device(data._data if hasattr(data, "_viewed") else data):
        from nbgrad.backends import cuda_tensor

        array = data._data if hasattr(data, "_viewed") else cuda_tensor.adopt(data)
        check_dtype(array.dtype, "data")
        return array.copy() if copy else array
    if isinstance(data, np.ndarray):
        check_dtype(data.dtype, "data")
        # np.dtype(type) is the dtype object that all other arrays have: dtypes are compared with `is`
        array = np.array(data, np.dtype(data.dtype.type), copy=copy or None)
        return array[()] if copy and not array.ndim else array
    try:
        array = np.array(_plain(data))
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"data: expected numbers in a regular shape, got {type(data).__name__}: {error}") from None
    check_dtype(array.dtype, "data")
    first = data
    while isinstance(first, list | tuple) and first:
        first = first[0]
    if array.dtype == np.float64 and type(first) in (float, int, bool, list, tuple):
        array = array.astype(np.float32)
    return array if array.ndim else array[()]


def _plain(data: Any) -> Any:
    """Nested sequences with the arrays of the tensors in them."""
    if isinstance(data, list | tuple):
        return [_plain(item) for item in data]
    return data._data if hasattr(data, "_viewed") else data
