"""exp, expm1, and what the formulas need of e^−x for x ≥ 0, which cannot overflow and is cheaper.

How: x = n·ln2 + r with |r| ≤ ln2/2; a polynomial gives eʳ; n goes into the exponent. Two products scale by 2ⁿ
where n may lie outside the exponents of normal numbers; only the last of them rounds.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.elementary.choose import choose, quiet
from nbgrad.jit import scalar
from nbgrad.jit.intrinsics import fma, horner, power_of_two, product

__all__ = [
    "exp", "exp_minus", "exp_minus_close", "expm1", "expm1_minus", "four_exp_minus", "times_exp_minus",
    "times_exp_minus_sums",
]  # fmt: skip


def exp(x: Any) -> Any:
    """eˣ. Derivative: eˣ.

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(exp(0.0))
    1.0
    """
    return quiet(np.exp, x)


def expm1(x: Any) -> Any:
    """eˣ − 1, accurate near 0. Derivative: eˣ.

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(expm1(1e-20))
    1e-20
    """
    return quiet(np.expm1, x)


def exp_minus(x: Any) -> Any:
    """e^−x for x ≥ 0, to 1 ulp: a third less work than `exp`."""
    return quiet(lambda: np.exp(-x))


def exp_minus_close(x: Any) -> Any:
    """e^−x for x ≥ 0, to about 0.6 ulp."""
    return quiet(lambda: np.exp(-x))


def four_exp_minus(x: Any) -> Any:
    """4·e^−x for x ≥ 0, as `exp_minus`: with all its digits where e^−x alone is subnormal."""
    return quiet(lambda: 4 * np.exp(-x))


def times_exp_minus(c: Any, x: Any) -> Any:
    """c·e^−x for x ≥ 0 and finite c, rounded once, also where e^−x alone is subnormal (to about 0.6 ulp)."""
    return quiet(lambda: c * np.exp(-x))


def times_exp_minus_sums(c: Any, c_rest: Any, x: Any, x_rest: Any) -> Any:
    """(c + c_rest)·e^−(x + x_rest), as `times_exp_minus`; each rest is about an ulp of its number."""
    return quiet(lambda: (c + c_rest) * np.exp(-(x + x_rest)))


def expm1_minus(x: Any) -> Any:
    """e^−x − 1 for x ≥ 0, to about 1 ulp: half the work of `expm1`."""
    return quiet(lambda: np.expm1(-x))


def _build_exp(c: SimpleNamespace) -> Any:
    T, log2_e, ln2_hi, ln2_lo, tail = c.T, c.log2_e, c.ln2_hi, c.ln2_lo, c.expm1_tail
    shift, low, high = c.round_to_integer, c.exp_min, c.exp_max

    def exp(x):
        x = low if x < low else x
        x = high if x > high else x
        n = fma(x, log2_e, shift) - shift
        r_hi = fma(n, -ln2_hi, x)
        r_lo = -ln2_lo * n
        r = r_hi + r_lo
        s = T(1) + r_hi
        error = r_hi - (s - T(1))
        p = s + (error + fma(r * r, horner(r, tail), r_lo))
        half = fma(n, T(0.5), shift)
        return p * power_of_two(half) * power_of_two(shift + (n - (half - shift)))

    return exp


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


# 2^(n + lift) is a normal number for every n ≤ 0 that matters, so that one product by the constant 2^−lift is left:
# three operations in place of ten.
def _build_exp_minus(c: SimpleNamespace, factor: float = 1.0) -> Any:
    T, log2_e, ln2, ln2_rest, tail = c.T, c.log2_e, c.ln2, c.ln2_rest, c.expm1_tail
    shift, high, drop = T(c.round_to_integer + c.lift), c.exp_minus_max, T(factor * c.drop)

    def exp_minus(x):
        x = high if x > high else x
        shifted = fma(x, -log2_e, shift)
        n = shifted - shift
        r = fma(n, -ln2_rest, fma(n, -ln2, -x))
        p = T(1) + fma(r * r, horner(r, tail), r)
        return p * power_of_two(shifted) * drop

    return exp_minus


def _build_expansion(c: SimpleNamespace) -> Any:
    """(s, rest, scale) with e^−x = (s + rest)·scale·2^−lift, s + rest to twice the digits or nearly so."""
    T, log2_e, ln2_hi, ln2_lo, tail = c.T, c.log2_e, c.ln2_hi, c.ln2_lo, c.expm1_tail
    shift, high = T(c.round_to_integer + c.lift), c.exp_minus_max

    @scalar
    def expansion(x):
        x = high if x > high else x
        shifted = fma(x, -log2_e, shift)
        n = shifted - shift
        r_hi = fma(n, -ln2_hi, -x)
        r_lo = -ln2_lo * n
        r = r_hi + r_lo
        s = T(1) + r_hi
        return s, (r_hi - (s - T(1))) + fma(r * r, horner(r, tail), r_lo), power_of_two(shifted)

    return expansion


def _build_exp_minus_close(c: SimpleNamespace) -> Any:
    expansion, drop = _build_expansion(c), c.drop

    def exp_minus_close(x):
        s, rest, scale = expansion(x)
        return (s + rest) * scale * drop

    return exp_minus_close


def _build_times_exp_minus(c: SimpleNamespace) -> Any:
    expansion, drop = _build_expansion(c), c.drop

    def times_exp_minus(factor, x):
        s, rest, scale = expansion(x)
        p = product(factor, s)
        return (p + fma(factor, rest, fma(factor, s, -p))) * scale * drop

    return times_exp_minus


def _build_times_exp_minus_sums(c: SimpleNamespace) -> Any:
    expansion, drop = _build_expansion(c), c.drop

    def times_exp_minus_sums(factor, factor_rest, x, x_rest):
        s, rest, scale = expansion(x)
        whole = s + rest
        p = product(factor, s)
        others = fma(factor, fma(-x_rest, whole, rest), factor_rest * whole)
        return (p + (others + fma(factor, s, -p))) * scale * drop

    return times_exp_minus_sums


def _build_expm1_minus(c: SimpleNamespace) -> Any:
    T, log2_e, ln2, ln2_rest, tail = c.T, c.log2_e, c.ln2, c.ln2_rest, c.expm1_tail
    shift, high = c.round_to_integer, -c.expm1_min

    def expm1_minus(x):
        x = high if x > high else x
        shifted = fma(x, -log2_e, shift)
        n = shifted - shift
        r = fma(n, -ln2_rest, fma(n, -ln2, -x))
        scale = power_of_two(shifted)
        return fma(scale, fma(r * r, horner(r, tail), r), scale - T(1))

    return expm1_minus


choose(exp, _build_exp)
choose(expm1, _build_expm1)
choose(exp_minus, _build_exp_minus)
choose(four_exp_minus, lambda c: _build_exp_minus(c, 4.0))
choose(exp_minus_close, _build_exp_minus_close)
choose(times_exp_minus, _build_times_exp_minus)
choose(times_exp_minus_sums, _build_times_exp_minus_sums)
choose(expm1_minus, _build_expm1_minus)
