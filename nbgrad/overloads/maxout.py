"""What runs when a user's ``@njit`` function calls maxout."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from nbgrad.formulas import rows
from nbgrad.jit import scalar
from nbgrad.jit.intrinsics import tuple_setitem
from nbgrad.overloads.arguments import apart, axes_kind, integer, precision, refuse, write_to
from nbgrad.overloads.register import stands_for
from nbgrad.overloads.rows import converted, layers, ndim_of

__all__: list[str] = []


def _check_maxout(axis: Any, num_pieces: Any, ndim: int) -> None:
    integer("num_pieces", num_pieces)
    if axes_kind(axis, ndim) != 1:
        refuse("axis", "an integer", axis)


@stands_for("maxout")
def _maxout(x, num_pieces, axis=-1, out=None, index_out=None):
    T, ndim = precision(x=x), ndim_of(x)
    _check_maxout(axis, num_pieces, ndim)
    convert, finish = converted(T, x), write_to("out", out, T, ndim)
    finish_index, check = write_to("index_out", index_out, np.intp, ndim), apart(out, "index_out", index_out)

    def implementation(x, num_pieces, axis=-1, out=None, index_out=None):
        check(out, index_out)
        x3 = layers(convert(x), axis)
        if num_pieces < 1 or x3.shape[1] % num_pieces:
            raise ValueError("num_pieces: expected a divisor of the axis' length")
        shape = _replaced(x.shape, axis % ndim, x3.shape[1] // num_pieces)
        y, index = np.empty(shape, T), np.empty(shape, np.intp)
        y3, index3 = layers(y, axis), layers(index, axis)
        for i in range(y3.shape[0]):
            for j in range(y3.shape[1]):
                for k in range(y3.shape[2]):
                    y3[i, j, k], index3[i, j, k] = rows.maxout(x3[i, j * num_pieces : (j + 1) * num_pieces, k])
        return finish(y, out), finish_index(index, index_out)

    return implementation


@stands_for("maxout_backward")
def _maxout_backward(grad_output, index, num_pieces, axis=-1, out=None):
    T, ndim = precision(grad_output=grad_output), ndim_of(grad_output)
    _check_maxout(axis, num_pieces, ndim)
    if not (isinstance(index, types.Array) and isinstance(index.dtype, types.Integer)) or index.ndim != ndim:
        refuse("index", "integers in the shape of grad_output", index)
    finish = write_to("out", out, T, ndim)

    def implementation(grad_output, index, num_pieces, axis=-1, out=None):
        if index.shape != grad_output.shape:
            raise ValueError("index: expected the shape of grad_output")
        if num_pieces < 1:
            raise ValueError("num_pieces: expected at least 1")
        g3, index3 = layers(grad_output, axis), layers(index, axis)
        result = np.zeros(_replaced(grad_output.shape, axis % ndim, g3.shape[1] * num_pieces), T)
        r3 = layers(result, axis)
        for i in range(g3.shape[0]):
            for j in range(g3.shape[1]):
                for k in range(g3.shape[2]):
                    if index3[i, j, k] < 0 or index3[i, j, k] >= num_pieces:
                        raise ValueError("index: expected 0..num_pieces - 1")
                    r3[i, j * num_pieces + index3[i, j, k], k] = T(g3[i, j, k])
        return finish(result, out)

    return implementation


@scalar
def _replaced(shape, k, value):
    """The tuple with entry k replaced."""
    result = shape
    for i in range(len(shape)):
        if i == k:
            result = tuple_setitem(result, i, value)
    return result
