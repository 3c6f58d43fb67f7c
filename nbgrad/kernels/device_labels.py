"""cross_entropy, nll_loss and maxout on CUDA arrays: `nbgrad.kernels.classification` and `maxout`, on the device.

A label (or index) out of range reads no memory, and makes its row's loss and gradient nan. The error follows without
anybody waiting for the device: the kernel writes the place into memory of the host, and the next call of the same kind
that finds it there raises ValueError. With CUDA_LAUNCH_BLOCKING=1, which makes CUDA's own errors come in time,
the call itself waits and raises.
"""

from __future__ import annotations

import functools
import math
from typing import Any

from nbgrad.arrays import check_number, normalize_axis
from nbgrad.kernels.device import Call
from nbgrad.kernels.device_losses import outputs, put, put_sum
from nbgrad.kernels.device_rows import rows_last

__all__ = ["cross_entropy", "maxout", "maxout_backward", "nll_loss"]


class Alarm:
    """A place out of range, reported by kernels on one GPU."""

    def __init__(self, name: str) -> None:
        from nbgrad.cuda import driver as cuda_target

        self.name, self.target = name, cuda_target
        self.flag = cuda_target.mapped(1)
        self.expected = ""

    def arm(self, expected: str) -> Any:
        """What kernels write to. ValueError if an earlier call's did."""
        self._raise(" in an earlier call")
        self.expected = expected
        return self.flag

    def look(self) -> None:
        """After a call: raise now if that is wanted."""
        if self.target.blocking():
            self.target.synchronize()
            self._raise("")

    def _raise(self, when: str) -> None:
        place, self.flag[0] = int(self.flag[0]) - 1, 0
        if place >= 0:
            raise ValueError(f"{self.name}: expected {self.expected}{when}, got another at position {place}")


@functools.cache
def _alarm(name: str, device: int) -> Alarm:
    return Alarm(name)


def alarm(call: Call, name: str) -> Alarm:
    """The alarm of the call's GPU for this argument."""
    return _alarm(name, call.target.device_of(call.arrays[call.first]))


def _logits(call: Call, name: str) -> tuple[Any, int]:
    x = call.float(name)
    if x.ndim == 0:
        raise ValueError(f"{name}: expected shape (C,), (N, C) or (N, C, d1, ...), got a number")
    axis = 0 if x.ndim == 1 else 1
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}")
    return x, axis


def _integers(call: Call, name: str) -> Any:
    array = call.arrays.get(name)
    array = call.xp.asarray(call.values[name]) if array is None else array
    return array


def _labels(call: Call, shape: tuple[int, ...], x: Any, name: str) -> Any:
    """Class labels, flat int64, not yet checked."""
    labels = _integers(call, "target")
    if labels.dtype.kind not in "iu":
        raise TypeError(f"target: expected integer class labels, got {labels.dtype}")
    if labels.shape != shape:
        raise ValueError(
            f"target: expected labels of shape {shape} for {name} of shape {x.shape}, got {labels.shape}"
        )
    return call.contiguous(labels.astype(call.xp.int64, copy=False), shape)


def _class_weight(call: Call, x: Any, classes: int) -> Any:
    """The weight of each class in x's precision; empty where there is none."""
    if "weight" not in call.values:
        return call.xp.empty(0, x.dtype)
    weight = call.cast(call.float("weight"), x.dtype)
    if weight.shape != (classes,):
        raise ValueError(f"weight: expected shape ({classes},), one for each class, got {weight.shape}")
    return call.contiguous(weight, weight.shape)


def _range(classes: int, ignore_index: int) -> str:
    return f"labels in 0..{classes - 1} or ignore_index={ignore_index}"


def cross_entropy(
    logits: Any, target: Any, weight: Any, ignore_index: int, label_smoothing: Any, reduction: str, grad: bool,
    out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    """`nbgrad.kernels.classification._cross_entropy`"""
    from nbgrad.cuda import labels as cuda_labels
    from nbgrad.cuda import losses as cuda_losses
    from nbgrad.cuda import rows as cuda_rows

    with Call(logits=logits, target=target, weight=weight, out=out, grad_out=grad_out) as call:
        xp, (x, axis) = call.xp, _logits(call, "logits")
        smoothing = check_number(label_smoothing, "label_smoothing", x.dtype, "in 0..1")
        classes, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
        class_weight = _class_weight(call, x, classes)
        place, grad_place = outputs(call, x, shape, reduction)
        probabilities, dtype = _integers(call, "target"), x.dtype
        rows, mean, watch = rows_last(call, x, (axis,)), reduction == "mean", alarm(call, "target")
        flag, divisor = watch.arm(_range(classes, ignore_index)), cuda_losses.no_divisor(dtype)
        others: list[Any]
        arguments: tuple[Any, ...]
        if probabilities.dtype.kind in "iub" or probabilities.shape != x.shape:
            if probabilities.dtype.kind not in "iu":
                raise TypeError(
                    f"target: expected integer class labels of shape {shape} or float class probabilities of "
                    f"shape {x.shape}, got {probabilities.dtype} of shape {probabilities.shape}"
                )
            labels = _labels(call, shape, x, "logits")
            if mean:
                divisor = cuda_losses.label_count(labels, class_weight, classes, ignore_index)
            if smoothing == 0:
                compiled, before = cuda_labels.cross_entropy(grad, dtype), (labels, class_weight, ignore_index)
                arguments = (*before, divisor, flag, rows.reshape(-1))
                others = [labels, class_weight]
            else:
                q, skip = _smoothed(call, labels, rows, class_weight, ignore_index, smoothing, flag)
        else:
            q = call.cast(rows_last(call, probabilities, (axis,)), dtype)
            q = q * (1 - smoothing) + smoothing / dtype.type(classes) if smoothing else q
            skip = xp.zeros(len(rows), xp.bool_)
            if mean:
                divisor = xp.stack((xp.full((), len(rows), dtype), xp.zeros((), dtype)))
        if probabilities.shape == x.shape and probabilities.dtype.kind == "f" or smoothing != 0:
            q = q * class_weight if class_weight.size else q
            compiled = cuda_labels.soft_cross_entropy(grad, dtype)
            arguments = (skip, call.contiguous(q, q.shape), divisor, rows.reshape(-1))
            others = list(arguments[:2])
        losses = _losses_room(call, place, shape, dtype, rows, *others)
        if not grad:
            cuda_rows.run(compiled, arguments, *rows.shape, losses.reshape(-1))
            gradient = None
        else:
            direct = grad_place if axis == x.ndim - 1 else None
            if direct is not None and any(call.overlap(direct, a) for a in others):
                direct = None
            gradient = call.room(direct, rows.shape, dtype, rows)
            cuda_rows.run(compiled, arguments, *rows.shape, losses.reshape(-1), gradient.reshape(-1))
            if gradient is not direct:
                gradient = xp.moveaxis(gradient.reshape(*shape, classes), -1, axis)
                gradient = gradient if grad_place is not None else xp.ascontiguousarray(gradient)
        watch.look()
        if reduction == "none":
            return put(call, losses, gradient, place, grad_place)
        return put_sum(call, losses, gradient, mean, divisor, grad_place)


def _losses_room(call: Call, out: Any, shape: tuple[int, ...], dtype: Any, *inputs: Any) -> Any:
    return call.room(out, shape, dtype, *(a for a in inputs if a.size), in_place=False)


def _smoothed(
    call: Call, labels: Any, rows: Any, weight: Any, ignore_index: int, smoothing: Any, flag: Any
) -> tuple[Any, Any]:
    """(probabilities of the classes, rows to skip); nan for a label out of range, which is reported."""
    from nbgrad.cuda import labels as cuda_labels

    xp, (n, classes) = call.xp, rows.shape
    losses, no = xp.empty(n, rows.dtype), xp.empty(0, rows.dtype)
    _launch_each(
        call, cuda_labels.nll(False, rows.dtype), n, labels, no, ignore_index, no, flag, rows.reshape(-1), classes,
        1, losses,
    )  # fmt: skip
    skip = labels == ignore_index
    bad = ~skip & ((labels < 0) | (labels >= classes))
    q = xp.full((n, classes), smoothing / classes, rows.dtype)
    q[xp.arange(n), xp.clip(labels, 0, classes - 1)] += 1 - smoothing
    return xp.where(bad[:, None], rows.dtype.type(float("nan")), q), skip


def _launch_each(call: Call, compiled: Any, count: int, *arguments: Any) -> None:
    """A kernel with a thread for each of ``count``."""
    target = call.target
    target.launch(compiled, min(-(-count // target.BLOCK), 32 * target.processors()), target.BLOCK, *arguments)


def nll_loss(
    log_probs: Any, target: Any, weight: Any, ignore_index: int, reduction: str, grad: bool, out: Any, grad_out: Any
) -> Any:
    """`nbgrad.kernels.classification._nll`"""
    from nbgrad.cuda import labels as cuda_labels
    from nbgrad.cuda import losses as cuda_losses

    with Call(log_probs=log_probs, target=target, weight=weight, out=out, grad_out=grad_out) as call:
        x, axis = _logits(call, "log_probs")
        classes, shape = x.shape[axis], x.shape[:axis] + x.shape[axis + 1 :]
        place, grad_place = outputs(call, x, shape, reduction)
        labels = _labels(call, shape, x, "log_probs")
        class_weight, mean, watch = _class_weight(call, x, classes), reduction == "mean", alarm(call, "target")
        flag, divisor = watch.arm(_range(classes, ignore_index)), cuda_losses.no_divisor(x.dtype)
        if mean:
            divisor = cuda_losses.label_count(labels, class_weight, classes, ignore_index)
        flat, inner = call.contiguous(x, x.shape), math.prod(x.shape[axis + 1 :])
        losses = _losses_room(call, place, shape, x.dtype, flat, labels, class_weight)
        gradient = call.xp.zeros(x.shape, x.dtype) if grad else None
        results = tuple(a.reshape(-1) for a in (losses, gradient) if a is not None)
        _launch_each(
            call, cuda_labels.nll(grad, x.dtype), labels.size, labels, class_weight, ignore_index, divisor, flag,
            flat, classes, inner, *results,
        )  # fmt: skip
        watch.look()
        if reduction == "none":
            return put(call, losses, gradient, place, grad_place)
        return put_sum(call, losses, gradient, mean, divisor, grad_place)


def maxout(x: Any, num_pieces: int, axis: int, out: Any, index_out: Any) -> tuple[Any, Any]:
    """`nbgrad.kernels.rowwise.maxout`"""
    from nbgrad.cuda import maxout as cuda_maxout

    with Call(x=x, out=out, index_out=index_out) as call:
        array = call.float("x")
        axis = normalize_axis(axis, array.ndim)
        if array.shape[axis] % num_pieces:
            raise ValueError(
                f"num_pieces: expected a divisor of the axis' length {array.shape[axis]}, got {num_pieces}"
            )
        shape = array.shape[:axis] + (array.shape[axis] // num_pieces,) + array.shape[axis + 1 :]
        integer = call.xp.dtype(call.xp.intp)
        place, index_place = call.out(shape, array.dtype), call.out(shape, integer, "index_out")
        if place is not None and index_place is not None and call.overlap(place, index_place):
            raise ValueError("index_out: expected memory of its own, got an array that overlaps out")
        flat, inner = call.contiguous(array, array.shape), max(1, math.prod(shape[axis + 1 :]))
        y = call.room(place, shape, array.dtype, flat, in_place=False)
        index = call.room(index_place, shape, integer, flat, in_place=False)
        _launch_each(
            call, cuda_maxout.maxout(array.dtype), y.size, flat, num_pieces, inner, y.reshape(-1), index.reshape(-1)
        )
        return call.result(y, place), call.result(index, index_place, "index_out")


def maxout_backward(grad_output: Any, index: Any, num_pieces: int, axis: int, out: Any) -> Any:
    """`nbgrad.kernels.rowwise.maxout_backward`"""
    from nbgrad.cuda import maxout as cuda_maxout

    with Call(grad_output=grad_output, index=index, out=out) as call:
        g, winners = call.float("grad_output"), _integers(call, "index")
        if winners.dtype.kind not in "iu":
            raise TypeError(f"index: expected integers, got {winners.dtype}")
        if winners.shape != g.shape:
            raise ValueError(f"index: expected grad_output's shape {g.shape}, got {winners.shape}")
        axis = normalize_axis(axis, g.ndim)
        shape = g.shape[:axis] + (g.shape[axis] * num_pieces,) + g.shape[axis + 1 :]
        place, watch = call.out(shape, g.dtype), alarm(call, "index")
        flag, inner = watch.arm(f"0..{num_pieces - 1}"), max(1, math.prod(shape[axis + 1 :]))
        flat = call.contiguous(g, g.shape)
        places = call.contiguous(winners.astype(call.xp.int64, copy=False), g.shape)
        dx = call.room(place, shape, g.dtype, flat, places, in_place=False)
        _launch_each(
            call, cuda_maxout.maxout_backward(g.dtype), g.size, flat, places, num_pieces, inner, flag, dx.reshape(-1)
        )
        watch.look()
        return call.result(dx, place)
