"""Regression models as objectives: loss and gradient in one pass over the data, ready for scipy.optimize.

`objectives`: linear, logistic, logistic_mse and softmax, each as ``..._value_and_grad`` and as additive
``..._sums``; `hessians`: ``..._hessp`` and ``..._hessian``. `Problem` is a model on a data set, for many calls.
"""

from nbgrad.regression import hessians, objectives
from nbgrad.regression.hessians import *  # noqa: F403
from nbgrad.regression.objectives import *  # noqa: F403
from nbgrad.regression.problem import Problem

__all__ = ["Problem", *hessians.__all__, *objectives.__all__]  # noqa: PLE0604
