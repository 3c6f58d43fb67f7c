"""Derived functions of numbers become loops over arrays of one size: results element by element, sums, or both in one
pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from nbgrad.cpu.elementwise import BLOCK
from nbgrad.jit import Loop, scalar
from nbgrad.jit.vector_map import plain_map, vector_map

__all__ = ["Formula", "number"]


class Formula:
    """``formula(size, inputs, outs, parameters)``, tuples of contiguous 1-D arrays of this size and of numbers:
    outs[k][i] = the k-th number that f(inputs[0][i], ..., *parameters) returns; of those beyond ``kept`` the sums are
    returned. ``vectorized``: f has no loop.
    """

    def __init__(self, f: Callable[..., Any], name: str, inputs: int, kept: int, sums: int, vectorized: bool) -> None:
        self.sums, self.loop = sums, _loop(scalar(f), name, bool(sums), vector_map if vectorized else plain_map)

    def __call__(self, size: int, inputs: Any, outs: Any, parameters: tuple[Any, ...]) -> list[float]:
        if not self.sums:
            self.loop(size, inputs, outs, parameters)
            return []
        # The sums of each block, in float64.
        partials = np.empty((-(-size // BLOCK), self.sums))
        self.loop(size, inputs, outs, partials, parameters)
        return _totals(partials)


def _loop(f: Callable[..., Any], name: str, sums: bool, mapped: Any) -> Loop:
    def elementwise(inputs, outs, parameters):
        size = inputs[0].size
        for block in prange(-(-size // BLOCK)):
            start = block * BLOCK
            mapped(f, inputs, start, min(BLOCK, size - start), outs, start, parameters)

    def summed(inputs, outs, partials, parameters):
        size = inputs[0].size
        for block in prange(partials.shape[0]):
            start = block * BLOCK
            parts = mapped(f, inputs, start, min(BLOCK, size - start), outs, start, parameters)
            for k in range(len(parts)):
                partials[block, k] = parts[k]

    return Loop(summed if sums else elementwise, name=name)


def number(f: Callable[..., Any], name: str) -> Loop:
    """``number.serial(*arguments)``: the function itself, compiled, on numbers."""
    scalar(f)

    def call(*arguments):
        return f(*arguments)

    return Loop(call, name=name + "_number")


def _totals(partials: Any) -> list[float]:
    """The sums over all blocks, exact but for one rounding: in no order, and the same for any number of threads."""
    if len(partials) == 1:
        return partials[0].tolist()  # type: ignore[no-any-return]
    return [_sum(column) for column in partials.T.tolist()]


def _sum(numbers: list[float]) -> float:
    try:
        return math.fsum(numbers)
    except (OverflowError, ValueError):  # inf and nan are results like others
        return float(np.add.reduce(numbers))
