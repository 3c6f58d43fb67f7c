"""The elementwise losses: reductions, weights, layouts and errors. (Accuracy of an element: ``tests/test_ops.py``.)"""

import inspect
import math
import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, arrays, dtypes, lay, layouts, out_layouts, same_bits, shapes

from nbgrad import kernels
from nbgrad.kernels import (
    huber_loss,
    l1_loss,
    mse_loss,
)

LOSSES = {
    name: getattr(kernels, name)
    for name in ("mse_loss", "l1_loss", "huber_loss", "binary_cross_entropy_with_logits")
}
losses = pytest.mark.parametrize("name", LOSSES)
precisions = pytest.mark.parametrize("dtype", DTYPES)
reductions = st.sampled_from(["mean", "sum", "none"])

#: textbook definitions of one element, in Python's arithmetic
DEFINITIONS = {
    "mse_loss": lambda x, t: (x - t) ** 2,
    "l1_loss": lambda x, t: abs(x - t),
    "huber_loss": lambda x, t: 0.5 * (x - t) ** 2 if abs(x - t) <= 1 else abs(x - t) - 0.5,
    "binary_cross_entropy_with_logits": lambda x, t: (
        -t * -math.log1p(math.exp(-x)) + (1 - t) * math.log1p(math.exp(x))
    ),
}


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
def test_definition_and_reductions(name, dtype):
    value, _ = pair(name)
    rng = np.random.default_rng(0)
    x, t = rng.uniform(-5, 5, (4, 6)).astype(dtype), rng.uniform(0, 1, (4, 6)).astype(dtype)
    true = np.array(
        [DEFINITIONS[name](float(a), float(b)) for a, b in zip(x.ravel(), t.ravel(), strict=True)]
    ).reshape(4, 6)
    rtol = 8 * float(np.finfo(dtype).eps)
    each = value(x, t, reduction="none")
    assert each.dtype == dtype and each.shape == (4, 6)
    np.testing.assert_allclose(each, true, rtol=rtol)
    for reduction, expected in (("sum", true.sum()), ("mean", true.mean())):
        got = value(x, t, reduction=reduction)
        assert type(got) is dtype
        np.testing.assert_allclose(got, expected, rtol=rtol)
    same_bits(value(x, t), value(x, t, reduction="mean"))


@losses
@given(st.data())
def test_gradient_is_the_slope(name, data):
    """Central differences of the loss in float64, for both precisions: (f(x + h) − f(x − h))/2h, to h² and the rounding of f."""
    value, fused = pair(name)
    dtype, reduction = data.draw(dtypes), data.draw(reductions)
    shape = data.draw(shapes(max_dims=2, min_side=1))
    size = math.prod(shape)
    width = np.finfo(dtype).bits
    draw = st.lists(st.floats(-8, 8, width=width), min_size=size, max_size=size)
    x = np.array(data.draw(draw), dtype).reshape(shape)
    t = np.array(
        data.draw(st.lists(st.floats(0, 1, width=width), min_size=size, max_size=size)), dtype
    ).reshape(shape)
    keywords = {"reduction": reduction}
    if name == "huber_loss":
        keywords["delta"] = data.draw(st.floats(0.25, 4, width=width))
    if name == "binary_cross_entropy_with_logits":
        keywords["pos_weight"] = data.draw(st.floats(0.25, 4, width=width))
    h = 1e-6
    x = np.where(np.abs(x - t) < 2 * h, x + 0.25, x).astype(dtype)  # away from the kink
    loss, grad = fused(x, t, **keywords)
    same_bits(loss, value(x, t, **keywords))
    assert np.shape(grad) == shape and grad.dtype == dtype
    wide, target = x.astype(np.float64), t.astype(np.float64)
    for place in np.ndindex(shape):
        up, down = wide.copy(), wide.copy()
        up[place] += h
        down[place] -= h
        slope = (np.sum(value(up, target, **keywords)) - np.sum(value(down, target, **keywords))) / (2 * h)
        np.testing.assert_allclose(np.asarray(grad)[place], slope, rtol=1e-5, atol=1e-6)


@losses
@given(st.data())
def test_layouts_change_nothing(name, data):
    value, fused = pair(name)
    dtype, reduction = data.draw(dtypes), data.draw(reductions)
    shape = data.draw(shapes(max_dims=3))
    x, t = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, shape))
    loss, grad = fused(x, t, reduction=reduction)
    laid = lay(x, data.draw(layouts)), lay(t, data.draw(layouts))
    same_bits(value(*laid, reduction=reduction), loss)
    out = lay(np.full(shape, 7, dtype), data.draw(out_layouts))
    again, same = fused(*laid, reduction=reduction, grad_out=out)
    assert same is out
    same_bits(again, loss)
    same_bits(out.astype(dtype), np.asarray(grad))
    same_bits(laid[0].astype(dtype), x)
    same_bits(laid[1].astype(dtype), t)
    for place in range(2):
        inside = x.copy(), t.copy()
        same_bits(fused(*inside, reduction=reduction, grad_out=inside[place])[1], np.asarray(grad))


@losses
def test_grad_out_may_overlap_elsewhere(name):
    """Shifted by an element, over several blocks: read before it is written over."""
    _, fused = pair(name)
    memory = np.random.default_rng(0).random(9001)
    target = np.linspace(0, 1, 9000)
    for of_x, of_out in (
        (slice(0, -1), slice(1, None)),
        (slice(1, None), slice(0, -1)),
        (slice(0, -1), slice(None, 0, -1)),
    ):
        for reduction in ("mean", "none"):
            for call in (lambda a: (a, target), lambda a: (target, a)):
                fresh = memory.copy()
                expected = fused(*call(fresh[of_x].copy()), reduction=reduction)
                loss, _ = fused(*call(fresh[of_x]), reduction=reduction, grad_out=fresh[of_out])
                same_bits(loss, expected[0])
                same_bits(fresh[of_out], expected[1])


@losses
def test_target_broadcasts_and_takes_the_first_arguments_precision(name):
    value, fused = pair(name)
    x = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
    for target in (0, 1.0, True, np.float64(0.5), np.array([0, 1, 1]), np.array([[0.0], [1.0]]), [0, 1, 0]):
        full = np.broadcast_to(np.asarray(target, np.float32), x.shape).copy()
        assert type(value(x, target)) is np.float32
        same_bits(value(x, target), value(x, full))
        same_bits(fused(x, target)[1], fused(x, full)[1])
    assert type(value([1, 0], [0, 1])) is np.float64
    assert type(value(np.float32(0.5), 1)) is np.float32


@losses
@precisions
def test_the_mean_of_nothing_is_nan(name, dtype):
    value, fused = pair(name)
    for shape in ((0,), (3, 0)):
        x = np.empty(shape, dtype)
        loss, grad = fused(x, x)
        assert np.isnan(loss) and np.isnan(value(x, x)) and type(loss) is dtype
        assert grad.shape == shape and grad.dtype == dtype
        assert fused(x, x, reduction="sum")[0] == 0
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
    np.testing.assert_allclose(
        huber_loss(x, 0, delta=100, reduction="none"), mse_loss(x, 0, reduction="none") / 2, rtol=1e-15
    )
    small = 1e-9
    np.testing.assert_allclose(
        huber_loss(x, 0, delta=small, reduction="none") / small, l1_loss(x, 0, reduction="none"), atol=1e-9
    )


@losses
def test_bad_arguments(name):
    value, fused = pair(name)
    x = np.zeros((2, 3))
    for function in (value, fused):
        for wrong in (1j, "x", None, np.float16(1), np.ma.zeros((2, 3))):
            with pytest.raises(TypeError, match=f"^{first(name)}: expected "):
                function(wrong, 0)
            with pytest.raises(TypeError, match="^target: expected "):
                function(x, wrong)
        for shape in ((4,), (3, 2), (1, 2, 3), (2, 3, 1)):
            with pytest.raises(
                ValueError,
                match=re.escape(
                    f"target: expected a shape that broadcasts to {first(name)}'s (2, 3), got {shape}"
                ),
            ):
                function(x, np.zeros(shape))
        for wrong in ("max", None, 0):
            with pytest.raises(ValueError, match="^reduction: expected one of 'mean', 'sum', 'none', got "):
                function(x, x, reduction=wrong)
    read_only = np.zeros((2, 3))
    read_only.flags.writeable = False
    for reduction in ("mean", "none"):
        for out, error in (
            (np.zeros(6), ValueError),
            (np.zeros((2, 3), np.float32), TypeError),
            ([0], TypeError),
            (read_only, ValueError),
        ):
            with pytest.raises(error, match="^grad_out: expected "):
                fused(x, x, reduction=reduction, grad_out=out)


@losses
@precisions
def test_out_takes_the_losses(name, dtype):
    value, fused = pair(name)
    rng = np.random.default_rng(1)
    x, t = rng.uniform(-5, 5, (3, 4)).astype(dtype), rng.uniform(0, 1, (3, 4)).astype(dtype)
    expected, slope = fused(x, t, reduction="none")
    for out in (np.zeros((3, 4), dtype), np.zeros((4, 3), dtype).T):
        assert value(x, t, reduction="none", out=out) is out
        same_bits(out, expected)
        out[...] = 0
        losses, grad = fused(x, t, reduction="none", out=out)
        assert losses is out
        same_bits(out, expected)
        same_bits(grad, slope)
    memory = x.copy()
    assert value(memory, t, reduction="none", out=memory) is memory
    same_bits(memory, expected)
    for reduction in ("mean", "sum"):
        with pytest.raises(ValueError, match='^out: expected reduction="none"'):
            value(x, t, reduction=reduction, out=np.zeros((3, 4), dtype))
    with pytest.raises(ValueError, match="^grad_out: expected memory of its own"):
        fused(x, t, reduction="none", out=memory, grad_out=memory)


def test_bad_delta():
    assert huber_loss(1.0, 4.0, delta=np.array(0.5)) == huber_loss(1.0, 4.0, delta=0.5)
    for wrong in (0, -1.0, np.nan, np.float32(0), np.array(0.0)):
        with pytest.raises(ValueError, match="^delta: expected a number > 0, got "):
            huber_loss(1.0, 2.0, delta=wrong)
    for wrong in ("1", None, True, np.ones(2), np.array(True)):
        with pytest.raises(TypeError, match="^delta: expected a real number, got "):
            huber_loss(1.0, 2.0, delta=wrong)
