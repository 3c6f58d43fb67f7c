"""The optimisers' updates on CUDA: one pass over a parameter, its gradient and what is remembered of it."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from nbgrad.cuda.device import kernel, launch_each, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas.updates import UPDATES
from nbgrad.jit import scalar

__all__ = ["run"]


@scalar
def _two(n):
    return n[0], n[1]


@scalar
def _three(n):
    return n[0], n[1], n[2]


@scalar
def _seven(n):
    return n[0], n[1], n[2], n[3], n[4], n[5], n[6]


#: An optimiser's numbers as a tuple, by how many there are.
_UNPACK = {2: _two, 3: _three, 7: _seven}


@functools.cache
def update(name: str) -> Any:
    """``kernel(p, g, *memory, numbers)``, the numbers a tuple, or an array on the GPU."""
    step, memory = UPDATES[name].step, UPDATES[name].memory
    unpack = _UNPACK[len(inspect.signature(step).parameters) - 2 - len(memory)]

    def none(p, g, numbers):
        n = unpack(numbers)
        i = block() * block_size() + thread()
        while i < p.size:
            p[i] = step(p[i], g[i], *n)
            i += block_size() * blocks()

    def one(p, g, a, numbers):
        n = unpack(numbers)
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i] = step(p[i], g[i], a[i], *n)
            i += block_size() * blocks()

    def two(p, g, a, b, numbers):
        n = unpack(numbers)
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i], b[i] = step(p[i], g[i], a[i], b[i], *n)
            i += block_size() * blocks()

    def three(p, g, a, b, c, numbers):
        n = unpack(numbers)
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i], b[i], c[i] = step(p[i], g[i], a[i], b[i], c[i], *n)
            i += block_size() * blocks()

    return kernel((none, one, two, three)[len(memory)])


def run(name: str, arrays: tuple[Any, ...], numbers: Any) -> None:
    """Update flat, contiguous arrays of one size, the parameter first, in place. ``numbers``: a tuple, or what
    `nbgrad.cuda.captures.Run.numbers` made of it.
    """
    with use(arrays[0], arrays[0]):
        launch_each(update(name), arrays[0].size, *arrays, getattr(numbers, "array", numbers))
