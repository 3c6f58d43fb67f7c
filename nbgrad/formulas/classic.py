"""sigmoid, tanh, relu, leaky_relu, elu."""

from __future__ import annotations

from nbgrad.elementary.division import copysign, quotient, quotient_squared
from nbgrad.elementary.exponential import exp_minus, exp_minus_close, expm1_minus, four_exp_minus, times_exp_minus
from nbgrad.elementary.hyperbolic import tanh_plus
from nbgrad.formulas.row import Elementwise
from nbgrad.jit import scalar


@scalar
def sigmoid(x):
    """σ(x) = 1/(1 + e⁻ˣ) = e/(1 + e) with e = e^−|x| for x < 0: exp cannot overflow, and the left tail keeps
    its digits.
    """
    T = type(x)
    e = exp_minus(abs(x))
    return quotient(T(1) if x >= T(0) else e, T(1), e)


@scalar
def d_sigmoid(x):
    """σ'(x) = e/(1 + e)² with e = e^−|x|. From the output, y·(1 − y) is exactly 0 from x = 17 on in float32;
    the truth there is 4e-8.
    """
    e = exp_minus(abs(x))
    return quotient_squared(e, e)


@scalar
def tanh(x):
    """(eˣ − e⁻ˣ)/(eˣ + e⁻ˣ), odd: computed for |x|, the sign is put back."""
    return copysign(tanh_plus(abs(x)), x)


@scalar
def d_tanh(x):
    """tanh'(x) = 1 − tanh²x = 4e/(1 + e)² with e = e^(−2|x|)."""
    T = type(x)
    n = four_exp_minus(T(2) * abs(x))
    return quotient_squared(n, T(0.25) * n)


@scalar
def relu(x):
    """max(x, 0); −0 stays −0"""
    T = type(x)
    return T(0) if x < T(0) else x


@scalar
def d_relu(x):
    """1 for x > 0, else 0 (0 at the kink)"""
    T = type(x)
    return T(1) if x > T(0) else (T(0) if x <= T(0) else x)


@scalar
def leaky_relu(x, negative_slope):
    """x for x > 0, else negative_slope·x"""
    T = type(x)
    # 0·∞ is 0: at 0, where x itself is the value, for an infinite slope; at −∞ for a slope of 0
    y = T(0) if (negative_slope == T(0)) & (x == -T(float("inf"))) else negative_slope * x
    return x if x >= T(0) else y


@scalar
def d_leaky_relu(x, negative_slope):
    """1 for x > 0, else negative_slope (at the kink too)"""
    T = type(x)
    return T(1) if x > T(0) else (negative_slope if x <= T(0) else x)


@scalar
def elu(x, alpha):
    """x for x > 0, else α·(eˣ − 1). expm1, because eˣ − 1 has no correct digit left near 0."""
    T = type(x)
    return x if x >= T(0) else alpha * expm1_minus(-x)


@scalar
def d_elu(x, alpha):
    """1 for x > 0, else α·eˣ (α at the kink). From the output, elu(x) + α cancels in the tail."""
    T = type(x)
    if abs(alpha) > T(2.0**20):  # α·eˣ may be a number where eˣ alone is 0
        root = exp_minus_close(T(-0.5) * x)
        y = alpha if abs(alpha) == T(float("inf")) and x == x else alpha * root * root
    else:
        y = times_exp_minus(alpha, -x)
    return T(1) if x > T(0) else y


ROWS: tuple[Elementwise, ...] = (
    Elementwise(sigmoid, d_sigmoid, {}, textbook="1 / (1 + exp(-x))"),
    Elementwise(tanh, d_tanh, {}, textbook="(exp(x) - exp(-x)) / (exp(x) + exp(-x))"),
    Elementwise(relu, d_relu, {}, kinks=(0.0,), textbook="max(x, 0)"),
    Elementwise(
        leaky_relu, d_leaky_relu, {"negative_slope": 0.1}, kinks=(0.0,),
        textbook="max(x, 0) + negative_slope * min(x, 0)",
    ),
    Elementwise(
        elu, d_elu, {"alpha": 1.0}, kinks=(0.0,), textbook="max(x, 0) + alpha * (exp(min(x, 0)) - 1)"
    ),
)  # fmt: skip
