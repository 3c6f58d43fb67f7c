"""One wrong element of many is found, and no message is long."""

import numpy as np
import pytest

from nbgrad.testing import GradientError, check_gradient

N = 30_000
X = np.random.default_rng(0).normal(size=N)
ROWS = np.random.default_rng(1).normal(size=(3, N))


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def d_softmax(g, x):
    y = softmax(x)
    return y * (g - (g * y).sum())


FUNCTIONS = {
    "sine": (np.sin, lambda g, x: g * np.cos(x)),
    "sine of floats": (lambda x: np.sin(np.asarray(x, float)), lambda g, x: g * np.cos(x)),
    "weighted": (lambda x: ROWS[0] * np.tanh(x), lambda g, x: g * ROWS[0] / np.cosh(x) ** 2),
    "sum of squares": (lambda x: (x**2).sum(), lambda g, x: 2 * g * x),
    "matrix": (lambda x: ROWS @ x, lambda g, x: g @ ROWS),
    "softmax": (softmax, d_softmax),
    "cumsum": (np.cumsum, lambda g, x: np.cumsum(g[::-1])[::-1]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_one_wrong_element_is_found(name):
    forward, backward = FUNCTIONS[name]
    for place, factor in ((17, 2.0), (N - 1, 1 + 1e-4)):

        def wrong(g, x, place=place, factor=factor):
            grad = np.array(backward(g, x))
            grad[place] *= factor
            return grad

        with pytest.raises(GradientError) as caught:
            check_gradient(forward, wrong, X)
        assert caught.value.index == (place,) and len(str(caught.value)) <= 5000


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_ones_pass(name):
    assert check_gradient(*FUNCTIONS[name], X).confirmed >= 4


def test_an_elementwise_function_is_seen_whole():
    x = X.copy()
    x[777] = 22.18
    y = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731
    right = lambda g, x: g * np.exp(-x) / (1 + np.exp(-x)) ** 2  # noqa: E731
    assert check_gradient(y, right, x).confirmed > N * 0.99
    with pytest.raises(GradientError) as caught:
        check_gradient(y, lambda g, x: right(g, x) * (x < 20), x)
    assert caught.value.index == (777,)


def test_the_reproducer_of_a_large_array_is_whole():
    with pytest.raises(GradientError) as caught:
        check_gradient(lambda x: x**2, lambda g, x: g * x, X)
    assert "x0 = ..." in str(caught.value) and str(X[123]) in caught.value.reproducer


def test_what_float64_refuses_is_not_asked_in_long_double():
    """Without vectors and BLAS each of its values takes long: a product of 450 × 450 matrices a third of a second."""
    dtypes = []

    def forward(x):
        dtypes.append(x.dtype)
        return np.sin(x).sum()

    with pytest.raises(GradientError, match="differences in float64"):
        check_gradient(forward, lambda g, x: g * np.cos(x) * np.where(np.arange(N) == 4321, 1 + 1e-4, 1), X)
    assert dtypes.count(np.dtype(np.longdouble)) <= 8
