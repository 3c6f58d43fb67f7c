"""Rows of X in shared memory: the words in which `nbgrad.cuda.regression.staged` is written.

A block is one warp. Its tile of X has a row for each of its threads, which comes there without passing through
registers. For scores a thread reads whole rows: no thread has to ask another. For slopes it owns features.

Each word is a plain function, which says what it means and which the simulator runs, with a compiled side below it.
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
from nbgrad.cuda.device.intrinsics import exchange, thread
from nbgrad.cuda.regression.registers import converted, data_of, load_line, numbers_of, shuffled, store_line
from nbgrad.cuda.regression.tiles import Staged
from nbgrad.jit import overload_scalar

__all__ = ["room_words"]


def _copy(builder: Any, source: Any, place: Any, width: int, size: int, there: Any, readable: Any) -> None:
    """A line of ``size`` bytes from global to shared memory, behind the thread's back; zeros where it is not
    ``there``.
    """
    word, address, zero = ir.IntType(32), ir.IntType(64), ir.IntType(32)(0)
    if size not in (4, 8, 16):
        numbers = load_line(builder, builder.select(there, source, readable), width)
        store_line(builder, place, [builder.select(there, x, ir.Constant(x.type, 0)) for x in numbers])
        return
    shared = builder.ptrtoint(builder.addrspacecast(place, place.type.pointee.as_pointer(3)), word)
    source = builder.ptrtoint(builder.addrspacecast(source, source.type.pointee.as_pointer(1)), address)
    text = f"cp.async.{'cg' if size == 16 else 'ca'}.shared.global [$0], [$1], {size}, $2;"
    kind = ir.FunctionType(ir.VoidType(), [word, address, word])
    assembly = ir.InlineAsm(kind, text, "r,l,r,~{memory}", side_effect=True)
    builder.call(assembly, [shared, source, builder.select(there, word(size), zero)])


def room_words(tile: Staged, dtype: Any, x_dtype: Any) -> SimpleNamespace:
    """The words for tiles of this kind, with numbers of these dtypes."""
    T: Any = np.dtype(dtype).type
    C, V, K, R, Q = tile.classes, tile.width, tile.own, tile.together, tile.split
    lanes, pitch, row_size, apart = tile.lanes, tile.pitch, tile.lines * V, WARP // Q
    ones, size = WARP * row_size, V * np.dtype(x_dtype).itemsize
    number = numpy_support.from_dtype(np.dtype(dtype))
    sums, some = types.UniTuple(number, C * K * V), types.UniTuple(number, Q * C)
    integer, wide = types.int64, ir.IntType(64)

    def fetch(x, start, left, features, tile, row, own):
        """Begin to copy the thread's lines of ``together`` rows from ``row`` on; the tile's first, of which ``left``
        and those behind it are not there, is at x[start].
        """
        for r in range(row, row + R):
            for k in range(K):
                place, source = (k * lanes + own) * V, start + r * features
                if place < features:
                    tile[r * row_size + place : r * row_size + place + V] = (
                        x[source + place : source + place + V] if r < left else 0
                    )

    def landed():
        """Wait for what the thread has begun to copy."""

    def no_scores(x):
        """Zeros, for each of the thread's rows and classes (``x``: a tile)."""
        return (T(0),) * (Q * C)

    def dot(scores, tile, w, place, begin):
        """scores + Σ x·w over the line at ``place`` of the tile, those of the rows `WARP` / split.. below it, and the
        lines at ``begin`` of w and those of the next classes.
        """
        answer = list(scores)
        for q in range(Q):
            for c in range(C):
                for v in range(V):
                    answer[q * C + c] += T(tile[place + q * apart * row_size + v]) * w[begin + c * pitch + v]
        return tuple(answer)

    def keep(scores, w, table, start):
        """Add up what the threads of one part of the features after the other have of the rows; with the intercepts
        each writes those of its row into the table behind ``start``.
        """
        numbers, half, lane = list(scores), Q // 2, thread() % WARP
        while half:
            up = lane & (half * apart) != 0
            for i in range(half * C):
                keep, send = (i + half * C, i) if up else (i, i + half * C)
                numbers[i] = numbers[keep] + exchange(numbers[send], half * apart)
            half //= 2
        for c in range(C):
            table[start + c * WARP + lane] = numbers[c] + w[tile.size + c]

    def zeros(x):
        """Slopes of nothing."""
        return (T(0),) * (C * K * V)

    def outer(g, tile, table, row, lines, own):
        """g + Σ residual·x over ``together`` rows from ``row`` on, for the thread's lines, the line of ones behind the
        features' among them. (Those behind it are not asked for.)
        """
        answer = list(g)
        for k in range(K):
            line = k * lanes + own
            for r in range(row, row + R):
                at = r * row_size + line * V if line < lines else ones
                for c in range(C):
                    for v in range(V):
                        answer[(c * K + k) * V + v] += table[c * WARP + r] * T(tile[at + v])
        return tuple(answer)

    def put(g, array, start, own):
        """Write the thread's slopes to its places behind ``start``."""
        for c in range(C):
            for k in range(K):
                for v in range(V):
                    array[start + c * pitch + (k * lanes + own) * V + v] = g[(c * K + k) * V + v]

    # The compiled side

    def at(builder: Any, array: Any, *terms: Any) -> Any:
        place = terms[0]
        for term in terms[1:]:
            place = builder.add(place, wide(term) if isinstance(term, int) else term)
        return builder.gep(array, [place])

    def times(builder: Any, value: Any, factor: int) -> Any:
        return builder.mul(value, wide(factor))

    def fma_line(builder: Any, total: Any, a: list[Any], b: list[Any]) -> Any:
        for x, y in zip(a, b, strict=True):
            total = builder.fma(x, y, total)
        return total

    def load_numbers(context: Any, builder: Any, pointer: Any, width: int) -> list[Any]:
        kind = context.get_value_type(number)
        return [converted(builder, value, kind) for value in load_line(builder, pointer, width)]

    @intrinsic
    def _fetch(typingctx: Any, x: Any, start: Any, left: Any, features: Any, tile: Any, row: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data, room = data_of(context, builder, x, args[0]), data_of(context, builder, tile, args[4])
            _, start, left, features, _, row, own = args
            start = builder.add(start, builder.mul(row, features))
            left = builder.trunc(builder.sub(left, row), ir.IntType(32))
            for k in range(K):
                column = times(builder, builder.add(own, wide(k * lanes)), V)
                target = at(builder, room, times(builder, row, row_size), column)
                source = builder.gep(data, [builder.add(start, column)])
                with builder.if_then(builder.icmp_signed("<", column, features)):
                    for r in range(R):
                        there = builder.icmp_signed("<", ir.IntType(32)(r), left)
                        _copy(builder, source, builder.gep(target, [wide(r * row_size)]), V, size, there, data)
                        source = builder.gep(source, [features])
            return context.get_dummy_value()

        return types.none(x, integer, integer, integer, tile, integer, integer), generate

    @intrinsic
    def _landed(typingctx: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [])
            builder.call(ir.InlineAsm(kind, "cp.async.wait_all;", "~{memory}", side_effect=True), [])
            return context.get_dummy_value()

        return types.none(), generate

    @intrinsic
    def _no_scores(typingctx: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.make_tuple(builder, some, [context.get_constant(number, 0.0)] * (Q * C))

        return some(x), generate

    @intrinsic
    def _dot(typingctx: Any, scores: Any, tile: Any, w: Any, place: Any, begin: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            scores, room = numbers_of(builder, args[0]), data_of(context, builder, tile, args[1])
            factors, (_, _, _, place, begin) = data_of(context, builder, w, args[2]), args
            rows = [load_numbers(context, builder, at(builder, room, place, q * apart * row_size), V) for q in range(Q)]
            for c in range(C):
                line = load_line(builder, at(builder, factors, begin, c * pitch), V)
                for q in range(Q):
                    scores[q * C + c] = fma_line(builder, scores[q * C + c], rows[q], line)
            return context.make_tuple(builder, some, scores)

        return some(scores, tile, w, integer, integer), generate

    @intrinsic
    def _keep(typingctx: Any, scores: Any, w: Any, table: Any, start: Any, lane: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            sums, half = numbers_of(builder, args[0]), Q // 2
            _, _, _, start, lane = args
            while half:
                bit = builder.and_(lane, wide(half * apart))
                up = builder.icmp_unsigned("!=", bit, wide(0))
                for i in range(half * C):
                    a, b = sums[i], sums[i + half * C]
                    moved = shuffled(builder, builder.select(up, a, b), 3, half * apart)
                    sums[i] = builder.fadd(builder.select(up, b, a), moved)
                half //= 2
            places, intercepts = data_of(context, builder, table, args[2]), data_of(context, builder, w, args[1])
            for c in range(C):
                value = builder.fadd(sums[c], builder.load(at(builder, intercepts, wide(tile.size + c))))
                builder.store(value, at(builder, places, start, lane, c * WARP))
            return context.get_dummy_value()

        return types.none(scores, w, table, integer, integer), generate

    @intrinsic
    def _zeros(typingctx: Any, x: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return context.make_tuple(builder, sums, [context.get_constant(number, 0.0)] * (C * K * V))

        return sums(x), generate

    @intrinsic
    def _outer(typingctx: Any, g: Any, tile: Any, table: Any, row: Any, lines: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            g, room, residuals = (
                numbers_of(builder, args[0]),
                *(data_of(context, builder, kind, array) for kind, array in ((tile, args[1]), (table, args[2]))),
            )
            _, _, _, row, lines, own = args
            for k in range(K):
                line = builder.add(own, wide(k * lanes))
                inside = builder.icmp_signed("<", line, lines)
                column = builder.add(times(builder, row, row_size), times(builder, line, V))
                place = builder.select(inside, column, wide(ones))
                step = builder.select(inside, wide(row_size), wide(0))
                rows = []
                for _ in range(R):
                    rows.append(load_numbers(context, builder, at(builder, room, place), V))
                    place = builder.add(place, step)
                for c in range(C):
                    factors = load_line(builder, at(builder, residuals, row, c * WARP), R)
                    for factor, numbers in zip(factors, rows, strict=True):
                        for v, x in enumerate(numbers):
                            j = (c * K + k) * V + v
                            g[j] = builder.fma(factor, x, g[j])
            return context.make_tuple(builder, sums, g)

        return sums(g, tile, table, integer, integer, integer), generate

    @intrinsic
    def _put(typingctx: Any, g: Any, array: Any, start: Any, own: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            numbers, data = numbers_of(builder, args[0]), data_of(context, builder, array, args[1])
            begin = builder.add(args[2], times(builder, args[3], V))
            for c in range(C):
                for k in range(K):
                    i = (c * K + k) * V
                    store_line(builder, at(builder, data, begin, c * pitch + k * lanes * V), numbers[i : i + V])
            return context.get_dummy_value()

        return types.none(g, array, integer, integer), generate

    overload_scalar(fetch)(
        lambda x, start, left, features, tile, row, own: (
            lambda x, start, left, features, tile, row, own: _fetch(x, start, left, features, tile, row, own)
        )
    )
    overload_scalar(landed)(lambda: lambda: _landed())
    overload_scalar(no_scores)(lambda x: lambda x: _no_scores(x))
    overload_scalar(dot)(
        lambda scores, tile, w, place, begin: lambda scores, tile, w, place, begin: _dot(scores, tile, w, place, begin)
    )
    overload_scalar(keep)(
        lambda scores, w, table, start: lambda scores, w, table, start: _keep(scores, w, table, start, thread() % WARP)
    )
    overload_scalar(zeros)(lambda x: lambda x: _zeros(x))
    overload_scalar(outer)(
        lambda g, tile, table, row, lines, own: (
            lambda g, tile, table, row, lines, own: _outer(g, tile, table, row, lines, own)
        )
    )
    overload_scalar(put)(lambda g, array, start, own: lambda g, array, start, own: _put(g, array, start, own))
    return SimpleNamespace(
        fetch=fetch, landed=landed, no_scores=no_scores, dot=dot, keep=keep, zeros=zeros, outer=outer,
        put=put,
    )  # fmt: skip
