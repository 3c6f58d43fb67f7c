"""Regression models: as objectives, loss and gradient in one pass over the data, ready for scipy.optimize; and as
estimators with scikit-learn's methods.

`objectives`: each model as ``..._value_and_grad`` and as additive ``..._sums``; `hessians`: ``..._hessp`` and
``..._hessian``. `Problem` is a model on a data set, for many calls. The estimators: `linear` (`LinearRegression`,
`Lasso`, `ElasticNet`), `estimators` (`LogisticRegression`, `SoftmaxRegression`) and `glm` (`PoissonRegressor`,
`GammaRegressor`, `HuberRegressor`); they load scikit-learn where it is installed, and are themselves loaded when first
asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

from nbgrad.regression import hessians, objectives
from nbgrad.regression.hessians import *  # noqa: F403
from nbgrad.regression.objectives import *  # noqa: F403
from nbgrad.regression.problem import Problem

if TYPE_CHECKING:
    from nbgrad.regression.estimators import LogisticRegression, SoftmaxRegression
    from nbgrad.regression.glm.huber import HuberRegressor
    from nbgrad.regression.glm.log_link import GammaRegressor, PoissonRegressor
    from nbgrad.regression.linear.elastic_net import ElasticNet, Lasso
    from nbgrad.regression.linear.linear_regression import LinearRegression
    from nbgrad.regression.path import C_path
    from nbgrad.regression.scikit.base import ConvergenceWarning

#: Names that load scikit-learn, where it is installed, and their modules.
_LAZY = {
    "C_path": "path",
    "ConvergenceWarning": "scikit.base",
    "GammaRegressor": "glm.log_link",
    "HuberRegressor": "glm.huber",
    "ElasticNet": "linear.elastic_net",
    "Lasso": "linear.elastic_net",
    "LinearRegression": "linear.linear_regression",
    "LogisticRegression": "estimators",
    "PoissonRegressor": "glm.log_link",
    "SoftmaxRegression": "estimators",
}

__all__ = [
    "C_path", "ConvergenceWarning", "ElasticNet", "GammaRegressor", "HuberRegressor", "Lasso", "LinearRegression",
    "LogisticRegression", "PoissonRegressor", "Problem", "SoftmaxRegression",
    *hessians.__all__, *objectives.__all__,
]  # noqa: PLE0604  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"nbgrad.regression.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
