"""What runs when a user's ``@njit`` function calls a loss: the same formulas and `nbgrad.rows`, in the
caller's thread.

``reduction`` must be a literal string there, and arguments that are optional may be left out or None.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from nbgrad import rows
from nbgrad.backends.vector_loop import elements
from nbgrad.jit import array_overload, part, scalar
from nbgrad.kernels import classification, losses
from nbgrad.kernels.compiled import absent, precision, spread, write_to
from nbgrad.kernels.compiled_rows import converted, layers
from nbgrad.ops import LOSSES, Elementwise

__all__: list[str] = []


def _literal(reduction: Any) -> Any:
    return (
        reduction
        if isinstance(reduction, str)
        else getattr(reduction, "literal_value", getattr(reduction, "value", None))
    )


@scalar
def _scale(mean, total):
    """What the sum of the losses is multiplied by; nan for the mean of nothing."""
    if not mean:
        return 1.0
    return 1.0 / total if total != 0 else np.nan


@functools.cache
def _result(reduction: str, T: Any, grad: bool, write: Any) -> Callable[..., Any]:
    """``finish(loss, scale, gradient, grad_out)``: what the public function returns; ``write``: by `write_to`."""
    if reduction == "none":
        value = scalar(lambda loss, scale: loss)
    else:
        value = part(lambda loss, scale: T(np.sum(loss.astype(np.float64)) * scale))
    if grad:
        return scalar(lambda loss, scale, gradient, grad_out: (value(loss, scale), write(gradient, grad_out)))
    return scalar(lambda loss, scale, gradient, grad_out: value(loss, scale))


@functools.cache
def _spread(missing: bool, T: Any) -> Callable[..., Any]:
    """``spread(a, x)``: an optional argument (number, array or None: 1) for each element of x, flat."""
    if missing:
        return part(lambda a, x: np.ones(x.size, T))
    return part(lambda a, x: spread(a, x.shape).astype(T))


def _elementwise(
    op: Elementwise,
    grad: bool,
    x: Any,
    target: Any,
    parameter: Any,
    weight: Any,
    reduction: Any,
    grad_out: Any,
) -> Any:
    """``apply(x, target, parameter, weight, grad_out)``; the operator's parameter, if it has one, may differ
    between elements.
    """
    T, reduction = precision(x), _literal(reduction)
    if (
        T is None
        or precision(target) is None
        or not isinstance(x, types.Array)
        or reduction not in losses.REDUCTIONS
    ):
        return None
    mean, finish = reduction == "mean", _result(reduction, T, grad, write_to(grad_out))
    spread_target, spread_parameter, spread_weight = (_spread(absent(a), T) for a in (target, parameter, weight))
    if op.parameters:
        f, df = op.forward, op.derivative
    else:
        plain_f, plain_df = op.forward, op.derivative
        f, df = scalar(lambda x, t, p: plain_f(x, t)), scalar(lambda x, t, p: plain_df(x, t))

    @scalar
    def apply(x, target, parameter, weight, grad_out):
        scale = _scale(mean, x.size)
        v, t, p, w = (
            spread(x, x.shape),
            spread_target(target, x),
            spread_parameter(parameter, x),
            spread_weight(weight, x),
        )
        loss, gradient = (
            np.empty(x.shape, T),
            np.empty(x.shape, T),
        )  # memory that is not written to costs nothing
        loss_flat, gradient_flat = elements(loss), elements(gradient)
        for i in range(x.size):
            loss_flat[i] = w[i] * f(T(v[i]), t[i], p[i])
            if grad:
                gradient_flat[i] = T(scale) * (w[i] * df(T(v[i]), t[i], p[i]))
        return finish(loss, scale, gradient, grad_out)

    return apply


def _register(name: str, op: Elementwise) -> None:
    """The overloads of a loss with the arguments (input, target)."""

    @array_overload(getattr(losses, name))
    def value(input, target, reduction="mean"):
        apply = _elementwise(op, False, input, target, None, None, reduction, None)
        return apply and (lambda input, target, reduction="mean": apply(input, target, None, None, None))

    @array_overload(getattr(losses, name + "_value_and_grad"))
    def value_and_grad(input, target, reduction="mean", grad_out=None):
        apply = _elementwise(op, True, input, target, None, None, reduction, grad_out)
        return apply and (
            lambda input, target, reduction="mean", grad_out=None: apply(input, target, None, None, grad_out)
        )


_register("mse_loss", LOSSES["squared_error"])
_register("l1_loss", LOSSES["absolute_error"])


@array_overload(losses.huber_loss)
def _huber(input, target, delta=1.0, reduction="mean"):
    apply = _elementwise(LOSSES["huber"], False, input, target, delta, None, reduction, None)
    return apply and (
        lambda input, target, delta=1.0, reduction="mean": apply(input, target, delta, None, None)
    )


@array_overload(losses.huber_loss_value_and_grad)
def _huber_grad(input, target, delta=1.0, reduction="mean", grad_out=None):
    apply = _elementwise(LOSSES["huber"], True, input, target, delta, None, reduction, grad_out)
    return apply and (
        lambda input, target, delta=1.0, reduction="mean", grad_out=None: apply(
            input, target, delta, None, grad_out
        )
    )


_bce = LOSSES["binary_cross_entropy_with_logits"]


@array_overload(losses.binary_cross_entropy_with_logits)
def _bce_value(logits, target, weight=None, pos_weight=None, reduction="mean"):
    apply = _elementwise(_bce, False, logits, target, pos_weight, weight, reduction, None)
    return apply and (
        lambda logits, target, weight=None, pos_weight=None, reduction="mean": apply(
            logits, target, pos_weight, weight, None
        )
    )


@array_overload(losses.binary_cross_entropy_with_logits_value_and_grad)
def _bce_grad(logits, target, weight=None, pos_weight=None, reduction="mean", grad_out=None):
    apply = _elementwise(_bce, True, logits, target, pos_weight, weight, reduction, grad_out)
    return apply and (
        lambda logits, target, weight=None, pos_weight=None, reduction="mean", grad_out=None: apply(
            logits, target, pos_weight, weight, grad_out
        )
    )


def _classification(
    nll: bool, grad: bool, x: Any, target: Any, weight: Any, reduction: Any, grad_out: Any
) -> Callable[..., Any] | None:
    """``apply(x, target, weight, ignore_index, label_smoothing, grad_out)`` for cross_entropy and
    nll_loss.
    """
    T, reduction = precision(x), _literal(reduction)
    if T is None or not isinstance(x, types.Array) or x.ndim == 0 or reduction not in losses.REDUCTIONS:
        return None
    class_axis = 0 if x.ndim == 1 else 1
    is_array = isinstance(target, types.Array)
    soft = is_array and isinstance(target.dtype, types.Float)
    if not isinstance(target.dtype if is_array else target, types.Integer) and not soft:
        return None
    if soft and nll or (target.ndim if is_array else 0) != (x.ndim if soft else x.ndim - 1):
        return None
    if reduction == "none" and x.ndim == 1:
        reduction = "sum"  # a single loss: a number
    mean, finish, convert, no_weight = (
        reduction == "mean",
        _result(reduction, T, grad, write_to(grad_out)),
        converted(T, x),
        absent(weight),
    )
    if soft:
        loss_shape = scalar(lambda x, target: x.shape[:1] + x.shape[2:] if x.ndim > 1 else (1,))
        read_labels = scalar(lambda x, target: np.empty(0, np.int64))
        read_q = scalar(lambda target, i, k, q: _copy(layers(target, class_axis)[i, :, k], q))
    else:
        loss_shape = scalar(lambda x, target: target.shape) if is_array else scalar(lambda x, target: (1,))
        read_labels = scalar(
            (lambda x, target: spread(target, target.shape).astype(np.int64))
            if is_array
            else (lambda x, target: np.array([target]))
        )
        read_q = scalar(lambda target, i, k, q: None)

    @scalar
    def apply(x, target, weight, ignore_index, label_smoothing, grad_out):
        x3, smoothing = layers(convert(x), class_axis), T(label_smoothing)
        classes, inner = x3.shape[1], x3.shape[2]
        if not (smoothing >= 0 and smoothing <= 1):
            raise ValueError("label_smoothing: expected a number in 0..1")
        w = np.ones(classes, T)
        if not no_weight:
            if weight.size != classes:
                raise ValueError("weight: expected one for each class")
            w[:] = weight
        labels = read_labels(x, target)
        if (target.shape != x.shape) if soft else (labels.size != x3.shape[0] * inner):
            raise ValueError(
                "target: expected a label for each row, or class probabilities of the logits' shape"
            )
        total = float(x3.shape[0] * inner) if soft else 0.0
        for label in labels:
            if label != ignore_index:
                if label < 0 or label >= classes:
                    raise ValueError("target: expected labels in 0..C - 1 or ignore_index")
                total += w[label]
        scale = _scale(mean, total)
        loss, gradient = np.zeros(loss_shape(x, target), T), np.zeros(x.shape, T)
        g3, loss_flat, q = layers(gradient, class_axis), elements(loss), np.empty(classes, T)
        for i in range(x3.shape[0]):
            for k in range(inner):
                row, g = x3[i, :, k], g3[i, :, k]
                label = -1 if soft else labels[i * inner + k]
                if not soft and label == ignore_index:
                    continue
                if nll:
                    loss_flat[i * inner + k] = -w[label] * row[label]
                    g[label] = -w[label] * T(scale)
                elif not soft and smoothing == 0:
                    loss_flat[i * inner + k] = w[label] * rows.d_cross_entropy(
                        row, label, w[label] * T(scale), g
                    )
                else:
                    read_q(target, i, k, q)
                    for j in range(classes):
                        hard = q[j] if soft else T(j == label)
                        q[j] = w[j] * ((T(1) - smoothing) * hard + smoothing / T(classes))
                    loss_flat[i * inner + k] = rows.soft_cross_entropy(row, q)
                    rows.d_soft_cross_entropy(row, q, T(scale), g)
        return finish(loss, scale, gradient, grad_out)

    return apply


@scalar
def _copy(source, destination):
    for j in range(destination.size):
        destination[j] = source[j]


@array_overload(classification.cross_entropy)
def _cross_entropy(logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    apply = _classification(False, False, logits, target, weight, reduction, None)
    return apply and (
        lambda logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean": apply(
            logits, target, weight, ignore_index, label_smoothing, None
        )
    )


@array_overload(classification.cross_entropy_value_and_grad)
def _cross_entropy_grad(
    logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", grad_out=None
):
    apply = _classification(False, True, logits, target, weight, reduction, grad_out)
    if apply is None:
        return None

    def implementation(
        logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", grad_out=None
    ):
        return apply(logits, target, weight, ignore_index, label_smoothing, grad_out)

    return implementation


@array_overload(classification.nll_loss)
def _nll(log_probs, target, weight=None, ignore_index=-100, reduction="mean"):
    apply = _classification(True, False, log_probs, target, weight, reduction, None)
    return apply and (
        lambda log_probs, target, weight=None, ignore_index=-100, reduction="mean": apply(
            log_probs, target, weight, ignore_index, 0.0, None
        )
    )


@array_overload(classification.nll_loss_value_and_grad)
def _nll_grad(log_probs, target, weight=None, ignore_index=-100, reduction="mean", grad_out=None):
    apply = _classification(True, True, log_probs, target, weight, reduction, grad_out)
    return apply and (
        lambda log_probs, target, weight=None, ignore_index=-100, reduction="mean", grad_out=None: apply(
            log_probs, target, weight, ignore_index, 0.0, grad_out
        )
    )
