"""Formulas on each device against NumPy, and against the CPU's answers."""

import math

import numpy as np
import pytest

import nbgrad
from nbgrad import differentiable, kernels


@differentiable
def nll(w, b, x, y):
    z = w * x + b
    return kernels.softplus(z) - y * z


@differentiable
def steps(r, x, n):
    """A loop, a branch, a choice."""
    for i in range(n):
        if x > 0.5:
            x = r * x * (1 - x)
        else:
            x = x + 0.1 * i
    return math.exp(x) if x < 1 else kernels.huber_loss(x, 0.25)


def by_hand(w, b, x, y):
    z = w * x + b
    p = 1 / (1 + np.exp(-z))
    return np.logaddexp(0, z) - y * z, (p - y) * x, p - y, (p - y) * w, -z


def drawn(dtype, *shapes):
    rng = np.random.default_rng(5)
    return [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (3, 5), (0,), (2, 1, 150)], ids=str)
def test_values_and_gradients(device, dtype, shape):
    w, b, x, y = drawn(dtype, *[shape] * 4)
    on = device.arrays([w, b, x, y])
    value, grads = nll.value_and_grad(*on)
    for found, expected in zip((value, *grads), by_hand(w, b, x, y), strict=True):
        found = device.numpy(found)
        assert found.dtype == dtype and found.shape == shape
        np.testing.assert_allclose(found, expected, rtol=50 * np.finfo(dtype).eps, atol=50 * np.finfo(dtype).eps)
    out = device.array(np.zeros(shape, dtype))
    assert nll(*on, out=out) is out
    device.same(out, device.numpy(value))


def test_gradients_have_the_arguments_shapes(device):
    w, x, y, g = drawn(np.float64, (3, 1), (4,), (2, 3, 4), (2, 3, 4))
    expected = by_hand(w, 0.5, x, y)
    grads = nll.backward(device.array(g), device.array(w), 0.5, device.array(x), device.array(y))
    for found, whole, shape, axes in zip(grads, expected[1:], [(3, 1), (), (4,), (2, 3, 4)], [(0, 2), (0, 1, 2), (0, 1), ()], strict=True):
        found = device.numpy(found)
        assert found.shape == shape
        np.testing.assert_allclose(found, (np.broadcast_to(whole, g.shape) * g).sum(axes).reshape(shape), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_and_means(device, dtype):
    x, y, weight = drawn(dtype, (5, 120), (5, 120), (5, 120))
    weight = np.abs(weight)
    expected = by_hand(0.75, -0.5, *(a.astype(np.float64) for a in (x, y)))
    tolerance = 20 * float(np.finfo(dtype).eps)
    on = device.arrays([x, y])
    total, (gw, gb, gx) = nll.sum.value_and_grad(0.75, -0.5, *on, wrt=("w", "b", "x"))
    for found, whole in ((total, expected[0]), (gw, expected[1]), (gb, expected[2])):
        np.testing.assert_allclose(device.numpy(found), whole.sum(), rtol=tolerance, atol=600 * tolerance)
    np.testing.assert_allclose(device.numpy(gx), expected[3], rtol=tolerance, atol=tolerance)
    mean, (gw,) = nll.mean.value_and_grad(0.75, -0.5, *on, wrt="w", weight=device.array(weight))
    for found, whole in ((mean, expected[0]), (gw, expected[1])):
        np.testing.assert_allclose(device.numpy(found), np.average(whole, weights=weight), rtol=10 * tolerance, atol=tolerance)
    products = nll.mean.hessp((1.0, 2.0), 0.75, -0.5, *on, wrt=("w", "b"))
    p = 1 / (1 + np.exp(-(0.75 * x.astype(float) - 0.5)))
    slopes = p * (1 - p) * (x + 2)
    for found, whole in zip(products, (slopes * x, slopes), strict=True):
        np.testing.assert_allclose(device.numpy(found), whole.mean(), rtol=10 * tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("starts", [(0, 0), (1, 1), (1, 0)], ids=["lines", "lines after a part of one", "none"])
def test_arrays_that_start_within_a_line(device, dtype, starts):
    """Of several tiles and a part of one: each element is met once."""
    whole = drawn(dtype, (1000,), (1000,))
    x, y = (device.array(a)[k : k + 901] for a, k in zip(whole, starts, strict=True))
    expected = by_hand(0.75, -0.5, *(a.astype(np.float64)[k : k + 901] for a, k in zip(whole, starts, strict=True)))
    value, (gw, gx) = nll.value_and_grad(0.75, -0.5, x, y, wrt=("w", "x"))
    total, (gb,) = nll.sum.value_and_grad(0.75, -0.5, x, y, wrt="b")
    tolerance = 100 * float(np.finfo(dtype).eps)
    for found, right in ((value, expected[0]), (gw, expected[1]), (gx, expected[3])):
        np.testing.assert_allclose(device.numpy(found), right, rtol=tolerance, atol=tolerance)
    for found, right in ((total, expected[0]), (gb, expected[2])):
        np.testing.assert_allclose(device.numpy(found), right.sum(), rtol=tolerance)


def test_loops_and_branches(device):
    (x,) = drawn(np.float64, (40,))
    on = device.array(x)
    for f in (
        lambda x: steps(3.1, x, 5),
        lambda x: steps.value_and_grad(3.1, x, 5)[1][1],
        lambda x: steps.grad_hess(3.1, x, 5, wrt="x")[1],
    ):
        np.testing.assert_allclose(device.numpy(f(on)), f(x), rtol=1e-12, atol=1e-12)


def test_tensors(device):
    x, y = drawn(np.float32, (6, 5), (6, 5))
    w = device.tensor(0.5, dtype=np.float32, requires_grad=True)
    on = [device.tensor(a) for a in (x, y)]
    nll(w, 0.25, *on).sum().backward()
    expected = by_hand(0.5, 0.25, x, y)[1]
    np.testing.assert_allclose(w.grad.cpu().numpy(), expected.sum(), rtol=1e-5)
    w.grad = None
    loss = nll.mean(w, 0.25, *on)
    loss.backward()
    np.testing.assert_allclose(w.grad.cpu().numpy(), expected.mean(), rtol=1e-5)
    assert loss.device == w.device and isinstance(loss, nbgrad.Tensor)


def test_bad_input(device):
    x = device.array(np.ones(3))
    with pytest.raises(ValueError, match="x: expected shapes|w: expected shapes"):
        nll(1.0, 2.0, x, device.array(np.ones(4)))
    with pytest.raises(TypeError, match="^n: expected integers"):
        steps(3.1, x, x)
    with pytest.raises((ValueError, TypeError), match="^out: "):
        nll(1.0, 2.0, x, 1.0, out=device.array(np.ones(4)))
    with pytest.raises(TypeError, match="^y: "):
        nll(1.0, 2.0, x, "a")
