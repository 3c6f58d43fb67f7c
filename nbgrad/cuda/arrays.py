"""The array arguments of one call, on a GPU: the same methods as `nbgrad.cpu.arrays`.

They become one library's arrays (CuPy's) over the same memory, and the result goes back as
the caller's kind. Copies and broadcasting are that library's work, in the caller's stream. Nothing here waits for the
device.
"""

from __future__ import annotations

import contextlib
from typing import Any, NoReturn

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, check_float, check_out, on_device
from nbgrad.cuda import device

__all__ = ["Arrays"]


class Arrays(contextlib.AbstractContextManager["Arrays"]):
    """One call with arrays on a GPU: within it that GPU and the caller's stream are the current ones.

    ``values``: the array arguments by name, absent ones (None) too. Python's and NumPy's numbers may stand among them.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self.target = device
        self.values = values
        self.arrays: dict[str, Any] = {}

    def __enter__(self) -> Arrays:
        with device.guard():
            self.xp, own = device.module(), device.own_type()
            first = None
            for name, value in self.values.items():
                if type(value) is own:
                    array = value
                elif on_device(value):
                    array = device.unwrap(value, name)
                elif value is None or isinstance(value, (int, float, np.number, np.bool_)):
                    continue
                else:
                    self._refuse(name, value)
                if first is None:
                    first, self.first, self.like = array, name, value
                elif device.device_of(array) != device.device_of(first):
                    raise ValueError(
                        f"{name}: expected an array on CUDA device {device.device_of(first)} as {self.first} is, got "
                        f"one on device {device.device_of(array)}"
                    )
                self.arrays[name] = array
            self._within = device.use(self.like, first)
            self._within.__enter__()
        return self

    def _refuse(self, name: str, value: Any) -> NoReturn:
        first = next(name for name, value in self.values.items() if on_device(value))
        kind = f"{type(value).__module__}.{type(value).__name__}".removeprefix("builtins.")
        raise TypeError(f"{name}: expected a CUDA array as {first} is, got a {kind}")

    def __exit__(self, *error: Any) -> None:
        self._within.__exit__(*error)
        device.guard().__exit__(*error)

    # Arguments

    def as_array(self, value: Any, name: str) -> Any:
        """The argument as an array of whatever dtype."""
        return self.arrays[name] if name in self.arrays else self.xp.asarray(value)

    def as_float(self, value: Any, name: str) -> Any:
        """The argument as a float array: floats keep their precision, integers and bools become float64."""
        array = self.arrays.get(name)
        if array is not None and (array.dtype is FLOAT32 or array.dtype is FLOAT64):
            return array
        return self.as_floats({name: value})[0][0]

    def as_floats(self, values: dict[str, Any]) -> tuple[list[Any], np.dtype[Any]]:
        """Arguments as arrays of one precision: float64 if any is; Python's numbers adapt to the others."""
        if all(name in self.arrays for name in values):
            arrays = [self.arrays[name] for name in values]
            dtype = arrays[0].dtype
            if (dtype is FLOAT32 or dtype is FLOAT64) and all(a.dtype is dtype for a in arrays):
                return arrays, dtype
        arrays, strong = [], []
        for name, value in values.items():
            array = self.arrays.get(name, value)
            arrays.append(array)
            if type(array) not in (float, int, bool):
                dtype = array.dtype if name in self.arrays else np.asarray(array).dtype
                check_float(dtype, name)
                strong.append(dtype)
        dtype = FLOAT32 if strong and all(d == FLOAT32 for d in strong) else FLOAT64
        return [self.cast(array, dtype) for array in arrays], dtype

    def cast(self, array: Any, dtype: Any) -> Any:
        """An array, or a number, in this dtype."""
        if isinstance(array, self.xp.ndarray):
            return array if array.dtype == dtype else array.astype(dtype)
        return self.xp.full((), array, dtype)

    def _contiguous(self, array: Any, shape: tuple[int, ...]) -> Any:
        """The array broadcast to ``shape``, flat and in C order; copied only where it must be."""
        if array.shape != shape:
            array = self.xp.broadcast_to(array, shape)
        if not array.flags.c_contiguous:
            array = self.xp.ascontiguousarray(array)
        return array if array.ndim == 1 else array.reshape(-1)

    def flat(self, array: Any) -> Any:
        """The array's numbers in C order; copied only where they must be."""
        return self._contiguous(array, array.shape)

    def quiet(self) -> Any:
        """Within it NumPy, where it works beside the kernels, does not warn: they do not either."""
        return np.errstate(all="ignore")

    # Results

    def out(self, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out") -> Any:
        """The argument that takes the result, checked; None where there is none."""
        if out is None:
            return None
        if name not in self.arrays:
            raise TypeError(f"{name}: expected a CUDA array as {self.first} is, got {type(out).__name__}")
        check_out(self.arrays[name], shape, dtype, name)
        return self.arrays[name]

    def _room(self, out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any, in_place: bool = True) -> Any:
        """Where a kernel writes: ``out`` if it is contiguous and overlaps no input (``in_place``: other than element by
        element), else fresh memory.
        """
        if out is not None and out.flags.c_contiguous and not any(self._clash(out, a, in_place) for a in inputs):
            return out
        return self.xp.empty(shape, dtype)

    def _clash(self, out: Any, array: Any, in_place: bool) -> bool:
        same = self.target.address(out) == self.target.address(array) and out.nbytes == array.nbytes
        return not (in_place and same) and self.overlap(out, array)

    def overlap(self, a: Any, b: Any) -> bool:
        """Whether two arrays may share memory."""
        if a.flags.c_contiguous and b.flags.c_contiguous:
            start, other = self.target.address(a), self.target.address(b)
            return bool(start < other + b.nbytes and other < start + a.nbytes)
        return bool(self.xp.may_share_memory(a, b))

    def result(self, result: Any, out: Any, name: str = "out") -> Any:
        """The result as the caller gets it: in ``out`` if given, else as the caller's kind of array."""
        if out is None:
            return self.target.restore(result, self.like)
        if result is not out:
            out[...] = result
        return self.values[name]
