"""The normal distribution's tail, and erf and erfc by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.elementary.choose import choose, quiet
from nbgrad.elementary.division import two_product
from nbgrad.elementary.exponential import times_exp_minus, times_exp_minus_sums
from nbgrad.jit.intrinsics import fma, horner, reciprocal

__all__ = ["erf", "erfc", "normal_center", "normal_ratio"]


def erf(x: Any) -> Any:
    """(2/√π)·∫₀ˣ e^−t² dt. Derivative: (2/√π)·e^−x².

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(erf(0.0))
    0.0
    """
    return quiet(_special().erf, x)


def erfc(x: Any) -> Any:
    """1 − erf(x), accurate where that is small. Derivative: −(2/√π)·e^−x².

    Returns
    -------
    float
        In x's precision.

    Examples
    --------
    >>> float(erfc(0.0))
    1.0
    """
    return quiet(_special().erfc, x)


def normal_ratio(x: Any) -> Any:
    """(y, rest): y + rest = Φ(−x)·e^(x²/2) for x ≥ 0, the normal distribution's tail beside its density (Mills' ratio
    over √2π).

    One polynomial for all x, in (x − k)/(x + k), after M. Shepherd & J. Laframboise, Math. Comp. 36 (1981) 249.
    """
    return quiet(lambda: (type(x)(_special().erfcx(x * np.sqrt(0.5)) / 2), type(x)(0)))


def normal_center(square: Any) -> Any:
    """(Φ(x) − ½)/x for x² = ``square`` ≤ 0.5."""
    if square == 0:
        return type(square)(0.3989422804014327)  # 1/√2π, the limit
    return quiet(lambda: type(square)(_special().erf(np.sqrt(square / 2)) / np.sqrt(square) / 2))


def _special() -> Any:
    from scipy import special  # here, because it takes a third as long to import as all of nbgrad

    return special


def _build_normal_ratio(c: SimpleNamespace) -> Any:
    T, k, rest, tail = c.T, c.normal_turn, c.normal_rest, c.normal_tail
    first, others = tail[0], tail[1:]

    def normal_ratio(x):
        # (x − k)/(x + k) for small x with the rounding of one subtraction, not of three operations: 2.5 ulp of gelu'
        t = fma(T(2), x / (x + k), -T(1))
        low = fma(t, horner(t, others), rest)
        p = first + low
        d = fma(T(1.25), x, T(1))
        r = reciprocal(d)
        y = p * r
        return y, r * (fma(-y, d, p) + fma(-y, fma(T(1.25), x, T(1) - d), low - (p - first)))

    return normal_ratio


def _build_normal_center(c: SimpleNamespace) -> Any:
    tail = c.normal_center
    return lambda square: horner(square, tail)


def _build_erfc(c: SimpleNamespace) -> Any:
    T, tail = c.T, c.erf_tail

    def erfc(x):
        a = abs(x)
        a = T(30) if a > T(30) else a
        square, square_rest = two_product(a, a)
        y, rest = normal_ratio(T(1.4142135623730951) * a)
        y = times_exp_minus_sums(T(2) * y, T(2) * rest, square, square_rest)
        small = fma(x, horner(x * x, tail), x)
        return T(1) - small if a < T(0.5) else (y if x > T(0) else T(2) - y)

    return erfc


def _build_erf(c: SimpleNamespace) -> Any:
    T, tail = c.T, c.erf_tail

    def erf(x):
        a = abs(x)
        a = T(30) if a > T(30) else a
        y = times_exp_minus(T(2) * normal_ratio(T(1.4142135623730951) * a)[0], a * a)
        large = T(1) - y if x > T(0) else y - T(1)
        return fma(x, horner(a * a, tail), x) if a < T(0.85) else large

    return erf


choose(normal_center, _build_normal_center)
choose(normal_ratio, _build_normal_ratio)
choose(erfc, _build_erfc)
choose(erf, _build_erf)
