"""Loss and gradient of linear, logistic and softmax regression in one pass over X, ready for scipy.optimize.

Rules they share:

* A score is x·w + b, with the row x multiplied by ``x_scale`` (pixels: uint8 and 1/255). ``params`` holds w,
  then the intercept b: (n_features + 1,), or (n_features,) with ``fit_intercept=False``. Softmax has such a
  row for each class, (num_classes, n_features + 1), also flattened; the gradient has the shape of ``params``.
* value = Σ weight·loss / Σ weight + ½·l2·‖w‖²; ``l2`` ≥ 0 does not touch the intercept, ``sample_weight``
  (n,) ≥ 0 is 1 where not given. The mean of nothing (no rows, no weight) is nan.
* ``X`` (n, n_features): an array of float32, float64, integers (uint8 among them) or bools, in any memory
  order, read-only, memory-mapped, or SciPy's CSR matrix. It is read once, in blocks of rows that fit the L2
  cache, and never copied; blocks of another dtype are converted in a buffer.
* Precision: ``params``' dtype, float32 or float64, is that of value and gradient, and of the products; a CSR
  matrix is multiplied in float64. The sums over blocks are float64. Products and sums are
  made in tiles of a fixed size, in order: the same bits for any number of threads and any layout of X.
* nan or inf in ``X`` or ``params`` is no error: it comes back as nan or inf in value and gradient.
* ``..._sums`` gives (Σ weight·loss, its gradient, Σ weight), not divided and without l2, in float64 for any
  ``params``: those of several parts of the rows add up to those of all rows.

* ``X``, ``y`` and ``sample_weight`` on a GPU: computed there; ``params`` on the CPU give value and gradient on the
  CPU, for SciPy, ``params`` on the GPU arrays there (`nbgrad.regression.passes.device`).

Errors: TypeError for a dtype that does not fit (complex X, float labels of softmax), ValueError for shapes,
lengths, labels, negative or nan weights, l2 < 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import as_float, on_device
from nbgrad.regression import data
from nbgrad.regression.problem import Problem

__all__ = [
    "linear_sums", "linear_value_and_grad", "logistic_mse_sums", "logistic_mse_value_and_grad",
    "logistic_sums", "logistic_value_and_grad", "softmax_sums", "softmax_value_and_grad",
]  # fmt: skip


def _value_and_grad(model: str, params: Any, X: Any, y: Any, **options: Any) -> tuple[Any, NDArray[Any]]:
    if on_device(params):  # they stay there
        return Problem(model, X, y, dtype=data.dtype_of(params), **options).value_and_grad(params)
    params = as_float(params, "params")
    value, grad = Problem(model, X, y, dtype=params.dtype, **options).value_and_grad(params)
    with np.errstate(all="ignore"):
        return params.dtype.type(value), grad.astype(params.dtype, copy=False)


def _sums(
    model: str, params: Any, X: Any, y: Any, **options: Any
) -> tuple[np.float64, NDArray[Any], np.float64]:
    params = params if on_device(params) else as_float(params, "params")
    return Problem(model, X, y, dtype=data.dtype_of(params), **options).sums(params)


def linear_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]:
    """Half the squared residual ½(x·w + b − y)², averaged: linear regression (ridge with ``l2``).

    Derivative in the score: x·w + b − y. ``y`` (n,): finite numbers. Shapes, dtypes and errors:
    `nbgrad.regression.objectives`.

    Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805).

    >>> import numpy as np
    >>> linear_value_and_grad(np.array([1.0, 0.5]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
    (np.float64(0.25), array([-1. , -0.5]))
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _value_and_grad("linear", params, X, y, **options)


def linear_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]:
    """(Σ weight·loss, its gradient, Σ weight) of `linear_value_and_grad`, additive over rows.

    >>> import numpy as np
    >>> linear_sums(np.array([1.0, 0.5]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
    (np.float64(0.5), array([-2., -1.]), np.float64(2.0))
    """
    options = {"sample_weight": sample_weight, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _sums("linear", params, X, y, **options)


def logistic_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]:
    """Cross-entropy −y·ln σ(s) − (1 − y)·ln σ(−s) of the scores s = x·w + b, averaged: logistic regression.

    Derivative in the score: (1 − y)·σ(s) − y·σ(−s), which keeps its digits where σ(s) − y cancels. ``y``
    (n,): labels 0 or 1 (numbers or bools). Shapes, dtypes and errors: `nbgrad.regression.objectives`.

    Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.

    >>> import numpy as np
    >>> logistic_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(0.6931471805599453), array([-0.25,  0.  ]))
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _value_and_grad("logistic", params, X, y, **options)


def logistic_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]:
    """(Σ weight·loss, its gradient, Σ weight) of `logistic_value_and_grad`, additive over rows.

    >>> import numpy as np
    >>> logistic_sums(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(1.3862943611198906), array([-0.5,  0. ]), np.float64(2.0))
    """
    options = {"sample_weight": sample_weight, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _sums("logistic", params, X, y, **options)


def logistic_mse_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]:
    """Squared error (σ(s) − y)² of the scores s = x·w + b, averaged: 1/m Σ (σ(wᵀx) − y)², without a half.

    Derivative in the score: 2(σ(s) − y)·σ'(s), with σ(s) − 1 computed as −σ(−s). Not convex, and flat where
    the model is sure and wrong: the cross-entropy of `logistic_value_and_grad` is neither. ``y`` (n,): labels
    0 or 1 (numbers or bools). Shapes, dtypes and errors: `nbgrad.regression.objectives`.

    Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78
    (1950) 1.

    >>> import numpy as np
    >>> logistic_mse_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(0.25), array([-0.125,  0.   ]))
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _value_and_grad("logistic_mse", params, X, y, **options)


def logistic_mse_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]:
    """(Σ weight·loss, its gradient, Σ weight) of `logistic_mse_value_and_grad`, additive over rows.

    >>> import numpy as np
    >>> logistic_mse_sums(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(0.5), array([-0.25,  0.  ]), np.float64(2.0))
    """
    options = {"sample_weight": sample_weight, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _sums("logistic_mse", params, X, y, **options)


def softmax_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]:
    """Cross-entropy −ln softmax(s)[y] of the scores s = W·x + b, averaged: softmax (multinomial) regression.

    Derivative in the scores: softmax(s) − onehot(y), the label's entry as −(the sum of the others).
    ``params`` (num_classes, n_features + 1), or that flattened. ``y`` (n,): integer labels in 0..num_classes
    − 1, checked before any memory is read with them. Shapes, dtypes and errors:
    `nbgrad.regression.objectives`.

    Two classes with ``params`` (0, w) are logistic regression with w.

    Source: J. S. Bridle, Training stochastic model recognition algorithms as networks, NIPS 2 (1990) 211.

    >>> import numpy as np
    >>> softmax_value_and_grad(np.zeros((2, 2)), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(0.6931471805599453), array([[ 0.25,  0.  ], [-0.25,  0.  ]]))
    """
    options = {"sample_weight": sample_weight, "l2": l2, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _value_and_grad("softmax", params, X, y, **options)


def softmax_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]:
    """(Σ weight·loss, its gradient, Σ weight) of `softmax_value_and_grad`, additive over rows.

    >>> import numpy as np
    >>> softmax_sums(np.zeros((2, 2)), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(1.3862943611198906), array([[ 0.5,  0. ], [-0.5,  0. ]]), np.float64(2.0))
    """
    options = {"sample_weight": sample_weight, "fit_intercept": fit_intercept, "x_scale": x_scale}
    return _sums("softmax", params, X, y, **options)
