"""Sums along the middle axis of flat contiguous arrays of shape (outer, n, inner), in float64 and pairwise.

NumPy adds rows up one after the other in the array's precision: of 5 000 000 in float32 three digits are left. What is
added to what follows here from the shape alone.

* So many rows at a time as make a line of up to `LINE` numbers, whose columns are added up, line by line; at the end
  the rows in the total line are folded. Lines go block by block, and the blocks' sums are added as a binary tree.
* A row of less than `LINE` numbers that lie side by side (``inner`` = 1): 8 sums, one for each lane of a vector.

A sum begins with its first number, or with −0, which changes nothing: not the sign of a sum of −0 either.
"""

from __future__ import annotations

import functools

import numpy as np

from nbgrad.jit import Loop, outlined, scalar
from nbgrad.jit.memory import move, stack_array, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = ["LINE", "LINES", "TILE", "parts_of_sums", "rows_of_line", "sums"]

LINE, LANES = 64, 8
#: columns whose sums are made at a time, in the cache
TILE = 2048
#: lines of a block
LINES = 32


@scalar
def _wide(a):
    return np.float64(a)


@scalar
def _as_it_is(total):
    return total


@scalar
def _add(a, total):
    return total + np.float64(a)


@scalar
def _short_row(x, at, n):
    whole, total = n // LANES * LANES, -0.0
    if whole:
        a, b, c, d = -0.0, -0.0, -0.0, -0.0
        e, f, g, h = -0.0, -0.0, -0.0, -0.0
        for j in range(at, at + whole, LANES):
            a += np.float64(x[j])
            b += np.float64(x[j + 1])
            c += np.float64(x[j + 2])
            d += np.float64(x[j + 3])
            e += np.float64(x[j + 4])
            f += np.float64(x[j + 5])
            g += np.float64(x[j + 6])
            h += np.float64(x[j + 7])
        total = ((a + e) + (c + g)) + ((b + f) + (d + h))
    for j in range(at + whole, at + n):
        total += np.float64(x[j])
    return total


@scalar
def _four(a, b, c, d):
    return (np.float64(a) + np.float64(b)) + (np.float64(c) + np.float64(d))


@scalar
def _add_four(a, b, c, d, total):
    return total + _four(a, b, c, d)


@outlined
def _block(x, at, step, n, width, total):
    """The sums of ``width`` columns of ``n`` lines, which begin at x[at], ``step`` apart."""
    if width == LINE:  # a constant, which LLVM unrolls
        _block_of(x, at, step, n, LINE, total)
    else:
        _block_of(x, at, step, n, width, total)


@scalar
def _block_of(x, at, step, n, width, total):
    for i in range(0, n - 3, 4):
        a, b = unchecked_view(x, at + i * step, width), unchecked_view(x, at + (i + 1) * step, width)
        c, d = unchecked_view(x, at + (i + 2) * step, width), unchecked_view(x, at + (i + 3) * step, width)
        if i:
            vector_map(_add_four, (a, b, c, d, total), 0, width, (total,), 0, ())
        else:
            vector_map(_four, (a, b, c, d), 0, width, (total,), 0, ())
    for i in range(n - n % 4, n):
        if i:
            _add_line(x, at + i * step, width, total)
        else:
            vector_map(_wide, (unchecked_view(x, at, width),), 0, width, (total,), 0, ())


@scalar
def _add_line(x, at, width, total):
    vector_map(_add, (unchecked_view(x, at, width), total), 0, width, (total,), 0, ())


@outlined
def _columns(x, at, step, n, width, total, tree, first, last):
    """As `_block`, of any number of lines; a level of ``tree`` is ``width`` numbers. They may come in parts, of whole
    blocks but for the ``last``, which are ``first``, first + 1, ... of all: ``tree`` has what is between the parts.
    """
    blocks = (n + LINES - 1) // LINES
    for k in range(blocks):
        _block(x, at + k * LINES * step, step, min(LINES, n - k * LINES), width, total)
        level, rest = 0, first + k
        while rest & 1:
            _add_line(tree, level * width, width, total)
            level, rest = level + 1, rest >> 1
        if k < blocks - 1 or not last:
            move(total, 0, tree, level * width, width)
        else:
            while rest:
                level, rest = level + 1, rest >> 1
                if rest & 1:
                    _add_line(tree, level * width, width, total)


@scalar
def _fold(total, line, inner):
    """total[j] += total[j + inner] + total[j + 2·inner] + ... of a line, halves first."""
    if line == LINE and inner == 1:
        _add_line(total, LINE // 2, LINE // 2, total)
        _add_line(total, LINE // 4, LINE // 4, total)
        a, b, c, d = total[0] + total[8], total[1] + total[9], total[2] + total[10], total[3] + total[11]
        e, f, g, h = total[4] + total[12], total[5] + total[13], total[6] + total[14], total[7] + total[15]
        total[0] = ((a + e) + (c + g)) + ((b + f) + (d + h))
        return
    while line > inner:
        line //= 2
        _add_line(total, line, line, total)


@scalar
def rows_of_line(n, inner):
    """How many rows are added to at a time."""
    rows = 1
    while 2 * rows * inner <= LINE and 2 * rows <= n:
        rows *= 2
    return rows


@functools.cache
def sums() -> Loop:
    """``loop(x, n, inner, first, last, start, stop, out)``: of ``first`` ≤ i < ``last`` along the outer axis, and of
    the columns ``start`` ≤ j < ``stop`` (all of them where `rows_of_line` is more than 1). n > 0.
    """

    def loop(x, n, inner, first, last, start, stop, out):
        T = out.dtype.type
        if inner == 1 and n < LINE:
            for i in range(first, last):
                out[i] = T(_short_row(x, i * n, n))
            return
        rows = rows_of_line(n, inner)
        lines, line, levels = n // rows, rows * inner, 0
        while LINES << levels < lines:
            levels += 1
        memory = np.empty(levels * min(line, TILE))
        tree, total = unchecked_view(memory, 0, memory.size), stack_array(np.float64, TILE)
        x = unchecked_view(x, 0, x.size)
        for i in range(first, last):
            for column in range(start, rows * stop, TILE):
                size, at = min(TILE, rows * stop - column), i * n * inner + column
                if lines <= LINES:
                    _block(x, at, line, lines, size, total)
                else:
                    _columns(x, at, line, lines, size, total, tree, 0, True)
                if rows > 1:
                    _add_line(x, at + lines * line, n * inner - lines * line, total)
                    _fold(total, line, inner)
                vector_map(_as_it_is, (total,), 0, min(size, inner), (out,), i * inner + column, ())

    return Loop(loop, name="sums")


@functools.cache
def parts_of_sums() -> Loop:
    """``loop(x, at, line, lines, first, last, total, tree)``: what `sums` adds up line by line, in parts; see
    `_columns`. The total line is not folded.
    """

    def loop(x, at, line, lines, first, last, total, tree):
        _columns(x, at, line, lines, line, total, tree, first, last)

    return Loop(loop, name="parts_of_sums")
