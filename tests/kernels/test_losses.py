"""The elementwise losses: reductions, weights, layouts and errors. (Accuracy of an element: ``tests/test_ops.py``.)"""

import inspect

import numba
import numpy as np
import pytest
from devices import few, on_a_gpu
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from reference import differences
from strategies import DTYPES, arrays, dtypes, native, ordinary, same_bits, shapes

from nbgrad import kernels
from nbgrad.kernels import (
    huber_loss,
    l1_loss,
    mse_loss,
)

LOSSES = {name: getattr(kernels, name) for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")}
losses = pytest.mark.parametrize("name", LOSSES)
precisions = pytest.mark.parametrize("dtype", DTYPES)
reductions = st.sampled_from(["mean", "sum", "none"])

#: textbook definitions, of arrays of long double
DEFINITIONS = {
    "mse_loss": lambda x, t, delta: (x - t) ** 2,
    "l1_loss": lambda x, t, delta: abs(x - t),
    "huber_loss": lambda x, t, delta: np.where(abs(x - t) <= delta, 0.5 * (x - t) ** 2, delta * (abs(x - t) - 0.5 * delta)),
    "binary_cross_entropy_with_logits": lambda x, t, pos_weight: pos_weight * t * np.logaddexp(0, -x) + (1 - t) * np.logaddexp(0, x),
}


def definition(name, x, t, reduction="mean", parameter=1.0):
    each = DEFINITIONS[name](np.asarray(x, np.longdouble), np.asarray(t, np.longdouble), parameter)
    if reduction == "none":
        return each
    return each.sum() if reduction == "sum" else each.sum() / (each.size or np.nan)


def pair(name):
    return LOSSES[name], getattr(kernels, name + "_value_and_grad")


def first(name):
    return next(iter(inspect.signature(LOSSES[name]).parameters))


@losses
def test_the_signatures_agree(name):
    value, fused = pair(name)
    parameters = dict(inspect.signature(fused).parameters)
    assert parameters.pop("grad_out").default is None
    assert parameters == dict(inspect.signature(value).parameters)
    assert parameters["reduction"].default == "mean"


@losses
@precisions
@pytest.mark.parametrize("shape", [(4, 6), (0,), (), *on_a_gpu((1000, 777))], ids=str)
def test_definition_and_reductions(name, dtype, shape, device):
    value, _ = pair(name)
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-5, 5, shape).astype(dtype), rng.uniform(0, 1, shape).astype(dtype)
    arguments = device.arrays((x, t))
    for reduction in ("none", "sum", "mean"):
        got = value(*arguments, reduction=reduction)
        device.near(got, definition(name, x, t, reduction).astype(dtype), ulps=8)
        assert not device.cpu or reduction == "none" or type(got) is dtype
    device.alike(value(*arguments), device.numpy(value(*arguments, reduction="mean")))


@losses
@precisions
@pytest.mark.parametrize("shape", [(4, 6), (), *on_a_gpu((1000, 777))], ids=str)
def test_gradients_of_reductions_are_the_elements_scaled(name, dtype, shape, device):
    _, fused = pair(name)
    rng = np.random.default_rng(2)
    arguments = device.arrays(((rng.standard_normal(shape) * 3).astype(dtype), rng.random(shape).astype(dtype)))
    each = device.numpy(fused(*arguments, reduction="none")[1])
    device.near(fused(*arguments, reduction="sum")[1], each, 1)
    mean = (each.astype(np.longdouble) / each.size).astype(dtype)
    device.near(fused(*arguments)[1], mean, 1 / each.size, ulps=2)


@pytest.mark.parametrize("size", [3, 255, 256, 601])
@pytest.mark.parametrize("start", [0, 1])
@precisions
def test_sums_of_any_size_at_any_address(size, start, dtype, device):
    """On CUDA several tiles, and what stands before and after whole lines."""
    rng = np.random.default_rng(size)
    x, t = rng.standard_normal(size + start).astype(dtype), rng.random(size + start).astype(dtype)
    d, target, grad_out = (a[start:] for a in device.arrays((x, t, np.full_like(x, 7))))
    want = definition("mse_loss", x[start:], t[start:]).astype(dtype)
    slope = 2 * (x[start:].astype(np.longdouble) - t[start:]) / size
    value, grad = kernels.mse_loss_value_and_grad(d, target, grad_out=grad_out)
    assert grad is grad_out
    device.near(value, want, ulps=8)
    device.near(grad, slope.astype(dtype), ulps=4)
    device.same(mse_loss(d, target), device.numpy(value))
    value, grad = kernels.mse_loss_value_and_grad(d, target)  # the gradient does not lie as the inputs do
    device.near(value, want, ulps=8)
    device.near(grad, slope.astype(dtype), ulps=4)


def test_neighbours_of_grad_out_stay(device):
    grad_out = device.array(np.full(8, 7.0))
    kernels.mse_loss_value_and_grad(device.array(np.ones(5)), 0.0, grad_out=grad_out[2:7])
    device.same(grad_out, np.array([7, 7, 0.4, 0.4, 0.4, 0.4, 0.4, 7]))


@losses
@given(st.data())
def test_gradient_is_the_slope(name, device, data):
    """Differences of the definition; of the loss's gradient, for both precisions."""
    value, fused = pair(name)
    dtype, reduction = data.draw(dtypes), data.draw(reductions)
    shape = data.draw(shapes(max_dims=2, min_side=1))
    width = np.finfo(dtype).bits
    x = data.draw(hnp.arrays(dtype, shape, elements=st.floats(-8, 8, width=width)))
    t = data.draw(hnp.arrays(dtype, shape, elements=st.floats(0, 1, width=width)))
    parameter, keywords = 1.0, {"reduction": reduction}
    if name in ("huber_loss", "binary_cross_entropy_with_logits"):
        parameter = data.draw(st.floats(0.25, 4, width=width))
        keywords["delta" if name == "huber_loss" else "pos_weight"] = parameter
    h = 2.0**-20
    x = np.where(np.abs(x - t) < 2 * h, x + 0.25, x).astype(dtype)  # away from the kink
    arguments = device.arrays((x, t))
    loss, grad = fused(*arguments, **keywords)
    device.alike(value(*arguments, **keywords), device.numpy(loss))
    assert np.shape(grad) == shape and grad.dtype == dtype
    slopes = differences(lambda v: definition(name, v, t, reduction, parameter).sum(), x, h).astype(np.float64)
    rtol, atol = 1e-5 + device.slack(dtype), 1e-6 + device.slack(dtype)
    np.testing.assert_allclose(device.numpy(grad), slopes, rtol=rtol, atol=atol)


@losses
@given(st.data())
def test_layouts_change_nothing(name, device, data):
    value, fused = pair(name)
    dtype, reduction = data.draw(dtypes), data.draw(reductions)
    shape = data.draw(shapes(max_dims=3))
    draw = arrays if device.cpu else ordinary  # a sum of float32 ends there on CUDA where float32 does
    x, t = data.draw(draw(dtype, shape)), data.draw(draw(dtype, shape))
    loss, grad = map(device.numpy, fused(*device.arrays((x, t)), reduction=reduction))
    laid = [device.lay(a, data.draw(st.sampled_from(device.layouts))) for a in (x, t)]
    device.alike(value(*laid, reduction=reduction), loss)
    out = device.lay(np.full(shape, 7, dtype), data.draw(st.sampled_from(device.out_layouts)))
    again, same = fused(*laid, reduction=reduction, grad_out=out)
    assert same is out
    device.alike(again, loss)
    device.alike(native(out, dtype), grad, 1)
    for a, before in zip(laid, (x, t), strict=True):
        same_bits(device.numpy(a).astype(dtype), before)
    for place in range(2):
        inside = device.arrays((x, t))
        device.alike(fused(*inside, reduction=reduction, grad_out=inside[place])[1], grad, 1)


@losses
def test_grad_out_may_overlap_elsewhere(name, device):
    """Shifted by an element, over several blocks: read before it is written over."""
    _, fused = pair(name)
    size = few(9000, 300)
    memory = np.random.default_rng(0).random(size + 1)
    target = np.linspace(0, 1, size)
    for of_x, of_out in (
        (slice(0, -1), slice(1, None)),
        (slice(1, None), slice(0, -1)),
        (slice(0, -1), slice(None, 0, -1)),
    ):
        for reduction in ("mean", "none"):
            for call in (lambda a: (a, device.array(target)), lambda a: (device.array(target), a)):
                fresh = device.array(memory)
                loss, grad = fused(*call(device.array(memory[of_x])), reduction=reduction)
                got, _ = fused(*call(fresh[of_x]), reduction=reduction, grad_out=fresh[of_out])
                device.alike(got, device.numpy(loss))
                device.alike(fresh[of_out], device.numpy(grad), 1)


@losses
def test_target_broadcasts_and_takes_the_first_arguments_precision(name, device):
    value, fused = pair(name)
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    there = device.array(x)
    for target in (0, 1.0, True, np.array([0, 1, 1]), np.array([[0.0], [1.0]]), np.array([0.0, 0.5, 1], np.float64)):
        full = device.array(np.broadcast_to(np.asarray(target, np.float32), x.shape))
        target = device.arrays(target)
        assert value(there, target).dtype == np.float32
        device.alike(value(there, target), device.numpy(value(there, full)))
        device.alike(fused(there, target)[1], device.numpy(fused(there, full)[1]))


@losses
def test_targets_that_are_lists_and_numbers(name):
    value, _ = pair(name)
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    for target in ([0, 1, 0], np.float64(0.5)):
        same_bits(value(x, target), value(x, np.broadcast_to(np.asarray(target, np.float32), x.shape)))
    assert type(value([1, 0], [0, 1])) is np.float64
    assert type(value(np.float32(0.5), 1)) is np.float32


@losses
@precisions
def test_the_mean_of_nothing_is_nan(name, dtype, device):
    value, fused = pair(name)
    for shape in ((0,), (3, 0)):
        x = device.array(np.empty(shape, dtype))
        loss, grad = fused(x, x)
        device.same(loss, np.array(np.nan, dtype))
        device.same(value(x, x), np.array(np.nan, dtype))
        assert grad.shape == shape and grad.dtype == dtype
        device.same(fused(x, x, reduction="sum")[0], np.zeros((), dtype))
        assert value(x, x, reduction="none").shape == shape


@pytest.mark.parametrize("name", ["mse_loss", "binary_cross_entropy_with_logits"])
def test_threads_size_and_place_change_nothing(name):
    """A loss without a parameter and one with: a parallel loop takes seconds to compile."""
    value, fused = pair(name)
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal(50_001).astype(np.float32), rng.random(50_001).astype(np.float32)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = fused(x, t, reduction="sum")
    finally:
        numba.set_num_threads(before)
    together = fused(x, t, reduction="sum")
    for a, b in zip(alone, together, strict=True):
        same_bits(a, b)
    if name == "mse_loss":  # one is enough
        same_bits(value(x, t, reduction="sum"), together[0])
    same_bits(together[1][49_000:], fused(x[49_000:], t[49_000:], reduction="sum")[1])
    each = value(x[:20_000], t[:20_000], reduction="none").astype(np.float64)
    np.testing.assert_allclose(value(x[:20_000], t[:20_000]), each.mean(), rtol=1e-7)  # summed in float64


@losses
def test_no_warning_where_a_sum_overflows(name, recwarn):
    value, fused = pair(name)
    x = np.full(4, 3e38, np.float32)
    assert value(x, 0, reduction="sum") == np.inf
    assert fused(x, 0, reduction="sum")[0] == np.inf
    assert not recwarn


def test_huber_between_its_neighbours():
    x = np.linspace(-3, 3, 61)
    np.testing.assert_allclose(huber_loss(x, 0, delta=100, reduction="none"), mse_loss(x, 0, reduction="none") / 2, rtol=1e-15)
    small = 1e-9
    np.testing.assert_allclose(huber_loss(x, 0, delta=small, reduction="none") / small, l1_loss(x, 0, reduction="none"), atol=1e-9)


@losses
@precisions
def test_out_takes_the_losses(name, dtype, device):
    value, fused = pair(name)
    rng = np.random.default_rng(1)
    x, t = rng.uniform(-5, 5, (3, 4)).astype(dtype), rng.uniform(0, 1, (3, 4)).astype(dtype)
    arguments = device.arrays((x, t))
    expected, slope = map(device.numpy, fused(*arguments, reduction="none"))
    for layout in ("contiguous", "fortran"):
        out, again = (device.lay(np.zeros((3, 4), dtype), layout) for _ in range(2))
        assert value(*arguments, reduction="none", out=out) is out
        device.alike(out, expected)
        losses, grad = fused(*arguments, reduction="none", out=again)
        assert losses is again
        device.alike(again, expected)
        device.alike(grad, slope, 1)
    memory = device.array(x)
    assert value(memory, arguments[1], reduction="none", out=memory) is memory
    device.alike(memory, expected)
    for reduction in ("mean", "sum"):
        with pytest.raises(ValueError, match='^out: expected reduction="none"'):
            value(*arguments, reduction=reduction, out=memory)
    with pytest.raises(ValueError, match="^grad_out: expected memory of its own"):
        fused(*arguments, reduction="none", out=memory, grad_out=memory)
