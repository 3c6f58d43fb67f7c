"""Second derivatives of the regression objectives: exact products of the Hessian with a vector, in one pass over the
data, and whole Hessians where the parameters are few (a pass for each of them).

Arguments, shapes, dtypes and errors are those of `nbgrad.regression.objectives`; ``v`` has the shape of ``params``, and
so has the product. A Hessian has a row and a column for each number of ``params``, flattened. For many products at the
same params `nbgrad.regression.Problem.hessian` keeps what depends on params alone.

The Hessian of all of them is Σ weight·f''(s)·x̃x̃ᵀ / Σ weight + l2·(1, intercepts 0), x̃ being x·``x_scale`` with a 1 for
the intercept, f the loss of a score s.

>>> import numpy as np
>>> params, X, y = np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1])
>>> logistic_hessp(params, np.array([1.0, 0.0]), X, y)
array([0.625, 0.375])
>>> logistic_hessian(params, X, y)
array([[0.625, 0.375],
       [0.375, 0.25 ]])
"""

from nbgrad.regression.functions import HESSIANS, functions

__test__ = functions(HESSIANS, __name__)  # where doctest looks for what a module does not define
__all__ = sorted(__test__)
globals().update(__test__)
