"""What runs when a user's ``@njit`` function calls a loss of an input and a target: the same formulas, in the caller's
thread. Losses of class labels: `nbgrad.overloads.labels`.

``reduction`` must be a literal string there, and arguments that are optional may be left out or None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arguments import REDUCTIONS
from nbgrad.elementary.division import two_sum
from nbgrad.formulas.table import LOSSES, PUBLIC_LOSSES, Loss
from nbgrad.jit import outlined, scalar
from nbgrad.jit.memory import elements
from nbgrad.overloads.arguments import (
    absent,
    apart,
    constant,
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
        return reduction == "mean", scalar(lambda loss, scale, gradient, out, grad_out: value(loss, scale, out))

    @scalar
    def finish(loss, scale, gradient, out, grad_out):
        check(out, grad_out)
        return value(loss, scale, out), write_grad(gradient, grad_out)

    return reduction == "mean", finish


@scalar
def _added_up(values):
    """The sum without its roundings: Numba's own is 200 ulp off for a million numbers."""
    total, rest = 0.0, 0.0
    for k in range(values.size):
        total, rounding = two_sum(total, np.float64(values[k]))
        rest += rounding
    return total + rest if rest == rest else total  # the rest of an infinite sum is nan


@functools.cache
def _sum(T: Any) -> Callable[..., Any]:
    return outlined(lambda loss, scale, out: T(_added_up(loss.ravel()) * scale))


def _spread(name: str, argument: Any, T: Any, ndim: int) -> Callable[..., Any]:
    """``spread(a, x)``: an optional argument (number, array or None: 1) for each element of x, flat, in precision T."""
    if absent(argument):
        return outlined(lambda a, x: np.ones(x.size, T))
    precision(**{name: argument})
    wide = spreader(name, argument, ndim, "a shape that broadcasts to the first argument's")
    return outlined(lambda a, x: wide(a, x.shape).astype(T))


def _elementwise(
    op: Loss, grad: bool, x: Any, target: Any, weight: Any, reduction: Any, out: Any, grad_out: Any,
    each: Any = False,
) -> tuple[Any, Any]:  # fmt: skip
    """(the precision, ``apply(x, target, parameters, weight, out, grad_out)``): the parameters are numbers in that
    precision; where there is ``each`` they are one, None or what broadcasts to x, of this type.
    """
    T, ndim = precision(**{op.input: x}), ndim_of(x)
    mean, finish = finish_of(reduction, T, grad, out, ndim, grad_out, ndim)
    if absent(target):
        refuse("target", "a number or an array", target)
    convert, spread_target = converted(T, x), _spread("target", target, T, ndim)
    spread_weight = _spread("weight", weight, T, ndim)
    f, df = op.forward, op.derivative
    if each is False:
        spread_parameters, at = scalar(lambda parameters, a: parameters), scalar(lambda parameters, i: parameters)
    else:
        (name,) = op.parameters
        spread_each, at = _spread(name, each, T, ndim), scalar(lambda parameters, i: (parameters[i],))
        spread_parameters = scalar(lambda parameters, a: spread_each(parameters, a))

    @scalar
    def apply(x, target, parameters, weight, out, grad_out):
        a = convert(x)
        scale = scale_of(mean, a.size)
        v, t, p, w = (
            spread(a, a.shape),
            spread_target(target, a),
            spread_parameters(parameters, a),
            spread_weight(weight, a),
        )
        loss, gradient = (
            np.empty(a.shape, T),
            np.empty(a.shape, T),
        )  # memory that is not written to costs nothing
        loss_flat, gradient_flat = elements(loss), elements(gradient)
        for i in range(a.size):
            loss_flat[i] = w[i] * f(v[i], t[i], *at(p, i))
            if grad:
                gradient_flat[i] = T(scale) * (w[i] * df(v[i], t[i], *at(p, i)))
        return finish(loss, scale, gradient, out, grad_out)

    return T, apply


# A function whose arguments have the public function's names, by which Numba passes them.
_TEMPLATE = """
def typed({signature}):
    T, apply = choose(op, {grad}, {input}, target, None, reduction, out, {grad_out})
    {typed}
    def implementation({signature}):
        return apply({input}, target, ({converted}), None, out, {grad_out})
    return implementation
"""


def _register(op: Loss, grad: bool) -> None:
    parameters = "".join(f", {name}={value!r}" for name, value in op.parameters.items())
    signature = f"{op.input}, target{parameters}, reduction='mean', out=None" + ", grad_out=None" * grad
    ranges = {name: op.ranges.get(name, "") for name in op.parameters}
    source = _TEMPLATE.format(
        signature=signature, input=op.input, grad=grad, grad_out="grad_out" if grad else "None",
        typed="; ".join(f"to_{p} = number('{p}', {p}, T, '{among}')" for p, among in ranges.items()) or "pass",
        converted="".join(f"to_{p}({p}), " for p in ranges),
    )  # fmt: skip
    namespace: dict[str, Any] = {"choose": _elementwise, "number": number, "op": op}
    exec(source, namespace)
    stands_for(op.kernel + "_value_and_grad" * grad)(namespace["typed"])


for _op in PUBLIC_LOSSES.values():
    if _op.kernel != "binary_cross_entropy_with_logits":
        _register(_op, False)
        _register(_op, True)

_bce = LOSSES["binary_cross_entropy_with_logits"]


@stands_for("binary_cross_entropy_with_logits")
def _bce_value(logits, target, weight=None, pos_weight=None, reduction="mean", out=None):
    _, apply = _elementwise(_bce, False, logits, target, weight, reduction, out, None, each=pos_weight)
    return lambda logits, target, weight=None, pos_weight=None, reduction="mean", out=None: apply(
        logits, target, pos_weight, weight, out, None
    )


@stands_for("binary_cross_entropy_with_logits_value_and_grad")
def _bce_grad(logits, target, weight=None, pos_weight=None, reduction="mean", out=None, grad_out=None):
    _, apply = _elementwise(_bce, True, logits, target, weight, reduction, out, grad_out, each=pos_weight)
    return lambda logits, target, weight=None, pos_weight=None, reduction="mean", out=None, grad_out=None: apply(
        logits, target, pos_weight, weight, out, grad_out
    )
