"""Plain formulas become loops over contiguous 1-D arrays, serial and parallel.

Each builder returns a `nbgrad.jit.Loop`, one for each operator. The elementwise loops answer False, without
having written anything, if the lengths differ or ``out`` overlaps an input other than element by element; the
caller then computes into fresh memory. (Asked here, because comparing two addresses costs 2 ns in compiled
code and 500 ns as ``numpy.may_share_memory``.)
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import prange

from nbgrad.formulas.table import Elementwise, Loss
from nbgrad.jit import Loop, scalar
from nbgrad.jit.intrinsics import address, clash
from nbgrad.jit.memory import LINE, stack_array, store_fence
from nbgrad.jit.vector_map import ROOM, formulas, nontemporal_copy, vector_map
from nbgrad.jit.vectors import VECTOR_BYTES

__all__ = [
    "BLOCK", "LOOPS", "STREAM", "backward", "clash", "fill", "forward", "loss", "loss_sums", "loss_sums_and_grad",
    "work_of",
]  # fmt: skip

#: Where the result is larger than this (bytes), it is written past the cache.
STREAM = 1 << 23
# What is written past the cache is computed so many bytes at a time: few lines are on their way while the next ones
# are computed. (sigmoid on 16.7 million numbers: 3.34 ms at 4096 bytes, 2.95 at 2048, 2.67 at 1024.)
_ON_THE_WAY = 1024
# Elements summed in one go; the partial sums are added in order: the same result for any number of threads.
BLOCK = 4096


@scalar
def fill(f, inputs, start, stop, out, parameters, streamed):
    """out[i] = f(inputs[i]..., *parameters) for start ≤ i < stop (or to the end); ``streamed``: past the cache.

    `vector_map` stands here once, because each place of it is 200 ms of compilation.
    """
    stop = stop if stop < out.size else out.size
    width, base = LINE // out.itemsize, address(out) // out.itemsize
    most = _ON_THE_WAY // out.itemsize
    buffer = stack_array(out.dtype, ROOM)
    while start < stop:
        lead = -(base + start) % width
        past = streamed and lead == 0 and stop - start >= width
        count = stop - start
        if past:
            count = most if count > most else count - count % width
        elif streamed and lead:
            count = lead if lead < count else count
        vector_map(f, inputs, start, count, (buffer if past else out,), 0 if past else start, parameters)
        if past:
            nontemporal_copy(buffer, out, start, count)
        start += count
    if streamed:
        store_fence()


def work_of(out: Any) -> int:
    """What a loop over ``out`` is told of its work: its elements if they are float32, as much memory of float64."""
    return out.nbytes >> 2  # type: ignore[no-any-return]


def _threshold(f: Callable[..., Any], count: int) -> int:
    """From how much work on (bytes of the result, by 4) a loop is parallel: twice as much where there is but one input
    and no exponential or the like. (relu on 65 536 float32: 2.4 µs, on two threads 2.7, or 3.9 where they are busy.)
    """
    rooms = {function.__module__.rpartition(".")[2] for function in formulas(f)}
    light = count == 1 and not rooms & {"exponential", "hyperbolic", "logarithm", "normal"}
    return 65_536 if light else 32_768


def _elementwise(f: Callable[..., Any], count: int, op: Elementwise, name: str) -> Loop:
    """``loop(work, *inputs, out, *parameters)`` for ``count`` (1 or 2) inputs: out = f(*inputs, *parameters). The work:
    `work_of` the result.
    """

    def one(x, out, *parameters):
        if x.size != out.size or clash(x, out):
            return False
        # A vector as long as a line overwrites it without reading it: past the cache is slower (16.7 million, silu: 3.1
        # and 2.1 ms), but where two arrays are read (relu': 3.3 and 4.1).
        streamed = VECTOR_BYTES < LINE and out.nbytes >= STREAM and address(x) != address(out)
        for block in prange(-(-out.size // BLOCK)):
            fill(f, (x,), block * BLOCK, (block + 1) * BLOCK, out, parameters, streamed)
        return True

    def two(a, b, out, *parameters):
        if a.size != b.size or b.size != out.size or clash(a, out) or clash(b, out):
            return False
        own = address(a) != address(out) and address(b) != address(out)
        streamed = out.nbytes >= STREAM and own
        for block in prange(-(-out.size // BLOCK)):
            fill(f, (a, b), block * BLOCK, (block + 1) * BLOCK, out, parameters, streamed)
        return True

    typed = count + 1, len(op.parameters)
    return Loop(one if count == 1 else two, name=name, typed=typed, threshold=_threshold(f, count))


@functools.cache
def forward(op: Elementwise) -> Loop:
    """``loop(work, x, out, *parameters)``: out = f(x)."""
    return _elementwise(op.forward, 1, op, op.name)


@functools.cache
def backward(op: Elementwise) -> Loop:
    """``loop(work, grad_output, x, out, *parameters)``: out = grad_output · f'(x)."""
    df = op.derivative

    @scalar
    def product(g, x, *parameters):
        return g * df(x, *parameters)

    return _elementwise(product, 2, op, op.name + "_backward")


@functools.cache
def loss(op: Elementwise, derivative: bool) -> Loop:
    """``loop(work, x, target, out, *parameters)``: out = f(x, target), or its derivative in x."""
    f = op.derivative if derivative else op.forward
    return _elementwise(f, 2, op, f.__name__)


@functools.cache
def target_slope(op: Loss) -> Loop:
    """``loop(work, x, target, out, *parameters)``: out = the derivative in the target of a loss that has its own."""
    assert op.target_derivative is not None
    return _elementwise(op.target_derivative, 2, op, op.target_derivative.__name__)


LOOPS: dict[str, Callable[[Any], Loop]] = {
    "forward": forward,
    "backward": backward,
    "loss": lambda op: loss(op, False),
    "loss_slope": lambda op: loss(op, True),
    "loss_target_slope": target_slope,
}


def _block_sum(term: Callable[..., Any]) -> Callable[..., Any]:
    """Σ term(x, target, *parameters) over one block, in float64; what else it returns goes to ``outs``. (A sum in the
    loop itself would have vectors of as many float32 as there are float64: half of the machine.)
    """

    @scalar
    def block_sum(x, target, block, outs, parameters):
        total, start, stop = 0.0, block * BLOCK, min((block + 1) * BLOCK, x.size)
        while start < stop:
            count = min(ROOM, stop - start)
            total += vector_map(term, (x, target), start, count, outs, start, parameters)[0]
            start += count
        return total

    return block_sum


@functools.cache
def loss_sums(op: Elementwise) -> Loop:
    """``loop(work, x, target, partial, *parameters)``: partial[b] = Σ f over block b, in float64."""
    block_sum = _block_sum(op.forward)

    def loop(x, target, partial, *parameters):
        for block in prange(partial.size):
            partial[block] = block_sum(x, target, block, (), parameters)

    return Loop(loop, name=op.name + "_sums")


@functools.cache
def loss_sums_and_grad(op: Elementwise) -> Loop:
    """``loop(work, x, target, partial, grad, scale, *parameters)``: `loss_sums`, to the last bit, and grad = scale · f'
    in the same pass.
    """
    f, df = op.forward, op.derivative

    @scalar
    def slope_and_value(x, target, scale, *parameters):
        return scale * df(x, target, *parameters), f(x, target, *parameters)

    block_sum = _block_sum(slope_and_value)

    def loop(x, target, partial, grad, scale, *parameters):
        for block in prange(partial.size):
            partial[block] = block_sum(x, target, block, (grad,), (scale, *parameters))

    return Loop(loop, name=op.name + "_sums_and_grad")
