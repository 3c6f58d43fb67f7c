"""softmax, log_softmax, logsumexp and maxout on CUDA arrays against the CPU's."""

import devices
import numpy as np
import pytest
from devices import get, near, put, same

from nbgrad import kernels

# one column, one row, no row, no column; parts of a warp, a warp, a block for each row; with whole lines and without
SHAPES = [(7, 1), (1, 3), (0, 5), (5, 0), (9, 2), (6, 5), (3, 16), (2, 33), (2, 64), (9,)]
if not devices.SIMULATED:
    SHAPES += [(1000, 10), (3, 1000), (5, 1024), (4, 4097), (3, 32_768), (2, 100_000)]


def logits(shape, dtype):
    x = (np.random.default_rng(0).standard_normal(shape) * 4).astype(dtype)
    if x.size > 8:
        x.flat[3] = -np.inf
        x.flat[7] = x.flat[6]  # a tie
    return x


def spread(x):
    """What the rounding of x − max does to e^(x − max), in ulp: half of |x − max|."""
    if not x.size:
        return 0
    with np.errstate(all="ignore"):
        d = (x.max(-1, keepdims=True) - x).astype(np.float64)
    return float(d[np.isfinite(d)].max(initial=0))


@pytest.mark.parametrize("shape", SHAPES)
def test_forward(shape, dtype):
    x = logits(shape, dtype)
    ulps = devices.ULPS + spread(x)
    near(kernels.softmax(put(x)), kernels.softmax(x), ulps=ulps)
    largest = np.abs(x[np.isfinite(x)]).max(initial=0)
    near(kernels.log_softmax(put(x)), kernels.log_softmax(x))
    near(kernels.logsumexp(put(x)), np.asarray(kernels.logsumexp(x)), largest)


@pytest.mark.parametrize("shape", SHAPES)
def test_backward(shape, dtype):
    x = np.nan_to_num(logits(shape, dtype), neginf=-30)
    g = np.random.default_rng(1).standard_normal(shape).astype(dtype)
    y, log_y = kernels.softmax(x), kernels.log_softmax(x)
    largest = np.abs(g).max(initial=0)
    near(kernels.softmax_backward(put(g), put(y)), kernels.softmax_backward(g, y), y * largest)
    total = np.abs(g).sum(-1, keepdims=True)
    near(kernels.log_softmax_backward(put(g), put(log_y)), kernels.log_softmax_backward(g, log_y), g + y * total)
    grad = np.random.default_rng(2).standard_normal(shape[:-1]).astype(dtype)
    want = kernels.logsumexp_backward(grad, x)
    near(kernels.logsumexp_backward(put(grad), put(x)), want, ulps=devices.ULPS + spread(x))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_any_axis_and_layout(axis, dtype):
    x = logits((2, 3, 4), dtype)
    d, ulps = put(x), devices.ULPS + 20
    for got, want in ((d, x), (d[::-1, :, ::2], x[::-1, :, ::2]), (d.T, x.T)):
        near(kernels.softmax(got, axis=axis), kernels.softmax(want, axis=axis), ulps=ulps)
        near(kernels.logsumexp(got, axis=axis), kernels.logsumexp(want, axis=axis), 10)
        y = kernels.softmax(want, axis=axis)
        near(kernels.softmax_backward(1.0, put(y), axis=axis), kernels.softmax_backward(1.0, y, axis=axis), 1)
    out = put(np.full((4, 2, 3), 7, dtype)).transpose((1, 2, 0))
    assert kernels.log_softmax(d, axis=axis, out=out) is out
    near(out, kernels.log_softmax(x, axis=axis))
    assert kernels.log_softmax(d, axis=axis, out=d) is d
    near(d, kernels.log_softmax(x, axis=axis))


def test_what_is_not_finite(dtype):
    """Masks are exact; a row of masks only, with +inf or nan is nan, and its log-sum −inf, +inf or nan."""
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 1], [-inf] * 3, [inf, 0, 1], [nan, 0, 1], [-inf, nan, -inf], [-inf, -inf, 5]], dtype)
    for long in (x, np.repeat(x, 12, axis=1)):  # by a part of a warp, and by a block
        for function in (kernels.softmax, kernels.log_softmax):
            near(function(put(long)), function(long))
        near(kernels.logsumexp(put(long)), kernels.logsumexp(long))


def test_rising_rows_lose_nothing(dtype):
    """Every entry is a new maximum: the sums are scaled anew each time."""
    x = np.linspace(0, 1e-2, 200).astype(dtype)
    wide = x.astype(np.longdouble)
    exact = wide - np.log(np.exp(wide).sum())
    assert np.abs(get(kernels.log_softmax(put(x))) - exact).max() <= 2 * np.spacing(dtype(5.3))


def test_the_same_bits_on_every_run(dtype):
    x = put(np.random.default_rng(0).standard_normal((2, 50)).astype(dtype))
    same(kernels.logsumexp(x), get(kernels.logsumexp(x)))
    one_by_one = [get(kernels.logsumexp(x[i])) for i in range(2)]
    same(kernels.logsumexp(x), np.array(one_by_one, dtype))


@pytest.mark.parametrize("pieces", [1, 2, 3])
def test_maxout(pieces, dtype):
    for shape, axis in (((4, 6), -1), ((6, 5), 0), ((2, 6, 3), 1), ((0, 6), 1)):
        x = np.random.default_rng(0).integers(-2, 3, shape).astype(dtype)
        if x.size:
            x.flat[5] = np.nan
        y, index = kernels.maxout(x, pieces, axis=axis)
        got, got_index = kernels.maxout(put(x), pieces, axis=axis)
        same(got, y)
        same(got_index, index)
        g = np.arange(y.size, dtype=dtype).reshape(y.shape)
        want = kernels.maxout_backward(g, index, pieces, axis=axis)
        same(kernels.maxout_backward(put(g), got_index, pieces, axis=axis), want)
        out, index_out = put(np.full_like(y, 7)), put(np.full_like(index, 7))
        given = kernels.maxout(put(x), pieces, axis=axis, out=out, index_out=index_out)
        assert given[0] is out and given[1] is index_out
        same(out, y)
        same(index_out, index)


def test_errors():
    x = put(np.ones((2, 3)))
    with pytest.raises(ValueError, match="axis: expected -2..1"):
        kernels.softmax(x, axis=2)
    with pytest.raises(ValueError, match="num_pieces: expected a divisor"):
        kernels.maxout(x, 2)
    with pytest.raises(ValueError, match="grad_output: expected y's shape"):
        kernels.softmax_backward(put(np.ones(4)), x)
    with pytest.raises(TypeError, match="y: expected a CUDA array as grad_output is"):
        kernels.softmax_backward(x, np.ones((2, 3)))
    with pytest.raises(TypeError, match="index: expected integers"):
        kernels.maxout_backward(x, x, 2)
