"""Rows computed many at a time: what a row gives depends on nothing but the row.

(Accuracy: ``tests/test_rows.py``. Every layout of small arrays: ``tests/kernels``.)
"""

import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, dtypes, same_bits

from nbgrad import kernels
from nbgrad.cpu.lanes import FEW, LANES
from nbgrad.cpu.rows import TILE_BYTES
from nbgrad.cpu.transpose import transpose
from nbgrad.jit import serial_loops

precisions = pytest.mark.parametrize("dtype", DTYPES)
#: around the switch from few columns to many, around whole lane blocks, and the smallest
WIDTHS = (1, 2, 7, 8, 9, 33, FEW - 1, FEW, FEW + 1, 3 * LANES - 1, 3 * LANES, 3 * LANES + 1, 4 * LANES + 5)
ROWS = (1, LANES - 1, LANES, LANES + 1, 2 * LANES + 3)


def problem(dtype, n, width, seed=0):
    """(logits with masks, gradients, labels), some of them ignored."""
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal((n, width)) * 10.0 ** rng.integers(-1, 3, (n, 1))).astype(dtype)
    x[rng.random(x.shape) < 0.1] = -np.inf
    x[np.arange(n), rng.integers(0, width, n)] = 30  # no row is masked altogether
    labels = rng.integers(0, width, n)
    labels[rng.random(n) < 0.2] = -100
    return x, rng.standard_normal((n, width)).astype(dtype), labels


def results(x, g, labels):
    """Everything that is computed row by row; the rows along axis 0 of each result."""
    y, z = kernels.softmax(x), kernels.log_softmax(x)
    losses, grad = kernels.cross_entropy_value_and_grad(x, labels, reduction="none")
    return [
        y,
        z,
        kernels.softmax_backward(g, y),
        kernels.log_softmax_backward(g, z),
        kernels.logsumexp(x),
        losses,
        grad,
        *kernels.nll_loss_value_and_grad(z, labels, reduction="none"),
    ]


@precisions
@pytest.mark.parametrize("width", WIDTHS)
def test_a_row_gives_the_same_at_every_place(dtype, width):
    n = ROWS[-1]
    x, g, labels = problem(dtype, n, width)
    whole = results(x, g, labels)
    for start, stop in ((0, 1), (1, 2), (n - 1, n), (3, LANES + 4), (5, 5 + LANES), (LANES, n)):
        for part, all_rows in zip(results(x[start:stop].copy(), g[start:stop].copy(), labels[start:stop]), whole, strict=True):
            same_bits(part, all_rows[start:stop])


@precisions
@pytest.mark.parametrize("width", WIDTHS)
def test_any_axis_gives_the_same(dtype, width):
    """Rows that do not lie contiguous are brought together: (3, width, inner) along axis 1."""
    for inner in (1, 3, 17, LANES + 6):
        x, g, labels = problem(dtype, 3 * inner, width, seed=inner)
        apart = [np.ascontiguousarray(np.moveaxis(a.reshape(3, inner, width), 2, 1)) for a in (x, g)]
        y, z = kernels.softmax(apart[0], axis=1), kernels.log_softmax(apart[0], axis=1)
        places = labels.reshape(3, inner)
        losses, grad = kernels.cross_entropy_value_and_grad(apart[0], places, reduction="none")
        got = [
            y,
            z,
            kernels.softmax_backward(apart[1], y, axis=1),
            kernels.log_softmax_backward(apart[1], z, axis=1),
            kernels.logsumexp(apart[0], axis=1),
            losses,
            grad,
            *kernels.nll_loss_value_and_grad(z, places, reduction="none"),
        ]
        for one, other in zip(got, results(x, g, labels), strict=True):
            same_bits(np.moveaxis(one, 1, 2).reshape(other.shape) if one.ndim == 3 else one.ravel(), other)


@precisions
def test_columns_of_which_no_tile_is_copied(dtype):
    """Longer than `TILE_BYTES` lets them be; with a tile that lies across the end of the columns side by side."""
    inner, width = LANES + 6, TILE_BYTES // (LANES * np.dtype(dtype).itemsize) + 5
    x, g, _ = problem(dtype, 2 * inner, width)
    apart = [np.ascontiguousarray(np.moveaxis(a.reshape(2, inner, width), 2, 1)) for a in (x, g)]
    for name in ("softmax", "log_softmax"):
        f, df = getattr(kernels, name), getattr(kernels, name + "_backward")
        y, expected = f(apart[0], axis=1), f(x)
        same_bits(np.moveaxis(y, 1, 2).reshape(expected.shape), expected)
        dx, inside = df(apart[1], y, axis=1), apart[0].copy()
        same_bits(np.moveaxis(dx, 1, 2).reshape(expected.shape), df(g, expected))
        same_bits(f(inside, axis=1, out=inside), y)
    sums = kernels.logsumexp(x)
    same_bits(kernels.logsumexp(apart[0], axis=1).ravel(), sums)
    dx = kernels.logsumexp_backward(sums.reshape(2, inner), apart[0], axis=1)
    same_bits(np.moveaxis(dx, 1, 2).reshape(x.shape), kernels.logsumexp_backward(sums, x))


@pytest.mark.parametrize("width", [10, FEW, FEW + 1, 1000])
def test_threads_and_the_parallel_loop_change_nothing(width):
    """In float32: parallel loops take seconds to compile, and how the rows are divided does not depend on their precision."""
    dtype, n = np.float32, 100_000 // width + 3  # beyond every threshold
    x, g, labels = problem(dtype, n, width)
    before = numba.get_num_threads()
    together, total = results(x, g, labels), kernels.cross_entropy_value_and_grad(x, labels)
    try:
        numba.set_num_threads(1)
        alone, same_total = results(x, g, labels), kernels.cross_entropy_value_and_grad(x, labels)
    finally:
        numba.set_num_threads(before)
    with serial_loops():
        serial, serial_total = results(x, g, labels), kernels.cross_entropy_value_and_grad(x, labels)
    for a, b, c in zip(together + list(total), alone + list(same_total), serial + list(serial_total), strict=True):
        same_bits(a, b)
        same_bits(a, c)


@precisions
@pytest.mark.parametrize("width", [9, FEW, FEW + 1, 300])
@pytest.mark.parametrize("axis", [0, 1])
def test_out_may_be_an_input(dtype, width, axis):
    x, g, labels = problem(dtype, LANES + 5, width)
    if axis == 0:
        x, g = x.T.copy(), g.T.copy()
    for f in (kernels.softmax, kernels.log_softmax):
        inside = x.copy()
        assert f(inside, axis=axis, out=inside) is inside
        same_bits(inside, f(x, axis=axis))
    y = kernels.softmax(x, axis=axis)
    for f in (kernels.softmax_backward, kernels.log_softmax_backward):
        for place in range(2):
            inputs = [g.copy(), y.copy()]
            f(*inputs, axis=axis, out=inputs[place])
            same_bits(inputs[place], f(g, y, axis=axis))
        both = y.copy()
        f(both, both, axis=axis, out=both)
        same_bits(both, f(y, y, axis=axis))
    if axis == 1:
        inside = x.copy()
        kernels.cross_entropy_value_and_grad(inside, labels, grad_out=inside)
        same_bits(inside, kernels.cross_entropy_value_and_grad(x, labels)[1])


@precisions
@pytest.mark.parametrize("width", [5, FEW, FEW + 1])
def test_labels_out_of_range_in_every_loop(dtype, width):
    """At the first, the last and any other place; nothing is written."""
    n = 2 * LANES + 600
    x = np.zeros((n, width), dtype)
    for place in (0, LANES, 511, 512, n - 1):
        for bad in (-1, width, 2**40, -(2**63), 2**63 - 1):
            labels = np.zeros(n, np.int64)
            labels[place] = bad
            labels[place + 1 :] = width + 7  # only the first is named
            grad = np.full_like(x, 7)
            message = re.escape(f"got {bad} at position {place}")
            for f in (kernels.cross_entropy_value_and_grad, kernels.nll_loss_value_and_grad):
                with pytest.raises(ValueError, match=message):
                    f(x, labels, grad_out=grad)
            assert (grad == 7).all()
            with pytest.raises(ValueError, match=message):
                kernels.cross_entropy(x, labels, weight=np.ones(width))


@precisions
@pytest.mark.parametrize("width", [2, 10, FEW, FEW + 1, 200])
def test_extreme_logits(dtype, width):
    """±1e30, masks, equal entries, a masked row that is ignored: nothing is nan, sums are 1 and 0."""
    x = np.zeros((6, width), dtype)
    x[0, -1], x[1, 0] = 1e30, -1e30
    x[2, 1:] = -np.inf
    x[3] = -np.inf
    x[4] = -1e30
    x[5, ::2] = 1e30
    labels = np.array([width - 1, 1, 0, -100, 0, 0])
    loss, grad = kernels.cross_entropy_value_and_grad(x, labels, reduction="none")
    others = max(width - 1, 1)
    top = (width + 1) // 2
    np.testing.assert_allclose(loss, [0, np.log(others), 0, 0, np.log(width), np.log(top)], rtol=1e-6)
    assert np.isfinite(grad).all() and (np.abs(grad.sum(1)) <= 1e-6).all()
    same_bits(grad[3], np.zeros(width, dtype))
    same_bits(grad[0] + 0, np.zeros(width, dtype))
    y = kernels.softmax(np.delete(x, 3, 0))
    np.testing.assert_allclose(y.sum(1), 1, rtol=1e-6)
    same_bits(y[2], (np.arange(width) == 0).astype(dtype))
    np.testing.assert_allclose(y[3], 1 / width, rtol=1e-6)
    mean, grad = kernels.cross_entropy_value_and_grad(x, labels)
    np.testing.assert_allclose(mean, loss.sum() / 5, rtol=1e-6)
    assert np.isfinite(grad).all()


@precisions
@pytest.mark.parametrize("width", [10, FEW + 1])
def test_a_dominating_entry_keeps_the_digits_of_the_others(dtype, width):
    """The others' sum, 1e-22 of the whole, is neither lost in the loss nor in the label's gradient."""
    x = np.zeros((LANES + 1, width), dtype)
    x[:, 3] = 50
    loss, grad = kernels.cross_entropy_value_and_grad(x, np.full(len(x), 3), reduction="sum")
    small = np.exp(-50.0)
    rtol = 60 * np.finfo(dtype).eps
    np.testing.assert_allclose(loss, len(x) * (width - 1) * small, rtol=rtol)
    np.testing.assert_allclose(grad[:, 3], -(width - 1) * small, rtol=rtol)
    np.testing.assert_allclose(kernels.log_softmax(x)[:, 3], -(width - 1) * small, rtol=rtol)


@given(dtypes, st.integers(1, 40), st.integers(1, 40), st.integers(0, 9), st.integers(0, 9))
def test_transpose(dtype, rows, columns, more, at):
    stride, target_stride = columns + more, rows + at
    source = np.arange(at + rows * stride, dtype=dtype)
    target = np.full(more + columns * target_stride, -1, dtype)
    _transpose(source, at, stride, rows, columns, target, more, target_stride)
    expected = np.full_like(target, -1)
    for i in range(rows):
        for j in range(columns):
            expected[more + j * target_stride + i] = source[at + i * stride + j]
    same_bits(target, expected)


@numba.njit
def _transpose(source, at, stride, rows, columns, target, to, target_stride):
    transpose(source, at, stride, rows, columns, target, to, target_stride)


@precisions
@pytest.mark.parametrize("pieces", [1, 2, 3, 8, 9])
@pytest.mark.parametrize("inner", [1, 5])
def test_maxout_in_blocks(dtype, pieces, inner):
    """More groups than a block has; the number of pieces a constant of the machine code, and not. In float32 in parallel,
    which takes seconds to compile.
    """
    rng = np.random.default_rng(0)
    groups = 37 if inner > 1 else 4100 if dtype is np.float32 else 1500
    x = rng.integers(-3, 4, (2, groups * pieces, inner)).astype(dtype)
    by_group = x.reshape(2, groups, pieces, inner)
    index_out, out = np.empty((2, groups, inner), np.intp), np.empty((2, groups, inner), dtype)
    y, index = kernels.maxout(x, pieces, axis=1, out=out, index_out=index_out)
    assert y is out and index is index_out
    same_bits(y, by_group.max(2))
    assert (index == by_group.argmax(2)).all()
    g = rng.standard_normal(y.shape).astype(dtype)
    expected = np.zeros_like(by_group)
    np.put_along_axis(expected, index[:, :, None], g[:, :, None], 2)
    same_bits(kernels.maxout_backward(g, index, pieces, axis=1), expected.reshape(x.shape))
    with serial_loops():
        again, same_index = kernels.maxout(x, pieces, axis=1)
        same_bits(again, y)
        assert (same_index == index).all()
    index[1, -1, -1] = pieces
    with pytest.raises(ValueError, match=f"^index: expected 0..{pieces - 1}, got {pieces}"):
        kernels.maxout_backward(g, index, pieces, axis=1)


def test_index_out_that_cannot_take_the_index():
    x = np.zeros((2, 6))
    for wrong, error in (
        (np.zeros((2, 3)), TypeError),
        (np.zeros((3, 2), np.intp), ValueError),
        ([0], TypeError),
    ):
        with pytest.raises(error, match="^index_out: expected "):
            kernels.maxout(x, 2, index_out=wrong)
    memory = np.zeros((2, 3))
    with pytest.raises(ValueError, match="^index_out: expected memory of its own"):
        kernels.maxout(x, 2, out=memory, index_out=memory.view(np.intp))
    strided = np.zeros((2, 6), np.intp)[:, ::2]
    assert kernels.maxout(x, 2, index_out=strided)[1] is strided
    inside = np.arange(12.0).reshape(2, 6)
    index = inside.view(np.intp)[:, :3]
    expected = kernels.maxout(inside.copy(), 2)
    got = kernels.maxout(inside, 2, index_out=index)
    same_bits(got[0], expected[0])
    assert (index == expected[1]).all()


@precisions
def test_out_takes_the_losses(dtype):
    x, _, labels = problem(dtype, 70, 10)
    functions = (kernels.cross_entropy, kernels.nll_loss)
    both = (kernels.cross_entropy_value_and_grad, kernels.nll_loss_value_and_grad)
    for f, f_and_grad in zip(functions, both, strict=True):
        expected = f(x, labels, reduction="none")
        for out in (np.empty(70, dtype), np.empty(140, dtype)[::2], x.copy()[:, 0]):
            assert f(x, labels, reduction="none", out=out) is out
            same_bits(out, expected)
            assert f_and_grad(x, labels, reduction="none", out=out)[0] is out
            same_bits(out, expected)
        inside = x.copy()
        assert f(inside, labels, reduction="none", out=inside.reshape(-1)[5:75]) is not None
        same_bits(inside.reshape(-1)[5:75], expected)
        for reduction in ("mean", "sum"):
            with pytest.raises(ValueError, match='^out: expected reduction="none", which returns an array'):
                f(x, labels, reduction=reduction, out=np.empty(70, dtype))
        with pytest.raises(ValueError, match="^out: expected shape"):
            f(x, labels, reduction="none", out=np.empty(7, dtype))
        with pytest.raises(ValueError, match="^grad_out: expected memory of its own"):
            f_and_grad(x, labels, reduction="none", out=inside[:7].reshape(-1), grad_out=inside)
    one = np.empty((), dtype)
    assert kernels.cross_entropy(x[0], 3, reduction="none", out=one) is one
    x, q = np.zeros((70, 10), dtype), np.full((70, 10), 0.1, dtype)
    out = np.empty(70, dtype)
    assert kernels.cross_entropy(x, q, reduction="none", out=out) is out
    same_bits(out, kernels.cross_entropy(x, q, reduction="none"))
