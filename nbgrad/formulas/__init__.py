"""FIRST TO READ: every activation and elementwise loss, with its derivative directly below it.

`classic`: sigmoid, tanh, relu, leaky_relu, elu. `smooth`: softplus, gelu and their kin. `piecewise`: what consists of
pieces. `losses`: of an input and a target; `regression`, `log_link`, `robust`: of a score and its target, with second
derivatives (`targets`: which there may be).
`updates`: the optimisers' steps (not derived, so not in the table).

Plain functions of numbers. `nbgrad.formulas.table` lists them; loops, CUDA kernels, autograd, tests and benchmarks are
derived from that table. Conventions:

* ``d_f`` is the true derivative at the *input* (from the output it is lost: 1 − tanh² is 0 from x = 9 on in
  float32, the truth is 6e-8).
* ``T = type(x)`` and constants as ``T(1)``: a bare ``1.0`` would turn float32 into float64.
* nan gives nan, ±inf the limit. Conditional expressions become selects, not branches: loops over them are
  vectorised.
* The value of a derivative at a kink is PyTorch's.
"""

from nbgrad.formulas.classic import *  # noqa: F403
from nbgrad.formulas.log_link import *  # noqa: F403
from nbgrad.formulas.losses import *  # noqa: F403
from nbgrad.formulas.piecewise import *  # noqa: F403
from nbgrad.formulas.regression import *  # noqa: F403
from nbgrad.formulas.robust import *  # noqa: F403
from nbgrad.formulas.smooth import *  # noqa: F403

del MODELS, ROWS  # noqa: F821  each file's own: `nbgrad.formulas.table` collects them
