"""The one pass over X of regression models with few coefficients, on CUDA: as `nbgrad.cuda.regression.one_pass`, with
X's rows in shared memory.

A block of one warp copies a tile of X, works on it and copies the next: while it waits the other blocks of its
multiprocessor work. For its scores a thread has rows of its own, and then all classes of one row: no number goes from
thread to thread but through the table of scores. Then threads own features, and add up residuals times rows.

Counted in machine code for float32, 100 features, 10 classes, by row on a multiprocessor of an H200, which at full
bandwidth brings one in 21 clocks: 30 clocks to issue 119 instructions, 80 of them the products, and 34 in which shared
memory and L1 bring 128 bytes a clock into registers, where every thread's copy of a number counts. (A thread for two
rows and half of the classes: 29 and 43; 59 were measured. A row's features spread over a warp, in registers: 57 and
more than 60; 105 were measured.) One class: 8 and 14.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import WARP, cuda, kernel
from nbgrad.cuda.device.intrinsics import barrier, block, blocks, thread
from nbgrad.cuda.reduce import add
from nbgrad.cuda.regression.models import parameters_of, row_terms_of
from nbgrad.cuda.regression.rooms import room_words
from nbgrad.cuda.regression.tiles import Staged
from nbgrad.jit import scalar

__all__ = ["resident", "staged_kernel", "staged_of"]

#: 32-bit registers of a thread for slopes, and bytes of a block's shared memory: eight of them have room.
SLOPES, ROOM = 48, 26_000
#: Shared memory of a multiprocessor, and what a block takes beside its own.
SHARED, BESIDE = 227 * 1024, 1024


def staged_of(classes: int, features: int, dtype: Any, x_dtype: Any, aligned: bool) -> Staged | None:
    """The tile; None where it has no room. ``aligned``: whether X begins on 16 bytes."""
    widest, size = min(16 // np.dtype(x_dtype).itemsize, 4), np.dtype(dtype).itemsize
    width = widest if aligned and features % widest == 0 else 1
    lines = -(-(max(features // width, 1) - 1) // 8) * 8 + 1
    tile = Staged(classes, lines, width)
    fits = _room(tile, True, dtype, x_dtype) <= ROOM and tile.own * width * classes * size // 4 <= SLOPES
    return tile if fits and classes <= WARP else None


def _room(tile: Staged, hessian: bool, dtype: Any, x_dtype: Any) -> int:
    """Bytes of a block's shared memory."""
    return tile.room * np.dtype(x_dtype).itemsize + tile.scores * np.dtype(dtype).itemsize * (2 if hessian else 1)


@functools.cache
def resident(tile: Staged, hessian: bool, dtype: Any, x_dtype: Any) -> int:
    """Blocks that a multiprocessor holds at a time."""
    size = np.dtype(dtype).itemsize // 4
    needed = 123 + (40 if size == 2 or hessian else 0) + size * tile.own * tile.width * tile.classes
    by_registers = 4 * max(1, 65536 // (4 * WARP * needed))  # each quarter of a multiprocessor has its own
    return max(1, min(32, SHARED // (_room(tile, hessian, dtype, x_dtype) + BESIDE), by_registers))


@functools.cache
def staged_kernel(model: str, hessian: bool, dtype: Any, x_dtype: Any, tile: Staged, flush: int, once: bool) -> Any:
    """As `nbgrad.cuda.regression.one_pass.pass_kernel`, for blocks of one warp; the intercepts' slopes are in the
    column behind the features'.
    """
    T: Any = dtype.type
    (is_good, terms), parameters = row_terms_of(model, hessian, tile), parameters_of(model)
    of = room_words(tile, dtype, x_dtype)
    fetch, landed, put = of.fetch, of.landed, of.put
    room_size, table_size, X = tile.room, tile.scores * (2 if hessian else 1), x_dtype.type
    no_scores, dot, keep, zeros, outer = of.no_scores, of.dot, of.keep, of.zeros, of.outer
    classes, lanes, split, tile_width, together = tile.classes, tile.lanes, tile.split, tile.width, tile.together
    row_size, apart = tile.lines * tile.width, WARP // tile.split
    rows, ones, length, size, scores = WARP // tile.parts, WARP * row_size, tile.length, tile.size, tile.scores
    slopes, often, nan, own_lines = classes * tile.pitch, max(1, flush // (WARP // tile.parts)), T(np.nan), tile.own

    @scalar
    def write_scores(tile, coefficients, table, behind, features):
        s = no_scores(tile)
        begin = thread() // apart * tile_width
        place = thread() % apart * row_size + begin
        while begin < features:
            s = dot(s, tile, coefficients, place, begin)
            place += split * tile_width
            begin += split * tile_width
        keep(s, coefficients, table, behind)

    @scalar
    def flush_slopes(g, sums, group, own, groups):
        """Add a thread's slopes to its places of the group's sums."""
        scratch, high = 2 * groups * length + group * slopes, group * length
        put(g, sums, scratch, own)
        for line in range(classes * own_lines):
            for v in range(tile_width):
                j = (line * lanes + own) * tile_width + v
                low = groups * length + high + j
                sums[high + j], sums[low] = add(sums[high + j], sums[low], sums[scratch + j], T(0))

    def run(x, n, features, target, weight, coefficients, nothing, flag, sums):
        room = cuda.shared.array(room_size, X, 32)  # the tile, and a line whose first number is 1
        table = cuda.shared.array(table_size, T, 32)
        lane, own, part = thread(), thread() % lanes, thread() // lanes
        group, groups = block() * (WARP // lanes) + part, blocks() * (WARP // lanes)
        lines = features // tile_width
        if lane < tile_width:
            room[ones + lane] = 1 if lane == 0 else 0
        v = coefficients[size + WARP :] if hessian else coefficients
        own_parameters = parameters(coefficients, size + classes)
        first, step, k = block() * WARP, blocks() * WARP, 0
        loss, loss_low = T(0), T(0)
        g = zeros(room)
        if not once:
            put(g, sums, group * length, own)
            put(g, sums, (groups + group) * length, own)
        while first < n:
            r = 0
            while r < rows:
                fetch(x, first * features, n - first, features, room, part * rows + r, own)
                r += together
            i = first + lane
            row = i if i < n else n - 1
            t, w = target[row], weight[row] if weight.size else T(1)
            bad = not is_good(t, classes)
            if bad and i < n:
                flag[0] = row + 1
            absent = i >= n or w == T(0)
            landed()
            barrier()
            write_scores(room, coefficients, table, 0, features)
            if hessian:
                write_scores(room, v, table, scores, features)
            barrier()
            value = terms(table, lane, t, w, bad, own_parameters)
            loss, loss_low = add(loss, loss_low, T(0) if absent else nan if bad else value, T(0))
            if absent or bad:
                for c in range(classes):
                    table[c * WARP + lane] = T(0) if absent else nan
            barrier()
            r = 0
            while r < rows:
                g = outer(g, room, table, part * rows + r, lines, own)
                r += together
            first += step
            k += 1
            if not once and (k == often or first >= n):
                flush_slopes(g, sums, group, own, groups)
                g, k = zeros(room), 0
            barrier()
        if once:
            put(g, sums, group * length, own)
        place = group * length + slopes + own
        sums[place], sums[groups * length + place] = loss, loss_low

    return kernel(run, (WARP, resident(tile, hessian, dtype, x_dtype)))
