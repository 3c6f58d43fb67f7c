"""softplus, log_sigmoid, silu, gelu, gelu_tanh, mish, softsign.

silu, gelu and mish are max(x, 0) + w with a w of |x| that dies out on both sides, and their derivatives step(x) ± w':
nothing cancels but where the derivative itself crosses zero. They have the sign of x, where they are 0, too.
"""

from __future__ import annotations

from nbgrad.elementary.division import copysign, divide, fma, quotient, quotient_squared, two_product, two_sum
from nbgrad.elementary.exponential import exp_minus_close, times_exp_minus, times_exp_minus_sums
from nbgrad.elementary.logarithm import log1p_unit
from nbgrad.elementary.normal import normal_center, normal_ratio
from nbgrad.formulas.classic import sigmoid
from nbgrad.formulas.row import Elementwise
from nbgrad.jit import scalar


@scalar
def _scaled(x, beta):
    """βx, and 0 at x = 0 for an infinite β, too."""
    return x if x == type(x)(0) else beta * x


@scalar
def softplus(x, beta):
    """ln(1 + e^βx)/β = max(x, 0) + ln(1 + e^−|βx|)/β for β > 0: nothing overflows, both tails keep their digits."""
    z = _scaled(x, beta)
    T = type(x)
    return (x if z > T(0) else T(0)) + log1p_unit(exp_minus_close(abs(z))) / beta


@scalar
def d_softplus(x, beta):
    """σ(βx)"""
    return sigmoid(_scaled(x, beta))


@scalar
def log_sigmoid(x):
    """ln σ(x) = min(x, 0) − ln(1 + e^−|x|)"""
    T = type(x)
    return (x if x < T(0) else T(0)) - log1p_unit(exp_minus_close(abs(x)))


@scalar
def d_log_sigmoid(x):
    """σ(−x)"""
    return sigmoid(-x)


@scalar
def silu(x):
    """x·σ(x) = max(x, 0) − |x|·e/(1 + e) with e = e^−|x|"""
    T = type(x)
    a = T(800) if abs(x) > T(800) else abs(x)  # e^−800 is 0, and 0·∞ would be nan
    w = quotient(times_exp_minus(-a, a), T(1), exp_minus_close(a))
    return copysign((x if x > T(0) else T(0)) + w, x)


@scalar
def d_silu(x):
    """σ(x)(1 + x·σ(−x)) = v for x ≤ 0, 1 − v for x > 0, with v = e(1 + e − |x|)/(1 + e)², e = e^−|x|"""
    T = type(x)
    a = T(800) if abs(x) > T(800) else abs(x)
    e = exp_minus_close(a)
    c, rest = two_sum(T(1) - a, e)
    v = quotient_squared(times_exp_minus_sums(c, rest, a, T(0)), e)
    return T(1) - v if x > T(0) else v


@scalar
def gelu(x):
    """x·Φ(x) = max(x, 0) − |x|·Φ(−|x|), Φ the normal distribution. Φ(−a) as ½ − a·p(a²) near 0, else as e^(−a²/2) times
    a slowly varying ratio; the rounding error of a² is put right (it would cost 50 ulp in the tail).
    """
    T = type(x)
    a = T(40) if abs(x) > T(40) else abs(x)
    square, rest = two_product(a, a)
    near = -a * fma(-a, normal_center(square), T(0.5))
    ratio, ratio_rest = normal_ratio(a)
    c, c_rest = two_product(-a, ratio)
    w = times_exp_minus_sums(c, fma(-a, ratio_rest, c_rest), T(0.5) * square, T(0.5) * rest)
    return copysign((x if x > T(0) else T(0)) + (near if a < T(0.7) else w), x)


@scalar
def d_gelu(x):
    """Φ(x) + x·φ(x) = v for x ≤ 0, 1 − v for x > 0, with v = Φ(−|x|) − |x|·φ(x), φ(x) = e^(−x²/2)/√2π"""
    T = type(x)
    a = T(40) if abs(x) > T(40) else abs(x)
    square, rest = two_product(a, a)
    ratio, ratio_rest = normal_ratio(a)
    c = fma(-a, T(0.3989422804014327), ratio)
    v = times_exp_minus_sums(c, ratio_rest, T(0.5) * square, T(0.5) * rest)
    return T(1) - v if x > T(0) else v


# 2√(2/π), and that times 0.044715: what numbers of T have no room for follows as a second number.
_K1, _K1_REST = 1.5957691216057308, -9.96930880911092e-17
_K3, _K3_REST = 0.07135481627260025, -6.175149918155315e-19


@scalar
def _cubic(a, square, square_rest, third):
    """2√(2/π)(1 + third·0.044715a²) for a ≥ 0 as (number, rest): with twice the digits, because an error of tanh's
    argument u is a relative error of e^−u.
    """
    T = type(a)
    k1, k3 = T(_K1), T(third * _K3)
    k1_rest, k3_rest = T(_K1 - float(k1) + _K1_REST), T(third * _K3 - float(k3) + third * _K3_REST)
    product, product_rest = two_product(k3, square)
    total, total_rest = two_sum(k1, product)
    return total, total_rest + (product_rest + fma(k3, square_rest, fma(k3_rest, square, k1_rest)))


@scalar
def gelu_tanh(x):
    """½x(1 + tanh(√(2/π)(x + 0.044715x³))) = x·σ(u) = max(x, 0) − |x|·e/(1 + e) with e = e^−|u|, u twice tanh's
    argument.
    """
    T = type(x)
    a = T(40) if abs(x) > T(40) else abs(x)
    square, square_rest = two_product(a, a)
    slope, slope_rest = _cubic(a, square, square_rest, 1.0)
    u, rest = two_product(a, slope)
    rest = fma(a, slope_rest, rest)
    w = quotient(times_exp_minus_sums(-a, T(0), u, rest), T(1), times_exp_minus_sums(T(1), T(0), u, rest))
    return copysign((x if x > T(0) else T(0)) + w, x)


@scalar
def d_gelu_tanh(x):
    """σ(u) + x·u'·σ(u)σ(−u) = v for x ≤ 0, 1 − v for x > 0, with v = e(1 + e − |x|u')/(1 + e)², e = e^−|u|"""
    T = type(x)
    a = T(40) if abs(x) > T(40) else abs(x)
    square, square_rest = two_product(a, a)
    slope, slope_rest = _cubic(a, square, square_rest, 1.0)
    u, rest = two_product(a, slope)
    rest = fma(a, slope_rest, rest)
    e = times_exp_minus_sums(T(1), T(0), u, rest)
    growth, growth_rest = _cubic(a, square, square_rest, 3.0)
    product, product_rest = two_product(a, growth)
    c, c_rest = two_sum(T(1) + e, -product)
    c_rest += (e - ((T(1) + e) - T(1))) - fma(a, growth_rest, product_rest)
    v = quotient_squared(times_exp_minus_sums(c, c_rest, u, rest), e)
    return T(1) - v if x > T(0) else v


@scalar
def mish(x):
    """x·tanh(ln(1 + eˣ)) = max(x, 0) − n/d with e = e^−|x|: n = 2|x|e², d = 1 + 2e(1 + e) for x > 0, and
    n = |x|e(2 + e), d = 2 + e(2 + e) for x ≤ 0.
    """
    T = type(x)
    a = T(800) if abs(x) > T(800) else abs(x)
    e = exp_minus_close(a)
    two, two_rest = two_sum(T(2), e)
    c, c_rest = two_product(-a, T(2) if x > T(0) else two)
    c_rest -= T(0) if x > T(0) else a * two_rest
    base, f, g = (T(1), T(2) * e, T(1) + e) if x > T(0) else (T(2), e, two)
    d = fma(f, g, base)
    # the exponential last: a division at the end rounded twice, 2.08 ulp at −0.234
    r = T(1) / d
    q = c * r
    q_rest = r * (fma(-q, d, c) + fma(-q, fma(f, g, base - d), c_rest))
    return copysign((x if x > T(0) else T(0)) + times_exp_minus_sums(q, q_rest, T(2) * a if x > T(0) else a, T(0)), x)


@scalar
def d_mish(x):
    """v for x ≤ 0, 1 − v for x > 0, with d as in `mish`: v = 2e²(d − 2|x|(1 + e))/d² for x > 0, and
    v = e((2 + e)d − 4|x|(1 + e))/d² for x ≤ 0.
    """
    T = type(x)
    a = T(800) if abs(x) > T(800) else abs(x)
    e = exp_minus_close(a)
    (one, one_rest), (two, two_rest) = two_sum(T(1), e), two_sum(T(2), e)
    base, f, g = (T(1), T(2) * e, one) if x > T(0) else (T(2), e, two)
    d = fma(f, g, base)
    d_rest = fma(f, g, base - d)
    factor, factor_rest = (T(2), T(0)) if x > T(0) else (two, two_rest)
    first, first_rest = two_product(factor, d)
    second, second_rest = two_product(T(-4) * a, one)
    c, c_rest = two_sum(first, second)
    c_rest += fma(T(-4) * a, one_rest, second_rest + fma(factor_rest, d, fma(factor, d_rest, first_rest)))
    n = times_exp_minus_sums(c, c_rest, T(2) * a if x > T(0) else a, T(0))
    square = d * d
    v = divide(n, square, fma(T(2) * d, d_rest, fma(d, d, -square)))
    return T(1) - v if x > T(0) else v


@scalar
def softsign(x):
    """x/(1 + |x|)"""
    T = type(x)
    y = x / (T(1) + abs(x))
    return T(1) if x == T(float("inf")) else (T(-1) if x == T(-float("inf")) else y)


@scalar
def d_softsign(x):
    """1/(1 + |x|)²: the square of the reciprocal, because (1 + |x|)² may overflow; errors put right."""
    T = type(x)
    a = abs(x)
    d, d_rest = two_sum(T(1), a)
    r = T(1) / d
    rest = r * fma(-r, d_rest, fma(-r, d, T(1)))
    return T(0) if a == T(float("inf")) else fma(r, r, T(2) * r * rest)


ROWS: tuple[Elementwise, ...] = (
    Elementwise(softplus, d_softplus, {"beta": 1.0}, textbook="log(1 + exp(beta * x)) / beta"),
    Elementwise(log_sigmoid, d_log_sigmoid, {}, textbook="log(1 / (1 + exp(-x)))"),
    Elementwise(silu, d_silu, {}, crosses_zero=True, textbook="x / (1 + exp(-x))"),
    Elementwise(gelu, d_gelu, {}, crosses_zero=True, textbook="x * erfc(-x / sqrt(2)) / 2"),
    Elementwise(
        gelu_tanh, d_gelu_tanh, {}, crosses_zero=True,
        textbook="x / (1 + exp(-2 * sqrt(2 / pi) * (x + 44715 * x**3 / 1000000)))",
    ),
    Elementwise(mish, d_mish, {}, crosses_zero=True, textbook="x * tanh(log(1 + exp(x)))"),
    Elementwise(softsign, d_softsign, {}, textbook="x / (1 + abs(x))"),
)  # fmt: skip
