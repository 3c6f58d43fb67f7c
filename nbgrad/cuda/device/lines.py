"""A formula of numbers becomes one of lines: 16 bytes that a thread loads at a time, 4 float32 or 2 float64 numbers.

``a`` is a tuple of 1 or 2 arrays, or of a line of each; ``parameters`` is a tuple, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device.intrinsics import LINE, load
from nbgrad.jit import scalar

__all__ = ["added", "loads", "of_elements", "of_lines", "size_of"]


def size_of(dtype: Any) -> int:
    """Numbers of a line."""
    return LINE // np.dtype(dtype).itemsize


def of_elements(f: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """``at(a, k, parameters)``: f of element k of each of ``a``."""
    if inputs == 1:
        return scalar(lambda a, k, parameters: f(a[0][k], *parameters))
    return scalar(lambda a, k, parameters: f(a[0][k], a[1][k], *parameters))


def of_lines(at: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """``line(a, parameters)``: a function as `of_elements` makes it, for each number of a line."""
    if size_of(dtype) == 2:
        return scalar(lambda a, p: (at(a, 0, p), at(a, 1, p)))
    return scalar(lambda a, p: (at(a, 0, p), at(a, 1, p), at(a, 2, p), at(a, 3, p)))


def loads(inputs: int) -> Callable[..., Any]:
    """``lines(a, start)``: the line from there on of each of the arrays."""
    if inputs == 1:
        return scalar(lambda a, start: (load(a[0], start),))
    return scalar(lambda a, start: (load(a[0], start), load(a[1], start)))


def added(dtype: Any) -> Callable[..., Any]:
    """The sum of a line's numbers."""
    return scalar(lambda v: v[0] + v[1]) if size_of(dtype) == 2 else scalar(lambda v: (v[0] + v[1]) + (v[2] + v[3]))
