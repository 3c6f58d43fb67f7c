"""Losses of a residual that do not square large ones: Huber's and quantile regression, with their rows."""

from __future__ import annotations

from nbgrad.elementary.exponential import exp_minus_close
from nbgrad.elementary.logarithm import log1p_unit
from nbgrad.formulas.classic import d_sigmoid, sigmoid
from nbgrad.formulas.losses import d_huber, huber
from nbgrad.formulas.row import ScoreModel
from nbgrad.formulas.targets import is_finite
from nbgrad.jit import scalar


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


MODELS = {
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
