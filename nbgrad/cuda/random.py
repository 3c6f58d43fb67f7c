"""Random numbers on a GPU for dropout: a function of a seed and of the element's number, without a state.

So a training that goes on from a checkpoint, which holds the CPU's generator, draws what an unbroken one draws; CuPy's
generators keep their state on the device.

Source: J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011: Philox 2×32 with 10 rounds.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import kernel, launch_each, module, restore, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.jit import scalar

__all__ = ["kept"]

_FACTOR, _STEP = np.uint64(0xD256D193), np.uint64(0x9E3779B9)
_LOW, _HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@scalar
def philox(low, high, key):
    """The first of two random numbers of 32 bits for a counter of two such numbers and a key of one, all uint64."""
    for _ in range(10):
        product = low * _FACTOR
        low, high = (product >> _HALF) ^ key ^ high, product & _LOW
        key = (key + _STEP) & _LOW
    return low


@functools.cache
def _kernel(dtype: Any) -> Any:
    """``kernel(out, low_seed, high_seed, least, scale)``: out = scale where what is drawn reaches ``least``, else 0."""
    zero = dtype.type(0)

    def kept(out, low_seed, high_seed, least, scale):
        i = block() * block_size() + thread()
        while i < out.size:
            number = np.uint64(i)
            drawn = philox(number & _LOW, (number >> _HALF) ^ high_seed, low_seed)
            out[i] = scale if drawn >= least else zero
            i += block_size() * blocks()

    return kernel(kept)


def kept(rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
    """An array like ``like``: 0 with probability p, else ``scale``."""
    seed = int(rng.integers(1 << 63))
    least = np.uint64(min(1 << 32, round(p * (1 << 32))))
    halves = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    with use(like, like):
        out = module().empty(like.shape, like.dtype)
        launch_each(_kernel(like.dtype), out.size, out.reshape(-1), *halves, least, like.dtype.type(scale))
        return restore(out, like)
