"""What the regression models need beyond the losses: losses of a score and its target, second derivatives in the score,
``d2_f``; and the table of the models of one score a row.

The logistic losses know labels, 0 or 1, by `neg_margin`. (The labels are checked before: another one, nan among them,
is taken for 1.)
"""

from __future__ import annotations

import numpy as np

from nbgrad.elementary.exponential import exp, exp_minus_close
from nbgrad.elementary.logarithm import log1p_unit
from nbgrad.formulas.classic import d_sigmoid, sigmoid
from nbgrad.formulas.losses import (
    d_half_squared_error,
    d_huber,
    d_logistic_squared_error,
    half_squared_error,
    huber,
    logistic_squared_error,
)
from nbgrad.formulas.row import RegressionModel, ScoreModel
from nbgrad.formulas.smooth import softplus
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


@scalar
def poisson_loss(x, target):
    """eˣ − t·x (e^∞, not ∞ − ∞, where eˣ overflows; 0·x is 0 where x is infinite): to 2 ulp of the larger term"""
    T = type(x)
    e = exp(x)
    return e if (target == T(0)) | (e == T(np.inf)) else e - target * x


@scalar
def d_poisson_loss(x, target):
    """eˣ − t"""
    return exp(x) - target


@scalar
def d2_poisson_loss(x, target):
    """eˣ"""
    return exp(x)


@scalar
def _times_exp_minus(t, x):
    """t·e^−x over the whole range: as (t·e^(−x/2))·e^(−x/2) where e^−x may overflow or be subnormal and t makes up for
    it.
    """
    T = type(x)
    far = abs(x) > T(80)
    e = exp(T(-0.5) * x if far else -x)
    return t * e * e if far else t * e


@scalar
def gamma_loss(x, target):
    """x + t·e^−x (e^∞, not ∞ − ∞, for x = −∞): to 2 ulp of the larger term"""
    T = type(x)
    ratio = _times_exp_minus(target, x)
    return ratio if ratio == T(np.inf) else x + ratio


@scalar
def d_gamma_loss(x, target):
    """1 − t·e^−x"""
    T = type(x)
    return T(1) - _times_exp_minus(target, x)


@scalar
def d2_gamma_loss(x, target):
    """t·e^−x"""
    return _times_exp_minus(target, x)


@scalar
def d2_huber(x, target, delta):
    """1 where |x − t| ≤ δ, else 0"""
    T = type(x)
    d = abs(x - target)
    return T(1) if d <= delta else (T(0) if d > delta else d)


@scalar
def quantile_loss(x, target, q, smoothing):
    """q·r + h·ln(1 + e^(−r/h)) of r = t − x, as |r|·(q or 1 − q) + h·ln(1 + e^(−|r|/h)): positive terms"""
    T = type(x)
    r = target - x
    side = q if r > T(0) else T(1) - q
    far = abs(r)
    return (T(0) if side == T(0) else side * far) + smoothing * log1p_unit(exp_minus_close(far / smoothing))


@scalar
def d_quantile_loss(x, target, q, smoothing):
    """σ(z) − q at z = (x − t)/h, as (1 − q)·σ(z) − q·σ(−z): keeps its digits in both tails"""
    T = type(x)
    z = (x - target) / smoothing
    return (T(1) - q) * sigmoid(z) - q * sigmoid(-z)


@scalar
def d2_quantile_loss(x, target, q, smoothing):
    """σ'((x − t)/h)/h"""
    return d_sigmoid((x - target) / smoothing) / smoothing


@scalar
def is_finite(t):
    return t - t == type(t)(0)


@scalar
def is_count(t):
    """As a mean it need not be whole."""
    return (t >= type(t)(0)) & is_finite(t)


@scalar
def is_positive(t):
    return (t > type(t)(0)) & is_finite(t)


@scalar
def is_binary(t):
    T = type(t)
    return (t == T(0)) | (t == T(1))


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
    "poisson": ScoreModel(
        poisson_loss, d_poisson_loss, d2_poisson_loss, is_count,
        targets="finite numbers >= 0 (in {dtype})",
        text="""Poisson regression: eˢ − y·s of the scores s = x·w + b, averaged; the mean is eˢ (log link). It is half
        the deviance, without the terms that depend on y alone.

        Derivative in the score: eˢ − y; second derivative: eˢ. Where eˢ overflows the value is inf.

        Source: J. A. Nelder, R. W. M. Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972) 370.
        """,
        example="""
        >>> poisson_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0, 3]))
        (np.float64(1.0), array([-1.5, -0.5]))
        """,
    ),
    "gamma": ScoreModel(
        gamma_loss, d_gamma_loss, d2_gamma_loss, is_positive,
        targets="finite numbers > 0 (in {dtype})",
        text="""Gamma regression: s + y·e^−s of the scores s = x·w + b, averaged; the mean is eˢ (log link). It is half
        the deviance, without the terms that depend on y alone.

        Derivative in the score: 1 − y·e^−s; second derivative: y·e^−s, also where e^−s alone is out of range. Where
        that overflows the value is inf.

        Source: J. A. Nelder, R. W. M. Wedderburn, Generalized linear models, J. R. Stat. Soc. A 135 (1972) 370.
        """,
        example="""
        >>> gamma_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([1.0, 3.0]))
        (np.float64(2.0), array([-2., -1.]))
        """,
    ),
    "huber": ScoreModel(
        huber, d_huber, d2_huber, is_finite,
        targets="finite numbers (in {dtype})",
        parameters={"delta": 1.0},
        ranges={"delta": "> 0"},
        text="""Huber's loss of the residual r = y − s, s = x·w + b, averaged: ½r² for abs(r) ≤ ``delta``, else
        delta·(abs(r) − ½delta): linear regression in which outliers count less.

        Derivative in the score: −r, clipped to ±delta; second derivative: 1 for abs(r) ≤ delta, else 0.

        Source: P. J. Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35 (1964) 73.
        """,
        example="""
        >>> huber_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0.5, 5.0]), delta=2.0)
        (np.float64(4.0625), array([-2.25, -1.25]))
        """,
    ),
    "quantile": ScoreModel(
        quantile_loss, d_quantile_loss, d2_quantile_loss, is_finite,
        targets="finite numbers (in {dtype})",
        parameters={"q": 0.5, "smoothing": 0.1},
        ranges={"q": "in 0..1", "smoothing": "> 0"},
        text="""Quantile regression, smoothed: q·r + h·ln(1 + e^(−r/h)) of the residual r = y − s, s = x·w + b,
        averaged, with h = ``smoothing``, in y's units. For h → 0 that is the pinball loss, q·r above 0 and (q − 1)·r
        below, whose minimum is the ``q``-quantile of y; it is larger than the pinball loss by h·ln 2 at r = 0, and by
        less elsewhere.

        Derivative in the score: σ(−r/h) − q; second derivative: σ'(r/h)/h.

        Source: C. Chen, O. L. Mangasarian, A class of smoothing functions for nonlinear and mixed complementarity
        problems, Comput. Optim. Appl. 5 (1996) 97; R. Koenker, G. Bassett, Regression quantiles, Econometrica 46 (1978)
        33.
        """,
        example="""
        >>> quantile_value_and_grad(np.zeros(2), np.array([[1.0], [2.0]]), np.array([0.0, 5.0]), q=0.75)
        (np.float64(1.9096573590279973), array([-0.875, -0.5  ]))
        """,
    ),
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
