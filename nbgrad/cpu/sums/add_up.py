"""Sums over any axes of an array, as accurate along one axis as along another, whose bits follow from the numbers and
the shape alone: not from memory order, strides, alignment or byte order, nor from the number of threads.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.lib.array_utils import normalize_axis_tuple

from nbgrad.arrays import FLOAT32, FLOAT64, contiguous
from nbgrad.cpu.sums.axis import LINE, LINES, TILE, parts_of_sums, rows_of_line, sums
from nbgrad.cpu.transpose import Rows
from nbgrad.jit.thread_map import thread_map

__all__ = ["add_up"]

_of_numpy: Any = np.add.reduce  # the method takes 2 µs longer

#: Numbers that are worth a second thread, and the parts that are made of them.
LARGE, PARTS = 1 << 23, 8
#: Numbers that are brought into C order at a time.
PIECE = 1 << 16
#: Rows at least: where columns lie one after the other, what a line of the cache has of each.
ROWS = 16


def add_up(x: Any, axis: Any = None, keepdims: bool = False, dtype: np.dtype[Any] | None = None) -> Any:
    """Σ x over an axis, a tuple of axes or all, as `numpy.add.reduce`; of floats pairwise and in float64, rounded once
    to ``dtype`` (x's own by default). Numbers that are no floats are left to NumPy.

    >>> import numpy as np
    >>> add_up(np.array([[1e8, 1.0], [-1e8, 2.0], [3.0, 4.0]], np.float32), axis=0)
    array([3., 7.], dtype=float32)
    """
    native = x.dtype
    if not (native is FLOAT32 or native is FLOAT64):
        native = native.newbyteorder("=")
    if not x.ndim or not x.size or not (native == FLOAT32 or native == FLOAT64):
        return _of_numpy(x, axis=axis, keepdims=keepdims, dtype=dtype)
    steps, shape, kept = plan(x.shape, axis, keepdims)
    dtype = native if dtype is None else dtype
    if x.size > PIECE and steps and not x.flags.c_contiguous:
        if kept:
            return _in_pieces(x, axis, keepdims, dtype, np.empty(shape, dtype), *kept)
        outer, n, inner = steps[0]
        if outer == 1 and inner <= TILE:
            flat = _of_rows(Rows(x.squeeze(), native), n, inner, dtype)
            return flat.reshape(shape) if shape else flat[0]
    flat = contiguous(x if x.dtype is native else x.astype(native)).ravel()
    if not steps:  # along axes of length 1
        return flat.astype(dtype).reshape(shape)[()]
    for step in steps[:-1]:
        flat = _along(flat, *step, FLOAT64)
    flat = _along(flat, *steps[-1], dtype)
    return flat.reshape(shape) if shape else flat[0]


@functools.lru_cache(4096)
def plan(shape: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[list[tuple[int, int, int]], tuple[int, ...], Any]:
    """((outer, n, inner) of one sum after the other, those of the last axes first; the result's shape; an axis along
    which the sums are independent of each other, and its least part, or None)
    """
    axes = set(range(len(shape)) if axis is None else normalize_axis_tuple(axis, len(shape)))
    groups: list[tuple[bool, int]] = []  # neighbouring axes of one kind as one
    for i, n in enumerate(shape):
        if groups and groups[-1][0] == (i in axes):
            groups[-1] = groups[-1][0], groups[-1][1] * n
        elif n > 1:
            groups.append((i in axes, n))
    steps, inner = [], 1
    for k, (summed, n) in reversed([*enumerate(groups)]):
        if summed:
            steps.append((math.prod(m for _, m in groups[:k]), n, inner))
        else:
            inner *= n
    left = tuple(1 if i in axes else n for i, n in enumerate(shape) if keepdims or i not in axes)
    along = None
    if 0 not in axes and shape[0] > 1:
        along = 0, 1
    elif len(shape) - 1 not in axes and shape[-1] > LINE:
        along = -1, LINE  # lines of one row, whatever columns they have
    return steps, left, along


def _in_pieces(x: Any, axis: Any, keepdims: bool, dtype: np.dtype[Any], out: Any, along: int, least: int) -> Any:
    """Of an array that must be brought into C order: a piece at a time, which stays in the cache."""
    length = x.shape[along]
    step = max(PIECE * length // x.size, least)
    ends = [*range(0, length - least + 1, step), length] if length >= least else [0, length]
    for start, stop in zip(ends, ends[1:], strict=False):
        part = (slice(start, stop), ...) if along == 0 else (..., slice(start, stop))
        out[part] = add_up(np.array(x[part], order="C"), axis, keepdims, dtype)
    return out


def _of_rows(rows: Rows, n: int, inner: int, dtype: np.dtype[Any]) -> Any:
    """As `_along` with an ``outer`` of 1, of an array that must be brought into C order."""
    together = rows_of_line(n, inner)
    line = together * inner
    lines = n * inner // line
    size, few = LINES, 2 * ROWS * rows.size // line
    while size * PARTS < lines or size < few:
        size *= 2  # a part is a tree of its own
    count = -(-lines // size)
    whole = [(size * k * line, min(size * (k + 1), lines) * line) for k in range(count)]
    totals = thread_map(lambda k: _part(rows, line, *whole[k]), count, alone=n * inner < LARGE // 8)
    with np.errstate(all="ignore"):
        total = _tree(totals)
        rest = n * inner - lines * line
        if rest:
            total[:rest] += rows[len(rows.x) - -(-rest // rows.size) :].reshape(-1)[-rest:]
    out = np.empty(inner, dtype)
    sums().serial(total, together, inner, 0, 1, 0, inner, out)
    return out


def _tree(totals: list[Any]) -> Any:
    """The sums of parts as one tree: all parts but the last are whole trees of one height."""
    if len(totals) == 1:
        return totals[0]
    half = 1 << (len(totals) - 1).bit_length() - 1
    return _tree(totals[:half]) + _tree(totals[half:])


def _part(rows: Rows, line: int, begin: int, end: int) -> Any:
    """The total line of numbers ``begin``..``end`` − 1 in C order, whole lines; a piece of rows at a time."""
    first, last = begin // rows.size, -(-end // rows.size)
    step = max(PIECE // rows.size // ROWS, 1) * ROWS
    buffer = np.empty((LINES + 1) * line + step * rows.size, rows.dtype)
    levels = ((end - begin) // line // LINES).bit_length() + 1
    total, tree = np.empty(line), np.empty(levels * line)
    at, have, blocks = begin - first * rows.size, 0, 0
    for start in range(first, last, step):
        stop = min(start + step, last)
        rows.bring(start, stop, buffer, have)
        have += (stop - start) * rows.size
        final = stop == last
        have -= last * rows.size - end if final else 0
        lines = (have - at) // line if final else max(0, ((have - at) // line - 1) // LINES * LINES)
        if lines:
            parts_of_sums().serial(buffer, at, line, lines, blocks, final, total, tree)
        at, blocks = at + lines * line, blocks + lines // LINES
        buffer[: have - at] = buffer[at:have]
        at, have = 0, have - at
    return total


def _along(x: Any, outer: int, n: int, inner: int, dtype: np.dtype[Any]) -> Any:
    """Of a flat array of shape (outer, n, inner) along the middle axis."""
    out, loop = np.empty(outer * inner, dtype), sums().serial
    if x.size < LARGE or (outer == 1 and inner < 4 * LINE):
        loop(x, n, inner, 0, outer, 0, inner, out)
        return out
    parts = min(PARTS, outer if outer > 1 else inner // (2 * LINE))

    def part(k: int) -> None:
        if outer > 1:
            loop(x, n, inner, outer * k // parts, outer * (k + 1) // parts, 0, inner, out)
        else:
            loop(x, n, inner, 0, 1, inner * k // parts, inner * (k + 1) // parts, out)

    thread_map(part, parts)
    return out
