"""cross_entropy and nll_loss on arrays, with PyTorch's semantics. Formulas: `nbgrad.formulas.rows`; the rules all
losses share: `nbgrad.kernels.losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import (
    FLOAT64,
    REDUCTIONS,
    as_array,
    as_float,
    as_labels,
    check_choice,
    check_integer,
    check_number,
    contiguous,
    on_device,
    store,
)
from nbgrad.cpu import labels as cpu_labels
from nbgrad.cpu.lanes import FEW
from nbgrad.kernels import device_labels
from nbgrad.kernels.losses import check_outputs, mean_scale, scaled_sum
from nbgrad.kernels.rowwise import fresh_or, split
from nbgrad.sums import add_up

__all__ = ["cross_entropy", "cross_entropy_value_and_grad", "nll_loss", "nll_loss_value_and_grad"]


def _logits(x: Any, name: str) -> tuple[NDArray[Any], int]:
    x = as_float(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected shape (C,), (N, C) or (N, C, d1, ...), got a number")
    axis = 0 if x.ndim == 1 else 1
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    return x, axis


def _labels(target: Any, shape: tuple[int, ...], x: NDArray[Any], name: str) -> NDArray[np.int64]:
    """Class labels, flat, not yet checked."""
    labels = as_labels(target, "target")
    if labels.shape != shape:
        raise ValueError(
            f"target: expected labels of shape {shape} for {name} of shape {x.shape}, got {labels.shape}"
        )
    return labels.reshape(-1)


def _bad_label(labels: NDArray[np.int64], place: int, classes: int, ignore_index: int) -> ValueError:
    return ValueError(
        f"target: expected labels in 0..{classes - 1} or ignore_index={ignore_index}, "
        f"got {labels[place]} at position {place}"
    )


def _class_weight(weight: Any, x: NDArray[Any], classes: int) -> NDArray[Any]:
    """The weight of each class in x's precision; empty where there is none."""
    if weight is None:
        return np.empty(0, x.dtype)
    weight = contiguous(as_float(weight, "weight").astype(x.dtype, copy=False))
    if weight.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one for each class, got {weight.shape}")
    return weight


def _ignore_index(value: Any) -> int:
    value = check_integer(value, "ignore_index")
    if not -(2**63) <= value < 2**63:
        raise ValueError("ignore_index: expected an integer of 64 bits, got a larger one")
    return value


def _of_labels(
    nll: bool, x: NDArray[Any], axis: int, labels: NDArray[np.int64], weight: NDArray[Any], ignore_index: int,
    reduction: str, grad: bool, out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    """cross_entropy or nll_loss of class labels: one call of a loop."""
    n, classes, inner = split(x.shape, axis)
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    loop = cpu_labels.nll() if nll else cpu_labels.cross_entropy(classes > FEW)
    if reduction != "none":
        losses = np.empty(0, x.dtype)
    elif out is None or any(np.may_share_memory(out, a) for a in (x, labels, weight)):
        losses = np.empty(shape, x.dtype)
    else:
        losses = fresh_or(out, shape, x.dtype)
    gradient = fresh_or(grad_out, x.shape, x.dtype) if grad else np.empty(0, x.dtype)
    work = n if nll and not grad else x.size
    flat = contiguous(x).reshape(-1)
    while True:
        bad, total = loop(
            work, flat, labels, weight, n, classes, inner, ignore_index, reduction == "mean",
            losses.reshape(-1), grad, gradient.reshape(-1),
        )  # fmt: skip
        if bad == -1:
            break
        if bad >= 0:
            raise _bad_label(labels, bad, classes, ignore_index)
        gradient = np.empty(x.shape, x.dtype)  # grad_out overlaps an argument
    value = store(losses, out) if reduction == "none" else x.dtype.type(total)
    return (value, store(gradient, grad_out)) if grad else value


def _cross_entropy(
    logits: Any, target: Any, weight: Any, ignore_index: Any, label_smoothing: Any, reduction: str,
    grad: bool, out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    check_choice(reduction, "reduction", REDUCTIONS)
    ignore_index = _ignore_index(ignore_index)
    if on_device(logits, target, weight, out, grad_out):
        return device_labels.cross_entropy(
            logits, target, weight, ignore_index, label_smoothing, reduction, grad, out, grad_out
        )
    x, axis = _logits(logits, "logits")
    smoothing = label_smoothing
    if type(label_smoothing) is not float or label_smoothing != 0:  # the check costs 2 µs
        smoothing = check_number(label_smoothing, "label_smoothing", x.dtype, "in 0..1")
    classes, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    class_weight = _class_weight(weight, x, classes)
    check_outputs(x, shape, reduction, out, grad_out)
    target = as_array(target, "target")
    if target.dtype.kind in "iub" or target.shape != x.shape:
        if target.dtype.kind not in "iu":
            raise TypeError(
                f"target: expected integer class labels of shape {shape} or float class probabilities of "
                f"shape {x.shape}, got {target.dtype} of shape {target.shape}"
            )
        labels = _labels(target, shape, x, "logits")
        if smoothing == 0:
            return _of_labels(
                False, x, axis, labels, class_weight, ignore_index, reduction, grad, out, grad_out
            )
        q, skip, total = _smoothed(labels, x, axis, class_weight, ignore_index, smoothing)
    else:
        q = _class_rows(as_float(target, "target").astype(x.dtype, copy=False), axis)
        q = q * (1 - smoothing) + smoothing / x.dtype.type(classes) if smoothing else q
        skip = np.zeros(len(q), np.bool_)
        total = float(len(q))
    q = q * class_weight if class_weight.size else q
    return _of_probabilities(x, axis, q, skip, mean_scale(reduction, total), reduction, grad, out, grad_out)


def _class_rows(array: NDArray[Any], class_axis: int) -> NDArray[Any]:
    """Contiguous (rows, classes)."""
    moved = contiguous(np.moveaxis(array, class_axis, -1))
    return moved.reshape(int(np.prod(moved.shape[:-1])), moved.shape[-1])


def _smoothed(
    labels: NDArray[np.int64], x: NDArray[Any], axis: int, weight: NDArray[Any], ignore_index: int,
    smoothing: Any,
) -> tuple[NDArray[Any], NDArray[Any], float]:  # fmt: skip
    """(probabilities of the classes, rows to skip, what the mean divides by)"""
    classes = x.shape[axis]
    bad = cpu_labels.first_bad_label().serial(labels, classes, ignore_index, True)
    if bad >= 0:
        raise _bad_label(labels, bad, classes, ignore_index)
    counted = labels != ignore_index
    picked = labels[counted]
    q = np.full((labels.size, classes), smoothing / classes, x.dtype)
    q[np.flatnonzero(counted), picked] += 1 - smoothing
    return q, ~counted, float(add_up(weight[picked], dtype=FLOAT64) if weight.size else picked.size)


def _of_probabilities(
    x: NDArray[Any], axis: int, q: NDArray[Any], skip: NDArray[Any], scale: float, reduction: str, grad: bool,
    out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    """cross_entropy of class probabilities."""
    shape, x_rows = x.shape[:axis] + x.shape[axis + 1 :], _class_rows(x, axis)
    losses = np.empty(len(x_rows), x.dtype)
    loop = cpu_labels.soft_cross_entropy(grad)
    if grad:
        gradient = np.empty_like(x_rows)
        loop(x.size, x_rows, q, skip, losses, x.dtype.type(scale), gradient)
    else:
        loop(x.size, x_rows, q, skip, losses)
    value = store(losses.reshape(shape), out) if reduction == "none" else scaled_sum(losses, scale, x.dtype)
    if not grad:
        return value
    full = np.moveaxis(gradient.reshape(*shape, x.shape[axis]), -1, axis)
    return value, store(full if grad_out is not None else np.ascontiguousarray(full), grad_out)


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Any = None,
) -> Any:
    """−ln softmax(logits)[target], averaged: `torch.nn.functional.cross_entropy`.

    ``logits``: (C,), (N, C) or (N, C, d1, ...). ``target``: integer labels in 0..C − 1 of the shape without
    C, or float class probabilities of logits' shape. ``weight`` (C,): one factor for each class; with labels
    the mean divides by the sum of the labels' weights, with probabilities by the number of rows.
    ``ignore_index``: rows with this label count nothing. ``label_smoothing`` ε: the target becomes (1 −
    ε)·target + ε/C. ``out`` takes the losses of ``reduction="none"``.

    Derivative in the logits: softmax(logits) − target; the label's entry, where it is the largest, as
    −(the sum of the other probabilities), which keeps its digits when the model is sure. Loss ln Σ e^(x −
    max) + (max − x[target]): a sum of two numbers ≥ 0, no overflow, no cancellation. −inf logits (masks) are
    exact; a class with target 0 contributes 0 even there.

    Errors: TypeError for float labels, ValueError for a label out of range, before any memory is read with
    it.

    Source: as `softmax`; C. Szegedy et al., Rethinking the Inception architecture (2016), section 7, for
    label smoothing.

    >>> import numpy as np
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 50.0]]), np.array([0, 1]))
    np.float64(0.06346400552148625)
    """
    return _cross_entropy(logits, target, weight, ignore_index, label_smoothing, reduction, False, out, None)


def cross_entropy_value_and_grad(
    logits: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0,
    reduction: str = "mean", out: Any = None, grad_out: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """`cross_entropy` and its gradient in ``logits``, in one pass.

    >>> import numpy as np
    >>> cross_entropy_value_and_grad(np.array([[0.0, 0.0]]), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0.5, -0.5]]))
    """
    return _cross_entropy(
        logits, target, weight, ignore_index, label_smoothing, reduction, True, out, grad_out
    )


def nll_loss(
    log_probs: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
    out: Any = None,
) -> Any:  # fmt: skip
    """−log_probs[target], averaged: `torch.nn.functional.nll_loss`; shapes, weight, ignore_index and out as
    in `cross_entropy`.

    Derivative: −weight at the label's entry, 0 elsewhere. With log_probs = log_softmax(logits) it is
    `cross_entropy`.

    Source: as `cross_entropy`.

    >>> import numpy as np
    >>> nll_loss(np.log(np.array([[0.5, 0.5]])), np.array([1]))
    np.float64(0.6931471805599453)
    """
    return _nll(log_probs, target, weight, ignore_index, reduction, False, out, None)


def nll_loss_value_and_grad(
    log_probs: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, reduction: str = "mean",
    out: Any = None, grad_out: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """`nll_loss` and its gradient in ``log_probs``.

    >>> import numpy as np
    >>> nll_loss_value_and_grad(np.log(np.array([[0.5, 0.5]])), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0., -1.]]))
    """
    result: tuple[Any, Any] = _nll(log_probs, target, weight, ignore_index, reduction, True, out, grad_out)
    return result


def _nll(
    log_probs: Any, target: Any, weight: Any, ignore_index: Any, reduction: str, grad: bool, out: Any,
    grad_out: Any,
) -> Any:  # fmt: skip
    check_choice(reduction, "reduction", REDUCTIONS)
    ignore_index = _ignore_index(ignore_index)
    if on_device(log_probs, target, weight, out, grad_out):
        return device_labels.nll_loss(log_probs, target, weight, ignore_index, reduction, grad, out, grad_out)
    x, axis = _logits(log_probs, "log_probs")
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    check_outputs(x, shape, reduction, out, grad_out)
    labels = _labels(target, shape, x, "log_probs")
    class_weight = _class_weight(weight, x, x.shape[axis])
    return _of_labels(True, x, axis, labels, class_weight, ignore_index, reduction, grad, out, grad_out)
