"""The formulas of the regression models, compiled, against mpmath: to 2 units in the last place."""

import mpmath
import numpy as np
import pytest
from numba import njit

from nbgrad import formulas

MP = mpmath.MPContext()
MP.prec = 200


def sigmoid(x):
    return 1 / (1 + MP.exp(-x))


def margin(x, t):
    return -x if t else x


#: function: (definition, whether it crosses zero: then eps is no error where it is below ½)
EXACT = {
    "logistic_loss": (lambda x, t: MP.log1p(MP.exp(margin(x, t))), False),
    "d_logistic_loss": (lambda x, t: MP.diff(lambda s: MP.log1p(MP.exp(margin(s, t))), x), False),
    "d2_logistic_loss": (lambda x, t: sigmoid(x) * sigmoid(-x), False),
    "d2_half_squared_error": (lambda x, t: MP.mpf(1), False),
    "d2_logistic_squared_error": (lambda x, t: MP.diff(lambda s: (sigmoid(s) - t) ** 2, x, 2), True),
}


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
    "quantile_loss": (pinball, pinball, (0.0,), (0.75, 0.5)),
    "d_quantile_loss": (
        lambda x, t, q, h: MP.diff(lambda s: pinball(s, t, q, h), x),
        lambda x, t, q, h: max((1 - q) * sigmoid((x - t) / h), q * sigmoid((t - x) / h)), (0.0,), (0.75, 0.5),
    ),
    "d2_quantile_loss": (
        lambda x, t, q, h: sigmoid((x - t) / h) * sigmoid((t - x) / h) / h,
        lambda x, t, q, h: sigmoid((x - t) / h) * sigmoid((t - x) / h) / h, (0.0,), (0.75, 0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SUMS)
def test_sums_to_units_of_their_largest_term(name, dtype):
    """2 of them (3 beyond 80, where an exponential is made of two)."""
    definition, largest, targets, parameters = SUMS[name]
    compiled = njit(getattr(formulas, name))
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, scale, 100) for scale in (1, 10, 60)]).astype(dtype)
    for x in (*points, dtype(0), dtype(-101), dtype(101)):
        for t in map(dtype, targets):
            numbers = [MP.mpf(float(v)) for v in (x, t, *parameters)]
            exact = definition(*numbers)
            with np.errstate(over="ignore"):
                unit = np.spacing(dtype(float(largest(*numbers))))
            got = compiled(x, t, *map(dtype, parameters))
            if not np.isfinite(unit):
                assert got == np.inf * np.sign(float(exact)), (x, t, got, exact)
                continue
            allowed = (3 if abs(x) > 80 else 2) * float(unit)
            assert abs(MP.mpf(float(got)) - exact) <= allowed, (x, t, got, exact)


def test_limits_of_the_sums():
    """Infinite scores, and products whose factors are out of range."""
    inf = np.inf
    for name, x, t, want in (
        ("poisson_loss", inf, 3.0, inf), ("poisson_loss", -inf, 0.0, 0.0), ("poisson_loss", -inf, 1.0, inf),
        ("poisson_loss", 1e300, 1e10, inf), ("poisson_loss", -1e300, 0.0, 0.0), ("d_poisson_loss", inf, 3.0, inf),
        ("gamma_loss", inf, 1.0, inf), ("gamma_loss", -inf, 1.0, inf), ("gamma_loss", -1e300, 1e-300, inf),
        ("d_gamma_loss", -inf, 1.0, -inf), ("d_gamma_loss", inf, 1.0, 1.0), ("d2_gamma_loss", inf, 1e300, 0.0),
    ):  # fmt: skip
        assert njit(getattr(formulas, name))(x, t) == want, (name, x, t)
    for x, t in ((-800.0, 1e-300), (800.0, 1e300)):
        want = MP.mpf(t) * MP.exp(-MP.mpf(x))
        assert abs(njit(formulas.d2_gamma_loss)(x, t) / want - 1) < 1e-15
    for name in SUMS:
        parameters = SUMS[name][3]
        assert np.isnan(njit(getattr(formulas, name))(np.nan, 1.0, *parameters))
    for q, want in ((0.0, 0.0), (1.0, inf)):
        assert njit(formulas.quantile_loss)(-inf, 0.0, q, 0.1) == want
        assert njit(formulas.quantile_loss)(inf, 0.0, 1 - q, 0.1) == want


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", EXACT)
def test_two_units_in_the_last_place(name, dtype):
    definition, crosses_zero = EXACT[name]
    compiled = njit(getattr(formulas, name))
    rng = np.random.default_rng(0)
    points = np.concatenate([rng.normal(0, scale, 100) for scale in (1, 10, 30)]).astype(dtype)
    eps = float(np.finfo(dtype).eps)
    for x in (*points, dtype(0), dtype(0.69314718)):
        for t in (0, 1):
            exact = definition(MP.mpf(float(x)), t)
            got = compiled(x, dtype(t))
            allowed = 2 * float(np.spacing(dtype(abs(float(exact)))))
            if crosses_zero and abs(exact) < 0.5:
                allowed = max(allowed, eps)
            assert abs(MP.mpf(float(got)) - exact) <= allowed, (x, t, got, exact)


def test_extremes():
    for name in EXACT:
        compiled = njit(getattr(formulas, name))
        for x in (-np.inf, -1e20, 1e20, np.inf):
            for t in (0.0, 1.0):
                assert not np.isnan(compiled(x, t)), (name, x, t)
        assert np.isnan(compiled(np.nan, 0.0)) or name == "d2_half_squared_error"
