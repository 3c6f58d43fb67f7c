"""What runs when a user's ``@njit`` function calls a row function: the same `nbgrad.formulas.rows`, in the caller's
thread.

Arrays of any rank and layout, any axis. The loop over rows lies outside the row functions, as in
`nbgrad.cpu.rows`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from nbgrad.formulas import softmax
from nbgrad.formulas.table import ROW_FUNCTIONS
from nbgrad.jit import outlined, scalar
from nbgrad.jit.intrinsics import tuple_setitem
from nbgrad.overloads.arguments import (
    axes_kind,
    constant,
    precision,
    spreader,
    write_to,
    zero_d,
)
from nbgrad.overloads.register import stands_for

__all__ = ["converted", "layers", "ndim_of"]


@scalar
def layers(x, axis):
    """The array as (outer, length, inner), ``axis`` in the middle; contiguous."""
    if axis < -x.ndim or axis >= x.ndim:
        raise ValueError("axis: expected one of the dimensions")
    axis = axis % x.ndim
    outer, inner = 1, 1
    for k in range(x.ndim):
        if k < axis:
            outer *= x.shape[k]
        elif k > axis:
            inner *= x.shape[k]
    return np.ascontiguousarray(x).reshape((outer, x.shape[axis], inner))


@scalar
def _whole(x, axis):
    """The array as one row."""
    return np.ascontiguousarray(x).reshape((1, x.size, 1))


@scalar
def _single(x, axis):
    """Each element as a row."""
    return np.ascontiguousarray(x).reshape((x.size, 1, 1))


@outlined
def _is_in(a, axes, ndim):
    found = False
    for b in axes:
        found |= b % ndim == a
    return found


@outlined
def _axes_last(x, axes):
    """The array with these axes as its last."""
    order, k = x.shape, 0
    for b in axes:
        if b < -x.ndim or b >= x.ndim:
            raise ValueError("axis: expected one of the dimensions")
    for last in (False, True):
        for a in range(x.ndim):
            if _is_in(a, axes, x.ndim) == last:
                order = tuple_setitem(order, k, a)
                k += 1
    count = 0
    for a in range(x.ndim):
        count += _is_in(a, axes, x.ndim)
    if count != len(axes):
        raise ValueError("axis: expected different axes")
    return x.transpose(order)


@outlined
def _several(x, axes):
    """The array as rows along several axes; contiguous, a copy."""
    moved = _axes_last(x, axes)
    length = 1
    for k in range(x.ndim - len(axes), x.ndim):
        length *= moved.shape[k]
    n = 1
    for k in range(x.ndim - len(axes)):
        n *= moved.shape[k]
    return np.ascontiguousarray(moved).reshape((n, length, 1))


@outlined
def _put_several(y3, y, axes):
    moved = _axes_last(y, axes)
    source = y3.reshape(moved.shape)
    for at in np.ndindex(moved.shape):
        moved[at] = source[at]


_nothing = scalar(lambda y3, y, axis: None)


def _rows_along(kind: Any) -> tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]:
    """(as_rows(x, axis), room(y, axis): where rows are written, put(rows, y, axis): and brought from there to y)"""
    if kind == 1:
        return layers, layers, _nothing
    if kind is None:
        return _whole, _whole, _nothing
    if kind == (0,):
        return _single, _single, _nothing
    return _several, outlined(lambda y, axis: np.empty_like(_several(y, axis))), _put_several


@scalar
def _as_it_is(x):
    return x


@functools.cache
def _cast(T: Any) -> Callable[..., Any]:
    return outlined(lambda x: x.astype(T))


def converted(T: Any, array: Any) -> Callable[..., Any]:
    """``convert(x)``: the array (or number) as an array in precision T."""
    if not isinstance(array, types.Array):
        return zero_d(T)
    return _as_it_is if array.dtype == (types.float32 if T is np.float32 else types.float64) else _cast(T)


def ndim_of(x: Any) -> int:
    return int(x.ndim) if isinstance(x, types.Array) else 0


def _rows_forward(f: Callable[..., Any]) -> Callable[..., Any]:
    def typed(x, axis=-1, out=None):
        T = precision(x=x)
        as_rows, room, put = _rows_along(axes_kind(axis, ndim_of(x)))
        convert, finish = converted(T, x), write_to("out", out, T, ndim_of(x))

        def implementation(x, axis=-1, out=None):
            a = convert(x)
            y = np.empty(a.shape, T)
            x3, y3 = as_rows(a, axis), room(y, axis)
            for i in range(x3.shape[0] if x3.shape[1] else 0):
                for k in range(x3.shape[2]):
                    f(x3[i, :, k], y3[i, :, k])
            put(y3, y, axis)
            return finish(y, out)

        return implementation

    return typed


def _rows_backward(df: Callable[..., Any]) -> Callable[..., Any]:
    def typed(grad_output, y, axis=-1, out=None):
        T, ndim = precision(grad_output=grad_output, y=y), ndim_of(y)
        as_rows, room, put = _rows_along(axes_kind(axis, ndim))
        spread = spreader("grad_output", grad_output, ndim, "the shape of y")
        convert_y, finish = converted(T, y), write_to("out", out, T, ndim)

        def implementation(grad_output, y, axis=-1, out=None):
            a = convert_y(y)
            result = np.empty(a.shape, T)
            g = spread(grad_output, a.shape).astype(T).reshape(a.shape)
            g3, y3, r3 = as_rows(g, axis), as_rows(a, axis), room(result, axis)
            for i in range(y3.shape[0] if y3.shape[1] else 0):
                for k in range(y3.shape[2]):
                    df(g3[i, :, k], y3[i, :, k], r3[i, :, k])
            put(r3, result, axis)
            return finish(result, out)

        return implementation

    return typed


for _op in ROW_FUNCTIONS.values():
    stands_for(_op.name)(_rows_forward(_op.forward))
    stands_for(_op.name + "_backward")(_rows_backward(_op.backward))


def _reduced(kind: Any, ndim: int, keepdims: Any) -> tuple[int, Callable[..., Any]]:
    """(the number of dimensions, shape(x, axis)) of an array reduced along axes. ``keepdims`` must be a constant: the
    number of dimensions is a part of a type.
    """
    kept = constant("keepdims", keepdims, (False, True))
    gone = 0 if kept else ndim if kind is None else 1 if kind == 1 else kind[0]
    left = ndim - gone
    if left == 0:
        return 0, scalar(lambda x, axis: ())
    if kind == 1:
        is_gone = scalar(lambda a, axis, ndim: a == axis % ndim)
    elif kind is None or kind == (0,):
        everywhere = kind is None
        is_gone = scalar(lambda a, axis, ndim: everywhere)
    else:
        is_gone = _is_in

    @outlined
    def shape(x, axis):
        result, k = x.shape[:left], 0
        for a in range(ndim):
            here = is_gone(a, axis, ndim)
            if kept or not here:
                result = tuple_setitem(result, k, 1 if here else x.shape[a])
                k += 1
        return result

    return left, shape


@stands_for("logsumexp")
def _logsumexp(x, axis=-1, keepdims=False, out=None):
    T, ndim = precision(x=x), ndim_of(x)
    kind = axes_kind(axis, ndim)
    as_rows, _, _ = _rows_along(kind)
    left, shape = _reduced(kind, ndim, keepdims)
    convert, finish = converted(T, x), write_to("out", out, T, left)

    def implementation(x, axis=-1, keepdims=False, out=None):
        a = convert(x)
        x3 = as_rows(a, axis)
        y = np.empty(x3.shape[0] * x3.shape[2], T)
        for i in range(x3.shape[0]):
            for k in range(x3.shape[2]):
                y[i * x3.shape[2] + k] = softmax.logsumexp(x3[i, :, k])
        return finish(y.reshape(shape(a, axis)), out)

    return implementation


@stands_for("logsumexp_backward")
def _logsumexp_backward(grad_output, x, axis=-1, keepdims=False, out=None):
    T, ndim = precision(grad_output=grad_output, x=x), ndim_of(x)
    kind = axes_kind(axis, ndim)
    as_rows, room, put = _rows_along(kind)
    left, shape = _reduced(kind, ndim, keepdims)
    spread = spreader("grad_output", grad_output, left, "the shape of logsumexp's result")
    if left == 0:  # a number: of one row
        shape = scalar(lambda x, axis: (1,))
    convert, finish = converted(T, x), write_to("out", out, T, ndim)

    def implementation(grad_output, x, axis=-1, keepdims=False, out=None):
        a = convert(x)
        y = np.empty(a.shape, T)
        x3, y3 = as_rows(a, axis), room(y, axis)
        g = spread(grad_output, shape(a, axis))
        for i in range(x3.shape[0]):
            for k in range(x3.shape[2]):
                softmax.logsumexp_slopes(x3[i, :, k], y3[i, :, k])
                for j in range(x3.shape[1]):
                    y3[i, j, k] *= T(g[i * x3.shape[2] + k])
        put(y3, y, axis)
        return finish(y, out)

    return implementation
