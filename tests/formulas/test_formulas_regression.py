"""The formulas of the regression models, compiled, against mpmath: to 2 units in the last place."""

import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from numba import njit

from nbgrad import formulas

sys.path.append(str(Path(__file__).parent.parent))
from score_reference import SUMS, excesses, wrong_limits  # noqa: E402

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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SUMS)
def test_sums_to_units_of_their_largest_term(name, dtype):
    assert list(excesses(name, njit(getattr(formulas, name)), dtype)) == []


def test_limits_of_the_sums():
    """Infinite scores, and products whose factors are out of range."""
    assert [name for name in SUMS if wrong_limits(name, njit(getattr(formulas, name)))] == []
    for x, t in ((-800.0, 1e-300), (800.0, 1e300)):
        want = MP.mpf(t) * MP.exp(-MP.mpf(x))
        assert abs(njit(formulas.d2_gamma_loss)(x, t) / want - 1) < 1e-15


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
