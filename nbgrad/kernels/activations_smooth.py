"""The smooth activations and their derivatives on arrays: softplus, gelu and their kin.

Formulas: `nbgrad.formulas.smooth`.

The rules that all activations share are in `nbgrad.kernels.activations`.
"""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from nbgrad.arguments import GELUS, check_choice
from nbgrad.formulas.table import OPS
from nbgrad.kernels.elementwise import Kernel
from nbgrad.typing import F, Floats, Out

__all__ = [
    "gelu", "gelu_backward", "gelu_tanh", "gelu_tanh_backward", "log_sigmoid",
    "log_sigmoid_backward", "mish", "mish_backward", "silu", "silu_backward", "softplus",
    "softplus_backward", "softsign", "softsign_backward",
]  # fmt: skip

_softplus = Kernel(OPS["softplus"])
_log_sigmoid = Kernel(OPS["log_sigmoid"])
_silu = Kernel(OPS["silu"])
_gelu = Kernel(OPS["gelu"])
_gelu_tanh = Kernel(OPS["gelu_tanh"])
_mish = Kernel(OPS["mish"])
_softsign = Kernel(OPS["softsign"])


def softplus(x: Floats[F], *, beta: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """Softplus ln(1 + e^(beta·x))/beta, a smooth max(x, 0).

    Derivative: σ(beta·x); smooth. Computed as max(x, 0) + ln(1 + e^−|z|)/beta with z = beta·x: nothing overflows and
    both tails keep their digits, so that there is no ``threshold`` as in PyTorch (whose result at 20.5 is off by 1e-9).
    2 ulp for beta = 1; another beta adds the rounding of beta·x, which counts as much as |beta·x| ulp in the left tail.

    Source: C. Dugas et al., Incorporating second-order functional knowledge for better option pricing, NIPS 2000.

    >>> import numpy as np
    >>> softplus(np.array([-1000.0, 0.0, 1000.0]))
    array([0.00000000e+00, 6.93147181e-01, 1.00000000e+03])
    """
    return _softplus.forward(x, out, beta)


def softplus_backward(grad_output: Floats[F], x: Floats[F], *, beta: float = 1.0, out: Out[F] = None) -> NDArray[F]:
    """grad_output · σ(beta·x): full precision in both tails.

    >>> import numpy as np
    >>> softplus_backward(1.0, np.array([-50.0, 0.0]))
    array([1.92874985e-22, 5.00000000e-01])
    """
    return _softplus.backward(grad_output, x, out, beta)


def log_sigmoid(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """ln σ(x) = −ln(1 + e⁻ˣ) (PyTorch: ``logsigmoid``).

    Derivative: σ(−x); smooth. Computed as min(x, 0) − ln(1 + e^−|x|): the logarithm of a rounded σ would be 0 from
    x = 17 on in float32, and −inf from x = −104 on.

    Source: as `sigmoid`.

    >>> import numpy as np
    >>> log_sigmoid(np.array([-1000.0, 0.0, 50.0]))
    array([-1.00000000e+03, -6.93147181e-01, -1.92874985e-22])
    """
    return _log_sigmoid.forward(x, out)


def log_sigmoid_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · σ(−x): full precision in both tails.

    >>> import numpy as np
    >>> log_sigmoid_backward(1.0, np.array([0.0, 50.0]))
    array([5.00000000e-01, 1.92874985e-22])
    """
    return _log_sigmoid.backward(grad_output, x, out)


def silu(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """Sigmoid linear unit x·σ(x), also called swish.

    Derivative: σ(x)(1 + x·σ(−x)), which crosses zero at x = −1.2785; smooth. Computed as max(x, 0) − |x|·e/(1 + e) with
    e = e^−|x|; at −inf the limit 0.

    Source: S. Elfwing, E. Uchibe, K. Doya, Sigmoid-weighted linear units, Neural Networks 107 (2018) 3.

    >>> import numpy as np
    >>> silu(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    return _silu.forward(x, out)


def silu_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · σ(x)(1 + x·σ(−x)): to 2 ulp, beside the zero to eps (2^-23 or 2^-52).

    >>> import numpy as np
    >>> silu_backward(1.0, np.array([0.0, 40.0]))
    array([0.5, 1. ])
    """
    return _silu.backward(grad_output, x, out)


def _gelu_of(approximate: Any) -> Kernel:
    check_choice(approximate, "approximate", GELUS)
    return _gelu if approximate == "none" else _gelu_tanh


def gelu(x: Floats[F], *, approximate: str = "none", out: Out[F] = None) -> NDArray[F]:
    """Gaussian error linear unit x·Φ(x), Φ the normal distribution; with ``approximate="tanh"`` it is `gelu_tanh`.

    Derivative: Φ(x) + x·φ(x), φ the normal density, which crosses zero at x = −0.7518; smooth. Computed as
    max(x, 0) − |x|·Φ(−|x|), the tail as e^(−x²/2) times a slowly varying ratio, the rounding error of x² put right:
    1 + erf(x/√2) has no correct digit from x = −5.5 on in float32.

    Source: D. Hendrycks & K. Gimpel, Gaussian error linear units (2016), arXiv:1606.08415.

    >>> import numpy as np
    >>> gelu(np.array([-10.0, 0.0, 10.0]))
    array([-7.61985302e-23,  0.00000000e+00,  1.00000000e+01])
    """
    return _gelu_of(approximate).forward(x, out)


def gelu_backward(grad_output: Floats[F], x: Floats[F], *, approximate: str = "none", out: Out[F] = None) -> NDArray[F]:
    """grad_output · (Φ(x) + x·φ(x)): to 2 ulp, beside the zero to eps (2^-23 or 2^-52). ``approximate``: see `gelu`.

    >>> import numpy as np
    >>> gelu_backward(1.0, np.array([-10.0, 0.0]))
    array([-7.6184001e-22,  5.0000000e-01])
    """
    return _gelu_of(approximate).backward(grad_output, x, out)


def gelu_tanh(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """½x(1 + tanh(√(2/π)(x + 0.044715x³))): PyTorch's ``gelu(approximate="tanh")``.

    Derivative: σ(u) + x·u'·σ(u)σ(−u) with u = 2√(2/π)(x + 0.044715x³), which crosses zero at x = −0.7525; smooth.
    Computed as max(x, 0) − |x|·e/(1 + e) with e = e^−|u| and u to twice the digits of a number.

    Source: as `gelu`.

    >>> import numpy as np
    >>> gelu_tanh(np.array([-5.0, 0.0, 10.0]))
    array([-2.2917962e-07,  0.0000000e+00,  1.0000000e+01])
    """
    return _gelu_tanh.forward(x, out)


def gelu_tanh_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · (σ(u) + x·u'·σ(u)σ(−u)): to 2 ulp, beside the zero to eps (2^-23 or 2^-52).

    >>> import numpy as np
    >>> gelu_tanh_backward(1.0, np.array([0.0, 10.0]))
    array([0.5, 1. ])
    """
    return _gelu_tanh.backward(grad_output, x, out)


def mish(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """x·tanh(softplus(x)) = x·tanh(ln(1 + eˣ)).

    Derivative: tanh(s) + x·σ(x)·(1 − tanh²(s)) with s = softplus(x), which crosses zero at x = −1.1924; smooth.
    Computed from e = e^−|x| alone, as a quotient of sums of positive terms.

    Source: D. Misra, Mish: a self regularized non-monotonic activation function, BMVC 2020.

    >>> import numpy as np
    >>> mish(np.array([-1000.0, 0.0, 1000.0]))
    array([  -0.,    0., 1000.])
    """
    return _mish.forward(x, out)


def mish_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output · mish'(x): to 2 ulp, beside the zero to eps (2^-23 or 2^-52).

    >>> import numpy as np
    >>> mish_backward(1.0, np.array([0.0, 40.0]))
    array([0.6, 1. ])
    """
    return _mish.backward(grad_output, x, out)


def softsign(x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """x/(1 + |x|).

    Derivative: 1/(1 + |x|)²; continuous, 1 at 0. At ±inf the limits ±1.

    Source: J. Bergstra et al., Quadratic polynomials learn better image features (2009).

    >>> import numpy as np
    >>> softsign(np.array([-np.inf, -1.0, 3.0]))
    array([-1.  , -0.5 ,  0.75])
    """
    return _softsign.forward(x, out)


def softsign_backward(grad_output: Floats[F], x: Floats[F], *, out: Out[F] = None) -> NDArray[F]:
    """grad_output/(1 + |x|)², as the square of the reciprocal: (1 + |x|)² may overflow where the result does not.

    >>> import numpy as np
    >>> softsign_backward(1.0, np.array([0.0, -1.0]))
    array([1.  , 0.25])
    """
    return _softsign.backward(grad_output, x, out)
