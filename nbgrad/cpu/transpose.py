"""Transposing between arrays by vector instructions.

Row functions of few columns are computed with rows in the vector's lanes: (rows, columns) becomes (columns,
rows) and back. As a plain loop that is a load and a store for each element, 1 to 2 cycles each way, as much
as the exponential itself; as blocks of 8x8 (float64: 4x4) in registers it is 0.3.
"""

from __future__ import annotations

from nbgrad.jit import scalar
from nbgrad.jit.transpose_block import block_width, transpose_block

__all__ = ["transpose"]


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
            transpose_block(
                source, at + i * stride + j, stride, target, to + j * target_stride + i, target_stride
            )
    for i in range(whole, rows):
        line = source[at + i * stride : at + i * stride + columns]
        for j in range(columns):
            target[to + j * target_stride + i] = line[j]
