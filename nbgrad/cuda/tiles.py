"""Rows of X in the registers of a group of threads: the words in which `nbgrad.cuda.one_pass` is written.

A group is one warp or several. Each of its threads owns the same few features of every row, and the slopes of their
coefficients, and holds them in registers (tuples here): X is read once, with nothing of it in shared memory. Sizes are
known when a kernel is compiled, so that no register is addressed by a number.

Each word is a plain function, which the simulator runs, and has a compiled side.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import numpy_support

from nbgrad.cuda.driver import WARP
from nbgrad.cuda.intrinsics import exchange, of_lane, thread
from nbgrad.jit import overload_scalar

__all__ = ["Tile", "words"]


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

    @property
    def room(self) -> int:
        """The classes, filled up."""
        return 1 << (self.classes - 1).bit_length()

    @property
    def slots(self) -> int:
        return self.rows * self.room

    @property
    def pitch(self) -> int:
        """The features, filled up."""
        return self.lines * self.threads * self.width

    @property
    def own(self) -> int:
        """Numbers that a thread has of a row."""
        return self.lines * self.width


# Pieces of LLVM's language. A tuple of equal numbers is an array there.


def _numbers(builder: Any, value: Any) -> list[Any]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def _data(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _line(builder: Any, pointer: Any, width: int) -> Any:
    """A vector behind a pointer to numbers, and its alignment in bytes."""
    number = pointer.type.pointee
    size = {"float": 4, "double": 8}.get(str(number), 1) * width
    return builder.bitcast(pointer, ir.VectorType(number, width).as_pointer()), size


def _load(builder: Any, pointer: Any, width: int) -> list[Any]:
    if width == 1:
        return [builder.load(pointer)]
    place, size = _line(builder, pointer, width)
    vector = builder.load(place, align=size)
    return [builder.extract_element(vector, ir.IntType(32)(k)) for k in range(width)]


def _store(builder: Any, pointer: Any, numbers: list[Any]) -> None:
    if len(numbers) == 1:
        builder.store(numbers[0], pointer)
        return
    place, size = _line(builder, pointer, len(numbers))
    vector = ir.Constant(place.type.pointee, ir.Undefined)
    for k, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, ir.IntType(32)(k))
    builder.store(vector, place, align=size)


def _converted(builder: Any, number: Any, kind: Any) -> Any:
    if number.type == kind:
        return number
    if isinstance(number.type, ir.IntType):
        return builder.uitofp(number, kind)
    return (builder.fpext if str(kind) == "double" else builder.fptrunc)(number, kind)


def _shuffled(builder: Any, number: Any, mode: int, lane: int) -> Any:
    """The number of another thread of the warp: of ``lane`` (mode 0), or of own number ^ ``lane`` (mode 3)."""
    word, one = ir.IntType(32), ir.IntType(1)
    kind = ir.FunctionType(ir.LiteralStructType([word, one]), [word] * 5)
    function = builder.module.globals.get("llvm.nvvm.shfl.sync.i32")
    if function is None:
        function = ir.Function(builder.module, kind, "llvm.nvvm.shfl.sync.i32")

    def moved(value: Any) -> Any:
        answer = builder.call(function, [word(-1), word(mode), value, word(lane), word(31)])
        return builder.extract_value(answer, 0)

    if str(number.type) == "float":
        return builder.bitcast(moved(builder.bitcast(number, word)), number.type)
    wide = ir.IntType(64)
    bits = builder.bitcast(number, wide)
    low = builder.zext(moved(builder.trunc(bits, word)), wide)
    high = builder.zext(moved(builder.trunc(builder.lshr(bits, wide(32)), word)), wide)
    return builder.bitcast(builder.or_(low, builder.shl(high, wide(32))), number.type)


def words(tile: Tile, dtype: Any) -> SimpleNamespace:
    """The words for tiles of this kind, with numbers of this dtype."""
    T: Any = np.dtype(dtype).type
    C, R, K, V, W = tile.classes, tile.rows, tile.lines, tile.width, tile.threads
    room, slots, pitch, own_size = tile.room, tile.slots, tile.pitch, tile.own
    number = numpy_support.from_dtype(np.dtype(dtype))
    tuples = {size: types.UniTuple(number, size) for size in {C * own_size, R * own_size, slots}}

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
                    sums[r * room + c] += x[r * own_size + j] * factor
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
        return tuple(of_lane(value, i) if i % room < C else T(0) for i in range(slots))

    def outer(g, slopes, x):
        """g + Σ slope·x over the tile's rows."""
        numbers = list(g)
        for c in range(C):
            for j in range(own_size):
                for r in range(R):
                    numbers[c * own_size + j] += slopes[r * room + c] * x[r * own_size + j]
        return tuple(numbers)

    def put(g, array, start, own):
        """Write the thread's slopes to its places behind ``start``."""
        for c in range(C):
            for j in range(own_size):
                array[start + c * pitch + (j // V * W + own) * V + j % V] = g[c * own_size + j]

    def made(context: Any, builder: Any, numbers: list[Any]) -> Any:
        return context.make_tuple(builder, tuples[len(numbers)], numbers)

    def line_of(builder: Any, own: Any, c: int, k: int) -> Any:
        """The place of a thread's line in memory of (classes, pitch)."""
        wide = ir.IntType(64)
        return builder.mul(builder.add(own, wide(k * W)), wide(V)) if c == 0 else builder.add(
            line_of(builder, own, 0, k), wide(c * pitch)
        )  # fmt: skip

    @intrinsic
    def _zeros(typingctx: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return made(context, builder, [context.get_constant(number, 0.0)] * (C * own_size))

        return tuples[C * own_size](x), generate

    @intrinsic
    def _load_rows(typingctx: Any, x: Any, first: Any, n: Any, features: Any, own: Any, nothing: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide, numbers = ir.IntType(64), []
            data, empty = _data(context, builder, x, args[0]), _data(context, builder, nothing, args[5])
            _, first, n, features, own, _ = args
            places = [line_of(builder, own, 0, k) for k in range(K)]
            inside = [builder.icmp_signed("<", place, features) for place in places]
            for r in range(R):
                row = builder.add(first, wide(r))
                there, start = builder.icmp_signed("<", row, n), builder.mul(row, features)
                for k in range(K):
                    pointer = builder.gep(data, [builder.add(start, places[k])])
                    pointer = builder.select(builder.and_(there, inside[k]), pointer, empty)
                    numbers += _load(builder, pointer, V)
            kind = context.get_value_type(number)
            return made(context, builder, [_converted(builder, value, kind) for value in numbers])

        integer = types.int64
        return tuples[R * own_size](x, integer, integer, integer, integer, nothing), generate

    @intrinsic
    def _dots(typingctx: Any, x: Any, w: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, data = _numbers(builder, args[0]), _data(context, builder, w, args[1])
            sums = [context.get_constant(number, 0.0)] * slots
            for k in range(K):
                for c in range(C):
                    line = _load(builder, builder.gep(data, [line_of(builder, args[2], c, k)]), V)
                    for r in range(R):
                        for v, factor in enumerate(line):
                            at = r * room + c
                            sums[at] = builder.fma(values[r * own_size + k * V + v], factor, sums[at])
            return made(context, builder, sums)

        return tuples[slots](x, w, types.int64), generate

    @intrinsic
    def _scatter(typingctx: Any, values: Any, lane: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, distance = _numbers(builder, args[0]), slots // 2
            empty = [i % room >= C for i in range(slots)]
            while distance:
                bit = builder.and_(args[1], ir.IntType(64)(distance))
                up = builder.icmp_unsigned("!=", bit, ir.IntType(64)(0))
                for i in range(distance):
                    a, b = sums[i], sums[i + distance]
                    if empty[i] and empty[i + distance]:
                        continue
                    moved = _shuffled(builder, builder.select(up, a, b), 3, distance)
                    sums[i], empty[i] = builder.fadd(builder.select(up, b, a), moved), False
                distance //= 2
            distance, value = slots, sums[0]
            while distance < WARP:
                value = builder.fadd(value, _shuffled(builder, value, 3, distance))
                distance *= 2
            return value

        return number(values, types.int64), generate

    @intrinsic
    def _broadcast(typingctx: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zero = context.get_constant(number, 0.0)
            return made(
                context, builder,
                [_shuffled(builder, args[0], 0, i) if i % room < C else zero for i in range(slots)],
            )  # fmt: skip

        return tuples[slots](number), generate

    @intrinsic
    def _outer(typingctx: Any, g: Any, slopes: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, factors, values = (_numbers(builder, a) for a in args)
            for r in range(R):
                for c in range(C):
                    for j in range(own_size):
                        at = c * own_size + j
                        sums[at] = builder.fma(factors[r * room + c], values[r * own_size + j], sums[at])
            return made(context, builder, sums)

        return tuples[C * own_size](g, slopes, x), generate

    @intrinsic
    def _put(typingctx: Any, g: Any, array: Any, start: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers, data = _numbers(builder, args[0]), _data(context, builder, array, args[1])
            for c in range(C):
                for k in range(K):
                    pointer = builder.gep(data, [builder.add(args[2], line_of(builder, args[3], c, k))])
                    begin = c * own_size + k * V
                    _store(builder, pointer, numbers[begin : begin + V])
            return context.get_dummy_value()

        return types.none(g, array, types.int64, types.int64), generate

    overload_scalar(zeros)(lambda x: lambda x: _zeros(x))
    overload_scalar(load_rows)(
        lambda x, first, n, features, own, nothing: (
            lambda x, first, n, features, own, nothing: _load_rows(x, first, n, features, own, nothing)
        )
    )
    overload_scalar(dots)(lambda x, w, own: lambda x, w, own: _dots(x, w, own))
    overload_scalar(scatter)(lambda values: lambda values: _scatter(values, thread() % WARP))
    overload_scalar(broadcast)(lambda value: lambda value: _broadcast(value))
    overload_scalar(outer)(lambda g, slopes, x: lambda g, slopes, x: _outer(g, slopes, x))
    overload_scalar(put)(lambda g, array, start, own: lambda g, array, start, own: _put(g, array, start, own))
    return SimpleNamespace(
        zeros=zeros, load_rows=load_rows, dots=dots, scatter=scatter, broadcast=broadcast, outer=outer, put=put
    )
