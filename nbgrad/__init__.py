"""nbgrad, **N**um**b**a **grad**ients: explicitly derived forward and backward kernels, a Tensor with
autograd on top, and models.

Importing it compiles nothing and loads nothing: each name, and Numba with it, at its first use. So the command line can
answer Ctrl-C from its first moment. What needs a plotting, download or CUDA library loads that when called.
"""

from __future__ import annotations

TYPE_CHECKING = False  # without typing itself, which takes longer to load than all else here
if TYPE_CHECKING:
    from typing import Any

    from nbgrad import datasets, elementary, functional, kernels, nn, optim, regression
    from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
    from nbgrad.autograd.function import Function
    from nbgrad.autograd.graph import plot_graph, to_dot
    from nbgrad.autograd.modes import enable_grad, is_grad_enabled, no_grad
    from nbgrad.autograd.recording.step import compile
    from nbgrad.autograd.tensor import Tensor, tensor
    from nbgrad.autograd.transforms import grad, value_and_grad
    from nbgrad.derived.differentiable import differentiable
    from nbgrad.regression import LinearRegression, LogisticRegression, SoftmaxRegression

__version__ = "0.2.0"

__all__ = [
    "Function", "LinearRegression", "LogisticRegression", "SoftmaxRegression", "Tensor", "cat", "compile", "datasets",
    "differentiable", "elementary", "enable_grad", "functional", "grad", "is_grad_enabled", "kernels", "maximum",
    "minimum", "nn", "no_grad", "optim", "plot_graph", "regression", "stack", "tensor", "to_dot", "value_and_grad",
    "where",
]  # fmt: skip

_HOMES = {
    "autograd.combine": ("cat", "maximum", "minimum", "stack", "where"),
    "autograd.function": ("Function",),
    "autograd.graph": ("plot_graph", "to_dot"),
    "autograd.modes": ("enable_grad", "is_grad_enabled", "no_grad"),
    "autograd.recording.step": ("compile",),
    "autograd.tensor": ("Tensor", "tensor"),
    "autograd.transforms": ("grad", "value_and_grad"),
    "derived.differentiable": ("differentiable",),
    "regression": ("LinearRegression", "LogisticRegression", "SoftmaxRegression"),
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    home = next((home for home, names in _HOMES.items() if name in names), None)
    if home is not None:
        globals()[name] = value = getattr(import_module(f"{__name__}.{home}"), name)
        return value
    module = f"{__name__}.{name}"
    if not name.startswith("_"):
        try:
            return import_module(module)  # which makes it an attribute
        except ModuleNotFoundError as error:
            if error.name != module:
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name != "TYPE_CHECKING")})
