"""What runs when a user's ``@njit`` function calls an activation: the same formulas on numbers and arrays, in
the caller's thread.

The public functions stay plain Python; Numba finds these implementations by them. Row functions and losses:
`nbgrad.kernels.compiled_rows`. Errors in compiled code have fixed texts; a wrong dtype is a typing error at
compile time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.cpython.unsafe.tuple import tuple_setitem
from numba.np.numpy_support import as_dtype

from nbgrad.backends.vector_loop import elements
from nbgrad.intrinsics import clash
from nbgrad.jit import array_overload, part, scalar
from nbgrad.kernels import activations, activations_piecewise, activations_smooth
from nbgrad.ops import OPS

__all__ = ["absent", "precision", "spread", "write_to"]


def precision(*arguments: Any) -> Any:
    """The type in which arguments of these Numba types are computed: float32 if all are; None if one is no
    real number.
    """
    kinds = [a.dtype if isinstance(a, types.Array) else a for a in arguments]
    if all(k == types.float32 for k in kinds):
        return np.float32
    real = all(
        k in (types.float32, types.float64) or isinstance(k, (types.Integer, types.Boolean)) for k in kinds
    )
    return np.float64 if real else None


def absent(argument: Any) -> bool:
    """Whether an optional argument was left out or is None."""
    return argument is None or isinstance(argument, types.NoneType) or getattr(argument, "value", 0) is None


# What arrays need beside an operator's loop is the same for every operator and as small as can be. Numba links the code
# of what is called into each caller, and has LLVM translate it there anew: in the loop's function, in the public
# function's and in the user's. (With NumPy's functions in their place a gradient took twice as long, 1.5 s.)


def spread(a: Any, shape: Any) -> Any:
    """``a`` broadcast to the shape: its elements in C order, 1-D. The array's own memory where that is possible."""
    return np.broadcast_to(a, shape).reshape(-1)


@array_overload(spread)
def _typed_spread(a: Any, shape: Any) -> Any:
    if not isinstance(a, types.Array):

        dtype = as_dtype(types.unliteral(a))

        def number(a, shape):
            result = np.empty(_count(shape), dtype)
            for k in range(result.size):
                result[k] = a
            return result

        return number

    def anew(a, shape):
        wide = np.broadcast_to(a, shape)
        result, k = np.empty(wide.size, a.dtype), 0
        for value in wide.flat:
            result[k] = value
            k += 1
        return result

    if a.layout != "C" or a.ndim != len(shape):
        return anew
    copied = part(anew)
    return lambda a, shape: elements(a) if a.shape == shape else copied(a, shape)


@scalar
def _count(shape):
    count = 1
    for n in shape:
        count *= n
    return count


def _joint_shape(a: Any, b: Any) -> Any:
    return np.broadcast_shapes(np.shape(a), np.shape(b))


@array_overload(_joint_shape)
def _typed_joint_shape(a: Any, b: Any) -> Any:
    ndims = [x.ndim if isinstance(x, types.Array) else 0 for x in (a, b)]
    if 0 in ndims:
        return (lambda a, b: a.shape) if ndims[0] else (lambda a, b: b.shape) if ndims[1] else (lambda a, b: ())
    if ndims[0] >= ndims[1]:
        return lambda a, b: _joined(a.shape, b.shape)
    return lambda a, b: _joined(b.shape, a.shape)


@part
def _joined(long, short):
    shape = long
    for k in range(len(short)):
        at = len(long) - len(short) + k
        if long[at] == 1:
            shape = tuple_setitem(shape, at, short[k])
        elif short[k] != 1 and short[k] != long[at]:
            raise ValueError("grad_output: expected a shape that broadcasts with x's")
    return shape


@scalar
def _keep(y, out):
    return y


@part
def _write(y, out):
    """y is memory of its own, so nothing overlaps. (``out[...] = y``, which makes sure of that: 5 s more.)"""
    if y.shape != out.shape:
        raise ValueError("out: expected the shape of the result")
    for at in np.ndindex(y.shape):
        out[at] = y[at]
    return out


def write_to(out: Any) -> Callable[..., Any]:
    """``finish(y, out)``: the result as the caller gets it."""
    return _keep if absent(out) else _write


def _forward(f: Callable[..., Any]) -> Callable[..., Any]:
    def choose(x, out):
        T = precision(x)
        if not isinstance(x, types.Array):
            return T, scalar(lambda x, out, parameters: f(T(x), *parameters))

        @scalar
        def fill(x, y, parameters):
            for i in range(x.size):
                y[i] = f(T(x[i]), *parameters)

        if not absent(out) and out.layout == x.layout == "C" and out.dtype == x.dtype:

            @scalar
            def apply(x, out, parameters):
                if x.shape != out.shape:
                    raise ValueError("out: expected the shape of x")
                fill(elements(x.copy() if clash(x, out) else x), elements(out), parameters)
                return out

        else:
            finish = write_to(out)

            @scalar
            def apply(x, out, parameters):
                y = np.empty(x.shape, T)
                fill(spread(x, x.shape), elements(y), parameters)
                return finish(y, out)

        return T, apply

    return choose


def _backward(df: Callable[..., Any]) -> Callable[..., Any]:
    def choose(grad_output, x, out):
        T = precision(grad_output, x)
        if not (isinstance(x, types.Array) or isinstance(grad_output, types.Array)):
            return T, scalar(lambda grad_output, x, out, parameters: T(grad_output) * df(T(x), *parameters))
        finish = write_to(out)

        @scalar
        def apply(grad_output, x, out, parameters):
            y = np.empty(_joint_shape(grad_output, x), T)
            g_flat, x_flat, y_flat = spread(grad_output, y.shape), spread(x, y.shape), elements(y)
            for i in range(y_flat.size):
                y_flat[i] = T(g_flat[i]) * df(T(x_flat[i]), *parameters)
            return finish(y, out)

        return T, apply

    return choose


# A function whose arguments have the operator's names, by which Numba passes them. The public functions are
# written out by hand; this inner side is generated from the table.
_TEMPLATE = """
def typed({signature}, out=None):
    T, apply = choose({inputs}, out)
    def implementation({signature}, out=None):
        return apply({inputs}, out, ({parameters}))
    return implementation if T is not None else None
"""


def _register(
    public: Callable[..., Any], choose: Callable[..., Any], inputs: str, parameters: dict[str, float]
) -> None:
    signature = ", ".join([inputs, *(f"{name}={value!r}" for name, value in parameters.items())])
    converted = "".join(f"T({name}), " for name in parameters)
    namespace: dict[str, Any] = {"choose": choose}
    exec(_TEMPLATE.format(signature=signature, inputs=inputs, parameters=converted), namespace)
    array_overload(public)(namespace["typed"])


_PUBLIC = {**vars(activations), **vars(activations_smooth), **vars(activations_piecewise)}

for _op in OPS.values():
    _register(_PUBLIC[_op.name], _forward(_op.forward), "x", _op.parameters)
    _register(
        _PUBLIC[_op.name + "_backward"], _backward(_op.derivative), "grad_output, x", _op.parameters
    )
