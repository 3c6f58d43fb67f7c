"""FIRST TO READ: every activation and elementwise loss, with its derivative directly below it.

Plain functions of numbers. `nbgrad.ops` lists them; loops, CUDA kernels, autograd, tests and benchmarks are
derived from that table. Conventions:

* ``d_f`` is the true derivative at the *input* (from the output it is lost: 1 − tanh² is 0 from x = 9 on in
  float32, the truth is 6e-8).
* ``T = type(x)`` and constants as ``T(1)``: a bare ``1.0`` would turn float32 into float64.
* nan gives nan, ±inf the limit. Conditional expressions become selects, not branches: loops over them are
  vectorised.
* The value of a derivative at a kink is PyTorch's.
"""

from __future__ import annotations

from nbgrad.elementary import exp, expm1, log1p, quotient, quotient_squared, times_exp
from nbgrad.jit import scalar


@scalar
def sigmoid(x):
    """σ(x) = 1/(1 + e⁻ˣ) = e/(1 + e) with e = e^−|x| for x < 0: exp cannot overflow, and the left tail keeps
    its digits.
    """
    T = type(x)
    e = exp(-abs(x))
    return quotient(T(1) if x >= T(0) else e, T(1), e)


@scalar
def d_sigmoid(x):
    """σ'(x) = e/(1 + e)² with e = e^−|x|. From the output, y·(1 − y) is exactly 0 from x = 17 on in float32;
    the truth there is 4e-8.
    """
    T = type(x)
    e = exp(-abs(x))
    return quotient_squared(e, T(1), e)


@scalar
def tanh(x):
    """tanh|x| = −m/(2 + m) with m = e^(−2|x|) − 1; the sign is put back. expm1 keeps the digits near 0, where
    1 − e would lose them.
    """
    T = type(x)
    m = expm1(T(-2) * abs(x))
    y = quotient(-m, T(2), m)
    return y if x > T(0) else (-y if x < T(0) else x)  # x itself keeps -0


@scalar
def d_tanh(x):
    """tanh'(x) = 1 − tanh²x = 4e/(1 + e)² with e = e^(−2|x|)."""
    T = type(x)
    y = T(-2) * abs(x)
    return quotient_squared(times_exp(y, T(2)), T(1), exp(y))


@scalar
def relu(x):
    """max(x, 0)"""
    T = type(x)
    return T(0) if x <= T(0) else x


@scalar
def d_relu(x):
    """1 for x > 0, else 0 (0 at the kink)"""
    T = type(x)
    return T(1) if x > T(0) else (T(0) if x <= T(0) else x)


@scalar
def leaky_relu(x, negative_slope):
    """x for x > 0, else negative_slope·x"""
    T = type(x)
    return x if x > T(0) else negative_slope * x


@scalar
def d_leaky_relu(x, negative_slope):
    """1 for x > 0, else negative_slope (at the kink too)"""
    T = type(x)
    return T(1) if x > T(0) else (negative_slope if x <= T(0) else x)


@scalar
def elu(x, alpha):
    """x for x > 0, else α·(eˣ − 1). expm1, because eˣ − 1 has no correct digit left near 0."""
    T = type(x)
    return x if x > T(0) else alpha * expm1(x)


@scalar
def d_elu(x, alpha):
    """1 for x > 0, else α·eˣ (α at the kink). From the output, elu(x) + α cancels in the tail."""
    T = type(x)
    return T(1) if x > T(0) else alpha * exp(x)


@scalar
def squared_error(x, target):
    """(x − t)²"""
    d = x - target
    return d * d


@scalar
def d_squared_error(x, target):
    """2(x − t)"""
    d = x - target
    return d + d


@scalar
def half_squared_error(x, target):
    """½(x − t)²"""
    T = type(x)
    d = x - target
    return T(0.5) * d * d


@scalar
def d_half_squared_error(x, target):
    """x − t"""
    return x - target


@scalar
def logistic_squared_error(x, target):
    """(σ(x) − t)², with σ(x) − t as (1 − t)·σ(x) − t·σ(−x): σ(x) − 1 would be 0 from x = 17 on in float32."""
    T = type(x)
    d = (T(1) - target) * sigmoid(x) - target * sigmoid(-x)
    return d * d


@scalar
def d_logistic_squared_error(x, target):
    """2(σ(x) − t)·σ'(x)"""
    T = type(x)
    d = (T(1) - target) * sigmoid(x) - target * sigmoid(-x)
    return (d + d) * d_sigmoid(x)


@scalar
def absolute_error(x, target):
    """|x − t|"""
    return abs(x - target)


@scalar
def d_absolute_error(x, target):
    """sign(x − t) (0 at the kink)"""
    T = type(x)
    d = x - target
    return T(1) if d > T(0) else (T(-1) if d < T(0) else (T(0) if d == T(0) else d))


@scalar
def huber(x, target, delta):
    """½d² for d = |x − t| ≤ δ, else δ(d − ½δ)"""
    T = type(x)
    d = abs(x - target)
    return T(0.5) * d * d if d <= delta else delta * (d - T(0.5) * delta)


@scalar
def d_huber(x, target, delta):
    """x − t clipped to [−δ, δ]"""
    d = x - target
    return -delta if d < -delta else (delta if d > delta else d)


@scalar
def binary_cross_entropy_with_logits(x, target, pos_weight):
    """−p·t·ln σ(x) − (1 − t)·ln(1 − σ(x)), where −ln σ(∓x) = max(±x, 0) + ln(1 + e^−|x|): sums of positive
    terms, no cancellation.
    """
    T = type(x)
    tail = log1p(exp(-abs(x)))
    positive = (T(0) if x >= T(0) else -x) + tail
    negative = (x if x >= T(0) else T(0)) + tail
    # a term with factor 0 is absent, also where it is infinite
    return (T(0) if target == T(0) else pos_weight * target * positive) + (
        T(0) if target == T(1) else (T(1) - target) * negative
    )


@scalar
def d_binary_cross_entropy_with_logits(x, target, pos_weight):
    """−p·t·σ(−x) + (1 − t)·σ(x): from both tails, so a sure label keeps its digits (σ(x) − 1 is 0 from x = 17
    on in float32).
    """
    T = type(x)
    return (T(1) - target) * sigmoid(x) - pos_weight * target * sigmoid(-x)
