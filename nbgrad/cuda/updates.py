"""The optimisers' updates on CUDA: one pass over a parameter, its gradient and what is remembered of it."""

from __future__ import annotations

import functools
from typing import Any

from nbgrad.cuda.device import kernel, launch_each, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas.updates import UPDATES

__all__ = ["run"]


@functools.cache
def update(name: str) -> Any:
    """``kernel(p, g, *memory, numbers)``"""
    step = UPDATES[name].step

    def none(p, g, numbers):
        i = block() * block_size() + thread()
        while i < p.size:
            p[i] = step(p[i], g[i], *numbers)
            i += block_size() * blocks()

    def one(p, g, a, numbers):
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i] = step(p[i], g[i], a[i], *numbers)
            i += block_size() * blocks()

    def two(p, g, a, b, numbers):
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i], b[i] = step(p[i], g[i], a[i], b[i], *numbers)
            i += block_size() * blocks()

    def three(p, g, a, b, c, numbers):
        i = block() * block_size() + thread()
        while i < p.size:
            p[i], a[i], b[i], c[i] = step(p[i], g[i], a[i], b[i], c[i], *numbers)
            i += block_size() * blocks()

    return kernel((none, one, two, three)[len(UPDATES[name].memory)])


def run(name: str, arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """Update flat, contiguous arrays of one size, the parameter first, in place."""
    with use(arrays[0], arrays[0]):
        launch_each(update(name), arrays[0].size, *arrays, numbers)
