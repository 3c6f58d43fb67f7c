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

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arguments import REDUCTIONS, check_choice, check_number
from nbgrad.arrays import as_float, on_device
from nbgrad.formulas.losses import dt_binary_cross_entropy_of_weights
from nbgrad.formulas.table import LOSSES, Loss
from nbgrad.place import CPU, place_of
from nbgrad.typing import F, Floats, Out

__all__ = [
    "binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits_value_and_grad", "huber_loss",
    "huber_loss_value_and_grad", "l1_loss", "l1_loss_value_and_grad", "mse_loss", "mse_loss_value_and_grad",
]  # fmt: skip


def _matching(place: Any, value: Any, x: Any, name: str, first: str) -> Any:
    """A second argument in the first one's precision, broadcast to its shape."""
    array = place.cast(place.as_float(value, name), x.dtype)
    if array.shape != x.shape:
        try:
            array = place.xp.broadcast_to(array, x.shape)
        except ValueError:
            raise ValueError(
                f"{name}: expected a shape that broadcasts to {first}'s {x.shape}, got {array.shape}"
            ) from None
    return array


def check_outputs(
    place: Any, x: Any, shape: tuple[int, ...], reduction: str, out: Any, grad_out: Any
) -> tuple[Any, Any]:
    """``out`` for the losses (of this shape) and ``grad_out``, checked."""
    if out is not None and reduction != "none":
        raise ValueError(f'out: expected reduction="none", which returns an array, got {reduction!r}')
    if out is None and grad_out is None:
        return None, None
    out, grad_out = place.out(out, shape, x.dtype), place.out(grad_out, x.shape, x.dtype, "grad_out")
    if out is not None and grad_out is not None and place.overlap(out, grad_out):
        raise ValueError("grad_out: expected memory of its own, got an array that overlaps out")
    return out, grad_out


def results(place: Any, value: Any, gradient: Any, out: Any, grad_out: Any) -> Any:
    """The losses, or their sum or mean, and the gradient where there is one, as the caller gets them."""
    value = place.result(value, out)
    return value if gradient is None else (value, place.result(gradient, grad_out, "grad_out"))


def _numbers(op: Loss, parameters: dict[str, Any], dtype: Any) -> tuple[Any, ...]:
    return tuple(check_number(v, name, dtype, op.ranges.get(name, "")) for name, v in parameters.items())


def _loss(
    op: Loss,
    x: Any,
    target: Any,
    reduction: str,
    parameters: dict[str, Any],
    *,
    weight: Any = None,
    grad: bool = False,
    out: Any = None,
    grad_out: Any = None,
) -> Any:
    check_choice(reduction, "reduction", REDUCTIONS)
    first = op.input
    plain = weight is out is grad_out is None and type(x) is type(target) is np.ndarray  # half a microsecond less
    with CPU if plain else place_of(**{first: x}, target=target, weight=weight, out=out, grad_out=grad_out) as place:
        x = place.as_float(x, first)
        target = _matching(place, target, x, "target", first)
        out, grad_out = check_outputs(place, x, x.shape, reduction, out, grad_out)
        numbers = _numbers(op, parameters, x.dtype) if parameters else ()
        if reduction == "none" or weight is not None:
            loss, gradient = (
                place.elementwise(part, op, [x, target], x.shape, None, numbers) if wanted else None
                for part, wanted in (("loss", True), ("loss_slope", grad))
            )
            return _reduced(place, loss, gradient, x, weight, reduction, out, grad_out)
        value, gradient = place.loss_sum(op, x, target, numbers, reduction == "mean", grad, grad_out)
        return results(place, value, gradient, None, grad_out)


def _reduced(place: Any, loss: Any, gradient: Any, x: Any, weight: Any, reduction: str, out: Any, grad_out: Any) -> Any:
    """The general way, in several passes: elementwise loss and gradient are there; weigh and reduce them."""
    with place.quiet():
        if weight is not None:
            weight = _matching(place, weight, x, "weight", "logits")
            loss, gradient = loss * weight, None if gradient is None else gradient * weight
        if reduction == "none":
            return results(place, loss, gradient, out, grad_out)
        mean = reduction == "mean"
        if gradient is not None and mean and x.size:
            gradient = gradient * x.dtype.type(1 / x.size)
        return results(place, place.total(loss, mean), gradient, None, grad_out)


#: With a pos_weight for each element, which stands in the target's place.
_OF_WEIGHTS = replace(
    LOSSES["binary_cross_entropy_with_logits"], parameters={}, target_derivative=dt_binary_cross_entropy_of_weights
)


def target_slopes(op: Loss, x: Any, target: Any, parameters: dict[str, Any]) -> Any:
    """The derivative of each element's loss in its target, where that is not the negative of the one in the input. For
    the functions on Tensors.
    """
    second = "target"
    if "pos_weight" in parameters:
        number = _as_number(parameters["pos_weight"])
        if number is None:
            op, second, target, parameters = _OF_WEIGHTS, "pos_weight", parameters["pos_weight"], {}
        else:
            parameters = {"pos_weight": number}
    with place_of(**{op.input: x, second: target}) as place:
        x = place.as_float(x, op.input)
        target = _matching(place, target, x, second, op.input)
        numbers = _numbers(op, parameters, x.dtype)
        return place.result(place.elementwise("loss_target_slope", op, [x, target], x.shape, None, numbers), None)


def mse_loss(input: Floats[F], target: Floats[F], *, reduction: str = "mean", out: Out[F] = None) -> Any:
    """Squared error (input − target)², averaged.

    Derivative: 2(input − target); smooth. ``target`` broadcasts to input's shape.

    Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805).

    >>> import numpy as np
    >>> mse_loss(np.array([1.0, 2.0]), np.array([0.0, 0.0]))
    np.float64(2.5)
    """
    return _loss(LOSSES["squared_error"], input, target, reduction, {}, out=out)


def mse_loss_value_and_grad(
    input: Floats[F], target: Floats[F], *, reduction: str = "mean", out: Out[F] = None, grad_out: Out[F] = None
) -> tuple[Any, NDArray[F]]:
    """`mse_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> mse_loss_value_and_grad(np.array([1.0, 2.0]), 0.0)
    (np.float64(2.5), array([1., 2.]))
    """
    return _loss(LOSSES["squared_error"], input, target, reduction, {}, grad=True, out=out, grad_out=grad_out)


def l1_loss(input: Floats[F], target: Floats[F], *, reduction: str = "mean", out: Out[F] = None) -> Any:
    """Absolute error |input − target|, averaged.

    Derivative: sign(input − target), 0 at the kink input = target (as PyTorch).

    Source: R. J. Boscovich (1757); see S. M. Stigler, The History of Statistics (1986), chapter 1.

    >>> import numpy as np
    >>> l1_loss(np.array([1.0, -2.0]), np.array([0.0, 0.0]))
    np.float64(1.5)
    """
    return _loss(LOSSES["absolute_error"], input, target, reduction, {}, out=out)


def l1_loss_value_and_grad(
    input: Floats[F], target: Floats[F], *, reduction: str = "mean", out: Out[F] = None, grad_out: Out[F] = None
) -> tuple[Any, NDArray[F]]:
    """`l1_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> l1_loss_value_and_grad(np.array([1.0, -2.0]), 0.0)
    (np.float64(1.5), array([ 0.5, -0.5]))
    """
    return _loss(LOSSES["absolute_error"], input, target, reduction, {}, grad=True, out=out, grad_out=grad_out)


def huber_loss(
    input: Floats[F], target: Floats[F], *, delta: float = 1.0, reduction: str = "mean", out: Out[F] = None
) -> Any:
    """½d² for d = |input − target| ≤ delta, else delta·(d − ½delta); averaged.

    Derivative: input − target, clipped to ±delta; continuous. ``delta`` > 0, else ValueError.

    Source: P. J. Huber, Robust estimation of a location parameter, Ann. Math. Statist. 35 (1964) 73.

    >>> import numpy as np
    >>> huber_loss(np.array([1.0, -3.0]), np.array([0.0, 0.0]))
    np.float64(1.5)
    """
    return _loss(LOSSES["huber"], input, target, reduction, {"delta": delta}, out=out)


def huber_loss_value_and_grad(
    input: Floats[F],
    target: Floats[F],
    *,
    delta: float = 1.0,
    reduction: str = "mean",
    out: Out[F] = None,
    grad_out: Out[F] = None,
) -> tuple[Any, NDArray[F]]:
    """`huber_loss` and its gradient in ``input``.

    >>> import numpy as np
    >>> huber_loss_value_and_grad(np.array([1.0, -3.0]), 0.0)
    (np.float64(1.5), array([ 0.5, -0.5]))
    """
    return _loss(LOSSES["huber"], input, target, reduction, {"delta": delta}, grad=True, out=out, grad_out=grad_out)


def binary_cross_entropy_with_logits(
    logits: Floats[F],
    target: Floats[F],
    *,
    weight: Floats[F] | None = None,
    pos_weight: Floats[F] | None = None,
    reduction: str = "mean",
    out: Out[F] = None,
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
    logits: Floats[F],
    target: Floats[F],
    *,
    weight: Floats[F] | None = None,
    pos_weight: Floats[F] | None = None,
    reduction: str = "mean",
    out: Out[F] = None,
    grad_out: Out[F] = None,
) -> tuple[Any, NDArray[F]]:
    """`binary_cross_entropy_with_logits` and its gradient in ``logits``.

    >>> import numpy as np
    >>> binary_cross_entropy_with_logits_value_and_grad(np.array([0.0]), np.array([1.0]))
    (np.float64(0.6931471805599453), array([-0.5]))
    """
    return _bce(logits, target, weight, pos_weight, reduction, grad=True, out=out, grad_out=grad_out)


def _as_number(pos_weight: Any) -> float | None:
    """``pos_weight`` where it is one number, or none: 1."""
    if pos_weight is None:
        return 1.0
    if on_device(pos_weight) or np.ndim(pos_weight) > 0:
        return None
    number: float = as_float(pos_weight, "pos_weight").item()
    return number


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
    op, number = LOSSES["binary_cross_entropy_with_logits"], _as_number(pos_weight)
    if number is not None:
        return _loss(
            op, logits, target, reduction, {"pos_weight": number},
            weight=weight, grad=grad, out=out, grad_out=grad_out,
        )  # fmt: skip
    check_choice(reduction, "reduction", REDUCTIONS)
    with place_of(
        logits=logits, target=target, weight=weight, pos_weight=pos_weight, out=out, grad_out=grad_out
    ) as place:
        x = place.as_float(logits, "logits")
        t, p = (_matching(place, v, x, name, "logits") for name, v in (("target", target), ("pos_weight", pos_weight)))
        out, grad_out = check_outputs(place, x, x.shape, reduction, out, grad_out)
        xp, zero, one = place.xp, x.dtype.type(0), x.dtype.type(1)
        labels = xp.ones_like(x), xp.zeros_like(x)

        def weighted(part: str) -> Any:  # p·t·(loss for t = 1) + (1 − t)·(loss for t = 0)
            at_one, at_zero = (place.elementwise(part, op, [x, label], x.shape, None, (one,)) for label in labels)
            # a term with factor 0 is absent, also where it is infinite
            return xp.where(t != 0, p * t * at_one, zero) + xp.where(t != 1, (one - t) * at_zero, zero)

        with place.quiet():
            loss, gradient = weighted("loss"), weighted("loss_slope") if grad else None
        return _reduced(place, loss, gradient, x, weight, reduction, out, grad_out)
