"""The public kernels inside a user's ``@njit`` function give what they give outside, for numbers and
arrays.
"""

import inspect
import math

import numpy as np
import pytest
from numba import njit, prange
from numba.core.errors import TypingError
from strategies import same_bits

from nbgrad import kernels
from nbgrad.ops import OPS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 3
G = RNG.normal(size=(4, 6))


def same(compiled, plain):
    compiled, plain = np.asarray(compiled), np.asarray(plain)
    assert compiled.dtype == plain.dtype and compiled.shape == plain.shape
    eps = np.finfo(plain.dtype).eps if plain.dtype.kind == "f" else 0
    np.testing.assert_allclose(compiled, plain, rtol=8 * eps, atol=0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", OPS)
def test_elementwise(name, dtype):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")

    @njit
    def number(x, g):
        return forward(x), backward(g, x)

    @njit
    def array(x, g):
        return forward(x), backward(g, x)

    x, g = X.astype(dtype), G.astype(dtype)
    for compiled, plain in zip(
        number(x[0, 0], g[0, 0]), (forward(x[0, 0]), backward(g[0, 0], x[0, 0])), strict=True
    ):
        assert type(plain) is dtype and (dtype is np.float32 or isinstance(compiled, float))
        assert compiled == plain
    # each layout is compiled anew: all of them for one operator are enough
    for layout in (x, x[:0], x.T, x[::2, ::-1]) if name == "sigmoid" else (x, x[:0]):
        gradient = np.ones(layout.shape, dtype) * g[0, 0]
        value, slope = array(layout, gradient)
        same_bits(value, forward(layout))
        same_bits(slope, backward(gradient, layout))


def test_a_number_stays_float32():
    @njit
    def f(x):
        return kernels.leaky_relu(x, negative_slope=0.25)

    f(np.float32(1))
    assert str(f.nopython_signatures[0].return_type) == "float32"


def test_parameters_integers_out_and_broadcasting():
    @njit
    def parameters(x):
        return (
            kernels.elu(x, alpha=2.0),
            kernels.elu_backward(1.0, x, alpha=2.0),
            kernels.leaky_relu(x, negative_slope=0.5),
        )

    for compiled, plain in zip(
        parameters(X),
        (
            kernels.elu(X, alpha=2.0),
            kernels.elu_backward(1.0, X, alpha=2.0),
            kernels.leaky_relu(X, negative_slope=0.5),
        ),
        strict=True,
    ):
        same(compiled, plain)

    @njit
    def integers(x):
        return kernels.sigmoid(x)

    same(integers(np.arange(3)), kernels.sigmoid(np.arange(3)))
    assert integers(2) == kernels.sigmoid(2)

    @njit
    def into(x, out):
        kernels.tanh(x, out=out)

    for out in (np.empty_like(X), np.empty((6, 4)).T, X.copy()):
        into(X, out)
        same(out, kernels.tanh(X))
    line = np.linspace(-2, 2, 9)
    expected = kernels.tanh(line[:-1])
    into(line[:-1], line[1:])  # overlapping memory
    same(line[1:], expected)
    with pytest.raises(ValueError, match="out: expected"):
        into(X, np.empty((6, 4)))

    @njit
    def broadcast(g, x):
        return kernels.sigmoid_backward(g, x)

    same(broadcast(G[0], X), kernels.sigmoid_backward(G[0], X))
    same(broadcast(2.0, X), kernels.sigmoid_backward(2.0, X))
    same(broadcast(G[:, :1], X[0]), kernels.sigmoid_backward(G[:, :1], X[0]))


@pytest.mark.parametrize("fastmath", [False, True, {"contract", "reassoc", "nsz", "arcp", "afn"}])
def test_the_callers_fastmath_does_not_change_the_result(fastmath):
    if fastmath is True:
        fastmath = {"contract", "reassoc", "nsz", "arcp", "afn"}

    @njit(fastmath=fastmath)
    def f(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y[i] = kernels.sigmoid(x[i])
        return y

    x = np.linspace(-100, 100, 1001, dtype=np.float32)
    np.testing.assert_array_equal(f(x), kernels.sigmoid(x))


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def f(x):
        total = 0.0
        for i in prange(x.size):
            total += kernels.tanh_backward(1.0, x[i])
        return total

    x = np.linspace(-3, 3, 1000)
    assert math.isclose(f(x), kernels.tanh_backward(1.0, x).sum(), rel_tol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("axis", [-1, 0, 1, -3])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_rows(name, axis, dtype):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")

    @njit
    def f(x, g, axis):
        y = forward(x, axis=axis)
        return y, backward(g, y, axis=axis)

    x, g = RNG.normal(size=(2, 3, 4)).astype(dtype), RNG.normal(size=(2, 3, 4)).astype(dtype)
    x = np.asfortranarray(x)
    y, gradient = f(x, g, axis)
    same(y, forward(x, axis=axis))
    np.testing.assert_allclose(gradient, backward(g, forward(x, axis=axis), axis=axis), rtol=1e-5, atol=1e-6)


def test_logsumexp_and_maxout():
    @njit
    def f(x):
        return kernels.logsumexp(x[0]), kernels.logsumexp(x), kernels.logsumexp(x, axis=0)

    expected = kernels.logsumexp(X[0]), kernels.logsumexp(X), kernels.logsumexp(X, axis=0)
    for compiled, plain in zip(f(X), expected, strict=True):
        same(compiled, plain)

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
        same(compiled, plain)

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
            same(compiled, plain)
    with pytest.raises(ValueError, match="num_pieces"):
        maxout(X, G, 4, -1)


LABELS = np.array([1, 0, 5, -100])
PROBABILITIES = kernels.softmax(G)
WEIGHT = RNG.random(6) + 0.5


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("target", [LABELS, PROBABILITIES], ids=["labels", "probabilities"])
def test_cross_entropy(target, reduction):
    @njit
    def f(x, target, weight, smoothing):
        return kernels.cross_entropy_value_and_grad(
            x, target, weight=weight, label_smoothing=smoothing, reduction=reduction
        )

    for weight, smoothing in ((np.ones(6), 0.0), (WEIGHT, 0.0), (np.ones(6), 0.1), (WEIGHT, 0.2)):
        loss, gradient = f(X, target, weight, smoothing)
        expected = kernels.cross_entropy_value_and_grad(
            X, target, weight=weight, label_smoothing=smoothing, reduction=reduction
        )
        np.testing.assert_allclose(loss, expected[0], rtol=1e-14)
        np.testing.assert_allclose(gradient, expected[1], rtol=1e-13, atol=1e-16)


def test_cross_entropy_without_options():
    @njit
    def f(x, target):
        return kernels.cross_entropy(x, target)

    for dtype in (np.int64, np.uint8):
        labels = LABELS.astype(dtype) % 6
        assert math.isclose(f(X, labels), kernels.cross_entropy(X, labels), rel_tol=1e-14)


def test_cross_entropy_of_one_row_and_of_images():
    @njit
    def one(x, label):
        return kernels.cross_entropy_value_and_grad(x, label)

    loss, gradient = one(X[0], 2)
    expected = kernels.cross_entropy_value_and_grad(X[0], 2)
    assert math.isclose(loss, expected[0], rel_tol=1e-15)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-14)
    images, labels = RNG.normal(size=(2, 3, 4, 5)).astype(np.float32), RNG.integers(0, 3, size=(2, 4, 5))

    @njit
    def none(x, labels):
        return kernels.cross_entropy(x, labels, reduction="none")

    same(none(images, labels), kernels.cross_entropy(images, labels, reduction="none"))


def test_a_label_out_of_range_is_refused():
    @njit
    def f(x, labels):
        return kernels.cross_entropy(x, labels), kernels.nll_loss(x, labels)

    f(X, LABELS)
    for bad in (-1, 6, 2**40):
        with pytest.raises(ValueError, match="target: expected labels"):
            f(X, np.array([0, 1, bad, 2]))
    with pytest.raises(ValueError, match="target: expected"):
        f(X, LABELS[:2])


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "name", ["mse_loss", "l1_loss", "huber_loss", "nll_loss", "binary_cross_entropy_with_logits"]
)
def test_losses(name, reduction):
    value, value_and_grad = getattr(kernels, name), getattr(kernels, name + "_value_and_grad")
    target = LABELS if name == "nll_loss" else PROBABILITIES

    @njit
    def f(x, target):
        return value(x, target, reduction=reduction), value_and_grad(x, target, reduction=reduction)

    loss, (again, gradient) = f(X, target)
    expected = value_and_grad(X, target, reduction=reduction)
    for compiled, plain in ((loss, expected[0]), (again, expected[0]), (gradient, expected[1])):
        np.testing.assert_allclose(compiled, plain, rtol=1e-14)


def test_weights_of_binary_cross_entropy_and_delta_of_huber():
    @njit
    def f(x, t, w, p):
        return (
            kernels.binary_cross_entropy_with_logits_value_and_grad(x, t, weight=w, pos_weight=p),
            kernels.binary_cross_entropy_with_logits(x, t, pos_weight=2.0),
            kernels.huber_loss(x, t, delta=0.5),
        )

    (loss, gradient), scaled, huber = f(X, PROBABILITIES, WEIGHT, WEIGHT[::-1].copy())
    expected = kernels.binary_cross_entropy_with_logits_value_and_grad(
        X, PROBABILITIES, weight=WEIGHT, pos_weight=WEIGHT[::-1]
    )
    np.testing.assert_allclose(loss, expected[0], rtol=1e-14)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-13, atol=1e-17)
    assert math.isclose(
        scaled, kernels.binary_cross_entropy_with_logits(X, PROBABILITIES, pos_weight=2.0), rel_tol=1e-14
    )
    assert math.isclose(huber, kernels.huber_loss(X, PROBABILITIES, delta=0.5), rel_tol=1e-14)


def test_grad_out_is_written():
    @njit
    def f(x, labels, out):
        return kernels.cross_entropy_value_and_grad(x, labels, grad_out=out)

    out = np.empty_like(X)
    f(X, LABELS, out)
    np.testing.assert_allclose(out, kernels.cross_entropy_value_and_grad(X, LABELS)[1], rtol=1e-14)


def test_what_is_not_a_real_number_is_refused_at_compile_time():
    @njit
    def f(x):
        return kernels.sigmoid(x)

    for bad in (1j, np.zeros(3, np.complex128), "a"):
        with pytest.raises(TypingError):
            f(bad)


def test_every_public_kernel_can_be_compiled():
    from numba.core.registry import cpu_target

    context = cpu_target.typing_context
    context.refresh()
    for name in kernels.__all__:
        function = getattr(kernels, name)
        assert inspect.isfunction(function) and function.__doc__
        assert context.resolve_value_type(function) is not None  # raises for a function without an overload
