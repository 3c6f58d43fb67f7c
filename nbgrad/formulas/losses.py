"""Elementwise losses of an input and a target, each with its derivative in the input below it; that in the target
where it is not the negative.
"""

from __future__ import annotations

from nbgrad.elementary.division import quotient
from nbgrad.elementary.exponential import exp_minus_close
from nbgrad.elementary.logarithm import log1p_unit
from nbgrad.formulas.row import Loss
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
def _sigmoids(x):
    """(σ(x), σ(−x)), both of e = e^−|x|, and so the value and the slopes of a loss of one exponential: a loop that
    computes several of them has it once, and the division, because the compiler finds the same twice.
    """
    T = type(x)
    e = exp_minus_close(abs(x))
    large, small = quotient(T(1), T(1), e), quotient(e, T(1), e)
    return (large, small) if x >= T(0) else (small, large)


@scalar
def _logistic_error(x, target):
    """σ(x) − t as (1 − t)·σ(x) − t·σ(−x): σ(x) − 1 would be 0 from x = 17 on in float32."""
    above, below = _sigmoids(x)
    return (type(x)(1) - target) * above - target * below


@scalar
def logistic_squared_error(x, target):
    """(σ(x) − t)²"""
    d = _logistic_error(x, target)
    return d * d


@scalar
def d_logistic_squared_error(x, target):
    """2(σ(x) − t)·σ'(x), with σ'(x) = σ(x)·σ(−x)"""
    d = _logistic_error(x, target)
    above, below = _sigmoids(x)
    return (d + d) * (above * below)


@scalar
def dt_logistic_squared_error(x, target):
    """2(t − σ(x)), the derivative in the target"""
    d = _logistic_error(x, target)
    return -(d + d)


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
    return (T(0) if factor == T(0) else factor * positive) + (T(0) if target == T(1) else (T(1) - target) * negative)


@scalar
def d_binary_cross_entropy_with_logits(x, target, pos_weight):
    """−p·t·σ(−x) + (1 − t)·σ(x): from both tails, so a sure label keeps its digits (σ(x) − 1 is 0 from x = 17
    on in float32).
    """
    T = type(x)
    above, below = _sigmoids(x)
    factor = T(0) if target == T(0) else pos_weight * target
    return (T(1) - target) * above - factor * below


@scalar
def dt_binary_cross_entropy_with_logits(x, target, pos_weight):
    """−p·ln σ(x) + ln(1 − σ(x)), the derivative in the target, as (p − 1)·ln(1 + e^−|x|) − (x or, for x < 0, p·x): −x
    itself for p = 1, where the difference of the logarithms would have no digit left near 0.
    """
    T = type(x)
    tail = log1p_unit(exp_minus_close(abs(x)))
    # a term with factor 0 is absent, also where it is infinite
    line = x if x >= T(0) else (T(0) if pos_weight == T(0) else pos_weight * x)
    return (pos_weight - T(1)) * tail - line


@scalar
def dt_binary_cross_entropy_of_weights(x, pos_weight):
    """The same, in which no target is left."""
    return dt_binary_cross_entropy_with_logits(x, x, pos_weight)


ROWS: tuple[Loss, ...] = (
    Loss(squared_error, d_squared_error, {}, textbook="(x - target) ** 2", kernel="mse_loss"),
    Loss(half_squared_error, d_half_squared_error, {}, textbook="0.5 * (x - target) ** 2"),
    Loss(
        logistic_squared_error, d_logistic_squared_error, {}, textbook="(1 / (1 + exp(-x)) - target) ** 2",
        target_derivative=dt_logistic_squared_error, targets=(0.0, 1.0),
    ),
    Loss(absolute_error, d_absolute_error, {}, kinks=(0.0,), textbook="abs(x - target)", kernel="l1_loss"),
    Loss(
        huber, d_huber, {"delta": 1.0}, ranges={"delta": "> 0"}, kernel="huber_loss",
        textbook="0.5 * (x - target) ** 2 if abs(x - target) <= delta else delta * (abs(x - target) - 0.5 * delta)",
    ),
    Loss(
        binary_cross_entropy_with_logits, d_binary_cross_entropy_with_logits, {"pos_weight": 1.0},
        textbook="-pos_weight * target * log(1 / (1 + exp(-x))) - (1 - target) * log(1 / (1 + exp(x)))",
        target_derivative=dt_binary_cross_entropy_with_logits, targets=(0.0, 1.0),
        kernel="binary_cross_entropy_with_logits", input="logits",
    ),
)  # fmt: skip
