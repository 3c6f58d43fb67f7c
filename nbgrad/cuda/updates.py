"""The optimisers' updates on CUDA: one pass over a parameter, its gradient and what is remembered of it."""

from __future__ import annotations

from typing import Any

from nbgrad.cuda.device import kernel, launch_each, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas import updates

__all__ = ["UPDATES", "run"]


def _sgd(p, g, lr, weight_decay):
    i = block() * block_size() + thread()
    while i < p.size:
        p[i] = updates.sgd(p[i], g[i], lr, weight_decay)
        i += block_size() * blocks()


def _sgd_momentum(p, g, buffer, lr, weight_decay, momentum, nesterov):
    i = block() * block_size() + thread()
    while i < p.size:
        p[i], buffer[i] = updates.sgd_momentum(p[i], g[i], buffer[i], lr, weight_decay, momentum, nesterov)
        i += block_size() * blocks()


def _adam(p, g, mean, square, rate, root, eps, weight_decay, rest1, beta2, rest2):
    i = block() * block_size() + thread()
    while i < p.size:
        p[i], mean[i], square[i] = updates.adam(
            p[i], g[i], mean[i], square[i], rate, root, eps, weight_decay, rest1, beta2, rest2
        )
        i += block_size() * blocks()


def _adamw(p, g, mean, square, rate, root, eps, decay, rest1, beta2, rest2):
    i = block() * block_size() + thread()
    while i < p.size:
        p[i], mean[i], square[i] = updates.adamw(
            p[i], g[i], mean[i], square[i], rate, root, eps, decay, rest1, beta2, rest2
        )
        i += block_size() * blocks()


UPDATES = {f.__name__[1:]: kernel(f) for f in (_sgd, _sgd_momentum, _adam, _adamw)}


def run(name: str, arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """Update flat, contiguous arrays of one size, the parameter first, in place."""
    with use(arrays[0], arrays[0]):
        launch_each(UPDATES[name], arrays[0].size, *arrays, *numbers)
