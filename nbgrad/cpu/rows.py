"""Row functions become loops over arrays of shape (outer, length, inner) along the middle, serial and
parallel: those of the table, and logsumexp. Each row is one thread's alone.

Each loop has three forms: "short_rows" for rows of at most `FEW` entries, which its scratch holds (unchecked);
"long_rows" for rows of any length; "long_columns" for those of which `LANES` lie side by side: they are taken so, many
at a time as short ones are.

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
    FEW,
    LANES,
    WORK,
    block_of,
    column_others,
    column_sums,
    lane_block,
    lanes_at,
    others,
    row_sums_alone,
    row_sums_kept,
    scatter,
    side_by_side,
    sums,
    total,
)  # fmt: skip
from nbgrad.cpu.transpose import put_results, result_at, row_at, start_of, tile_size
from nbgrad.formulas import softmax
from nbgrad.formulas.rows import shifted_exp
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.jit import Loop, scalar
from nbgrad.jit.intrinsics import clash, overlap
from nbgrad.jit.memory import stack_array, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = ["backward", "form", "forward", "logsumexp", "logsumexp_backward"]


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


#: Bytes that the tiles of long columns may have to be copied before anything else: half of a second-level cache. (Where
#: a row is a power of two long, all of a column lies at a few places of a cache.)
TILE_BYTES = 1 << 19


def form(length: int, inner: int) -> str:
    """Which loop is for such rows. (Of columns equal entries are counted in float32.)"""
    if length <= FEW:
        return "short_rows"
    return "long_columns" if inner >= LANES and length < 1 << 24 else "long_rows"


def _lanes_of(form: str) -> tuple[bool, Callable[..., Any], int]:
    """(whether rows are long columns, their sums in the lanes, size of the scratch for that in float64)"""
    columns = form == "long_columns"
    return columns, column_others if columns else others, LANES * LANES if columns else LANES


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


def _entries(
    terms: Callable[..., Any], entry: Callable[..., Any], of_e: bool, form: str, given: bool
) -> Callable[..., Any]:
    """``rows_of_block(g, x, first, last, length, inner, y)``: y = entry(e^(x − max) or x, *terms, g[i] of row i if that
    is ``given``, else 0).
    """
    row_sums = row_sums_kept if of_e else row_sums_alone
    columns, sums_of, room = _lanes_of(form)

    @scalar
    def entry_of_x(x, largest, a, b, own):
        return entry(shifted_exp(x, largest)[0], a, b, own)

    @scalar
    def lanes(g, x, first, last, length, inner, y):
        T, work = x.dtype.type, stack_array(x.dtype, WORK)
        parts, rests = stack_array(x.dtype, room), stack_array(np.float64, room)
        memory = np.empty(length * LANES if columns else 0, T)
        t = unchecked_view(memory, 0, memory.size) if columns else stack_array(x.dtype, COLUMNS)
        small = not columns or t.nbytes <= TILE_BYTES
        top, a, b, own = lane_block(work, 3), lane_block(work, 4), lane_block(work, 5), lane_block(work, 6)
        lost = lane_block(work, 2)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            in_place = side_by_side(i, count, inner)
            source, step = lanes_at(x, i, count, length, inner, t, columns and small)
            keep = of_e and (small or not in_place)
            sums_of(source, step, length, t if keep else lost, LANES if keep else 0, work, parts, rests)
            for r in range(LANES):
                a[r], b[r] = terms(T, top[r], rests[r])
                own[r] = g[i + r] if given and r < count else T(0)
            if keep:
                source, step = t, LANES
            target, apart = (unchecked_view(y, start_of(i, length, inner), 0), inner) if in_place else (t, LANES)
            for j in range(length):
                lane, to = unchecked_view(source, j * step, LANES), unchecked_view(target, j * apart, LANES)
                if of_e and columns and not keep:
                    vector_map(entry_of_x, (lane, top, a, b, own), 0, LANES, (to,), 0, ())
                else:
                    vector_map(entry, (lane, a, b, own), 0, LANES, (to,), 0, ())
            if not in_place:
                scatter(t, i, count, length, inner, y)
        return memory.size  # until here there are views of it

    @scalar
    def long_rows(g, x, first, last, length, inner, y):
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
            a, b = terms(T, *row_sums(x_row, e_row, y_row, work, wide))
            own = g[i] if given else T(0)
            fill(entry, (e_row if of_e else x_row,), 0, length, y_row, (a, b, own), False)
            put_results(result, i, first, last, length, inner, y)

    return long_rows if form == "long_rows" else lanes


@functools.cache
def forward(name: str, form: str) -> Loop:
    """``loop(work, x, n, length, inner, y)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return _whole_rows(op.forward, 1, name + "_rows")
    entry = of.entry
    rows = _entries(of.terms, scalar(lambda x, a, b, own: entry(x, a, b)), of.of_exp, form, False)
    return _loop(scalar(lambda x, *place: rows(x, x, *place)), clash, f"{name}_{form}")


@functools.cache
def backward(name: str, form: str) -> Loop:
    """``loop(work, grad_output, y, n, length, inner, grad_x)``"""
    op, of = ROW_FUNCTIONS[name], ROW_FUNCTIONS[name].sums
    if of is None:
        return _whole_rows(op.backward, 2, name + "_backward_rows")
    term, entry = of.backward_term, of.backward_entry
    add = scalar(lambda g, y, partial: partial + term(g, y))
    columns, _, room = _lanes_of(form)

    @scalar
    def lanes(g, y, first, last, length, inner, dx):
        T, lanes = y.dtype.type, stack_array(y.dtype, LANES)
        parts, rests = stack_array(y.dtype, room), stack_array(np.float64, room)
        memory = np.empty(2 * length * LANES if columns else 0, T)
        t = unchecked_view(memory, 0, length * LANES) if columns else stack_array(y.dtype, COLUMNS)
        u = unchecked_view(memory, length * LANES, length * LANES) if columns else stack_array(y.dtype, COLUMNS)
        copied = columns and 2 * t.nbytes <= TILE_BYTES
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            in_place = side_by_side(i, count, inner)
            g_lanes, step = lanes_at(g, i, count, length, inner, t, copied)
            y_lanes, _ = lanes_at(y, i, count, length, inner, u, copied)
            if columns:
                column_sums(add, g_lanes, y_lanes, step, length, parts, rests)
            else:
                for r in range(LANES):
                    rests[r] = 0.0
                sums(add, g_lanes, y_lanes, step, length, lanes, rests, 0)
            for r in range(LANES):
                lanes[r] = T(rests[r])
            target, apart = (unchecked_view(dx, start_of(i, length, inner), 0), inner) if in_place else (t, LANES)
            for j in range(length):
                lane, other = unchecked_view(g_lanes, j * step, LANES), unchecked_view(y_lanes, j * step, LANES)
                vector_map(entry, (lane, other, lanes), 0, LANES, (unchecked_view(target, j * apart, LANES),), 0, ())
            if not in_place:
                scatter(t, i, count, length, inner, dx)
        return memory.size  # until here there are views of it

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
            sums(add, g_row, y_row, LANES, whole, work, wide, length)
            sums(add, tail_g, tail_y, LANES, 1, work, wide, LANES)
            summed = T(total(wide))
            fill(entry, (g_row, y_row), 0, length, dx_row, (summed,), streamed)
            put_results(result, i, first, last, length, inner, dx)

    return _loop(long_rows if form == "long_rows" else lanes, _either_clashes, f"{name}_backward_{form}", 2)


@functools.cache
def logsumexp(form: str) -> Loop:
    """``loop(work, x, n, length, inner, y)``: y[i] for row i."""
    columns, sums_of, room = _lanes_of(form)

    @scalar
    def lanes(x, first, last, length, inner, y):
        T, work = x.dtype.type, stack_array(x.dtype, WORK)
        parts, rests = stack_array(x.dtype, room), stack_array(np.float64, room)
        memory = np.empty(length * LANES if columns else 0, T)
        t = unchecked_view(memory, 0, memory.size) if columns else stack_array(x.dtype, COLUMNS)
        top, result, lost = lane_block(work, 3), lane_block(work, 4), lane_block(work, 2)
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            source, step = lanes_at(x, i, count, length, inner, t, columns and t.nbytes <= TILE_BYTES)
            sums_of(source, step, length, lost, 0, work, parts, rests)
            for r in range(LANES):
                result[r] = softmax.logsumexp_of(top[r], rests[r])
            for r in range(count):
                y[i + r] = result[r]
        return memory.size  # until here there are views of it

    @scalar
    def long_rows(x, first, last, length, inner, y):
        T = x.dtype.type
        work, wide = stack_array(x.dtype, WORK), stack_array(np.float64, LANES)
        tile = np.empty(tile_size(length, inner, False), T)
        for i in range(first, last):
            row = row_at(x, i, first, last, length, inner, False, tile)
            y[i] = softmax.logsumexp_of(*row_sums_alone(row, row, None, work, wide))

    return _loop(long_rows if form == "long_rows" else lanes, overlap, f"logsumexp_{form}")


@functools.cache
def logsumexp_backward(form: str) -> Loop:
    """``loop(work, g, x, n, length, inner, dx)``: g[i]·softmax(row i)"""
    rows = _entries(softmax.logsumexp_slope_terms, softmax.logsumexp_backward_entry, True, form, True)
    return _loop(rows, _overlaps, f"logsumexp_backward_{form}", 2)
