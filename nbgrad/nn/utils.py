"""What is done to the gradients of a network between `backward()` and the optimiser's step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from nbgrad.autograd.devices import move, on_cpu
from nbgrad.autograd.tape import mode, note_mutation
from nbgrad.autograd.tensor import Tensor, tensor, wrap

__all__ = ["clip_grad_norm_"]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale the gradients of tensors, in place, so that the norm of all together is at most about `max_norm`.

    The factor is min(1, max_norm/(norm + 1e-6)), as PyTorch's. The norm is that of the gradients' norms: with
    `norm_type` p it is (Σ|g|ᵖ)^(1/p) of all elements, with inf ("inf" too) their greatest magnitude, with 0
    the number of gradients that are not 0. It is computed in float64, and neither overflows nor underflows on
    the way. Returns it as it was before, float64, of no dimension. A GPU is waited for.

    RuntimeError, with nothing changed, where `error_if_nonfinite` and the norm is infinite or NaN; otherwise
    an infinite norm scales by 0, and a NaN makes NaN of all.

    Returns
    -------
    Tensor
        The norm before it was clipped.

    Examples
    --------
    >>> import nbgrad
    >>> w = nbgrad.tensor([0.0, 0.0], requires_grad=True)
    >>> w.grad = nbgrad.tensor([3.0, 4.0])
    >>> clip_grad_norm_(w, max_norm=1.0)
    tensor(5., dtype=float64)
    >>> w.grad.numpy().round(4)
    array([0.6, 0.8], dtype=float32)
    """
    if not isinstance(parameters, Iterable):
        raise TypeError(f"parameters: expected tensors, got {type(parameters).__name__}")
    tensors = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    for one in tensors:
        if not isinstance(one, Tensor):
            raise TypeError(f"parameters: expected tensors, got {type(one).__name__}")
    most, order = _number("max_norm", max_norm), _number("norm_type", norm_type)
    if not most >= 0:
        raise ValueError(f"max_norm: expected a number of at least 0, got {max_norm}")
    if math.isnan(order):
        raise ValueError(f"norm_type: expected a number, got {norm_type}")
    grads = [one.grad._own() for one in tensors if one.grad is not None]
    for grad in grads:
        if on_cpu(grad) and not grad.flags.writeable:
            raise ValueError("parameters: expected gradients that can be written, got a read-only one")
    if mode.recorder is not None:  # on a GPU refused: what it does depends on the norm
        return wrap(mode.recorder.run(_clip, [grads, most, order, error_if_nonfinite], grads))
    return tensor(_clip(grads, most, order, error_if_nonfinite))


def _clip(grads: list[Any], most: float, order: float, error_if_nonfinite: bool) -> np.float64:
    norm = _norm(np.array([_norm(move(grad, "cpu"), order) for grad in grads if grad.size]), order)
    if error_if_nonfinite and not math.isfinite(norm):
        raise RuntimeError(f"parameters: expected gradients with a finite norm of order {order}, got {norm}")
    if not most / (norm + 1e-6) >= 1:
        with np.errstate(all="ignore"):
            for grad in grads:  # divided first: the factor itself may underflow
                grad[...] = grad.astype(np.float64) / (norm + 1e-6) * most
                note_mutation(grad)
    return np.float64(norm)


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected a number, got {value!r}") from None


def _norm(values: Any, order: float) -> float:
    """The norm of an array's elements, each divided by the one of most weight, so that no power leaves float64."""
    if not values.size:
        return 0.0
    values = np.abs(values.astype(np.float64))
    if math.isnan(values.max()):
        return math.nan
    if order == 0:
        return float(np.count_nonzero(values))
    scale = float(values.max() if order > 0 else values.min())
    if math.isinf(order) or scale == 0 or math.isinf(scale):
        return scale
    with np.errstate(all="ignore"):
        return scale * float(np.sum((values / scale) ** order) ** (1 / order))
