"""log, log1p, and ln(1 + x) for 0 ≤ x ≤ 1, which needs no range reduction.

How: x = m·2ᵏ with √½ ≤ m < √2, f = m − 1, s = f/(2 + f), and ln(1 + f) = f − f²/2 + s(f²/2 + R) with R from a
polynomial in s²: f itself stays exact.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.elementary.choose import choose, quiet
from nbgrad.elementary.exponential import exp
from nbgrad.jit import scalar
from nbgrad.jit.intrinsics import fma, horner, split

__all__ = ["difference", "log", "log1p", "log1p_unit", "logaddexp"]


def log(x: Any) -> Any:
    """ln x; −inf at 0, nan below. Derivative: 1/x.

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(log(1.0))
    0.0
    """
    return quiet(np.log, x)


def log1p(x: Any) -> Any:
    """ln(1 + x), accurate near 0; −inf at −1, nan below. Derivative: 1/(1 + x).

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(log1p(1e-20))
    1e-20
    """
    return quiet(np.log1p, x)


def log1p_unit(x: Any) -> Any:
    """ln(1 + x) for 0 ≤ x ≤ 1."""
    return quiet(np.log1p, x)


def _build_log_sum(c: SimpleNamespace) -> Any:
    """ln(u + d) for u > 0 and |d| at most half an ulp of u: both log (d = 0) and log1p (d the rounding error
    of u = 1 + x).
    """
    T, ln2_hi, ln2_lo, tail = c.T, c.ln2_hi, c.ln2_lo, c.log_tail
    smallest, normalise, bits = c.smallest_normal, c.normalise, c.normalise_bits

    @scalar
    def log_sum(u, d):
        subnormal = u < smallest
        m, k = split(u * normalise if subnormal else u)
        k = k - bits if subnormal else k
        f = m - T(1)
        s = f / (T(2) + f)
        z = s * s
        square = T(0.5) * f * f
        rest = fma(s, fma(T(2) * z, horner(z, tail), square), -square)
        a = k * ln2_hi
        total = a + f
        # a is 0 or larger than f: the sum's rounding error is exact
        error = f - (total - a)
        result = total + (error + (fma(k, ln2_lo, rest) + d / u))
        result = result if u > T(0) else (T(-np.inf) if u == T(0) else T(np.nan))
        return u if u == T(np.inf) else result

    return log_sum


def _build_log(c: SimpleNamespace) -> Any:
    log_sum, zero = _build_log_sum(c), c.T(0)
    return lambda x: log_sum(x, zero)


def _build_log1p(c: SimpleNamespace) -> Any:
    T, tiny, log_sum = c.T, c.tiny, _build_log_sum(c)

    def log1p(x):
        u = T(1) + x
        rounded = u - T(1)
        result = log_sum(u, (T(1) - (u - rounded)) + (x - rounded))
        return x if abs(x) < tiny else result  # keeps −0

    return log1p


def _build_log1p_unit(c: SimpleNamespace) -> Any:
    T, tail = c.T, c.log_unit_tail

    def log1p_unit(x):
        s = x / (T(2) + x)
        z = s * s
        square = T(0.5) * x * x
        return x - (square - s * fma(T(2) * z, horner(z, tail), square))

    return log1p_unit


choose(log, _build_log)
choose(log1p, _build_log1p)
choose(log1p_unit, _build_log1p_unit)


@scalar
def difference(a, b):
    """a − b; 0 where they are equal, infinite ones too."""
    return type(a)(0) if a == b else a - b


@scalar
def logaddexp(a, b):
    """ln(eᵃ + eᵇ) = max(a, b) + ln(1 + e^−|a − b|). Derivatives: σ(a − b), σ(b − a)."""
    return (a if a > b else b) + log1p(exp(-abs(difference(a, b))))
