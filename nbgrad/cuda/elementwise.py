"""Plain formulas become CUDA kernels over contiguous 1-D arrays.

A thread holds some 16-byte loads of each input in flight and goes on by the size of the grid. Arrays must lie at the
same place within 16 bytes for that: ``lead`` elements stand before the first whole line, all of them where they do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nbgrad.cuda.device import BLOCK, address, kernel, launch, processors
from nbgrad.cuda.device.intrinsics import LINE, block, block_size, blocks, thread
from nbgrad.cuda.device.lines import Lines, of_elements, size_of
from nbgrad.formulas.table import Elementwise, Loss
from nbgrad.jit import scalar

__all__ = ["KERNELS", "backward", "forward", "lead_of", "loss", "numbers", "run"]

#: Lines of each input that a thread has in flight; blocks for each multiprocessor.
IN_FLIGHT, PER_PROCESSOR = 4, 64


def elementwise(f: Callable[..., Any], inputs: int, dtype: Any) -> Any:
    """``kernel(*arrays, out, lead, parameters)`` for 1 or 2 arrays: out = f(*arrays, *parameters). (Arrays in a tuple
    would make each launch ask Python for their types.)
    """
    many, line, width = Lines(dtype, inputs, IN_FLIGHT, full=True), Lines(dtype, inputs, 1, full=True), size_of(dtype)
    at, read, write, read_line, write_line = (
        of_elements(f, inputs),
        many.read(),
        many.write(f),
        line.read(),
        line.write(f),
    )
    turn = many.turn

    @scalar
    def fill(a, out, lead, parameters):
        lines, threads, step = (out.size - lead) // width, block_size(), block_size() * blocks()
        tile, t = turn * threads, block()
        while (t + 1) * tile <= lines:
            place = (lead, t * tile + thread(), threads, lines)
            write(read(a, place), out, place, parameters)
            t += blocks()
        i = lines // tile * tile + block() * threads + thread()
        while i < lines:  # less than a tile
            place = (lead, i, threads, lines)
            write_line(read_line(a, place), out, place, parameters)
            i += step
        i = block() * threads + thread()
        while i < out.size - lines * width:  # what is in no line
            k = i if i < lead else i + lines * width
            out[k] = at(a, k, parameters)
            i += step

    def one(x, out, lead, parameters):
        fill((x,), out, lead, parameters)

    def two(x, y, out, lead, parameters):
        fill((x, y), out, lead, parameters)

    return kernel(one if inputs == 1 else two)


@functools.cache
def forward(op: Elementwise, dtype: Any) -> Any:
    """``kernel(x, out, lead, parameters)``: out = f(x)."""
    return elementwise(op.forward, 1, dtype)


@functools.cache
def backward(op: Elementwise, dtype: Any) -> Any:
    """``kernel(grad_output, x, out, lead, parameters)``: out = grad_output · f'(x)."""
    df = op.derivative
    return elementwise(scalar(lambda g, x, *parameters: g * df(x, *parameters)), 2, dtype)


@functools.cache
def loss(op: Elementwise, derivative: bool, dtype: Any) -> Any:
    """``kernel(x, target, out, lead, parameters)``: out = f(x, target), or its derivative in x."""
    return elementwise(op.derivative if derivative else op.forward, 2, dtype)


@functools.cache
def target_slope(op: Loss, dtype: Any) -> Any:
    """``kernel(x, target, out, lead, parameters)``: out = the derivative in the target of a loss that has its own."""
    assert op.target_derivative is not None
    return elementwise(op.target_derivative, 2, dtype)


KERNELS: dict[str, Callable[[Any, Any], Any]] = {
    "forward": forward,
    "backward": backward,
    "loss": lambda op, dtype: loss(op, False, dtype),
    "loss_slope": lambda op, dtype: loss(op, True, dtype),
    "loss_target_slope": target_slope,
}


def lead_of(*arrays: Any) -> int:
    """Elements before the first whole line of all arrays; their size where they do not lie alike."""
    size, item = arrays[0].size, arrays[0].dtype.itemsize
    places = {address(a) % LINE for a in arrays}
    place = places.pop()
    if places or place % item:
        return int(size)
    return int(min(size, -place % LINE // item))


def numbers(parameters: tuple[Any, ...], dtype: Any) -> tuple[Any, ...]:
    """The parameters in the arrays' precision."""
    return tuple(map(dtype.type, parameters))


def run(compiled: Any, inputs: list[Any], out: Any, parameters: tuple[Any, ...]) -> None:
    """Run a kernel of `elementwise` on flat, contiguous arrays of one size and dtype."""
    if out.size == 0:
        return
    tile = BLOCK * IN_FLIGHT * size_of(out.dtype)
    count = min(-(-out.size // tile), PER_PROCESSOR * processors())
    launch(compiled, count, BLOCK, *inputs, out, lead_of(out, *inputs), numbers(parameters, out.dtype))
