"""The losses of an input and a target on CUDA arrays: `nbgrad.kernels.losses`, on the device.

The loss is an array of no dimension there: for a number the host would have to wait.
"""

from __future__ import annotations

from typing import Any

from nbgrad.arrays import check_number
from nbgrad.formulas.table import Elementwise
from nbgrad.kernels.device import Call, elementwise

__all__ = ["bce_of_arrays", "loss", "outputs", "put", "put_sum"]


def matching(call: Call, name: str, x: Any, first: str) -> Any:
    """A second argument in the first one's precision, broadcast to its shape."""
    array = call.cast(call.float(name), x.dtype)
    try:
        return call.xp.broadcast_to(array, x.shape)
    except ValueError:
        raise ValueError(
            f"{name}: expected a shape that broadcasts to {first}'s {x.shape}, got {array.shape}"
        ) from None


def outputs(call: Call, x: Any, shape: tuple[int, ...], reduction: str) -> tuple[Any, Any]:
    """``out`` for the losses (of this shape) and ``grad_out``, checked."""
    if "out" in call.values and reduction != "none":
        raise ValueError(f'out: expected reduction="none", which returns an array, got {reduction!r}')
    out, grad_out = call.out(shape, x.dtype), call.out(x.shape, x.dtype, "grad_out")
    if out is not None and grad_out is not None and call.overlap(out, grad_out):
        raise ValueError("grad_out: expected memory of its own, got an array that overlaps out")
    return out, grad_out


def put(call: Call, losses: Any, gradient: Any, out: Any, grad_out: Any) -> Any:
    """Losses, and their gradient where there is one, as the caller gets them."""
    value = call.result(losses, out)
    return value if gradient is None else (value, call.result(gradient, grad_out, "grad_out"))


def put_sum(call: Call, losses: Any, gradient: Any, mean: bool, divisor: Any, grad_out: Any) -> Any:
    """The same of their sum or mean (over ``divisor`` where that is not empty, else over their number)."""
    from nbgrad.cuda import losses as cuda_losses

    flat = call.contiguous(losses, losses.shape)
    value = cuda_losses.array_sum(flat, float(flat.size) if mean else 1.0, divisor)
    return put(call, value, gradient, None, grad_out)


def loss(
    op: Elementwise, first: str, x: Any, target: Any, reduction: str, parameters: dict[str, Any], weight: Any,
    grad: bool, out: Any, grad_out: Any,
) -> Any:  # fmt: skip
    """`nbgrad.kernels.losses._loss`"""
    from nbgrad.cuda import elementwise as cuda_elementwise
    from nbgrad.cuda import losses as cuda_losses

    arguments = {first: x, "target": target, "weight": weight, "out": out, "grad_out": grad_out}
    with Call(**arguments) as call:
        array = call.float(first)
        t = matching(call, "target", array, first)
        place, grad_place = outputs(call, array, array.shape, reduction)
        numbers = tuple(check_number(v, name, array.dtype, op.ranges.get(name, "")) for name, v in parameters.items())
        if reduction == "none" or weight is not None:
            losses, gradient = (
                elementwise(
                    call, cuda_elementwise.loss(op, d, array.dtype), [array, t], array.shape, None, numbers
                )
                if grad or not d
                else None
                for d in (False, True)
            )
            return _reduced(call, losses, gradient, array, reduction, place, grad_place)
        flat = [call.contiguous(a, array.shape) for a in (array, t)]
        gradient, mean = None, reduction == "mean"
        if grad:
            gradient = call.room(grad_place, array.shape, array.dtype, *flat, in_place=False)
        flat_gradient = None if gradient is None else gradient.reshape(-1)
        value = cuda_losses.loss_sum(op, flat[0], flat[1], flat_gradient, mean, numbers)
        return put(call, value, gradient, None, grad_place)


def _reduced(
    call: Call, losses: Any, gradient: Any, x: Any, reduction: str, out: Any, grad_out: Any
) -> Any:
    """The general way, in several passes: elementwise loss and gradient are there; weigh and reduce them."""
    from nbgrad.cuda import losses as cuda_losses

    with call.quiet():
        if "weight" in call.values:
            weight = matching(call, "weight", x, "logits")
            losses, gradient = losses * weight, None if gradient is None else gradient * weight
        if reduction == "none":
            return put(call, losses, gradient, out, grad_out)
        mean = reduction == "mean"
        if gradient is not None and mean and x.size:
            gradient = gradient * x.dtype.type(1 / x.size)
    return put_sum(call, losses, gradient, mean, cuda_losses.no_divisor(x.dtype), grad_out)


def bce_of_arrays(
    op: Elementwise, logits: Any, target: Any, weight: Any, pos_weight: Any, reduction: str, grad: bool, out: Any,
    grad_out: Any,
) -> Any:  # fmt: skip
    """`nbgrad.kernels.losses._bce` with an array of ``pos_weight``."""
    from nbgrad.cuda import elementwise as cuda_elementwise

    arguments = {
        "logits": logits, "target": target, "weight": weight, "pos_weight": pos_weight, "out": out,
        "grad_out": grad_out,
    }  # fmt: skip
    with Call(**arguments) as call:
        x = call.float("logits")
        t, p = matching(call, "target", x, "logits"), matching(call, "pos_weight", x, "logits")
        place, grad_place = outputs(call, x, x.shape, reduction)
        xp, one = call.xp, x.dtype.type(1)

        def weighted(derivative: bool) -> Any:  # p·t·(loss for t = 1) + (1 − t)·(loss for t = 0)
            compiled = cuda_elementwise.loss(op, derivative, x.dtype)
            at_one, at_zero = (
                elementwise(call, compiled, [x, xp.full_like(x, label)], x.shape, None, (one,)) for label in (1, 0)
            )
            zero = x.dtype.type(0)  # a term with factor 0 is absent, also where it is infinite
            return xp.where(t != 0, p * t * at_one, zero) + xp.where(t != 1, (one - t) * at_zero, zero)

        with call.quiet():
            losses, gradient = weighted(False), weighted(True) if grad else None
        return _reduced(call, losses, gradient, x, reduction, place, grad_place)
