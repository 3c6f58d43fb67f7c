"""cross_entropy and nll_loss on arrays, with PyTorch's semantics. Formulas: `nbgrad.formulas.rows`; the rules all
losses share: `nbgrad.kernels.losses`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nbgrad.arguments import REDUCTIONS, check_choice, check_integer, check_number
from nbgrad.arrays import INT64, check_labels
from nbgrad.kernels.losses import check_outputs, results
from nbgrad.place import place_of
from nbgrad.typing import F, Floats, Labels, Out

__all__ = ["cross_entropy", "cross_entropy_value_and_grad", "nll_loss", "nll_loss_value_and_grad"]


def _logits(place: Any, x: Any, name: str) -> tuple[Any, int, int, tuple[int, ...]]:
    """(the logits, the axis of the classes, their number, the shape without it)"""
    x = place.as_float(x, name)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected shape (C,), (N, C) or (N, C, d1, ...), got a number")
    axis = 0 if x.ndim == 1 else 1
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    return x, axis, x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]


def _labels(place: Any, labels: Any, shape: tuple[int, ...], x: Any, name: str) -> Any:
    """Class labels, flat int64; whether they are in range the loops see."""
    check_labels(labels, "target")
    if labels.shape != shape:
        raise ValueError(f"target: expected labels of shape {shape} for {name} of shape {x.shape}, got {labels.shape}")
    return place.flat(place.cast(labels, INT64))


def _class_weight(place: Any, weight: Any, x: Any, classes: int) -> Any:
    """The weight of each class in x's precision; empty where there is none."""
    if weight is None:
        return place.xp.empty(0, x.dtype)
    weight = place.cast(place.as_float(weight, "weight"), x.dtype)
    if weight.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one for each class, got {weight.shape}")
    return place.flat(weight)


def _ignore_index(value: Any) -> int:
    value = check_integer(value, "ignore_index")
    if not -(2**63) <= value < 2**63:
        raise ValueError("ignore_index: expected an integer of 64 bits, got a larger one")
    return value


def _cross_entropy(
    logits: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    label_smoothing: Any,
    reduction: str,
    grad: bool,
    out: Any,
    grad_out: Any,
) -> Any:
    check_choice(reduction, "reduction", REDUCTIONS)
    ignore_index = _ignore_index(ignore_index)
    with place_of(logits=logits, target=target, weight=weight, out=out, grad_out=grad_out) as place:
        x, axis, classes, shape = _logits(place, logits, "logits")
        smoothing = label_smoothing
        if type(label_smoothing) is not float or label_smoothing != 0:  # the check costs 2 µs
            smoothing = check_number(label_smoothing, "label_smoothing", x.dtype, "in 0..1")
        class_weight = _class_weight(place, weight, x, classes)
        out, grad_out = check_outputs(place, x, shape, reduction, out, grad_out)
        target = place.as_array(target, "target")
        skip = divisor = None
        if target.dtype.kind in "iub" or target.shape != x.shape:
            if target.dtype.kind not in "iu":
                raise TypeError(
                    f"target: expected integer class labels of shape {shape} or float class probabilities of "
                    f"shape {x.shape}, got {target.dtype} of shape {target.shape}"
                )
            labels = _labels(place, target, shape, x, "logits")
            if smoothing == 0:
                value, gradient = place.label_losses(
                    False, x, axis, labels, class_weight, ignore_index, reduction, grad, out, grad_out
                )
                return results(place, value, gradient, out, grad_out)
            q, skip, divisor = place.smoothed(x, axis, labels, class_weight, ignore_index, smoothing)
        else:
            q = place.class_rows(place.cast(place.as_float(target, "target"), x.dtype), axis)
            q = q * (1 - smoothing) + smoothing / x.dtype.type(classes) if smoothing else q
        q = q * class_weight if class_weight.size else q
        value, gradient = place.soft_losses(x, axis, q, skip, divisor, reduction, grad, out, grad_out)
        return results(place, value, gradient, out, grad_out)


def cross_entropy(
    logits: Floats[F],
    target: Labels | Floats[F],
    *,
    weight: Floats[F] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Out[F] = None,
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
    logits: Floats[F],
    target: Labels | Floats[F],
    *,
    weight: Floats[F] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    out: Out[F] = None,
    grad_out: Out[F] = None,
) -> tuple[Any, NDArray[F]]:
    """`cross_entropy` and its gradient in ``logits``, in one pass.

    >>> import numpy as np
    >>> cross_entropy_value_and_grad(np.array([[0.0, 0.0]]), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0.5, -0.5]]))
    """
    return _cross_entropy(logits, target, weight, ignore_index, label_smoothing, reduction, True, out, grad_out)


def nll_loss(
    log_probs: Floats[F],
    target: Labels,
    *,
    weight: Floats[F] | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Out[F] = None,
) -> Any:
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
    log_probs: Floats[F],
    target: Labels,
    *,
    weight: Floats[F] | None = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    out: Out[F] = None,
    grad_out: Out[F] = None,
) -> tuple[Any, NDArray[F]]:
    """`nll_loss` and its gradient in ``log_probs``.

    >>> import numpy as np
    >>> nll_loss_value_and_grad(np.log(np.array([[0.5, 0.5]])), np.array([1]))
    (np.float64(0.6931471805599453), array([[ 0., -1.]]))
    """
    result: tuple[Any, Any] = _nll(log_probs, target, weight, ignore_index, reduction, True, out, grad_out)
    return result


def _nll(
    log_probs: Any,
    target: Any,
    weight: Any,
    ignore_index: Any,
    reduction: str,
    grad: bool,
    out: Any,
    grad_out: Any,
) -> Any:
    check_choice(reduction, "reduction", REDUCTIONS)
    ignore_index = _ignore_index(ignore_index)
    with place_of(log_probs=log_probs, target=target, weight=weight, out=out, grad_out=grad_out) as place:
        x, axis, classes, shape = _logits(place, log_probs, "log_probs")
        out, grad_out = check_outputs(place, x, shape, reduction, out, grad_out)
        labels = _labels(place, place.as_array(target, "target"), shape, x, "log_probs")
        class_weight = _class_weight(place, weight, x, classes)
        value, gradient = place.label_losses(
            True, x, axis, labels, class_weight, ignore_index, reduction, grad, out, grad_out
        )
        return results(place, value, gradient, out, grad_out)
