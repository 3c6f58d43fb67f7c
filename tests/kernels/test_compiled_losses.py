"""The losses inside a user's ``@njit`` function give what they give outside. (Accuracy: ``tests/test_ops.py``, ``tests/formulas/test_rows.py``.)"""

import math

import numpy as np
import pytest
from numba import njit
from strategies import nearly_same

from nbgrad import kernels

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 3
G = RNG.normal(size=(4, 6))
LABELS = np.array([1, 0, 5, -100])
PROBABILITIES = kernels.softmax(G)
WEIGHT = RNG.random(6) + 0.5


def test_sums_of_many_rows_are_as_near_as_outside():
    """Weights and losses are added up without their roundings: one number alone was 44 to 200 ulp off."""

    @njit
    def f(x, target, weight, labels):
        return kernels.mse_loss(x[:, 0], target), kernels.cross_entropy(x, labels, weight=weight)

    rng = np.random.default_rng(0)
    x, target, weight = rng.normal(size=(100_000, 3)), rng.normal(size=100_000), rng.random(3) + 0.1
    labels = rng.integers(0, 3, len(x))
    mse, entropy = f(x, target, weight, labels)
    assert abs(mse - math.fsum((x[:, 0] - target) ** 2) / len(x)) <= 4 * np.spacing(mse)
    assert abs(entropy - kernels.cross_entropy(x, labels, weight=weight)) <= 4 * np.spacing(entropy)


# Each combination takes seconds to compile, and one function reduces all losses: every reduction of one loss below.
@pytest.mark.parametrize(
    ("target", "reduction"),
    [(LABELS, "mean"), (LABELS, "none"), (PROBABILITIES, "mean")],
    ids=["labels-mean", "labels-none", "probabilities-mean"],
)
def test_cross_entropy(target, reduction):
    @njit
    def f(x, target, weight, smoothing):
        return kernels.cross_entropy_value_and_grad(x, target, weight=weight, label_smoothing=smoothing, reduction=reduction)

    for weight, smoothing in ((np.ones(6), 0.0), (WEIGHT, 0.0), (np.ones(6), 0.1), (WEIGHT, 0.2)):
        loss, gradient = f(X, target, weight, smoothing)
        expected = kernels.cross_entropy_value_and_grad(X, target, weight=weight, label_smoothing=smoothing, reduction=reduction)
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

    nearly_same(none(images, labels), kernels.cross_entropy(images, labels, reduction="none"))


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


# Each combination takes seconds to compile: the sum and the losses themselves of one loss, the mean of the others.
@pytest.mark.parametrize(
    ("name", "reduction"),
    [
        ("mse_loss", "sum"),
        ("mse_loss", "none"),
        ("l1_loss", "mean"),
        ("huber_loss", "mean"),
        ("nll_loss", "mean"),
        ("binary_cross_entropy_with_logits", "mean"),
    ],
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
    expected = kernels.binary_cross_entropy_with_logits_value_and_grad(X, PROBABILITIES, weight=WEIGHT, pos_weight=WEIGHT[::-1])
    np.testing.assert_allclose(loss, expected[0], rtol=1e-14)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-13, atol=1e-17)
    assert math.isclose(scaled, kernels.binary_cross_entropy_with_logits(X, PROBABILITIES, pos_weight=2.0), rel_tol=1e-14)
    assert math.isclose(huber, kernels.huber_loss(X, PROBABILITIES, delta=0.5), rel_tol=1e-14)


def test_grad_out_is_written():
    @njit
    def f(x, labels, out):
        return kernels.cross_entropy_value_and_grad(x, labels, grad_out=out)

    out = np.empty_like(X)
    f(X, LABELS, out)
    np.testing.assert_allclose(out, kernels.cross_entropy_value_and_grad(X, LABELS)[1], rtol=1e-14)
