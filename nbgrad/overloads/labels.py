"""What runs when a user's ``@njit`` function calls cross_entropy or nll_loss: the same `nbgrad.formulas.rows`, in the
caller's thread. ``reduction`` must be a literal string there, as in `nbgrad.overloads.losses`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types

from nbgrad.elementary.division import two_sum
from nbgrad.formulas import rows
from nbgrad.jit import outlined, scalar
from nbgrad.jit.memory import elements
from nbgrad.overloads.arguments import absent, integer, number, precision, refuse, spread
from nbgrad.overloads.losses import finish_of, scale_of
from nbgrad.overloads.register import stands_for
from nbgrad.overloads.rows import converted, layers, ndim_of

__all__: list[str] = []


@outlined
def _int64(labels):
    """Labels as int64; ValueError for what is too large."""
    result = np.empty(labels.size, np.int64)
    for k in range(labels.size):
        if labels[k] > 0x7FFFFFFFFFFFFFFF:
            raise ValueError("target: expected labels below 2**63")
        result[k] = labels[k]
    return result


@scalar
def _copy(source, destination):
    for j in range(destination.size):
        destination[j] = source[j]


def _target(target: Any, ndim: int, nll: bool) -> tuple[bool, Callable[..., Any]]:
    """(whether it holds class probabilities, ``labels(target)``: else its labels, flat)"""
    is_array = isinstance(target, types.Array)
    kind, own = (target.dtype, target.ndim) if is_array else (types.unliteral(target), 0)
    soft = isinstance(kind, types.Float) and kind in (types.float32, types.float64) and not nll and own == ndim
    if not soft and (not isinstance(kind, types.Integer) or isinstance(kind, types.Boolean)):
        soft_too = "" if nll else " or float class probabilities of the logits' shape"
        refuse("target", "integer class labels" + soft_too, target)
    if not soft and own != ndim - 1:
        refuse("target", f"labels of {ndim - 1} dimensions", target)
    if soft:
        return True, scalar(lambda target: np.empty(0, np.int64))
    if is_array:
        return False, scalar(lambda target: _int64(spread(target, target.shape)))
    return False, scalar(lambda target: _int64(np.array([target])))


def _classification(
    nll: bool, grad: bool, x: Any, target: Any, weight: Any, ignore_index: Any, label_smoothing: Any, reduction: Any,
    out: Any, grad_out: Any,
) -> Callable[..., Any]:  # fmt: skip
    """``apply(x, target, weight, ignore_index, label_smoothing, out, grad_out)`` for cross_entropy and nll_loss."""
    first = "log_probs" if nll else "logits"
    T, ndim = precision(**{first: x}), ndim_of(x)
    if ndim == 0:
        refuse(first, "shape (C,), (N, C) or (N, C, d1, ...)", "a number")
    soft, read_labels = _target(target, ndim, nll)
    integer("ignore_index", ignore_index)
    unsigned = isinstance(ignore_index, types.Integer) and not ignore_index.signed
    smooth = number("label_smoothing", label_smoothing, T, "in 0..1")
    no_weight, class_axis = absent(weight), 0 if ndim == 1 else 1
    if not no_weight:
        precision(weight=weight)
        if ndim_of(weight) != 1:
            refuse("weight", "shape (C,), one for each class", weight)
    mean, finish = finish_of(reduction, T, grad, out, ndim - 1, grad_out, ndim)
    convert, empty = converted(T, x), f"{first}: expected at least one class"
    if ndim == 1:
        loss_shape = scalar(lambda x: ())
    elif ndim == 2:
        loss_shape = scalar(lambda x: x.shape[:1])
    else:
        loss_shape = scalar(lambda x: x.shape[:1] + x.shape[2:])
    if soft:
        fits = scalar(lambda x, target: target.shape == x.shape)
        read_q = scalar(lambda target, i, k, q: _copy(layers(target, class_axis)[i, :, k], q))
    elif ndim == 1:
        fits = scalar(lambda x, target: True)
        read_q = scalar(lambda target, i, k, q: None)
    else:
        fits = scalar(lambda x, target: target.shape == loss_shape(x))
        read_q = scalar(lambda target, i, k, q: None)

    @scalar
    def apply(x, target, weight, ignore_index, label_smoothing, out, grad_out):
        if unsigned and np.int64(ignore_index) < 0:
            raise ValueError("ignore_index: expected an integer of 64 bits, got a larger one")
        x3, smoothing = layers(convert(x), class_axis), smooth(label_smoothing)
        classes, inner = x3.shape[1], x3.shape[2]
        if classes == 0:
            raise ValueError(empty)
        w = np.ones(classes, T)
        if not no_weight:
            if weight.size != classes:
                raise ValueError("weight: expected one for each class")
            w[:] = weight
        if not fits(x, target):
            raise ValueError("target: expected a label for each row, or class probabilities of the logits' shape")
        labels = read_labels(target)
        total, rest = float(x3.shape[0] * inner) if soft else 0.0, 0.0
        for label in labels:
            if label != ignore_index:
                if label < 0 or label >= classes:
                    raise ValueError("target: expected labels in 0..C - 1 or ignore_index")
                total, rounding = two_sum(total, np.float64(w[label]))
                rest += rounding
        scale = scale_of(mean, total + rest if rest == rest else total)
        loss, gradient = np.zeros(loss_shape(x), T), np.zeros(x.shape, T)
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
                    loss_flat[i * inner + k] = w[label] * rows.d_cross_entropy(row, label, w[label] * T(scale), g)
                else:
                    read_q(target, i, k, q)
                    for j in range(classes):
                        hard = q[j] if soft else T(j == label)
                        q[j] = w[j] * ((T(1) - smoothing) * hard + smoothing / T(classes))
                    loss_flat[i * inner + k] = rows.soft_cross_entropy(row, q)
                    rows.d_soft_cross_entropy(row, q, T(scale), g)
        return finish(loss, scale, gradient, out, grad_out)

    return apply


@stands_for("cross_entropy")
def _cross_entropy(logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", out=None):
    apply = _classification(False, False, logits, target, weight, ignore_index, label_smoothing, reduction, out, None)

    def implementation(logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", out=None):
        return apply(logits, target, weight, ignore_index, label_smoothing, out, None)

    return implementation


@stands_for("cross_entropy_value_and_grad")
def _cross_entropy_grad(
    logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", out=None, grad_out=None
):
    apply = _classification(
        False, True, logits, target, weight, ignore_index, label_smoothing, reduction, out, grad_out
    )

    def implementation(
        logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean", out=None,
        grad_out=None,
    ):  # fmt: skip
        return apply(logits, target, weight, ignore_index, label_smoothing, out, grad_out)

    return implementation


@stands_for("nll_loss")
def _nll(log_probs, target, weight=None, ignore_index=-100, reduction="mean", out=None):
    apply = _classification(True, False, log_probs, target, weight, ignore_index, 0.0, reduction, out, None)
    return lambda log_probs, target, weight=None, ignore_index=-100, reduction="mean", out=None: apply(
        log_probs, target, weight, ignore_index, 0.0, out, None
    )


@stands_for("nll_loss_value_and_grad")
def _nll_grad(log_probs, target, weight=None, ignore_index=-100, reduction="mean", out=None, grad_out=None):
    apply = _classification(True, True, log_probs, target, weight, ignore_index, 0.0, reduction, out, grad_out)

    def implementation(log_probs, target, weight=None, ignore_index=-100, reduction="mean", out=None, grad_out=None):
        return apply(log_probs, target, weight, ignore_index, 0.0, out, grad_out)

    return implementation
