"""Second derivatives of the regression objectives: exact products of the Hessian with a vector, in one pass over the
data, and whole Hessians where the parameters are few (a pass for each of them).

Arguments, shapes, dtypes and errors are those of `nbgrad.regression.objectives`; ``v`` has the shape of ``params``, and
so has the product. A Hessian has a row and a column for each number of ``params``, flattened. For many products at the
same params `nbgrad.regression.Problem.hessian` keeps what depends on params alone.

The Hessian of all of them is Σ weight·f''(s)·x̃x̃ᵀ / Σ weight + l2·(1, intercepts 0), x̃ being x·``x_scale`` with a 1 for
the intercept, f the loss of a score s.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import as_float, on_device
from nbgrad.regression import data
from nbgrad.regression.problem import Problem

__all__ = [
    "linear_hessian", "linear_hessp", "logistic_hessian", "logistic_hessp", "logistic_mse_hessian",
    "logistic_mse_hessp", "softmax_hessian", "softmax_hessp",
]  # fmt: skip


def _hessp(model: str, params: Any, v: Any, X: Any, y: Any, **options: Any) -> NDArray[Any]:
    if on_device(params):  # they stay there
        return Problem(model, X, y, dtype=data.dtype_of(params), **options).hessp(params, v)
    params = as_float(params, "params")
    product = Problem(model, X, y, dtype=params.dtype, **options).hessp(params, v)
    with np.errstate(all="ignore"):
        return product.astype(params.dtype, copy=False)


def _hessian(model: str, params: Any, X: Any, y: Any, **options: Any) -> NDArray[Any]:
    params = as_float(params, "params")
    operator = Problem(model, X, y, dtype=params.dtype, **options).hessian(params)
    with np.errstate(all="ignore"):
        matrix = operator @ np.eye(params.size)
        return ((matrix + matrix.T) / 2).astype(params.dtype, copy=False)


def linear_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `linear_value_and_grad` at ``params`` times ``v``.

    Half the squared residual: f'' = 1. Neither ``params`` nor ``y`` change the product.

    >>> linear_hessp(np.array([1.0, 0.5]), np.array([1.0, 0.0]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
    array([2.5, 1.5])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessp("linear", params, v, X, y, **options)


def linear_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `linear_value_and_grad` at ``params``: `linear_hessp` of each unit vector.

    >>> linear_hessian(np.array([1.0, 0.5]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
    array([[2.5, 1.5],
           [1.5, 1. ]])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessian("linear", params, X, y, **options)


def logistic_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `logistic_value_and_grad` at ``params`` times ``v``.

    Cross-entropy of a logistic score: f'' = σ'(s), from both tails: it is not 0 where σ(s) rounds to 1.

    >>> logistic_hessp(np.zeros(2), np.array([1.0, 0.0]), np.array([[1.0], [2.0]]), np.array([0, 1]))
    array([0.625, 0.375])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessp("logistic", params, v, X, y, **options)


def logistic_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `logistic_value_and_grad` at ``params``: `logistic_hessp` of each unit vector.

    >>> logistic_hessian(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    array([[0.625, 0.375],
           [0.375, 0.25 ]])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessian("logistic", params, X, y, **options)


def logistic_mse_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `logistic_mse_value_and_grad` at ``params`` times ``v``.

    Squared error of a logistic score: f'' = 2σ(z)σ'(z)(2 − 3σ(z)) at z, which is the score s for y = 0, −s for y = 1.
    It is negative where the model is sure and wrong.

    >>> logistic_mse_hessp(np.zeros(2), np.array([1.0, 0.0]), np.array([[1.0], [2.0]]), np.array([0, 1]))
    array([0.3125, 0.1875])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessp("logistic_mse", params, v, X, y, **options)


def logistic_mse_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `logistic_mse_value_and_grad` at ``params``: `logistic_mse_hessp` of each unit vector.

    >>> logistic_mse_hessian(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    array([[0.3125, 0.1875],
           [0.1875, 0.125 ]])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessian("logistic_mse", params, X, y, **options)


def softmax_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `softmax_value_and_grad` at ``params`` times ``v``.

    Cross-entropy of a softmax: f'' u = p∘(u − Σ p·u) for scores u of the direction, computed from differences to the
    likeliest class's u, so that a sure class keeps its digits.

    >>> softmax_hessp(np.zeros((2, 2)), np.array([[1.0, 0.0], [0.0, 0.0]]), np.array([[1.0], [2.0]]), np.array([0, 1]))
    array([[ 0.625,  0.375],
           [-0.625, -0.375]])
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessp("softmax", params, v, X, y, **options)


def softmax_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]:
    """The Hessian of `softmax_value_and_grad` at ``params``: `softmax_hessp` of each unit vector.

    >>> softmax_hessian(np.zeros((2, 2)), np.array([[1.0], [2.0]]), np.array([0, 1])).shape
    (4, 4)
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _hessian("softmax", params, X, y, **options)
