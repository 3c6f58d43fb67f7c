"""What every public kernel does before it computes: turn arguments into native, contiguous float arrays, and
check ``out``.

All errors about an array argument are made here. They name the argument, what was expected and what came.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "FLOAT32",
    "FLOAT64",
    "FLOATING_POINT",
    "INT64",
    "ON_DEVICE",
    "as_array",
    "as_float",
    "as_floats",
    "as_labels",
    "broadcast",
    "check_float",
    "check_labels",
    "check_mask",
    "check_out",
    "contiguous",
    "expected_labels",
    "on_device",
    "out_of_range",
    "output",
    "quietly",
    "store",
]

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)


#: What comes out of NumPy where the caller's `numpy.errstate` or warning filters make exceptions of inf and nan. Who
#: catches it does the same again `quietly`. That costs nothing otherwise; ``with np.errstate`` costs 0.7 µs.
FLOATING_POINT = (FloatingPointError, RuntimeWarning)


def quietly(function: Callable[..., Any], *args: Any) -> Any:
    """function(*args), in which inf, nan, 0 and subnormal numbers are results like others."""
    with np.errstate(all="ignore"):
        return function(*args)


def on_device(*values: Any) -> bool:
    """Whether one of them lies in a GPU's memory (or is the CUDA simulator's), by what it says of itself: no
    CUDA library is asked.
    """
    for value in values:
        kind = type(value)
        if kind in ON_DEVICE or (kind is not np.ndarray and value is not None and _on_device(value)):
            return True
    return False


#: Types of arrays that always lie on a GPU: the plug-in adds its own. To ask each array costs microseconds.
ON_DEVICE: set[type] = set()
#: of a GPU's arrays, of the simulator's, and of what has a plug-in of its own
_MARKS = "__cuda_array_interface__", "__cuda_ndarray__", "__nbgrad_plug_in__"


def _on_device(value: Any) -> bool:
    if isinstance(value, (float, int, np.generic, list, tuple)):
        return False
    if isinstance(value, np.ndarray):  # a tensor's data under the simulator are a subclass
        return hasattr(value, "__cuda_ndarray__")
    try:
        if any(hasattr(value, name) for name in _MARKS):
            return True
    except RuntimeError:  # PyTorch's tensor on a GPU that requires a gradient
        return True
    device = getattr(value, "__dlpack_device__", None)
    return device is not None and not isinstance(value, type) and device()[0] in (2, 13)  # CUDA's, managed memory


def as_float(value: Any, name: str) -> NDArray[Any]:
    """``value`` as an array of native float32 or float64: floats keep their precision, integers and bools
    become float64.
    """
    if type(value) is np.ndarray and ((dtype := value.dtype) is FLOAT32 or dtype is FLOAT64):
        return value
    if type(value) is float:
        return np.array(value)
    array = as_array(value, name)
    dtype = array.dtype
    if dtype == FLOAT32 or dtype == FLOAT64:
        return array
    if dtype.kind in "iub":
        return array.astype(FLOAT64)
    check_float(dtype, name)
    return array.astype(dtype.newbyteorder("="))


def check_float(dtype: np.dtype[Any], name: str) -> None:
    """TypeError for a dtype that no kernel computes with."""
    if dtype.kind not in "iub" and dtype.newbyteorder("=") not in (FLOAT32, FLOAT64):
        raise TypeError(f"{name}: expected float32, float64, integers or bools, got {dtype}")


def as_array(value: Any, name: str) -> NDArray[Any]:
    """``value`` as an array of whatever dtype. (``numpy.asarray`` alone would drop a mask without a word.)"""
    if type(value) is np.ndarray:
        return value
    check_mask(value, name)
    if on_device(value):
        raise TypeError(f"{name}: expected an array in the CPU's memory, got a CUDA array ({type(value).__name__})")
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name}: expected an array or a number, got {type(value).__name__} ({error})") from None


def check_mask(value: Any, name: str) -> None:
    """TypeError for a masked array, also within lists: what is masked would be computed with."""
    if _masked(value):
        raise TypeError(f"{name}: expected an array without a mask, got a masked array (use {name}.filled(...))")


def _masked(value: Any) -> bool:
    return any(map(_masked, value)) if isinstance(value, list | tuple) else isinstance(value, np.ma.MaskedArray)


def as_floats(values: dict[str, Any]) -> tuple[list[NDArray[Any]], np.dtype[Any]]:
    """Several arguments as arrays of one precision: float64 if any is; Python's numbers adapt to the
    others.
    """
    dtype = None
    for value in values.values():  # in 0.2 µs what follows does in 3
        if type(value) is not np.ndarray or not (dtype is None or value.dtype is dtype):
            break
        dtype = value.dtype
    else:
        if dtype is FLOAT32 or dtype is FLOAT64:
            return list(values.values()), dtype
    arrays = [as_float(value, name) for name, value in values.items()]
    strong = [a.dtype for a, v in zip(arrays, values.values(), strict=True) if type(v) not in (float, int, bool)]
    dtype = FLOAT32 if strong and all(d == FLOAT32 for d in strong) else FLOAT64
    return [a.astype(dtype, copy=False) for a in arrays], dtype


def broadcast(arrays: dict[str, NDArray[Any]]) -> tuple[int, ...]:
    """The common shape of the arguments."""
    shapes = [a.shape for a in arrays.values()]
    if all(s == shapes[0] for s in shapes):
        return shapes[0]
    # numpy.broadcast_shapes says of more than 32 dimensions that it does not take them.
    ndim = max(map(len, shapes))
    aligned = zip(*((1,) * (ndim - len(shape)) + shape for shape in shapes), strict=True)
    sizes = [set(along) - {1} for along in aligned]
    if any(len(size) > 1 for size in sizes):
        listed = ", ".join(f"{name} {shape}" for name, shape in zip(arrays, shapes, strict=True))
        raise ValueError(f"{next(iter(arrays))}: expected shapes that broadcast together, got {listed}")
    return tuple(size.pop() if size else 1 for size in sizes)


def contiguous(array: NDArray[Any], shape: tuple[int, ...] | None = None) -> NDArray[Any]:
    """``array``, broadcast to ``shape``, in C order, aligned, and writeable in Numba's eyes; copied only
    where it must be.

    Numba compiles every loop a second time for read-only arguments. The kernels never write to an input, so a
    read-only array is handed over as a view without the flag.
    """
    if shape is not None and array.shape != shape:
        array = np.broadcast_to(array, shape)
    flags = array.flags
    if flags.carray:
        return array
    if flags.c_contiguous and flags.aligned:
        return np.asarray(_Writeable(array))
    return array.copy()


class _Writeable:
    def __init__(self, array: NDArray[Any]) -> None:
        self.array = array  # kept alive by the view
        interface = dict(array.__array_interface__)
        interface["data"] = (interface["data"][0], False)
        self.__array_interface__ = interface


def output(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out") -> None:
    """Refuse an ``out`` that is no array of the CPU's, or cannot take the result."""
    if type(out) is not np.ndarray:
        raise TypeError(f"{name}: expected a numpy.ndarray, got {type(out).__name__}")
    check_out(out, shape, dtype, name)


def check_out(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> None:
    """Refuse an array, on any device, that cannot take the result."""
    if out.dtype is not dtype and out.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name}: expected shape {shape}, got {out.shape}")
    flags = out.flags
    if not getattr(flags, "writeable", True):  # a GPU's arrays always are
        raise ValueError(f"{name}: expected a writeable array, got a read-only one")
    if (
        not flags.c_contiguous
        and out.size
        and any(stride == 0 and size > 1 for stride, size in zip(out.strides, out.shape, strict=True))
    ):
        raise ValueError(f"{name}: expected memory for each element, got a broadcast view (strides {out.strides})")


def store(result: NDArray[Any], out: NDArray[Any] | None) -> Any:
    """The result as the caller gets it: in ``out`` if given; a NumPy scalar where the result has no
    dimension.
    """
    if out is not None:
        if result is not out:
            out[...] = result
        return out
    return result[()] if result.ndim == 0 else result


def as_labels(value: Any, name: str) -> NDArray[np.int64]:
    """Class labels as native, contiguous int64."""
    array = as_array(value, name)
    check_labels(array, name)
    return contiguous(array.astype(np.int64, copy=False))


def check_labels(array: Any, name: str) -> None:
    """Refuse an array, on any device, whose numbers are no int64. (For the largest of a GPU's uint64, which are rare,
    the host waits: 2**64 − 100 would become −100, and be ignored.)
    """
    dtype = array.dtype
    if dtype is INT64:
        return
    if dtype.kind not in "iu":
        raise TypeError(f"{name}: expected integer class labels, got {dtype}")
    if dtype.kind == "u" and dtype.itemsize == 8 and array.size and array.max() > np.iinfo(np.int64).max:
        raise ValueError(f"{name}: expected labels below 2**63, got {array.max()}")


def expected_labels(classes: int, ignore_index: int) -> str:
    return f"labels in 0..{classes - 1} or ignore_index={ignore_index}"


def out_of_range(name: str, expected: str, value: Any, place: int) -> ValueError:
    """The error for a label or an index that a loop has found."""
    return ValueError(f"{name}: expected {expected}, got {value} at position {place}")
