"""What the regression models need beyond the losses: the logistic loss of a label that is 0 or 1, and second
derivatives in the score, ``d2_f``; and the table of the models of one score a row.

z is the negative margin, the score as the label wants it small: x for t = 0, −x for t = 1. (The labels are checked
before: another one, nan among them, is taken for 1.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from nbgrad.formulas.classic import d_sigmoid, sigmoid
from nbgrad.formulas.losses import (
    d_half_squared_error,
    d_logistic_squared_error,
    half_squared_error,
    logistic_squared_error,
)
from nbgrad.formulas.smooth import softplus
from nbgrad.jit import scalar


@scalar
def d2_half_squared_error(x, target):
    """1"""
    T = type(x)
    return T(1)


@scalar
def logistic_loss(x, target):
    """−ln σ(x) for t = 1, −ln σ(−x) for t = 0: softplus of z."""
    T = type(x)
    return softplus(x if target == T(0) else -x, T(1))


@scalar
def d_logistic_loss(x, target):
    """σ(z) or −σ(z): a sure label keeps its digits (σ(x) − 1 is 0 from x = 17 on in float32)."""
    T = type(x)
    negative = target == T(0)
    slope = sigmoid(x if negative else -x)
    return slope if negative else -slope


@scalar
def d2_logistic_loss(x, target):
    """σ'(x), for either target"""
    return d_sigmoid(x)


@scalar
def d2_logistic_squared_error(x, target):
    """2σσ'(2 − 3σ) at z: the loss is σ(z)²"""
    T = type(x)
    y = sigmoid(x if target == T(0) else -x)
    return (y + y) * d_sigmoid(x) * (T(2) - T(3) * y)


@scalar
def is_finite(t):
    return t - t == type(t)(0)


@scalar
def is_binary(t):
    T = type(t)
    return (t == T(0)) | (t == T(1))


class ScoreModel(NamedTuple):
    """A model of one score a row: a loss of the score and a target that is a number."""

    loss: Callable[..., Any]
    derivative: Callable[..., Any]  # in the score, as the next
    second_derivative: Callable[..., Any]
    is_target: Callable[..., Any]


SCORE_MODELS = {
    "linear": ScoreModel(half_squared_error, d_half_squared_error, d2_half_squared_error, is_finite),
    "logistic": ScoreModel(logistic_loss, d_logistic_loss, d2_logistic_loss, is_binary),
    "logistic_mse": ScoreModel(logistic_squared_error, d_logistic_squared_error, d2_logistic_squared_error, is_binary),
}
