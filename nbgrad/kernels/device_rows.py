"""softmax, log_softmax, logsumexp and their derivatives on CUDA arrays: `nbgrad.kernels.rowwise`, on the device."""

from __future__ import annotations

import math
from typing import Any

from nbgrad.arrays import kept_shape, normalize_axes
from nbgrad.kernels.device import Call

__all__ = ["backward", "forward", "logsumexp", "logsumexp_backward", "rows_last"]


def rows_last(call: Call, array: Any, axes: tuple[int, ...]) -> Any:
    """The array as contiguous (rows, length), the axes one: copied where its rows do not lie so."""
    moved = call.xp.moveaxis(array, axes, tuple(range(-len(axes), 0))) if axes else array
    length = math.prod(array.shape[a] for a in axes)
    return call.contiguous(moved, moved.shape).reshape(math.prod(moved.shape[: array.ndim - len(axes)]), length)


def _put_back(call: Call, rows: Any, shape: tuple[int, ...], axes: tuple[int, ...], out: Any) -> Any:
    """Rows made by `rows_last`, as the caller gets them."""
    ends = [n for a, n in enumerate(shape) if a not in axes] + [shape[a] for a in axes]
    whole = rows.reshape(ends)
    whole = call.xp.moveaxis(whole, tuple(range(-len(axes), 0)), axes) if axes else whole
    return call.result(whole if out is not None else call.contiguous(whole, whole.shape).reshape(shape), out)


def of_rows(call: Call, compiled: Any, before: tuple[Any, ...], shape: Any, axes: tuple[int, ...], out: Any) -> Any:
    """Run a kernel of `nbgrad.cuda.rows` whose result has the shape of its rows."""
    from nbgrad.cuda import rows as cuda_rows

    rows = before[-1]
    in_order = axes == tuple(range(len(shape) - len(axes), len(shape)))
    direct = out if in_order else None
    result = call.room(direct, shape, rows.dtype, *before)
    n, length = rows.shape
    cuda_rows.run(compiled, tuple(a.reshape(-1) for a in before), n, length, result.reshape(-1))
    if in_order:
        return call.result(result, out)
    return _put_back(call, result, shape, axes, out)


def forward(name: str, x: Any, axis: Any, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.softmax`, `log_softmax`"""
    from nbgrad.cuda import rows as cuda_rows

    with Call(x=x, out=out) as call:
        array = call.float("x")
        axes = normalize_axes(axis, array.ndim)
        place = call.out(array.shape, array.dtype)
        compiled = cuda_rows.forward(name, array.dtype)
        return of_rows(call, compiled, (rows_last(call, array, axes),), array.shape, axes, place)


def backward(name: str, grad_output: Any, y: Any, axis: Any, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.softmax_backward`, `log_softmax_backward`"""
    from nbgrad.cuda import rows as cuda_rows

    with Call(grad_output=grad_output, y=y, out=out) as call:
        (g, array), dtype = call.floats("grad_output", "y")
        axes = normalize_axes(axis, array.ndim)
        if g.shape != array.shape:
            try:
                g = call.xp.broadcast_to(g, array.shape)
            except ValueError:
                raise ValueError(f"grad_output: expected y's shape {array.shape}, got {g.shape}") from None
        place = call.out(array.shape, dtype)
        both = rows_last(call, g, axes), rows_last(call, array, axes)
        return of_rows(call, cuda_rows.backward(name, dtype), both, array.shape, axes, place)


def logsumexp(x: Any, axis: Any, keepdims: Any, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.logsumexp`"""
    from nbgrad.cuda import rows as cuda_rows

    with Call(x=x, out=out) as call:
        array = call.float("x")
        axes = normalize_axes(axis, array.ndim)
        shape = kept_shape(array.shape, axes, keepdims)
        place = call.out(shape, array.dtype)
        rows = rows_last(call, array, axes)
        result = call.room(place, shape, array.dtype, rows, in_place=False)
        cuda_rows.run(cuda_rows.logsumexp(array.dtype), (rows.reshape(-1),), *rows.shape, result.reshape(-1))
        return call.result(result, place)


def logsumexp_backward(grad_output: Any, x: Any, axis: Any, keepdims: Any, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.logsumexp_backward`"""
    from nbgrad.cuda import rows as cuda_rows

    with Call(grad_output=grad_output, x=x, out=out) as call:
        (g, array), dtype = call.floats("grad_output", "x")
        axes = normalize_axes(axis, array.ndim)
        shape = kept_shape(array.shape, axes, keepdims)
        try:
            g = call.xp.ascontiguousarray(call.xp.broadcast_to(g, shape)).reshape(-1)
        except ValueError:
            raise ValueError(f"grad_output: expected shape {shape}, got {g.shape}") from None
        place = call.out(array.shape, dtype)
        rows = rows_last(call, array, axes)
        if place is not None and call.overlap(place, g):
            g = g.copy()
        return of_rows(call, cuda_rows.logsumexp_backward(dtype), (g, rows), array.shape, axes, place)
