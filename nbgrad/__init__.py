"""nbgrad, **N**um**b**a **grad**ients: explicitly derived forward and backward kernels, a Tensor with
autograd on top, and models.

Importing it compiles nothing and loads no plotting, download or CUDA library: what needs one loads it when
called.
"""

from typing import TYPE_CHECKING, Any

from nbgrad import datasets, elementary, functional, kernels, nn, optim, regression
from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
from nbgrad.autograd.function import Function
from nbgrad.autograd.graph import plot_graph, to_dot
from nbgrad.autograd.tape import enable_grad, is_grad_enabled, no_grad
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.autograd.transforms import grad, value_and_grad

if TYPE_CHECKING:
    from nbgrad.regression import LinearRegression, LogisticRegression, SoftmaxRegression

__version__ = "0.1.0"

__all__ = [
    "Function", "LinearRegression", "LogisticRegression", "SoftmaxRegression", "Tensor", "cat", "datasets",
    "elementary", "enable_grad", "functional", "grad", "is_grad_enabled", "kernels", "maximum", "minimum", "nn",
    "no_grad", "optim", "plot_graph", "regression", "stack", "tensor", "to_dot", "value_and_grad", "where",
]  # fmt: skip

_ESTIMATORS = ("LinearRegression", "LogisticRegression", "SoftmaxRegression")  # they load scikit-learn


def __getattr__(name: str) -> Any:
    if name in _ESTIMATORS:
        return getattr(regression, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
