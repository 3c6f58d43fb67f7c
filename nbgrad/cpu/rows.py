"""Row functions become loops over arrays of shape (outer, length, inner) along the middle, serial and
parallel: those of the table, and logsumexp. Each row is one thread's alone.

Each loop has two forms: ``long`` for rows of any length, the other for rows of at most `FEW` entries, which its scratch
holds (unchecked).

Arrays come flat and contiguous, with ``n`` rows of ``length`` entries, ``inner`` elements apart. The loops
answer False, without having written anything, if an input overlaps the result other than element by element.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import prange

from nbgrad.cpu.elementwise import STREAM, fill
from nbgrad.cpu.lanes import (
    COLUMNS,
    LANES,
    WORK,
    block_of,
    exp_sums,
    gather,
    lane_block,
    largest,
    put_results,
    result_at,
    row_at,
    row_sums_alone,
    row_sums_kept,
    scatter,
    sums,
    tile_size,
    total,
)  # fmt: skip
from nbgrad.formulas import softmax
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.jit import Loop, scalar
from nbgrad.jit.intrinsics import clash, overlap
from nbgrad.jit.memory import stack_array
from nbgrad.jit.vector_map import vector_map

__all__ = ["backward", "forward", "logsumexp", "logsumexp_backward"]


@scalar
def _either_clashes(a, b, y):
    return clash(a, y) or clash(b, y)


@scalar
def _overlaps(g, x, y):
    """``g`` is read a number a row, while y is written."""
    return overlap(g, y) or clash(x, y)


def _loop(rows_of_block: Callable[..., Any], overlaps: Callable[..., Any], name: str, count: int = 1) -> Loop:
    """``loop(work, *inputs, n, length, inner, y)`` for ``count`` (1 or 2) inputs: blocks of rows by
    ``rows_of_block(*inputs, first, last, length, inner, y)``, unless ``overlaps(*inputs, y)``.
    """

    def one(x, n, length, inner, y):
        if overlaps(x, y):
            return False
        block = block_of(length, inner)
        for k in prange((n + block - 1) // block):
            rows_of_block(x, k * block, min((k + 1) * block, n), length, inner, y)
        return True

    def two(a, b, n, length, inner, y):
        if overlaps(a, b, y):
            return False
        block = block_of(length, inner)
        for k in prange((n + block - 1) // block):
            rows_of_block(a, b, k * block, min((k + 1) * block, n), length, inner, y)
        return True

    return Loop(one if count == 1 else two, name=name)


def _form(long: bool) -> str:
    return "long_rows" if long else "short_rows"


@scalar
def _take(x, i, length, inner, row):
    """Row i, to ``row``."""
    start = i // inner * length * inner + i % inner
    for j in range(length):
        row[j] = x[start + j * inner]


def _whole_rows(f: Callable[..., Any], count: int, name: str) -> Loop:
    """``loop(work, *inputs, n, length, inner, y)`` for ``count`` (1 or 2) inputs: f(*rows of the inputs, row of y), as
    it is, of a function that has no formulas of an entry. Rows are copied: f may read what lies under y.
    """

    @scalar
    def rows_of_block(a, b, first, last, length, inner, y):
        a_row, b_row, y_row = np.empty(length, a.dtype), np.empty(length, a.dtype), np.empty(length, a.dtype)
        for i in range(first, last if length else first):
            _take(a, i, length, inner, a_row)
            if count == 1:
                f(a_row, y_row)
            else:
                _take(b, i, length, inner, b_row)
                f(a_row, b_row, y_row)
            start = i // inner * length * inner + i % inner
            for j in range(length):
                y[start + j * inner] = y_row[j]

    if count == 2:
        return _loop(rows_of_block, _either_clashes, name, 2)
    return _loop(scalar(lambda x, *place: rows_of_block(x, x, *place)), clash, name)


@functools.cache
def forward(name: str, long: bool) -> Loop:
    """``loop(work, x, n, length, inner, y)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return _whole_rows(op.forward, 1, name + "_rows")
    terms, entry, of_e = of.terms, of.entry, of.of_exp
    row_sums, step = (row_sums_kept, LANES) if of_e else (row_sums_alone, 0)

    @scalar
    def short_rows(x, first, last, length, inner, y):
        T = x.dtype.type
        t, work = stack_array(x.dtype, COLUMNS), stack_array(x.dtype, WORK)
        rest = stack_array(np.float64, LANES)
        equal, top = lane_block(work, 0), lane_block(work, 3)
        a, b = lane_block(work, 4), lane_block(work, 5)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            gather(x, i, count, length, inner, t)
            for r in range(LANES):
                top[r], equal[r], rest[r] = -T(np.inf), T(0), 0.0
            largest(t, length, top)
            exp_sums(t, length, top, t if of_e else lane_block(work, 2), step, work, rest, None, None)
            for r in range(LANES):
                a[r], b[r] = terms(T, top[r], (np.float64(equal[r]) - 1.0) + rest[r])
            for j in range(length):
                lane = lane_block(t, j)
                vector_map(entry, (lane, a, b), 0, LANES, (lane,), 0, ())
            scatter(t, i, count, length, inner, y)

    @scalar
    def long_rows(x, first, last, length, inner, y):
        T, same = x.dtype.type, x.ctypes.data == y.ctypes.data
        work, wide = stack_array(x.dtype, WORK), stack_array(np.float64, LANES)
        tile = np.empty(tile_size(length, inner, same), T)
        result = np.empty(tile_size(length, inner, False), T)
        # The exponentials lie in memory of their own: in y, where large arrays have the same place in their pages as
        # x, a load waits for a store 4096 bytes away: 1.5 times the time.
        e_row = np.empty(length if of_e else 0, T)
        for i in range(first, last):
            x_row = row_at(x, i, first, last, length, inner, same, tile)
            y_row = result_at(y, i, first, length, inner, result)
            top, others = row_sums(x_row, e_row, y_row, work, wide)
            fill(entry, (e_row if of_e else x_row,), 0, length, y_row, terms(T, top, others), False)
            put_results(result, i, first, last, length, inner, y)

    return _loop(long_rows if long else short_rows, clash, f"{name}_" + _form(long))


@functools.cache
def backward(name: str, long: bool) -> Loop:
    """``loop(work, grad_output, y, n, length, inner, grad_x)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return _whole_rows(op.backward, 2, name + "_backward_rows")
    term, entry = of.backward_term, of.backward_entry
    add = scalar(lambda g, y, partial: partial + term(g, y))

    @scalar
    def short_rows(g, y, first, last, length, inner, dx):
        T = y.dtype.type
        t, u = stack_array(y.dtype, COLUMNS), stack_array(y.dtype, COLUMNS)
        lanes, wide = stack_array(y.dtype, LANES), stack_array(np.float64, LANES)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            gather(g, i, count, length, inner, t)
            gather(y, i, count, length, inner, u)
            for r in range(LANES):
                wide[r] = 0.0
            sums(add, t, u, length, lanes, wide)
            for r in range(LANES):
                lanes[r] = T(wide[r])
            for j in range(length):
                lane, other = lane_block(t, j), lane_block(u, j)
                vector_map(entry, (lane, other, lanes), 0, LANES, (lane,), 0, ())
            scatter(t, i, count, length, inner, dx)

    @scalar
    def long_rows(g, y, first, last, length, inner, dx):
        T, same_g, same_y = y.dtype.type, g.ctypes.data == dx.ctypes.data, y.ctypes.data == dx.ctypes.data
        work, wide = stack_array(y.dtype, WORK), stack_array(np.float64, LANES)
        tail_g, tail_y = lane_block(work, 1), lane_block(work, 2)
        tile_g = np.empty(tile_size(length, inner, same_g), T)
        tile_y = np.empty(tile_size(length, inner, same_y), T)
        result = np.empty(tile_size(length, inner, False), T)
        whole = length // LANES
        end = whole * LANES
        streamed = dx.nbytes >= STREAM and inner == 1 and not (same_g or same_y)
        for i in range(first, last):
            g_row = row_at(g, i, first, last, length, inner, same_g, tile_g)
            y_row = row_at(y, i, first, last, length, inner, same_y, tile_y)
            dx_row = result_at(dx, i, first, length, inner, result)
            for r in range(LANES):
                wide[r], tail_g[r], tail_y[r] = 0.0, T(0), T(0)
            for j in range(end, length):
                tail_g[j - end], tail_y[j - end] = g_row[j], y_row[j]
            sums(add, g_row, y_row, whole, work, wide)
            sums(add, tail_g, tail_y, 1, work, wide)
            summed = T(total(wide))
            fill(entry, (g_row, y_row), 0, length, dx_row, (summed,), streamed)
            put_results(result, i, first, last, length, inner, dx)

    return _loop(long_rows if long else short_rows, _either_clashes, f"{name}_backward_" + _form(long), 2)


@functools.cache
def logsumexp(long: bool) -> Loop:
    """``loop(work, x, n, length, inner, y)``: y[i] for row i."""

    @scalar
    def short_rows(x, first, last, length, inner, y):
        T = x.dtype.type
        t, work = stack_array(x.dtype, COLUMNS), stack_array(x.dtype, WORK)
        rest = stack_array(np.float64, LANES)
        equal, top, result = lane_block(work, 0), lane_block(work, 3), lane_block(work, 4)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            gather(x, i, count, length, inner, t)
            for r in range(LANES):
                top[r], equal[r], rest[r] = -T(np.inf), T(0), 0.0
            largest(t, length, top)
            exp_sums(t, length, top, lane_block(work, 2), 0, work, rest, None, None)
            for r in range(LANES):
                result[r] = softmax.logsumexp_of(top[r], (np.float64(equal[r]) - 1.0) + rest[r])
            for r in range(count):
                y[i + r] = result[r]

    @scalar
    def long_rows(x, first, last, length, inner, y):
        T = x.dtype.type
        work, wide = stack_array(x.dtype, WORK), stack_array(np.float64, LANES)
        tile = np.empty(tile_size(length, inner, False), T)
        for i in range(first, last):
            row = row_at(x, i, first, last, length, inner, False, tile)
            y[i] = softmax.logsumexp_of(*row_sums_alone(row, row, None, work, wide))

    return _loop(long_rows if long else short_rows, overlap, "logsumexp_" + _form(long))


@functools.cache
def logsumexp_backward(long: bool) -> Loop:
    """``loop(work, g, x, n, length, inner, dx)``: g[i]·softmax(row i)"""
    entry = softmax.logsumexp_backward_entry

    @scalar
    def short_rows(g, x, first, last, length, inner, dx):
        T = x.dtype.type
        t, work = stack_array(x.dtype, COLUMNS), stack_array(x.dtype, WORK)
        rest = stack_array(np.float64, LANES)
        equal, top = lane_block(work, 0), lane_block(work, 3)
        a, b, own = lane_block(work, 4), lane_block(work, 5), lane_block(work, 6)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            gather(x, i, count, length, inner, t)
            for r in range(LANES):
                top[r], equal[r], rest[r] = -T(np.inf), T(0), 0.0
            largest(t, length, top)
            exp_sums(t, length, top, t, LANES, work, rest, None, None)
            for r in range(LANES):
                a[r], b[r] = softmax.logsumexp_slope_terms(T, top[r], (np.float64(equal[r]) - 1.0) + rest[r])
                own[r] = T(0)
            for r in range(count):
                own[r] = g[i + r]
            for j in range(length):
                lane = lane_block(t, j)
                vector_map(entry, (lane, a, b, own), 0, LANES, (lane,), 0, ())
            scatter(t, i, count, length, inner, dx)

    @scalar
    def long_rows(g, x, first, last, length, inner, dx):
        T, same = x.dtype.type, x.ctypes.data == dx.ctypes.data
        work, wide = stack_array(x.dtype, WORK), stack_array(np.float64, LANES)
        tile = np.empty(tile_size(length, inner, same), T)
        result = np.empty(tile_size(length, inner, False), T)
        e_row = np.empty(length, T)  # memory of its own, as in `forward`
        for i in range(first, last):
            x_row = row_at(x, i, first, last, length, inner, same, tile)
            dx_row = result_at(dx, i, first, length, inner, result)
            top, others = row_sums_kept(x_row, e_row, dx_row, work, wide)
            zero, scale = softmax.logsumexp_slope_terms(T, top, others)
            fill(entry, (e_row,), 0, length, dx_row, (zero, scale, g[i]), False)
            put_results(result, i, first, last, length, inner, dx)

    return _loop(long_rows if long else short_rows, _overlaps, "logsumexp_backward_" + _form(long), 2)
