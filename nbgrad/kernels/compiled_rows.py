"""What runs when a user's ``@njit`` function calls a row function: the same `nbgrad.rows`, in the caller's
thread.

Arrays of any rank and layout, any axis. The loop over rows lies outside the row functions, as in
`nbgrad.backends.cpu_rows`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem

from nbgrad import rows
from nbgrad.jit import array_overload, part, scalar
from nbgrad.kernels import rowwise
from nbgrad.kernels.compiled import absent, precision, spread, write_to

__all__ = ["converted", "layers"]


@scalar
def layers(x, axis):
    """The array as (outer, length, inner), ``axis`` in the middle; contiguous."""
    if axis < -x.ndim or axis >= x.ndim:
        raise ValueError("axis: out of range")
    axis = axis % x.ndim
    outer, inner = 1, 1
    for k in range(x.ndim):
        if k < axis:
            outer *= x.shape[k]
        elif k > axis:
            inner *= x.shape[k]
    return np.ascontiguousarray(x).reshape((outer, x.shape[axis], inner))


@scalar
def _as_it_is(x):
    return x


@functools.cache
def _cast(T: Any) -> Callable[..., Any]:
    return part(lambda x: x.astype(T))


def converted(T: Any, array: Any) -> Callable[..., Any]:
    """``convert(x)``: the array in precision T."""
    return _as_it_is if array.dtype == (types.float32 if T is np.float32 else types.float64) else _cast(T)


def _rows_forward(f: Callable[..., Any]) -> Callable[..., Any]:
    def typed(x, axis=-1, out=None):
        T = precision(x)
        if T is None or not isinstance(x, types.Array):
            return None
        convert, finish = converted(T, x), write_to(out)

        def implementation(x, axis=-1, out=None):
            y = np.empty(x.shape, T)
            x3, y3 = layers(convert(x), axis), layers(y, axis)
            for i in range(x3.shape[0]):
                for k in range(x3.shape[2]):
                    f(x3[i, :, k], y3[i, :, k])
            return finish(y, out)

        return implementation

    return typed


def _rows_backward(df: Callable[..., Any]) -> Callable[..., Any]:
    def typed(grad_output, y, axis=-1, out=None):
        T = precision(grad_output, y)
        if T is None or not (isinstance(y, types.Array) and isinstance(grad_output, types.Array)):
            return None
        convert_g, convert_y, finish = converted(T, grad_output), converted(T, y), write_to(out)

        def implementation(grad_output, y, axis=-1, out=None):
            if grad_output.shape != y.shape:
                raise ValueError("grad_output: expected the shape of y")
            result = np.empty(y.shape, T)
            g3, y3, r3 = (
                layers(convert_g(grad_output), axis),
                layers(convert_y(y), axis),
                layers(result, axis),
            )
            for i in range(y3.shape[0]):
                for k in range(y3.shape[2]):
                    df(g3[i, :, k], y3[i, :, k], r3[i, :, k])
            return finish(result, out)

        return implementation

    return typed


array_overload(rowwise.softmax)(_rows_forward(rows.softmax))
array_overload(rowwise.log_softmax)(_rows_forward(rows.log_softmax))
array_overload(rowwise.softmax_backward)(_rows_backward(rows.softmax_backward))
array_overload(rowwise.log_softmax_backward)(_rows_backward(rows.log_softmax_backward))


# The number of dimensions is a part of a type, and a tuple without its entry at a run-time axis has no type:
# logsumexp is offered for vectors (a number) and matrices.
@array_overload(rowwise.logsumexp)
def _logsumexp(x, axis=-1, out=None):
    T = precision(x)
    if T is None or not isinstance(x, types.Array) or x.ndim > 2:
        return None
    convert = converted(T, x)
    if x.ndim == 1:
        return (lambda x, axis=-1, out=None: rows.logsumexp(convert(x))) if absent(out) else None
    finish = write_to(out)

    def implementation(x, axis=-1, out=None):
        x3 = layers(convert(x), axis)
        y = np.empty(x3.shape[0] * x3.shape[2], T)
        for i in range(x3.shape[0]):
            for k in range(x3.shape[2]):
                y[i * x3.shape[2] + k] = rows.logsumexp(x3[i, :, k])
        return finish(y, out)

    return implementation


@array_overload(rowwise.logsumexp_backward)
def _logsumexp_backward(grad_output, x, axis=-1, out=None):
    T = precision(grad_output, x)
    if T is None or not isinstance(x, types.Array) or x.ndim > 2:
        return None
    convert, finish = converted(T, x), write_to(out)

    def implementation(grad_output, x, axis=-1, out=None):
        y = np.empty(x.shape, T)
        x3, y3 = layers(convert(x), axis), layers(y, axis)
        g = spread(grad_output, (x3.shape[0] * x3.shape[2],))
        for i in range(x3.shape[0]):
            for k in range(x3.shape[2]):
                rows.softmax(x3[i, :, k], y3[i, :, k])
                for j in range(x3.shape[1]):
                    y3[i, j, k] *= T(g[i * x3.shape[2] + k])
        return finish(y, out)

    return implementation


@array_overload(rowwise.maxout)
def _maxout(x, num_pieces, axis=-1, out=None, index_out=None):
    T = precision(x)
    if T is None or not isinstance(x, types.Array):
        return None
    convert, finish, finish_index = converted(T, x), write_to(out), write_to(index_out)
    ndim = x.ndim

    def implementation(x, num_pieces, axis=-1, out=None, index_out=None):
        x3 = layers(convert(x), axis)
        if num_pieces < 1 or x3.shape[1] % num_pieces:
            raise ValueError("num_pieces: expected a divisor of the axis' length")
        shape = _replaced(x.shape, axis % ndim, x3.shape[1] // num_pieces)
        y, index = np.empty(shape, T), np.empty(shape, np.intp)
        y3, index3 = layers(y, axis), layers(index, axis)
        for i in range(y3.shape[0]):
            for j in range(y3.shape[1]):
                for k in range(y3.shape[2]):
                    y3[i, j, k], index3[i, j, k] = rows.maxout(
                        x3[i, j * num_pieces : (j + 1) * num_pieces, k]
                    )
        return finish(y, out), finish_index(index, index_out)

    return implementation


@array_overload(rowwise.maxout_backward)
def _maxout_backward(grad_output, index, num_pieces, axis=-1, out=None):
    T = precision(grad_output)
    if T is None or not isinstance(grad_output, types.Array) or not isinstance(index, types.Array):
        return None
    finish = write_to(out)
    ndim = grad_output.ndim

    def implementation(grad_output, index, num_pieces, axis=-1, out=None):
        if index.shape != grad_output.shape:
            raise ValueError("index: expected the shape of grad_output")
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
