"""Wrong beyond √eps; below it imprecise where the error behaves as rounding, else wrong; right within a few ulps."""

import numpy as np
import pytest
from verdicts import verdict

from nbgrad.testing import GradientError, GradientWarning, array, check_gradient, check_objective, gradient_test


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def textbook_softmax(g, x):
    y = softmax(x)
    return y * (g - (g * y).sum(axis=-1, keepdims=True))


def tanh_squared(g, x):
    return g * (1 - np.tanh(x) ** 2)


def y_one_minus_y(g, x):
    y = 1 / (1 + np.exp(-x))
    return g * y * (1 - y)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("shape", [(2,), (5,), (3, 4)])
def test_a_textbook_softmax_is_never_refused(shape):
    rng = np.random.default_rng(0)
    seen = {verdict(softmax, textbook_softmax, rng.normal(size=shape) * 3, rng=seed) for seed in range(25)}
    assert seen <= {"right", "imprecise"}


@pytest.mark.parametrize(("function", "backward", "at"), [(np.tanh, tanh_squared, 5.5), (sigmoid, y_one_minus_y, 9.0)])
def test_what_is_lost_to_rounding_is_imprecise(function, backward, at):
    for dtype, x in ((np.float64, at), (np.float32, at * 0.75)):
        assert verdict(function, backward, np.array([x, x + 0.03125, x + 0.1], dtype)) == "imprecise"
    with pytest.warns(GradientWarning, match=r"imprecise: the gradient of args\[0\] at \(\d,\)[\s\S]* ulps[\s\S]*terms=[\s\S]*rtol="):
        check_gradient(function, backward, np.array([at, at + 0.03125, at + 0.1]))
    assert verdict(function, backward, np.array([at]), rtol=1e-6) == "right"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("part", [0.02, 0.3, 0.9, 1.1])
def test_a_constant_factor_is_wrong(dtype, part):
    """Between the tolerance and √eps and beyond: no last bit of the inputs changes it."""
    factor = dtype(1 + part * np.sqrt(np.finfo(dtype).eps))
    x = np.array([0.3, 1.7, -2.0], dtype)
    for function, slope in ((np.sin, np.cos), (np.exp, np.exp), (lambda x: x**3, lambda x: 3 * x * x)):
        assert verdict(function, lambda g, x, slope=slope: g * slope(x) * factor, x) == "wrong"
        assert verdict(function, lambda g, x, slope=slope: g * slope(x), x) == "right"


def test_the_examples():
    assert verdict(np.sin, lambda g, x: g * np.cos(x) * np.float32(1.0003), np.array([0.3, 0.7], np.float32)) == "wrong"
    assert verdict(np.sin, lambda g, x: g * np.cos(x) * (1 + 1e-9), np.array([0.3, 0.7])) == "wrong"
    assert verdict(sigmoid, y_one_minus_y, np.array([22.18], np.float32)) == "wrong"


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_half_of_the_digits_is_the_limit(dtype):
    """Noise of a drawn size, which changes with the last bits as rounding does."""
    half = np.sqrt(np.finfo(dtype).eps)
    x = np.array([0.3, 0.9, 1.4], dtype)

    def noisy(size):
        def backward(g, x):
            noise = np.array([hash(float(v)) % 1009 / 1009 for v in x])
            noise[1] = 1 if x[1] == dtype(0.9) else noise[1]
            return (g * np.cos(x) * (1 + size * noise)).astype(dtype)

        return backward

    assert verdict(np.sin, noisy(0.97 * half), x) == "imprecise"
    assert verdict(np.sin, noisy(1.03 * half), x) == "wrong"


def test_one_wrong_point_is_wrong_however_little():
    for size in (1e-9, 1e-11, 1e-3):
        wrong = lambda g, x, size=size: g * np.cos(x) * (1 + size * (x == 0.5))  # noqa: E731
        assert verdict(np.sin, wrong, np.array([0.25, 0.5, 0.75])) == "wrong"


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("at", [3.0, -0.5, 40.0])
def test_no_wrong_point_hides_behind_the_jump_of_backward_there(dtype, at):
    x = np.array([at, 2.0], dtype)
    for wrong in (100.0, 3.0, 0.0, -2.0, 1e4):
        for width in (0.0, 1e-6, 3e-5, 1e-2):
            near = lambda g, x, w=wrong, d=width: np.where(np.abs(x - dtype(at)) <= d, dtype(w) * g, 2 * g * x)  # noqa: E731
            assert verdict(lambda x: x * x, near, x) == "wrong", (wrong, width)


def test_an_objective_and_a_property_tell_once():
    with pytest.warns(GradientWarning) as told:
        check_objective(lambda x: (np.tanh(x).sum(), 1 - np.tanh(x) ** 2), np.array([5.5, 5.6, 5.7]))
    assert len(told) == 1 and told[0].filename == __file__
    test = gradient_test(np.tanh, tanh_squared, array((20,), domain=(3.0, 6.0)))
    with pytest.warns(GradientWarning) as told:
        test()
    assert len(told) == 1 and test.report.imprecise > 0
    with pytest.raises(GradientError, match="imprecise"):
        gradient_test(np.tanh, tanh_squared, array((20,), domain=(3.0, 6.0)), strict=True)()


def test_rounding_on_a_grid_is_rounding():
    """1 − tanh² moves there by a whole number of last bits over even steps, which looks smooth."""
    for x in (6.5 + 2.0**-16, 6.5 + 2.0**-19, 6 - 2.0**-20):
        assert verdict(np.tanh, tanh_squared, np.array([x])) == "imprecise"
