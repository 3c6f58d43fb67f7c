"""Dropout on a GPU: which elements are kept follows from a seed and the element's number, as on the CPU."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import here, kernel, launch_each, module, restore, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas.random import HALF, LOW, least, philox

__all__ = ["draw", "kept"]


@functools.cache
def _kernel(dtype: Any) -> Any:
    """``kernel(out, seed, least, scale)``: out = scale where what is drawn reaches ``least``, else 0; ``seed``: its two
    halves.
    """
    zero = dtype.type(0)

    def kept(out, seed, least, scale):
        low_seed, high_seed = seed[0], seed[1]
        i = block() * block_size() + thread()
        while i < out.size:
            number = np.uint64(i)
            drawn = philox(number & LOW, (number >> HALF) ^ high_seed, low_seed)
            out[i] = scale if drawn >= least else zero
            i += block_size() * blocks()

    return kernel(kept)


def draw(rng: np.random.Generator) -> tuple[np.uint64, np.uint64]:
    """A seed's two halves."""
    seed = int(rng.integers(1 << 63))
    return np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)


def kept(rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
    """An array like ``like``: 0 with probability p, else ``scale``."""
    halves: Any = draw(rng)
    with use(like, like):
        if here.run is not None:
            slot = here.run.numbers(halves)
            here.run.seeds.append((rng, slot))
            halves = slot.array
        out = module().empty(like.shape, like.dtype)
        launch_each(_kernel(like.dtype), out.size, out.reshape(-1), halves, least(p), like.dtype.type(scale))
        return restore(out, like)
