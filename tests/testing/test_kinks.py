"""Ties, kinks, infinite slopes, and products of subnormal numbers."""

import numpy as np
import pytest
import scipy.special as sp
from verdicts import verdict

from nbgrad.testing import check_gradient

SEEDS = range(6)
TIED = np.array([1.0, 1.0, 0.5, 2.0, 1.0])
MOST = np.array([1.0, 2.0, 2.0, 2.0])


def d_sort(g, x):
    grad = np.empty_like(x)
    grad[np.argsort(x, kind="stable")] = g
    return grad


def d_top(g, x):
    grad = np.zeros_like(x)
    grad[np.argsort(-x, kind="stable")[: len(g)]] = g
    return grad


def d_middle(g, x):
    grad = np.zeros_like(x)
    grad[np.argsort(x, kind="stable")[2]] = g
    return grad


def first(g, x):
    return g * (np.arange(x.size) == np.argmax(x))


def shared(g, x):
    return g * (x == x.max()) / (x == x.max()).sum()


RIGHT = {
    "sort": (np.sort, d_sort, TIED),
    "sort zeros": (np.sort, d_sort, np.array([1.5, 1.0, 0.0, 0.0, 0.0])),
    "a jump of the second derivative": (
        lambda x: np.where(np.abs(x - 1) < 1, (x - 1) ** 2 / 2, np.abs(x - 1) - 0.5), lambda g, x: g * np.clip(x - 1, -1, 1), np.zeros(4),
    ),
    "sort equal ones": (np.sort, d_sort, np.ones(5)),
    "top 2": (lambda x: np.sort(x)[::-1][:2], d_top, TIED),
    "median": (lambda x: np.sort(x)[2], d_middle, np.zeros(5)),
    "median, the next one near": (
        lambda x: np.sort(x)[2], d_middle, np.array([-100.0, -100.0, -99.99990463256836, 1.9542468597907554, 1.609449223990941e-159]),
    ),
    "max, the first": (np.max, first, MOST),
    "max, shared": (np.max, shared, MOST),
    "max of all": (np.max, shared, np.zeros(6)),
    "maximum of two": (np.maximum, lambda g, a, b: (g * (a > b), g * (a <= b)), np.array([1.0, 2.0]), np.array([1.0, 3.0])),
    "maximum, shared": (
        np.maximum, lambda g, a, b: (g * np.where(a == b, 0.5, a > b), g * np.where(a == b, 0.5, b > a)), np.array([1.0, 2.0]), np.array([1.0, 3.0]),
    ),
}  # fmt: skip
OUTSIDE = {
    "max, all of it to each": (np.max, lambda g, x: g * (x == x.max()), MOST),
    "max, nothing": (np.max, lambda g, x: 0 * g * x, MOST),
    "max, to a smaller one": (np.max, lambda g, x: g * (np.arange(4) == 0), MOST),
    "maximum, to both": (np.maximum, lambda g, a, b: (g * (a >= b), g * (b >= a)), np.array([1.0, 2.0]), np.array([1.0, 3.0])),
    "sort, half lost": (np.sort, lambda g, x: d_sort(g, x) * np.where(x == 1, 0.5, 1), TIED),
    "median, 2 and -1": (lambda x: np.sort(x)[2], lambda g, x: g * np.array([2.0, -1, 0, 0, 0]), np.zeros(5)),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_every_generalised_gradient_is_right_at_a_tie(name):
    for seed in SEEDS:
        check_gradient(*RIGHT[name], rng=seed, strict=True)


@pytest.mark.parametrize("name", OUTSIDE)
def test_none_outside_is(name):
    for seed in SEEDS:
        assert verdict(*OUTSIDE[name], rng=seed) in ("kink", "wrong")


def entropy(p):
    return -np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), 0)


INFINITE = {
    "−p log p": (entropy, lambda g, p: g * (-np.log(p) - 1)),
    "−p log p of floats": (
        np.vectorize(lambda p: -p * float(np.log(p)) if p > 0 else 0.0, otypes=[float]), lambda g, p: g * (-np.log(p) - 1),
    ),
    "p log p, nothing below 0": (
        lambda p: np.where(p > 0, p * np.log(np.where(p > 0, p, 1)), np.where(p < 0, np.nan, 0)), lambda g, p: g * (np.log(p) + 1),
    ),
    "entr": (sp.entr, lambda g, p: g * (-np.log(p) - 1)),
    "1 + xlogy": (lambda p: 1 + sp.xlogy(p, p), lambda g, p: g * (np.log(p) + 1)),
    "spence": (sp.spence, lambda g, p: g * np.log(p) / (1 - p)),
    "√p": (np.sqrt, lambda g, p: g / 2 / np.sqrt(p)),
    "cube root": (np.cbrt, lambda g, p: g / 3 / np.cbrt(p) ** 2),
    "√|p|": (lambda p: np.sqrt(np.abs(p)), lambda g, p: g * np.sign(p) / 2 / np.sqrt(np.abs(p))),
    "arccos(1 − p)": (lambda p: np.arccos(1 - p), lambda g, p: g / np.sqrt(p * (2 - p))),
}  # fmt: skip


@pytest.mark.parametrize("name", INFINITE)
def test_an_infinite_slope_is_undecided(name):
    forward, backward = INFINITE[name]
    for seed in SEEDS:
        report = check_gradient(forward, backward, np.array([0.0, 0.5]), rng=seed)
        assert (report.confirmed, report.undecided) == (1, 1)
        assert verdict(forward, lambda g, p: 1.01 * backward(g, p), np.array([0.0, 0.5]), rng=seed) == "wrong"


@pytest.mark.parametrize("name", ["entr", "1 + xlogy", "spence", "√p"])
@pytest.mark.parametrize("p", [5e-324, 7.5e-218, 1e-40, 1e-20])
def test_beside_an_infinite_slope_nothing_right_is_refused(name, p):
    forward, backward = INFINITE[name]
    assert verdict(forward, backward, np.array([p, 0.5])) == "right"


def test_float64_made_of_float32_is_differenced_at_its_own_points():
    """Half of float64's digits beside −1 are no step of float32: there log1p seemed flat."""
    x = np.array([-0.9999999403953552, -9.583083690263594e-21, 0.4631618559360504], np.float32)
    for seed in SEEDS:
        slope = lambda g, x: (g / (1 + np.asarray(x, float))).astype(x.dtype)  # noqa: E731
        assert verdict(lambda x: np.log1p(np.asarray(x, float)), slope, x, rng=seed) == "right"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("steps", [1, 3, 1000])
@pytest.mark.parametrize(
    ("forward", "slope"),
    [
        (lambda x: np.maximum(x - 1, 0), lambda x: x > 1), (lambda x: np.abs(x - 1), lambda x: np.sign(x - 1)),
        (lambda x: np.minimum(x, 1) ** 2, lambda x: 2 * x * (x < 1)), (lambda x: np.sum(np.maximum(x - 1, 0)), lambda x: x > 1),
    ],
)  # fmt: skip
def test_beside_a_kink_that_is_not_declared_there_is_a_slope(forward, slope, steps, dtype):
    x = np.array([1 + steps * np.finfo(dtype).eps, 2.0, 0.5], dtype)
    assert verdict(forward, lambda g, x: (g * slope(x)).astype(dtype), x) == "right"
    wrong = np.where(slope(x) == 0, 0.5, 0.5 * slope(x)).astype(dtype)
    for place in range(3):
        chosen = lambda g, x, p=place: (g * np.where(np.arange(3) == p, wrong, slope(x))).astype(dtype)  # noqa: E731
        assert verdict(forward, chosen, x) == "wrong"


def test_at_the_kink_what_lies_between_is_right():
    x = np.array([1.0, 2.0])
    for part, word in ((0.0, "right"), (0.5, "right"), (1.0, "right"), (1.001, "kink"), (-0.001, "kink")):
        assert verdict(lambda x: np.maximum(x - 1, 0), lambda g, x, p=part: g * np.where(x == 1, p, 1), x) == word


@pytest.mark.parametrize(
    "x",
    [
        [1e-200, 1e-120, 1e15, 2.0], [1e15, 1e-200, 1e-120, 1e10], [1e-310, 1e300, 5.0], [5e-324, 1e300, 1e10], [1e-160, 1e-160, 1e150],
        np.array([1e-30, 1e-12, 1e10, 2.0], np.float32), np.array([1e-44, 1e30, 1e5], np.float32),
    ],
)  # fmt: skip
def test_subnormal_numbers_beside_large_factors_are_no_fault(x):
    x = np.asarray(x)

    def backward(g, x):
        return g * np.array([np.prod(np.delete(x, i)) for i in range(x.size)])

    for seed in SEEDS:
        assert verdict(np.prod, backward, x, rng=seed) == "right"
    assert verdict(np.prod, lambda g, x: 2 * backward(g, x), x) == "wrong"
