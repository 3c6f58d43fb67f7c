"""What the regression models need beyond the losses: second derivatives in the score, ``d2_f``, the loss of labels; and
the table of the models of one score a row, some of which stand beside their formulas in `nbgrad.formulas.log_link` and
`nbgrad.formulas.robust`.

The logistic losses know labels, 0 or 1, by `neg_margin`. (The labels are checked before: another one, nan among them,
is taken for 1.)
"""

from __future__ import annotations

from nbgrad.formulas import log_link, robust
from nbgrad.formulas.classic import d_sigmoid, sigmoid
from nbgrad.formulas.losses import (
    d_half_squared_error,
    d_logistic_squared_error,
    half_squared_error,
    logistic_squared_error,
)
from nbgrad.formulas.row import RegressionModel, ScoreModel
from nbgrad.formulas.smooth import softplus
from nbgrad.formulas.targets import is_binary, is_finite
from nbgrad.jit import scalar


@scalar
def d2_half_squared_error(x, target):
    """1"""
    T = type(x)
    return T(1)


@scalar
def neg_margin(x, target):
    """The score as the label wants it small: x for t = 0, −x for t = 1."""
    return x if target == type(x)(0) else -x


@scalar
def logistic_loss(x, target):
    """−ln σ(x) for t = 1, −ln σ(−x) for t = 0: softplus of the negative margin."""
    T = type(x)
    return softplus(neg_margin(x, target), T(1))


@scalar
def d_logistic_loss(x, target):
    """σ or −σ of the negative margin: a sure label keeps its digits (σ(x) − 1 is 0 from x = 17 on in float32)."""
    T = type(x)
    slope = sigmoid(neg_margin(x, target))
    return slope if target == T(0) else -slope


@scalar
def d2_logistic_loss(x, target):
    """σ'(x), for either target"""
    return d_sigmoid(x)


@scalar
def d2_logistic_squared_error(x, target):
    """2σσ'(2 − 3σ), σ at the negative margin z: the loss is σ(z)²"""
    T = type(x)
    y = sigmoid(neg_margin(x, target))
    return (y + y) * d_sigmoid(x) * (T(2) - T(3) * y)


#: The models of one score a row. A new one is a row: what it minimises, `regression.NAME_value_and_grad` and its like,
#: Hessians, `Problem`, blocks, Dask, GPUs, tests and benchmarks follow.
SCORE_MODELS = {
    "linear": ScoreModel(
        half_squared_error, d_half_squared_error, d2_half_squared_error, is_finite,
        targets="finite numbers (in {dtype})",
        text="""Half the squared residual ½(s − y)² of the scores s = x·w + b, averaged: linear regression (ridge with
        ``l2``).

        Derivative in the score: s − y; second derivative: 1, so that the Hessian depends neither on ``params`` nor on
        ``y``.

        Source: A.-M. Legendre, Nouvelles méthodes pour la détermination des orbites des comètes (1805).
        """,
        example="""
        >>> linear_value_and_grad(np.array([1.0, 0.5]), np.array([[1.0], [2.0]]), np.array([1.5, 3.5]))
        (np.float64(0.25), array([-1. , -0.5]))
        """,
    ),
    "logistic": ScoreModel(
        logistic_loss, d_logistic_loss, d2_logistic_loss, is_binary,
        targets="labels 0 or 1",
        classifies=True,
        text="""Cross-entropy −y·ln σ(s) − (1 − y)·ln σ(−s) of the scores s = x·w + b, averaged: logistic regression.

        Derivative in the score: (1 − y)·σ(s) − y·σ(−s), which keeps its digits where σ(s) − y cancels; second
        derivative: σ'(s), from both tails: it is not 0 where σ(s) rounds to 1.

        Source: D. R. Cox, The regression analysis of binary sequences, J. R. Stat. Soc. B 20 (1958) 215.
        """,
        example="""
        >>> logistic_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
        (np.float64(0.6931471805599453), array([-0.25,  0.  ]))
        """,
    ),
    "logistic_mse": ScoreModel(
        logistic_squared_error, d_logistic_squared_error, d2_logistic_squared_error, is_binary,
        targets="labels 0 or 1",
        classifies=True,
        text="""Squared error (σ(s) − y)² of the scores s = x·w + b, averaged: 1/m Σ (σ(wᵀx) − y)², without a half.

        Derivative in the score: 2(σ(s) − y)·σ'(s), with σ(s) − 1 computed as −σ(−s); second derivative:
        2σ(z)σ'(z)(2 − 3σ(z)) at z, which is s for y = 0, −s for y = 1: negative where the model is sure and wrong. Not
        convex, and flat there: the cross-entropy of `logistic_value_and_grad` is neither.

        Source: G. W. Brier, Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78 (1950) 1.
        """,
        example="""
        >>> logistic_mse_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 1]))
        (np.float64(0.25), array([-0.125,  0.   ]))
        """,
    ),
    **log_link.MODELS,
    **robust.MODELS,
}  # fmt: skip

#: Of a whole row of scores: its formulas are in `nbgrad.formulas.rows`.
SOFTMAX = RegressionModel(
    targets="labels in 0..{last}",
    classifies=True,
    text="""Cross-entropy −ln softmax(s)[y] of the scores s = W·x + b, averaged: softmax (multinomial) regression.

    Derivative in the scores: softmax(s) − onehot(y), the label's entry as −(the sum of the others). The Hessian's
    product with scores u is p∘(u − Σ p·u), computed from differences to the likeliest class's u, so that a sure class
    keeps its digits. Labels are checked before any memory is read with them.

    Two classes with ``params`` (0, w) are logistic regression with w.

    Source: J. S. Bridle, Training stochastic model recognition algorithms as networks, NIPS 2 (1990) 211.
    """,
    example="""
    >>> softmax_value_and_grad(np.zeros((2, 2)), np.array([[1.0], [2.0]]), np.array([0, 1]))
    (np.float64(0.6931471805599453), array([[ 0.25,  0.  ], [-0.25,  0.  ]]))
    """,
)
