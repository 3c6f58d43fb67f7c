"""What the threads of a group make together of a row's entries: its largest, its sums.

A group is a power of two of threads of a warp, or a whole block (``width`` says which). Sums keep their rounding errors
in a second number of the same precision: float64 units are slow on most GPUs, and float32 alone would lose 2 digits in
a row of 50 000. They are added up in an order that depends on the sizes alone: the same bits on every run.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import BLOCK, WARP
from nbgrad.cuda.device.intrinsics import exchange, of_warps
from nbgrad.cuda.device.lines import Lines, tree, written
from nbgrad.elementary.division import two_sum
from nbgrad.elementary.exponential import times_exp_minus_sums
from nbgrad.formulas import rows
from nbgrad.jit import scalar

__all__ = ["add", "exp_sums", "group_first", "group_sum", "larger", "total", "width_of"]


@functools.cache
def width_of(length: int, ahead: int, widest: int) -> tuple[int, int, int]:
    """(threads for each row of ``length``, at most ``widest``; threads of a block; lines that each reads ahead)"""
    widest, width = min(widest, WARP * WARP) if length > 32 * WARP else WARP, 1
    if length <= 4 * WARP:
        ahead = 1
    while width < widest and width * 4 * ahead < length:
        width *= 2
    return width, BLOCK if width <= WARP else width, ahead


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


@scalar
def plus(a, b):
    return a[0] + b[0], a[1] + b[1]


def _taken(lines: Lines) -> Callable[..., Any]:
    """``taken(held, top, equal, high, low)``: the sums of those that are held, too. They are added up plainly first: of
    32 numbers each goes through 5 roundings.
    """
    numbers = [f"held[{k}][0][{n}]" for k, n in lines.places]
    columns = [f"top{n}" for n in range(lines.size)]
    body = [
        f"{', '.join(columns)} = {', '.join(['top'] * lines.size)}",
        *(f"top{n} = larger({x}, top{n})" for x, (_, n) in zip(numbers, lines.places, strict=True)),  # passes over nan
        f"new = {tree(columns, 'larger({}, {})')}",
        "if new > top:",
        "    high, low, equal, top = lowered(top, equal, high, low, new), zero, zero, new",
        f"same, other = {tree([f'shifted_exp({x}, top)[1:]' for x in numbers], 'plus({}, {})')}",
        "high, low = add(high, low, other, zero)",
        "return top, equal + same, high, low",
    ]
    return written(
        "held, top, equal, high, low", body, zero=lines.zero, larger=larger, lowered=lowered, plus=plus, add=add,
        shifted_exp=rows.shifted_exp,
    )  # fmt: skip


def exp_sums(dtype: Any, ahead: int, whole: bool) -> Callable[..., Any]:
    """``sums(x, place, room)``: (largest, others, held, i) of a row, read once. ``place``: its start and length, the
    thread's lane and the group's width; ``held``, ``i``: what `nbgrad.cuda.device.lines` last read, and where.

    Each thread keeps the sums of its entries below the largest it has met, ``ahead`` lines at a time.
    """
    T: Any = np.dtype(dtype).type
    lines = Lines(dtype, 1, ahead, whole)
    read, taken, turn, unit = lines.read(-T(np.inf)), _taken(lines), lines.turn, lines.size if whole else 1

    @scalar
    def sums(x, place, room):
        start, length, lane, width = place
        top, equal, high, low = -T(np.inf), T(0), T(0), T(0)
        i, end = lane, length // unit
        held = read((x,), (start, i, width, end))
        while True:
            top, equal, high, low = taken(held, top, equal, high, low)
            if i - lane + turn * width >= end:
                break
            i += turn * width
            held = read((x,), (start, i, width, end))
        largest = group_largest(top, width, room)
        if top < largest:
            high, low, equal = lowered(top, equal, high, low, largest), T(0), T(0)
        equal, _ = group_sum(equal, T(0), width, room)
        high, low = group_sum(high, low, width, room)
        return largest, total(*add(equal - T(1), T(0), high, low)), held, i

    return sums
