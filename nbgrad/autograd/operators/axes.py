"""Axes and other integers, as an operator's caller gives them."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

__all__ = ["choose_axis", "from_front", "integers"]


def integers(value: Any, name: str) -> Any:
    """An integer as an int, and a sequence of integers, of whatever kind, as a tuple of ints; TypeError for others."""
    if not isinstance(value, tuple | list):
        try:
            return operator.index(value)
        except TypeError:
            pass
    try:
        return tuple(map(operator.index, value))
    except TypeError:
        raise TypeError(f"{name}: expected an integer or a sequence of integers, got {value!r}") from None


def choose_axis(axis: Any, dim: Any, default: int | None = None) -> Any:
    """`axis`, or `dim`, PyTorch's name for it, as an int, a tuple of ints or None; TypeError for both."""
    if dim is not None:
        if axis is not default:
            raise TypeError("axis: give axis or dim, not both")
        axis = dim
    if isinstance(axis, bool):
        raise TypeError(f"axis: expected an integer or a sequence of integers, got {axis}; keepdims comes next")
    return axis if axis is None else integers(axis, "axis")


def from_front(axis: Any, shape: tuple[int, ...], name: str) -> int:
    """An axis counted from the front; AxisError (an IndexError and a ValueError) where there is none such."""
    index = integers(axis, name)
    if not (isinstance(index, int) and -len(shape) <= index < len(shape)):
        raise np.exceptions.AxisError(f"{name}: expected an axis of a tensor of shape {shape}, got {axis}")
    return index % len(shape)
