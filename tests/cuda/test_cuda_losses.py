"""The losses on CUDA arrays against the CPU's: values, gradients, reductions, labels."""

import devices
import numpy as np
import pytest
from devices import get, near, put, same

from nbgrad import kernels

REDUCTIONS = ("mean", "sum", "none")
ELEMENTWISE = ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
reductions = pytest.mark.parametrize("reduction", REDUCTIONS)


@pytest.mark.parametrize("name", ELEMENTWISE)
@reductions
def test_elementwise_losses(name, reduction, dtype):
    both, alone = getattr(kernels, name + "_value_and_grad"), getattr(kernels, name)
    rng = np.random.default_rng(0)
    for shape in ((0,), (3, 7), ()) if devices.SIMULATED else ((0,), (3, 7), (), (1000, 777)):
        x, t = (rng.standard_normal(shape) * 3).astype(dtype), rng.random(shape).astype(dtype)
        (value, grad), (want, want_grad) = (
            both(a, b, reduction=reduction) for a, b in ((put(x), put(t)), (x, t))
        )
        near(value, np.asarray(want))
        near(grad, np.asarray(want_grad), 1 / max(1, x.size) if reduction == "mean" else 1)
        same(alone(put(x), put(t), reduction=reduction), get(value))


@pytest.mark.parametrize("size", [3, 255, 256, 601])
@pytest.mark.parametrize("start", [0, 1])
def test_sums_of_any_size_at_any_address(size, start, dtype):
    """Several tiles, and what stands before and after whole lines."""
    rng = np.random.default_rng(size)
    x, t = rng.standard_normal(size + start).astype(dtype), rng.random(size + start).astype(dtype)
    d, target, grad_out = put(x)[start:], put(t)[start:], put(np.full_like(x, 7))
    want, want_grad = kernels.mse_loss_value_and_grad(x[start:], t[start:])
    value, grad = kernels.mse_loss_value_and_grad(d, target, grad_out=grad_out[start:])
    near(value, np.asarray(want))
    near(grad, want_grad)
    near(grad_out[:start], np.full(start, 7, dtype))
    same(kernels.mse_loss(d, target), get(value))
    value, grad = kernels.mse_loss_value_and_grad(d, target)  # the gradient does not lie as the inputs do
    near(value, np.asarray(want))
    near(grad, want_grad)


@reductions
def test_weights(reduction, dtype):
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((4, 3)) * 3).astype(dtype), rng.random((4, 3)).astype(dtype)
    t[0], x[1, 0], t[1] = (1, 0, 0.5), np.inf, 0  # terms with factor 0 are absent
    w, p = rng.random(3).astype(dtype), rng.random((4, 1)).astype(dtype)
    for options in ({"weight": w}, {"pos_weight": p}, {"weight": w, "pos_weight": 2.0}):
        on_device = {k: put(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
        f = kernels.binary_cross_entropy_with_logits_value_and_grad
        value, grad = f(put(x), put(t), reduction=reduction, **on_device)
        want, want_grad = f(x, t, reduction=reduction, **options)
        near(value, np.asarray(want))
        near(grad, want_grad, 1)


def labels_of(shape, classes):
    labels = np.random.default_rng(1).integers(0, classes, shape)
    if labels.size > 2:
        labels.flat[1] = -100
    return labels


@pytest.mark.parametrize("shape", [(6, 10), (3, 33), (2, 3, 4), (5,), (40, 1)])
@reductions
def test_labels(shape, reduction, dtype):
    """A part of a warp and a block for a row, classes along the second axis, more rows than one block adds up."""
    x = (np.random.default_rng(0).standard_normal(shape) * 4).astype(dtype)
    x.flat[0] = -np.inf
    classes = shape[1] if len(shape) > 1 else shape[0]
    labels = labels_of(shape[:1] * (len(shape) > 1) + shape[2:], classes)
    weight = (np.random.default_rng(2).random(classes) + 0.1).astype(dtype)
    scale = 1.0
    for options in ({}, {"weight": weight}):
        on_device = {k: put(v) for k, v in options.items()}
        arguments, here = (put(x), put(labels)), (x, labels)
        value, grad = kernels.cross_entropy_value_and_grad(*arguments, reduction=reduction, **on_device)
        want, want_grad = kernels.cross_entropy_value_and_grad(*here, reduction=reduction, **options)
        near(value, np.asarray(want), scale)
        near(grad, want_grad, scale)
        same(kernels.cross_entropy(*arguments, reduction=reduction, **on_device), get(value))
        finite = np.where(np.isfinite(x), x, -50).astype(dtype)
        value, grad = kernels.nll_loss_value_and_grad(put(finite), put(labels), reduction=reduction, **on_device)
        want, want_grad = kernels.nll_loss_value_and_grad(finite, labels, reduction=reduction, **options)
        near(value, np.asarray(want), 10)
        near(grad, want_grad)
        same(kernels.nll_loss(put(finite), put(labels), reduction=reduction, **on_device), get(value))


@reductions
def test_probabilities_and_smoothing(reduction, dtype):
    rng = np.random.default_rng(0)
    x, q = (rng.standard_normal((4, 5)) * 4).astype(dtype), rng.random((4, 5)).astype(dtype)
    labels, weight = labels_of((4,), 5), rng.random(5).astype(dtype)
    for target in (q, labels):
        for options in ({"label_smoothing": 0.1}, {"weight": weight, "label_smoothing": 0.1}, {}):
            on_device = {k: put(v) if isinstance(v, np.ndarray) else v for k, v in options.items()}
            f = kernels.cross_entropy_value_and_grad
            value, grad = f(put(x), put(target), reduction=reduction, **on_device)
            want, want_grad = f(x, target, reduction=reduction, **options)
            near(value, np.asarray(want), 1)
            near(grad, want_grad, 5)
            same(kernels.cross_entropy(put(x), put(target), reduction=reduction, **on_device), get(value))


def test_a_sure_prediction_keeps_its_digits(dtype):
    x = np.array([[30.0, 0.0], [0.0, 1.0]], dtype)
    labels = np.array([0, 1])
    value, grad = kernels.cross_entropy_value_and_grad(put(x), put(labels), reduction="none")
    want, want_grad = kernels.cross_entropy_value_and_grad(x, labels, reduction="none")
    near(value, want)
    near(grad, want_grad)
    assert get(grad)[0, 0] < 0


def test_everything_ignored(dtype):
    x, labels = np.ones((3, 2), dtype), np.full(3, -100)
    x[0] = np.nan
    value, grad = kernels.cross_entropy_value_and_grad(put(x), put(labels))
    assert np.isnan(get(value))
    same(grad, np.zeros_like(x))
    same(kernels.cross_entropy(put(x), put(labels), reduction="sum"), np.zeros((), dtype))


def test_out(dtype):
    x, labels = np.random.default_rng(0).standard_normal((4, 3)).astype(dtype), np.array([0, 1, 2, 1])
    want, want_grad = kernels.cross_entropy_value_and_grad(x, labels, reduction="none")
    out, grad_out = put(np.full(4, 7, dtype)), put(np.full((3, 4), 7, dtype)).T
    given = kernels.cross_entropy_value_and_grad(
        put(x), put(labels), reduction="none", out=out, grad_out=grad_out
    )
    assert given[0] is out and given[1] is grad_out
    near(out, want)
    near(grad_out, want_grad, 1)
    d = put(x)
    assert kernels.cross_entropy_value_and_grad(d, put(labels), reduction="none", grad_out=d)[1] is d
    near(d, want_grad, 1)
    d = put(x)
    assert kernels.mse_loss_value_and_grad(d, 1.0, grad_out=d)[1] is d
    near(d, kernels.mse_loss_value_and_grad(x, 1.0)[1])
    with pytest.raises(ValueError, match='out: expected reduction="none"'):
        kernels.mse_loss(put(x), 1.0, out=out)


def test_a_label_out_of_range_reads_nothing_and_raises(monkeypatch, dtype):
    """At once where errors are to come in time, else at the next call; the row is nan meanwhile."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    x, g = put(np.ones((3, 4), dtype)), put(np.ones((3, 4), dtype))
    for bad in (4, -1, -(2**63), 2**62):
        labels = put(np.array([0, bad, 1]))
        for options in ({}, {"label_smoothing": 0.1}):
            with pytest.raises(ValueError, match=r"target: expected labels in 0..3 or ignore_index=-100, got .* position 1"):
                kernels.cross_entropy_value_and_grad(x, labels, **options)
        with pytest.raises(ValueError, match="target: expected labels in 0..3"):
            kernels.nll_loss_value_and_grad(x, labels)
    index = put(np.array([[0, 1, 2, 0]]))
    with pytest.raises(ValueError, match=r"index: expected 0..1, got .* position 2"):
        kernels.maxout_backward(g[:1], index, 2)
    kernels.cross_entropy(x, put(np.array([0, 1, 2])))  # and all is well again


def test_without_waiting_the_next_call_raises(monkeypatch):
    from nbgrad.cuda import device as cuda_target

    monkeypatch.setattr(cuda_target, "blocking", lambda: False)
    x, bad, good = put(np.ones((2, 3))), put(np.array([0, 3])), put(np.array([0, 1]))
    value, grad = kernels.cross_entropy_value_and_grad(x, bad)
    assert np.isnan(get(value)) and np.isnan(get(grad)[1]).all() and np.isfinite(get(grad)[0]).all()
    with pytest.raises(ValueError, match="target: expected labels in 0..2 .* in an earlier call"):
        kernels.cross_entropy(x, good)
    assert np.isfinite(get(kernels.cross_entropy(x, good)))


def test_errors():
    x, labels = put(np.ones((2, 3))), put(np.array([0, 1]))
    with pytest.raises(TypeError, match="target: expected a CUDA array as logits is, got a numpy.ndarray"):
        kernels.cross_entropy(x, np.array([0, 1]))
    with pytest.raises(TypeError, match="weight: expected a CUDA array as logits is"):
        kernels.cross_entropy(x, labels, weight=np.ones(3))
    with pytest.raises(TypeError, match="target: expected integer class labels"):
        kernels.cross_entropy(x, put(np.array([0.0, 1.0])))
    with pytest.raises(ValueError, match=r"target: expected labels of shape \(2,\)"):
        kernels.cross_entropy(x, put(np.array([0, 1, 1])))
    with pytest.raises(ValueError, match=r"weight: expected shape \(3,\)"):
        kernels.nll_loss(x, labels, weight=put(np.ones(2)))
    with pytest.raises(ValueError, match="label_smoothing: expected a number in 0..1"):
        kernels.cross_entropy(x, labels, label_smoothing=2.0)
    with pytest.raises(ValueError, match="target: expected a shape that broadcasts to input's"):
        kernels.mse_loss(x, put(np.ones(2)))
