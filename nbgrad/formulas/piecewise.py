"""selu, celu, hardtanh, relu6, hardsigmoid, hardswish, threshold."""

from __future__ import annotations

from nbgrad.elementary.division import fma
from nbgrad.elementary.exponential import exp, expm1, expm1_minus, times_exp_minus
from nbgrad.formulas.row import Elementwise
from nbgrad.jit import scalar

_SCALE = 1.0507009873554805
# The scale times α = 1.6732632423543772, and what a number has no room for.
_SCALE_ALPHA, _SCALE_ALPHA_REST = 1.7580993408473766, 5.75014648756476e-17


@scalar
def selu(x):
    """λx for x > 0, else λα·(eˣ − 1), λ = 1.0507009873554805, α = 1.6732632423543772"""
    T = type(x)
    c = T(_SCALE_ALPHA)
    rest = T(_SCALE_ALPHA - float(c) + _SCALE_ALPHA_REST)
    y = expm1_minus(-x)
    scale = T(_SCALE)
    above = fma(scale, x, T(_SCALE - float(scale)) * x)  # a rounded λ would overflow too early
    unscaled = x + x == x  # 0, −0 and ∞, whose products have the wrong sign or are nan
    return (x if unscaled else above) if x >= T(0) else fma(c, y, rest * y)


@scalar
def d_selu(x):
    """λ for x > 0, else λα·eˣ (λα at the kink)"""
    T = type(x)
    return T(_SCALE) if x > T(0) else times_exp_minus(T(_SCALE_ALPHA), -x)


@scalar
def celu(x, alpha):
    """x for x > 0, else α·(e^(x/α) − 1)"""
    T = type(x)
    # x itself where x/α would lose its digits: for an infinite α everywhere. (A limit of α alone costs a loop nothing.)
    limit = T(-1e-30) * abs(alpha) if abs(alpha) > T(1) else T(0)
    return x if x >= limit else alpha * expm1(x / alpha)


@scalar
def d_celu(x, alpha):
    """1 for x > 0, else e^(x/α) (1 at 0: no kink)"""
    T = type(x)
    limit = -alpha * alpha if abs(alpha) == T(float("inf")) else T(0)
    return T(1) if x >= limit else exp(x / alpha)


@scalar
def hardtanh(x, min_val, max_val):
    """x, clipped to [min_val, max_val]"""
    return min_val if x < min_val else (max_val if x > max_val else x)


@scalar
def d_hardtanh(x, min_val, max_val):
    """1 for min_val < x < max_val, else 0 (0 at both kinks)"""
    T = type(x)
    return T(1) if min_val < x < max_val else (x if x != x else T(0))


@scalar
def relu6(x):
    """x, clipped to [0, 6]; −0 stays −0"""
    T = type(x)
    return T(0) if x < T(0) else (T(6) if x > T(6) else x)


@scalar
def d_relu6(x):
    """1 for 0 < x < 6, else 0 (0 at both kinks)"""
    T = type(x)
    return T(1) if T(0) < x < T(6) else (x if x != x else T(0))


@scalar
def hardsigmoid(x):
    """(x + 3)/6, clipped to [0, 1]"""
    T = type(x)
    y = (x + T(3)) / T(6)  # outside the conditional: LLVM makes no select of a branch with a division
    return T(0) if x <= T(-3) else (T(1) if x >= T(3) else y)


@scalar
def d_hardsigmoid(x):
    """1/6 for −3 < x < 3, else 0 (0 at both kinks)"""
    T = type(x)
    return T(1) / T(6) if T(-3) < x < T(3) else (x if x != x else T(0))


@scalar
def hardswish(x):
    """x·(x + 3)/6 for −3 < x < 3; 0 below, x above"""
    T = type(x)
    y = x * (x + T(3)) / T(6)
    return T(0) if x <= T(-3) else (x if x >= T(3) else y)


@scalar
def d_hardswish(x):
    """(2x + 3)/6 for −3 < x < 3; 0 below, 1 above (0 and 1 at the kinks)"""
    T = type(x)
    y = fma(T(2), x, T(3)) / T(6)
    return T(0) if x <= T(-3) else (T(1) if x >= T(3) else y)


@scalar
def threshold(x, threshold, value):
    """x for x > threshold, else value"""
    return value if x <= threshold else x


@scalar
def d_threshold(x, threshold, value):
    """1 for x > threshold, else 0 (0 at the kink)"""
    T = type(x)
    return T(1) if x > threshold else (T(0) if x <= threshold else x)


ROWS: tuple[Elementwise, ...] = (
    Elementwise(
        selu, d_selu, {}, kinks=(0.0,),
        textbook="1.0507009873554805 * (max(x, 0) + 1.6732632423543772 * (exp(min(x, 0)) - 1))",
    ),
    Elementwise(
        celu, d_celu, {"alpha": 1.0}, textbook="max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)"
    ),
    Elementwise(
        hardtanh, d_hardtanh, {"min_val": -1.0, "max_val": 1.0}, kinks=("min_val", "max_val"),
        textbook="min_val if x < min_val else (max_val if x > max_val else x)",
    ),
    Elementwise(relu6, d_relu6, {}, kinks=(0.0, 6.0), textbook="min(max(x, 0), 6)"),
    Elementwise(hardsigmoid, d_hardsigmoid, {}, kinks=(-3.0, 3.0), textbook="min(max(x + 3, 0), 6) / 6"),
    Elementwise(hardswish, d_hardswish, {}, kinks=(-3.0, 3.0), textbook="x * min(max(x + 3, 0), 6) / 6"),
    Elementwise(
        threshold, d_threshold, {"threshold": 0.0, "value": 0.0}, kinks=("threshold",),
        textbook="x if x > threshold else value",
    ),
)  # fmt: skip
