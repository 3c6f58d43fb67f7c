"""What the losses of a score and their derivatives are, by mpmath, where they are sums of terms that cancel; and what a
function of theirs has wrong.
"""

import mpmath
import numpy as np

MP = mpmath.MPContext()
MP.prec = 200


def sigmoid(x):
    return 1 / (1 + MP.exp(-x))


def pinball(x, t, q, h):
    return q * (t - x) + h * MP.log1p(MP.exp((x - t) / h))


#: function: (definition of (x, t, parameters), the largest of the terms it adds, targets, parameters)
SUMS = {
    "poisson_loss": (lambda x, t: MP.exp(x) - t * x, lambda x, t: max(MP.exp(x), abs(t * x)), (0.0, 0.5, 3.0, 1e5), ()),
    "d_poisson_loss": (lambda x, t: MP.exp(x) - t, lambda x, t: max(MP.exp(x), t), (0.0, 0.5, 3.0, 1e5), ()),
    "d2_poisson_loss": (lambda x, t: MP.exp(x), lambda x, t: MP.exp(x), (0.0, 3.0), ()),
    "gamma_loss": (lambda x, t: x + t * MP.exp(-x), lambda x, t: max(abs(x), t * MP.exp(-x)), (1e-30, 0.5, 1e30), ()),
    "d_gamma_loss": (lambda x, t: 1 - t * MP.exp(-x), lambda x, t: max(1, t * MP.exp(-x)), (1e-30, 0.5, 1e30), ()),
    "d2_gamma_loss": (lambda x, t: t * MP.exp(-x), lambda x, t: t * MP.exp(-x), (1e-30, 0.5, 1e30), ()),
    "d2_huber": (lambda x, t, d: MP.mpf(abs(x - t) <= d), lambda x, t, d: MP.mpf(1), (0.0, 2.0), (1.5,)),
    "quantile_loss": (pinball, pinball, (0.0, 2.0), (0.75, 0.5)),
    "d_quantile_loss": (
        lambda x, t, q, h: MP.diff(lambda s: pinball(s, t, q, h), x),
        lambda x, t, q, h: max((1 - q) * sigmoid((x - t) / h), q * sigmoid((t - x) / h)), (0.0, 2.0), (0.75, 0.5),
    ),
    "d2_quantile_loss": (
        lambda x, t, q, h: sigmoid((x - t) / h) * sigmoid((t - x) / h) / h,
        lambda x, t, q, h: sigmoid((x - t) / h) * sigmoid((t - x) / h) / h, (0.0, 2.0), (0.75, 0.5),
    ),
}  # fmt: skip

#: (function, score, target, what is right there)
inf = np.inf
LIMITS = [
    ("poisson_loss", inf, 3.0, inf), ("poisson_loss", -inf, 0.0, 0.0), ("poisson_loss", -inf, 1.0, inf),
    ("poisson_loss", 1e300, 1e10, inf), ("poisson_loss", -1e300, 0.0, 0.0), ("d_poisson_loss", inf, 3.0, inf),
    ("gamma_loss", inf, 1.0, inf), ("gamma_loss", -inf, 1.0, inf), ("gamma_loss", -1e300, 1e-300, inf),
    ("d_gamma_loss", -inf, 1.0, -inf), ("d_gamma_loss", inf, 1.0, 1.0), ("d2_gamma_loss", inf, 1e300, 0.0),
    ("d2_huber", 1.5, 0.0, 1.0), ("d2_huber", -1.5, 0.0, 1.0), ("d2_huber", inf, 0.0, 0.0), ("quantile_loss", inf, 0.0, inf),
]  # fmt: skip


def excesses(name, function, dtype):
    """Where ``function`` is off by more than 2 units in the last place of the largest term (3 beyond 80, where an
    exponential is made of two).
    """
    definition, largest, targets, parameters = SUMS[name]
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, scale, 100) for scale in (1, 10, 60)]).astype(dtype)
    for x in (*points, dtype(0), dtype(-101), dtype(101)):
        for t in map(dtype, targets):
            # a loss of a residual is one of the rounded difference
            numbers = [MP.mpf(float(v)) for v in ((x - t, 0, *parameters) if parameters else (x, t))]
            exact = definition(*numbers)
            with np.errstate(over="ignore"):
                unit = np.spacing(dtype(float(largest(*numbers))))
            got = function(x, t, *map(dtype, parameters))
            if not np.isfinite(unit):
                if got != np.inf * np.sign(float(exact)):
                    yield x, t, got, exact
            elif not abs(MP.mpf(float(got)) - exact) <= (3 if abs(x) > 80 else 2) * float(unit):
                yield x, t, got, exact


def wrong_limits(name, function):
    """Where ``function`` is wrong at limits; nan is to give nan."""
    parameters = tuple(map(np.float64, SUMS[name][3]))
    found = [(x, t) for n, x, t, want in LIMITS if n == name and function(np.float64(x), np.float64(t), *parameters) != want]
    if name == "quantile_loss":  # a side that weighs nothing
        for q, want in ((0.0, 0.0), (1.0, inf)):
            for x, own in ((-inf, q), (inf, 1 - q)):
                if function(np.float64(x), np.float64(0), np.float64(own), np.float64(0.1)) != want:
                    found.append((x, own))
    return found + [nan for nan in [np.float64(np.nan)] if not np.isnan(function(nan, np.float64(1), *parameters))]
