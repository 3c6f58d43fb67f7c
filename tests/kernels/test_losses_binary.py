"""Binary cross-entropy and what only it has: both tails, weights, masked logits, its relation to the softmax."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, same_bits

from nbgrad.kernels import (
    binary_cross_entropy_with_logits,
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy_value_and_grad,
    sigmoid,
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


@precisions
def test_bce_weights(dtype):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((4, 3)).astype(dtype), rng.random((4, 3)).astype(dtype)
    weight, pos_weight = rng.random((4, 1)).astype(dtype), (rng.random(3) + 0.5).astype(dtype)
    rtol = 8 * float(np.finfo(dtype).eps)
    y = sigmoid(x.astype(np.float64))
    each = weight * (-pos_weight * t * np.log(y) - (1 - t) * np.log1p(-y))
    got = binary_cross_entropy_with_logits(x, t, weight=weight, pos_weight=pos_weight, reduction="none")
    assert got.dtype == dtype
    np.testing.assert_allclose(got, each, rtol=4 * rtol)
    h = 1e-6
    for keywords in (
        {"weight": weight},
        {"pos_weight": pos_weight},
        {"weight": weight, "pos_weight": pos_weight},
        {"pos_weight": 2},
        {},
    ):
        for reduction in ("mean", "sum", "none"):
            value, grad = binary_cross_entropy_with_logits_value_and_grad(
                x, t, **keywords, reduction=reduction
            )
            same_bits(value, binary_cross_entropy_with_logits(x, t, **keywords, reduction=reduction))

            def total(v, keywords=keywords, reduction=reduction):
                return binary_cross_entropy_with_logits(v, t, **keywords, reduction=reduction).sum()

            wide = x.astype(np.float64)
            slopes = np.empty_like(wide)
            for place in np.ndindex(x.shape):
                up, down = wide.copy(), wide.copy()
                up[place] += h
                down[place] -= h
                slopes[place] = (total(up) - total(down)) / (2 * h)
            np.testing.assert_allclose(grad, slopes, rtol=1e-5, atol=1e-7)
            out = np.full(x.shape, 7, dtype)
            assert (
                binary_cross_entropy_with_logits_value_and_grad(
                    x, t, **keywords, reduction=reduction, grad_out=out
                )[1]
                is out
            )
            same_bits(out, grad)
    for one in (np.ones(3, dtype), 1, 1.0, np.float64(1), np.ones(())):
        np.testing.assert_allclose(
            binary_cross_entropy_with_logits(x, t, pos_weight=one),
            binary_cross_entropy_with_logits(x, t),
            rtol=rtol,
        )


def test_bce_of_masked_logits_with_weights(recwarn):
    """A term with factor 0 is absent where the other one is infinite; 0 times inf by a weight is nan, as in PyTorch, and no warning."""
    x = np.array([np.inf, -np.inf])
    same_bits(
        binary_cross_entropy_with_logits(x, [1.0, 0], pos_weight=[2.0, 3], reduction="none"), np.zeros(2)
    )
    assert np.isnan(binary_cross_entropy_with_logits(x, [0.0, 1], weight=[0.0, 1], reduction="none")[0])
    assert not recwarn


@given(st.data())
def test_two_class_softmax_is_bce_of_the_difference(data):
    """cross_entropy of logits (a, b) with label 1 = BCE of b − a with target 1, and so are the gradients."""
    logits = data.draw(
        st.lists(st.tuples(st.integers(-300, 300), st.integers(-300, 300)), min_size=1, max_size=5)
    )
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
