"""Signs; sums, products and quotients whose rounding errors are put right: about 0.5 ulp in all, where a chain of plain
operations would add up to 2 or 3.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.elementary.choose import choose, quiet
from nbgrad.jit.intrinsics import fma as _fma
from nbgrad.jit.intrinsics import product, reciprocal

__all__ = [
    "copysign", "divide", "fma", "quotient", "quotient_one_plus", "quotient_squared", "two_product", "two_sum",
]  # fmt: skip


def copysign(y: Any, x: Any) -> Any:
    """|y| with the sign of x."""
    return np.copysign(y, x)


def fma(a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once (in plain Python twice)."""
    return quiet(lambda: a * b + c)


def divide(n: Any, d: Any, error: Any) -> Any:
    """n/(d + error) for |error| at most an ulp or two of d.

    One reciprocal, and the residual n − y·(d + error) of the first quotient y = n/d.
    """
    return quiet(lambda: n / (d + error))


def quotient(n: Any, a: Any, b: Any) -> Any:
    """n/(a + b) for |a| ≥ |b|."""
    return quiet(lambda: n / (a + b))


def quotient_one_plus(n: Any, x: Any) -> Any:
    """n/(1 + x) for x ≥ 0 (a plain quotient in float64, of which float32 is made)."""
    return quiet(lambda: n / (type(x)(1) + x))


def quotient_squared(n: Any, b: Any) -> Any:
    """n/(1 + b)² for 0 ≤ b ≤ 1, with (1 + b)² as 1 + b(2 + b)."""
    return quiet(lambda: n / ((1 + b) * (1 + b)))


def two_sum(a: Any, b: Any) -> Any:
    """(s, rest): s = a + b rounded, and its rounding error (D. Knuth, The Art of Computer Programming 2, 4.2.2)."""
    return quiet(lambda: (a + b, type(a)(0)))


def two_product(a: Any, b: Any) -> Any:
    """(p, rest): p = a·b rounded, and its rounding error."""
    return quiet(lambda: (a * b, type(a)(0)))


def _build_copysign(c: SimpleNamespace) -> Any:
    return lambda y, x: math.copysign(y, x)


def _build_fma(c: SimpleNamespace) -> Any:
    return lambda a, b, c: _fma(a, b, c)


def _build_divide(c: SimpleNamespace) -> Any:
    def divide(n, d, error):
        r = reciprocal(d)
        y = n * r
        return _fma(_fma(-y, error, _fma(-y, d, n)), r, y)

    return divide


def _build_quotient(c: SimpleNamespace) -> Any:
    def quotient(n, a, b):
        d = a + b
        return divide(n, d, b - (d - a))

    return quotient


def _build_quotient_one_plus(c: SimpleNamespace) -> Any:
    T = c.T

    def plain(n, x):
        return n / (T(1) + x)

    def corrected(n, x):
        return divide(n, *two_sum(T(1), x))

    return corrected if T is np.float32 else plain


def _build_quotient_squared(c: SimpleNamespace) -> Any:
    T = c.T

    def quotient_squared(n, b):
        s = T(2) + b
        d = _fma(b, s, T(1))
        return divide(n, d, _fma(b, s, T(1) - d))

    return quotient_squared


def _build_two_sum(c: SimpleNamespace) -> Any:
    def two_sum(a, b):
        s = a + b
        v = s - a
        return s, (a - (s - v)) + (b - v)

    return two_sum


def _build_two_product(c: SimpleNamespace) -> Any:
    def two_product(a, b):
        p = product(a, b)  # an instruction of its own: CUDA's compiler would fuse a plain product with a later sum
        return p, _fma(a, b, -p)

    return two_product


choose(two_sum, _build_two_sum)
choose(two_product, _build_two_product)
choose(copysign, _build_copysign)
choose(fma, _build_fma)
choose(divide, _build_divide)
choose(quotient, _build_quotient)
choose(quotient_one_plus, _build_quotient_one_plus)
choose(quotient_squared, _build_quotient_squared)
