"""Exact zeros of clamps are confirmed, those of saturation are not."""

import math

import numpy as np
import pytest
from numba import vectorize

from nbgrad import kernels
from nbgrad.testing import GradientError, GradientWarning, array, check_gradient, gradient_test


def in_floats(f):
    """Of floats alone: no wider precision and no mpmath helps."""
    return vectorize(["f4(f4)", "f8(f8)"])(f)


CLAMPS = {
    "clip": (in_floats(lambda x: min(max(x, -1), 1)), lambda g, x: g * (np.abs(x) < 1)),
    "3 + clip": (in_floats(lambda x: 3 + min(max(x, -1), 1)), lambda g, x: g * (np.abs(x) < 1)),
    "from 0 to 1": (in_floats(lambda x: min(max(x, 0), 1) + 7), lambda g, x: g * ((x > 0) & (x < 1))),
    "relu + 1": (in_floats(lambda x: max(x, 0) + 1), lambda g, x: g * (x > 0)),
    "relu6": (kernels.relu6, kernels.relu6_backward),
    "hardtanh": (kernels.hardtanh, kernels.hardtanh_backward),
    "hardsigmoid": (kernels.hardsigmoid, kernels.hardsigmoid_backward),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CLAMPS)
def test_clamps(name, dtype):
    forward, backward = CLAMPS[name]
    x = np.array([-1e6, -300.0, -17.5, -7.0, -4.25, 7.0, 8.5, 90.0, 1e6], dtype)
    x = x[x < 0] if name == "relu + 1" else x
    report = check_gradient(forward, lambda g, x: backward(g, x).astype(x.dtype), x, strict=True)
    assert report.confirmed == report.elements == x.size


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_of_clamps(dtype):
    x = np.array([-7.0, 0.5, 9.0, -4.0], dtype)
    report = check_gradient(lambda x: np.float64(1) * kernels.hardtanh(x).sum() + 2, lambda g, x: (g * (np.abs(x) < 1)).astype(dtype), x)
    assert report.confirmed == 4


def test_constant_functions():
    for f in (lambda x: x - x + 3, lambda x: np.full(x.shape, 7.0), lambda x: x.dtype.type(2) + 0 * x.sum()):
        for x in (np.array([0.0, 5.0, -1e10]), np.array([1.0, 2.0], np.float32)):
            report = check_gradient(f, lambda g, x: 0 * x, x, strict=True)
            assert report.confirmed == report.elements


def test_minima():
    for f in (in_floats(lambda x: x * x / 4), in_floats(lambda x: 3 - math.cos(x) * 2), in_floats(lambda x: math.cosh(x))):
        for dtype in (np.float32, np.float64):
            assert check_gradient(f, lambda g, x: 0 * x, np.zeros(2, dtype), strict=True).confirmed == 2
    with pytest.raises(GradientError, match="kink|wrong"):
        check_gradient(in_floats(lambda x: abs(x) + x / 4), lambda g, x: 2 * g, np.zeros(1))


SATURATED = {
    "sigmoid": (kernels.sigmoid, 40.0),
    "tanh": (in_floats(lambda x: math.tanh(x)), -22.0),
    "erf": (in_floats(lambda x: math.erf(x)), 7.0),
    "a flat exponential": (in_floats(lambda x: 1 / (1 + math.exp(-(x - 1e4)))), 10050.0),
    "a kink on one side only": (in_floats(lambda x: 1 / (1 + math.exp(-x)) if x < 60 else x), 50.0),
    "a jump": (in_floats(lambda x: 1 / (1 + math.exp(-x)) if x < 60 else 2.0), 50.0),
}


@pytest.mark.parametrize("name", SATURATED)
def test_saturation_is_not_confirmed(name):
    forward, at = SATURATED[name]
    with pytest.warns(GradientWarning):
        assert check_gradient(forward, lambda g, x: g * 0, np.array([at])).undecided == 1


def test_clamps_are_confirmed_in_properties():
    test = gradient_test(kernels.hardtanh, kernels.hardtanh_backward, array(3, domain=(2.0, 1e6)))
    test()
    assert test.report.confirmed == test.report.elements
