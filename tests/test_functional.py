"""Activations, layers and losses on Tensors: gradients by finite differences, values, errors."""

import functools

import devices
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import check_tensors, grid

from nbgrad import cat, kernels, nn, stack
from nbgrad import functional as F
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.formulas.table import OPS

few = settings(max_examples=devices.few(12, 3))
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)
shapes = hnp.array_shapes(min_dims=0, max_dims=devices.few(3, 2), min_side=0, max_side=devices.few(3, 2))
full = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=4)
reductions = st.sampled_from(["mean", "sum", "none"])


@pytest.mark.parametrize("name", OPS)
@few
@given(data=st.data(), rng=seeds)
def test_activation_gradient(name, device, data, rng):
    """Every row of the table of operators has its function here."""
    x = data.draw(grid(shapes))
    parameters = {p: data.draw(st.sampled_from([default, 0.5, -2.0])) for p, default in OPS[name].parameters.items()}
    check_tensors(lambda t: getattr(F, name)(t, **parameters), x, rng=rng, device=device)
    same = device.numpy(getattr(kernels, name)(device.array(x), **parameters))
    np.testing.assert_array_equal(getattr(F, name)(device.array(x), **parameters).cpu().numpy(), same)


def test_defaults_are_the_kernels():
    x = np.array([-1.0, 2.0])
    for name in OPS:
        np.testing.assert_array_equal(getattr(F, name)(x).numpy(), getattr(kernels, name)(x))


@pytest.mark.unsimulated
@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp"])
@few
@given(data=st.data(), rng=seeds)
def test_softmax_gradient(name, device, data, rng):
    x = data.draw(grid(full))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    function = getattr(F, name)
    check_tensors(lambda t: function(t, axis), x, rng=rng, device=device)
    same = device.numpy(getattr(kernels, name)(device.array(x), axis=axis))
    np.testing.assert_array_equal(function(device.array(x), dim=axis).cpu().numpy(), same)


@pytest.mark.unsimulated
@few
@given(data=st.data(), rng=seeds)
def test_maxout_gradient(device, data, rng):
    shape = list(data.draw(full))
    axis, pieces = data.draw(st.integers(-len(shape), len(shape) - 1)), data.draw(st.integers(1, 4))
    shape[axis] *= pieces
    check_tensors(lambda t: F.maxout(t, pieces, axis), data.draw(grid(tuple(shape), unique=True)), rng=rng, device=device)


def test_maxout_ties_go_to_the_first(device):
    x = device.tensor([1.0, 1.0, 2.0, 3.0], requires_grad=True)
    F.maxout(x, 2).sum().backward()
    assert x.grad.tolist() == [1, 0, 0, 1]


@few
@given(data=st.data(), rng=seeds)
def test_linear_gradient(device, data, rng):
    sides = st.integers(0, 3)
    n, m = data.draw(sides), data.draw(sides)
    x = data.draw(grid((*data.draw(shapes), n)))
    w, b = data.draw(grid((m, n))), data.draw(grid(m))
    there_x, there_w, there_b = device.arrays((x, w, b))
    np.testing.assert_allclose(F.linear(there_x, there_w, there_b).cpu().numpy(), x @ w.T + b, rtol=1e-14, atol=1e-14)
    check_tensors(F.linear, x, w, b, rng=rng, device=device)
    check_tensors(F.linear, x, w, rng=rng, device=device)
    check_tensors(lambda weight: F.linear(there_x, weight), w, rng=rng, device=device)
    check_tensors(lambda bias: F.linear(there_x, there_w, bias), b, rng=rng, device=device)


def test_linear_leaves_its_arguments_alone_and_mixes_dtypes():
    x, w, b = np.ones((2, 3), np.float32), np.ones((4, 3), np.float32), np.ones(4)
    leaves = [Tensor(a, requires_grad=True) for a in (x, w, b)]
    y = F.linear(*leaves)
    assert y.dtype == np.float64 and y.numpy().max() == 4 and x.max() == w.max() == b.max() == 1
    y.sum().backward()
    assert [leaf.grad.dtype for leaf in leaves] == [np.float32, np.float32, np.float64]
    with pytest.raises(ValueError, match=r"input: expected shape \(..., in\).* got \(3, 2\) and \(4, 3\)"):
        F.linear(x.T, w)
    with pytest.raises(ValueError, match=r"bias: expected shape \(4,\), got \(3,\)"):
        F.linear(x, w, np.ones(3))


# ---- losses


@pytest.mark.unsimulated
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
@few
@given(data=st.data(), rng=seeds, reduction=reductions)
def test_difference_loss_gradient(name, device, data, rng, reduction):
    x = data.draw(grid(full))
    target = data.draw(grid(x.shape, 1))
    parameters = {"delta": data.draw(st.sampled_from([1.0, 0.5]))} if name == "huber_loss" else {}

    def loss(a, b):
        return getattr(F, name)(a, b, reduction=reduction, **parameters)

    there = device.arrays((x, target))
    check_tensors(loss, x, target, rng=rng, device=device)
    check_tensors(lambda b: loss(there[0], b), target, rng=rng, device=device)
    check_tensors(lambda a, b: loss(a, b), x, target[..., :1] * 1.0, rng=rng, device=device)  # a target that is broadcast
    same = device.numpy(getattr(kernels, name)(*there, reduction=reduction, **parameters))
    np.testing.assert_allclose(loss(*there).cpu().numpy(), same, rtol=1e-15)


@pytest.mark.unsimulated
@few
@given(data=st.data(), rng=seeds, reduction=reductions)
def test_binary_cross_entropy_gradient(device, data, rng, reduction):
    x = data.draw(grid(full))
    target = rng.random(x.shape)
    weights = {
        "weight": data.draw(st.sampled_from([None, device.array(rng.random(x.shape)), device.tensor(rng.random(x.shape[-1:]))])),
        "pos_weight": data.draw(st.sampled_from([None, 2.5, device.array(rng.random(x.shape[-1:]))])),
    }
    loss = functools.partial(F.binary_cross_entropy_with_logits, reduction=reduction, **weights)
    check_tensors(loss, x, target, rng=rng, device=device)


class_shapes = st.sampled_from([(4,), (3, 4), (1, 1), (2, 3, 2), (2, 4, 1, 3)])


@pytest.mark.unsimulated
@settings(max_examples=25)
@given(
    data=st.data(),
    rng=seeds,
    shape=class_shapes,
    reduction=reductions,
    smoothing=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_cross_entropy_gradient(device, data, rng, shape, reduction, smoothing):
    x = data.draw(grid(shape))
    axis = min(1, len(shape) - 1)
    labels = rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :])
    probabilities = kernels.softmax(rng.normal(size=shape), axis=axis)
    weight = data.draw(st.sampled_from([None, rng.random(shape[axis]) + 0.1]))
    parameters = device.arrays({"weight": weight, "reduction": reduction, "label_smoothing": smoothing})
    there, some = device.array(labels), (labels > 0).any()
    check_tensors(lambda t: F.cross_entropy(t, there, **parameters), x, rng=rng, device=device)
    check_tensors(lambda t: F.cross_entropy(t, device.tensor(labels), ignore_index=0, **parameters).sum() if some else t.sum(), x,
                  rng=rng, device=device)  # fmt: skip
    check_tensors(lambda t, p: F.cross_entropy(t, p, **parameters), x, probabilities, rng=rng, device=device)


@pytest.mark.unsimulated
@few
@given(data=st.data(), rng=seeds, shape=class_shapes, reduction=reductions)
def test_nll_loss_gradient(device, data, rng, shape, reduction):
    x = data.draw(grid(shape))
    axis = min(1, len(shape) - 1)
    labels = device.array(rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :]))
    weight = device.array(rng.random(shape[axis]) + 0.1)
    check_tensors(lambda t: F.nll_loss(t, labels, weight=weight, reduction=reduction), x, rng=rng, device=device)
    check_tensors(lambda t: F.nll_loss(F.log_softmax(t, axis), labels, reduction=reduction), x, rng=rng, device=device)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_losses_keep_the_dtype_and_can_be_passed_again(dtype, device):
    x, labels = device.tensor(np.ones((3, 4), dtype), requires_grad=True), device.array(np.array([0, 1, 2]))
    zeros, ones = device.arrays((np.zeros((3, 4)), np.ones((3, 4))))
    for loss in (F.cross_entropy(x, labels), F.mse_loss(x, zeros), F.l1_loss(x, tensor(0.0)),
                 F.binary_cross_entropy_with_logits(x, ones), F.huber_loss(x, 0.0)):  # fmt: skip
        assert loss.dtype == dtype and loss.shape == ()
        x.grad = None
        loss.backward(retain_graph=True)
        once = x.grad.cpu().numpy().copy()
        loss.backward(retain_graph=True)
        loss.backward()
        assert x.grad.dtype == dtype
        np.testing.assert_allclose(x.grad.cpu().numpy(), 3 * once, rtol=1e-6)


def test_losses_without_a_graph_compute_no_gradient(monkeypatch):
    x, labels = tensor(np.ones((2, 3)), requires_grad=True), np.array([0, 1])
    expected = F.cross_entropy(x, labels).item()
    monkeypatch.setattr(kernels, "cross_entropy_value_and_grad", None)
    with no_grad():
        assert F.cross_entropy(x, labels).item() == pytest.approx(expected, rel=1e-15)
    assert F.cross_entropy(x.detach(), labels).item() == pytest.approx(expected, rel=1e-15)


def test_wrong_losses():
    x = tensor(np.ones((2, 3)), requires_grad=True)
    with pytest.raises(ValueError, match="target: expected labels in 0..2"):
        F.cross_entropy(x, np.array([0, 3]))
    with pytest.raises(TypeError, match="target"):
        F.cross_entropy(x, np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="reduction"):
        F.mse_loss(x, x, reduction="median")
    with pytest.raises(ValueError, match="target"):
        F.mse_loss(x, np.ones((3, 2)))
    w = tensor(np.ones(3), requires_grad=True)
    with pytest.raises(ValueError, match=r"weight: expected a tensor that requires no gradient; use weight.detach\(\)"):
        F.cross_entropy(x, np.array([0, 1]), weight=w)
    with pytest.raises(ValueError, match="pos_weight: expected a tensor that requires no gradient"):
        F.binary_cross_entropy_with_logits(x, x, pos_weight=w)


def test_rows_and_losses_of_one_row(device):
    """What the simulator makes do with, of the gradients above; `autograd/test_single_precision.py` has all of them."""
    x, labels, rng = np.array([[-1.25, 0.75]]), device.array(np.array([1])), np.random.default_rng(0)
    for function in (F.softmax, F.logsumexp, lambda t: F.cross_entropy(t, labels)):
        check_tensors(function, x, rng=rng, device=device)


# ---- dropout


def test_dropout(device):
    rows = devices.few(100, 20)
    x = device.tensor(np.ones((rows, 100), np.float32), requires_grad=True)
    first, again, other = (F.dropout(x, 0.25, rng=np.random.default_rng(seed)) for seed in (0, 0, 1))
    y, others = first.detach().cpu().numpy(), other.detach().cpu().numpy()
    assert y.dtype == np.float32 and set(np.unique(y)) == {0, np.float32(1 / 0.75)}
    assert np.mean(y == 0) == pytest.approx(0.25, abs=devices.few(0.02, 0.05))
    assert np.mean(y == others) == pytest.approx(0.625, abs=devices.few(0.02, 0.05))
    np.testing.assert_array_equal(again.detach().cpu().numpy(), y)
    first.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), y)
    assert not np.array_equal(*(F.dropout(x.detach(), 0.25).cpu().numpy() for _ in range(2)))
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    assert F.dropout(x, 1.0).sum().item() == 0
    for p in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match=r"p: expected a probability in 0\.\.1"):
            F.dropout(x, p)


def test_axis_and_dim_together_are_refused():
    x = tensor(np.ones((2, 4)))
    calls = [
        lambda **k: F.softmax(x, **k), lambda **k: F.log_softmax(x, **k), lambda **k: F.logsumexp(x, **k),
        lambda **k: F.maxout(x, 2, **k), lambda **k: cat([x, x], **{**k, "axis": 1}),
        lambda **k: stack([x, x], **{**k, "axis": 1}), lambda **k: nn.Softmax(**k), lambda **k: nn.LogSoftmax(**k),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(TypeError, match="axis: give axis or dim, not both"):
            call(axis=0, dim=1)
    assert nn.Softmax(dim=0)(x).numpy()[:, 0].sum() == 1
