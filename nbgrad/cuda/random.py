"""Dropout on a GPU: which elements are kept follows from a seed and the element's number, as on the CPU."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import kernel, launch_each, module, restore, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas.random import HALF, LOW, least, philox

__all__ = ["kept"]


@functools.cache
def _kernel(dtype: Any) -> Any:
    """``kernel(out, low_seed, high_seed, least, scale)``: out = scale where what is drawn reaches ``least``, else 0."""
    zero = dtype.type(0)

    def kept(out, low_seed, high_seed, least, scale):
        i = block() * block_size() + thread()
        while i < out.size:
            number = np.uint64(i)
            drawn = philox(number & LOW, (number >> HALF) ^ high_seed, low_seed)
            out[i] = scale if drawn >= least else zero
            i += block_size() * blocks()

    return kernel(kept)


def kept(rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
    """An array like ``like``: 0 with probability p, else ``scale``."""
    seed = int(rng.integers(1 << 63))
    halves = np.uint64(seed & 0xFFFFFFFF), np.uint64(seed >> 32)
    with use(like, like):
        out = module().empty(like.shape, like.dtype)
        launch_each(_kernel(like.dtype), out.size, out.reshape(-1), *halves, least(p), like.dtype.type(scale))
        return restore(out, like)
