"""What an argument may be that is no array: numbers, choices, axes; and every error about one."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = [
    "GELUS", "REDUCTIONS", "check_choice", "check_integer", "check_number", "kept_shape", "normalize_axes",
    "normalize_axis", "plain",
]  # fmt: skip

#: What a parameter may have to be beside a real number; nan is none of it.
RANGES = {"> 0": lambda value: value > 0, "in 0..1": lambda value: 0 <= value <= 1}

#: What losses take as ``reduction``, and `gelu` as ``approximate``.
REDUCTIONS, GELUS = ("mean", "sum", "none"), ("none", "tanh")


def plain(value: Any) -> Any:
    """The number in a NumPy array of no dimension, as it is now; anything else as it is."""
    if isinstance(value, np.ndarray) and not value.ndim and not isinstance(value, np.ma.MaskedArray):
        return value[()]
    return value


def check_number(value: Any, name: str, dtype: np.dtype[Any], expected: str = "") -> Any:
    """A real number (a parameter), of Python's or NumPy's, also in an array of no dimension, in the precision
    ``dtype``; in the range that ``expected`` names, one of `RANGES`.
    """
    usual = type(value) is float and 1e-30 < abs(value) < 1e30  # in both precisions: raises no flag
    if not usual:
        value = plain(value)
        if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
            raise TypeError(f"{name}: expected a real number, got {type(value).__name__}")
    if expected and not RANGES[expected](value):
        raise ValueError(f"{name}: expected a number {expected}, got {value}")
    if usual:
        return dtype.type(value)
    try:
        with np.errstate(all="ignore", over="raise"):  # 0.7 µs
            return dtype.type(value)
    except (OverflowError, FloatingPointError):
        raise ValueError(f"{name}: expected a number in the range of {dtype}, got a larger one") from None


def check_integer(value: Any, name: str) -> int:
    """An integer (of Python's, NumPy's, or an array of no dimension), not a bool."""
    if type(value) is int:
        return value
    try:
        if not isinstance(value, (bool, np.bool_)) and getattr(value, "dtype", None) != np.bool_:
            return operator.index(value)
    except TypeError:
        pass
    raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")


def check_choice(value: Any, name: str, choices: tuple[str, ...]) -> None:
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")


def normalize_axis(axis: Any, ndim: int, name: str = "axis") -> int:
    """``axis`` counted from the front."""
    index = check_integer(axis, name)
    if ndim == 0:
        raise ValueError(f"{name}: expected an array of at least 1 dimension to go along, got a number")
    if not -ndim <= index < ndim:
        raise ValueError(f"{name}: expected {-ndim}..{ndim - 1} for {ndim} dimensions, got {index}")
    return index % ndim


def normalize_axes(axis: Any, ndim: int, name: str = "axis") -> tuple[int, ...]:
    """One axis or several, or all (None), counted from the front, in order."""
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if axis is None:
        return tuple(range(ndim))
    if not isinstance(axis, (tuple, list)):
        return (normalize_axis(axis, ndim, name),)
    axes = sorted(normalize_axis(a, ndim, name) for a in axis)
    if len(set(axes)) != len(axes):
        raise ValueError(f"{name}: expected different axes, got {tuple(axis)} for {ndim} dimensions")
    return tuple(axes)


def kept_shape(shape: tuple[int, ...], axes: tuple[int, ...], keepdims: Any) -> tuple[int, ...]:
    """The shape without these axes, or with a length of 1 for them."""
    if not isinstance(keepdims, (bool, np.bool_)):
        raise TypeError(f"keepdims: expected a bool, got {type(keepdims).__name__}")
    return tuple(1 if a in axes else n for a, n in enumerate(shape) if keepdims or a not in axes)
