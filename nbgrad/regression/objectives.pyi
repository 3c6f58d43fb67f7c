"""Written by `nbgrad.regression.functions.write_stubs`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__: list[str]

def linear_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def linear_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def logistic_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def logistic_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def logistic_mse_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def logistic_mse_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def poisson_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def poisson_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def gamma_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def gamma_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def huber_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    delta: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def huber_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    delta: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def quantile_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    q: float = 0.5,
    smoothing: float = 0.1,
) -> tuple[Any, NDArray[Any]]: ...
def quantile_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    q: float = 0.5,
    smoothing: float = 0.1,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
def softmax_value_and_grad(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[Any, NDArray[Any]]: ...
def softmax_sums(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> tuple[np.float64, NDArray[Any], np.float64]: ...
