"""Regression models as objectives: loss and gradient in one pass over the data, ready for scipy.optimize.

`objectives`: linear, logistic, logistic_mse and softmax, each as ``..._value_and_grad`` and as additive
``..._sums``.
"""

from nbgrad.regression import objectives
from nbgrad.regression.objectives import *  # noqa: F403

__all__ = [*objectives.__all__]  # noqa: PLE0604
