"""Regression models: as objectives, loss and gradient in one pass over the data, ready for scipy.optimize; and as
estimators with scikit-learn's methods.

`objectives`: linear, logistic, logistic_mse and softmax, each as ``..._value_and_grad`` and as additive
``..._sums``. `estimators`: `LinearRegression`, `LogisticRegression`, `SoftmaxRegression`; they load scikit-learn
where it is installed, and are themselves loaded when first asked for.
"""

from typing import TYPE_CHECKING, Any

from nbgrad.regression import objectives
from nbgrad.regression.objectives import *  # noqa: F403

if TYPE_CHECKING:
    from nbgrad.regression.base import ConvergenceWarning
    from nbgrad.regression.estimators import LinearRegression, LogisticRegression, SoftmaxRegression

_ESTIMATORS = ("ConvergenceWarning", "LinearRegression", "LogisticRegression", "SoftmaxRegression")

__all__ = [*objectives.__all__, "ConvergenceWarning", "LinearRegression", "LogisticRegression", "SoftmaxRegression"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name not in _ESTIMATORS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from nbgrad.regression import base, estimators

    return getattr(base if name == "ConvergenceWarning" else estimators, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ESTIMATORS})
