"""What the threads of a group make together of a row's entries: its largest, its sums.

A group is a power of two of threads of a warp, or a whole block (``width`` says which). Sums keep their rounding errors
in a second number of the same precision: float64 units are slow on most GPUs, and float32 alone would lose 2 digits in
a row of 50 000. They are added up in an order that depends on the sizes alone: the same bits on every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import BLOCK, PER_LANE, WARP
from nbgrad.cuda.device.intrinsics import LINE, exchange, load, of_warps
from nbgrad.elementary.division import two_sum
from nbgrad.elementary.exponential import times_exp_minus_sums
from nbgrad.formulas import rows
from nbgrad.jit import scalar

__all__ = ["add", "exp_sums", "group_first", "group_sum", "larger", "total", "width_of"]


def width_of(length: int) -> tuple[int, int]:
    """(threads for each row of ``length``, threads of a block)"""
    if length > PER_LANE * WARP:
        block = 2 * BLOCK if length > 8192 else BLOCK  # 1024 threads would have to do with 64 registers each
        return block, block
    width = 1
    while width < WARP and width * 4 < length:
        width *= 2
    return width, BLOCK


@scalar
def add(high, low, other, other_low):
    """The sum of two numbers of two parts."""
    s, rest = two_sum(high, other)
    return s, rest + (low + other_low)


@scalar
def total(high, low):
    """One number of two parts. (The rest of an infinite sum is nan.)"""
    return high + low if low == low else high


@scalar
def larger(a, b):
    """The larger number; b where a is nan."""
    return a if a > b else b


@scalar
def group_largest(value, width, room):
    distance = (width if width < WARP else WARP) // 2
    while distance > 0:
        value = larger(exchange(value, distance), value)
        distance //= 2
    if width > WARP:
        value = of_warps(value, room)
        distance = width // WARP // 2
        while distance > 0:
            value = larger(exchange(value, distance), value)
            distance //= 2
    return value


@scalar
def group_sum(high, low, width, room):
    """The group's sum, in two parts."""
    distance = (width if width < WARP else WARP) // 2
    while distance > 0:
        other = exchange(high, distance)
        other_low = exchange(low, distance)
        high, low = add(high, low, other, other_low)
        distance //= 2
    if width > WARP:
        high = of_warps(high, room)
        low = of_warps(low, room)
        distance = width // WARP // 2
        while distance > 0:
            other = exchange(high, distance)
            other_low = exchange(low, distance)
            high, low = add(high, low, other, other_low)
            distance //= 2
    return high, low


@scalar
def group_first(index, width, room):
    """The smallest of the group's numbers."""
    distance = (width if width < WARP else WARP) // 2
    while distance > 0:
        other = exchange(index, distance)
        index = other if other < index else index
        distance //= 2
    if width > WARP:
        index = of_warps(index, room)
        distance = width // WARP // 2
        while distance > 0:
            other = exchange(index, distance)
            index = other if other < index else index
            distance //= 2
    return index


@scalar
def lowered(top, equal, high, low, new):
    """(equal + high + low)·e^(top − new) for new > top: what a sum becomes when a larger entry comes. To 0.6 ulp, the
    rounding of the difference put right, so that many of them do no harm.
    """
    T = type(new)
    s, rest = two_sum(high, equal)
    d, d_rest = two_sum(new, -top)
    return times_exp_minus_sums(s, rest + low, d, d_rest if d < T(np.inf) else T(0))


def exp_sums(dtype: Any) -> Callable[..., Any]:
    """``sums(x, place, room)``: (largest, others) of a row, read once. ``place``: its start, length and lines, the
    thread's lane and the group's width.

    Each thread keeps the sums of its entries below the largest it has met, a line of 16 bytes at a time.
    """
    T: Any = np.dtype(dtype).type
    width_of_line = LINE // np.dtype(dtype).itemsize

    @scalar
    def one(x, top, equal, high, low):
        if x > top:
            high, low, equal, top = lowered(top, equal, high, low, x), T(0), T(0), x
        _, same, other = rows.shifted_exp(x, top)
        high, low = add(high, low, other, T(0))
        return top, equal + same, high, low

    @scalar
    def pair(a, top, equal, high, low):
        new = larger(a[0], larger(a[1], top))
        if new > top:
            high, low, equal, top = lowered(top, equal, high, low, new), T(0), T(0), new
        _, same_0, other_0 = rows.shifted_exp(a[0], top)
        _, same_1, other_1 = rows.shifted_exp(a[1], top)
        high, low = add(high, low, other_0 + other_1, T(0))
        return top, equal + (same_0 + same_1), high, low

    @scalar
    def four(a, top, equal, high, low):
        new = larger(larger(a[0], a[1]), larger(a[2], larger(a[3], top)))
        new = larger(a[1], larger(a[0], new))  # where nan hid one of them
        if new > top:
            high, low, equal, top = lowered(top, equal, high, low, new), T(0), T(0), new
        _, same_0, other_0 = rows.shifted_exp(a[0], top)
        _, same_1, other_1 = rows.shifted_exp(a[1], top)
        _, same_2, other_2 = rows.shifted_exp(a[2], top)
        _, same_3, other_3 = rows.shifted_exp(a[3], top)
        high, low = add(high, low, (other_0 + other_1) + (other_2 + other_3), T(0))
        return top, equal + ((same_0 + same_1) + (same_2 + same_3)), high, low

    line = pair if width_of_line == 2 else four

    @scalar
    def sums(x, place, room):
        start, length, lines, lane, width = place
        top, equal, high, low = -T(np.inf), T(0), T(0), T(0)
        j = lane
        while j < lines:
            top, equal, high, low = line(load(x, start + j * width_of_line), top, equal, high, low)
            j += width
        j = lines * width_of_line + lane
        while j < length:
            top, equal, high, low = one(x[start + j], top, equal, high, low)
            j += width
        largest = group_largest(top, width, room)
        if top < largest:
            high, low, equal = lowered(top, equal, high, low, largest), T(0), T(0)
        equal, _ = group_sum(equal, T(0), width, room)
        high, low = group_sum(high, low, width, room)
        return largest, total(*add(equal - T(1), T(0), high, low))

    return sums
