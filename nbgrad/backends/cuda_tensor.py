"""What a Tensor on "cuda" holds, and its way there and back: CuPy's arrays; under the simulator NumPy's with a mark.

The rules of autograd call NumPy's functions, which hand CuPy's arrays on to CuPy (NumPy's protocols
``__array_ufunc__`` and ``__array_function__``). The marked arrays use the same protocols, so a rule that would mix
the CPU's arrays in, or leave the device, fails in the simulator as on a GPU.
"""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np

from nbgrad.backends import cuda_target

__all__ = ["adopt", "get", "name", "put"]


class Simulated(np.ndarray):
    """An array that stands for one on a GPU. It stays an array where it has no axes, as CuPy's does."""

    __cuda_ndarray__ = True  # Numba's mark: `nbgrad.arrays.on_device` knows it

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        if "out" in keywords:
            keywords["out"] = tuple(map(_plain, keywords["out"]))
        result = getattr(ufunc, method)(*map(_plain, inputs), **keywords)
        return keywords["out"][0].view(Simulated) if "out" in keywords else _marked(result)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        keywords = {key: _plain(value) for key, value in keywords.items()}
        return _marked(function(*map(_plain, args), **keywords))

    def __getitem__(self, key: Any) -> Any:
        return _marked(self.view(np.ndarray)[_key(key)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.view(np.ndarray)[_key(key)] = _plain(value)


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
    return np.asarray(result).view(Simulated) if isinstance(result, (np.ndarray, np.generic)) else result


def name(array: Any) -> str:
    """The device of a tensor's array, as PyTorch writes it."""
    return f"cuda:{cuda_target.device_of(array)}"


def adopt(data: Any) -> Any:
    """The caller's device array as a tensor's array, over the same memory."""
    array = cuda_target.unwrap(data, "data")
    return array.view(Simulated) if cuda_target.SIMULATED else array


def put(array: Any, device: str) -> Any:
    """A tensor's array on this device ("cuda": the current one); itself where it is there already."""
    number = int(device.partition(":")[2]) if ":" in device else None
    with cuda_target.guard():
        if cuda_target.SIMULATED:
            if number:
                raise ValueError(f"device: expected cuda:0, the simulator's only one, got {device}")
            return array if isinstance(array, Simulated) else np.array(array).view(Simulated)
        cupy = cuda_target.module()
        count = cupy.cuda.runtime.getDeviceCount()
        if number is not None and number >= count:
            raise ValueError(f"device: expected a number below {count}, the number of GPUs, got {device}")
        with cupy.cuda.Device(number) if number is not None else contextlib.nullcontext():
            return cupy.asarray(array)


def get(array: Any) -> Any:
    """A copy in the CPU's memory: this waits for the device."""
    if cuda_target.SIMULATED:
        return np.array(array.view(np.ndarray))[()]
    with cuda_target.guard():
        return cuda_target.module().asnumpy(array)[()]
