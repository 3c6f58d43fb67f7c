"""Plain formulas become loops over contiguous 1-D arrays, serial and parallel.

Each builder returns a `nbgrad.jit.Loop`, one for each operator. The elementwise loops answer False, without
having written anything, if the lengths differ or ``out`` overlaps an input other than element by element; the
caller then computes into fresh memory. (Asked here, because comparing two addresses costs 2 ns in compiled
code and 500 ns as ``numpy.may_share_memory``.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numba import prange

from nbgrad.intrinsics import clash
from nbgrad.jit import Loop, row
from nbgrad.ops import Elementwise

__all__ = ["BLOCK", "backward", "clash", "forward", "loss", "loss_sums", "loss_sums_and_grad"]

# Elements summed in one go; the partial sums are added in order: the same result for any number of threads.
BLOCK = 4096


@functools.cache
def forward(op: Elementwise) -> Loop:
    """``loop(work, x, out, *parameters)``: out = f(x)."""
    f = op.forward

    def loop(x, out, *parameters):
        if x.size != out.size or clash(x, out):
            return False
        for i in prange(x.size):
            out[i] = f(x[i], *parameters)
        return True

    return Loop(loop, name=op.name)


@functools.cache
def backward(op: Elementwise) -> Loop:
    """``loop(work, grad_output, x, out, *parameters)``: out = grad_output · f'(x)."""
    df = op.derivative

    def loop(grad_output, x, out, *parameters):
        if grad_output.size != x.size or x.size != out.size or clash(grad_output, out) or clash(x, out):
            return False
        for i in prange(x.size):
            out[i] = grad_output[i] * df(x[i], *parameters)
        return True

    return Loop(loop, name=op.name + "_backward")


@functools.cache
def loss(op: Elementwise, derivative: bool) -> Loop:
    """``loop(work, x, target, out, *parameters)``: out = f(x, target), or its derivative in x."""
    f = op.derivative if derivative else op.forward

    def loop(x, target, out, *parameters):
        if x.size != target.size or x.size != out.size or clash(x, out) or clash(target, out):
            return False
        for i in prange(x.size):
            out[i] = f(x[i], target[i], *parameters)
        return True

    return Loop(loop, name=f.__name__)


@functools.cache
def _block_sum(op: Elementwise) -> Callable[..., float]:
    """Σ f over one block, in float64. Compiled as a function of its own: the same sum, to the last bit, in
    every loop that calls it.
    """
    f = op.forward

    @row
    def block_sum(x, target, *parameters):
        total = 0.0
        for i in range(x.size):
            total += np.float64(f(x[i], target[i], *parameters))
        return total

    return block_sum


@functools.cache
def loss_sums(op: Elementwise) -> Loop:
    """``loop(work, x, target, partial, *parameters)``: partial[b] = Σ f over block b, in float64."""
    block_sum = _block_sum(op)

    def loop(x, target, partial, *parameters):
        for block in prange(partial.size):
            # slices, because LLVM does not vectorise over x[block * BLOCK + i]: Numba cannot know that the
            # index is not negative
            place = slice(block * BLOCK, min((block + 1) * BLOCK, x.size))
            partial[block] = block_sum(x[place], target[place], *parameters)

    return Loop(loop, name=op.name + "_sums")


@functools.cache
def loss_sums_and_grad(op: Elementwise) -> Loop:
    """``loop(work, x, target, partial, grad, scale, *parameters)``: `loss_sums`, and grad = scale · f', block
    by block.
    """
    block_sum, df = _block_sum(op), op.derivative

    def loop(x, target, partial, grad, scale, *parameters):
        for block in prange(partial.size):
            place = slice(block * BLOCK, min((block + 1) * BLOCK, x.size))
            x_block, target_block, grad_block = x[place], target[place], grad[place]
            partial[block] = block_sum(x_block, target_block, *parameters)
            for i in range(x_block.size):
                grad_block[i] = scale * df(x_block[i], target_block[i], *parameters)

    return Loop(loop, name=op.name + "_sums_and_grad")
