"""Written by `nbgrad.regression.functions.write_stubs`."""

from typing import Any

from numpy.typing import NDArray

__all__: list[str]

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
) -> NDArray[Any]: ...
def linear_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
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
) -> NDArray[Any]: ...
def logistic_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
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
) -> NDArray[Any]: ...
def logistic_mse_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
def poisson_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
def poisson_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
def gamma_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
def gamma_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
def huber_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    delta: float = 1.0,
) -> NDArray[Any]: ...
def huber_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    delta: float = 1.0,
) -> NDArray[Any]: ...
def quantile_hessp(
    params: Any,
    v: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    q: float = 0.5,
    smoothing: float = 0.1,
) -> NDArray[Any]: ...
def quantile_hessian(
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
) -> NDArray[Any]: ...
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
) -> NDArray[Any]: ...
def softmax_hessian(
    params: Any,
    X: Any,
    y: Any,
    *,
    sample_weight: Any = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
) -> NDArray[Any]: ...
