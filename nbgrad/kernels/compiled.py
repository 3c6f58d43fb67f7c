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

from nbgrad.backends.cpu import clash
from nbgrad.jit import array_overload, scalar
from nbgrad.kernels import activations, activations_piecewise, activations_smooth
from nbgrad.ops import OPS

__all__ = ["absent", "flat", "precision", "write_to"]


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


@scalar
def flat(x):
    """The elements in C order: a contiguous view where the memory allows it, else a copy."""
    return np.ascontiguousarray(x).reshape(-1)


def _shape(x: Any) -> Any:
    return np.shape(x)


@array_overload(_shape)
def _typed_shape(x: Any) -> Any:
    return (lambda x: x.shape) if isinstance(x, types.Array) else (lambda x: ())


def write_to(out: Any) -> Callable[..., Any]:
    """``finish(y, out)``: the result as the caller gets it."""
    if absent(out):
        return scalar(lambda y, out: y)

    @scalar
    def finish(y, out):
        if y.shape != out.shape:
            raise ValueError("out: expected the shape of the result")
        out[...] = y
        return out

    return finish


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
                if clash(x, out):
                    fill(x.copy().reshape(-1), out.reshape(-1), parameters)
                else:
                    fill(x.reshape(-1), out.reshape(-1), parameters)
                return out

        else:
            finish = write_to(out)

            @scalar
            def apply(x, out, parameters):
                y = np.empty(x.shape, T)
                fill(flat(x), y.reshape(-1), parameters)
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
            y = np.empty(np.broadcast_shapes(_shape(grad_output), _shape(x)), T)
            g_flat, x_flat, y_flat = (
                flat(np.broadcast_to(grad_output, y.shape)),
                flat(np.broadcast_to(x, y.shape)),
                y.reshape(-1),
            )
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
