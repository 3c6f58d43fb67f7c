"""Random numbers for dropout: a function of a seed and of the element's number, without a state.

So replays draw what eager code draws, a GPU what the CPU draws, and a training that goes on from a checkpoint, which
holds the generator that gives the seeds, what an unbroken one draws.

Source: J. Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011: Philox 2×32 with 10 rounds.
"""

from __future__ import annotations

import numpy as np

from nbgrad.jit import scalar

__all__ = ["HALF", "LOW", "least", "philox"]

_FACTOR, _STEP = np.uint64(0xD256D193), np.uint64(0x9E3779B9)
LOW, HALF = np.uint64(0xFFFFFFFF), np.uint64(32)


@scalar
def philox(low, high, key):
    """The first of two random numbers of 32 bits for a counter of two such numbers and a key of one, all uint64."""
    for _ in range(10):
        product = low * _FACTOR
        low, high = (product >> HALF) ^ key ^ high, product & LOW
        key = (key + _STEP) & LOW
    return low


def least(p: float) -> np.uint64:
    """From which number on an element is kept that is dropped with probability p."""
    return np.uint64(min(1 << 32, round(p * (1 << 32))))
