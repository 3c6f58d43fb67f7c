"""The activations and their derivatives on arrays. Formulas: `nbgrad.formulas`.

All of them share these rules.

* ``x``: float32 or float64 array (or number) of any shape and layout; integers and bools are computed in
  float64; other dtypes raise TypeError. The result has x's shape and precision; a number gives a NumPy
  scalar.
* ``out``: array of the result's shape and dtype, any layout; it may be ``x`` itself or overlap it. It is
  returned.
* ``f_backward(grad_output, x)`` = grad_output · f'(x), from the *input* x, the two broadcast together; Python
  numbers adapt to the other's precision, else the wider precision wins.
* nan gives nan, ±inf the limit. Wrong shapes raise ValueError.
* Inside ``@njit`` the same functions take numbers and arrays.
"""

from __future__ import annotations

from numpy.typing import NDArray

from nbgrad.formulas.table import OPS
from nbgrad.kernels.elementwise import Kernel
from nbgrad.typing import F, Floats, Out

__all__ = [
    "elu", "elu_backward", "leaky_relu", "leaky_relu_backward", "relu", "relu_backward", "sigmoid",
    "sigmoid_backward", "tanh", "tanh_backward",
]  # fmt: skip

_sigmoid = Kernel(OPS["sigmoid"])
_tanh = Kernel(OPS["tanh"])
_relu = Kernel(OPS["relu"])
_leaky_relu = Kernel(OPS["leaky_relu"])
_elu = Kernel(OPS["elu"])


def sigmoid(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """Logistic sigmoid σ(x) = 1/(1 + e⁻ˣ).

    Derivative: σ'(x) = σ(x)(1 − σ(x)); smooth. Computed from e = e^−|x| as 1/(1 + e) or e/(1 + e), so that
    nothing overflows and σ(−88.7) is the subnormal number it is in float32.

    Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.

    >>> import numpy as np
    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0]))
    array([0. , 0.5, 1. ])
    """
    return _sigmoid.forward(x, out)


def sigmoid_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · σ'(x), with σ'(x) = e/(1 + e)², e = e^−|x|: full precision in both tails.

    >>> import numpy as np
    >>> sigmoid_backward(1.0, np.float32(22.18))  # y(1 - y) would be 0
    np.float32(2.329959e-10)
    """
    return _sigmoid.backward(grad_output, x, out)


def tanh(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """Hyperbolic tangent (eˣ − e⁻ˣ)/(eˣ + e⁻ˣ) = 2σ(2x) − 1.

    Derivative: 1 − tanh²x; smooth. Computed for |x|, from 0.8 on as 1 − 2e/(1 + e) with e = e^(−2|x|), below by a
    polynomial: exact to the last digits near 0 too.

    Source: Y. LeCun et al., Efficient BackProp (1998), section 4.4.

    >>> import numpy as np
    >>> tanh(np.array([-np.inf, 0.0, 1e-300]))
    array([-1.e+000,  0.e+000,  1.e-300])
    """
    return _tanh.forward(x, out)


def tanh_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · tanh'(x), with tanh'(x) = 4e/(1 + e)², e = e^(−2|x|): full precision in both tails.

    >>> import numpy as np
    >>> tanh_backward(1.0, np.float32(-14.56))  # 1 - tanh(x)**2 would be 0
    np.float32(9.0241085e-13)
    """
    return _tanh.backward(grad_output, x, out)


def relu(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """Rectified linear unit max(x, 0).

    Derivative: 1 for x > 0, 0 for x < 0, and 0 at the kink x = 0 (as PyTorch).

    Source: V. Nair & G. Hinton, Rectified linear units improve restricted Boltzmann machines, ICML 2010.

    >>> import numpy as np
    >>> relu(np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 3.])
    """
    return _relu.forward(x, out)


def relu_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output where x > 0, else grad_output · 0.

    >>> import numpy as np
    >>> relu_backward(5.0, np.array([-2.0, 0.0, 3.0]))
    array([0., 0., 5.])
    """
    return _relu.backward(grad_output, x, out)


def leaky_relu(x: Floats[F], *, negative_slope: float = 0.1, out: Out[F] = None) -> NDArray[F]:
    """max(0.1·x, x) for the default slope; in general x for x > 0 and negative_slope·x else.

    Derivative: 1 for x > 0, negative_slope for x < 0 and at the kink x = 0 (as PyTorch). The default slope is
    0.1; PyTorch's is 0.01.

    Source: A. Maas, A. Hannun, A. Ng, Rectifier nonlinearities improve neural network acoustic models, ICML
    2013.

    >>> import numpy as np
    >>> leaky_relu(np.array([-2.0, 0.0, 3.0]))
    array([-0.2,  0. ,  3. ])
    """
    return _leaky_relu.forward(x, out, negative_slope)


def leaky_relu_backward(
    grad_output: Floats[F], x: Floats[F], *, negative_slope: float = 0.1, out: Out[F] = None
) -> NDArray[F]:
    """grad_output where x > 0, else negative_slope · grad_output. The default slope is 0.1; PyTorch's is
    0.01.

    >>> import numpy as np
    >>> leaky_relu_backward(5.0, np.array([-2.0, 0.0, 3.0]))
    array([0.5, 0.5, 5. ])
    """
    return _leaky_relu.backward(grad_output, x, out, negative_slope)


def elu(x: Floats[F], *, alpha: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """Exponential linear unit: x for x > 0, else alpha·(eˣ − 1).

    Derivative: 1 for x > 0, alpha·eˣ for x < 0, alpha at x = 0 (a kink unless alpha = 1; as PyTorch). Any
    alpha, negative ones too. Computed by expm1: eˣ − 1 would have no correct digit for tiny x.

    Source: D.-A. Clevert, T. Unterthiner, S. Hochreiter, Fast and accurate deep network learning by ELUs,
    ICLR 2016.

    >>> import numpy as np
    >>> elu(np.array([-np.inf, -1e-20, 3.0]))
    array([-1.e+00, -1.e-20,  3.e+00])
    """
    return _elu.forward(x, out, alpha)


def elu_backward(grad_output: Floats[F], x: Floats[F], *, alpha: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """grad_output where x > 0, else grad_output · alpha·eˣ (from the input: elu(x) + alpha would cancel in
    the tail).

    >>> import numpy as np
    >>> elu_backward(1.0, np.array([-1.0, 0.0, 3.0]))
    array([0.36787944, 1.        , 1.        ])
    """
    return _elu.backward(grad_output, x, out, alpha)
