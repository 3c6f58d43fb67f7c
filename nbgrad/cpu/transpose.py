"""Transposing between arrays by vector instructions.

Row functions of few columns are computed with rows in the vector's lanes: (rows, columns) becomes (columns,
rows) and back. As a plain loop that is a load and a store for each element, 1 to 2 cycles each way, as much
as the exponential itself; as blocks of 8x8 (float64: 4x4) in registers it is 0.3. Long rows that do not lie contiguous
are brought together likewise, a few at a time.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import contiguous
from nbgrad.jit import Loop, scalar
from nbgrad.jit.memory import prefetch_to_read, unchecked_view
from nbgrad.jit.transpose_block import block_width, transpose_block

__all__ = ["TOGETHER", "Rows", "put_results", "result_at", "row_at", "start_of", "tile_size", "transpose"]


@scalar
def transpose(source, at, stride, rows, columns, target, to, target_stride):
    """target[to + j·target_stride + i] = source[at + i·stride + j] for i < rows, j < columns.

    The last block overlaps the one before it where the columns are no multiple of a block's.
    """
    width = block_width(source)
    whole = rows // width * width if columns >= width else 0
    for i in range(0, whole, width):
        for start in range(0, columns, width):
            j = min(start, columns - width)
            transpose_block(source, at + i * stride + j, stride, target, to + j * target_stride + i, target_stride)
    for i in range(whole, rows):
        line = source[at + i * stride : at + i * stride + columns]
        for j in range(columns):
            target[to + j * target_stride + i] = line[j]


@scalar
def start_of(i, length, inner):
    """Where row i of an array (outer, length, inner) starts."""
    return i // inner * (length * inner) + i % inner


#: Long rows that do not lie contiguous are copied so many at a time: a cache line across.
TOGETHER = 16


@scalar
def gather_rows(x, i, count, length, inner, t):
    """Rows i, i + 1, ... (``count`` ≤ TOGETHER) of an array (outer, length, inner), one after the other."""
    r = 0
    while r < count:
        several = min(inner - (i + r) % inner, count - r)
        transpose(x, start_of(i + r, length, inner), inner, length, several, t, r * length, length)
        r += several


@scalar
def scatter_rows(t, i, count, length, inner, y):
    """`gather_rows` backwards."""
    r = 0
    while r < count:
        several = min(inner - (i + r) % inner, count - r)
        transpose(t, r * length, length, several, length, y, start_of(i + r, length, inner), inner)
        r += several


@scalar
def tile_size(length, inner, same):
    """How many numbers `row_at` needs; ``same``: the result goes where the row stands."""
    return TOGETHER * length if inner > 1 else (length if same else 0)


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
    place = (i - first) % TOGETHER
    if place == 0:
        gather_rows(x, i, min(TOGETHER, last - i), length, inner, tile)
    return unchecked_view(tile, place * length, length)


@scalar
def result_at(y, i, first, length, inner, tile):
    """Where the result of row i is to be written."""
    if inner == 1:
        return unchecked_view(y, i * length, length)
    place = (i - first) % TOGETHER
    return unchecked_view(tile, place * length, length)


@scalar
def put_results(tile, i, first, last, length, inner, y):
    """After row i: bring a full tile of results to its place."""
    place = (i - first) % TOGETHER
    if inner > 1 and (place == TOGETHER - 1 or i == last - 1):
        scatter_rows(tile, i - place, place + 1, length, inner, y)


#: Rows at a time, and the columns ahead of those at hand that memory is asked for: each is another page.
TILE, AHEAD = 128, 16


@functools.cache
def _to_rows() -> Loop:
    """``loop(x, places, first, count, out, to)``: x[places[c] + first + r], for r < count and every column c, row by
    row to out[to], ...
    """

    def loop(x, places, first, count, out, to):
        columns, width = places.size, block_width(x)
        if count < width or columns < width:
            for r in range(count):
                for c in range(columns):
                    out[to + r * columns + c] = x[places[c] + first + r]
            return
        for tile in range(0, count, TILE):
            for start in range(0, columns, width):  # the last block overlaps the one before it
                c = min(start, columns - width)
                near, next_c, next_r = unchecked_view(places, c, width), c + AHEAD, first
                if next_c > columns - width:  # those of the next tile
                    next_c, next_r = min(max(next_c - columns, 0), columns - width), first + TILE
                soon = unchecked_view(places, next_c, width)
                for begin in range(tile, min(tile + TILE, count), width):
                    r = min(begin, count - width)
                    for k in range(width):
                        prefetch_to_read(x, soon[k] + next_r + r)
                    transpose_block(x, first + r, near, out, to + r * columns + c, columns)

    return Loop(loop, name="to_rows")


class Rows:
    """Rows of an array, one piece of its first axis after the other, in C order and in ``dtype``, float32 or float64.

    NumPy copies columns that lie one after the other number by number, and waits for memory at each.
    """

    def __init__(self, x: NDArray[Any], dtype: np.dtype[Any]) -> None:
        self.x, self.dtype = x, dtype
        self.size = x.size // max(1, len(x))
        far = [abs(s) for s, n in zip(x.strides[1:], x.shape[1:], strict=True) if n > 1]
        self.turned = bool(far) and len(x) > 1 and abs(x.strides[0]) < min(far)
        self.flat = None
        if self.turned and x.dtype == dtype and x.flags.aligned and x.strides[0] == x.itemsize:
            self.flat, self.places = _columns(x)

    def bring(self, start: int, stop: int, out: NDArray[Any], to: int = 0) -> None:
        """x[start:stop] to out[to], ..., a flat array."""
        count, loop = stop - start, _to_rows().serial
        if self.flat is not None:
            loop(self.flat, self.places, start, count, out, to)
            return
        piece = self.x[start:stop]
        with np.errstate(all="ignore"):  # set here, because it holds for one thread
            if not self.turned:
                np.copyto(out[to : to + piece.size].reshape(piece.shape), piece, casting="same_kind")
                return
            columns = np.empty((*piece.shape[1:], count), self.dtype)
            np.copyto(np.moveaxis(columns, -1, 0), piece, casting="same_kind")
        loop(columns.reshape(-1), np.arange(self.size) * count, 0, count, out, to)

    def __getitem__(self, part: slice) -> NDArray[Any]:
        """x[start:stop], in memory of its own."""
        start, stop, _ = part.indices(len(self.x))
        stop = max(start, stop)
        out = np.empty((stop - start) * self.size, self.dtype)
        self.bring(start, stop, out)
        return out.reshape(-1, *self.x.shape[1:])


def _columns(x: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """(the memory of x as one flat array, where each column begins, in C order); rows lie side by side."""
    places, low = np.zeros((), np.intp), tuple(slice(-1, None) if s < 0 else slice(0, 1) for s in x.strides)
    for n, stride in zip(x.shape[1:], x.strides[1:], strict=True):
        step = stride // x.itemsize
        places = places[..., None] + (np.arange(n) * step - min(0, (n - 1) * step))
    span = len(x) + int(places.max())
    flat = np.lib.stride_tricks.as_strided(x[low], (span,), (x.itemsize,), writeable=False)
    return contiguous(flat), places.reshape(-1)
