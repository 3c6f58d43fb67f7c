"""Binary cross-entropy and what only it has: both tails, weights, masked logits, its relation to the softmax."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import differences
from strategies import DTYPES

from nbgrad.kernels import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy_value_and_grad,
)

precisions = pytest.mark.parametrize("dtype", DTYPES)


def test_bce_is_right_in_both_tails():
    """A sure and right prediction keeps its digits, a sure and wrong one is its logit, and nothing is inf − inf."""
    x = np.array([50.0, -50.0, 1000.0, -1000.0, np.inf, -np.inf])
    t = np.array([1.0, 0, 1, 0, 1, 0])
    loss, grad = binary_cross_entropy_with_logits_value_and_grad(x, t, reduction="none")
    tail = 1.9287498479639178e-22  # ln(1 + e^-50) = σ(−50) to 22 digits
    np.testing.assert_allclose(loss, [tail, tail, 0, 0, 0, 0], rtol=1e-15)
    np.testing.assert_allclose(grad, [-tail, tail, 0, 0, 0, 0], rtol=1e-15)
    loss, grad = binary_cross_entropy_with_logits_value_and_grad(x, 1 - t, reduction="none")
    assert loss.tolist() == [50, 50, 1000, 1000, np.inf, np.inf]
    assert grad.tolist() == [1, -1, 1, -1, 1, -1]


WEIGHTS = {"weight": (4, 1), "pos_weight": (3,)}  # and their shapes


def definition(x, t, weight=1.0, pos_weight=1.0, reduction="mean"):
    """A term with factor 0 is absent."""
    x, t, w = (np.asarray(a, np.longdouble) for a in (x, t, pos_weight * np.asarray(t, np.longdouble)))
    with np.errstate(invalid="ignore"):
        each = weight * (np.where(w == 0, 0, w * np.logaddexp(0, -x)) + np.where(t == 1, 0, (1 - t) * np.logaddexp(0, x)))
    return each if reduction == "none" else each.sum() if reduction == "sum" else each.mean()


@precisions
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bce_weights(dtype, reduction, device):
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal((4, 3)) * 3).astype(dtype), rng.random((4, 3)).astype(dtype)
    t[0] = 1, 0, 0.5
    given = {name: (rng.random(shape) + 0.5).astype(dtype) for name, shape in WEIGHTS.items()}
    given |= {"pos_weight by row": given["weight"], "weight by column": given["pos_weight"]}
    for names in (["weight"], ["pos_weight"], ["weight", "pos_weight"], ["weight by column", "pos_weight by row"], []):
        keywords = {name.split()[0]: given[name] for name in names} or {"pos_weight": 2}
        there = device.arrays(keywords)
        value, grad = binary_cross_entropy_with_logits_value_and_grad(*device.arrays((x, t)), **there, reduction=reduction)
        device.near(value, definition(x, t, **keywords, reduction=reduction).astype(dtype), ulps=32)
        alone = binary_cross_entropy_with_logits(*device.arrays((x, t)), **there, reduction=reduction)
        device.alike(alone, device.numpy(value))
        slopes = differences(lambda v, k=keywords: definition(v, t, **k, reduction=reduction).sum(), x, 2.0**-20)
        rtol, atol = 1e-5 + device.slack(dtype), 1e-7 + device.slack(dtype)
        np.testing.assert_allclose(device.numpy(grad), slopes.astype(np.float64), rtol=rtol, atol=atol)
        out = device.array(np.full(x.shape, 7, dtype))
        arguments = device.arrays((x, t))
        assert binary_cross_entropy_with_logits_value_and_grad(*arguments, **there, reduction=reduction, grad_out=out)[1] is out
        device.alike(out, device.numpy(grad), 1)


@precisions
def test_a_pos_weight_of_one_is_none(dtype, device):
    rng = np.random.default_rng(0)
    x, t = device.arrays((rng.standard_normal((4, 3)).astype(dtype), rng.random((4, 3)).astype(dtype)))
    alone = device.numpy(binary_cross_entropy_with_logits(x, t))
    for one in (np.ones(3, dtype), 1, 1.0, np.float64(1), np.ones(())):
        got = binary_cross_entropy_with_logits(x, t, pos_weight=device.arrays(one))
        device.near(got, alone, ulps=8)


def test_bce_of_masked_logits_with_weights(recwarn, device):
    """A term with factor 0 is absent where the other one is infinite; 0 times inf by a weight is nan, as in PyTorch, and no warning."""
    x, t, weight, pos_weight = device.arrays(tuple(map(np.array, ([np.inf, -np.inf], [1.0, 0], [0.0, 1], [2.0, 3]))))
    both = binary_cross_entropy_with_logits_value_and_grad(x, t, pos_weight=pos_weight, reduction="none")
    for got in both:
        device.same(got, np.zeros(2))
    wrong = device.array(np.array([0.0, 1]))
    assert np.isnan(device.numpy(binary_cross_entropy_with_logits(x, wrong, weight=weight, reduction="none"))[0])
    assert not recwarn


@given(st.data())
def test_two_class_softmax_is_bce_of_the_difference(data):
    """cross_entropy of logits (a, b) with label 1 = BCE of b − a with target 1, and so are the gradients."""
    logits = data.draw(st.lists(st.tuples(st.integers(-300, 300), st.integers(-300, 300)), min_size=1, max_size=5))
    x = np.array(logits, np.float64) / 4  # differences are exact
    labels = np.array(data.draw(st.lists(st.integers(0, 1), min_size=len(x), max_size=len(x))))
    loss, grad = cross_entropy_value_and_grad(x, labels)
    binary, slope = binary_cross_entropy_with_logits_value_and_grad(x[:, 1] - x[:, 0], labels)
    np.testing.assert_allclose(loss, binary, rtol=1e-14)
    np.testing.assert_allclose(grad[:, 1], slope, rtol=1e-14)
    np.testing.assert_allclose(grad[:, 0], -slope, rtol=1e-14)


def test_bad_weights():
    x = np.zeros((2, 3))
    for keyword in ("weight", "pos_weight"):
        with pytest.raises(
            ValueError,
            match=f"^{keyword}: expected a shape that broadcasts to logits's \\(2, 3\\), got \\(4,\\)",
        ):
            binary_cross_entropy_with_logits(x, x, **{keyword: np.ones(4)})
        for wrong in ("a", 1j, np.ma.ones(3)):
            with pytest.raises(TypeError, match=f"^{keyword}: expected "):
                binary_cross_entropy_with_logits(x, x, **{keyword: wrong})
