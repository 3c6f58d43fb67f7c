"""cross_entropy and nll_loss on a GPU: checked arrays through the kernels of `nbgrad.cuda.labels`, as
`nbgrad.cpu.label_losses`. ``place`` is the call's `nbgrad.cuda.place.Place`. A label out of range: `nbgrad.cuda.alarm`.
"""

from __future__ import annotations

import math
from typing import Any

from nbgrad.arrays import expected_labels
from nbgrad.cuda import labels as kernels
from nbgrad.cuda import losses, rows
from nbgrad.cuda.alarm import alarm
from nbgrad.cuda.device import launch_each

__all__ = ["class_rows", "label_losses", "smoothed", "soft_losses"]


def label_losses(
    place: Any, nll: bool, x: Any, axis: int, labels: Any, weight: Any, ignore_index: int, reduction: str, grad: bool,
    out: Any, grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """cross_entropy or nll_loss of class labels (flat). ``weight``: of each class, or empty."""
    classes, dtype, watch = x.shape[axis], x.dtype, alarm(place, "target")
    flag, divisor = watch.arm(expected_labels(classes, ignore_index)), losses.no_divisor(dtype)
    if reduction == "mean":
        divisor = losses.label_count(labels, weight, classes, ignore_index)
    if nll:
        flat, inner = place.flat(x), math.prod(x.shape[axis + 1 :])
        values = _losses_room(place, out, x, axis, flat, labels, weight)
        gradient = place.xp.zeros(x.shape, dtype) if grad else None
        results = tuple(a.reshape(-1) for a in (values, gradient) if a is not None)
        compiled = kernels.nll(grad, dtype)
        arguments = (labels, weight, ignore_index, divisor, flag, flat, classes, inner, *results)
        launch_each(compiled, labels.size, *arguments, per_processor=32)
    else:
        before = (labels, weight, ignore_index, divisor, flag)
        compiled = kernels.cross_entropy(grad, dtype)
        values, gradient = _of_rows(place, compiled, before, (labels, weight), x, axis, grad, out, grad_out)
    watch.look(labels)
    return _reduced(place, values, reduction, divisor), gradient


def class_rows(place: Any, array: Any, class_axis: int) -> Any:
    """Contiguous (rows, classes)."""
    return place._rows_last(array, (class_axis,))


def smoothed(
    place: Any, x: Any, axis: int, labels: Any, weight: Any, ignore_index: int, smoothing: Any
) -> tuple[Any, Any, Any]:
    """(probabilities of the classes, rows to skip, what the mean divides by); nan for a label out of range."""
    xp, flat, watch = place.xp, place._rows_last(x, (axis,)), alarm(place, "target")
    n, classes = flat.shape
    flag, values, no = watch.arm(expected_labels(classes, ignore_index)), xp.empty(n, x.dtype), xp.empty(0, x.dtype)
    divisor = losses.label_count(labels, weight, classes, ignore_index)
    arguments = labels, no, ignore_index, no, flag, flat.reshape(-1), classes, 1, values
    launch_each(kernels.nll(False, x.dtype), n, *arguments, per_processor=32)
    skip = labels == ignore_index
    bad = ~skip & ((labels < 0) | (labels >= classes))
    q = xp.full((n, classes), smoothing / classes, x.dtype)
    q[xp.arange(n), xp.clip(labels, 0, classes - 1)] += 1 - smoothing
    watch.look(labels)
    return xp.where(bad[:, None], x.dtype.type(float("nan")), q), skip, divisor


def soft_losses(
    place: Any, x: Any, axis: int, q: Any, skip: Any, divisor: Any, reduction: str, grad: bool, out: Any,
    grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """cross_entropy of class probabilities ``q`` (rows, classes). ``skip``: rows that count nothing; ``divisor``: what
    the mean divides by; None: no row, and the number of rows.
    """
    xp, dtype = place.xp, x.dtype
    skip = xp.zeros(len(q), xp.bool_) if skip is None else skip
    if reduction != "mean":
        divisor = losses.no_divisor(dtype)
    elif divisor is None:
        divisor = xp.stack((xp.full((), len(q), dtype), xp.zeros((), dtype)))
    before, compiled = (skip, place.flat(q), divisor), kernels.soft_cross_entropy(grad, dtype)
    values, gradient = _of_rows(place, compiled, before, before[:2], x, axis, grad, out, grad_out)
    return _reduced(place, values, reduction, divisor), gradient


def _of_rows(
    place: Any, compiled: Any, before: tuple[Any, ...], others: tuple[Any, ...], x: Any, axis: int, grad: bool,
    out: Any, grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """(losses, their gradient where ``grad``) of a kernel over the rows of x; ``others``: what else it reads."""
    flat = place._rows_last(x, (axis,))
    arguments = (*before, flat.reshape(-1))
    values = _losses_room(place, out, x, axis, flat, *others)
    if not grad:
        rows.run(compiled, arguments, *flat.shape, values.reshape(-1))
        return values, None
    direct = grad_out if axis == x.ndim - 1 else None
    if direct is not None and any(place.overlap(direct, a) for a in others):
        direct = None
    gradient = place._room(direct, flat.shape, x.dtype, flat)
    rows.run(compiled, arguments, *flat.shape, values.reshape(-1), gradient.reshape(-1))
    if gradient is not direct:
        gradient = gradient.reshape(*values.shape, x.shape[axis])
    if gradient is not direct and axis != x.ndim - 1:
        gradient = place.xp.moveaxis(gradient, -1, axis)
        gradient = gradient if grad_out is not None else place.xp.ascontiguousarray(gradient)
    return values, gradient


def _losses_room(place: Any, out: Any, x: Any, axis: int, *inputs: Any) -> Any:
    shape = x.shape[:axis] + x.shape[axis + 1 :]
    return place._room(out, shape, x.dtype, *(a for a in inputs if a.size), in_place=False)


def _reduced(place: Any, values: Any, reduction: str, divisor: Any) -> Any:
    return values if reduction == "none" else losses.array_sum(place.flat(values), 1.0, divisor)
