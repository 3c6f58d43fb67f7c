"""Losses on arrays: the value, and value and gradient in one pass. Formulas: `nbgrad.formulas` and
`nbgrad.formulas.rows`.

Rules they share:

* The first argument (``input`` or ``logits``) decides the precision: float32 or float64; integers and bools
  are computed in float64. The loss is a NumPy scalar of that dtype, or an array for ``reduction="none"``.
* ``reduction``: "mean" (the default; the mean of nothing is nan), "sum" or "none".
* ``..._value_and_grad(..., grad_out=None)`` returns ``(loss, gradient in the first argument)``. For "mean"
  and "sum" it is the gradient of the loss itself; for "none" that of the sum of the losses. It is written to
  ``grad_out`` if given. ``out`` takes the losses of ``reduction="none"``.
* Sums are made in float64, in blocks of fixed size: the same result for any number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import (
    FLOAT64,
    REDUCTIONS,
    as_float,
    check_choice,
    check_number,
    contiguous,
    on_device,
    output,
    store,
)
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import LOSSES, Elementwise
from nbgrad.kernels import device_losses
from nbgrad.kernels.elementwise import run
from nbgrad.sums import add_up

__all__ = [
    "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_value_and_grad", "huber_loss",
    "huber_loss_value_and_grad", "l1_loss", "l1_loss_value_and_grad", "mse_loss", "mse_loss_value_and_grad",
]  # fmt: skip


def _matching(value: Any, x: NDArray[Any], name: str, first: str) -> NDArray[Any]:
    """A second argument in the first one's precision, broadcast to its shape."""
    array = as_float(value, name).astype(x.dtype, copy=False)
    if array.shape != x.shape:
        try:
            array = np.broadcast_to(array, x.shape)
        except ValueError:
            raise ValueError(
                f"{name}: expected a shape that broadcasts to {first}'s {x.shape}, got {array.shape}"
            ) from None
    return array


def check_outputs(x: NDArray[Any], shape: tuple[int, ...], reduction: str, out: Any, grad_out: Any) -> None:
    """Refuse an ``out`` for the losses (of this shape) or a ``grad_out`` that cannot take them."""
    if out is not None:
        if reduction != "none":
            raise ValueError(f'out: expected reduction="none", which returns an array, got {reduction!r}')
        output(out, shape, x.dtype)
    if grad_out is not None:
        output(grad_out, x.shape, x.dtype, "grad_out")
        if out is not None and np.may_share_memory(out, grad_out):
            raise ValueError("grad_out: expected memory of its own, got an array that overlaps out")


def mean_scale(reduction: str, count: float) -> float:
    """What the sum of the losses is multiplied by; nan for the mean of nothing."""
    return (1 / count if count else np.nan) if reduction == "mean" else 1.0


def scaled_sum(losses: NDArray[Any], scale: float, dtype: np.dtype[Any]) -> Any:
    """Their sum, made in float64, times ``scale``; inf where that is too large for ``dtype`` (the kernels do
    not warn).
    """
    with np.errstate(all="ignore"):
        return dtype.type(add_up(losses, dtype=FLOAT64) * scale)


def _loss(
    op: Elementwise, first: str, x: Any, target: Any, reduction: str, parameters: dict[str, Any], *,
    weight: Any = None, grad: bool = False, out: Any = None, grad_out: Any = None,
) -> Any:  # fmt: skip
    check_choice(reduction, "reduction", REDUCTIONS)
    if on_device(x, target, weight, out, grad_out):
        return device_losses.loss(op, first, x, target, reduction, parameters, weight, grad, out, grad_out)
    x = as_float(x, first)
    target = _matching(target, x, "target", first)
    check_outputs(x, x.shape, reduction, out, grad_out)
    numbers = tuple(check_number(v, name, x.dtype, op.ranges.get(name, "")) for name, v in parameters.items())
    if reduction == "none" or weight is not None:
        loss, gradient = (
            run(cpu.loss(op, d), [x, target], x.shape, x.dtype, None, numbers) for d in (False, True)
        )
        return _reduced(loss, gradient, x, weight, reduction, grad, out, grad_out)
    flat = [contiguous(a).reshape(-1) for a in (x, target)]
    partial = np.empty(-(-x.size // cpu.BLOCK))
    scale = mean_scale(reduction, x.size)
    if not grad:
        cpu.loss_sums(op)(x.size, *flat, partial, *numbers)
        return scaled_sum(partial, scale, x.dtype)
    direct = grad_out is not None and grad_out.flags.carray and grad_out.dtype.isnative
    direct = direct and not any(np.may_share_memory(grad_out, a) for a in (x, target))
    gradient = grad_out if direct else np.empty(x.shape, x.dtype)
    cpu.loss_sums_and_grad(op)(x.size, *flat, partial, gradient.reshape(-1), x.dtype.type(scale), *numbers)
    return scaled_sum(partial, scale, x.dtype), store(gradient, grad_out)


def _reduced(
    loss: Any, gradient: Any, x: NDArray[Any], weight: Any, reduction: str, grad: bool, out: Any, grad_out: Any
) -> Any:
    """The general way, in several passes: elementwise loss and gradient are there; weigh and reduce them."""
    with np.errstate(all="ignore"):
        if weight is not None:
            weight = _matching(weight, x, "weight", "logits")
            loss, gradient = loss * weight, gradient * weight
        if reduction != "none":
            scale = mean_scale(reduction, x.size)
            loss, gradient = scaled_sum(loss, scale, x.dtype), gradient * x.dtype.type(scale)
    value = store(np.asarray(loss), out) if reduction == "none" else loss
    return (value, store(np.asarray(gradient), grad_out)) if grad else value


def mse_loss(input: Any, target: Any, *, reduction: str = "mean", out: Any = None) -> Any:
    """Squared error (input − target)², averaged.

    Derivative: 2(input − target); smooth. ``target`` broadcasts to input's shape.

    Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805).

    >>> import numpy as np
    >>> mse_loss(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    np.float64(2.5)
    """
    return _loss(LOSSES["squared_error"], "input", input, target, reduction, {}, out=out)


def mse_loss_value_and_grad(
    input: Any, target: Any, *, reduction: str = "mean", out: Any = None, grad_out: Any = None
) -> tuple[Any, Any]:
    """`mse_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> mse_loss_value_and_grad(np.array([1.0, 2.0]), 0.0)
    (np.float64(2.5), array([1., 2.]))
    """
    return _loss(LOSSES["squared_error"], "input", input, target, reduction, {}, grad=True, out=out, grad_out=grad_out)


def l1_loss(input: Any, target: Any, *, reduction: str = "mean", out: Any = None) -> Any:
    """Absolute error |input − target|, averaged.

    Derivative: sign(input − target), 0 at the kink input = target (as PyTorch).

    Source: R. J. Boscovich (1757); see S. M. Stigler, The History of Statistics (1986), chapter 1.

    >>> import numpy as np
    >>> l1_loss(np.array([1.0, -2.0]), np.array([0.0, 0.0]))
    np.float64(1.5)
    """
    return _loss(LOSSES["absolute_error"], "input", input, target, reduction, {}, out=out)


def l1_loss_value_and_grad(
    input: Any, target: Any, *, reduction: str = "mean", out: Any = None, grad_out: Any = None
) -> tuple[Any, Any]:
    """`l1_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> l1_loss_value_and_grad(np.array([1.0, -2.0]), 0.0)
    (np.float64(1.5), array([ 0.5, -0.5]))
    """
    return _loss(
        LOSSES["absolute_error"], "input", input, target, reduction, {}, grad=True, out=out, grad_out=grad_out
    )


def huber_loss(input: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean", out: Any = None) -> Any:
    """½d² for d = |input − target| ≤ delta, else delta·(d − ½delta); averaged.

    Derivative: input − target, clipped to ±delta; continuous. ``delta`` > 0, else ValueError.

    Source: P. J. Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964) 73.

    >>> import numpy as np
    >>> huber_loss(np.array([1.0, -3.0]), np.array([0.0, 0.0]))
    np.float64(1.5)
    """
    return _loss(LOSSES["huber"], "input", input, target, reduction, {"delta": delta}, out=out)


def huber_loss_value_and_grad(
    input: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean", out: Any = None, grad_out: Any = None
) -> tuple[Any, Any]:
    """`huber_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> huber_loss_value_and_grad(np.array([1.0, -3.0]), 0.0)
    (np.float64(1.5), array([ 0.5, -0.5]))
    """
    return _loss(
        LOSSES["huber"], "input", input, target, reduction, {"delta": delta}, grad=True, out=out, grad_out=grad_out
    )


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean",
    out: Any = None,
) -> Any:
    """weight · [−pos_weight·t·ln σ(x) − (1 − t)·ln(1 − σ(x))], averaged over all elements.

    Derivative: weight · [(1 − t)·σ(x) − pos_weight·t·σ(−x)]; smooth. Both tails are computed as sums of
    positive terms: no overflow, and a sure prediction keeps its digits. ``target`` in 0..1; ``weight``,
    ``pos_weight`` and ``target`` broadcast to logits' shape.

    Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.

    >>> import numpy as np
    >>> float(binary_cross_entropy_with_logits(np.array([1000.0, -1000.0]), np.array([1.0, 0.0])))
    0.0
    """
    return _bce(logits, target, weight, pos_weight, reduction, out=out)


def binary_cross_entropy_with_logits_value_and_grad(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    pos_weight: Any = None,
    reduction: str = "mean",
    out: Any = None,
    grad_out: Any = None,
) -> tuple[Any, Any]:
    """`binary_cross_entropy_with_logits` and its gradient in ``logits``.

    >>> import numpy as np
    >>> binary_cross_entropy_with_logits_value_and_grad(np.array([0.0]), np.array([1.0]))
    (np.float64(0.6931471805599453), array([-0.5]))
    """
    return _bce(logits, target, weight, pos_weight, reduction, grad=True, out=out, grad_out=grad_out)


def _bce(
    logits: Any,
    target: Any,
    weight: Any,
    pos_weight: Any,
    reduction: str,
    *,
    grad: bool = False,
    out: Any = None,
    grad_out: Any = None,
) -> Any:
    op = LOSSES["binary_cross_entropy_with_logits"]
    if on_device(pos_weight):
        check_choice(reduction, "reduction", REDUCTIONS)
        return device_losses.bce_of_arrays(
            op, logits, target, weight, pos_weight, reduction, grad, out, grad_out
        )
    if pos_weight is None or np.ndim(pos_weight) == 0:
        number = 1.0 if pos_weight is None else as_float(pos_weight, "pos_weight").item()
        parameters = {"pos_weight": number}
        return _loss(
            op, "logits", logits, target, reduction, parameters,
            weight=weight, grad=grad, out=out, grad_out=grad_out,
        )  # fmt: skip
    check_choice(reduction, "reduction", REDUCTIONS)
    x = as_float(logits, "logits")
    t, p = _matching(target, x, "target", "logits"), _matching(pos_weight, x, "pos_weight", "logits")
    check_outputs(x, x.shape, reduction, out, grad_out)
    one = x.dtype.type(1)

    def weighted(derivative: bool) -> NDArray[Any]:  # p·t·(loss for t = 1) + (1 − t)·(loss for t = 0)
        at_one, at_zero = (
            run(cpu.loss(op, derivative), [x, np.full_like(x, label)], x.shape, x.dtype, None, (one,))
            for label in (1, 0)
        )
        zero = np.zeros_like(x)  # a term with factor 0 is absent, also where it is infinite
        return np.multiply(p * t, at_one, out=zero.copy(), where=t != 0) + np.multiply(
            one - t, at_zero, out=zero, where=t != 1
        )

    return _reduced(weighted(False), weighted(True), x, weight, reduction, grad, out, grad_out)
