"""tanh for x ≥ 0."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.elementary.choose import choose, quiet
from nbgrad.elementary.exponential import exp_minus
from nbgrad.jit.intrinsics import fma, horner

__all__ = ["tanh_plus"]


def tanh_plus(x: Any) -> Any:
    """tanh x for x ≥ 0.

    From 0.8 on as 1 − 2e/(1 + e) with e = e^−2x, where the rounding errors of the small second term hardly matter;
    below by a polynomial. (From expm1, the rounding errors of −m/(2 + m) had to be put right: twice the time.)
    """
    return quiet(np.tanh, x)


def _build_tanh_plus(c: SimpleNamespace) -> Any:
    T, tail = c.T, c.tanh_tail

    def tanh_plus(x):
        e = exp_minus(x + x)
        z = x * x
        far = T(1) - (e + e) / (T(1) + e)
        return fma(x * z, horner(z, tail), x) if x < T(0.8) else far

    return tanh_plus


choose(tanh_plus, _build_tanh_plus)
