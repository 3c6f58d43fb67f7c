"""cross_entropy and nll_loss: checked arrays through the loops of `nbgrad.cpu.labels`.

All answer (the losses of ``reduction="none"``, or their sum or mean; the gradient in the logits where ``grad``).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64, contiguous, expected_labels, out_of_range
from nbgrad.cpu import labels as loops
from nbgrad.cpu.arrays import flat, fresh_or, split
from nbgrad.cpu.lanes import FEW
from nbgrad.cpu.losses import mean_scale, scaled_sum
from nbgrad.cpu.sums.add_up import add_up

__all__ = ["class_rows", "label_losses", "smoothed", "soft_losses"]


def label_losses(
    nll: bool, x: NDArray[Any], axis: int, labels: NDArray[np.int64], weight: NDArray[Any], ignore_index: int,
    reduction: str, grad: bool, out: Any, grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """cross_entropy or nll_loss of class labels (flat): one call of a loop. ``weight``: of each class, or empty."""
    n, classes, inner = split(x.shape, axis)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    loop = loops.nll() if nll else loops.cross_entropy(classes > FEW)
    if reduction != "none":
        losses = np.empty(0, x.dtype)
    elif out is None or any(np.may_share_memory(out, a) for a in (x, labels, weight)):
        losses = np.empty(shape, x.dtype)
    else:
        losses = fresh_or(out, shape, x.dtype)
    gradient = fresh_or(grad_out, x.shape, x.dtype) if grad else np.empty(0, x.dtype)
    work = n if nll and not grad else x.size
    logits = flat(x)
    while True:
        bad, total = loop(
            work, logits, labels, weight, n, classes, inner, ignore_index, reduction == "mean",
            losses.ravel(), grad, gradient.ravel(),
        )  # fmt: skip
        if bad == -1:
            break
        if bad >= 0:
            raise out_of_range("target", expected_labels(classes, ignore_index), labels[bad], bad)
        gradient = np.empty(x.shape, x.dtype)  # grad_out overlaps an argument
    return losses if reduction == "none" else x.dtype.type(total), gradient if grad else None


def class_rows(array: NDArray[Any], class_axis: int) -> NDArray[Any]:
    """Contiguous (rows, classes)."""
    moved = contiguous(np.moveaxis(array, class_axis, -1))
    return moved.reshape(math.prod(moved.shape[:-1]), moved.shape[-1])


def smoothed(
    x: NDArray[Any], axis: int, labels: NDArray[np.int64], weight: NDArray[Any], ignore_index: int,
    smoothing: Any,
) -> tuple[NDArray[Any], NDArray[Any], float]:  # fmt: skip
    """(probabilities of the classes, rows to skip, what the mean divides by)"""
    classes = x.shape[axis]
    bad = loops.first_bad_label().serial(labels, classes, ignore_index, True)
    if bad >= 0:
        raise out_of_range("target", expected_labels(classes, ignore_index), labels[bad], bad)
    counted = labels != ignore_index
    picked = labels[counted]
    q = np.full((labels.size, classes), smoothing / classes, x.dtype)
    q[np.flatnonzero(counted), picked] += 1 - smoothing
    return q, ~counted, float(add_up(weight[picked], dtype=FLOAT64) if weight.size else picked.size)


def soft_losses(
    x: NDArray[Any], axis: int, q: NDArray[Any], skip: Any, divisor: Any, reduction: str, grad: bool, out: Any,
    grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """cross_entropy of class probabilities ``q`` (rows, classes). ``skip``: rows that count nothing; ``divisor``: what
    the mean divides by; None: no row, and the number of rows.
    """
    shape, x_rows = x.shape[:axis] + x.shape[axis + 1 :], class_rows(x, axis)
    skip = np.zeros(len(q), np.bool_) if skip is None else skip
    scale = mean_scale(reduction == "mean", float(len(q)) if divisor is None else divisor)
    losses, loop = np.empty(len(x_rows), x.dtype), loops.soft_cross_entropy(grad)
    gradient = None
    if grad:
        rows = np.empty_like(x_rows)
        loop(x.size, x_rows, q, skip, losses, x.dtype.type(scale), rows)
        gradient = np.moveaxis(rows.reshape(*shape, x.shape[axis]), -1, axis)
        gradient = gradient if grad_out is not None else np.ascontiguousarray(gradient)
    else:
        loop(x.size, x_rows, q, skip, losses)
    return losses.reshape(shape) if reduction == "none" else scaled_sum(losses, scale, x.dtype), gradient
