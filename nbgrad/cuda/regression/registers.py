"""The compiled side of the words of `nbgrad.cuda.regression.tiles`, in LLVM's language: every number of a tile stays in
a register.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numba.np import numpy_support

from nbgrad.cuda.device import WARP
from nbgrad.cuda.device.intrinsics import thread
from nbgrad.cuda.regression.tiles import Tile, plain_words
from nbgrad.jit import overload_scalar

__all__ = ["converted", "data_of", "load_line", "numbers_of", "shuffled", "store_line", "words"]


# A tuple of equal numbers is an array in LLVM.


def numbers_of(builder: Any, value: Any) -> list[Any]:
    return [builder.extract_value(value, k) for k in range(value.type.count)]


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    return context.make_array(kind)(context, builder, array).data


def _line(builder: Any, pointer: Any, width: int) -> Any:
    """A vector behind a pointer to numbers, and its alignment in bytes."""
    number = pointer.type.pointee
    size = {"float": 4, "double": 8}.get(str(number), 1) * width
    return builder.bitcast(pointer, ir.VectorType(number, width).as_pointer()), size


def load_line(builder: Any, pointer: Any, width: int) -> list[Any]:
    if width == 1:
        return [builder.load(pointer)]
    place, size = _line(builder, pointer, width)
    vector = builder.load(place, align=size)
    return [builder.extract_element(vector, ir.IntType(32)(k)) for k in range(width)]


def store_line(builder: Any, pointer: Any, numbers: list[Any]) -> None:
    if len(numbers) == 1:
        builder.store(numbers[0], pointer)
        return
    place, size = _line(builder, pointer, len(numbers))
    vector = ir.Constant(place.type.pointee, ir.Undefined)
    for k, number in enumerate(numbers):
        vector = builder.insert_element(vector, number, ir.IntType(32)(k))
    builder.store(vector, place, align=size)


def converted(builder: Any, number: Any, kind: Any) -> Any:
    if number.type == kind:
        return number
    if isinstance(number.type, ir.IntType):
        return builder.uitofp(number, kind)
    return (builder.fpext if str(kind) == "double" else builder.fptrunc)(number, kind)


def shuffled(builder: Any, number: Any, mode: int, lane: int) -> Any:
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
    of = plain_words(tile, dtype)
    C, R, K, V, W = tile.classes, tile.rows, tile.lines, tile.width, tile.threads
    class_lanes, slots, pitch, own_size = tile.class_lanes, tile.slots, tile.pitch, tile.own
    number = numpy_support.from_dtype(np.dtype(dtype))
    tuples = {size: types.UniTuple(number, size) for size in {C * own_size, R * own_size, slots}}

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
            data, empty = data_of(context, builder, x, args[0]), data_of(context, builder, nothing, args[5])
            _, first, n, features, own, _ = args
            places = [line_of(builder, own, 0, k) for k in range(K)]
            inside = [builder.icmp_signed("<", place, features) for place in places]
            for r in range(R):
                row = builder.add(first, wide(r))
                there, start = builder.icmp_signed("<", row, n), builder.mul(row, features)
                for k in range(K):
                    pointer = builder.gep(data, [builder.add(start, places[k])])
                    pointer = builder.select(builder.and_(there, inside[k]), pointer, empty)
                    numbers += load_line(builder, pointer, V)
            kind = context.get_value_type(number)
            return made(context, builder, [converted(builder, value, kind) for value in numbers])

        integer = types.int64
        return tuples[R * own_size](x, integer, integer, integer, integer, nothing), generate

    @intrinsic
    def _dots(typingctx: Any, x: Any, w: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values, data = numbers_of(builder, args[0]), data_of(context, builder, w, args[1])
            sums = [context.get_constant(number, 0.0)] * slots
            for k in range(K):
                for c in range(C):
                    line = load_line(builder, builder.gep(data, [line_of(builder, args[2], c, k)]), V)
                    for r in range(R):
                        for v, factor in enumerate(line):
                            at = r * class_lanes + c
                            sums[at] = builder.fma(values[r * own_size + k * V + v], factor, sums[at])
            return made(context, builder, sums)

        return tuples[slots](x, w, types.int64), generate

    @intrinsic
    def _scatter(typingctx: Any, values: Any, lane: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, distance = numbers_of(builder, args[0]), slots // 2
            empty = [i % class_lanes >= C for i in range(slots)]
            while distance:
                bit = builder.and_(args[1], ir.IntType(64)(distance))
                up = builder.icmp_unsigned("!=", bit, ir.IntType(64)(0))
                for i in range(distance):
                    a, b = sums[i], sums[i + distance]
                    if empty[i] and empty[i + distance]:
                        continue
                    moved = shuffled(builder, builder.select(up, a, b), 3, distance)
                    sums[i], empty[i] = builder.fadd(builder.select(up, b, a), moved), False
                distance //= 2
            distance, value = slots, sums[0]
            while distance < WARP:
                value = builder.fadd(value, shuffled(builder, value, 3, distance))
                distance *= 2
            return value

        return number(values, types.int64), generate

    @intrinsic
    def _broadcast(typingctx: Any, value: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            zero = context.get_constant(number, 0.0)
            return made(
                context, builder,
                [shuffled(builder, args[0], 0, i) if i % class_lanes < C else zero for i in range(slots)],
            )  # fmt: skip

        return tuples[slots](number), generate

    @intrinsic
    def _outer(typingctx: Any, g: Any, slopes: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, factors, values = (numbers_of(builder, a) for a in args)
            for r in range(R):
                for c in range(C):
                    for j in range(own_size):
                        at = c * own_size + j
                        sums[at] = builder.fma(factors[r * class_lanes + c], values[r * own_size + j], sums[at])
            return made(context, builder, sums)

        return tuples[C * own_size](g, slopes, x), generate

    @intrinsic
    def _put(typingctx: Any, g: Any, array: Any, start: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers, data = numbers_of(builder, args[0]), data_of(context, builder, array, args[1])
            for c in range(C):
                for k in range(K):
                    pointer = builder.gep(data, [builder.add(args[2], line_of(builder, args[3], c, k))])
                    begin = c * own_size + k * V
                    store_line(builder, pointer, numbers[begin : begin + V])
            return context.get_dummy_value()

        return types.none(g, array, types.int64, types.int64), generate

    overload_scalar(of.zeros)(lambda x: lambda x: _zeros(x))
    overload_scalar(of.load_rows)(
        lambda x, first, n, features, own, nothing: (
            lambda x, first, n, features, own, nothing: _load_rows(x, first, n, features, own, nothing)
        )
    )
    overload_scalar(of.dots)(lambda x, w, own: lambda x, w, own: _dots(x, w, own))
    overload_scalar(of.scatter)(lambda values: lambda values: _scatter(values, thread() % WARP))
    overload_scalar(of.broadcast)(lambda value: lambda value: _broadcast(value))
    overload_scalar(of.outer)(lambda g, slopes, x: lambda g, slopes, x: _outer(g, slopes, x))
    overload_scalar(of.put)(lambda g, array, start, own: lambda g, array, start, own: _put(g, array, start, own))
    return of
