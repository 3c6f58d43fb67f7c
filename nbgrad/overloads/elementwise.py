"""What runs when a user's ``@njit`` function calls an activation: the same formulas on numbers and arrays, in
the caller's thread.

The public functions stay plain Python; Numba finds these implementations by them. Row functions and losses:
`nbgrad.overloads.rows`. What arguments may be: `nbgrad.overloads.arguments`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from nbgrad.arguments import GELUS
from nbgrad.formulas.table import OPS
from nbgrad.jit import array_overload, outlined, scalar
from nbgrad.jit.intrinsics import clash, tuple_setitem
from nbgrad.jit.memory import elements
from nbgrad.overloads.arguments import absent, constant, number, precision, spread, write_to, zero_d
from nbgrad.overloads.register import stands_for

__all__: list[str] = []


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


@outlined
def _joined(long, short):
    shape = long
    for k in range(len(short)):
        at = len(long) - len(short) + k
        if long[at] == 1:
            shape = tuple_setitem(shape, at, short[k])
        elif short[k] != 1 and short[k] != long[at]:
            raise ValueError("grad_output: expected a shape that broadcasts with x's")
    return shape


def _number_to(T: Any, out: Any) -> Callable[..., Any]:
    """``finish(value, out)`` of a number: itself, or in an array of no dimension."""
    finish = write_to("out", out, T, 0)
    if absent(out):
        return scalar(lambda value, out: value)
    made = zero_d(T)
    return scalar(lambda value, out: finish(made(value), out))


def _forward(f: Callable[..., Any]) -> Callable[..., Any]:
    def choose(x, out):
        T = precision(x=x)
        if not isinstance(x, types.Array):
            finish = _number_to(T, out)
            return T, scalar(lambda x, out, parameters: finish(f(T(x), *parameters), out))
        finish = write_to("out", out, T, x.ndim)

        @scalar
        def fill(x, y, parameters):
            for i in range(x.size):
                y[i] = f(T(x[i]), *parameters)

        if not absent(out) and x.ndim and out.layout == x.layout == "C" and out.dtype == x.dtype:

            @scalar
            def apply(x, out, parameters):
                if x.shape != out.shape:
                    raise ValueError("out: expected the shape of x")
                fill(elements(x.copy() if clash(x, out) else x), elements(out), parameters)
                return out

        else:

            @scalar
            def apply(x, out, parameters):
                y = np.empty(x.shape, T)
                fill(spread(x, x.shape), elements(y), parameters)
                return finish(y, out)

        return T, apply

    return choose


def _backward(df: Callable[..., Any]) -> Callable[..., Any]:
    def choose(grad_output, x, out):
        T = precision(grad_output=grad_output, x=x)
        ndims = [a.ndim for a in (grad_output, x) if isinstance(a, types.Array)]
        if not ndims:
            finish = _number_to(T, out)
            return T, scalar(
                lambda grad_output, x, out, parameters: finish(T(grad_output) * df(T(x), *parameters), out)
            )
        finish = write_to("out", out, T, max(ndims))

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
    {typed}
    def implementation({signature}, out=None):
        return apply({inputs}, out, ({converted}))
    return implementation
"""


def _register(public: str, choose: Callable[..., Any], inputs: str, parameters: dict[str, float]) -> None:
    signature = ", ".join([inputs, *(f"{name}={value!r}" for name, value in parameters.items())])
    typed = "; ".join(f"to_{name} = number('{name}', {name}, T)" for name in parameters) or "pass"
    converted = "".join(f"to_{name}({name}), " for name in parameters)
    namespace: dict[str, Any] = {"choose": choose, "number": number}
    exec(_TEMPLATE.format(signature=signature, inputs=inputs, typed=typed, converted=converted), namespace)
    stands_for(public)(namespace["typed"])


for _op in OPS.values():
    if _op.name != "gelu":
        _register(_op.name, _forward(_op.forward), "x", _op.parameters)
        _register(_op.name + "_backward", _backward(_op.derivative), "grad_output, x", _op.parameters)


def _gelu_of(approximate: Any) -> Any:
    tanh = constant("approximate", approximate, GELUS) == "tanh"
    return OPS["gelu_tanh" if tanh else "gelu"]


@stands_for("gelu")
def _gelu(x, approximate="none", out=None):
    _, apply = _forward(_gelu_of(approximate).forward)(x, out)
    return lambda x, approximate="none", out=None: apply(x, out, ())


@stands_for("gelu_backward")
def _gelu_backward(grad_output, x, approximate="none", out=None):
    _, apply = _backward(_gelu_of(approximate).derivative)(grad_output, x, out)
    return lambda grad_output, x, approximate="none", out=None: apply(grad_output, x, out, ())
