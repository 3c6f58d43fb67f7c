"""Gradients whose value is a number though a part of the product is too large or too small for one."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, same_bits

from nbgrad import functional as F
from nbgrad import tensor
from nbgrad.autograd.factors import product, times

pytestmark = pytest.mark.filterwarnings("ignore:(overflow|divide|invalid):RuntimeWarning")


def gradients(function, *arrays):
    tensors = [tensor(a, requires_grad=True) for a in arrays]
    function(*tensors).backward()
    return [t.grad.numpy() for t in tensors]


def close(got, exact, dtype, ulps=4):
    """To a few units in the last place of ``dtype``, in which the exact value is rounded to its range."""
    got = np.asarray(got)
    assert got.dtype == dtype
    for y, e in zip(got.ravel(), np.ravel(exact), strict=True):
        info = np.finfo(dtype)
        if abs(e) > mpmath.mpf(float(info.max)):
            assert y == np.inf * int(mpmath.sign(e)), (y, e)
        else:
            unit = max(float(np.spacing(dtype(abs(float(e))))), float(info.smallest_subnormal))
            assert abs(mpmath.mpf(float(y)) - e) <= ulps * unit, (y, e)


@pytest.mark.parametrize("dtype", DTYPES)
@given(st.data())
def test_the_divisors_gradient(dtype, data):
    """−g·x/y² over all exponents."""
    info = np.finfo(dtype)
    exponents = st.integers(info.minexp - info.nmant, info.maxexp - 1)
    numbers = st.builds(lambda m, e: dtype(np.ldexp(dtype(m), e)), st.floats(0.5, 1, exclude_max=True, width=32), exponents)
    g, x, y = (data.draw(numbers) for _ in range(3))
    if min(map(float, (g, x, y))) == 0:
        return
    t = [tensor(np.array([v]), requires_grad=True) for v in (x, y)]
    (t[0] / t[1]).backward(tensor(np.array([g])))
    with mpmath.workdps(60):
        g, x, y = (mpmath.mpf(float(v)) for v in (g, x, y))
        close(t[1].grad.numpy(), [-g * x / y**2], dtype)


def test_the_divisors_gradient_at_zero():
    for dtype, tiny in zip(DTYPES, (1e-40, 1e-310), strict=True):
        same_bits(gradients(lambda x, y: (x / y).sum(), dtype([0]), dtype([tiny]))[1], dtype([-0.0]))


@pytest.mark.parametrize("dtype", DTYPES)
def test_powers(dtype):
    big, exponent = (1e30, 3) if dtype is np.float32 else (1e200, 3)
    for x, p, g in ((1 / big, exponent, big), (-1 / big, exponent, big), (big, 2.5, 1 / big), (-big, -2, 1.0), (big, -1, big), (3.0, 4.0, 2.0)):
        t = [tensor(np.array([v], dtype), requires_grad=True) for v in (x, p)]
        (t[0] ** t[1]).backward(tensor(np.array([g], dtype)))
        with mpmath.workdps(60):
            x, p, g = (mpmath.mpf(float(dtype(v))) for v in (x, p, g))
            close(t[0].grad.numpy(), [g * p * mpmath.re(mpmath.power(x, p - 1))], dtype, 8)
            if x > 0:
                close(t[1].grad.numpy(), [g * mpmath.power(x, p) * mpmath.log(x)], dtype, 64)


def test_neighbours_out_of_range_change_no_bit():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 50)).astype(np.float32)
    x, p = abs(x), abs(y) + 1
    x_out, y_out, p_out = (np.append(a, np.float32(v)) for a, v in ((x, 1e-30), (y, 1e-40), (p, 3)))
    for f, a, b, a_out, b_out in ((lambda a, b: (a / b).sum(), x, y, x_out, y_out), (lambda a, b: (a**b).sum(), x, p, x_out, p_out)):
        for alone, beside in zip(gradients(f, a, b), gradients(f, a_out, b_out), strict=True):
            same_bits(beside[:-1], alone)


def test_powers_at_zero_stay():
    x, p = gradients(lambda x, p: (x**p).sum(), np.array([0.0, 0.0, 2.0, 0.0]), np.array([0.0, 2.0, 3.0, 1.0]))
    same_bits(x, np.array([0.0, 0.0, 12.0, 1.0]))
    same_bits(p, np.array([0.0, 0.0, 8 * np.log(2.0), 0.0]))


@given(st.lists(st.floats(1e-300, 1e300), min_size=1, max_size=4), st.lists(st.floats(1e-300, 1e300), max_size=2))
def test_product(factors, divisors):
    exact = Fraction(1)
    for f in factors:
        exact *= Fraction(f)
    for d in divisors:
        exact /= Fraction(d)
    got = product(tuple(map(np.float64, factors)), tuple(map(np.float64, divisors)))
    if exact > Fraction(np.finfo(float).max):
        assert got > 1e307
    else:
        assert abs(Fraction(float(got)) - exact) <= 6 * Fraction(float(np.spacing(float(exact))))


def test_times_a_number_out_of_range():
    array = np.array([1e30, -1e20], np.float32)
    np.testing.assert_allclose(times(array, np.float64(1e-60)), [1e-30, -1e-40], rtol=1e-4)
    same_bits(times(array, np.float64(0.5)), array * np.float32(0.5))
    assert times(array, np.float64(0)).dtype == np.float32


LOSSES = {
    "mse_loss": lambda x, t: 2 * (x - t),
    "l1_loss": lambda x, t: np.sign(x - t),
    "huber_loss": lambda x, t: x - t,
}


@pytest.mark.parametrize("name", LOSSES)
def test_a_factor_after_the_mean(name):
    """1/N of small gradients is no number of float32; what comes after it brings them back."""
    factor = 2.0**100 if name != "l1_loss" else 2.0**60
    x = np.full(3000, 50 * np.finfo(np.float32).smallest_subnormal)
    x[0], x[1] = 0.25, 0
    t = np.zeros(3000, np.float32)
    got, back = gradients(lambda a, b: getattr(F, name)(a, b) * factor, x, t)
    exact = LOSSES[name](x.astype(float), 0.0) / 3000 * factor
    np.testing.assert_allclose(got, exact, rtol=1e-6)
    np.testing.assert_allclose(back, -exact, rtol=1e-6)


def test_a_factor_after_the_mean_of_a_cross_entropy():
    x = np.tile(np.float32([80.0, 0.0]), (3000, 1))
    labels, weight = np.zeros(3000, int), np.float32([3, 1])
    labels[:1000] = -100
    p = np.exp(-80.0)
    for w in (None, weight):
        (got,) = gradients(lambda a, w=w: F.cross_entropy(a, labels, weight=w) * 2.0**40, x)
        expected = np.where(labels[:, None] < 0, 0.0, np.array([-p, p]) / 2000 * 2.0**40)
        np.testing.assert_allclose(got, expected, rtol=1e-5)
    (got,) = gradients(lambda a: F.nll_loss(a, labels, weight=np.float32([1e-30, 1])) * 2.0**40, x[:, :2])
    np.testing.assert_allclose(got[1500], [-(2.0**40) / 2000, 0], rtol=1e-5)


def test_a_mean_of_moderate_size_has_the_bits_it_had():
    rng = np.random.default_rng(0)
    x, t = rng.normal(size=(2, 50)).astype(np.float32)
    (plain,) = gradients(lambda a: F.mse_loss(a, t), x)
    (scaled,) = gradients(lambda a: F.mse_loss(a, t) * 4.0, x)
    same_bits(scaled, plain * 4)


def test_the_targets_gradient_where_a_weight_is_zero():
    """0 where the class is masked with −inf, too; so for a smoothing of 1 and a pos_weight of 0."""
    x, q = np.array([[-np.inf, 1.0, 2.0]]), np.array([[0.0, 0.5, 0.5]])
    log = np.log1p(np.exp([1.0, -1.0]))
    (got,) = gradients(lambda t: F.cross_entropy(x, t, weight=np.array([0.0, 1, 2])), q)
    np.testing.assert_allclose(got, [[0, log[0], 2 * log[1]]], rtol=1e-14)
    (got,) = gradients(lambda t: F.cross_entropy(x, t, label_smoothing=1.0, reduction="none").sum() * 0.0, q)
    same_bits(np.abs(got), np.zeros((1, 3)))
    infinite = np.array([-np.inf, np.inf, 1.0])
    (got,) = gradients(lambda t: F.binary_cross_entropy_with_logits(infinite, t, weight=np.array([0.0, 0, 3])), np.array([1.0, 1, 0.5]))
    np.testing.assert_allclose(got, [0, 0, -1], rtol=1e-14)
    (got,) = gradients(lambda t: F.binary_cross_entropy_with_logits(infinite[[0, 2]], t, pos_weight=0.0), np.array([1.0, 0.5]))
    np.testing.assert_allclose(got, [0, -np.log1p(np.exp(1.0)) / 2], rtol=1e-14)
