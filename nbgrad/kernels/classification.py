"""cross_entropy and nll_loss on arrays, with PyTorch's semantics. Formulas: `nbgrad.rows`; the rules all
losses share: `nbgrad.kernels.losses`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import as_array, as_float, as_labels, check_choice, check_number, contiguous, output, store
from nbgrad.backends import cpu_rows
from nbgrad.kernels.losses import REDUCTIONS, mean_scale, scaled_sum

__all__ = ["cross_entropy", "cross_entropy_value_and_grad", "nll_loss", "nll_loss_value_and_grad"]


def _class_rows(array: NDArray[Any], class_axis: int) -> NDArray[Any]:
    """Contiguous (rows, classes)."""
    moved = contiguous(np.moveaxis(array, class_axis, -1))
    return moved.reshape(int(np.prod(moved.shape[:-1])), moved.shape[-1])


def _logits(x: Any, name: str) -> tuple[NDArray[Any], int]:
    x = as_float(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected shape (C,), (N, C) or (N, C, d1, ...), got a number")
    axis = 0 if x.ndim == 1 else 1
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    return x, axis


def _checked_labels(
    target: Any, x: NDArray[Any], class_axis: int, ignore_index: Any, name: str
) -> NDArray[np.int64]:
    """Class labels, flat, each in 0..C − 1 or ``ignore_index``."""
    shape = x.shape[:class_axis] + x.shape[class_axis + 1 :]
    labels = as_labels(target, "target")
    if labels.shape != shape:
        raise ValueError(
            f"target: expected labels of shape {shape} for {name} of shape {x.shape}, got {labels.shape}"
        )
    labels = labels.reshape(-1)
    bad = cpu_rows.first_bad_label().serial(labels, x.shape[class_axis], ignore_index)
    if bad >= 0:
        classes = x.shape[class_axis]
        raise ValueError(
            f"target: expected labels in 0..{classes - 1} or ignore_index={ignore_index}, "
            f"got {labels[bad]} at position {bad}"
        )
    return labels


def _class_weight(weight: Any, x: NDArray[Any], classes: int) -> NDArray[Any]:
    """The weight of each class in x's precision; empty where there is none."""
    if weight is None:
        return np.empty(0, x.dtype)
    weight = contiguous(as_float(weight, "weight").astype(x.dtype, copy=False))
    if weight.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one for each class, got {weight.shape}")
    return weight


def _finish(loss: NDArray[Any], scale: float, shape: tuple[int, ...], x: NDArray[Any], reduction: str) -> Any:
    if reduction == "none":
        return loss.reshape(shape)[()]
    return scaled_sum(loss, scale, x.dtype)


def _ignore_index(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"ignore_index: expected an integer, got {type(value).__name__}")
    if not -(2**63) <= value < 2**63:
        raise ValueError("ignore_index: expected an integer of 64 bits, got a larger one")
    return int(value)


def _cross_entropy(
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction: str,
    grad: bool,
    grad_out: Any,
) -> Any:
    check_choice(reduction, "reduction", REDUCTIONS)
    x, axis = _logits(logits, "logits")
    ignore_index = _ignore_index(ignore_index)
    smoothing = check_number(label_smoothing, "label_smoothing", x.dtype)
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected a number in 0..1, got {label_smoothing}")
    classes, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
    class_weight = _class_weight(weight, x, classes)
    if grad_out is not None:
        output(grad_out, x.shape, x.dtype, "grad_out")
    x_rows = _class_rows(x, axis)
    loss = np.empty(len(x_rows), x.dtype)
    target = as_array(target, "target")
    if target.dtype.kind in "iub" or target.shape != x.shape:
        if target.dtype.kind not in "iu":
            raise TypeError(
                f"target: expected integer class labels of shape {shape} or float class probabilities of "
                f"shape {x.shape}, got {target.dtype} of shape {target.shape}"
            )
        labels = _checked_labels(target, x, axis, ignore_index, "logits")
        counted = labels != ignore_index
        total = (
            class_weight[labels[counted]].sum(dtype=np.float64)
            if class_weight.size
            else np.count_nonzero(counted)
        )
        scale = mean_scale(reduction, float(total))
        if smoothing == 0:
            arguments: tuple[Any, ...] = (x_rows, labels, class_weight, ignore_index, loss)
            loop = cpu_rows.cross_entropy(grad)
        else:
            q = np.full(x_rows.shape, smoothing / classes, x.dtype)
            q[np.flatnonzero(counted), labels[counted]] += 1 - smoothing
            q = q * class_weight if class_weight.size else q
            arguments, loop = (x_rows, q, ~counted, loss), cpu_rows.soft_cross_entropy(grad)
    else:
        q = _class_rows(as_float(target, "target").astype(x.dtype, copy=False), axis)
        q = q * (1 - smoothing) + smoothing / x.dtype.type(classes) if smoothing else q
        q = q * class_weight if class_weight.size else q
        scale = mean_scale(reduction, len(x_rows))
        arguments, loop = (
            (x_rows, q, np.zeros(len(x_rows), np.bool_), loss),
            cpu_rows.soft_cross_entropy(grad),
        )
    if not grad:
        loop(x.size, *arguments)
        return _finish(loss, scale, shape, x, reduction)
    direct = (
        grad_out is not None
        and x.ndim <= 2
        and grad_out.flags.carray
        and grad_out.dtype.isnative
        and grad_out.size
    )
    direct = direct and not any(np.may_share_memory(grad_out, a) for a in (x, target, class_weight))
    gradient = grad_out.reshape(x_rows.shape) if direct else np.empty_like(x_rows)
    loop(x.size, *arguments, x.dtype.type(scale), gradient)
    value = _finish(loss, scale, shape, x, reduction)
    if direct:
        return value, grad_out
    full = np.moveaxis(gradient.reshape(*shape, classes), -1, axis)
    return value, store(full if grad_out is not None else np.ascontiguousarray(full), grad_out)


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Any:
    """−ln softmax(logits)[target], averaged: `torch.nn.functional.cross_entropy`.

    ``logits``: (C,), (N, C) or (N, C, d1, ...). ``target``: integer labels in 0..C − 1 of the shape without
    C, or float class probabilities of logits' shape. ``weight`` (C,): one factor for each class; with labels
    the mean divides by the sum of the labels' weights, with probabilities by the number of rows.
    ``ignore_index``: rows with this label count nothing. ``label_smoothing`` ε: the target becomes (1 −
    ε)·target + ε/C.

    Derivative in the logits: softmax(logits) − target; the label's entry as −(the sum of the other
    probabilities), which keeps its digits when the model is sure. Loss ln Σ e^(x − max) + (max − x[target]):
    a sum of two numbers ≥ 0, no overflow, no cancellation. −inf logits (masks) are exact; a class with target
    0 contributes 0 even there.

    Errors: TypeError for float labels, ValueError for a label out of range, before any memory is read with
    it.

    Source: as `softmax`; C. Szegedy et al., Rethinking the Inception architecture (2016), section 7, for
    label smoothing.

    >>> import numpy as np
    >>> cross_entropy(np.array([[2.0, 0.0], [0.0, 50.0]]), np.array([0, 1]))
    np.float64(0.06346400552148625)
    """
    return _cross_entropy(logits, target, weight, ignore_index, label_smoothing, reduction, False, None)


def cross_entropy_value_and_grad(
    logits: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, label_smoothing: float = 0.0,
    reduction: str = "mean", grad_out: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """`cross_entropy` and its gradient in ``logits``, in one pass.

    >>> import numpy as np
    >>> cross_entropy_value_and_grad(np.array([[0.0, 0.0]]), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0.5, -0.5]]))
    """
    return _cross_entropy(logits, target, weight, ignore_index, label_smoothing, reduction, True, grad_out)


def nll_loss(
    log_probs: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Any:
    """−log_probs[target], averaged: `torch.nn.functional.nll_loss`; shapes, weight and ignore_index as in
    `cross_entropy`.

    Derivative: −weight at the label's entry, 0 elsewhere. With log_probs = log_softmax(logits) it is
    `cross_entropy`.

    Source: as `cross_entropy`.

    >>> import numpy as np
    >>> nll_loss(np.log(np.array([[0.5, 0.5]])), np.array([1]))
    np.float64(0.6931471805599453)
    """
    return nll_loss_value_and_grad(
        log_probs, target, weight=weight, ignore_index=ignore_index, reduction=reduction
    )[0]


def nll_loss_value_and_grad(
    log_probs: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    grad_out: Any = None,
) -> tuple[Any, Any]:
    """`nll_loss` and its gradient in ``log_probs``.

    >>> import numpy as np
    >>> nll_loss_value_and_grad(np.log(np.array([[0.5, 0.5]])), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0., -1.]]))
    """
    check_choice(reduction, "reduction", REDUCTIONS)
    x, axis = _logits(log_probs, "log_probs")
    ignore_index = _ignore_index(ignore_index)
    if grad_out is not None:
        output(grad_out, x.shape, x.dtype, "grad_out")
    shape, classes = x.shape[:axis] + x.shape[axis + 1 :], x.shape[axis]
    labels = _checked_labels(target, x, axis, ignore_index, "log_probs")
    counted = np.flatnonzero(labels != ignore_index)
    picked = labels[counted]
    class_weight = _class_weight(weight, x, classes)
    w = class_weight[picked] if class_weight.size else np.ones(counted.size, x.dtype)
    scale = mean_scale(reduction, float(w.sum(dtype=np.float64)))
    x_rows = _class_rows(x, axis)
    loss = np.zeros(len(x_rows), x.dtype)
    with np.errstate(all="ignore"):  # 0 times -inf is nan, without a warning
        loss[counted] = -w * x_rows[counted, picked]
    gradient = np.zeros_like(x_rows)
    gradient[counted, picked] = -w * x.dtype.type(scale)
    full = np.moveaxis(gradient.reshape(*shape, classes), -1, axis)
    value = _finish(loss, scale, shape, x, reduction)
    return value, store(full if grad_out is not None else np.ascontiguousarray(full), grad_out)
