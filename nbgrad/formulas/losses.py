"""Elementwise losses of an input and a target, each with its derivative in the input below it."""

from __future__ import annotations

from nbgrad.elementary.exponential import exp_minus_close
from nbgrad.elementary.logarithm import log1p_unit
from nbgrad.formulas.classic import d_sigmoid, sigmoid
from nbgrad.formulas.row import Elementwise
from nbgrad.jit import scalar


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
    tail = log1p_unit(exp_minus_close(abs(x)))
    positive = (T(0) if x >= T(0) else -x) + tail
    negative = (x if x >= T(0) else T(0)) + tail
    # a term with factor 0 is absent, also where it is infinite
    factor = T(0) if target == T(0) else pos_weight * target
    return (T(0) if factor == T(0) else factor * positive) + (
        T(0) if target == T(1) else (T(1) - target) * negative
    )


@scalar
def d_binary_cross_entropy_with_logits(x, target, pos_weight):
    """−p·t·σ(−x) + (1 − t)·σ(x): from both tails, so a sure label keeps its digits (σ(x) − 1 is 0 from x = 17
    on in float32).
    """
    T = type(x)
    factor = T(0) if target == T(0) else pos_weight * target
    return (T(1) - target) * sigmoid(x) - factor * sigmoid(-x)


ROWS: tuple[Elementwise, ...] = (
    Elementwise(squared_error, d_squared_error, {}),
    Elementwise(half_squared_error, d_half_squared_error, {}),
    Elementwise(logistic_squared_error, d_logistic_squared_error, {}),
    Elementwise(absolute_error, d_absolute_error, {}, kinks=(0.0,)),
    Elementwise(huber, d_huber, {"delta": 1.0}, ranges={"delta": "> 0"}),
    Elementwise(
        binary_cross_entropy_with_logits, d_binary_cross_entropy_with_logits, {"pos_weight": 1.0}
    ),
)  # fmt: skip
