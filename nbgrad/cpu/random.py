"""Dropout on the CPU: which elements are kept follows from a seed and the element's number, as on a GPU."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import prange

from nbgrad.formulas.random import HALF, LOW, least, philox
from nbgrad.jit import Loop

__all__ = ["kept", "kept_of_seed"]


@functools.cache
def _loop() -> Loop:
    """``loop(work, seed, least, scale, out)``: out = scale where what is drawn reaches ``least``, else 0."""

    def keep(seed, least, scale, out):
        zero = out.dtype.type(0)
        for i in prange(out.size):
            number = np.uint64(i)
            drawn = philox(number & LOW, (number >> HALF) ^ (seed >> HALF), seed & LOW)
            out[i] = scale if drawn >= least else zero

    return Loop(keep, name="dropout")


def kept_of_seed(seed: Any, p: float, scale: float, out: Any) -> tuple[Loop, list[Any]]:
    """(the loop that fills ``out``, in C order, from a seed; its arguments, the seed first)"""
    return _loop(), [np.uint64(seed), least(p), out.dtype.type(scale), out.reshape(-1)]


def kept(rng: np.random.Generator, p: float, scale: float, like: Any) -> Any:
    """Factors for dropout, an array like ``like``: 0 with probability p, else ``scale``."""
    out = np.empty(like.shape, like.dtype)
    loop, args = kept_of_seed(rng.integers(1 << 63), p, scale, out)
    loop.serial(*args)
    return out
