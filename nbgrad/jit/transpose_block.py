"""A block of a matrix transposed in registers, as LLVM instructions."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

__all__ = ["block_width", "transpose_block"]

# For each width of a block: the steps (distance of the two vectors, elements of their concatenation that
# become the first, and the second), which are the instructions unpcklps/unpckhps, shufps, vperm2f128; and the
# column that each vector holds then.
_BLOCKS: dict[Any, tuple[tuple[tuple[int, list[int], list[int]], ...], tuple[int, ...]]] = {
    types.float32: (
        (
            (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
            (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
            (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
        ),
        (0, 2, 1, 3, 4, 6, 5, 7),
    ),
    types.float64: (
        ((1, [0, 4, 2, 6], [1, 5, 3, 7]), (2, [0, 1, 4, 5], [2, 3, 6, 7])),
        (0, 1, 2, 3),
    ),
}


@intrinsic
def block_width(typingctx: Any, x: Any) -> Any:
    """Rows and columns of a block of x's type, a constant."""
    width = len(_BLOCKS[x.dtype][1])
    return types.intp(x), lambda context, builder, signature, args: ir.IntType(64)(width)


@intrinsic
def transpose_block(typingctx: Any, source: Any, at: Any, stride: Any, target: Any, to: Any, target_stride: Any) -> Any:
    """target[to + j·target_stride + i] = source[at + i·stride + j] for one block; 1-D contiguous arrays,
    unchecked. ``stride`` may be an array: source[at + stride[i] + j].
    """
    if source.dtype not in _BLOCKS or source.dtype != target.dtype:
        return None
    steps, columns = _BLOCKS[source.dtype]
    width, bytes_aligned = len(columns), source.dtype.bitwidth // 8

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def pointers(array: Any, kind: Any, start: Any, step: Any, steps: Any = None) -> list[Any]:
            data = context.make_array(kind)(context, builder, array).data
            if steps is None:
                apart = [builder.mul(step, step.type(k)) for k in range(width)]
            else:
                offsets = context.make_array(steps)(context, builder, step).data
                apart = [builder.load(builder.gep(offsets, [start.type(k)])) for k in range(width)]
            places = [builder.add(start, offset) for offset in apart]
            vector = ir.VectorType(data.type.pointee, width).as_pointer()
            return [builder.bitcast(builder.gep(data, [place]), vector) for place in places]

        def shuffled(a: Any, b: Any, elements: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), width), elements)
            return builder.shuffle_vector(a, b, mask)

        steps_of = stride if isinstance(stride, types.Array) else None
        rows = [
            builder.load(p, align=bytes_aligned)
            for p in pointers(args[0], signature.args[0], args[1], args[2], steps_of)
        ]
        for distance, first, second in steps:
            for i in range(width):
                if not i & distance:
                    a, b = rows[i], rows[i + distance]
                    rows[i], rows[i + distance] = shuffled(a, b, first), shuffled(a, b, second)
        targets = pointers(args[3], signature.args[3], *args[4:6])
        for row, column in zip(rows, columns, strict=True):
            builder.store(row, targets[column], align=bytes_aligned)
        return context.get_dummy_value()

    index = types.intp
    step = stride if isinstance(stride, types.Array) else index
    return types.void(source, index, step, target, index, index), generate
