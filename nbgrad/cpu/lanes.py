"""Many rows at a time, or a long row many columns at a time: what the loops of `nbgrad.cpu.rows` are made of.

A *lane block* is `LANES` numbers side by side, one a lane. Two ways to see rows as lane blocks:

* few columns (up to `FEW`): `LANES` rows are transposed into a scratch array in which column j is block j (rows that
  lie side by side are read where they are). Maximum, exponentials and sums of all these rows are then made lane by
  lane, without a horizontal sum.
* more: the row itself is cut into blocks, the last filled up with −inf; the lanes' sums are added at its end. Where
  rows lie side by side they are lanes again, in the order of these sums (`column_others`).

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

from nbgrad.cpu.transpose import TOGETHER, start_of, transpose
from nbgrad.formulas import rows
from nbgrad.jit import scalar
from nbgrad.jit.memory import LINE, move, prefetch_to_read, prefetch_to_write, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = [
    "COLUMNS", "FEW", "LANES", "WORK", "block_of", "column_others", "column_sums", "exp_sums", "gather", "lane_block",
    "lanes_at", "largest", "others", "row_sums_alone", "row_sums_kept", "scatter", "side_by_side", "sums", "total",
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
def largest(x, step, blocks, top):
    """top[r] = max(top[r], the largest of lane r); block j is ``x[step·j:]``."""
    # Two blocks a turn. With one, LLVM turns "store one of the two, where one is what stood there" into a
    # masked store: 12 cycles on AMD's Zen 3, 8 times slower than all of this.
    for j in range(0, blocks, 2):
        first, second = unchecked_view(x, j * step, LANES), unchecked_view(x, min(j + 1, blocks - 1) * step, LANES)
        vector_map(_largest, (first, second, top), 0, LANES, (top,), 0, ())


@scalar
def _add_exp(x, top, count, part):
    e, equal, other = rows.shifted_exp(x, top)
    return e, count + equal, part + other


@scalar
def _add_wide(part, rest):
    return np.float64(part) + rest


@scalar
def exp_sums(x, step, blocks, top, e, e_step, work, rest, after, result):
    """count[r] += how many of lane r equal top[r], rest[r] += Σ e^(x − top[r]) over those that do not. ``count`` is the
    first block of ``work``.

    Block j is ``x[step·j:]``; its exponentials go to ``e[e_step·j:]``: over x, beside it, or with step 0 where they may
    be lost. Meanwhile memory is asked for what comes next: ``after``, which lies as x does, and ``result`` to write to
    (or None). At (4096, 1000) cross_entropy takes 1.1 ns an entry so, 1.65 without.
    """
    T = x.dtype.type
    count, part = lane_block(work, 0), lane_block(work, 1)
    for first in range(0, blocks, GROUP):
        for r in range(LANES):
            part[r] = T(0)
        for j in range(first, min(first + GROUP, blocks)):
            lane, kept = unchecked_view(x, j * step, LANES), unchecked_view(e, j * e_step, LANES)
            for r in range(j * step, j * step + LANES, LINE // x.itemsize):
                if after is not None:
                    prefetch_to_read(after, r)
                if result is not None:
                    prefetch_to_write(result, r)
            vector_map(_add_exp, (lane, top, count, part), 0, LANES, (kept, count, part), 0, ())
        vector_map(_add_wide, (part, rest), 0, LANES, (rest,), 0, ())


@scalar
def sums(add, a, b, step, blocks, partial, total, ahead):
    """total[r] += Σ term(a, b) over lane r; ``add(a, b, partial)`` = partial + term(a, b). Block j is ``a[step·j:]``.
    Memory is asked for what lies ``ahead``.
    """
    T = a.dtype.type
    for first in range(0, blocks, GROUP):
        for r in range(LANES):
            partial[r] = T(0)
        for j in range(first, min(first + GROUP, blocks)):
            inputs = (unchecked_view(a, j * step, LANES), unchecked_view(b, j * step, LANES), partial)
            for r in range(j * step, j * step + LANES, LINE // a.itemsize):
                prefetch_to_read(a, r + ahead)
                prefetch_to_read(b, r + ahead)
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
        start, several = start_of(i + r, length, inner), min(inner - (i + r) % inner, count - r)
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
        start, several = start_of(i + r, length, inner), min(inner - (i + r) % inner, count - r)
        for j in range(length):
            move(t, j * LANES + r, y, start + j * inner, several)
        r += several


@scalar
def side_by_side(i, count, inner):
    """Whether rows i, i + 1, ... of an array (outer, length, inner) fill a lane block where they lie."""
    return count == LANES and inner - i % inner >= LANES


@scalar
def lanes_at(x, i, count, length, inner, t, copied):
    """(array, step): the lane blocks of rows i, i + 1, ..., block j at step·j: in x if they lie side by side there and
    are not to be ``copied``, else gathered in ``t``.
    """
    if side_by_side(i, count, inner) and not copied:
        return unchecked_view(x, start_of(i, length, inner), (length - 1) * inner + LANES), inner
    gather(x, i, count, length, inner, t)
    return t, LANES


@scalar
def others(x, step, length, e, e_step, work, parts, rests):
    """Rows in the lanes: their largest entries to block 3 of ``work``, count − 1 + rest to the first block of
    ``rests``; the exponentials as in `exp_sums`.
    """
    T, count, top, rest = x.dtype.type, lane_block(work, 0), lane_block(work, 3), lane_block(rests, 0)
    for r in range(LANES):
        top[r], count[r], rest[r] = -T(np.inf), T(0), 0.0
    largest(x, step, length, top)
    exp_sums(x, step, length, top, e, e_step, work, rest, None, None)
    for r in range(LANES):
        rest[r] = (np.float64(count[r]) - 1.0) + rest[r]


# Long rows in the lanes are summed up in the order of `row_sums`: entry j is of lane j mod `LANES` there, here of block
# j mod `LANES` of ``parts`` and ``rests``. So a row gives the same bits along every axis.
@scalar
def _ends(j, length):
    """Whether entry j is the last of a group of blocks; the row's tail is a group of its own."""
    return (j + 1) % (GROUP * LANES) == 0 or j + 1 == length // LANES * LANES or j + 1 == length


@scalar
def _put_by(parts, rests):
    """A group is summed up: rests += parts, parts = 0."""
    for r in range(LANES):
        part, rest = lane_block(parts, r), lane_block(rests, r)
        vector_map(_add_wide, (part, rest), 0, LANES, (rest,), 0, ())
        for q in range(LANES):
            part[q] = part.dtype.type(0)


@scalar
def _fold(rests):
    """The sum of all blocks, to the first, as `total` does it."""
    for r in range(4, LANES):
        sum_, block = lane_block(rests, r % 4), lane_block(rests, r)
        for q in range(LANES):
            sum_[q] += block[q]
    a, b, c, d = lane_block(rests, 0), lane_block(rests, 1), lane_block(rests, 2), lane_block(rests, 3)
    for q in range(LANES):
        a[q] = (a[q] + b[q]) + (c[q] + d[q])


@scalar
def column_others(x, step, length, e, e_step, work, parts, rests):
    """`others` of long rows of fewer than 2²⁴ entries; ``parts`` and ``rests`` have `LANES` blocks."""
    T, count, top = x.dtype.type, lane_block(work, 0), lane_block(work, 3)
    for r in range(LANES):
        top[r], count[r] = -T(np.inf), T(0)
    for r in range(LANES * LANES):
        parts[r], rests[r] = T(0), 0.0
    largest(x, step, length, top)
    for j in range(length):
        lane, kept = unchecked_view(x, j * step, LANES), unchecked_view(e, j * e_step, LANES)
        part = lane_block(parts, j % LANES)
        vector_map(_add_exp, (lane, top, count, part), 0, LANES, (kept, count, part), 0, ())
        if _ends(j, length):
            _put_by(parts, rests)
    _fold(rests)
    for r in range(LANES):
        rests[r] = (np.float64(count[r]) - 1.0) + rests[r]


@scalar
def column_sums(add, a, b, step, length, parts, rests):
    """`sums` of long rows in the lanes, to the first block of ``rests``."""
    for r in range(LANES * LANES):
        parts[r], rests[r] = parts.dtype.type(0), 0.0
    for j in range(length):
        part = lane_block(parts, j % LANES)
        inputs = (unchecked_view(a, j * step, LANES), unchecked_view(b, j * step, LANES), part)
        vector_map(add, inputs, 0, LANES, (part,), 0, ())
        if _ends(j, length):
            _put_by(parts, rests)
    _fold(rests)


def _row_sums(keep):
    """row_sums(x, e, result, work, wide): (max, count − 1 + rest) of one long row; the exponentials are kept in ``e``
    or lost; ``result`` is where the row's result will be written, or None. ``work``, ``wide``: WORK and LANES numbers,
    the second in float64.
    """

    @scalar
    def row_sums(x, e, result, work, wide):
        T = x.dtype.type
        whole, after = x.size // LANES, unchecked_view(x, x.size, 0)  # the next row
        end = whole * LANES
        count = lane_block(work, 0)
        top, tail, tail_e = lane_block(work, 3), lane_block(work, 4), lane_block(work, 5)
        for r in range(LANES):
            count[r], top[r], tail[r], wide[r] = T(0), -T(np.inf), -T(np.inf), 0.0
        for j in range(end, x.size):
            tail[j - end] = x[j]
        largest(x, LANES, whole, top)
        largest(tail, LANES, 1, top)
        maximum = top_of(top)
        for r in range(LANES):
            top[r] = maximum
        for part in range(2):  # the row's blocks, then the tail, by the same machine code
            source, target = (x, e) if part == 0 else (tail, tail_e)
            blocks = whole if part == 0 else min(1, x.size - end)
            place = target if keep else tail_e
            exp_sums(source, LANES, blocks, top, place, LANES if keep else 0, work, wide, after, result)
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
def block_of(length, inner):
    """How many rows one thread takes at a time: about 16 384 elements, in whole blocks."""
    step = LANES if length <= FEW or inner >= LANES else (TOGETHER if inner > 1 else 1)
    return step * max(1, 16_384 // (step * max(1, length)))
