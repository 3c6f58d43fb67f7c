"""Losses of a score whose exponential is a mean: Poisson and gamma regression, with their rows."""

from __future__ import annotations

import numpy as np

from nbgrad.elementary.exponential import exp
from nbgrad.formulas.row import ScoreModel
from nbgrad.formulas.targets import is_count, is_positive
from nbgrad.jit import scalar


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


MODELS = {
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
}  # fmt: skip
