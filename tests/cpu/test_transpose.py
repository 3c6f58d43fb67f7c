"""Rows of arrays of any layout in C order, bit by bit, beside the borders of blocks and tiles."""

import numpy as np
import pytest
from strategies import DTYPES, INPUT_LAYOUTS, lay, same_bits

from nbgrad.cpu.transpose import Rows

SHAPES = [(1, 1), (3, 40), (40, 3), (7, 7), (8, 8), (9, 33), (65, 12), (130, 41), (64, 100), (20, 3, 5), (70, 2, 3, 9), (30, 1, 9)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_rows_of_any_layout(shape, dtype):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    moved = [lay(x, layout) for layout in INPUT_LAYOUTS]
    fortran = np.asfortranarray(x)
    moved += [fortran, fortran[..., ::-1][..., ::-1], np.asfortranarray(np.repeat(x, 2, 0))[::2], np.asfortranarray(x[..., ::-1])[..., ::-1]]
    moved += [np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 0, -1)), -1, 0)]
    for a in moved:
        rows = Rows(a, x.dtype)
        for part in (slice(0, len(x)), slice(len(x) // 3, len(x)), slice(1, len(x) - 1)):
            same_bits(rows[part], x[part])
    out = np.zeros(x.size + 5, dtype)
    Rows(fortran, x.dtype).bring(0, len(x), out, 3)
    same_bits(out, np.concatenate([np.zeros(3, dtype), x.reshape(-1), np.zeros(2, dtype)]))


@pytest.mark.parametrize("kind", ["u1", "i8", "f4", ">f8"])
def test_rows_of_another_dtype(kind):
    x = np.random.default_rng(1).integers(0, 200, (130, 41)).astype(kind)
    for a in (x, np.asfortranarray(x), np.asfortranarray(x)[::-1], x[:, ::-1]):
        same_bits(Rows(a, np.dtype(np.float64))[5:99], a[5:99].astype(np.float64))
