"""The oracle against functions whose slopes are known: never outside its error bar, and sharp enough to decide."""

import numpy as np
import pytest
import scipy.special as sp

from nbgrad.testing.oracle.differences import ladders, scales, slopes


def estimate(f, x, at_kink=False):
    with np.errstate(all="ignore"):
        h = ladders(scales(x, 0.0))
        plus, minus = x + h, x - h
        steps = [np.where(s >= 8 * np.spacing(np.abs(x)), s, np.nan) for s in (plus - x, x - minus)]
        return slopes(x, f(x), f(plus), f(minus), *steps, 2.0**-52, 5e-324, at_kink)


def drawn(low=-1022, positive=False):
    rng = np.random.default_rng(1)
    whole = np.exp2(rng.uniform(low, 900, 2000))
    some = np.concatenate([rng.uniform(-8, 8, 2000), whole * rng.choice([-1, 1], 2000), np.exp2(rng.uniform(-30, 11, 2000))])
    return np.abs(some) if positive else some


def cosh2(x):
    return 1 / np.cosh(x) ** 2


KNOWN = {
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), lambda x: np.exp(-abs(x)) / (1 + np.exp(-abs(x))) ** 2, False, 0.75),
    "tanh": (np.tanh, cosh2, False, 0.75),
    "exp": (np.exp, np.exp, False, 0.6),
    "log": (np.log, lambda x: 1 / x, True, 0.99),
    "sqrt": (np.sqrt, lambda x: 0.5 / np.sqrt(x), True, 0.99),
    "square": (lambda x: x * x, lambda x: 2 * x, False, 0.7),
    "sine": (np.sin, np.cos, False, 0.5),
    "|x|^1.5": (lambda x: np.abs(x) ** 1.5, lambda x: 1.5 * np.sign(x) * np.sqrt(np.abs(x)), False, 0.8),
    "log(1 + x)": (lambda x: np.log(1 + x), lambda x: 1 / (1 + x), True, 0.9),
    "relu": (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0, False, 0.4),
    "softshrink": (lambda x: np.sign(x) * np.maximum(abs(x) - 0.5, 0), lambda x: (abs(x) > 0.5) * 1.0, False, 0.4),
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_slope_lies_inside_the_error_bar(name):
    f, slope, positive, decided = KNOWN[name]
    x = drawn(positive=positive)
    low, high, error = estimate(f, x)
    with np.errstate(all="ignore"):
        true, value = slope(x), f(x)
    known = np.isfinite(true) & np.isfinite(value)
    with np.errstate(all="ignore"):
        room = error + 1e-14 * np.abs(true) * np.maximum(1, np.abs(x)) + 1e-322
    with np.errstate(all="ignore"):
        outside = known & ((true < low - room) | (true > high + room))
    assert not outside.any(), (x[outside][:3], true[outside][:3], low[outside][:3], error[outside][:3])
    assert (known & (error <= np.abs(true) / 64)).mean() >= decided


def test_sees_a_slope_of_2e_10_beside_a_value_of_1():
    low, _, error = estimate(KNOWN["sigmoid"][0], np.array([22.18]))
    assert low[0] == pytest.approx(2.33e-10, rel=0.01) and error[0] < 0.01 * low[0]


def test_saturation_is_not_a_slope_of_zero():
    low, high, error = estimate(KNOWN["sigmoid"][0], np.array([40.0]))
    assert low[0] - error[0] <= 4.2e-18 <= high[0] + error[0]


@pytest.mark.parametrize(("x", "declared"), [(0.0, True), (0.0, False), (1e-17, False)])
def test_a_kink_is_an_interval(x, declared):
    low, high, error = estimate(lambda x: 1 / (1 + np.exp(-x)) + np.maximum(x, 0), np.array([x]), declared)
    assert low[0] == pytest.approx(0.25, abs=1e-6) and high[0] == pytest.approx(1.25, abs=1e-6) and error[0] < 1e-6


def test_oscillation_between_the_steps_is_no_slope():
    x = np.linspace(5, 9, 400)
    low, high, error = estimate(lambda x: np.sin(1000 * x), x)
    true = 1000 * np.cos(1000 * x)
    assert ((low - error <= true) & (true <= high + error)).all()


def test_float32_inside_is_seen():
    """Noise 8 digits above that of a float64 function, found from the values alone."""
    x = np.random.default_rng(2).uniform(-3, 3, 500)
    low, high, error = estimate(lambda x: np.tanh(x.astype(np.float32)).astype(np.float64), x)
    true = cosh2(x)
    assert ((low - error <= true) & (true <= high + error)).mean() > 0.99 and np.median(error) > 1e-9


SINGULAR = {
    "x log x": (lambda x: sp.xlogy(x, x), lambda x: np.log(x) + 1),
    "x log x beside 1": (lambda x: 1 + sp.xlogy(x, x), lambda x: np.log(x) + 1),
    "x log² x": (lambda x: x * np.log(x) ** 2, lambda x: np.log(x) ** 2 + 2 * np.log(x)),
    "dilogarithm": (sp.spence, lambda x: np.log(x) / (1 - x)),
    "entropy": (sp.entr, lambda x: -np.log(x) - 1),
    "square root": (np.sqrt, lambda x: 0.5 / np.sqrt(x)),
    "x^0.9": (lambda x: x**0.9, lambda x: 0.9 * x**-0.1),
    "x^0.1, 0 beyond": (lambda x: np.maximum(x, 0) ** 0.1, lambda x: 0.1 * x**-0.9),
    "reciprocal": (lambda x: 1 / x, lambda x: -1 / x / x),
    "reciprocal of |x|": (lambda x: 1 / np.abs(x), lambda x: -1 / x / x),
    "logarithm of |x|": (lambda x: np.log(np.abs(x)), lambda x: 1 / x),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_the_bar_beside_a_singularity_holds_the_slope_or_is_infinite(name):
    """At points nearer to 0 than every step that f's values can see."""
    f, slope = SINGULAR[name]
    x = np.exp2(-np.arange(1.0, 1074, 7))
    low, high, error = estimate(f, x)
    with np.errstate(all="ignore"):
        true = slope(x)
        held = (low - error <= true * (1 + 1e-12)) & (true * (1 - 1e-12) <= high + error)
        held |= (low - error <= true * (1 - 1e-12)) & (true * (1 + 1e-12) <= high + error) | np.isinf(true)
    assert (held | np.isinf(error)).all(), (x[~held], true[~held], low[~held], error[~held])
    assert np.isfinite(error[:4]).all()
