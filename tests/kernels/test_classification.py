"""cross_entropy and nll_loss: labels and probabilities, weights, ignored rows, smoothing, shapes and errors.

(Accuracy of a row: ``tests/formulas/test_rows.py``.) On CUDA gradients are held to the CPU's in units in the last place, too.
"""

import itertools

import numba
import numpy as np
import pytest
from devices import on_a_gpu, unless_simulated
from hypothesis import given
from hypothesis import strategies as st
from reference import differences
from row_reference import cross_entropy_by_definition as definition
from strategies import DTYPES, INPUT_LAYOUTS, lay, native, same_bits

from nbgrad.kernels import (
    cross_entropy,
    cross_entropy_value_and_grad,
    log_softmax,
    nll_loss,
    nll_loss_value_and_grad,
)

precisions = pytest.mark.parametrize("dtype", DTYPES)
FUNCTIONS = [cross_entropy, cross_entropy_value_and_grad, nll_loss, nll_loss_value_and_grad]


@st.composite
def problems(draw, probabilities=None):
    """(logits, target, keywords): 1-D to 4-D, some labels ignored, weights, smoothing, every reduction."""
    dtype = draw(st.sampled_from(DTYPES))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    classes = draw(st.integers(1, 4))
    shape = draw(st.sampled_from([(classes,), (3, classes), (2, classes, 3), (2, classes, 1, 2), (1, classes)]))
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


def eps_of(device, x):
    """Of x's precision; on CUDA as much larger as its results may be off by more."""
    return float(np.finfo(x.dtype).eps) * (1 + device.extra / 4)


@given(problem=problems())
def test_definition(problem, device):
    x, target, keywords = problem
    got = cross_entropy(*device.arrays((x, target)), **device.arrays(keywords))
    true = definition(x, target, **keywords)
    assert np.shape(got) == np.shape(true) and got.dtype == x.dtype
    eps = eps_of(device, x)
    np.testing.assert_allclose(device.numpy(got), true, rtol=20 * eps, atol=2 * eps * float(np.abs(x).max()))


@given(problem=problems())
def test_gradient_is_the_slope_and_the_value_the_same(problem, device):
    x, target, keywords = problem
    arguments, options = device.arrays((x, target)), device.arrays(keywords)
    loss, grad = cross_entropy_value_and_grad(*arguments, **options)
    device.alike(cross_entropy(*arguments, **options), device.numpy(loss))
    assert grad.shape == x.shape and grad.dtype == x.dtype and (not device.cpu or grad.flags.c_contiguous)
    slopes = differences(lambda v: np.sum(definition(v, target, **keywords)), x)
    slopes[np.isnan(slopes)] = 0  # the mean of nothing: the loss is nan, the gradient 0, as in PyTorch
    rtol, atol = 2e-5 + device.slack(x.dtype), 1e-6 + device.slack(x.dtype)
    np.testing.assert_allclose(device.numpy(grad), slopes.astype(np.float64), rtol=rtol, atol=atol)
    device.near(grad, cross_entropy_value_and_grad(x, target, **keywords)[1], 5)


def labels_of(shape, classes):
    labels = np.random.default_rng(1).integers(0, classes, shape)
    if labels.size > 2:
        labels.flat[1] = -100
    return labels


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("weighted", [False, True])
def test_sums_of_many_rows_are_as_near_as_of_few(reduction, weighted):
    """Against long double: weights and losses of many rows are added up without their roundings."""
    rng = np.random.default_rng(0)
    x, labels = rng.standard_normal((30_000, 10)), rng.integers(0, 10, 30_000)
    weight = rng.random(10) + 0.1 if weighted else None
    wide = x.astype(np.longdouble)
    largest = wide.max(axis=1)
    own = wide[np.arange(len(x)), labels]
    each = (np.ones(10) if weight is None else weight)[labels].astype(np.longdouble)
    divisor = each.sum() if reduction == "mean" else 1
    for function, terms in ((cross_entropy, largest - own + np.log(np.exp(wide - largest[:, None]).sum(axis=1))), (nll_loss, -own)):
        true = (each * terms).sum() / divisor
        unit = np.finfo(float).eps * np.abs(each * terms).sum() / divisor
        assert abs(function(x, labels, weight=weight, reduction=reduction) - true) <= 2 * unit


@pytest.mark.parametrize("shape", [(6, 10), (3, 33), (2, 3, 4), (5,), (40, 1), *unless_simulated((1000, 10)), *on_a_gpu((70, 5000))], ids=str)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@precisions
def test_rows_of_every_length(shape, reduction, dtype, device):
    """On CUDA a part of a warp and a block for a row, classes along the second axis, more rows than one block adds up."""
    x = (np.random.default_rng(0).standard_normal(shape) * 4).astype(dtype)
    x.flat[0] = -np.inf
    classes = shape[1] if len(shape) > 1 else shape[0]
    labels = labels_of(shape[:1] * (len(shape) > 1) + shape[2:], classes)
    weight = (np.random.default_rng(2).random(classes) + 0.1).astype(dtype)
    finite = np.where(np.isfinite(x), x, -50).astype(dtype)
    for options in ({}, {"weight": weight}):
        for value, both, logits, terms in (
            (cross_entropy, cross_entropy_value_and_grad, x, 1), (nll_loss, nll_loss_value_and_grad, finite, 10)
        ):  # fmt: skip
            arguments, there = device.arrays((logits, labels)), device.arrays(options)
            loss, grad = both(*arguments, reduction=reduction, **there)
            want, want_grad = both(logits, labels, reduction=reduction, **options)
            if value is cross_entropy and classes > 1:
                true = definition(logits, labels, **options, reduction=reduction)
                np.testing.assert_allclose(want, true, rtol=20 * np.finfo(dtype).eps)
            device.near(loss, np.asarray(want), terms)
            device.near(grad, want_grad, 1)
            device.alike(value(*arguments, reduction=reduction, **there), device.numpy(loss))


@given(problem=problems(), data=st.data())
def test_layouts_change_nothing(problem, device, data):
    x, target, keywords = problem
    loss, grad = map(device.numpy, cross_entropy_value_and_grad(*device.arrays((x, target)), **device.arrays(keywords)))

    def laid(a):
        return device.lay(a, data.draw(st.sampled_from(device.layouts)))

    there, there_target = laid(x), laid(target)
    options = {name: laid(value) if name == "weight" else value for name, value in keywords.items()}
    device.alike(cross_entropy(there, there_target, **options), loss, 1)
    out = device.lay(np.full(x.shape, 7, x.dtype), data.draw(st.sampled_from(device.out_layouts)))
    again, same = cross_entropy_value_and_grad(there, there_target, **options, grad_out=out)
    assert same is out
    device.alike(again, loss, 1)
    device.alike(native(out, x.dtype), grad, 5)
    same_bits(device.numpy(there).astype(x.dtype), x)
    assert (device.numpy(there_target) == target).all()
    inside = device.array(x)
    assert cross_entropy_value_and_grad(inside, there_target, **options, grad_out=inside)[1] is inside
    device.alike(inside, grad, 5)
    if target.shape == x.shape:
        inside = device.array(target.astype(x.dtype))
        device.alike(cross_entropy_value_and_grad(there, inside, **options, grad_out=inside)[1], grad, 5)
    if keywords["reduction"] == "none":
        out = device.lay(np.full(loss.shape, 7, x.dtype), data.draw(st.sampled_from(device.out_layouts)))
        assert cross_entropy(there, there_target, **options, out=out) is out
        device.alike(native(out, x.dtype), loss, 1)


@precisions
def test_grad_out_may_overlap_everything(dtype, device):
    """Logits shifted by an element, the weights, the class probabilities: read before anything is written over them."""
    rng = np.random.default_rng(0)
    memory = rng.random(25).astype(dtype)
    labels = device.array(rng.integers(0, 4, 6))
    for of_x, of_out in itertools.permutations([slice(0, 24), slice(1, 25), slice(24, 0, -1)], 2):
        if not device.cpu and (of_x.step or of_out.step):  # CUDA's arrays are reshaped in C order alone
            continue
        fresh = device.array(memory)
        expected = device.numpy(cross_entropy_value_and_grad(device.array(memory[of_x].reshape(6, 4)), labels)[1])
        cross_entropy_value_and_grad(fresh[of_x].reshape(6, 4), labels, grad_out=fresh[of_out].reshape(6, 4))
        device.alike(fresh[of_out].reshape(6, 4), expected, 1)
    x = device.array(rng.random((6, 4)).astype(dtype))
    for row in range(6):
        memory = rng.random((6, 4)).astype(dtype)
        grad = device.array(memory)
        expected = tuple(map(device.numpy, cross_entropy_value_and_grad(x, labels, weight=device.array(memory[row]))))
        got = cross_entropy_value_and_grad(x, labels, weight=grad[row], grad_out=grad)
        device.alike(got[0], expected[0], 1)
        device.alike(grad, expected[1], 1)


@given(problem=problems(probabilities=False))
def test_it_is_nll_loss_of_log_softmax(problem, device):
    x, target, keywords = problem
    keywords.pop("label_smoothing", None)
    there, labels, options = device.array(x), device.array(target), device.arrays(keywords)
    got = nll_loss(log_softmax(there, axis=min(1, x.ndim - 1)), labels, **options)
    eps, want = eps_of(device, x), device.numpy(cross_entropy(there, labels, **options))
    np.testing.assert_allclose(device.numpy(got), want, rtol=8 * eps, atol=2 * eps * float(np.abs(x).max()))


@given(problem=problems(probabilities=False))
def test_gradient_of_nll_loss_is_the_slope(problem, device):
    """nll_loss is linear in its input: a difference with step 1 is its slope, to the rounding. (Its values: above.)"""
    x, target, keywords = problem
    keywords.pop("label_smoothing", None)
    arguments, options = device.arrays((x, target)), device.arrays(keywords)
    loss, grad = nll_loss_value_and_grad(*arguments, **options)
    device.alike(nll_loss(*arguments, **options), device.numpy(loss), 10)
    zeros, slopes = np.zeros(x.shape), np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        unit = zeros.copy()
        unit[place] = 1
        slopes[place] = np.sum(nll_loss(unit, target, **keywords)) - np.sum(nll_loss(zeros, target, **keywords))
    slopes[np.isnan(slopes)] = 0
    eps = float(np.finfo(x.dtype).eps) * (4 + device.extra)
    np.testing.assert_allclose(device.numpy(grad), slopes, rtol=eps)
    out = device.lay(np.full(x.shape, 7, x.dtype), "fortran")
    assert nll_loss_value_and_grad(*arguments, **options, grad_out=out)[1] is out
    device.alike(out, device.numpy(grad))


@precisions
def test_everything_ignored(dtype, device):
    """The mean of nothing is nan, its gradient 0; −inf logits in an ignored row make no nan."""
    x = np.array([[-np.inf, -np.inf], [-np.inf, 0.0], [np.nan, np.inf]], dtype)
    one = np.array([[1, 2]], dtype)
    there, more = device.arrays((x, np.vstack([x, one])))
    for ignore_index in (-100, 0, 5):
        labels = device.array(np.full(3, ignore_index))
        for smoothing in (0.0, 0.25):
            options = {"ignore_index": ignore_index, "label_smoothing": smoothing}
            for reduction, expected in (("mean", np.nan), ("sum", 0.0), ("none", np.zeros(3))):
                loss, grad = cross_entropy_value_and_grad(there, labels, **options, reduction=reduction)
                device.same(loss, np.asarray(expected, dtype))
                device.same(grad, np.zeros_like(x))
            loss, grad = cross_entropy_value_and_grad(more, device.array(np.array([ignore_index] * 3 + [1])), **options)
            alone = cross_entropy_value_and_grad(*device.arrays((one, np.array([1]))), label_smoothing=smoothing)
            device.alike(loss, device.numpy(alone[0]))
            device.alike(grad, np.vstack([np.zeros_like(x), device.numpy(alone[1])]))
        loss, grad = nll_loss_value_and_grad(there, labels, ignore_index=ignore_index)
        assert np.isnan(device.numpy(loss)) and (device.numpy(grad) == 0).all()


@precisions
def test_no_rows(dtype, device):
    for x, target in (
        (np.empty((0, 3)), np.empty(0, int)),
        (np.empty((0, 3)), np.empty((0, 3))),
        (np.empty((2, 3, 0)), np.empty((2, 0), int)),
    ):
        x, target = device.arrays((x.astype(dtype), target))
        loss, grad = cross_entropy_value_and_grad(x, target)
        device.same(loss, np.array(np.nan, dtype))
        assert grad.shape == x.shape and (not device.cpu or type(loss) is dtype)
        device.same(cross_entropy(x, target, reduction="sum"), np.zeros((), dtype))
        assert device.numpy(cross_entropy(x, target, reduction="none")).size == 0


def test_masked_logits_count_nothing(device):
    """A class with logit −inf has probability 0; a target there of 0 adds nothing, any other makes the loss inf."""
    x, two = device.arrays((np.array([[0.0, -np.inf, 1.0]]), np.array([[0.0, 1.0]])))

    def loss_and_grad(logits, target):
        return map(device.numpy, cross_entropy_value_and_grad(logits, device.array(np.array(target))))

    (loss, _), (same, _) = loss_and_grad(x, [2]), loss_and_grad(two, [1])
    same_bits(loss, same)
    (loss, grad), (same, _) = loss_and_grad(x, [[0.25, 0.0, 0.75]]), loss_and_grad(two, [[0.25, 0.75]])
    np.testing.assert_allclose(loss, same, rtol=1e-15 + device.slack(np.float64))
    assert grad[0, 1] == 0 and np.isfinite(grad).all()
    loss, grad = loss_and_grad(x, [1])
    assert loss == np.inf and grad[0, 1] == -1


def test_a_sure_label_keeps_its_digits(device):
    """Where the probability rounds to 1, its difference from 1 does not round to 0."""
    tail, rtol = 1.9287498479639178e-22, 1e-15 + device.slack(np.float64)
    for target in ([0], [[1.0, 0.0]]):
        loss, grad = map(device.numpy, cross_entropy_value_and_grad(*device.arrays((np.array([[50.0, 0.0]]), np.array(target)))))
        np.testing.assert_allclose(loss, tail, rtol=rtol)
        np.testing.assert_allclose(grad, [[-tail, tail]], rtol=rtol)
    loss, grad = map(device.numpy, cross_entropy_value_and_grad(*device.arrays((np.float32([[1e30, 0, -1e30]]), np.array([0])))))
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
    same_bits(cross_entropy([[2, 0], [0, 1]], [0, 1]), cross_entropy(np.array([[2.0, 0], [0, 1]]), np.array([0, 1])))
    assert type(cross_entropy([2, 0], 0)) is np.float64
    assert cross_entropy(np.float32([2, 0]), np.int8(0), reduction="none").dtype == np.float32
