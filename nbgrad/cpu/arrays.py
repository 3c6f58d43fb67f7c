"""The array arguments of one call, in the CPU's memory: the same methods as `nbgrad.cuda.arrays`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import as_array, as_float, as_floats, contiguous, output, store

__all__ = ["Arrays", "flat", "fresh_or", "split"]


class Arrays:
    """Checks and conversions; no call keeps anything here, so one object serves all."""

    #: The library of arrays.
    xp = np

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *error: Any) -> None:
        pass

    # Arguments

    as_array = staticmethod(as_array)
    as_float = staticmethod(as_float)
    as_floats = staticmethod(as_floats)

    def cast(self, array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
        """An array in this dtype."""
        return array if array.dtype is dtype else array.astype(dtype, copy=False)

    def quiet(self) -> Any:
        """Within it inf and nan are results like others, as in the compiled loops."""
        return np.errstate(all="ignore")

    def flat(self, array: NDArray[Any]) -> NDArray[Any]:
        """The array's numbers in C order, as the loops take them; copied only where they must be."""
        return contiguous(array).ravel()

    # Results

    def out(self, out: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str = "out") -> Any:
        """The argument that takes the result, checked; None where there is none."""
        if out is not None:
            output(out, shape, dtype, name)
        return out

    def overlap(self, a: NDArray[Any], b: NDArray[Any]) -> bool:
        """Whether two arrays may share memory."""
        return np.may_share_memory(a, b)

    def result(self, result: NDArray[Any], out: NDArray[Any] | None, name: str = "out") -> Any:
        """The result as the caller gets it."""
        if out is None:
            return result[()] if type(result) is np.ndarray and not result.ndim else result
        return store(result, out)


flat = Arrays().flat


def fresh_or(out: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """``out`` where a loop can write to it, else fresh memory."""
    if out is not None and out.flags.carray and out.dtype.isnative:
        return out
    return np.empty(shape, dtype)


def split(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """(number of rows along ``axis``, their length, distance of their entries)"""
    if axis + 1 == len(shape):
        return (1 if axis == 0 else math.prod(shape[:axis])), shape[axis], 1
    inner = math.prod(shape[axis + 1 :])
    return math.prod(shape[:axis]) * inner, shape[axis], inner
