"""Plain formulas become CUDA kernels over contiguous 1-D arrays.

A thread holds two 16-byte loads of each input in flight and goes on by the size of the grid. Arrays must lie at the
same place within 16 bytes for that: ``lead`` elements stand before the first whole line, all of them where they do not.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import BLOCK, address, kernel, launch, processors
from nbgrad.cuda.device.intrinsics import LINE, block, block_size, blocks, load, store, thread
from nbgrad.formulas.table import Elementwise
from nbgrad.jit import scalar

__all__ = ["KERNELS", "backward", "forward", "lead_of", "loss", "run", "vectorized", "with_two_parameters"]

#: Lines of each input that a thread has in flight; blocks for each multiprocessor.
IN_FLIGHT, PER_PROCESSOR = 2, 8


def with_two_parameters(f: Callable[..., Any], inputs: int, parameters: int) -> Callable[..., Any]:
    """``f`` of its inputs and always two parameters: kernels have no lists of arguments."""
    if inputs == 1:
        one: tuple[Callable[..., Any], ...] = (
            lambda x, p, q: f(x), lambda x, p, q: f(x, p), lambda x, p, q: f(x, p, q),
        )  # fmt: skip
        return scalar(one[parameters])
    two: tuple[Callable[..., Any], ...] = (
        lambda a, b, p, q: f(a, b), lambda a, b, p, q: f(a, b, p), lambda a, b, p, q: f(a, b, p, q),
    )  # fmt: skip
    return scalar(two[parameters])


def vectorized(f: Callable[..., Any], inputs: int, width: int) -> Callable[..., Any]:
    """``f`` of one line of numbers."""
    if inputs == 1:
        if width == 2:
            return scalar(lambda a, p, q: (f(a[0], p, q), f(a[1], p, q)))
        return scalar(lambda a, p, q: (f(a[0], p, q), f(a[1], p, q), f(a[2], p, q), f(a[3], p, q)))
    if width == 2:
        return scalar(lambda a, b, p, q: (f(a[0], b[0], p, q), f(a[1], b[1], p, q)))
    return scalar(
        lambda a, b, p, q: (
            f(a[0], b[0], p, q), f(a[1], b[1], p, q), f(a[2], b[2], p, q), f(a[3], b[3], p, q),
        )  # fmt: skip
    )


def one_input(f: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """``kernel(x, out, lead, p, q)``: out = f(x, p, q)"""
    width = LINE // np.dtype(dtype).itemsize
    line = vectorized(f, 1, width)

    def run(x, out, lead, p, q):
        lines, threads, step = (out.size - lead) // width, block_size(), blocks()
        i = block() * IN_FLIGHT * threads + thread()
        while i < lines:
            j = i + threads
            k = j if j < lines else i  # loaded and computed twice, in the last tile
            first, second = load(x, lead + i * width), load(x, lead + k * width)
            store(out, lead + i * width, line(first, p, q))
            if j < lines:
                store(out, lead + j * width, line(second, p, q))
            i += IN_FLIGHT * threads * step
        i = block() * threads + thread()
        while i < out.size - lines * width:
            k = i if i < lead else i + lines * width
            out[k] = f(x[k], p, q)
            i += threads * step

    return run


def two_inputs(f: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """``kernel(a, b, out, lead, p, q)``: out = f(a, b, p, q)"""
    width = LINE // np.dtype(dtype).itemsize
    line = vectorized(f, 2, width)

    def run(a, b, out, lead, p, q):
        lines, threads, step = (out.size - lead) // width, block_size(), blocks()
        i = block() * IN_FLIGHT * threads + thread()
        while i < lines:
            j = i + threads
            k = j if j < lines else i
            a_first, b_first = load(a, lead + i * width), load(b, lead + i * width)
            a_second, b_second = load(a, lead + k * width), load(b, lead + k * width)
            store(out, lead + i * width, line(a_first, b_first, p, q))
            if j < lines:
                store(out, lead + j * width, line(a_second, b_second, p, q))
            i += IN_FLIGHT * threads * step
        i = block() * threads + thread()
        while i < out.size - lines * width:
            k = i if i < lead else i + lines * width
            out[k] = f(a[k], b[k], p, q)
            i += threads * step

    return run


@functools.cache
def forward(op: Elementwise, dtype: Any) -> Any:
    """``kernel(x, out, lead, p, q)``: out = f(x)."""
    return kernel(one_input(with_two_parameters(op.forward, 1, len(op.parameters)), dtype))


@functools.cache
def backward(op: Elementwise, dtype: Any) -> Any:
    """``kernel(grad_output, x, out, lead, p, q)``: out = grad_output · f'(x)."""
    df = with_two_parameters(op.derivative, 1, len(op.parameters))
    return kernel(two_inputs(scalar(lambda g, x, p, q: g * df(x, p, q)), dtype))


@functools.cache
def loss(op: Elementwise, derivative: bool, dtype: Any) -> Any:
    """``kernel(x, target, out, lead, p, q)``: out = f(x, target), or its derivative in x."""
    f = op.derivative if derivative else op.forward
    return kernel(two_inputs(with_two_parameters(f, 2, len(op.parameters)), dtype))


KERNELS: dict[str, Callable[[Elementwise, Any], Any]] = {
    "forward": forward,
    "backward": backward,
    "loss": lambda op, dtype: loss(op, False, dtype),
    "loss_slope": lambda op, dtype: loss(op, True, dtype),
}


def lead_of(*arrays: Any) -> int:
    """Elements before the first whole line of all arrays; their size where they do not lie alike."""
    size, item = arrays[0].size, arrays[0].dtype.itemsize
    places = {address(a) % LINE for a in arrays}
    place = places.pop()
    if places or place % item:
        return int(size)
    return int(min(size, -place % LINE // item))


def padded(parameters: tuple[Any, ...], dtype: Any) -> tuple[Any, Any]:
    """Two parameters of the arrays' precision."""
    p, q = (*parameters, 0, 0)[:2]
    return dtype.type(p), dtype.type(q)


def run(compiled: Any, inputs: list[Any], out: Any, parameters: tuple[Any, ...]) -> None:
    """Run a kernel of `one_input` or `two_inputs` on flat, contiguous arrays of one size and dtype."""
    if out.size == 0:
        return
    tile = BLOCK * IN_FLIGHT * (LINE // out.dtype.itemsize)
    count = min(-(-out.size // tile), PER_PROCESSOR * processors())
    launch(compiled, count, BLOCK, *inputs, out, lead_of(out, *inputs), *padded(parameters, out.dtype))
