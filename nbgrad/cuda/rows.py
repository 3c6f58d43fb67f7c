"""Row functions become CUDA kernels over contiguous rows: softmax, log_softmax, logsumexp and their derivatives.

A row is read from memory once, where a multiprocessor's cache holds it: the second reading, which makes the entries of
the result, follows at once. Where rows begin on a multiple of 16 bytes their first ``lines`` lines are read as such.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import WARP, address, cuda, kernel, launch, processors
from nbgrad.cuda.device.intrinsics import LINE, block, block_size, blocks, load, store, thread
from nbgrad.cuda.reduce import add, exp_sums, group_sum, total, width_of
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows
from nbgrad.jit import scalar

__all__ = ["backward", "fill_row", "forward", "lines_of", "logsumexp", "logsumexp_backward", "run"]


def fill_row(f: Callable[..., Any], dtype: Any) -> Callable[..., Any]:
    """``fill(x, y, start, length, lines, lane, width, a, b, c)``: y = f(x, a, b, c), entry by entry."""
    size = LINE // np.dtype(dtype).itemsize
    line: Any
    if size == 2:
        line = scalar(lambda x, a, b, c: (f(x[0], a, b, c), f(x[1], a, b, c)))
    else:
        line = scalar(
            lambda x, a, b, c: (f(x[0], a, b, c), f(x[1], a, b, c), f(x[2], a, b, c), f(x[3], a, b, c))
        )

    @scalar
    def fill(x, y, start, length, lines, lane, width, a, b, c):
        j = lane
        while j < lines:
            place = start + j * size
            store(y, place, line(load(x, place), a, b, c))
            j += width
        j = lines * size + lane
        while j < length:
            y[start + j] = f(x[start + j], a, b, c)
            j += width

    return fill


# name: (what the entries need of the row, an entry of x)
_FORWARD: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (
        rows.softmax_terms,
        scalar(lambda x, largest, a, b: rows.softmax_entry(exp_minus(largest - x), a, b)),
    ),
    "log_softmax": (rows.log_softmax_terms, scalar(lambda x, largest, a, b: rows.log_softmax_entry(x, a, b))),
}
# name: (what is summed, an entry)
_BACKWARD: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "softmax": (rows.softmax_backward_term, rows.softmax_backward_entry),
    "log_softmax": (rows.log_softmax_backward_term, rows.log_softmax_backward_entry),
}


@functools.cache
def forward(name: str, dtype: Any) -> Any:
    """``kernel(x, n, length, lines, width, y)``"""
    terms, entry = _FORWARD[name]
    T, sums, fill = dtype.type, exp_sums(dtype), fill_row(entry, dtype)

    def run(x, n, length, lines, width, y):
        lane, groups, room = thread() % width, block_size() // width, cuda.shared.array(WARP, T)
        first = block() * groups
        while first < n:  # all threads of a block go round together: they meet in the sums
            i = first + thread() // width
            live = i < n
            start = (i if live else n - 1) * length
            largest, others = sums(x, start, length, lines, lane, width, room)
            a, b = terms(T, largest, others)
            if live:
                fill(x, y, start, length, lines, lane, width, largest, a, b)
            first += groups * blocks()

    return kernel(run)


@functools.cache
def logsumexp(dtype: Any) -> Any:
    """``kernel(x, n, length, lines, width, y)``: y[i] for row i."""
    T, sums = dtype.type, exp_sums(dtype)

    def run(x, n, length, lines, width, y):
        lane, groups, room = thread() % width, block_size() // width, cuda.shared.array(WARP, T)
        first = block() * groups
        while first < n:
            i = first + thread() // width
            start = (i if i < n else n - 1) * length
            largest, others = sums(x, start, length, lines, lane, width, room)
            if i < n and lane == 0:
                y[i] = rows.logsumexp_of(largest, others)
            first += groups * blocks()

    return kernel(run)


@functools.cache
def logsumexp_backward(dtype: Any) -> Any:
    """``kernel(g, x, n, length, lines, width, y)``: g[i]·softmax(row i)"""
    T, sums = dtype.type, exp_sums(dtype)
    entry = scalar(lambda x, largest, b, g: rows.softmax_entry(rows.shifted_exp(x, largest)[0], b, b) * g)
    fill = fill_row(entry, dtype)

    def run(g, x, n, length, lines, width, y):
        lane, groups, room = thread() % width, block_size() // width, cuda.shared.array(WARP, T)
        first = block() * groups
        while first < n:
            i = first + thread() // width
            live = i < n
            row = i if live else n - 1
            start = row * length
            largest, others = sums(x, start, length, lines, lane, width, room)
            _, scale = rows.logsumexp_slope_terms(T, largest, others)
            if live:
                fill(x, y, start, length, lines, lane, width, largest, scale, g[row])
            first += groups * blocks()

    return kernel(run)


@functools.cache
def backward(name: str, dtype: Any) -> Any:
    """``kernel(grad_output, y, n, length, lines, width, grad_x)``"""
    term, entry = _BACKWARD[name]
    T, size = dtype.type, LINE // dtype.itemsize
    line: Any
    if size == 2:
        of_line = scalar(lambda g, y: term(g[0], y[0]) + term(g[1], y[1]))
        line = scalar(lambda g, y, t: (entry(g[0], y[0], t), entry(g[1], y[1], t)))
    else:
        of_line = scalar(lambda g, y: (term(g[0], y[0]) + term(g[1], y[1])) + (term(g[2], y[2]) + term(g[3], y[3])))
        line = scalar(
            lambda g, y, t: (entry(g[0], y[0], t), entry(g[1], y[1], t), entry(g[2], y[2], t), entry(g[3], y[3], t))
        )

    def run(g, y, n, length, lines, width, dx):
        lane, groups, room = thread() % width, block_size() // width, cuda.shared.array(WARP, T)
        first = block() * groups
        while first < n:
            i = first + thread() // width
            live = i < n
            start = (i if live else n - 1) * length
            high, low = T(0), T(0)
            j = lane
            while j < lines:
                place = start + j * size
                high, low = add(high, low, of_line(load(g, place), load(y, place)), T(0))
                j += width
            j = lines * size + lane
            while j < length:
                high, low = add(high, low, term(g[start + j], y[start + j]), T(0))
                j += width
            high, low = group_sum(high, low, width, room)
            t = total(high, low)
            if live:
                j = lane
                while j < lines:
                    place = start + j * size
                    store(dx, place, line(load(g, place), load(y, place), t))
                    j += width
                j = lines * size + lane
                while j < length:
                    dx[start + j] = entry(g[start + j], y[start + j], t)
                    j += width
            first += groups * blocks()

    return kernel(run)


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
