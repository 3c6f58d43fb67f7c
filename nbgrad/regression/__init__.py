"""Regression models: as objectives, loss and gradient in one pass over the data, ready for scipy.optimize; and as
estimators with scikit-learn's methods.

`objectives`: linear, logistic, logistic_mse and softmax, each as ``..._value_and_grad`` and as additive
``..._sums``; `hessians`: ``..._hessp`` and ``..._hessian``. `Problem` is a model on a data set, for many calls.
`estimators`: `LinearRegression`, `LogisticRegression`, `SoftmaxRegression`; they load scikit-learn where it is
installed, and are themselves loaded when first asked for.
"""

from typing import TYPE_CHECKING, Any

from nbgrad.regression import hessians, objectives
from nbgrad.regression.hessians import *  # noqa: F403
from nbgrad.regression.objectives import *  # noqa: F403
from nbgrad.regression.problem import Problem

if TYPE_CHECKING:
    from nbgrad.regression.estimators import LinearRegression, LogisticRegression, SoftmaxRegression
    from nbgrad.regression.scikit.base import ConvergenceWarning

_LAZY = ("ConvergenceWarning", "LinearRegression", "LogisticRegression", "SoftmaxRegression")

__all__ = [
    "ConvergenceWarning", "LinearRegression", "LogisticRegression", "Problem", "SoftmaxRegression",
    *hessians.__all__, *objectives.__all__,
]  # noqa: PLE0604  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nbgrad.regression import estimators
    from nbgrad.regression.scikit import base

    return getattr(base if name == "ConvergenceWarning" else estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
