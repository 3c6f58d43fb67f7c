"""maxout and its gradient on CUDA: flat contiguous arrays of shape (groups, pieces, inner), a thread for each group and
place.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import kernel
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.formulas import rows

__all__ = ["maxout", "maxout_backward"]


@functools.cache
def maxout(dtype: Any) -> Any:
    """``kernel(x, pieces, inner, y, index)``"""
    larger = rows.larger

    def run(x, pieces, inner, y, index):
        i = block() * block_size() + thread()
        while i < y.size:
            first = i // inner * pieces * inner + i % inner
            best, winner = x[first], 0
            for p in range(1, pieces):
                best, winner = larger(best, winner, x[first + p * inner], p)
            y[i], index[i] = best, winner
            i += block_size() * blocks()

    return kernel(run)


@functools.cache
def maxout_backward(dtype: Any) -> Any:
    """``kernel(grad_output, index, pieces, inner, flag, grad_x)``: each group's gradient goes to the piece that won, 0
    to the others. An index out of range makes its group nan, and its place + 1 goes to ``flag[0]``.
    """
    T: Any = dtype.type
    nan = T(np.nan)

    def run(g, index, pieces, inner, flag, dx):
        i = block() * block_size() + thread()
        while i < g.size:
            value, winner = g[i], index[i]
            known = 0 <= winner < pieces
            if not known:
                flag[0] = i + 1
            first = i // inner * pieces * inner + i % inner
            for p in range(pieces):
                dx[first + p * inner] = (value if p == winner else T(0)) if known else nan
            i += block_size() * blocks()

    return kernel(run)
