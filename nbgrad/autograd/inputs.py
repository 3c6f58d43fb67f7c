"""What a tensor may be made of: dtypes, and arrays from Python's numbers or other libraries' arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask, on_device, quietly
from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.modes import mode
from nbgrad.place import plug_in_of

__all__ = ["as_array", "as_dtype", "cast", "check_dtype", "integer_dtype"]


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """TypeError unless a tensor may have this dtype: float32, float64, any integer, bool."""
    if not (dtype.kind in "iub" or (dtype.kind == "f" and dtype.itemsize in (4, 8))):
        raise TypeError(f"{name}: expected dtype float32, float64, an integer or bool, got {dtype}")


def as_dtype(dtype: Any, name: str = "dtype") -> np.dtype[Any]:
    """What the caller calls a dtype as one that a tensor may have, in the machine's byte order."""
    try:
        dtype = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"{name}: expected a dtype of NumPy's, got {dtype!r} ({error})") from None
    check_dtype(dtype, name)
    return np.dtype(dtype.type)


def as_array(data: Any, *, copy: bool, dtype: np.dtype[Any] | None = None, name: str = "data") -> Any:
    """What a tensor holds of `data`: an array of a native dtype, or a NumPy scalar where there are no axes.

    Python floats make float32, as in PyTorch; NumPy's float64 and arrays of it stay what they are, and beside them
    Python's numbers become float64 too. With `dtype` all take that, see `cast`. Unless `copy` an array is taken as it
    is, where its bytes are in the machine's order. RuntimeError for a tensor that requires a gradient, also within a
    list: the copy would be outside the graph unseen.
    """
    check_mask(data, name)
    of_tensor = isinstance(data, TensorBase)
    data = _outside_the_graph(data, name) if of_tensor else data
    if mode.recorder is not None and (isinstance(data, np.ndarray) or on_device(data)):
        data = mode.recorder.taken(data)
    if on_device(data):
        array = data if of_tensor else plug_in_of(data).tensor.adopt(data)
        check_dtype(array.dtype, name)
        array = array.copy() if copy else array
    elif isinstance(data, np.ndarray | np.generic):
        check_dtype(data.dtype, name)
        # np.dtype(type) is the dtype object that all other arrays have: dtypes are compared with `is`
        array = np.array(data, np.dtype(data.dtype.type), copy=copy or None)  # a plain one of any subclass
        array = array if array.ndim or (isinstance(data, np.ndarray) and not copy) else array[()]
    else:
        return _of_numbers(data, dtype, name)
    return array if dtype is None else cast(array, dtype, name)


def _outside_the_graph(tensor: Any, name: str) -> Any:
    if tensor._node is not None and mode.enabled:
        raise RuntimeError(
            f"{name}: expected values outside the graph, got a tensor that requires a gradient; in the graph are its "
            "clone(), and stack() of several; outside is its detach()"
        )
    return tensor._data


def _of_numbers(data: Any, dtype: np.dtype[Any] | None, name: str) -> Any:
    """An array of Python's numbers and nested sequences, in which NumPy's arrays and tensors may stand."""
    weak: set[type] = set()  # of Python's numbers
    strong: set[np.dtype[Any]] = set()  # of everything else
    try:
        nested = _plain(data, weak, strong, name)
        array = _joined(nested)
    except (TypeError, ValueError) as error:
        if str(error).startswith(f"{name}: "):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{name}: expected numbers in a regular shape, got {type(data).__name__}: {error}") from None
    kinds = {dtype.kind for dtype in strong} | {np.dtype(number).kind for number in weak}
    if array.dtype.kind in "fO" and kinds and "f" not in kinds:
        # Integers that no dtype holds in common: NumPy makes float64 or objects of them.
        array = np.array(_python_int(np.array(nested, object)), object)
        dtype = integer_dtype([array], name) if dtype is None else dtype
    elif array.dtype.kind == "O":
        array = np.array(nested, np.float64)
    if dtype is None:
        dtype = np.result_type(np.float32, *strong) if array.dtype == np.float64 else array.dtype
    array = cast(array, dtype, name)
    return array if array.ndim else array[()]


_python_int = np.frompyfunc(int, 1, 1)  # np.True_ cannot be compared with 2**63


def _joined(nested: Any) -> Any:
    try:
        return np.array(nested)
    except OverflowError:  # [np.True_, 2**63]: NumPy tries int64, and no other
        return np.array(nested, object)


def _plain(data: Any, weak: set[type], strong: set[np.dtype[Any]], name: str) -> Any:
    """Nested lists of numbers and arrays; their kinds go into the two sets."""
    if type(data) in (float, int, bool):
        weak.add(type(data))
        return data
    if isinstance(data, Sequence) and not isinstance(data, str | bytes) and not _is_buffer(data):
        return [_plain(item, weak, strong, name) for item in data]
    if isinstance(data, float | int) and not isinstance(data, np.generic):  # an IntEnum is a number too
        weak.add(float if isinstance(data, float) else int)
        return data + 0
    check_mask(data, name)
    array = np.asarray(_outside_the_graph(data, name) if isinstance(data, TensorBase) else data)
    check_dtype(array.dtype, name)
    strong.add(array.dtype)
    return array


def _is_buffer(data: Any) -> bool:
    if isinstance(data, list | tuple | range):
        return False
    try:
        memoryview(data)
    except TypeError:
        return False
    return True


def integer_dtype(arrays: Sequence[Any], name: str) -> np.dtype[Any]:
    """int64 or uint64, whichever holds the integers of all the arrays; OverflowError where none does."""
    bounds = [int(bound) for array in arrays if array.size for bound in (array.min(), array.max())]
    low, high = min(bounds, default=0), max(bounds, default=0)
    for dtype in (np.int64, np.uint64):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return np.dtype(dtype)
    raise OverflowError(f"{name}: expected integers that int64 or uint64 holds in common, got {low} and {high}")


def cast(array: Any, dtype: np.dtype[Any], name: str) -> Any:
    """The array, or NumPy scalar, in another dtype; itself where it has it. Floats become integers towards zero.

    OverflowError for a number that the integer dtype does not hold, and ValueError for NaN: NumPy would make another
    number of them.
    """
    if array.dtype is dtype:
        return array
    if dtype.kind in "iu" and array.size and not np.can_cast(array.dtype, dtype):
        limits = np.iinfo(dtype)
        low, high = (bound.item() if hasattr(bound, "item") else bound for bound in (array.min(), array.max()))
        if low != low:
            raise ValueError(f"{name}: expected numbers that {dtype} holds, got NaN")
        if low <= limits.min - 1 or high >= limits.max + 1:
            got = low if low <= limits.min - 1 else high
            raise OverflowError(f"{name}: expected numbers in the range of {dtype}, got {got}")
    return quietly(array.astype, dtype)
