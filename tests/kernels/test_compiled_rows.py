"""softmax and its relatives inside a user's ``@njit`` function give what they give outside. (Accuracy: ``tests/formulas/test_rows.py``.)"""

import numpy as np
import pytest
from numba import njit
from strategies import nearly_same

from nbgrad import kernels

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 3
G = RNG.normal(size=(4, 6))


# Each combination takes seconds to compile, and the two functions differ in nothing but the call of `nbgrad.formulas.rows`.
@pytest.mark.parametrize(("name", "dtype"), [("softmax", np.float32), ("log_softmax", np.float64)])
def test_rows(name, dtype):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")

    @njit
    def f(x, g, axis):
        y = forward(x, axis=axis)
        return y, backward(g, y, axis=axis)

    x, g = RNG.normal(size=(2, 3, 4)).astype(dtype), RNG.normal(size=(2, 3, 4)).astype(dtype)
    x = np.asfortranarray(x)
    for axis in (-1, 0, 1, -3):
        y, gradient = f(x, g, axis)
        nearly_same(y, forward(x, axis=axis))
        np.testing.assert_allclose(gradient, backward(g, forward(x, axis=axis), axis=axis), rtol=1e-5, atol=1e-6)


def test_logsumexp_and_maxout():
    @njit
    def f(x):
        return kernels.logsumexp(x[0]), kernels.logsumexp(x), kernels.logsumexp(x, axis=0)

    expected = kernels.logsumexp(X[0]), kernels.logsumexp(X), kernels.logsumexp(X, axis=0)
    for compiled, plain in zip(f(X), expected, strict=True):
        nearly_same(compiled, plain)

    @njit
    def backward(g, row, grads, x):
        return (
            kernels.logsumexp_backward(g, row),
            kernels.logsumexp_backward(grads, x),
            kernels.logsumexp_backward(grads[:4], x[:, :4], axis=0),
        )

    expected = (
        kernels.logsumexp_backward(2.0, X[0]), kernels.logsumexp_backward(G[:, 0], X), kernels.logsumexp_backward(G[:, 0], X[:, :4], axis=0)
    )  # fmt: skip
    for compiled, plain in zip(backward(2.0, X[0], G[:, 0].copy(), X), expected, strict=True):
        nearly_same(compiled, plain)

    @njit
    def maxout(x, g, pieces, axis):
        y, index = kernels.maxout(x, pieces, axis=axis)
        return y, index, kernels.maxout_backward(g, index, pieces, axis=axis)

    for axis, pieces in ((-1, 3), (0, 2), (1, 1)):
        y, index = kernels.maxout(X, pieces, axis=axis)
        g = RNG.normal(size=y.shape)
        for compiled, plain in zip(
            maxout(X, g, pieces, axis),
            (y, index, kernels.maxout_backward(g, index, pieces, axis=axis)),
            strict=True,
        ):
            nearly_same(compiled, plain)
    with pytest.raises(ValueError, match="num_pieces"):
        maxout(X, G, 4, -1)
