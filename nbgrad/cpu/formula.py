"""Derived functions of numbers become loops over arrays of one size: results element by element, sums, or both in one
pass.

A block of elements is a function of its own, called by the serial and by the parallel loop: its sums have the same bits
in both. Blocks' sums are added in order, with their rounding errors.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from nbgrad.cpu.elementwise import BLOCK, STREAM
from nbgrad.jit import Loop, outlined, scalar
from nbgrad.jit.intrinsics import address
from nbgrad.jit.memory import LINE, move, stack_array, store_fence, unchecked_view
from nbgrad.jit.vector_map import ROOM, nontemporal_copy, plain_map, vector_map

__all__ = ["Formula", "number", "partials"]

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
def block({arrays}{numbers}start, stop, past):
    {zeros}
    {buffers}
    while start < stop:
        count = min(ROOM, stop - start)
        found = mapped(f, ({inputs}), start, count, ({targets}), 0 if past else start, ({numbers}))
        {add}
        if past:
            {stream}
        start += count
    if past:
        store_fence()
    return {sums}

block = outlined(block)

def loop({arrays}{partials}{numbers}):
    size = {first}.size
    past = {kept} * size * {first}.itemsize >= STREAM
    if size <= BLOCK:
        return block({arrays}{numbers}0, size, past)
    for k in prange(-(-size // BLOCK)):
        found = block({arrays}{numbers}k * BLOCK, min((k + 1) * BLOCK, size), past)
        {keep}
    return {totals}
"""


def _written(f: Callable[..., Any], mapped: Any, inputs: int, kept: int, sums: int, parameters: int) -> Any:
    """The loop of so many arguments, written out: Numba takes microseconds for tuples that come from Python."""
    a, o, p = ([f"{letter}{k}" for k in range(n)] for letter, n in (("a", inputs), ("o", kept), ("p", parameters)))

    def listed(names: list[str]) -> str:
        return "".join(name + ", " for name in names)

    def lines(several: list[str], indent: int) -> str:
        return ("\n" + indent * " ").join(several or ["pass"])

    some = range(sums)
    source = _TEMPLATE.format(
        arrays=listed(a + o), inputs=listed(a), numbers=listed(p), first=a[0], kept=kept,
        partials="partials, " if sums else "",
        zeros=lines([f"s{k} = 0.0" for k in some], 4),
        buffers=lines([f"b{k} = stack_array(o{k}.dtype, ROOM)" for k in range(kept)], 4),
        targets=listed([f"b{k} if past else o{k}" for k in range(kept)]),
        add=lines([f"s{k} += found[{k}]" for k in some], 8),
        stream=lines([f"stream(b{k}, o{k}, start, count)" for k in range(kept)], 12),
        sums=f"({listed([f's{k}' for k in some])})" if sums else "None",
        keep=lines([f"partials[k, {k}] = found[{k}]" for k in some], 8),
        totals=f"({listed([f'total(partials, {k})' for k in some])})" if sums else "None",
    )  # fmt: skip
    scope = {
        "f": f, "mapped": mapped, "outlined": outlined, "prange": prange, "stack_array": stack_array,
        "stream": _stream, "store_fence": store_fence, "total": _total, "BLOCK": BLOCK, "ROOM": ROOM, "STREAM": STREAM,
    }  # fmt: skip
    # What the loop names stands in its closure, of which the disk cache's key is made.
    inner = "\n".join("    " + line for line in source.splitlines())
    whole = f"def make({', '.join(scope)}):\n{inner}\n    return loop\n"
    made: dict[str, Any] = {}
    exec(compile(whole, __file__, "exec"), globals(), made)
    return made["make"](*scope.values())


@outlined
def _stream(buffer, out, start, count):
    """out[start:start + count] = buffer, past the cache but for what fills no line of it."""
    width = LINE // out.itemsize
    lead = min(-(address(out) // out.itemsize + start) % width, count)
    whole = (count - lead) // width * width
    move(buffer, 0, out, start, lead)
    nontemporal_copy(unchecked_view(buffer, lead, whole), out, start + lead, whole)
    move(buffer, lead + whole, out, start + lead + whole, count - lead - whole)


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
