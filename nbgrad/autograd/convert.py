"""What a tensor may be made of: dtypes, devices, and arrays from Python's numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from nbgrad.arrays import on_device

__all__ = ["as_array", "check_device", "check_dtype", "check_same_device", "device_name", "move", "on_cpu"]


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """TypeError unless a tensor may have this dtype: float32, float64, any integer, bool."""
    if not (dtype.kind in "iub" or (dtype.kind == "f" and dtype.itemsize in (4, 8))):
        raise TypeError(f"{name}: expected dtype float32, float64, an integer or bool, got {dtype}")


def check_device(device: Any) -> str:
    """The device's name; ValueError for what is no device."""
    if not re.fullmatch(r"cpu(:0)?|cuda(:\d+)?", str(device)):
        raise ValueError(f"device: expected cpu or cuda, got {device!r}")
    return str(device)


def on_cpu(data: Any) -> bool:
    """Whether a tensor's array, or NumPy scalar, is in the CPU's memory."""
    return type(data) is np.ndarray or isinstance(data, np.generic)


def device_name(data: Any) -> str:
    """Where a tensor's array is: "cpu", "cuda:0" and so on."""
    if on_cpu(data):
        return "cpu"
    from nbgrad.backends import cuda_tensor

    return cuda_tensor.name(data)


def move(data: Any, device: Any) -> Any:
    """A tensor's array on this device; itself where it is there already. RuntimeError, which says what is missing,
    where there is no usable GPU.
    """
    device = check_device(device)
    if on_cpu(data) and device.startswith("cpu"):
        return data
    try:
        from nbgrad.backends import cuda_tensor
    except ImportError as error:
        raise RuntimeError(
            f'device: {device} is not available without numba-cuda ({error}): pip install "nbgrad[cuda]"'
        ) from None
    if device.startswith("cpu"):
        return cuda_tensor.get(data)
    try:
        return cuda_tensor.put(data, device)
    except RuntimeError as error:
        raise RuntimeError(f"device: {device} is not available: {error}") from None


def check_same_device(*operands: Any) -> None:
    """TypeError that names the operand which is not where the first array is; numbers are everywhere."""
    arrays = [
        (i, "cpu" if on_cpu(a) else "cuda")
        for i, a in enumerate(operands)
        if hasattr(a, "dtype") and not isinstance(a, np.generic)
    ]
    for i, device in arrays:
        if device != arrays[0][1]:
            raise TypeError(
                f"operand {i}: expected a tensor on {arrays[0][1]} as operand {arrays[0][0]} is, got one on {device}; "
                "use .to(device)"
            )


def as_array(data: Any, *, copy: bool) -> Any:
    """What a tensor holds of `data`: an array of a native dtype, or a NumPy scalar where there are no axes.

    Python floats make float32, as in PyTorch; NumPy's float64 and arrays of it stay what they are. Unless
    `copy` an array is taken as it is, where its bytes are in the machine's order.
    """
    if hasattr(data, "mask") and isinstance(data, np.ma.MaskedArray):
        raise TypeError("data: expected an array without a mask, got a masked array")
    if type(data) is not np.ndarray and on_device(data):
        from nbgrad.backends import cuda_tensor

        array = cuda_tensor.adopt(data)
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
