"""Row functions become CUDA kernels over contiguous rows: those of the table, logsumexp, and their derivatives.

A row is read from memory once, where a multiprocessor's cache holds it: the second reading, which makes the entries of
the result, follows at once. Where rows begin on a multiple of 16 bytes their first ``lines`` lines are read as such.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from nbgrad.cuda.device import WARP, address, cuda, kernel, launch, processors
from nbgrad.cuda.device.intrinsics import LINE, block, block_size, blocks, store, thread
from nbgrad.cuda.device.lines import added, loads, of_elements, of_lines, size_of
from nbgrad.cuda.reduce import add, exp_sums, group_sum, total, width_of
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows, softmax
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.jit import scalar

__all__ = [
    "backward", "fill_row", "forward", "lines_of", "logsumexp", "logsumexp_backward", "over_rows", "run", "whole_rows",
]  # fmt: skip


def over_rows(body: Callable[..., Any]) -> Callable[..., Any]:
    """``run(inputs, n, length, lines, width, results, room)``: ``body(inputs, results, row, live, place, room)`` for
    each row, by a group of ``width`` threads. ``place``: the row's start, length and lines, the thread's lane and
    ``width``; ``room``: shared memory. Beyond the last row the last is done again, not ``live``: all threads of a block
    go round together, because they meet in the sums.
    """

    @scalar
    def run(inputs, n, length, lines, width, results, room):
        lane, groups = thread() % width, block_size() // width
        first = block() * groups
        while first < n:
            i = first + thread() // width
            row = i if i < n else n - 1
            body(inputs, results, row, i < n, (row * length, length, lines, lane, width), room)
            first += groups * blocks()

    return run


def rows_kernel(body: Callable[..., Any], inputs: int, dtype: Any) -> Any:
    """``kernel(*arrays, n, length, lines, width, y)`` for 1 or 2 arrays: `over_rows`."""
    T, over = dtype.type, over_rows(body)

    def one(x, n, length, lines, width, y):
        over((x,), n, length, lines, width, y, cuda.shared.array(WARP, T))

    def two(g, x, n, length, lines, width, y):
        over((g, x), n, length, lines, width, y, cuda.shared.array(WARP, T))

    return kernel(one if inputs == 1 else two)


def fill_row(f: Callable[..., Any], inputs: int, dtype: Any) -> Callable[..., Any]:
    """``fill(a, y, place, terms)``: y = f(*a, *terms), entry by entry."""
    size = size_of(dtype)
    at, lines_at = of_elements(f, inputs), loads(inputs)
    line = of_lines(at, dtype)

    @scalar
    def fill(a, y, place, terms):
        start, length, lines, lane, width = place
        j = lane
        while j < lines:
            store(y, start + j * size, line(lines_at(a, start + j * size), terms))
            j += width
        j = lines * size + lane
        while j < length:
            y[start + j] = at(a, start + j, terms)
            j += width

    return fill


def sum_row(f: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """``summed(a, place, room)``: Σ f(*a) over the entries of a row of two arrays."""
    T, size = dtype.type, size_of(dtype)
    at, lines_at, of_line = of_elements(f, 2), loads(2), added(dtype)
    line = of_lines(at, dtype)

    @scalar
    def summed(a, place, room):
        start, length, lines, lane, width = place
        high, low = T(0), T(0)
        j = lane
        while j < lines:
            high, low = add(high, low, of_line(line(lines_at(a, start + j * size), ())), T(0))
            j += width
        j = lines * size + lane
        while j < length:
            high, low = add(high, low, at(a, start + j, ()), T(0))
            j += width
        high, low = group_sum(high, low, width, room)
        return total(high, low)

    return summed


def whole_rows(f: Callable[..., Any], inputs: int) -> Any:
    """``kernel(*arrays, n, length, lines, width, y)`` for 1 or 2 arrays: f(*their rows, row of y), as it is, of a row
    function that has no formulas of an entry. A thread for each row; y lies apart from the inputs.
    """

    def one(x, n, length, lines, width, y):
        i = block() * block_size() + thread()
        while i < n and length:
            start, stop = i * length, (i + 1) * length
            f(x[start:stop], y[start:stop])
            i += block_size() * blocks()

    def two(g, x, n, length, lines, width, y):
        i = block() * block_size() + thread()
        while i < n and length:
            start, stop = i * length, (i + 1) * length
            f(g[start:stop], x[start:stop], y[start:stop])
            i += block_size() * blocks()

    return kernel(one if inputs == 1 else two)


@functools.cache
def forward(name: str, dtype: Any) -> Any:
    """``kernel(x, n, length, lines, width, y)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return whole_rows(op.forward, 1)
    terms, y_of, entry = of.terms, of.entry, scalar(lambda x, largest, a, b: y_of(x, a, b))
    if of.of_exp:
        entry = scalar(lambda x, largest, a, b: y_of(exp_minus(largest - x), a, b))
    T, sums, fill = dtype.type, exp_sums(dtype), fill_row(entry, 1, dtype)

    @scalar
    def body(inputs, y, row, live, place, room):
        largest, others = sums(inputs[0], place, room)
        a, b = terms(T, largest, others)
        if live:
            fill(inputs, y, place, (largest, a, b))

    return rows_kernel(body, 1, dtype)


@functools.cache
def logsumexp(dtype: Any) -> Any:
    """``kernel(x, n, length, lines, width, y)``: y[i] for row i."""
    sums = exp_sums(dtype)

    @scalar
    def body(inputs, y, row, live, place, room):
        largest, others = sums(inputs[0], place, room)
        if live and place[3] == 0:
            y[row] = softmax.logsumexp_of(largest, others)

    return rows_kernel(body, 1, dtype)


@functools.cache
def logsumexp_backward(dtype: Any) -> Any:
    """``kernel(g, x, n, length, lines, width, y)``: g[i]·softmax(row i)"""
    T, sums = dtype.type, exp_sums(dtype)
    entry = scalar(lambda x, largest, b, g: softmax.logsumexp_backward_entry(rows.shifted_exp(x, largest)[0], b, b, g))
    fill = fill_row(entry, 1, dtype)

    @scalar
    def body(inputs, y, row, live, place, room):
        largest, others = sums(inputs[1], place, room)
        _, scale = softmax.logsumexp_slope_terms(T, largest, others)
        if live:
            fill((inputs[1],), y, place, (largest, scale, inputs[0][row]))

    return rows_kernel(body, 2, dtype)


@functools.cache
def backward(name: str, dtype: Any) -> Any:
    """``kernel(grad_output, y, n, length, lines, width, grad_x)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return whole_rows(op.backward, 2)
    summed, fill = sum_row(of.backward_term, dtype), fill_row(of.backward_entry, 2, dtype)

    @scalar
    def body(inputs, dx, row, live, place, room):
        t = summed(inputs, place, room)
        if live:
            fill(inputs, dx, place, (t,))

    return rows_kernel(body, 2, dtype)


def lines_of(length: int, *arrays: Any) -> int:
    """How many whole lines each row has; 0 where not all rows begin on a multiple of 16 bytes."""
    size = LINE // arrays[0].dtype.itemsize
    aligned = length % size == 0 and all(address(a) % LINE == 0 for a in arrays)
    return length // size if aligned else 0


def run(compiled: Any, before: tuple[Any, ...], n: int, length: int, *results: Any) -> None:
    """``kernel(*before, n, length, lines, width, *results)``: ``before`` ends with an array of the rows; so does
    ``results`` begin, where it is one of rows.
    """
    if n == 0:
        return
    width, threads = width_of(length)
    whole = [a for a in (*before, *results) if getattr(a, "size", 0) == n * length and a.dtype == before[-1].dtype]
    groups = -(-n // (threads // width))
    launch(
        compiled, min(groups, 32 * processors()), threads,
        *before, n, length, lines_of(length, *whole) if whole else 0, width, *results,
    )  # fmt: skip
