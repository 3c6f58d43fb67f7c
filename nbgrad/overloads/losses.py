"""What runs when a user's ``@njit`` function calls a loss of an input and a target: the same formulas, in the caller's
thread. Losses of class labels: `nbgrad.overloads.labels`.

``reduction`` must be a literal string there, and arguments that are optional may be left out or None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from nbgrad.arguments import REDUCTIONS
from nbgrad.formulas.table import LOSSES, Elementwise
from nbgrad.jit import outlined, scalar
from nbgrad.jit.memory import elements
from nbgrad.overloads.arguments import (
    absent,
    apart,
    constant,
    is_zero_d,
    number,
    precision,
    refuse,
    spread,
    spreader,
    write_to,
)
from nbgrad.overloads.register import stands_for
from nbgrad.overloads.rows import converted, ndim_of

__all__ = ["finish_of", "scale_of"]


@scalar
def scale_of(mean, total):
    """What the sum of the losses is multiplied by; nan for the mean of nothing."""
    if not mean:
        return 1.0
    return 1.0 / total if total != 0 else np.nan


def finish_of(
    reduction: Any, T: Any, grad: bool, out: Any, loss_ndim: int, grad_out: Any, ndim: int
) -> tuple[bool, Callable[..., Any]]:
    """(whether the mean is wanted, ``finish(loss, scale, gradient, out, grad_out)``: what the public function
    returns)
    """
    reduction = constant("reduction", reduction, REDUCTIONS)
    if not absent(out) and reduction != "none":
        refuse("out", 'reduction="none", which returns an array', repr(reduction))
    write, write_grad = write_to("out", out, T, loss_ndim), write_to("grad_out", grad_out, T, ndim)
    check = apart(out, "grad_out", grad_out)
    if reduction == "none":
        value = scalar(lambda loss, scale, out: write(loss, out))
    else:
        value = _sum(T)
    if not grad:
        return reduction == "mean", scalar(
            lambda loss, scale, gradient, out, grad_out: value(loss, scale, out)
        )

    @scalar
    def finish(loss, scale, gradient, out, grad_out):
        check(out, grad_out)
        return value(loss, scale, out), write_grad(gradient, grad_out)

    return reduction == "mean", finish


@functools.cache
def _sum(T: Any) -> Callable[..., Any]:
    return outlined(lambda loss, scale, out: T(np.sum(loss.astype(np.float64)) * scale))


def _spread(name: str, argument: Any, T: Any, ndim: int) -> Callable[..., Any]:
    """``spread(a, x)``: an optional argument (number, array or None: 1) for each element of x, flat, in precision T."""
    if absent(argument):
        return outlined(lambda a, x: np.ones(x.size, T))
    precision(**{name: argument})
    wide = spreader(name, argument, ndim, "a shape that broadcasts to the first argument's")
    return outlined(lambda a, x: wide(a, x.shape).astype(T))


def _elementwise(
    op: Elementwise, grad: bool, first: str, x: Any, target: Any, parameter: Any, weight: Any, reduction: Any,
    out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    """``apply(x, target, parameter, weight, out, grad_out)``; the operator's parameter, if it has one, may differ
    between elements.
    """
    T, ndim = precision(**{first: x}), ndim_of(x)
    mean, finish = finish_of(reduction, T, grad, out, ndim, grad_out, ndim)
    if absent(target):
        refuse("target", "a number or an array", target)
    convert, spread_target = converted(T, x), _spread("target", target, T, ndim)
    spread_weight = _spread("weight", weight, T, ndim)
    if not op.parameters:
        plain_f, plain_df = op.forward, op.derivative
        f, df = scalar(lambda x, t, p: plain_f(x, t)), scalar(lambda x, t, p: plain_df(x, t))
        check, spread_parameter = scalar(lambda p: p), _spread("", None, T, ndim)
    else:
        (name,), f, df = op.parameters, op.forward, op.derivative
        one = not absent(parameter) and (not isinstance(parameter, types.Array) or is_zero_d(parameter))
        if name in op.ranges and not one:
            refuse(name, "a real number", parameter)
        check = number(name, parameter, T, op.ranges[name]) if name in op.ranges else scalar(lambda p: p)
        spread_parameter = _spread(name, parameter, T, ndim)

    @scalar
    def apply(x, target, parameter, weight, out, grad_out):
        a, parameter = convert(x), check(parameter)
        scale = scale_of(mean, a.size)
        v, t, p, w = (
            spread(a, a.shape),
            spread_target(target, a),
            spread_parameter(parameter, a),
            spread_weight(weight, a),
        )
        loss, gradient = (
            np.empty(a.shape, T),
            np.empty(a.shape, T),
        )  # memory that is not written to costs nothing
        loss_flat, gradient_flat = elements(loss), elements(gradient)
        for i in range(a.size):
            loss_flat[i] = w[i] * f(v[i], t[i], p[i])
            if grad:
                gradient_flat[i] = T(scale) * (w[i] * df(v[i], t[i], p[i]))
        return finish(loss, scale, gradient, out, grad_out)

    return apply


def _register(name: str, op: Elementwise) -> None:
    """The overloads of a loss with the arguments (input, target)."""

    @stands_for(name)
    def value(input, target, reduction="mean", out=None):
        apply = _elementwise(op, False, "input", input, target, None, None, reduction, out, None)
        return lambda input, target, reduction="mean", out=None: apply(input, target, None, None, out, None)

    @stands_for(name + "_value_and_grad")
    def value_and_grad(input, target, reduction="mean", out=None, grad_out=None):
        apply = _elementwise(op, True, "input", input, target, None, None, reduction, out, grad_out)
        return lambda input, target, reduction="mean", out=None, grad_out=None: apply(
            input, target, None, None, out, grad_out
        )


_register("mse_loss", LOSSES["squared_error"])
_register("l1_loss", LOSSES["absolute_error"])


@stands_for("huber_loss")
def _huber(input, target, delta=1.0, reduction="mean", out=None):
    apply = _elementwise(LOSSES["huber"], False, "input", input, target, delta, None, reduction, out, None)
    return lambda input, target, delta=1.0, reduction="mean", out=None: apply(
        input, target, delta, None, out, None
    )


@stands_for("huber_loss_value_and_grad")
def _huber_grad(input, target, delta=1.0, reduction="mean", out=None, grad_out=None):
    apply = _elementwise(LOSSES["huber"], True, "input", input, target, delta, None, reduction, out, grad_out)
    return lambda input, target, delta=1.0, reduction="mean", out=None, grad_out=None: apply(
        input, target, delta, None, out, grad_out
    )


_bce = LOSSES["binary_cross_entropy_with_logits"]


@stands_for("binary_cross_entropy_with_logits")
def _bce_value(logits, target, weight=None, pos_weight=None, reduction="mean", out=None):
    apply = _elementwise(_bce, False, "logits", logits, target, pos_weight, weight, reduction, out, None)
    return lambda logits, target, weight=None, pos_weight=None, reduction="mean", out=None: apply(
        logits, target, pos_weight, weight, out, None
    )


@stands_for("binary_cross_entropy_with_logits_value_and_grad")
def _bce_grad(logits, target, weight=None, pos_weight=None, reduction="mean", out=None, grad_out=None):
    apply = _elementwise(_bce, True, "logits", logits, target, pos_weight, weight, reduction, out, grad_out)
    return lambda logits, target, weight=None, pos_weight=None, reduction="mean", out=None, grad_out=None: apply(
        logits, target, pos_weight, weight, out, grad_out
    )
