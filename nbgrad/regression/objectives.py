"""Loss and gradient of the regression models in one pass over X, ready for scipy.optimize: ``MODEL_value_and_grad`` and
the additive ``MODEL_sums`` of each model, of linear, logistic, logistic_mse, softmax.

Rules they share:

* A score is x·w + b, with the row x multiplied by ``x_scale`` (pixels: uint8 and 1/255). ``params`` holds w,
  then the intercept b: (n_features + 1,), or (n_features,) with ``fit_intercept=False``. Softmax has such a
  row for each class, (num_classes, n_features + 1), also flattened; the gradient has the shape of ``params``.
* value = Σ weight·loss / Σ weight + ½·l2·‖w‖²; ``l2`` ≥ 0 does not touch the intercept, ``sample_weight``
  (n,) ≥ 0 is 1 where not given. The mean of nothing (no rows, no weight) is nan.
* ``X`` (n, n_features): an array of float32, float64, integers (uint8 among them) or bools, in any memory
  order, read-only, memory-mapped, or SciPy's CSR matrix. It is read once, in blocks of rows that fit the L2
  cache, and never copied; blocks of another dtype are converted in a buffer.
* Precision: ``params``' dtype, float32 or float64, is that of value and gradient, and of the products; a CSR
  matrix is multiplied in float64. The sums over blocks are float64. Products and sums are
  made in tiles of a fixed size, in order: the same bits for any number of threads and any layout of X.
* nan or inf in ``X`` or ``params`` is no error: it comes back as nan or inf in value and gradient.
* ``..._sums`` gives (Σ weight·loss, its gradient, Σ weight), not divided and without l2, in float64 for any
  ``params``: those of several parts of the rows add up to those of all rows.

* ``X``, ``y`` and ``sample_weight`` on a GPU: computed there; ``params`` on the CPU give value and gradient on the
  CPU, for SciPy, ``params`` on the GPU arrays there (`nbgrad.regression.passes.device`).

Errors: TypeError for a dtype that does not fit (complex X, float labels of softmax), ValueError for shapes,
lengths, labels, negative or nan weights, l2 < 0.

The functions follow from the models' rows in `nbgrad.formulas.regression`.

>>> import numpy as np
>>> linear_sums(np.array([1.0, 0.5]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
(np.float64(0.5), array([-2., -1.]), np.float64(2.0))
"""

from nbgrad.regression.functions import OBJECTIVES, functions

__test__ = functions(OBJECTIVES, __name__)  # where doctest looks for what a module does not define
__all__ = sorted(__test__)
globals().update(__test__)
