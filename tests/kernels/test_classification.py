"""cross_entropy and nll_loss: labels and probabilities, weights, ignored rows, smoothing, shapes and errors.

(Accuracy of a row: ``tests/formulas/test_rows.py``.)
"""

import itertools
import math

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, INPUT_LAYOUTS, lay, layouts, out_layouts, same_bits

from nbgrad.kernels import (
    cross_entropy,
    cross_entropy_value_and_grad,
    log_softmax,
    nll_loss,
    nll_loss_value_and_grad,
)

precisions = pytest.mark.parametrize("dtype", DTYPES)
FUNCTIONS = [cross_entropy, cross_entropy_value_and_grad, nll_loss, nll_loss_value_and_grad]


def definition(logits, target, weight=None, ignore_index=-100, label_smoothing=0.0, reduction="mean"):
    """cross_entropy one row after the other in Python's arithmetic; the classes along axis 1 (or the only axis)."""
    x = np.asarray(logits, float)
    axis = min(1, x.ndim - 1)
    classes = x.shape[axis]
    w = [1.0] * classes if weight is None else [float(v) for v in weight]
    rows = np.moveaxis(x, axis, -1).reshape(-1, classes)
    target = np.asarray(target)
    probabilities = target.dtype.kind == "f"
    targets = np.moveaxis(target, axis, -1).reshape(-1, classes) if probabilities else target.reshape(-1)
    losses, divisor = [], 0.0
    for row, t in zip(rows, targets, strict=True):
        if not probabilities and t == ignore_index:
            losses.append(0.0)
            continue
        largest = max(row)
        log_sum = largest + math.log(math.fsum(math.exp(v - largest) for v in row))
        q = [float(v) for v in t] if probabilities else [float(j == t) for j in range(classes)]
        q = [(1 - label_smoothing) * v + label_smoothing / classes for v in q]
        losses.append(
            math.fsum(wj * qj * (log_sum - v) for wj, qj, v in zip(w, q, row, strict=True) if wj * qj)
        )
        divisor += 1.0 if probabilities else w[t]
    if reduction == "none":
        return np.reshape(losses, x.shape[:axis] + x.shape[axis + 1 :])
    total = math.fsum(losses)
    return total if reduction == "sum" else (total / divisor if divisor else math.nan)


@st.composite
def problems(draw, probabilities=None):
    """(logits, target, keywords): 1-D to 4-D, some labels ignored, weights, smoothing, every reduction."""
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes = draw(st.integers(1, 4))
    shape = draw(
        st.sampled_from([(classes,), (3, classes), (2, classes, 3), (2, classes, 1, 2), (1, classes)])
    )
    others = shape[:-1] if len(shape) <= 2 else (shape[0], *shape[2:])
    x = (rng.standard_normal(shape) * draw(st.sampled_from([0.1, 1.0, 10.0]))).astype(dtype)
    keywords = {"reduction": draw(st.sampled_from(["mean", "sum", "none"]))}
    if draw(st.booleans()):
        keywords["weight"] = (rng.random(classes) + 0.1).astype(dtype)
    if draw(st.booleans()):
        keywords["label_smoothing"] = draw(st.sampled_from([0.125, 0.5, 1.0]))
    if probabilities if probabilities is not None else draw(st.booleans()):
        q = rng.random(shape)
        target = (q / q.sum(min(1, len(shape) - 1), keepdims=True)).astype(dtype)
    else:
        target = rng.integers(0, classes, others)
        if draw(st.booleans()):
            keywords["ignore_index"] = draw(st.sampled_from([-100, -1, 0, 7]))
            target = np.where(rng.random(others) < 0.3, keywords["ignore_index"], target)
    return x, target, keywords


@given(problems())
def test_definition(problem):
    x, target, keywords = problem
    got = cross_entropy(x, target, **keywords)
    true = definition(x, target, **keywords)
    assert np.shape(got) == np.shape(true) and got.dtype == x.dtype
    eps = float(np.finfo(x.dtype).eps)
    np.testing.assert_allclose(got, true, rtol=20 * eps, atol=2 * eps * float(np.abs(x).max()))


@given(problems())
def test_gradient_is_the_slope_and_the_value_the_same(problem):
    x, target, keywords = problem
    loss, grad = cross_entropy_value_and_grad(x, target, **keywords)
    same_bits(loss, cross_entropy(x, target, **keywords))
    assert grad.shape == x.shape and grad.dtype == x.dtype and grad.flags.c_contiguous
    h = 1e-5
    wide = x.astype(np.float64)
    for place in np.ndindex(x.shape):
        up, down = wide.copy(), wide.copy()
        up[place] += h
        down[place] -= h
        slope = (
            np.sum(definition(up, target, **keywords)) - np.sum(definition(down, target, **keywords))
        ) / (2 * h)
        if np.isnan(slope):
            slope = 0  # the mean of nothing: the loss is nan, the gradient 0, as in PyTorch
        np.testing.assert_allclose(grad[place], slope, rtol=2e-5, atol=1e-6)


@given(problems(), st.data())
def test_layouts_change_nothing(problem, data):
    x, target, keywords = problem
    loss, grad = cross_entropy_value_and_grad(x, target, **keywords)
    laid, laid_target = lay(x, data.draw(layouts)), lay(target, data.draw(layouts))
    if "weight" in keywords:
        keywords = {**keywords, "weight": lay(keywords["weight"], data.draw(layouts))}
    same_bits(cross_entropy(laid, laid_target, **keywords), loss)
    out = lay(np.full(x.shape, 7, x.dtype), data.draw(out_layouts))
    again, same = cross_entropy_value_and_grad(laid, laid_target, **keywords, grad_out=out)
    assert same is out
    same_bits(again, loss)
    same_bits(out.astype(x.dtype), grad)
    same_bits(laid.astype(x.dtype), x)
    assert (laid_target == target).all()
    inside = x.copy()
    same_bits(cross_entropy_value_and_grad(inside, target, **keywords, grad_out=inside)[1], grad)
    if target.shape == x.shape:
        inside = target.astype(x.dtype)
        same_bits(cross_entropy_value_and_grad(x, inside, **keywords, grad_out=inside)[1], grad)


@precisions
def test_grad_out_may_overlap_everything(dtype):
    """Logits shifted by an element, the weights, the class probabilities: read before anything is written over them."""
    rng = np.random.default_rng(0)
    memory = rng.random(25).astype(dtype)
    labels = rng.integers(0, 4, 6)
    for of_x, of_out in itertools.permutations([slice(0, 24), slice(1, 25), slice(24, 0, -1)], 2):
        fresh = memory.copy()
        expected = cross_entropy_value_and_grad(fresh[of_x].reshape(6, 4).copy(), labels)[1]
        cross_entropy_value_and_grad(fresh[of_x].reshape(6, 4), labels, grad_out=fresh[of_out].reshape(6, 4))
        same_bits(fresh[of_out].reshape(6, 4), expected)
    x = rng.random((6, 4)).astype(dtype)
    for row in range(6):
        grad = rng.random((6, 4)).astype(dtype)
        expected = cross_entropy_value_and_grad(x, labels, weight=grad[row].copy())
        got = cross_entropy_value_and_grad(x, labels, weight=grad[row], grad_out=grad)
        same_bits(got[0], expected[0])
        same_bits(grad, expected[1])


@given(problems(probabilities=False))
def test_it_is_nll_loss_of_log_softmax(problem):
    x, target, keywords = problem
    keywords.pop("label_smoothing", None)
    got = nll_loss(log_softmax(x, axis=min(1, x.ndim - 1)), target, **keywords)
    eps = float(np.finfo(x.dtype).eps)
    np.testing.assert_allclose(
        got, cross_entropy(x, target, **keywords), rtol=8 * eps, atol=2 * eps * float(np.abs(x).max())
    )


@given(problems(probabilities=False))
def test_gradient_of_nll_loss_is_the_slope(problem):
    """nll_loss is linear in its input: a difference with step 1 is its slope, to the rounding."""
    x, target, keywords = problem
    keywords.pop("label_smoothing", None)
    loss, grad = nll_loss_value_and_grad(x, target, **keywords)
    same_bits(loss, nll_loss(x, target, **keywords))
    zeros = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        unit = zeros.copy()
        unit[place] = 1
        slope = np.sum(nll_loss(unit, target, **keywords)) - np.sum(nll_loss(zeros, target, **keywords))
        np.testing.assert_allclose(
            grad[place], 0 if np.isnan(slope) else slope, rtol=4 * float(np.finfo(x.dtype).eps)
        )
    out = lay(np.full(x.shape, 7, x.dtype), "fortran")
    assert nll_loss_value_and_grad(x, target, **keywords, grad_out=out)[1] is out
    same_bits(out, grad)


@precisions
def test_everything_ignored(dtype):
    """The mean of nothing is nan, its gradient 0; −inf logits in an ignored row make no nan."""
    x = np.array([[-np.inf, -np.inf], [-np.inf, 0.0], [np.nan, np.inf]], dtype)
    for ignore_index in (-100, 0, 5):
        labels = np.full(3, ignore_index)
        for smoothing in (0.0, 0.25):
            for reduction, expected in (("mean", np.nan), ("sum", 0.0), ("none", np.zeros(3))):
                loss, grad = cross_entropy_value_and_grad(
                    x, labels, ignore_index=ignore_index, reduction=reduction, label_smoothing=smoothing
                )
                np.testing.assert_array_equal(loss, expected)
                same_bits(grad, np.zeros_like(x))
            loss, grad = cross_entropy_value_and_grad(
                np.vstack([x, np.array([[1, 2]], dtype)]),
                [*labels, 1],
                ignore_index=ignore_index,
                label_smoothing=smoothing,
            )
            alone = cross_entropy_value_and_grad(np.array([[1, 2]], dtype), [1], label_smoothing=smoothing)
            same_bits(loss, alone[0])
            same_bits(grad, np.vstack([np.zeros_like(x), alone[1]]))
        loss, grad = nll_loss_value_and_grad(x, labels, ignore_index=ignore_index)
        assert np.isnan(loss) and (grad == 0).all()


@precisions
def test_no_rows(dtype):
    for x, target in (
        (np.empty((0, 3)), np.empty(0, int)),
        (np.empty((0, 3)), np.empty((0, 3))),
        (np.empty((2, 3, 0)), np.empty((2, 0), int)),
    ):
        x = x.astype(dtype)
        loss, grad = cross_entropy_value_and_grad(x, target)
        assert np.isnan(loss) and type(loss) is dtype and grad.shape == x.shape
        assert cross_entropy(x, target, reduction="sum") == 0
        assert cross_entropy(x, target, reduction="none").size == 0


def test_masked_logits_count_nothing():
    """A class with logit −inf has probability 0; a target there of 0 adds nothing, any other makes the loss inf."""
    x = np.array([[0.0, -np.inf, 1.0]])
    same_bits(cross_entropy(x, [2]), cross_entropy(np.array([[0.0, 1.0]]), [1]))
    loss, grad = cross_entropy_value_and_grad(x, [[0.25, 0.0, 0.75]])
    np.testing.assert_allclose(loss, cross_entropy(np.array([[0.0, 1.0]]), [[0.25, 0.75]]), rtol=1e-15)
    assert grad[0, 1] == 0 and np.isfinite(grad).all()
    loss, grad = cross_entropy_value_and_grad(x, [1])
    assert loss == np.inf and grad[0, 1] == -1


def test_a_sure_label_keeps_its_digits():
    """Where the probability rounds to 1, its difference from 1 does not round to 0."""
    loss, grad = cross_entropy_value_and_grad(np.array([[50.0, 0.0]]), [0])
    np.testing.assert_allclose(loss, 1.9287498479639178e-22, rtol=1e-15)
    np.testing.assert_allclose(grad, [[-1.9287498479639178e-22, 1.9287498479639178e-22]], rtol=1e-15)
    loss, grad = cross_entropy_value_and_grad(np.array([[50.0, 0.0]]), [[1.0, 0.0]])
    np.testing.assert_allclose(loss, 1.9287498479639178e-22, rtol=1e-15)
    np.testing.assert_allclose(grad, [[-1.9287498479639178e-22, 1.9287498479639178e-22]], rtol=1e-15)
    loss, grad = cross_entropy_value_and_grad(np.float32([[1e30, 0, -1e30]]), [0])
    assert loss == 0 and (grad == 0).all()


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("dtype", ["i1", "u1", "i4", "u4", "i8", "u8", ">i2"])
def test_labels_of_any_integer_dtype_and_layout(dtype, layout):
    x = np.random.default_rng(0).standard_normal((4, 3))
    labels = np.array([0, 2, 1, 2])
    same_bits(cross_entropy(x, lay(labels.astype(dtype), layout)), cross_entropy(x, labels))


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((5000, 10)).astype(np.float32), rng.integers(0, 10, 5000)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = cross_entropy_value_and_grad(x, labels)
    finally:
        numba.set_num_threads(before)
    together = cross_entropy_value_and_grad(x, labels)
    same_bits(alone[0], together[0])
    same_bits(alone[1], together[1])
    few = cross_entropy_value_and_grad(x[4900:], labels[4900:], reduction="sum")[1]
    same_bits(few, cross_entropy_value_and_grad(x, labels, reduction="sum")[1][4900:])
    np.testing.assert_allclose(together[0], cross_entropy(x.astype(np.float64), labels), rtol=2e-7)


def test_lists_integers_and_numbers():
    same_bits(
        cross_entropy([[2, 0], [0, 1]], [0, 1]), cross_entropy(np.array([[2.0, 0], [0, 1]]), np.array([0, 1]))
    )
    assert type(cross_entropy([2, 0], 0)) is np.float64
    assert cross_entropy(np.float32([2, 0]), np.int8(0), reduction="none").dtype == np.float32
