"""Derived functions of numbers become loops over arrays of one size: results element by element, sums, or both in one
pass.

A block of elements is a function of its own, called by the serial and by the parallel loop: its sums have the same bits
in both. Blocks' sums are added in order, with their rounding errors. (Nothing is written past the cache: value and
three gradients of 16.7 million numbers, from three arrays into three, take 19 ms so and 32 ms with streamed stores, a
copy of as many bytes 15.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numba import prange

from nbgrad.cpu.elementwise import BLOCK
from nbgrad.jit import Loop, outlined, scalar
from nbgrad.jit.vector_map import ROOM, plain_map, vector_map

__all__ = ["Formula", "listed", "made", "number", "of_sums", "partials"]

_NONE = np.empty((0, 0))


def partials(size: int, sums: int) -> Any:
    """Where the loop keeps the sums of its blocks, in float64."""
    return _NONE if size <= BLOCK else np.empty((-(-size // BLOCK), sums))


class Formula:
    """``formula(size, inputs, outs, parameters)``, tuples of contiguous 1-D arrays of this size and of numbers:
    outs[k][i] = the k-th number that f(inputs[0][i], ..., *parameters) returns; of those beyond ``kept`` the sums are
    returned. ``vectorized``: f has no loop. ``loop``: called with all of them in a row, `partials` after the outs where
    there are sums.
    """

    def __init__(
        self, f: Callable[..., Any], name: str, inputs: int, kept: int, sums: int, parameters: int, vectorized: bool
    ) -> None:
        self.sums = sums
        mapped = vector_map if vectorized else plain_map
        self.loop = Loop(_written(scalar(f), mapped, inputs, kept, sums, parameters), name=name)

    def __call__(self, size: int, inputs: Any, outs: Any, parameters: tuple[Any, ...]) -> Any:
        if not self.sums:
            self.loop(size, *inputs, *outs, *parameters)
            return ()
        return self.loop(size, *inputs, *outs, partials(size, self.sums), *parameters)


_TEMPLATE = """
def block({arrays}{numbers}start, stop):
    {zeros}
    while start < stop:
        count = min(ROOM, stop - start)
        found = mapped(f, ({inputs}), start, count, ({outs}), start, ({numbers}))
        {add}
        start += count
    return {sums}

block = outlined(block)

def loop({arrays}{partials}{numbers}):
    size = {first}.size
    if size <= BLOCK:
        return block({arrays}{numbers}0, size)
    for k in prange(-(-size // BLOCK)):
        found = block({arrays}{numbers}k * BLOCK, min((k + 1) * BLOCK, size))
        {keep}
    return {totals}
"""


def _written(f: Callable[..., Any], mapped: Any, inputs: int, kept: int, sums: int, parameters: int) -> Any:
    """The loop of so many arguments, written out: Numba takes microseconds for tuples that come from Python."""
    a, o, p = ([f"{letter}{k}" for k in range(n)] for letter, n in (("a", inputs), ("o", kept), ("p", parameters)))
    source = _TEMPLATE.format(
        arrays=listed(a + o), inputs=listed(a), outs=listed(o), numbers=listed(p), first=a[0], **of_sums(sums)
    )
    scope = {"f": f, "mapped": mapped}
    return made(source, scope, __file__)


def listed(names: Iterable[str]) -> str:
    return "".join(name + ", " for name in names)


def of_sums(sums: int) -> dict[str, str]:
    """The parts of a template that speak of sums."""
    some = range(sums)

    def lines(several: list[str], indent: int) -> str:
        return ("\n" + indent * " ").join(several or ["pass"])

    return {
        "partials": "partials, " if sums else "",
        "zeros": lines([f"s{k} = 0.0" for k in some], 4),
        "add": lines([f"s{k} += found[{k}]" for k in some], 8),
        "sums": f"({listed(f's{k}' for k in some)})" if sums else "None",
        "keep": lines([f"partials[k, {k}] = found[{k}]" for k in some], 8),
        "totals": f"({listed(f'total(partials, {k})' for k in some)})" if sums else "None",
    }


def made(source: str, scope: dict[str, Any], file: str) -> Any:
    """The function ``loop`` of a source. What it names stands in its closure, of which the disk cache's key is made."""
    scope = scope | {"outlined": outlined, "prange": prange, "total": _total, "BLOCK": BLOCK, "ROOM": ROOM}
    inner = "\n".join("    " + line for line in source.splitlines())
    whole = f"def make({', '.join(scope)}):\n{inner}\n    return loop\n"
    space: dict[str, Any] = {"__name__": __name__}
    exec(compile(whole, file, "exec"), space)
    return space["make"](*scope.values())


@outlined
def _total(partials, k):
    """The sum of a column, in order, with its rounding errors (Knuth, The Art of Computer Programming 2, 4.2.2)."""
    high = low = 0.0
    for i in range(len(partials)):
        x = partials[i, k]
        t = high + x
        own = t - high
        low += (high - (t - own)) + (x - own)
        high = t
    return high + low if abs(high) < math.inf else high  # inf and nan are results like others


def number(f: Callable[..., Any], name: str) -> Loop:
    """``number.serial(*arguments)``: the function itself, compiled, on numbers."""
    scalar(f)

    def call(*arguments):
        return f(*arguments)

    return Loop(call, name=name + "_number")
