"""In which precision a function is differenced.

float32 code that takes float64 is differenced in float64; float64 code in long double, where the function takes it
and long double is wider (it is not on Windows and on ARM Macs); code of plain NumPy functions also in mpmath's
numbers of 150 or 450 digits (`wide.py`).
Otherwise the function's own precision has to do, with the error bars that come of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["DIGITS", "Precision", "evaluated", "part_of", "widened", "wider"]

LONG_DOUBLE = np.dtype(np.longdouble)
#: Digits in which even a difference at the smallest number keeps a hundred.
DIGITS = {2: 150, 4: 150, 8: 450}


class Precision:
    """A function at one point, in one precision: ``value`` there, and `at` other points."""

    def __init__(self, name: str, function: Callable[..., Any], arrays: Sequence[Any], value: Any, dtype: Any) -> None:
        self.name, self.function, self.arrays, self.value = name, function, list(arrays), value
        info = np.finfo(dtype)
        self.dtype, self.eps, self.tiny = np.dtype(dtype), float(info.eps), float(info.smallest_subnormal)
        #: in which differences are computed
        self.work = LONG_DOUBLE if self.dtype == LONG_DOUBLE else np.dtype(np.float64)

    def at(self, position: int, moved: Any) -> Any:
        """The values with ``moved`` for argument ``position``; nan where the function does not take it."""
        arrays = list(self.arrays)
        arrays[position] = moved
        value = evaluated(self.function, arrays)
        if value is None or value.shape != self.value.shape:
            return np.full(self.value.shape, np.nan, self.work)
        return value.astype(self.work, copy=False)

    def of(self, places: Any, shape: Any) -> Precision | None:
        """The function of a part of the elements alone, of an elementwise one; None if it does not take them."""
        arrays = part_of(self.arrays, places, shape)
        value = evaluated(self.function, arrays)
        if value is None or value.dtype != self.value.dtype:
            return None
        if not np.array_equal(value, self.value.ravel()[places], equal_nan=True):
            return None
        return Precision(self.name, self.function, arrays, value, self.dtype)


def part_of(arrays: Sequence[Any], places: Any, shape: Any) -> list[Any]:
    """The elements ``places`` (flat indices) of all the arrays of that shape, in one dimension."""
    return [a.ravel()[places] if isinstance(a, np.ndarray) and a.shape == shape else a for a in arrays]


def evaluated(function: Callable[..., Any], arrays: Sequence[Any]) -> Any:
    """The function's values as an array; None if it raises: at points of the oracle's choice that is no fault of it."""
    try:
        with np.errstate(all="ignore"):
            return np.asarray(function(*arrays))
    except Exception:
        return None


def widened(arrays: Sequence[Any], dtype: Any) -> list[Any]:
    """The float arrays among the arguments in another dtype."""
    return [a.astype(dtype, order="C") if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a for a in arrays]


def wider(function: Callable[..., Any], arrays: Sequence[Any], value: Any) -> list[Precision]:
    """The precisions in which the function can be differenced, the cheapest first; its own one if there is no other."""
    own = value.dtype
    narrower = any(np.finfo(a.dtype).eps > np.finfo(own).eps for a in arrays if a.dtype.kind == "f")
    found = []
    for name, dtype in (("float64", np.dtype(np.float64)), ("long double", LONG_DOUBLE)):
        # float64 made of float32 is differenced at float64's points.
        if np.finfo(dtype).eps > np.finfo(own).eps or (dtype == own and not narrower):
            continue
        wide = widened(arrays, dtype)
        there = evaluated(function, wide)
        if there is not None and there.dtype == dtype and _same(there, value):
            found.append(Precision(name, function, wide, there, dtype))
    name = "long double" if own == LONG_DOUBLE else own.name
    return found or [Precision(name, function, list(arrays), value, own)]


def _same(there: Any, value: Any) -> bool:
    """Whether the wider values are those of the same function: 1/64 apart, or a rounding error of the largest."""
    if there.shape != value.shape:
        return False
    with np.errstate(all="ignore"):
        tiny = float(np.finfo(value.dtype).tiny)
        there, value = there.astype(np.float64), value.astype(np.float64)
        both = np.isfinite(there) & np.isfinite(value)
        size = np.abs(value[both]).max(initial=0)
        room = 2.0**-6 * np.abs(value) + 2.0**-10 * size + tiny
        return bool((np.abs(there - value) <= room)[both].all())
