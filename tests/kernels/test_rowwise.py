"""softmax, log_softmax, logsumexp and maxout along any axis of arrays of any layout. (Accuracy of hard rows: ``tests/formulas/test_rows.py``.)"""

import numba
import numpy as np
import pytest
from devices import CPU, on_a_gpu, unless_simulated
from hypothesis import given
from hypothesis import strategies as st
from reference import differences
from strategies import DTYPES, arrays, dtypes, native, ordinary, same_bits, shapes

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
def cases(draw, count, device=CPU):
    """On CUDA ordinary numbers: its sums of float32 end where float32 does."""
    dtype = draw(dtypes)
    shape = draw(shapes(min_dims=1, max_side=5))
    one = arrays if device.cpu else ordinary
    return [draw(one(dtype, shape)) for _ in range(count)], draw(st.integers(-len(shape), len(shape) - 1))


def spread(x, axis=-1):
    """What the rounding of x − max does to e^(x − max), in ulp: half of |x − max|."""
    if not x.size:
        return 0
    with np.errstate(all="ignore"):
        d = x.max(axis, keepdims=True).astype(np.float64) - x
    return float(d[np.isfinite(d)].max(initial=0))


# ---- against the definitions, in long double

# one column, one row, no row, no column; on CUDA parts of a warp, a warp, a block for each row; with whole lines and without
SHAPES = [
    (7, 1), (1, 3), (0, 5), (5, 0), (9, 2), (6, 5), (3, 16), (2, 33), (2, 64), (2, 300), (2, 301), (9,),
    *unless_simulated((3, 1000)), *on_a_gpu((1000, 10), (5, 1024), (4, 4097), (3, 32_768), (2, 100_000)),
]  # fmt: skip


def logits(shape, dtype):
    x = (np.random.default_rng(0).standard_normal(shape) * 4).astype(dtype)
    if x.size > 8:
        x.flat[3] = -np.inf
        x.flat[7] = x.flat[6]  # a tie
    return x


def definition(x):
    """(softmax, log_softmax, logsumexp) of the rows, rounded once. The largest entry is taken out of the sum: log1p of the others
    keeps the digits of a row whose sum is all but 1.
    """
    wide = x.astype(np.longdouble)
    first = np.arange(x.shape[-1]) == x.argmax(-1)[..., np.newaxis] if x.size else np.zeros(x.shape, bool)
    with np.errstate(all="ignore"):
        top = wide.max(-1, keepdims=True, initial=-np.inf)
        distance = wide - top
        e = np.exp(distance)
        others = np.where(first & ~np.isnan(e), 0, e).sum(-1, keepdims=True)
        log_sum = np.where(np.isinf(top), top, top + np.log1p(others))
        return [a.astype(x.dtype) for a in (e / (1 + others), distance - np.log1p(others), log_sum[..., 0])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@precisions
def test_definition(shape, dtype, device):
    x = logits(shape, dtype)
    p, q, log_sum = definition(x)
    there, largest = device.array(x), np.abs(x[np.isfinite(x)]).max(initial=0)
    device.near(softmax(there), p, ulps=2 + spread(x))
    device.near(log_softmax(there), q, ulps=2 + spread(x))
    device.near(logsumexp(there), log_sum, largest, ulps=2)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@precisions
def test_definition_of_backward(shape, dtype, device):
    x = np.nan_to_num(logits(shape, dtype), neginf=-30)
    y, log_y, _ = definition(x)
    g = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    wide, p, q = (a.astype(np.longdouble) for a in (g, y, np.exp(log_y.astype(np.longdouble))))
    want = p * (wide - (p * wide).sum(-1, keepdims=True))
    got = softmax_backward(*device.arrays((g, y)))
    device.near(got, want.astype(dtype), y * np.abs(g).max(initial=0), ulps=4)
    want = wide - q * wide.sum(-1, keepdims=True)
    got = log_softmax_backward(*device.arrays((g, log_y)))
    device.near(got, want.astype(dtype), np.abs(g) + y * np.abs(g).sum(-1, keepdims=True), ulps=4)
    grad = np.random.default_rng(2).standard_normal(shape[:-1]).astype(dtype)
    want = grad[..., np.newaxis] * definition(x.astype(np.longdouble))[0]
    device.near(logsumexp_backward(*device.arrays((grad, x))), want.astype(dtype), ulps=4 + spread(x))


@precisions
def test_what_is_not_finite(dtype, device):
    """Masks are exact; a row of masks only, with +inf or nan is nan, and its log-sum −inf, +inf or nan."""
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 1], [-inf] * 3, [inf, 0, 1], [nan, 0, 1], [-inf, nan, -inf], [-inf, -inf, 5]], dtype)
    for long in (x, np.repeat(x, 12, axis=1)):  # on CUDA by a part of a warp, and by a block
        p, q, log_sum = definition(long)
        for row in (1, 2, 3, 4):
            assert np.isnan(p[row]).any()
            p[row] = q[row] = nan
        np.testing.assert_array_equal(log_sum[1:5], [-inf, inf, nan, nan])
        device.near(softmax(device.array(long)), p, ulps=2)
        device.near(log_softmax(device.array(long)), q, ulps=2)
        device.near(logsumexp(device.array(long)), log_sum, ulps=2)


@precisions
def test_rising_rows_lose_nothing(dtype, device):
    """Every entry is a new maximum: where a sum goes along with the maximum it is scaled anew each time."""
    x = np.linspace(0, 1e-2, 200).astype(dtype)
    wide = x.astype(np.longdouble)
    exact = wide - np.log(np.exp(wide).sum())
    assert np.abs(device.numpy(log_softmax(device.array(x))) - exact).max() <= 2 * np.spacing(dtype(5.3))


@precisions
def test_the_same_bits_on_every_run_and_of_a_row_alone(dtype, device):
    x = device.array(np.random.default_rng(0).standard_normal((2, 50)).astype(dtype))
    first = device.numpy(logsumexp(x))
    device.same(logsumexp(x), first)
    device.same(logsumexp(x), np.array([device.numpy(logsumexp(x[i])) for i in range(2)], dtype))


@precisions
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_logsumexp_backward_is_the_slope(dtype, axis, device):
    """Against central differences of ln Σ eˣ in long double, in a direction for each entry."""
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 4, 2)) * 3).astype(dtype)
    g = rng.standard_normal(np.delete(x.shape, axis)).astype(dtype)
    slopes = differences(lambda v: (np.log(np.exp(v).sum(axis)) * g).sum(), x).astype(np.float64)
    there, dx = device.array(x), logsumexp_backward(device.array(g), device.array(x), axis=axis)
    assert dx.dtype == dtype
    rtol, atol = (1e-4, 1e-7) if dtype is np.float32 else (1e-7, 1e-9)
    np.testing.assert_allclose(device.numpy(dx), slopes, rtol=rtol, atol=atol)
    out = device.lay(np.zeros_like(x), "fortran")
    assert logsumexp_backward(device.array(g), there, axis=axis, out=out) is out
    device.alike(out, device.numpy(dx))
    twice = 2 * device.numpy(softmax(there, axis=axis))
    device.alike(logsumexp_backward(2.0, there, axis=axis), twice, ulps=spread(x, axis))


# ---- axes and layouts


@pytest.mark.parametrize("function", FORWARD, ids=lambda f: f.__name__)
@given(st.data())
def test_forward_of_any_axis_and_layout(function, device, data):
    (x,), axis = data.draw(cases(1, device))
    expected, room = by_rows(function, axis % x.ndim, x), {"ulps": spread(x, axis)}
    y = function(device.array(x), axis=axis)
    assert not device.cpu or y.flags.c_contiguous
    device.alike(y, expected, **room)
    laid = device.lay(x, data.draw(st.sampled_from(device.layouts)))
    device.alike(function(laid, axis=axis), expected, **room)
    out = device.lay(np.full(x.shape, 7, x.dtype), data.draw(st.sampled_from(device.out_layouts)))
    assert function(laid, axis=axis, out=out) is out
    device.alike(native(out, x.dtype), expected, **room)
    same_bits(device.numpy(laid).astype(x.dtype), x)
    inside = device.array(x)
    assert function(inside, axis=axis, out=inside) is inside
    device.alike(inside, expected, **room)


@pytest.mark.parametrize("function", BACKWARD, ids=lambda f: f.__name__)
@given(st.data())
def test_backward_of_any_axis_and_layout(function, device, data):
    (g, y), axis = data.draw(cases(2, device))
    y = y if device.cpu else -np.abs(y)  # a log-softmax, of which the exponential is taken, is below 0
    expected = by_rows(function, axis % y.ndim, g, y)
    size, parts = np.abs(g.astype(np.longdouble)), np.abs(y)  # of numbers near the largest the sum is none of theirs
    total = size.sum(axis, keepdims=True) if function is log_softmax_backward else (size * parts).sum(axis, keepdims=True)
    terms = {"terms": size + total if function is log_softmax_backward else parts * (size + total)}
    device.alike(function(*device.arrays((g, y)), axis=axis), expected, **terms)
    laid = [device.lay(a, data.draw(st.sampled_from(device.layouts))) for a in (g, y)]
    out = device.lay(np.full(y.shape, 7, y.dtype), data.draw(st.sampled_from(device.out_layouts)))
    assert function(*laid, axis=axis, out=out) is out
    device.alike(native(out, y.dtype), expected, **terms)
    for a, before in zip(laid, (g, y), strict=True):
        same_bits(device.numpy(a).astype(g.dtype), before)
    for place in range(2):
        inside = device.arrays((g, y))
        device.alike(function(*inside, axis=axis, out=inside[place]), expected, **terms)


@given(st.data())
def test_logsumexp_of_any_axis_and_layout(device, data):
    (x,), axis = data.draw(cases(1, device))
    shape = tuple(np.delete(x.shape, axis))
    expected = np.full(shape, -np.inf, x.dtype)
    if x.size:
        rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis])
        expected = np.array([logsumexp(row.copy()) for row in rows], x.dtype).reshape(shape)
    got = logsumexp(device.lay(x, data.draw(st.sampled_from(device.layouts))), axis=axis)
    assert np.shape(got) == shape and got.dtype == x.dtype
    terms = np.abs(x).max(axis, initial=0)
    device.alike(got, expected, terms)
    out = device.lay(np.zeros(shape, x.dtype), data.draw(st.sampled_from(device.out_layouts)))
    assert logsumexp(device.array(x), axis=axis, out=out) is out
    device.alike(native(out, x.dtype), expected, terms)


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
def test_shifting_a_row_changes_nothing(dtype, device):
    """Logits that are integers: the shift is exact, so is the result."""
    x = np.array([[3, -2, 0, 7, 7], [1, 1, 1, 1, 1], [-9, 4, 2, 0, 5]], dtype)
    for function in FORWARD:
        expected = device.numpy(function(device.array(x)))
        for shift in (-1000, 1000, 2**20):
            device.alike(function(device.array(x + shift)), expected)


@precisions
def test_one_class_and_equal_rows(dtype, device):
    inf = np.inf
    for function, x, y in (
        (softmax, [[5.0], [-1e30]], [[1], [1]]), (log_softmax, [[5.0], [-1e30]], [[0], [0]]), (softmax, [[-1e30] * 4] * 2, [[0.25] * 4] * 2),
        (softmax, [1e30, 0, -1e30], [1, 0, 0]), (softmax, [2.0, -inf, 2.0, -inf], [0.5, 0, 0.5, 0]),
    ):  # fmt: skip
        device.alike(function(device.array(np.array(x, dtype))), np.array(y, dtype))


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
    for a, b in zip(alone, [y, log_softmax(x, axis=0), logsumexp(x), softmax_backward(g, y), *maxout(x, 3)], strict=True):
        same_bits(a, b)
    same_bits(y[350:352], softmax(x[350:352].copy()))


def test_out_that_overlaps_elsewhere(device):
    memory = np.linspace(-3, 3, 101)
    for function in FORWARD:
        for of_x, of_out in (
            (slice(0, 100), slice(1, 101)),
            (slice(1, 101), slice(0, 100)),
            (slice(0, 100), slice(99, None, -1)),
        ):
            fresh = device.array(memory)
            expected = device.numpy(function(device.array(memory[of_x].reshape(10, 10))))
            if not device.cpu and of_out.step:  # CUDA's arrays are reshaped in C order alone
                continue
            function(fresh[of_x].reshape(10, 10), out=fresh[of_out].reshape(10, 10))
            device.alike(fresh[of_out].reshape(10, 10), expected)
        square = device.array(memory[:100].reshape(10, 10))
        expected = device.numpy(function(device.array(memory[:100].reshape(10, 10)), axis=0))
        function(square, axis=0, out=square.T)
        device.alike(square.T, expected)


@given(st.data())
def test_maxout(device, data):
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

    def laid(a):
        return device.lay(a, data.draw(st.sampled_from(device.layouts)))

    x = laid(x)
    y, index = maxout(x, pieces, axis=axis)
    device.same(y, expected)  # of −0 and 0 either is the largest
    device.same(index, winner.astype(np.intp))
    out, index_out = (device.lay(np.zeros(expected.shape, kind), data.draw(st.sampled_from(device.out_layouts))) for kind in (dtype, np.intp))
    given = maxout(x, pieces, axis=axis, out=out, index_out=index_out)
    assert given[0] is out and given[1] is index_out
    same_bits(device.numpy(native(out, dtype)), device.numpy(y))
    assert (device.numpy(index_out) == winner).all()

    g = data.draw(arrays(dtype, expected.shape))
    true = np.zeros_like(groups)
    np.put_along_axis(true, np.expand_dims(winner, place + 1), np.expand_dims(g, place + 1), place + 1)
    dx = maxout_backward(laid(g), laid(winner), pieces, axis=axis)
    same_bits(device.numpy(dx), true.reshape(shape))
    out = device.lay(np.full(shape, 7, dtype), data.draw(st.sampled_from(device.out_layouts)))
    assert maxout_backward(device.array(g), index, pieces, axis=axis, out=out) is out
    same_bits(device.numpy(native(out, dtype)), true.reshape(shape))


def test_maxout_out_may_be_a_part_of_the_input():
    x = np.array([1.0, 3, 2, 2, 9, 8])
    y, index = maxout(x, 2, out=x[:3])
    assert y.tolist() == [3, 2, 9] and index.tolist() == [1, 0, 0]


@precisions
def test_empty(dtype, device):
    for shape, axis in (((0,), 0), ((3, 0), 1), ((3, 0), 0), ((0, 3), 1), ((2, 0, 4), 2)):
        x = device.array(np.empty(shape, dtype))
        for function in FORWARD:
            for y in (function(x, axis=axis), function(x, axis=axis, out=x)):
                assert y.shape == shape and y.dtype == dtype
        for function in BACKWARD:
            assert function(x, x, axis=axis).shape == shape
        y, index = maxout(x, 3 if shape[axis] == 3 else 1, axis=axis)
        assert device.numpy(y).size == device.numpy(index).size == 0
    device.same(logsumexp(device.array(np.empty((2, 0), dtype))), np.full(2, -np.inf, dtype))
    device.same(logsumexp(device.array(np.empty(0, dtype))), np.array(-np.inf, dtype))
    assert type(logsumexp(np.empty(0, dtype))) is dtype


def test_integers_and_lists():
    for function in FORWARD:
        same_bits(function([[1, 2], [3, 3]]), function(np.array([[1.0, 2], [3, 3]])))
    assert maxout([True, False], 2)[0].dtype == np.float64


def test_all_are_public():
    assert {f.__name__ for f in (*FORWARD, *BACKWARD, logsumexp, logsumexp_backward, maxout, maxout_backward)} <= set(kernels.__all__)
