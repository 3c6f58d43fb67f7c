"""Rows of X in the registers of a group of threads: the words in which `nbgrad.cuda.regression.one_pass` is written.

A group is one warp or several. Each of its threads owns the same few features of every row, and the slopes of their
coefficients, and holds them in registers (tuples here): X is read once, with nothing of it in shared memory. Sizes are
known when a kernel is compiled, so that no register is addressed by a number.

Each word is a plain function, which says what it means and which the simulator runs; its compiled side is in
`nbgrad.cuda.regression.registers`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.cuda.device import WARP
from nbgrad.cuda.device.intrinsics import exchange, of_lane, thread

__all__ = ["Staged", "Tile", "plain_words"]


@dataclass(frozen=True)
class Tile:
    """``rows`` rows for a group of ``threads`` threads, each of which owns ``lines`` lines of ``width`` features.

    There is a number for each row and class in a warp's lanes, row by row, the classes filled up to a power of two:
    `slots` of them, at most a warp's threads.
    """

    classes: int
    rows: int
    lines: int
    width: int
    threads: int

    @functools.cached_property
    def class_lanes(self) -> int:
        """The classes, filled up."""
        return 1 << (self.classes - 1).bit_length()

    @functools.cached_property
    def slots(self) -> int:
        return self.rows * self.class_lanes

    @functools.cached_property
    def pitch(self) -> int:
        """The features, filled up."""
        return self.lines * self.threads * self.width

    @functools.cached_property
    def size(self) -> int:
        """Coefficients of all classes."""
        return self.classes * self.pitch

    @functools.cached_property
    def length(self) -> int:
        """Numbers of a group's sums: slopes (classes, pitch), a warp's lanes of residuals, a warp's lanes of losses."""
        return self.classes * self.pitch + 2 * WARP

    @functools.cached_property
    def lanes_of_sums(self) -> tuple[int, int, int]:
        """In a group's sums: lanes of residuals, of losses, of a row's residuals."""
        return WARP, self.slots, self.class_lanes

    @functools.cached_property
    def own(self) -> int:
        """Numbers that a thread has of a row."""
        return self.lines * self.width


@dataclass(frozen=True)
class Staged:
    """A tile of `WARP` rows, each with room for ``lines`` lines of ``width`` numbers. (Odd: so threads that read a line
    of rows one below the other meet different banks.)
    """

    classes: int
    lines: int
    width: int

    @functools.cached_property
    def lanes(self) -> int:
        """Threads that share a row's lines, and one line of ones, whose slopes are the intercepts'."""
        return max(WARP // 4, min(WARP, 1 << self.lines.bit_length()))

    @functools.cached_property
    def own(self) -> int:
        """Lines of a thread."""
        return -(-(self.lines + 1) // self.lanes)

    @functools.cached_property
    def parts(self) -> int:
        """Into which the rows are parted, for slopes: a group of threads for each."""
        return WARP // self.lanes

    @functools.cached_property
    def together(self) -> int:
        """Rows whose slopes are added at a time: their residuals are a line."""
        return min(4, WARP // self.parts)

    @functools.cached_property
    def pitch(self) -> int:
        return self.own * self.lanes * self.width

    @functools.cached_property
    def split(self) -> int:
        """Rows for whose scores a thread reads a coefficient once, and parts into which it leaves their features."""
        return 1 if self.classes == 1 else max(1, min(4, WARP, 1 << (48 // self.classes).bit_length() - 1))

    @functools.cached_property
    def size(self) -> int:
        """Coefficients of all classes."""
        return self.classes * self.pitch

    @functools.cached_property
    def room(self) -> int:
        """Numbers of the tile, and a line behind it."""
        return WARP * self.lines * self.width + max(self.width, 4)

    @functools.cached_property
    def scores(self) -> int:
        """Numbers of the table of scores."""
        return self.classes * WARP

    @functools.cached_property
    def length(self) -> int:
        """Numbers of a group's sums: slopes (classes, pitch), its threads' losses."""
        return self.classes * self.pitch + self.lanes

    @functools.cached_property
    def lanes_of_sums(self) -> tuple[int, int, int]:
        """In a group's sums: lanes of residuals, of losses, of a row's residuals."""
        return 0, self.lanes, 1


def plain_words(tile: Tile, dtype: Any) -> SimpleNamespace:
    """The words for tiles of this kind, with numbers of this dtype, as the simulator runs them."""
    T: Any = np.dtype(dtype).type
    C, R, K, V, W = tile.classes, tile.rows, tile.lines, tile.width, tile.threads
    class_lanes, slots, pitch, own_size = tile.class_lanes, tile.slots, tile.pitch, tile.own

    def zeros(x):
        """Slopes of nothing (``x``: a tile)."""
        return (T(0),) * (C * own_size)

    def load_rows(x, first, n, features, own, nothing):
        """The thread's numbers of rows ``first``..; 0 behind the last row and feature (``nothing``: a line of zeros of
        X's dtype, read in their place).
        """
        numbers = []
        for r in range(R):
            for k in range(K):
                place = (k * W + own) * V
                inside = first + r < n and place < features
                start = (first + r) * features + place
                line = x[start : start + V] if inside else nothing[:V]
                numbers += [T(value) for value in line]
        return tuple(numbers)

    def dots(x, w, own):
        """The thread's part of the score of each slot. ``w``: flat, ``pitch`` numbers for each class."""
        sums = [T(0)] * slots
        for c in range(C):
            for j in range(own_size):
                factor = w[c * pitch + (j // V * W + own) * V + j % V]
                for r in range(R):
                    sums[r * class_lanes + c] += x[r * own_size + j] * factor
        return tuple(sums)

    def scatter(values):
        """The warp's sum of the slots whose number is the thread's, mod the number of slots."""
        numbers, distance, lane = list(values), slots // 2, thread() % WARP
        while distance:
            up = lane & distance != 0
            for i in range(distance):
                keep, send = (i + distance, i) if up else (i, i + distance)
                numbers[i] = numbers[keep] + exchange(numbers[send], distance)
            distance //= 2
        distance, value = slots, numbers[0]
        while distance < WARP:
            value += exchange(value, distance)
            distance *= 2
        return value

    def broadcast(value):
        """All slots' numbers, for every thread of the warp."""
        return tuple(of_lane(value, i) if i % class_lanes < C else T(0) for i in range(slots))

    def outer(g, slopes, x):
        """g + Σ slope·x over the tile's rows."""
        numbers = list(g)
        for c in range(C):
            for j in range(own_size):
                for r in range(R):
                    numbers[c * own_size + j] += slopes[r * class_lanes + c] * x[r * own_size + j]
        return tuple(numbers)

    def put(g, array, start, own):
        """Write the thread's slopes to its places behind ``start``."""
        for c in range(C):
            for j in range(own_size):
                array[start + c * pitch + (j // V * W + own) * V + j % V] = g[c * own_size + j]

    return SimpleNamespace(
        zeros=zeros, load_rows=load_rows, dots=dots, scatter=scatter, broadcast=broadcast, outer=outer, put=put
    )
