"""The activations that consist of pieces, and their derivatives, on arrays. Formulas: `nbgrad.formulas.piecewise`.

The rules that all activations share are in `nbgrad.kernels.activations`.
"""

from __future__ import annotations

from numpy.typing import NDArray

from nbgrad.formulas.table import OPS
from nbgrad.kernels.elementwise import Kernel
from nbgrad.typing import F, Floats, Out

__all__ = [
    "celu", "celu_backward", "hardsigmoid", "hardsigmoid_backward", "hardswish",
    "hardswish_backward", "hardtanh", "hardtanh_backward", "relu6", "relu6_backward", "selu",
    "selu_backward", "threshold", "threshold_backward",
]  # fmt: skip

_selu = Kernel(OPS["selu"])
_celu = Kernel(OPS["celu"])
_hardtanh = Kernel(OPS["hardtanh"])
_relu6 = Kernel(OPS["relu6"])
_hardsigmoid = Kernel(OPS["hardsigmoid"])
_hardswish = Kernel(OPS["hardswish"])
_threshold = Kernel(OPS["threshold"])


def selu(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """Scaled exponential linear unit: λx for x > 0, else λα·(eˣ − 1); λ = 1.0507009873554805, α = 1.6732632423543772.

    Derivative: λ for x > 0, λα·eˣ for x < 0 and λα at the kink x = 0 (as PyTorch). Computed by expm1; λ and λα count
    with more digits than a number has.

    Source: G. Klambauer et al., Self-normalizing neural networks, NIPS 2017.

    >>> import numpy as np
    >>> selu(np.array([-np.inf, 0.0, 1.0]))
    array([-1.75809934,  0.        ,  1.05070099])
    """
    return _selu.forward(x, out)


def selu_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · λ where x > 0, else grad_output · λα·eˣ.

    >>> import numpy as np
    >>> selu_backward(1.0, np.array([0.0, 1.0]))
    array([1.75809934, 1.05070099])
    """
    return _selu.backward(grad_output, x, out)


def celu(x: Floats[F], *, alpha: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """Continuously differentiable exponential linear unit: x for x > 0, else alpha·(e^(x/alpha) − 1).

    Derivative: 1 for x > 0, e^(x/alpha) for x < 0; continuous, 1 at 0. 2 ulp for alpha = 1; another alpha adds the
    rounding of x/alpha, which counts as much as |x/alpha| ulp in the tail of the derivative.

    Source: J. Barron, Continuously differentiable exponential linear units (2017), arXiv:1704.07483.

    >>> import numpy as np
    >>> celu(np.array([-np.inf, -1e-20, 3.0]), alpha=2.0)
    array([-2.e+00, -1.e-20,  3.e+00])
    """
    return _celu.forward(x, out, alpha)


def celu_backward(grad_output: Floats[F], x: Floats[F], *, alpha: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """grad_output where x > 0, else grad_output · e^(x/alpha).

    >>> import numpy as np
    >>> celu_backward(1.0, np.array([-2.0, 0.0, 3.0]), alpha=2.0)
    array([0.36787944, 1.        , 1.        ])
    """
    return _celu.backward(grad_output, x, out, alpha)


def hardtanh(x: Floats[F], *, min_val: float = -1.0, max_val: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """x, clipped to [min_val, max_val].

    Derivative: 1 for min_val < x < max_val, else 0, at both kinks too (as PyTorch).

    Source: R. Collobert, Large scale machine learning, thesis (2004).

    >>> import numpy as np
    >>> hardtanh(np.array([-2.0, 0.5, 2.0]))
    array([-1. ,  0.5,  1. ])
    """
    return _hardtanh.forward(x, out, min_val, max_val)


def hardtanh_backward(
    grad_output: Floats[F], x: Floats[F], *, min_val: float = -1.0, max_val: float = 1.0, out: Out[F] = None
) -> NDArray[F]:
    """grad_output where min_val < x < max_val, else grad_output · 0.

    >>> import numpy as np
    >>> hardtanh_backward(5.0, np.array([-1.0, 0.5, 2.0]))
    array([0., 5., 0.])
    """
    return _hardtanh.backward(grad_output, x, out, min_val, max_val)


def relu6(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """x, clipped to [0, 6].

    Derivative: 1 for 0 < x < 6, else 0, at both kinks too (as PyTorch).

    Source: A. Krizhevsky, Convolutional deep belief networks on CIFAR-10 (2010).

    >>> import numpy as np
    >>> relu6(np.array([-2.0, 3.0, 7.0]))
    array([0., 3., 6.])
    """
    return _relu6.forward(x, out)


def relu6_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output where 0 < x < 6, else grad_output · 0.

    >>> import numpy as np
    >>> relu6_backward(5.0, np.array([0.0, 3.0, 7.0]))
    array([0., 5., 0.])
    """
    return _relu6.backward(grad_output, x, out)


def hardsigmoid(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """(x + 3)/6, clipped to [0, 1].

    Derivative: 1/6 for −3 < x < 3, else 0, at both kinks too (as PyTorch).

    Source: A. Howard et al., Searching for MobileNetV3, ICCV 2019.

    >>> import numpy as np
    >>> hardsigmoid(np.array([-4.0, 0.0, 4.0]))
    array([0. , 0.5, 1. ])
    """
    return _hardsigmoid.forward(x, out)


def hardsigmoid_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output/6 where −3 < x < 3, else grad_output · 0.

    >>> import numpy as np
    >>> hardsigmoid_backward(6.0, np.array([-4.0, 0.0, 3.0]))
    array([0., 1., 0.])
    """
    return _hardsigmoid.backward(grad_output, x, out)


def hardswish(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """x·(x + 3)/6 for −3 < x < 3, 0 below, x above: x·hardsigmoid(x).

    Derivative: (2x + 3)/6 for −3 < x < 3, 0 below, 1 above; 0 at the kink −3 and 1 at the kink 3 (as PyTorch).

    Source: as `hardsigmoid`.

    >>> import numpy as np
    >>> hardswish(np.array([-4.0, 0.0, 1.5, 4.0]))
    array([0.   , 0.   , 1.125, 4.   ])
    """
    return _hardswish.forward(x, out)


def hardswish_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · (2x + 3)/6 where −3 < x < 3; 0 below, grad_output above.

    >>> import numpy as np
    >>> hardswish_backward(1.0, np.array([-4.0, 0.0, 4.0]))
    array([0. , 0.5, 1. ])
    """
    return _hardswish.backward(grad_output, x, out)


def threshold(x: Floats[F], *, threshold: float = 0.0, value: float = 0.0, out: Out[F] = None) -> NDArray[F]:
    """x for x > threshold, else value. (PyTorch has no defaults; with these it is `relu`.)

    Derivative: 1 for x > threshold, else 0, at the kink too (as PyTorch); unless value = threshold the function jumps
    there.

    Source: as `relu`.

    >>> import numpy as np
    >>> threshold(np.array([-2.0, 0.5, 3.0]), threshold=1.0, value=20.0)
    array([20., 20.,  3.])
    """
    return _threshold.forward(x, out, threshold, value)


def threshold_backward(
    grad_output: Floats[F], x: Floats[F], *, threshold: float = 0.0, value: float = 0.0, out: Out[F] = None
) -> NDArray[F]:
    """grad_output where x > threshold, else grad_output · 0.

    >>> import numpy as np
    >>> threshold_backward(5.0, np.array([0.5, 3.0]), threshold=1.0)
    array([0., 5.])
    """
    return _threshold.backward(grad_output, x, out, threshold, value)
