"""Row functions become CUDA kernels over contiguous rows: those of the table, logsumexp, and their derivatives.

A row is read from memory once, where registers and the cache hold it: the second reading, which makes the entries of
the result, follows at once.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import AHEAD, BLOCK, WARP, address, cuda, kernel, launch, module, processors
from nbgrad.cuda.device.intrinsics import LINE, block, block_size, blocks, thread
from nbgrad.cuda.device.lines import Lines, size_of, written
from nbgrad.cuda.reduce import add, exp_sums, group_sum, total, width_of
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows, softmax
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.jit import scalar

__all__ = [
    "Row", "backward", "bounds", "forward", "logsumexp", "logsumexp_backward", "over_rows", "run", "whole_rows",
]  # fmt: skip


#: Threads that a row of one array has at most, and of two: blocks of many take few rows at a time, which then stay in
#: the GPU's cache; of few more blocks come side by side, some at work while others read.
WIDEST = BLOCK, 4 * BLOCK


def over_rows(body: Callable[..., Any]) -> Callable[..., Any]:
    """``run(inputs, n, length, shift, results, room)``: ``body(inputs, results, row, live, place, room)`` for each
    row, by a group of ``width`` = 2^shift threads. ``place``: the row's start and length, the thread's lane and
    ``width``; ``room``: shared memory. Beyond the last row the last is done again, not ``live``: all threads of a block
    go round together, because they meet in the sums.
    """

    @scalar
    def run(inputs, n, length, shift, results, room):
        width = 1 << shift  # a division of 64 bits takes 100 instructions
        lane, groups = thread() & (width - 1), block_size() >> shift
        first = block() * groups
        while first < n:
            i = first + (thread() >> shift)
            row = i if i < n else n - 1
            body(inputs, results, row, i < n, (row * length, length, lane, width), room)
            first += groups * blocks()

    return run


def rows_kernel(body: Callable[..., Any], inputs: int, dtype: Any) -> Any:
    """``kernel(*arrays, n, length, shift, y)`` for 1 or 2 arrays: `over_rows`."""
    T, over = dtype.type, over_rows(body)

    def one(x, n, length, shift, y):
        over((x,), n, length, shift, y, cuda.shared.array(WARP, T))

    def two(g, x, n, length, shift, y):
        over((g, x), n, length, shift, y, cuda.shared.array(WARP, T))

    return kernel(one if inputs == 1 else two, bounds(dtype))


def bounds(dtype: Any) -> tuple[int, int]:
    """For `nbgrad.cuda.device.kernel`: 64 registers for each thread hold what it reads ahead of float32."""
    return (4 * BLOCK, 1) if dtype.itemsize == 4 else (2 * BLOCK, 1)


class Row:
    """The two readings of a row of one array, or of two, by a group of threads: ``ahead`` lines at a time of those of
    `nbgrad.cuda.device.lines`. Of the first array the last lines stay in registers for the second reading, which goes
    back from there: to what is in the caches first.
    """

    def __init__(self, dtype: Any, inputs: int, ahead: int, whole: bool) -> None:
        self.lines, self.T = Lines(dtype, inputs, ahead, whole), np.dtype(dtype).type
        own = Lines(dtype, 1, ahead, whole)
        self.read, self.turn, self.unit = own.read(), own.turn, own.size if whole else 1
        self.complete = scalar(lambda held, a, at: held)
        if inputs == 2:
            pairs = "".join(f"(held[{k}][0], other[{k}][0]), " for k in range(ahead))
            self.complete = written("held, a, at", ["other = read((a[1],), at)", f"return ({pairs})"], read=self.read)

    def fill(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``fill(a, y, place, held, i, terms)``: y = f(*a, *terms), entry by entry."""
        read, complete, write, turn, unit = self.read, self.complete, self.lines.write(f), self.turn, self.unit

        @scalar
        def fill(a, y, place, held, i, terms):
            start, length, _, width = place
            while True:
                at = (start, i, width, length // unit)
                write(complete(held, a, at), y, at, terms)
                i -= turn * width
                if i < 0:
                    break
                held = read((a[0],), (start, i, width, length // unit))

        return fill

    def sum(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``summed(a, place, room)``: (Σ f(*a) over the row, what is held, where)."""
        read, complete, summed, turn, unit = self.read, self.complete, self.lines.sum(f), self.turn, self.unit
        T = self.T

        @scalar
        def run(a, place, room):
            start, length, lane, width = place
            high, low, i, end = T(0), T(0), lane, length // unit
            held = read((a[0],), (start, i, width, end))
            while True:
                at = (start, i, width, end)
                high, low = add(high, low, summed(complete(held, a, at), at, ()), T(0))
                if i - lane + turn * width >= end:
                    break
                i += turn * width
                held = read((a[0],), (start, i, width, end))
            high, low = group_sum(high, low, width, room)
            return total(high, low), held, i

        return run


def whole_rows(f: Callable[..., Any], inputs: int) -> Any:
    """``kernel(*arrays, n, length, shift, y)`` for 1 or 2 arrays: f(*their rows, row of y), as it is, of a row
    function that has no formulas of an entry. A thread for each row; y lies apart from the inputs.
    """

    def one(x, n, length, shift, y):
        i = block() * block_size() + thread()
        while i < n and length:
            start, stop = i * length, (i + 1) * length
            f(x[start:stop], y[start:stop])
            i += block_size() * blocks()

    def two(g, x, n, length, shift, y):
        i = block() * block_size() + thread()
        while i < n and length:
            start, stop = i * length, (i + 1) * length
            f(g[start:stop], x[start:stop], y[start:stop])
            i += block_size() * blocks()

    return kernel(one if inputs == 1 else two)


# What follows makes a function ``compiled(ahead, whole)``, which makes a kernel for rows of one kind (see `run`).


@functools.cache
def forward(name: str, dtype: Any) -> Any:
    """``kernel(x, n, length, shift, y)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        plain = whole_rows(op.forward, 1)
        return lambda ahead, whole: plain
    T, terms, y_of = dtype.type, of.terms, of.entry
    entry = scalar(lambda x, largest, a, b: y_of(x, a, b))
    if of.of_exp:
        entry = scalar(lambda x, largest, a, b: y_of(exp_minus(largest - x), a, b))

    def compiled(ahead: int, whole: bool) -> Any:
        sums, fill = exp_sums(dtype, ahead, whole), Row(dtype, 1, ahead, whole).fill(entry)

        @scalar
        def body(inputs, y, row, live, place, room):
            largest, others, held, i = sums(inputs[0], place, room)
            a, b = terms(T, largest, others)
            if live:
                fill(inputs, y, place, held, i, (largest, a, b))

        return rows_kernel(body, 1, dtype)

    return functools.cache(compiled)


@functools.cache
def logsumexp(dtype: Any) -> Any:
    """``kernel(x, n, length, shift, y)``: y[i] for row i."""

    def compiled(ahead: int, whole: bool) -> Any:
        sums = exp_sums(dtype, ahead, whole)

        @scalar
        def body(inputs, y, row, live, place, room):
            largest, others, _, _ = sums(inputs[0], place, room)
            if live and place[2] == 0:
                y[row] = softmax.logsumexp_of(largest, others)

        return rows_kernel(body, 1, dtype)

    return functools.cache(compiled)


@functools.cache
def logsumexp_backward(dtype: Any) -> Any:
    """``kernel(g, x, n, length, shift, y)``: g[i]·softmax(row i)"""
    T = dtype.type
    entry = scalar(lambda x, largest, b, g: softmax.logsumexp_backward_entry(rows.shifted_exp(x, largest)[0], b, b, g))

    def compiled(ahead: int, whole: bool) -> Any:
        sums, fill = exp_sums(dtype, ahead, whole), Row(dtype, 1, ahead, whole).fill(entry)

        @scalar
        def body(inputs, y, row, live, place, room):
            largest, others, held, i = sums(inputs[1], place, room)
            _, scale = softmax.logsumexp_slope_terms(T, largest, others)
            if live:
                fill((inputs[1],), y, place, held, i, (largest, scale, inputs[0][row]))

        return rows_kernel(body, 2, dtype)

    return functools.cache(compiled)


@functools.cache
def backward(name: str, dtype: Any) -> Any:
    """``kernel(grad_output, y, n, length, shift, grad_x)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        plain = whole_rows(op.backward, 2)
        return lambda ahead, whole: plain
    term, entry = of.backward_term, of.backward_entry

    def compiled(ahead: int, whole: bool) -> Any:
        row = Row(dtype, 2, max(1, ahead // 2), whole)
        summed, fill = row.sum(term), row.fill(entry)

        @scalar
        def body(inputs, dx, row, live, place, room):
            t, held, i = summed(inputs, place, room)
            if live:
                fill(inputs, dx, place, held, i, (t,))

        return rows_kernel(body, 2, dtype)

    return functools.cache(compiled)


def in_lines(length: int, *arrays: Any) -> bool:
    """Whether each row of all of them is made of whole lines on multiples of 16 bytes."""
    return length % size_of(arrays[0].dtype) == 0 and all(address(a) % LINE == 0 for a in arrays)


def run(compiled: Any, before: tuple[Any, ...], n: int, length: int, *results: Any) -> None:
    """``kernel(*before, n, length, shift, *results)``: ``before`` ends with an array of the rows; so does ``results``
    begin, where it is one of rows.
    """
    if n == 0 or not any(a.size for a in results):
        return
    x = before[-1]
    both = len(before) > 1 and before[0].dtype == x.dtype and before[0].size == x.size  # a gradient's two arrays
    width, threads, ahead = width_of(length, AHEAD, min(WIDEST[both], bounds(x.dtype)[0]))
    whole = in_lines(
        length, *(a for a in (*before, *results) if getattr(a, "size", 0) == x.size and a.dtype == x.dtype)
    )
    if length == 0:
        before = (*before[:-1], module().zeros(LINE, x.dtype))  # what is beyond a row's end is read, and left out
    ahead = ahead if whole else max(1, ahead // 2)  # elements take more registers
    blocks_of_rows, shift = min(-(-n // (threads // width)), 32 * processors()), width.bit_length() - 1
    launch(compiled(ahead, whole), blocks_of_rows, threads, *before, n, length, shift, *results)
