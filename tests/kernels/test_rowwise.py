"""softmax, log_softmax, logsumexp and maxout along any axis of arrays of any layout. (Accuracy of a row: ``tests/formulas/test_rows.py``.)"""


import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, arrays, dtypes, lay, layouts, out_layouts, same_bits, shapes

from nbgrad import kernels
from nbgrad.kernels import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    logsumexp_backward,
    maxout,
    maxout_backward,
    softmax,
    softmax_backward,
)

FORWARD = [softmax, log_softmax]
BACKWARD = [softmax_backward, log_softmax_backward]
precisions = pytest.mark.parametrize("dtype", DTYPES)


def by_rows(function, axis, *arrays):
    """``function`` of 1-D arrays applied along ``axis``, one row at a time, by NumPy's indexing alone."""
    result = np.empty_like(arrays[0])
    for place in np.ndindex(*(1 if i == axis else n for i, n in enumerate(arrays[0].shape))):
        row = tuple(slice(None) if i == axis else p for i, p in enumerate(place))
        result[row] = function(*(np.ascontiguousarray(a[row]) for a in arrays))
    return result


@st.composite
def cases(draw, count):
    dtype = draw(dtypes)
    shape = draw(shapes(min_dims=1, max_side=5))
    return [draw(arrays(dtype, shape)) for _ in range(count)], draw(st.integers(-len(shape), len(shape) - 1))


@pytest.mark.parametrize("function", FORWARD, ids=lambda f: f.__name__)
@given(cases(1), st.data())
def test_forward_of_any_axis_and_layout(function, case, data):
    (x,), axis = case
    expected = by_rows(function, axis % x.ndim, x)
    y = function(x, axis=axis)
    assert y.flags.c_contiguous
    same_bits(y, expected)
    laid = lay(x, data.draw(layouts))
    same_bits(function(laid, axis=axis), expected)
    out = lay(np.full(x.shape, 7, x.dtype), data.draw(out_layouts))
    assert function(laid, axis=axis, out=out) is out
    same_bits(out.astype(x.dtype), expected)
    same_bits(laid.astype(x.dtype), x)
    inside = x.copy()
    same_bits(function(inside, axis=axis, out=inside), expected)


@pytest.mark.parametrize("function", BACKWARD, ids=lambda f: f.__name__)
@given(cases(2), st.data())
def test_backward_of_any_axis_and_layout(function, case, data):
    (g, y), axis = case
    expected = by_rows(function, axis % y.ndim, g, y)
    same_bits(function(g, y, axis=axis), expected)
    laid = lay(g, data.draw(layouts)), lay(y, data.draw(layouts))
    out = lay(np.full(y.shape, 7, y.dtype), data.draw(out_layouts))
    assert function(*laid, axis=axis, out=out) is out
    same_bits(out.astype(y.dtype), expected)
    same_bits(laid[0].astype(g.dtype), g)
    same_bits(laid[1].astype(y.dtype), y)
    for place in range(2):
        inside = g.copy(), y.copy()
        same_bits(function(*inside, axis=axis, out=inside[place]), expected)


@given(cases(1), st.data())
def test_logsumexp_of_any_axis_and_layout(case, data):
    (x,), axis = case
    shape = np.delete(x.shape, axis)
    expected = (
        np.array(
            [logsumexp(row.copy()) for row in np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])], x.dtype
        )
        if x.size
        else None
    )
    got = logsumexp(lay(x, data.draw(layouts)), axis=axis)
    assert np.shape(got) == tuple(shape) and got.dtype == x.dtype
    if x.size:
        same_bits(np.ravel(got), expected)
    else:
        assert np.isneginf(got).all()
    out = lay(np.zeros(tuple(shape), x.dtype), data.draw(out_layouts))
    assert logsumexp(x, axis=axis, out=out) is out
    same_bits(out.astype(x.dtype), np.asarray(got))


@precisions
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_logsumexp_backward_is_the_slope(dtype, axis):
    """Against central differences of the forward function in float64, in a direction for each entry."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 4, 2)) * 3).astype(dtype)
    g = rng.standard_normal(np.delete(x.shape, axis)).astype(dtype)
    h = 1e-5
    wide = x.astype(np.float64)
    slopes = np.empty_like(wide)
    for place in np.ndindex(x.shape):
        up, down = wide.copy(), wide.copy()
        up[place] += h
        down[place] -= h
        slopes[place] = ((logsumexp(up, axis=axis) - logsumexp(down, axis=axis)) / (2 * h) * g).sum()
    dx = logsumexp_backward(g, x, axis=axis)
    assert dx.dtype == dtype
    np.testing.assert_allclose(
        dx, slopes, rtol=1e-4 if dtype is np.float32 else 1e-7, atol=1e-7 if dtype is np.float32 else 1e-9
    )
    out = lay(np.zeros_like(x), "fortran")
    assert logsumexp_backward(g, x, axis=axis, out=out) is out
    same_bits(out, dx)
    same_bits(logsumexp_backward(2.0, x, axis=axis), 2 * softmax(x, axis=axis))


@given(cases(1))
def test_softmax_and_log_softmax_agree(case):
    """Σ softmax = 1 and log_softmax = ln softmax, where a row has a softmax."""
    (x,), axis = case
    p, q = softmax(x, axis=axis), log_softmax(x, axis=axis)
    if x.shape[axis] == 0:
        return
    good = ~(np.isnan(x).any(axis) | np.isposinf(x).any(axis) | np.isneginf(x).all(axis))
    assert (np.isnan(p).any(axis) == ~good).all()
    p, q = (np.moveaxis(a, axis, -1)[good].astype(np.float64) for a in (p, q))
    eps = np.finfo(x.dtype).eps
    assert (np.abs(p.sum(-1) - 1) <= 4 * eps).all()
    assert ((p >= 0) & (p <= 1) & (q <= 0)).all()
    with np.errstate(divide="ignore"):
        ordinary = p > 1e-30
        assert (np.abs(np.log(p) - q)[ordinary] <= 4 * eps * (1 + np.abs(q[ordinary]))).all()


@precisions
def test_shifting_a_row_changes_nothing(dtype):
    """Logits that are integers: the shift is exact, so is the result."""
    x = np.array([[3, -2, 0, 7, 7], [1, 1, 1, 1, 1], [-9, 4, 2, 0, 5]], dtype)
    for shift in (-1000, 1000, 2**20):
        same_bits(softmax(x + shift), softmax(x))
        same_bits(log_softmax(x + shift), log_softmax(x))


@precisions
def test_one_class_and_equal_rows(dtype):
    same_bits(softmax(np.array([[5.0], [-1e30]], dtype)), np.ones((2, 1), dtype))
    same_bits(log_softmax(np.array([[5.0], [-1e30]], dtype)), np.zeros((2, 1), dtype))
    same_bits(softmax(np.full((2, 4), -1e30, dtype)), np.full((2, 4), 0.25, dtype))
    same_bits(softmax(np.array([1e30, 0, -1e30], dtype)), np.array([1, 0, 0], dtype))
    same_bits(softmax(np.array([2.0, -np.inf, 2.0, -np.inf], dtype)), np.array([0.5, 0, 0.5, 0], dtype))


def test_threads_change_nothing():
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((700, 60)).astype(np.float32) for _ in range(2))
    y = softmax(x)
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        alone = [softmax(x), log_softmax(x, axis=0), logsumexp(x), softmax_backward(g, y), *maxout(x, 3)]
    finally:
        numba.set_num_threads(before)
    for a, b in zip(
        alone, [y, log_softmax(x, axis=0), logsumexp(x), softmax_backward(g, y), *maxout(x, 3)], strict=True
    ):
        same_bits(a, b)
    same_bits(y[350:352], softmax(x[350:352].copy()))


def test_out_that_overlaps_elsewhere():
    memory = np.linspace(-3, 3, 101)
    for function in FORWARD:
        for of_x, of_out in (
            (slice(0, 100), slice(1, 101)),
            (slice(1, 101), slice(0, 100)),
            (slice(0, 100), slice(99, None, -1)),
        ):
            fresh = memory.copy()
            expected = function(fresh[of_x].reshape(10, 10).copy())
            function(fresh[of_x].reshape(10, 10), out=fresh[of_out].reshape(10, 10))
            same_bits(fresh[of_out].reshape(10, 10), expected)
        square = memory[:100].reshape(10, 10).copy()
        expected = function(square.copy(), axis=0)
        function(square, axis=0, out=square.T)
        same_bits(square.T, expected)


@given(st.data())
def test_maxout(data):
    """The largest of each group of contiguous pieces, by NumPy's max and argmax of a reshaped view."""
    dtype, pieces = data.draw(dtypes), data.draw(st.sampled_from([1, 2, 3, 9]))
    shape = list(data.draw(shapes(min_dims=1, max_dims=3)))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    shape[axis] *= pieces
    elements = data.draw(st.booleans())
    x = data.draw(arrays(dtype, tuple(shape)))
    x = np.round(x) if elements else x  # ties
    place = axis % x.ndim
    groups = x.reshape(*shape[:place], shape[place] // pieces, pieces, *shape[place + 1 :])
    expected, winner = groups.max(place + 1), groups.argmax(place + 1)
    laid = lay(x, data.draw(layouts))
    y, index = maxout(laid, pieces, axis=axis)
    same_bits(y + 0, expected + 0)  # of −0 and 0 either is the largest
    assert index.dtype == np.intp and (index == winner).all()
    out = lay(np.zeros(expected.shape, dtype), data.draw(out_layouts))
    same_y, same_index = maxout(laid, pieces, axis=axis, out=out)
    assert same_y is out and (same_index == index).all()
    same_bits(out.astype(dtype), y)

    g = data.draw(arrays(dtype, y.shape))
    true = np.zeros_like(groups)
    np.put_along_axis(true, np.expand_dims(winner, place + 1), np.expand_dims(g, place + 1), place + 1)
    dx = maxout_backward(lay(g, data.draw(layouts)), lay(index, data.draw(layouts)), pieces, axis=axis)
    same_bits(dx, true.reshape(shape))
    out = lay(np.full(shape, 7, dtype), data.draw(out_layouts))
    assert maxout_backward(g, index, pieces, axis=axis, out=out) is out
    same_bits(out.astype(dtype), dx)


def test_maxout_out_may_be_a_part_of_the_input():
    x = np.array([1.0, 3, 2, 2, 9, 8])
    y, index = maxout(x, 2, out=x[:3])
    assert y.tolist() == [3, 2, 9] and index.tolist() == [1, 0, 0]


@precisions
def test_empty(dtype):
    for shape, axis in (((0,), 0), ((3, 0), 1), ((3, 0), 0), ((0, 3), 1), ((2, 0, 4), 2)):
        x = np.empty(shape, dtype)
        for function in FORWARD:
            for y in (function(x, axis=axis), function(x, axis=axis, out=x)):
                assert y.shape == shape and y.dtype == dtype
        for function in BACKWARD:
            assert function(x, x, axis=axis).shape == shape
        y, index = maxout(x, 3 if shape[axis] == 3 else 1, axis=axis)
        assert y.size == index.size == 0
    assert logsumexp(np.empty((2, 0), dtype)).tolist() == [-np.inf, -np.inf]
    assert logsumexp(np.empty(0, dtype)) == -np.inf and type(logsumexp(np.empty(0, dtype))) is dtype


def test_integers_and_lists():
    for function in FORWARD:
        same_bits(function([[1, 2], [3, 3]]), function(np.array([[1.0, 2], [3, 3]])))
    assert maxout([True, False], 2)[0].dtype == np.float64


def test_all_are_public():
    assert {
        f.__name__ for f in (*FORWARD, *BACKWARD, logsumexp, logsumexp_backward, maxout, maxout_backward)
    } <= set(kernels.__all__)
