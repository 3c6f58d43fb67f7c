"""exp, expm1, log, log1p for float32 and float64: branch-free, so that LLVM turns a loop over them into
vector instructions.

``math.exp`` in a compiled loop is a call of the C library for each element, about ten times slower. All four
are public: call them in any ``@njit`` function, on numbers. Called from plain Python they are NumPy's
functions (arrays too). Integers are computed in float64. Results keep the argument's type; nan gives nan;
overflow gives inf; subnormal results and arguments are exact to the same bound.

How: the argument is brought into a small interval around 0 (exp: x = n·ln2 + r, |r| ≤ ln2/2; log: x = m·2ᵏ,
√½ ≤ m < √2), a polynomial is evaluated there, and the pieces are added from the smallest to the largest,
keeping the rounding error of the last large sum (Dekker's fast two-sum). The polynomials are minimax fits
(``python -m bench minimax`` derives them again).
Sources: W. J. Cody & W. Waite, Software Manual for the Elementary Functions (1980); P.-T. P. Tang, ACM TOMS
15 (1989) 144 and 16 (1990) 378; T. J. Dekker, Numer. Math. 18 (1971) 224.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types

from nbgrad.intrinsics import fma, horner, power_of_two, split
from nbgrad.jit import overload_scalar, scalar

__all__ = ["exp", "expm1", "log", "log1p"]


def exp(x: Any) -> Any:
    """eˣ. Derivative: eˣ.

    >>> float(exp(0.0))
    1.0
    """
    return _numpy(np.exp, x)


def expm1(x: Any) -> Any:
    """eˣ − 1, accurate near 0. Derivative: eˣ.

    >>> float(expm1(1e-20))
    1e-20
    """
    return _numpy(np.expm1, x)


def log(x: Any) -> Any:
    """ln x; −inf at 0, nan below. Derivative: 1/x.

    >>> float(log(1.0))
    0.0
    """
    return _numpy(np.log, x)


def log1p(x: Any) -> Any:
    """ln(1 + x), accurate near 0; −inf at −1, nan below. Derivative: 1/(1 + x).

    >>> float(log1p(1e-20))
    1e-20
    """
    return _numpy(np.log1p, x)


def times_exp(x: Any, k: Any) -> Any:
    """2ᵏ·eˣ, rounded once also where eˣ alone is subnormal (|k| ≤ 4, of x's type)."""
    with np.errstate(all="ignore"):
        return np.ldexp(np.exp(x), int(k))


def quotient(n: Any, a: Any, b: Any) -> Any:
    """n/(a + b) for |a| ≥ |b|, with the rounding errors of the sum and of the division put right (about 0.5
    ulp).
    """
    with np.errstate(all="ignore"):
        return n / (a + b)


def quotient_squared(n: Any, a: Any, b: Any) -> Any:
    """n/(a + b)² for |a| ≥ |b|, rounding errors put right (about 0.5 ulp; two `quotient` in a row give up to
    1).
    """
    with np.errstate(all="ignore"):
        return n / ((a + b) * (a + b))


def _numpy(function: Any, x: Any) -> Any:
    with np.errstate(all="ignore"):
        return function(x)


def _constants(real: Any, **values: Any) -> SimpleNamespace:
    """The constants of one precision, converted to it."""
    return SimpleNamespace(
        T=real,
        **{name: tuple(map(real, v)) if isinstance(v, tuple) else real(v) for name, v in values.items()},
    )


# ln2_hi has so few bits that n·ln2_hi is exact; ln2_lo is the rest. round_to_integer is 1.5·2^m: adding it
# rounds to an integer, which then stands in the low bits. expm1_tail: (eʳ − 1 − r)/r² on |r| ≤ ln2/2;
# log_tail: (artanh(s)/s − 1)/s² in s² on |s| ≤ 0.1716.
_CONSTANTS = {
    types.float32: _constants(
        np.float32,
        log2_e=1.4426950408889634,
        ln2_hi=0.693145751953125,
        ln2_lo=1.4286068202862268e-06,
        round_to_integer=1.5 * 2.0**23,
        exp_min=-108.0,
        exp_max=89.0,
        expm1_min=-20.0,
        tiny=2.0**-26,
        smallest_normal=2.0**-126,
        normalise=2.0**24,
        normalise_bits=24.0,
        expm1_tail=(
            0.5, 0.1666666716337204, 0.04166635498404503, 0.008333273231983185, 0.0013941050274297595,
            0.0001991423050640151,
        ),
        log_tail=(0.3333338797092438, 0.1998874843120575, 0.1493653655052185),
    ),
    types.float64: _constants(
        np.float64,
        log2_e=1.4426950408889634,
        ln2_hi=6.93147180369123816490e-01,
        ln2_lo=1.90821492927058770002e-10,
        round_to_integer=1.5 * 2.0**52,
        exp_min=-749.0,
        exp_max=710.0,
        expm1_min=-40.0,
        tiny=2.0**-55,
        smallest_normal=2.0**-1022,
        normalise=2.0**53,
        normalise_bits=53.0,
        expm1_tail=(
            0.5, 0.16666666666666677, 0.0416666666666667, 0.008333333333321579, 0.0013888888888866772,
            0.00019841269886266627, 2.4801587360685793e-05, 2.7557244061505186e-06, 2.7557242649804514e-07,
            2.5109090565507812e-08, 2.092447713760634e-09,
        ),
        log_tail=(
            0.3333333333333348, 0.19999999999805626, 0.1428571435283916, 0.11111100933499386,
            0.09091705386241784, 0.07658818319763222, 0.07381390528321222,
        ),
    ),
}  # fmt: skip


def _build_exp(c: SimpleNamespace) -> Any:
    T, log2_e, ln2_hi, ln2_lo, tail = c.T, c.log2_e, c.ln2_hi, c.ln2_lo, c.expm1_tail
    shift, low, high = c.round_to_integer, c.exp_min, c.exp_max

    def times_exp(x, k):
        x = low if x < low else x
        x = high if x > high else x
        n = fma(x, log2_e, shift) - shift
        r_hi = fma(n, -ln2_hi, x)
        r_lo = -ln2_lo * n
        r = r_hi + r_lo
        s = T(1) + r_hi
        error = r_hi - (s - T(1))
        p = s + (error + fma(r * r, horner(r, tail), r_lo))
        # 2ⁿ in two factors: n may lie outside the exponents of normal numbers. The last product alone rounds.
        half = fma(n, T(0.5), shift)
        return p * power_of_two(half) * power_of_two((shift + k) + (n - (half - shift)))

    return times_exp


def _build_expm1(c: SimpleNamespace) -> Any:
    T, log2_e, ln2_hi, ln2_lo, tail = c.T, c.log2_e, c.ln2_hi, c.ln2_lo, c.expm1_tail
    shift, low, high, tiny = c.round_to_integer, c.expm1_min, c.exp_max, c.tiny

    def expm1(x):
        y = low if x < low else x
        y = high if y > high else y
        n = fma(y, log2_e, shift) - shift
        r_hi = fma(n, -ln2_hi, y)
        r_lo = -ln2_lo * n
        r = r_hi + r_lo
        # half of 2ⁿ(1 + r + ...) − 1, doubled at the end: 2ⁿ itself may overflow where the result does not
        scale = power_of_two(shift + (n - T(1)))
        a = scale - T(0.5)
        b = scale * r_hi
        s = a + b
        error = (b - (s - a)) + ((scale - a) - T(0.5))
        result = T(2) * (s + (error + scale * fma(r * r, horner(r, tail), r_lo)))
        return x if abs(x) < tiny else result  # keeps −0 and subnormal numbers

    return expm1


def _build_log1p(c: SimpleNamespace) -> Any:
    """ln(u + d) for u > 0 and |d| at most half an ulp of u: both log (d = 0) and log1p (d the rounding error
    of u = 1 + x).
    """
    T, ln2_hi, ln2_lo, tail = c.T, c.ln2_hi, c.ln2_lo, c.log_tail
    smallest, normalise, bits = c.smallest_normal, c.normalise, c.normalise_bits

    def log_sum(u, d):
        subnormal = u < smallest
        m, k = split(u * normalise if subnormal else u)
        k = k - bits if subnormal else k
        f = m - T(1)
        s = f / (T(2) + f)
        z = s * s
        square = T(0.5) * f * f
        # ln(1 + f) = f − f²/2 + s(f²/2 + R), R = 2s²·tail: f itself stays exact
        rest = fma(s, fma(T(2) * z, horner(z, tail), square), -square)
        a = k * ln2_hi
        total = a + f
        # a is 0 or larger than f: the sum's rounding error is exact
        error = f - (total - a)
        result = total + (error + (fma(k, ln2_lo, rest) + d / u))
        result = result if u > T(0) else (T(-np.inf) if u == T(0) else T(np.nan))
        return u if u == T(np.inf) else result

    return log_sum


def _build_quotient(c: SimpleNamespace) -> Any:
    T = c.T

    def quotient(n, a, b):
        d = a + b
        error = b - (d - a)
        r = T(1) / d
        y = n * r
        correction = fma(-r, d, T(1)) - r * error
        return y + fma(y, correction, fma(n, r, -y))

    return quotient


def _build_quotient_squared(c: SimpleNamespace) -> Any:
    T = c.T

    def quotient_squared(n, a, b):
        d = a + b
        error = b - (d - a)
        r = T(1) / d
        correction = fma(-r, d, T(1)) - r * error
        once = n * r
        y = once * r
        return y + fma(y, T(2) * correction, fma(fma(n, r, -once), r, fma(once, r, -y)))

    return quotient_squared


_KERNELS = {
    build: {real: scalar(build(constants)) for real, constants in _CONSTANTS.items()}
    for build in (_build_exp, _build_expm1, _build_log1p, _build_quotient, _build_quotient_squared)
}


def _choose(function: Any, build: Any, adapt: Any) -> None:
    """Compiled code that calls ``function`` gets ``adapt(kernel, T)`` for its argument's type; integers are
    converted to float64.
    """
    chosen = {real: adapt(kernel, _CONSTANTS[real].T) for real, kernel in _KERNELS[build].items()}

    @overload_scalar(function)
    def implementation(*arguments):
        x = arguments[0]
        if isinstance(x, (types.Integer, types.Boolean)):
            return lambda x: function(np.float64(x))
        return chosen.get(x)


def _log(kernel: Any, T: Any) -> Any:
    return lambda x: kernel(x, T(0))


def _log1p(kernel: Any, T: Any) -> Any:
    tiny = _CONSTANTS[types.float32 if T is np.float32 else types.float64].tiny

    def log1p(x):
        u = T(1) + x
        rounded = u - T(1)
        result = kernel(u, (T(1) - (u - rounded)) + (x - rounded))
        return x if abs(x) < tiny else result  # keeps -0

    return log1p


_choose(exp, _build_exp, lambda kernel, T: lambda x: kernel(x, T(0)))
_choose(times_exp, _build_exp, lambda kernel, T: lambda x, k: kernel(x, k))
_choose(expm1, _build_expm1, lambda kernel, T: lambda x: kernel(x))
_choose(log, _build_log1p, _log)
_choose(log1p, _build_log1p, _log1p)
_choose(quotient, _build_quotient, lambda kernel, T: lambda n, a, b: kernel(n, a, b))
_choose(quotient_squared, _build_quotient_squared, lambda kernel, T: lambda n, a, b: kernel(n, a, b))
