"""softmax, log_softmax, logsumexp and their derivatives on CUDA arrays: `nbgrad.kernels.rowwise`, on the device."""

from __future__ import annotations

import math
from typing import Any

from nbgrad.arrays import normalize_axis
from nbgrad.kernels.device import Call

__all__ = ["backward", "forward", "logsumexp", "logsumexp_backward", "rows_last"]


def rows_last(call: Call, array: Any, axis: int) -> Any:
    """The array as contiguous (rows, length): copied where its rows do not lie so."""
    moved = call.xp.ascontiguousarray(call.xp.moveaxis(array, axis, -1))
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def _put_back(call: Call, rows: Any, shape: tuple[int, ...], axis: int, out: Any, name: str = "out") -> Any:
    """Rows made by `rows_last`, as the caller gets them."""
    moved = rows.reshape(*shape[:axis], *shape[axis + 1 :], shape[axis])
    whole = call.xp.moveaxis(moved, -1, axis)
    return call.result(whole if out is not None else call.xp.ascontiguousarray(whole), out, name)


def of_rows(call: Call, compiled: Any, before: tuple[Any, ...], shape: Any, axis: int, out: Any) -> Any:
    """Run a kernel of `nbgrad.backends.cuda_rows` whose result has the shape of its rows."""
    from nbgrad.backends import cuda_rows

    rows = before[-1]
    direct = out if axis == len(shape) - 1 else None
    result = call.room(direct, shape, rows.dtype, *before)
    n, length = rows.shape
    cuda_rows.run(compiled, tuple(a.reshape(-1) for a in before), n, length, result.reshape(-1))
    if result is direct:
        return call.result(result, out)
    return _put_back(call, result.reshape(n, length), shape, axis, out)


def forward(name: str, x: Any, axis: int, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.softmax`, `log_softmax`"""
    from nbgrad.backends import cuda_rows

    with Call(x=x, out=out) as call:
        array = call.float("x")
        axis = normalize_axis(axis, array.ndim)
        place = call.out(array.shape, array.dtype)
        compiled = cuda_rows.forward(name, array.dtype)
        return of_rows(call, compiled, (rows_last(call, array, axis),), array.shape, axis, place)


def backward(name: str, grad_output: Any, y: Any, axis: int, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.softmax_backward`, `log_softmax_backward`"""
    from nbgrad.backends import cuda_rows

    with Call(grad_output=grad_output, y=y, out=out) as call:
        (g, array), dtype = call.floats("grad_output", "y")
        axis = normalize_axis(axis, array.ndim)
        if g.shape != array.shape:
            try:
                g = call.xp.broadcast_to(g, array.shape)
            except ValueError:
                raise ValueError(f"grad_output: expected y's shape {array.shape}, got {g.shape}") from None
        place = call.out(array.shape, dtype)
        both = rows_last(call, g, axis), rows_last(call, array, axis)
        return of_rows(call, cuda_rows.backward(name, dtype), both, array.shape, axis, place)


def logsumexp(x: Any, axis: int, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.logsumexp`"""
    from nbgrad.backends import cuda_rows

    with Call(x=x, out=out) as call:
        array = call.float("x")
        axis = normalize_axis(axis, array.ndim)
        shape = array.shape[:axis] + array.shape[axis + 1 :]
        place = call.out(shape, array.dtype)
        rows = rows_last(call, array, axis)
        result = call.room(place, shape, array.dtype, rows, in_place=False)
        cuda_rows.run(cuda_rows.logsumexp(array.dtype), (rows.reshape(-1),), *rows.shape, result.reshape(-1))
        return call.result(result, place)


def logsumexp_backward(grad_output: Any, x: Any, axis: int, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.logsumexp_backward`"""
    from nbgrad.backends import cuda_rows

    with Call(grad_output=grad_output, x=x, out=out) as call:
        (g, array), dtype = call.floats("grad_output", "x")
        axis = normalize_axis(axis, array.ndim)
        shape = array.shape[:axis] + array.shape[axis + 1 :]
        try:
            g = call.xp.ascontiguousarray(call.xp.broadcast_to(g, shape)).reshape(-1)
        except ValueError:
            raise ValueError(f"grad_output: expected shape {shape}, got {g.shape}") from None
        place = call.out(array.shape, dtype)
        rows = rows_last(call, array, axis)
        if place is not None and call.overlap(place, g):
            g = g.copy()
        return of_rows(call, cuda_rows.logsumexp_backward(dtype), (g, rows), array.shape, axis, place)
