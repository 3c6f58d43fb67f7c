"""What a Tensor on "cuda" holds, and its way there and back: CuPy's arrays; under the simulator NumPy's with a mark.

The rules of autograd call NumPy's functions, which hand CuPy's arrays on to CuPy (NumPy's protocols
``__array_ufunc__`` and ``__array_function__``). The marked arrays use the same protocols, so a rule that would mix
the CPU's arrays in, leave the device, or ask for what CuPy does not have, fails in the simulator as on a GPU.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from nbgrad.cuda import driver as cuda_target

__all__ = ["USED", "adopt", "apart", "empty", "get", "name", "overlap", "put", "zeros"]

#: NumPy's functions that the rules call with a GPU's arrays: CuPy has each (``tests/cuda/test_ptx.py`` asks it).
USED = frozenset(
    """absolute add argmax argmin broadcast_to clip concatenate divide equal exp expand_dims floor_divide greater
    greater_equal less less_equal log logaddexp matmul maximum minimum moveaxis multiply negative not_equal ones_like
    power put_along_axis remainder reshape shape sign split sqrt square stack subtract swapaxes take_along_axis where
    bitwise_and bitwise_or bitwise_xor invert""".split()
)


class Simulated(np.ndarray):
    """An array that stands for one on a GPU. It stays an array where it has no axes, as CuPy's does."""

    __cuda_ndarray__ = True  # Numba's mark: `nbgrad.arrays.on_device` knows it

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        _check(ufunc.__name__, method in ("__call__", "reduce"))  # `reduce`: what the method `sum` does
        out = keywords.get("out")
        if out is not None:
            keywords["out"] = tuple(map(_plain, out))
        result = getattr(ufunc, method)(*map(_plain, inputs), **keywords)
        return _marked(result) if out is None or out[0] is None else out[0]

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        _check(function.__name__)
        keywords = {key: _plain(value) for key, value in keywords.items()}
        return _marked(function(*map(_plain, args), **keywords))

    def __repr__(self) -> str:
        return f"Simulated({self.view(np.ndarray)!r})"

    def __getitem__(self, key: Any) -> Any:
        return _marked(self.view(np.ndarray)[_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        if isinstance(value, Simulated) and np.may_share_memory(self.view(np.ndarray), value.view(np.ndarray)):
            raise RuntimeError("a copy between parts that overlap: what CuPy makes of it is undefined")
        self.view(np.ndarray)[_key(key)] = _plain(value)


def _check(name: str, known: bool = True) -> None:
    if not known or name not in USED:
        raise TypeError(f"numpy.{name}: not among the functions that tensors on a GPU use (cuda_tensor.USED)")


def _key(key: Any) -> Any:
    parts = key if isinstance(key, tuple) else (key,)
    parts = tuple(part.view(np.ndarray) if isinstance(part, Simulated) else part for part in parts)
    return parts if isinstance(key, tuple) else parts[0]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    if isinstance(value, Simulated):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray):
        raise TypeError("expected an array on the simulated device, got a NumPy array")
    return value


def _marked(result: Any) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(map(_marked, result))
    if not isinstance(result, (np.ndarray, np.generic)):
        return result
    return simulated(result) if getattr(result, "base", None) is None else result.view(Simulated)


def simulated(array: Any) -> Simulated:
    """A copy on the simulated device, which owns its memory; in the array's order, as CuPy's results are."""
    fortran = isinstance(array, np.ndarray) and array.flags.f_contiguous and not array.flags.c_contiguous
    out = Simulated(np.shape(array), array.dtype, order="F" if fortran else "C")
    out[...] = array if isinstance(array, np.generic) else array.view(Simulated)
    return out


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An array in C order."""
    return Simulated(shape, dtype) if cuda_target.SIMULATED else cuda_target.module().empty(shape, dtype)


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
    return bool(cuda_target.module().may_share_memory(_of(a), _of(b)))


def _of(array: Any) -> Any:
    return array.view(np.ndarray) if cuda_target.SIMULATED else array


def name(array: Any) -> str:
    """The device of a tensor's array, as PyTorch writes it."""
    return f"cuda:{cuda_target.device_of(array)}"


def adopt(data: Any) -> Any:
    """The caller's device array as a tensor's array, over the same memory."""
    array = cuda_target.unwrap(data, "data")
    cuda_target.after(data)
    return array.view(Simulated) if cuda_target.SIMULATED else array


def put(array: Any, device: str) -> Any:
    """A tensor's array on this device ("cuda": the current one); itself where it is there already."""
    number = int(device.partition(":")[2]) if ":" in device else None
    with cuda_target.guard():
        if cuda_target.SIMULATED:
            if number:
                raise ValueError(f"device: expected cuda:0, the simulator's only one, got {device}")
            return array if isinstance(array, Simulated) else simulated(array)
        cupy = cuda_target.module()
        count = cupy.cuda.runtime.getDeviceCount()
        if number is not None and number >= count:
            raise ValueError(f"device: expected a number below {count}, the number of GPUs, got {device}")
        if isinstance(array, cupy.ndarray) and number in (None, array.device.id):
            return array
        with cupy.cuda.Device(number) if number is not None else contextlib.nullcontext():
            return cupy.asarray(array)


def get(array: Any) -> Any:
    """A copy in the CPU's memory: this waits for the device."""
    if cuda_target.SIMULATED:
        return np.array(array.view(np.ndarray))[()]
    with cuda_target.guard():
        return cuda_target.module().asnumpy(array)[()]
