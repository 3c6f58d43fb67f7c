"""maxout and its gradient on flat contiguous arrays of shape (groups, pieces, inner)."""

from __future__ import annotations

import functools

from numba import prange

from nbgrad.cpu.labels import bad_label
from nbgrad.formulas import rows
from nbgrad.jit import Loop, scalar
from nbgrad.jit.intrinsics import overlap

__all__ = ["maxout", "maxout_backward"]

_BLOCK = 2048
#: Up to so many pieces the number is a constant of the machine code, which LLVM then vectorises across
#: groups.
_CONSTANT = 8


def _number(pieces: int) -> tuple[int, object]:
    """(the number in the loop's name, what turns the argument into it)"""
    if pieces > _CONSTANT:
        return 0, scalar(lambda pieces: pieces)
    return pieces, scalar(lambda _: pieces)


def maxout(pieces: int) -> Loop:
    """``loop(work, x, pieces, inner, y, index)``: False, with nothing written, if a result overlaps another
    array.
    """
    return _maxout(pieces if pieces <= _CONSTANT else _CONSTANT + 1)


@functools.cache
def _maxout(pieces: int) -> Loop:
    number, constant = _number(pieces)
    larger = rows.larger

    @scalar
    def side_by_side(x, k, y, index):
        """Groups one after the other."""
        k = constant(k)  # here: the function is optimised before it is inlined
        for i in range(y.size):
            best, winner = x[i * k], 0
            for p in range(1, k):
                best, winner = larger(best, winner, x[i * k + p], p)
            y[i], index[i] = best, winner

    @scalar
    def apart(x, k, inner, y, index):
        """One group for each of ``inner`` places."""
        k = constant(k)
        for q in range(inner):
            best, winner = x[q], 0
            for p in range(1, k):
                best, winner = larger(best, winner, x[p * inner + q], p)
            y[q], index[q] = best, winner

    def loop(x, pieces, inner, y, index):
        if overlap(x, y) or overlap(x, index) or overlap(y, index):
            return False
        k = constant(pieces)
        if inner == 1:
            for b in prange((y.size + _BLOCK - 1) // _BLOCK):
                first, last = b * _BLOCK, min((b + 1) * _BLOCK, y.size)
                side_by_side(x[first * k : last * k], k, y[first:last], index[first:last])
        else:
            for g in prange(y.size // inner):
                first, last = g * inner, (g + 1) * inner
                apart(x[first * k : last * k], k, inner, y[first:last], index[first:last])
        return True

    return Loop(loop, name=f"maxout_{number}")


def maxout_backward(pieces: int) -> Loop:
    """``loop(work, grad_output, index, pieces, inner, grad_x)``: each group's gradient goes to the piece that
    won, 0 to the others. Answers the place of an index outside 0..pieces − 1, −1 if all is well, −2 if grad_x
    overlaps another array; with nothing written but for −1.
    """
    return _maxout_backward(pieces if pieces <= _CONSTANT else _CONSTANT + 1)


@functools.cache
def _maxout_backward(pieces: int) -> Loop:
    number, constant = _number(pieces)

    @scalar
    def side_by_side(g, index, k, dx):
        k = constant(k)
        for i in range(g.size):
            value, winner = g[i], index[i]
            for p in range(k):
                dx[i * k + p] = value if p == winner else g.dtype.type(0)

    @scalar
    def apart(g, index, k, inner, dx):
        for p in range(k):
            piece = dx[p * inner : (p + 1) * inner]
            for q in range(inner):
                value, winner = g[q], index[q]
                piece[q] = value if p == winner else g.dtype.type(0)

    def loop(g, index, pieces, inner, dx):
        bad = bad_label(index, pieces, 0, False)
        if bad >= 0:
            return bad
        if overlap(g, dx) or overlap(index, dx):
            return -2
        k = constant(pieces)
        if inner == 1:
            for b in prange((g.size + _BLOCK - 1) // _BLOCK):
                first, last = b * _BLOCK, min((b + 1) * _BLOCK, g.size)
                side_by_side(g[first:last], index[first:last], k, dx[first * k : last * k])
        else:
            for b in prange(g.size // inner):
                first, last = b * inner, (b + 1) * inner
                apart(g[first:last], index[first:last], k, inner, dx[first * k : last * k])
        return -1

    return Loop(loop, name=f"maxout_backward_{number}")
