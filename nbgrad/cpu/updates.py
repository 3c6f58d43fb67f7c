"""The optimisers' updates on the CPU: one compiled pass over a parameter, its gradient and what is remembered of it.

NumPy's fifteen passes for Adam take twice as long (269 000 weights, one thread).
"""

from __future__ import annotations

import functools
from typing import Any

from numba import prange

from nbgrad.formulas.updates import UPDATES
from nbgrad.jit import Loop

__all__ = ["run"]


@functools.cache
def _loop(name: str) -> Loop:
    """``loop(work, p, g, *memory, *numbers)``"""
    step = UPDATES[name].step

    def none(p, g, *numbers):
        for i in prange(p.size):
            p[i] = step(p[i], g[i], *numbers)

    def one(p, g, a, *numbers):
        for i in prange(p.size):
            p[i], a[i] = step(p[i], g[i], a[i], *numbers)

    def two(p, g, a, b, *numbers):
        for i in prange(p.size):
            p[i], a[i], b[i] = step(p[i], g[i], a[i], b[i], *numbers)

    def three(p, g, a, b, c, *numbers):
        for i in prange(p.size):
            p[i], a[i], b[i], c[i] = step(p[i], g[i], a[i], b[i], c[i], *numbers)

    # Serial up to 4 million weights. An update follows matrix products whose BLAS threads are still spinning: see
    # `nbgrad.jit.serial_loops`.
    return Loop((none, one, two, three)[len(UPDATES[name].memory)], name=name, threshold=1 << 22)


def run(name: str, arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """Update flat, contiguous arrays of one size, the parameter first, in place."""
    _loop(name)(arrays[0].size, *arrays, *numbers)
