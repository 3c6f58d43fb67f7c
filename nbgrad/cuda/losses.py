"""Sums of losses on CUDA, and losses with their gradient in one pass.

Each block adds up a tile of fixed size in two parts (`nbgrad.cuda.reduce`), one block more adds up the tiles:
the same bits on every run and on every GPU. Sums of float32 losses are float32: beyond 3e38 they are infinite.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import BLOCK, FEW, WARP, cuda, kernel, launch, module
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.cuda.device.lines import Lines, of_elements, size_of, tree, written
from nbgrad.cuda.elementwise import lead_of, numbers
from nbgrad.cuda.reduce import add, group_sum, total
from nbgrad.formulas.table import Elementwise
from nbgrad.jit import scalar

__all__ = [
    "array_sum", "array_sums", "count_labels", "finish", "label_count", "loss_sum", "no_divisor", "sums",
]  # fmt: skip

#: 16-byte lines that a thread adds up, and how many of them it has in flight.
PER_THREAD, IN_FLIGHT = 16, 4
#: Threads of the one block that adds up what is left.
LAST = min(4 * BLOCK, WARP * WARP)


def _partial_sums(f: Callable[..., Any], df: Callable[..., Any] | None, dtype: Any) -> Any:
    """``kernel(a, b, partial, lead, parameters)``: partial[2·block] + partial[2·block + 1] = Σ f over the block's tile;
    with ``df`` ``kernel(a, b, partial, grad, lead, parameters, scale)``: grad = scale · df, too.
    """
    T, many, line = dtype.type, Lines(dtype, 2, IN_FLIGHT, full=True), Lines(dtype, 2, 1, full=True)
    at, size, turn, turns = of_elements(f, 2), many.size, many.turn, PER_THREAD // IN_FLIGHT
    read, read_line, line_sum = many.read(), line.read(), line.sum(f)
    if df is None:
        write_line = scalar(lambda held, grad, place, terms: None)
        put = scalar(lambda grad, a, k, terms: None)
    else:
        slope = scalar(lambda a, b, scale, parameters: scale * df(a, b, *parameters))
        write_line, slope_at = line.write(slope), of_elements(slope, 2)

        @scalar
        def put(grad, a, k, terms):
            grad[k] = slope_at(a, k, terms)

    @scalar
    def of_line(held, grad, place, parameters, scale):
        result = line_sum(held, place, parameters)
        write_line(held, grad, place, (scale, parameters))
        return result

    # Line by line: with all values before all slopes more numbers would be about than registers.
    each = [f"of_line((held[{k}],), grad, (start, i + {k} * step, step, end), *terms)" for k in range(IN_FLIGHT)]
    of_lines = written(
        "held, grad, place, *terms", ["start, i, step, end = place", f"return {tree(each)}"], of_line=of_line
    )

    @scalar
    def tile(a, partial, grad, lead, parameters, scale, room):
        lines, threads = (a[0].size - lead) // size, block_size()
        high, low = T(0), T(0)
        i = block() * PER_THREAD * threads + thread()
        if (block() + 1) * PER_THREAD * threads <= lines:
            for _ in range(turns):
                place = (lead, i, threads, lines)
                high, low = add(high, low, of_lines(read(a, place), grad, place, parameters, scale), T(0))
                i += turn * threads
        else:
            while i < lines:  # the last tile, and none behind it
                place = (lead, i, threads, lines)
                high, low = add(high, low, of_line(read_line(a, place), grad, place, parameters, scale), T(0))
                i += threads
        i = block() * threads + thread()
        while i < a[0].size - lines * size:  # what is in no line
            k = i if i < lead else i + lines * size
            high, low = add(high, low, at(a, k, parameters), T(0))
            put(grad, a, k, (scale, parameters))
            i += blocks() * threads
        high, low = group_sum(high, low, threads, room)
        if thread() == 0:
            partial[2 * block()], partial[2 * block() + 1] = high, low

    def values(a, b, partial, lead, parameters):
        tile((a, b), partial, partial, lead, parameters, T(1), cuda.shared.array(WARP, T))

    def values_and_slopes(a, b, partial, grad, lead, parameters, scale):
        tile((a, b), partial, grad, lead, parameters, scale, cuda.shared.array(WARP, T))

    return kernel(values if df is None else values_and_slopes)


@functools.cache
def sums(op: Elementwise, grad: bool, dtype: Any) -> Any:
    """A kernel of `_partial_sums` for a loss."""
    return _partial_sums(op.forward, op.derivative if grad else None, dtype)


@functools.cache
def array_sums(dtype: Any) -> Any:
    """The same for the sum of an array, given twice."""
    return _partial_sums(scalar(lambda a, b: a), None, dtype)


@functools.cache
def finish(dtype: Any) -> Any:
    """``kernel(partial, step, count, divisor, out)`` for one block: out[0] = the sum of all sums, divided by that of
    ``divisor``'s two parts, or by ``count`` where it is empty. ``step``: 2 for sums in two parts, 1 for plain numbers.
    """
    T = dtype.type
    quotient = scalar(lambda a, b: a / b)

    def run(partial, step, count, divisor, out):
        room = cuda.shared.array(WARP, T)
        high, low = T(0), T(0)
        i = thread()
        while step * i < partial.size:
            high, low = add(high, low, partial[step * i], partial[2 * i + 1] if step == 2 else T(0))
            i += block_size()
        high, low = group_sum(high, low, block_size(), room)
        if thread() == 0:
            out[0] = quotient(total(high, low), total(divisor[0], divisor[1]) if divisor.size else count)

    return kernel(run, (LAST, 1))


@functools.cache
def count_labels(dtype: Any) -> Any:
    """``kernel(labels, weight, classes, ignore_index, partial)``: each block's sum, in two parts, of the weights (1
    where ``weight`` is empty) of the labels that are not ignored; a label out of range counts nothing.
    """
    T = dtype.type

    def run(labels, weight, classes, ignore_index, partial):
        room = cuda.shared.array(WARP, T)
        high, low = T(0), T(0)
        i = block() * block_size() + thread()
        while i < labels.size:
            label = labels[i]
            if label != ignore_index and 0 <= label < classes:
                high, low = add(high, low, weight[label] if weight.size else T(1), T(0))
            i += block_size() * blocks()
        high, low = group_sum(high, low, block_size(), room)
        if thread() == 0:
            partial[2 * block()], partial[2 * block() + 1] = high, low

    return kernel(run, (LAST, 1))


def tiles(size: int, dtype: Any) -> int:
    """How many blocks `_partial_sums` takes."""
    tile = BLOCK * PER_THREAD * size_of(dtype)
    return -(-size // tile)


def finished(sums: Any, step: int, count: float, divisor: Any, out: Any = None) -> Any:
    """One block's run of `finish`: an array of no dimension, unless there is an ``out``."""
    out = module().empty((), sums.dtype) if out is None else out
    launch(finish(sums.dtype), 1, LAST, sums, step, sums.dtype.type(count), divisor, out.reshape(-1))
    return out


def no_divisor(dtype: Any) -> Any:
    """Where a number divides, or none."""
    return module().empty(0, dtype)


def label_count(labels: Any, weight: Any, classes: int, ignore_index: int) -> Any:
    """What a mean over labels divides by, in two parts, for `array_sum` and the kernels of
    `nbgrad.cuda.labels`.
    """
    number = 1 if labels.size <= FEW else min(-(-labels.size // (16 * BLOCK)), 1024)
    partial = module().empty(2 * number, weight.dtype)
    threads = LAST if number == 1 else BLOCK
    launch(count_labels(weight.dtype), number, threads, labels, weight, classes, ignore_index, partial)
    if number == 1:
        return partial
    divisor = module().zeros(2, weight.dtype)
    finished(partial, 2, 1.0, no_divisor(weight.dtype), divisor)
    return divisor


def array_sum(values: Any, count: float, divisor: Any) -> Any:
    """The sum of a flat contiguous array over ``count``, or over ``divisor`` where that is not empty."""
    if values.size <= FEW:
        return finished(values, 1, count, divisor)
    partial = module().empty(2 * tiles(values.size, values.dtype), values.dtype)
    launch(array_sums(values.dtype), partial.size // 2, BLOCK, values, values, partial, lead_of(values), ())
    return finished(partial, 2, count, divisor)


def loss_sum(op: Elementwise, x: Any, target: Any, grad: Any, mean: bool, parameters: tuple[Any, ...]) -> Any:
    """Sum or mean of the losses of flat contiguous arrays: an array of one number; the gradient goes to ``grad``."""
    dtype, count = x.dtype, float(x.size) if mean else 1.0
    partial = module().empty(2 * tiles(x.size, dtype), dtype)
    parameters = numbers(parameters, dtype)
    arguments: tuple[Any, ...]
    if grad is None:
        arguments = (x, target, partial, lead_of(x, target), parameters)
    else:
        with np.errstate(divide="ignore"):
            scale = dtype.type(np.float64(1) / count)
        arguments = (x, target, partial, grad, lead_of(x, target, grad), parameters, scale)
    launch(sums(op, grad is not None, dtype), partial.size // 2, BLOCK, *arguments)
    return finished(partial, 2, count, no_divisor(dtype))
