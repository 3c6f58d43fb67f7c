"""Many rows at a time, or a long row many columns at a time: what the loops of `nbgrad.cpu.rows` are
made of.

A *lane block* is `LANES` numbers side by side, one a lane. Two ways to see rows as lane blocks:

* few columns (up to `FEW`): `LANES` rows are transposed into a scratch array in which column j is block j.
  Maximum, exponentials and sums of all these rows are then made lane by lane, without a horizontal sum.
* more: the row itself is cut into blocks, the last filled up with −inf; the lanes' sums are added at its end.

So one pair of functions, `largest` and `exp_sums`, serves both, and every loop that is heavy has `LANES`
turns, no remainder. What a row gives depends on its entries and its length alone, not on its place among the
others. Sums of 4 blocks are made in the array's precision, those in float64: 4 columns in float32 lose at
most 1.5 ulp and cost a quarter of the conversions.

Arrays are 1-D with blocks one after the other (slices of them help LLVM; in a 2-D array Numba's test for a
negative index kept it from vectorising). A loop must be long enough that LLVM vectorises it before it
unrolls it: 32 lanes were unrolled to scalar instructions.
"""

from __future__ import annotations

import numpy as np

from nbgrad.cpu.transpose import transpose
from nbgrad.formulas import rows
from nbgrad.jit import scalar
from nbgrad.jit.memory import LINE, move, prefetch_to_read, prefetch_to_write, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = [
    "COLUMNS", "FEW", "LANES", "TILE", "WORK", "block_of", "exp_sums", "gather", "lane_block", "largest", "put_results",
    "result_at", "row_at", "row_sums_alone", "row_sums_kept", "scatter", "sums", "tile_size", "total",
]  # fmt: skip

LANES = 64
# Scratch for 128 columns of 64 rows is 32 KB in float32, a first-level cache. A row of 129 columns fills 2.02
# blocks and pays for 3; one of 128 costs 1.6 times less as a column.
FEW = 128
GROUP = 4
#: The lanes of `FEW` columns, 64 KB of the stack in float64.
COLUMNS = FEW * LANES
#: Scratch of the loops' own; `row_sums` needs 6 blocks, of which `exp_sums` the first three.
WORK = 7 * LANES


@scalar
def lane_block(a, k):
    """The k-th lane block of ``a``."""
    return unchecked_view(a, k * LANES, LANES)


@scalar
def _largest(a, b, top):
    a = a if a > top else top
    return b if b > a else a


@scalar
def largest(x, blocks, top):
    """top[r] = max(top[r], the largest of lane r)"""
    # Two blocks a turn. With one, LLVM turns "store one of the two, where one is what stood there" into a
    # masked store: 12 cycles on AMD's Zen 3, 8 times slower than all of this.
    for j in range(0, blocks, 2):
        first = lane_block(x, j)
        j = min(j + 1, blocks - 1)
        vector_map(_largest, (first, lane_block(x, j), top), 0, LANES, (top,), 0, ())


@scalar
def _add_exp(x, top, count, part):
    e, equal, other = rows.shifted_exp(x, top)
    return e, count + equal, part + other


@scalar
def _add_wide(part, rest):
    return np.float64(part) + rest


@scalar
def exp_sums(x, blocks, top, e, step, work, rest, after, result):
    """count[r] += how many of lane r equal top[r], rest[r] += Σ e^(x − top[r]) over those that do not. ``count`` is the
    first block of ``work``.

    The exponentials of block j go to ``e[step·j:]``: over x, beside it, or with step 0 where they may be lost.
    Meanwhile memory is asked for what comes next: ``after``, of x's length, and ``result`` to write to (or None). At
    (4096, 1000) cross_entropy takes 1.1 ns an entry so, 1.65 without.
    """
    T = x.dtype.type
    count, part = lane_block(work, 0), lane_block(work, 1)
    for first in range(0, blocks, GROUP):
        for r in range(LANES):
            part[r] = T(0)
        for j in range(first, min(first + GROUP, blocks)):
            lane, kept = lane_block(x, j), unchecked_view(e, j * step, LANES)
            for r in range(j * LANES, (j + 1) * LANES, LINE // x.itemsize):
                if after is not None:
                    prefetch_to_read(after, r)
                if result is not None:
                    prefetch_to_write(result, r)
            vector_map(_add_exp, (lane, top, count, part), 0, LANES, (kept, count, part), 0, ())
        vector_map(_add_wide, (part, rest), 0, LANES, (rest,), 0, ())


@scalar
def sums(add, a, b, blocks, partial, total):
    """total[r] += Σ term(a, b) over lane r; ``add(a, b, partial)`` = partial + term(a, b). What follows
    a and b comes next: memory is asked for it.
    """
    T = a.dtype.type
    for first in range(0, blocks, GROUP):
        for r in range(LANES):
            partial[r] = T(0)
        for j in range(first, min(first + GROUP, blocks)):
            inputs = (lane_block(a, j), lane_block(b, j), partial)
            for r in range(j * LANES, (j + 1) * LANES, LINE // a.itemsize):
                prefetch_to_read(a, a.size + r)
                prefetch_to_read(b, b.size + r)
            vector_map(add, inputs, 0, LANES, (partial,), 0, ())
        vector_map(_add_wide, (partial, total), 0, LANES, (total,), 0, ())


@scalar
def gather(x, i, count, length, inner, t):
    """Rows i, i + 1, ... (``count`` ≤ LANES of them) of an array (outer, length, inner) to the lanes of the
    blocks of ``t``.
    """
    if inner == 1:
        transpose(x, i * length, length, count, length, t, 0, LANES)
        return
    r = 0
    while r < count:
        start, several = _start(i + r, length, inner), min(inner - (i + r) % inner, count - r)
        for j in range(length):
            move(x, start + j * inner, t, j * LANES + r, several)
        r += several


@scalar
def scatter(t, i, count, length, inner, y):
    """`gather` backwards."""
    if inner == 1:
        transpose(t, 0, LANES, length, count, y, i * length, length)
        return
    r = 0
    while r < count:
        start, several = _start(i + r, length, inner), min(inner - (i + r) % inner, count - r)
        for j in range(length):
            move(t, j * LANES + r, y, start + j * inner, several)
        r += several


@scalar
def _start(i, length, inner):
    """Where row i of an array (outer, length, inner) starts."""
    return i // inner * (length * inner) + i % inner


#: Long rows that do not lie contiguous are copied so many at a time: a cache line across.
TILE = 16


@scalar
def gather_rows(x, i, count, length, inner, t):
    """Rows i, i + 1, ... (``count`` ≤ TILE) of an array (outer, length, inner), one after the other."""
    r = 0
    while r < count:
        several = min(inner - (i + r) % inner, count - r)
        transpose(x, _start(i + r, length, inner), inner, length, several, t, r * length, length)
        r += several


@scalar
def scatter_rows(t, i, count, length, inner, y):
    """`gather_rows` backwards."""
    r = 0
    while r < count:
        several = min(inner - (i + r) % inner, count - r)
        transpose(t, r * length, length, several, length, y, _start(i + r, length, inner), inner)
        r += several


@scalar
def _past(x):
    """An empty view past the row, to prefetch the next."""
    return unchecked_view(x, x.size, 0)


def _row_sums(keep):
    """row_sums(x, e, result, work, wide): (max, count − 1 + rest) of one long row; the exponentials are kept in ``e``
    or lost; ``result`` is where the row's result will be written, or None. ``work``, ``wide``: WORK and LANES numbers,
    the second in float64.
    """

    @scalar
    def row_sums(x, e, result, work, wide):
        T = x.dtype.type
        whole = x.size // LANES
        end = whole * LANES
        count = lane_block(work, 0)
        top, tail = lane_block(work, 3), lane_block(work, 4)
        tail_e = lane_block(work, 5)
        for r in range(LANES):
            count[r], top[r], tail[r], wide[r] = T(0), -T(np.inf), -T(np.inf), 0.0
        for j in range(end, x.size):
            tail[j - end] = x[j]
        largest(x, whole, top)
        largest(tail, 1, top)
        maximum = top_of(top)
        for r in range(LANES):
            top[r] = maximum
        for part in range(2):  # the row's blocks, then the tail, by the same machine code
            source, target = (x, e) if part == 0 else (tail, tail_e)
            blocks = whole if part == 0 else min(1, x.size - end)
            place = target if keep else tail_e
            exp_sums(source, blocks, top, place, LANES if keep else 0, work, wide, _past(x), result)
        if keep:
            for j in range(end, x.size):
                e[j] = tail_e[j - end]
        rest = total(wide)
        for r in range(LANES):
            wide[r] = np.float64(count[r])
        return maximum, (total(wide) - 1.0) + rest

    return row_sums


row_sums_alone = _row_sums(False)
row_sums_kept = _row_sums(True)


@scalar
def top_of(lanes):
    """The largest, in four chains as in `total`."""
    a, b, c, d = lanes[0], lanes[1], lanes[2], lanes[3]
    for r in range(4, LANES, 4):
        a = lanes[r] if lanes[r] > a else a
        b = lanes[r + 1] if lanes[r + 1] > b else b
        c = lanes[r + 2] if lanes[r + 2] > c else c
        d = lanes[r + 3] if lanes[r + 3] > d else d
    a, c = b if b > a else a, d if d > c else c
    return c if c > a else a


@scalar
def total(lanes):
    """Their sum, in four chains: one would take 3 cycles a number."""
    a, b, c, d = 0.0, 0.0, 0.0, 0.0
    for r in range(0, LANES, 4):
        a += lanes[r]
        b += lanes[r + 1]
        c += lanes[r + 2]
        d += lanes[r + 3]
    return (a + b) + (c + d)


@scalar
def tile_size(length, inner, same):
    """How many numbers `row_at` needs; ``same``: the result goes where the row stands."""
    return TILE * length if inner > 1 else (length if same else 0)


@scalar
def row_at(x, i, first, last, length, inner, same, tile):
    """Row i of first..last − 1 (taken in order), contiguous: in x, or copied to ``tile`` where it lies apart
    or will be written over.
    """
    if inner == 1:
        row = unchecked_view(x, i * length, length)
        if not same:
            return row
        for j in range(length):
            tile[j] = row[j]
        return tile
    place = (i - first) % TILE
    if place == 0:
        gather_rows(x, i, min(TILE, last - i), length, inner, tile)
    return unchecked_view(tile, place * length, length)


@scalar
def result_at(y, i, first, length, inner, tile):
    """Where the result of row i is to be written."""
    if inner == 1:
        return unchecked_view(y, i * length, length)
    place = (i - first) % TILE
    return unchecked_view(tile, place * length, length)


@scalar
def put_results(tile, i, first, last, length, inner, y):
    """After row i: bring a full tile of results to its place."""
    place = (i - first) % TILE
    if inner > 1 and (place == TILE - 1 or i == last - 1):
        scatter_rows(tile, i - place, place + 1, length, inner, y)


@scalar
def block_of(length, inner):
    """How many rows one thread takes at a time: about 16 384 elements, in whole blocks."""
    step = LANES if length <= FEW else (TILE if inner > 1 else 1)
    return step * max(1, 16_384 // (step * max(1, length)))
