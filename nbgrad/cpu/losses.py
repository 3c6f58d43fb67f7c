"""Losses of an input and a target, added up: arrays through the loops of `nbgrad.cpu.elementwise`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import FLOAT64
from nbgrad.cpu import elementwise
from nbgrad.cpu.arrays import flat
from nbgrad.cpu.sums.add_up import add_up
from nbgrad.formulas.table import Elementwise

__all__ = ["loss_sum", "mean_scale", "scaled_sum"]


def mean_scale(mean: bool, count: float) -> float:
    """What the sum of the losses is multiplied by; nan for the mean of nothing."""
    return (1 / count if count else np.nan) if mean else 1.0


def scaled_sum(losses: NDArray[Any], scale: float, dtype: np.dtype[Any]) -> Any:
    """Their sum, made in float64, times ``scale``; inf where that is too large for ``dtype`` (the kernels do
    not warn).
    """
    total = float(add_up(losses, dtype=FLOAT64)) * scale
    if 1e-30 < abs(total) < 1e30:  # raises no flag in either precision
        return dtype.type(total)
    with np.errstate(all="ignore"):  # 0.7 µs
        return dtype.type(total)


def loss_sum(
    op: Elementwise, x: NDArray[Any], target: NDArray[Any], parameters: tuple[Any, ...], mean: bool, grad: bool,
    grad_out: Any,
) -> tuple[Any, Any]:  # fmt: skip
    """(sum or mean of the losses, its gradient where ``grad``), in one pass."""
    inputs, scale = (flat(x), flat(target)), mean_scale(mean, x.size)
    partial = np.empty(-(-x.size // elementwise.BLOCK))
    if not grad:
        elementwise.loss_sums(op)(x.size, *inputs, partial, *parameters)
        return scaled_sum(partial, scale, x.dtype), None
    direct = grad_out is not None and grad_out.flags.carray and grad_out.dtype.isnative
    direct = direct and not (np.may_share_memory(grad_out, x) or np.may_share_memory(grad_out, target))
    gradient = grad_out if direct else np.empty(x.shape, x.dtype)
    loop = elementwise.loss_sums_and_grad(op)
    loop(x.size, *inputs, partial, gradient.ravel(), x.dtype.type(scale), *parameters)
    return scaled_sum(partial, scale, x.dtype), gradient
