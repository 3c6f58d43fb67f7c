"""The kernels: arrays in, arrays out. Each function has one home below; import them all from here.

`activations`: sigmoid, tanh, relu, leaky_relu, elu; `activations_smooth`: softplus, gelu and their kin;
`activations_piecewise`: selu, hardtanh and the like. `rowwise`: softmax, log_softmax, logsumexp, maxout.
`losses`: mse, l1, huber, binary cross-entropy. `classification`: cross_entropy, nll_loss.
"""

from nbgrad.jit import array_overload as _array_overload
from nbgrad.kernels import (
    activations,
    activations_piecewise,
    activations_smooth,
    classification,
    foreign,
    losses,
    rowwise,
)
from nbgrad.kernels.activations import *  # noqa: F403
from nbgrad.kernels.activations_piecewise import *  # noqa: F403
from nbgrad.kernels.activations_smooth import *  # noqa: F403
from nbgrad.kernels.classification import *  # noqa: F403
from nbgrad.kernels.documentation import documented as _documented
from nbgrad.kernels.losses import *  # noqa: F403
from nbgrad.kernels.rowwise import *  # noqa: F403
from nbgrad.overloads import IMPLEMENTATIONS as _IMPLEMENTATIONS

__all__ = [  # noqa: PLE0604
    *activations.__all__, *activations_smooth.__all__, *activations_piecewise.__all__, *rowwise.__all__,
    *losses.__all__, *classification.__all__,
]  # fmt: skip

for _name in __all__:
    globals()[_name].__doc__ = _documented(globals()[_name])
foreign.KERNELS.update((name, globals()[name]) for name in __all__)
for _name, _implementation in _IMPLEMENTATIONS.items():  # what runs inside a user's @njit functions
    _array_overload(globals()[_name])(_implementation)
