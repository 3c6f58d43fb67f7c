"""The optimisers' updates on the CPU: one compiled pass over a parameter, its gradient and what is remembered of it.

NumPy's fifteen passes for Adam take twice as long (269 000 weights, one thread).
"""

from __future__ import annotations

from typing import Any

from numba import prange

from nbgrad.formulas import updates
from nbgrad.jit import Loop

__all__ = ["run"]


def _sgd(p, g, lr, weight_decay):
    for i in prange(p.size):
        p[i] = updates.sgd(p[i], g[i], lr, weight_decay)


def _sgd_momentum(p, g, buffer, lr, weight_decay, momentum, nesterov):
    for i in prange(p.size):
        p[i], buffer[i] = updates.sgd_momentum(p[i], g[i], buffer[i], lr, weight_decay, momentum, nesterov)


def _adam(p, g, mean, square, rate, root, eps, weight_decay, rest1, beta2, rest2):
    for i in prange(p.size):
        p[i], mean[i], square[i] = updates.adam(
            p[i], g[i], mean[i], square[i], rate, root, eps, weight_decay, rest1, beta2, rest2
        )


def _adamw(p, g, mean, square, rate, root, eps, decay, rest1, beta2, rest2):
    for i in prange(p.size):
        p[i], mean[i], square[i] = updates.adamw(
            p[i], g[i], mean[i], square[i], rate, root, eps, decay, rest1, beta2, rest2
        )


# Serial up to 4 million weights. An update follows matrix products whose BLAS threads are still spinning: see
# `nbgrad.jit.serial_loops`.
_LOOPS = {f.__name__[1:]: Loop(f, threshold=1 << 22) for f in (_sgd, _sgd_momentum, _adam, _adamw)}


def run(name: str, arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """Update flat, contiguous arrays of one size, the parameter first, in place."""
    _LOOPS[name](arrays[0].size, *arrays, *numbers)
