"""The two skinny products of a regression model, as LLVM instructions: scores of a few rows, and their gradient.

BLAS is made for square matrices: with 10 columns PyTorch's takes 15 times as long. Here a tile of the
result stays in registers (12 vectors of 16, 24 of 32) while both factors stream through: 12 multiplications for 7
loads, or 24 for 11. What a tile holds is one sum a number, in an order that depends on the shapes and the
processor's vectors alone: the same bits on every call and for any number of threads.

Rows of ``x`` are contiguous, ``step`` apart; of the coefficients ``w`` and of the gradient every row is filled up with
zeros to whole tiles (`padded`). The last vector of a row of x is read with a mask: what follows the row is not
touched.

Scores are written class by class, `nbgrad.cpu.lanes.LANES` rows side by side: what follows (loss, softmax) is
done in the lanes.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from nbgrad.cpu.lanes import LANES
from nbgrad.jit import outlined, scalar
from nbgrad.jit.vectors import REGISTERS, VECTOR_BYTES, Vectors

__all__ = ["ROWS", "add_matrix", "add_rows", "dot_matrix", "dot_rows", "padded"]

#: vectors of a row that one tile of the gradient has
TILE_VECTORS = 4
#: rows that one tile of the scores has: with 2 or 3 of the coefficients all but a few registers are sums
TILE_ROWS = 8 if REGISTERS == 32 else 4
#: rows at a time where there is one row of coefficients
ROWS = 8
#: Features at a time: the first-level cache holds so much of 8 rows of x and 3 of the coefficients.
CHUNK = 512


def padded(features: int, itemsize: int) -> int:
    """How long a row of coefficients or of the gradient is: whole tiles, an odd number of them. (At a distance of 4096
    bytes all rows would compete for the same few places of the cache.)
    """
    tile = TILE_VECTORS * VECTOR_BYTES // itemsize
    return (-(-features // tile) | 1) * tile


def _dots(rows: int, columns: int, prefetch: bool = False) -> Any:
    """``tile(x, at, step, last, features, w, w_at, w_step, s, s_at, ahead)``: s[s_at + c·LANES + r] += x_r · w_c for
    this many rows r and rows c of coefficients; x_r starts at min(at + r·step, last). With ``prefetch`` memory is asked
    for what lies ``ahead``.
    """

    @intrinsic
    def tile(typingctx, x, at, step, last, features, w, w_at, w_step, s, s_at, ahead):
        if not x.dtype == w.dtype == s.dtype:
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, at, step, last, features, _, w_at, w_step, _, s_at, ahead = args
            e = Vectors(context, builder, x.dtype)
            places = e.rows(x, args[0], at, step, last, rows)
            weights = [
                e.data(w, args[5], builder.add(w_at, builder.mul(w_step, e.constant(c)))) for c in range(columns)
            ]
            whole, rest = e.divide(features)

            def step_with(mask: Any) -> Any:
                def body(i: Any, sums: list[Any]) -> list[Any]:
                    k = builder.mul(i, e.constant(e.lanes))
                    factors = [e.load(place, k) for place in weights]
                    sums = list(sums)
                    if prefetch:
                        for place in places:
                            e.prefetch(builder.gep(place, [builder.add(k, ahead)]))
                    for r, place in enumerate(places):
                        value = e.load(place, k, mask)
                        for c in range(columns):
                            j = c * rows + r
                            sums[j] = e.fma(value, factors[c], sums[j])
                    return sums

                return body

            sums = e.loop(whole, [e.zero] * (rows * columns), step_with(None))
            before = builder.block
            with builder.if_then(builder.icmp_signed(">", rest, e.constant(0))):
                more = step_with(e.mask(rest))(whole, sums)
                inside = builder.block
            total = []
            for a, b in zip(sums, more, strict=True):
                phi = builder.phi(e.vector)
                phi.add_incoming(a, before)
                phi.add_incoming(b, inside)
                total.append(phi)
            for c in range(columns):
                for g, sums in enumerate(e.row_sums(total[c * rows : (c + 1) * rows])):
                    place = e.data(s, args[8], builder.add(s_at, e.constant(c * LANES + g * e.group)))
                    pointer = builder.bitcast(place, sums.type.as_pointer())
                    builder.store(builder.fadd(builder.load(pointer, align=e.align), sums), pointer, align=e.align)
            return context.get_dummy_value()

        i = types.intp
        return types.none(x, i, i, i, i, w, i, i, s, i, i), generate

    return tile


def _outer(columns: int, masked: bool) -> Any:
    """``tile(x, at, step, count, features, r, r_at, g, g_at, g_step, ahead)``: g_c += Σ_i r[r_at + c·LANES + i]·x_i for
    this many rows g_c of the gradient and this many vectors of the rows x_0, ..., x_(count − 1); ``masked``:
    ``features`` of their numbers. Memory is asked for what lies ``ahead``.
    """

    @intrinsic
    def tile(typingctx, x, at, step, count, features, r, r_at, g, g_at, g_step, ahead):
        if not x.dtype == r.dtype == g.dtype:
            return None

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, at, step, count, features, _, r_at, _, g_at, g_step, ahead = args
            e = Vectors(context, builder, x.dtype)
            first = e.data(x, args[0], at)
            residuals = [e.data(r, args[5], builder.add(r_at, e.constant(c * LANES))) for c in range(columns)]
            masks = [
                e.mask(builder.sub(features, e.constant(v * e.lanes))) if masked else None for v in range(TILE_VECTORS)
            ]

            def body(i: Any, sums: list[Any]) -> list[Any]:
                place = builder.gep(first, [builder.mul(i, step)])
                factors = [e.spread(builder.load(builder.gep(p, [i]))) for p in residuals]
                sums = list(sums)
                for v in range(TILE_VECTORS):
                    e.prefetch(builder.gep(place, [builder.add(ahead, e.constant(v * e.lanes))]))
                    value = e.load(place, e.constant(v * e.lanes), masks[v])
                    for c in range(columns):
                        j = v * columns + c
                        sums[j] = e.fma(value, factors[c], sums[j])
                return sums

            sums = e.loop(count, [e.zero] * (TILE_VECTORS * columns), body)
            for c in range(columns):
                place = e.data(g, args[7], builder.add(g_at, builder.mul(g_step, e.constant(c))))
                for v in range(TILE_VECTORS):
                    pointer = e.pointer(place, e.constant(v * e.lanes))
                    total = builder.fadd(builder.load(pointer, align=e.align), sums[v * columns + c])
                    builder.store(total, pointer, align=e.align)
            return context.get_dummy_value()

        i = types.intp
        return types.none(x, i, i, i, i, r, i, g, i, i, i), generate

    return tile


@intrinsic
def _outer_rows(typingctx, x, at, step, last, features, r, r_at, g, ahead):
    """g += Σ_i r[r_at + i]·x_i for `ROWS` rows x_i, which start at min(at + i·step, last), along the rows: memory is
    read in the order in which it lies. Meanwhile it is asked for what lies ``ahead``.
    """
    if not x.dtype == r.dtype == g.dtype:
        return None

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        _, at, step, last, features, _, r_at, _, ahead = args
        e = Vectors(context, builder, x.dtype)
        places = e.rows(x, args[0], at, step, last, ROWS)
        residual = e.data(r, args[5], r_at)
        factors = [e.spread(builder.load(builder.gep(residual, [e.constant(i)]))) for i in range(ROWS)]
        gradient = e.data(g, args[7], e.constant(0))

        def add(k: Any, mask: Any) -> None:
            for place in places:  # for the last numbers of a row, too: of 30 features they are every other line
                e.prefetch(builder.gep(place, [builder.add(k, ahead)]))
            pointer = e.pointer(gradient, k)
            total, other = builder.load(pointer, align=e.align), e.zero
            for i in range(0, ROWS, 2):
                total = e.fma(e.load(places[i], k, mask), factors[i], total)
                other = e.fma(e.load(places[i + 1], k, mask), factors[i + 1], other)
            builder.store(builder.fadd(total, other), pointer, align=e.align)

        def body(i: Any, _: list[Any]) -> list[Any]:
            add(builder.mul(i, e.constant(e.lanes)), None)
            return []

        whole, rest = e.divide(features)
        e.loop(whole, [], body)
        with builder.if_then(builder.icmp_signed(">", rest, e.constant(0))):
            add(builder.mul(whole, e.constant(e.lanes)), e.mask(rest))
        return context.get_dummy_value()

    i = types.intp
    return types.none(x, i, i, i, i, r, i, g, i), generate


_dots_8_1, _dots_8_1_ahead = _dots(8, 1), _dots(8, 1, True)
_dots_2, _dots_3 = _dots(TILE_ROWS, 2), _dots(TILE_ROWS, 3)
_outer_2, _outer_3 = _outer(2, False), _outer(3, False)
_outer_2_rest, _outer_3_rest = _outer(2, True), _outer(3, True)


# Chunk by chunk, so that the rows of coefficients and of x at hand stay in the first-level cache.


@outlined
def dot_rows(x, at, step, count, features, w, s, ahead):
    """s[i] += x_i · w for ``count`` ≤ LANES rows x_i, which start at at + i·step. (Up to 7 more lanes are written.)
    Where X is read but once, memory is asked for what lies ``ahead``.
    """
    for k in range(0, features, CHUNK):
        size, last = min(CHUNK, features - k), at + (count - 1) * step + k
        for i in range(0, count, ROWS):
            if ahead:
                _dots_8_1_ahead(x, at + i * step + k, step, last, size, w, k, 0, s, i, ahead)
            else:
                _dots_8_1(x, at + i * step + k, step, last, size, w, k, 0, s, i, 0)


@outlined
def add_rows(x, at, step, count, features, r, g, ahead):
    """g += Σ_i r[i]·x_i over ``count`` ≤ LANES rows x_i, which start at at + i·step; r is 0 in the 7 lanes after
    them.
    """
    for i in range(0, count, ROWS):
        _outer_rows(x, at + i * step, step, at + (count - 1) * step, features, r, i, g, ahead)


@outlined
def dot_matrix(x, at, step, count, features, w, w_step, coefficients, s):
    """s[c·LANES + i] += x_i · w_c, as `dot_rows`, for two or more rows of coefficients."""
    for k in range(0, features, CHUNK):
        size, last = min(CHUNK, features - k), at + (count - 1) * step + k
        for i in range(0, count, 2 * TILE_ROWS):
            c = 0
            while c < coefficients:
                pair = _pair(coefficients - c)
                for j in range(i, min(i + 2 * TILE_ROWS, count), TILE_ROWS):
                    place, at_w, to = at + j * step + k, c * w_step + k, c * LANES + j
                    if pair:
                        _dots_2(x, place, step, last, size, w, at_w, w_step, s, to, 0)
                    else:
                        _dots_3(x, place, step, last, size, w, at_w, w_step, s, to, 0)
                c += 2 if pair else 3


@outlined
def add_matrix(x, at, step, count, features, r, g, g_step, coefficients, ahead):
    """g_c += Σ_i r[c·LANES + i]·x_i, as `add_rows`, for two or more rows of coefficients."""
    tile = TILE_VECTORS * VECTOR_BYTES // x.itemsize
    for k in range(0, features, tile):
        size, c = features - k, 0
        while c < coefficients:
            pair, place = _pair(coefficients - c), c * g_step + k
            if size >= tile:
                if pair:
                    _outer_2(x, at + k, step, count, size, r, c * LANES, g, place, g_step, ahead if c == 0 else 0)
                else:
                    _outer_3(x, at + k, step, count, size, r, c * LANES, g, place, g_step, ahead if c == 0 else 0)
            elif pair:
                _outer_2_rest(x, at + k, step, count, size, r, c * LANES, g, place, g_step, ahead if c == 0 else 0)
            else:
                _outer_3_rest(x, at + k, step, count, size, r, c * LANES, g, place, g_step, ahead if c == 0 else 0)
            c += 2 if pair else 3


@scalar
def _pair(left):
    """Whether the next two coefficients' rows are taken, not three: two or more rows are twos and threes."""
    return left == 2 or left == 4
