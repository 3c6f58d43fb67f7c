"""Sums along any axes: against `math.fsum` and against float64, of every layout the same bits, as fast as NumPy's."""

import math
import warnings

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, INPUT_LAYOUTS, dtypes, lay, layouts, same_bits, shapes

import nbgrad
from nbgrad import functional, kernels
from nbgrad.cpu.sums import add_up as sums
from nbgrad.cpu.sums import axis as cpu_sums
from nbgrad.cpu.sums.add_up import add_up
from nbgrad.jit import serial_loops

precisions = pytest.mark.parametrize("dtype", DTYPES)


def exact(x, axis, keepdims=False):
    """By `math.fsum`, one element of the result after the other, rounded once to float64."""
    axes = tuple(range(x.ndim)) if axis is None else tuple(a % x.ndim for a in np.atleast_1d(axis))
    moved = np.moveaxis(x, axes, range(-len(axes), 0)).astype(np.float64)
    rest = moved.shape[: x.ndim - len(axes)]
    result = np.reshape([math.fsum(moved[place].ravel()) for place in np.ndindex(rest)], rest)
    return np.expand_dims(result, axes) if keepdims else result


def close(got, x, axis, keepdims=False):
    """Of float32 rounded once (of the float64 sum, whose own error is far below); of float64 some ulps of Σ|x|."""
    true, dtype = exact(x, axis, keepdims), x.dtype.newbyteorder("=")
    assert np.shape(got) == true.shape and np.asarray(got).dtype == dtype
    bound = np.finfo(dtype).eps * (np.abs(true) / 2 if dtype == np.float32 else 12 * exact(np.abs(x), axis, keepdims))
    assert (np.abs(np.asarray(got, np.longdouble) - true) <= bound * (1 + 1e-6)).all()


@st.composite
def axes_of(draw, ndim):
    every = st.sets(st.integers(0, ndim - 1)).map(lambda s: tuple(sorted(s)))
    return draw(st.none() | st.integers(-ndim, ndim - 1) | every)


@given(st.data(), dtypes, shapes(min_dims=1, max_dims=5, max_side=5), st.booleans(), layouts)
def test_any_axes_of_any_layout(data, dtype, shape, keepdims, layout):
    axis, seed = data.draw(axes_of(len(shape))), data.draw(st.integers(0, 99))
    x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    got = add_up(x, axis, keepdims)
    if x.size:
        close(got, x, axis, keepdims) if axis != () else same_bits(got, x)
    else:
        same_bits(got, np.add.reduce(x, axis=axis, keepdims=keepdims))
    same_bits(add_up(lay(x, layout), axis, keepdims), got)


# beside the borders of lines, blocks, tiles and trees
SHAPES = [
    (1,), (63,), (64,), (65,), (2047,), (2048,), (2049,), (100_003,), (5, 2**17 + 3), (7, 64), (300, 63), (40, 129, 3),
    (10_000, 2), (4097, 31), (4096, 33), (70, 2100), (3, 40, 700), (8, 5, 6, 7), (2, 33, 1, 65),
]  # fmt: skip


@precisions
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_against_fsum(shape, dtype):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    for axis in (None, *range(x.ndim), (0, x.ndim - 1)):
        axis = tuple(sorted(set(axis))) if isinstance(axis, tuple) else axis
        got = add_up(x, axis)
        close(got, x, axis)
        for layout in ("unaligned", "fortran", "byte-swapped", "backwards", "read-only"):
            same_bits(add_up(lay(x, layout), axis), got)


@pytest.mark.parametrize("shape, axis", [((300, 7000), 1), ((300, 7000), 0), ((40, 50, 1000), (0, 2)), ((2_100_000,), 0)])
def test_any_number_of_threads(shape, axis, monkeypatch):
    monkeypatch.setattr(sums, "LARGE", 1000)
    x = np.random.default_rng(1).random(shape, np.float32)
    got = add_up(x, axis)
    with serial_loops():
        same_bits(add_up(x, axis), got)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        same_bits(add_up(x, axis), got)
    finally:
        numba.set_num_threads(before)
    monkeypatch.setattr(sums, "PARTS", 3)
    same_bits(add_up(x, axis), got)


@precisions
@pytest.mark.parametrize("shape", [(500, 300), (3000, 65), (90, 20, 130), (7, 40_000), (70_000, 3)], ids=str)
def test_large_arrays_of_any_layout(shape, dtype):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    for axis in (None, *range(x.ndim), (0, 1), (0, x.ndim - 1)):
        true = add_up(x, axis, True)
        close(true, x, axis, True)
        for layout in INPUT_LAYOUTS:
            same_bits(add_up(lay(x, layout), axis, True), true)


@precisions
@pytest.mark.parametrize("shape", [(4097, 31), (3000, 65), (20, 3000), (33, 7, 90), (100_003, 2), (1, 900, 9)], ids=str)
def test_parts_of_arrays_that_are_not_in_c_order(shape, dtype, monkeypatch):
    x = np.random.default_rng(1).normal(size=shape).astype(dtype)
    true = [add_up(x, axis) for axis in (None, 0)]
    for large, piece, parts in ((1000, 3000, 8), (1000, 20_000, 3), (10**9, 1000, 8)):
        monkeypatch.setattr(sums, "LARGE", large)
        monkeypatch.setattr(sums, "PIECE", piece)
        monkeypatch.setattr(sums, "PARTS", parts)
        for layout in ("fortran", "backwards", "unaligned", "byte-swapped"):
            for axis, expected in zip((None, 0), true, strict=True):
                same_bits(add_up(lay(x, layout), axis), expected)


@precisions
def test_signs_of_zero_infinities_and_nan(dtype):
    for n in (1, 5, 70, 3000):
        same_bits(add_up(np.full((n, 3), -0.0, dtype), 0), np.full(3, -0.0, dtype))
        same_bits(add_up(np.full((3, n), -0.0, dtype), 1), np.full(3, -0.0, dtype))
        x = np.ones((n, 4), dtype)
        x[-1] = np.inf, -np.inf, np.nan, 0
        for a in (add_up(x, 0), add_up(x.T.copy(), 1)):
            np.testing.assert_array_equal(a, [np.inf, -np.inf, np.nan, n - 1])
    same_bits(add_up(np.zeros((0, 3), dtype), 0), np.zeros(3, dtype))


def test_what_is_no_float_is_numpys():
    for x in (np.arange(12).reshape(3, 4), np.arange(12, dtype=np.uint8), np.ones((3, 2), np.bool_)):
        same_bits(add_up(x, 0), x.sum(axis=0))
    assert add_up(np.float32(2.5)) == 2.5 and add_up(np.array(2.5)) == 2.5
    with pytest.raises(ValueError, match="axis"):
        add_up(np.ones(3), 1)
    with pytest.raises(TypeError):
        add_up(np.ones(3), 0.5)


@precisions
@pytest.mark.parametrize("keepdims", [False, True])
def test_tensors_sums_and_means(dtype, keepdims):
    """Rows added up one after the other leave 3 digits of a float32 sum of a million."""
    x = np.random.default_rng(2).random((1_000_000, 3)).astype(dtype)
    for axis in (0, 1, None, (0, 1)):
        t = nbgrad.tensor(x)
        got, mean = t.sum(axis=axis, keepdims=keepdims), t.mean(axis=axis, keepdims=keepdims)
        true = x.sum(axis=axis, keepdims=keepdims, dtype=np.longdouble)
        np.testing.assert_allclose(got.numpy(), true, rtol=2 * np.finfo(dtype).eps)
        np.testing.assert_allclose(mean.numpy(), true * got.numel() / x.size, rtol=2 * np.finfo(dtype).eps)
        assert got.dtype == mean.dtype == dtype


def test_a_mean_whose_sum_overflows():
    x = np.full((4, 3), 3e38, np.float32)
    same_bits(nbgrad.tensor(x).mean(axis=0).numpy(), x[0])


# A gradient that is a sum over the rows: what of, and of which parameter's shape.
N = 400_000
GRADIENTS = {
    "a bias": lambda x, w: functional.linear(np.zeros((N, 1), np.float32), np.zeros((3, 1), np.float32), w) * x,
    "added": lambda x, w: x * (w + nbgrad.tensor(np.zeros((N, 3), np.float32))),
    "subtracted": lambda x, w: -x * (0.0 - w + nbgrad.tensor(np.zeros((N, 3), np.float32))),
    "multiplied": lambda x, w: w * x,
    "of length 1": lambda x, w: w.reshape(1, 3) * x,
    "picked": lambda x, w: w[np.tile(np.arange(3), (N, 1))] * x,
    "a loss": lambda x, w: functional.l1_loss(-x * 0.0, w.reshape(1, 3) * x, reduction="none"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GRADIENTS)
def test_gradients_that_are_sums(kind):
    x = np.random.default_rng(3).random((N, 3), np.float32)
    w = nbgrad.tensor(np.ones(3, np.float32), requires_grad=True)
    GRADIENTS[kind](nbgrad.tensor(x), w).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), x.sum(axis=0, dtype=np.float64), rtol=2e-7)


@pytest.mark.parametrize("layout", ["backwards", "strided", "unaligned", "fortran", "contiguous"])
def test_products_that_numpy_does_not_leave_to_blas(layout):
    """Rows backwards are added up one after the other: off by 5e-4."""
    rng = np.random.default_rng(4)
    x, y = rng.random((300_000, 2), np.float32), rng.random((300_000, 2), np.float32)
    true = x.astype(np.float64).T @ y.astype(np.float64)
    a = lay(x, layout)
    for product in (nbgrad.Tensor(a.T) @ nbgrad.Tensor(y), nbgrad.Tensor(y.T) @ nbgrad.Tensor(a)):
        np.testing.assert_allclose(np.sort(product.numpy(), axis=None), np.sort(true, axis=None), rtol=2e-6)
    w = nbgrad.tensor(np.zeros((2, 2), np.float32), requires_grad=True)
    (functional.linear(nbgrad.Tensor(a), w) * nbgrad.Tensor(y)).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), true.T, rtol=2e-6)


@precisions
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
def test_bits_of_a_step_do_not_depend_on_the_layout(layout, dtype):
    rng = np.random.default_rng(5)
    arrays = [rng.normal(size=(70, 6)), rng.normal(size=(70, 6)), rng.normal(size=6)]
    picks = rng.integers(0, 70, (9, 40))

    def step(lay):
        x, y, b = (nbgrad.Tensor(lay(a.astype(dtype)), requires_grad=True) for a in arrays)
        loss = functional.mse_loss(x + b, y) + (x * y).sum(axis=(0, 1)) + x.mean(axis=1).sum() + x[lay(picks)].sum()
        loss.backward()
        return [loss.numpy(), *(t.grad.numpy() for t in (x, y, b))]

    for got, true in zip(step(lambda a: lay(a, layout)), step(np.copy), strict=True):
        same_bits(np.asarray(got), np.asarray(true))


@precisions
def test_losses_of_many_elements(dtype):
    x = np.random.default_rng(6).random(1_000_000).astype(dtype)
    for layout in ("contiguous", "unaligned", "backwards"):
        for weight in (None, np.ones(1, dtype)):
            loss = kernels.binary_cross_entropy_with_logits(lay(x, layout), 0.0, weight=weight, reduction="sum")
            np.testing.assert_allclose(loss, np.logaddexp(0, x.astype(np.longdouble)).sum(), rtol=4 * np.finfo(dtype).eps)


def test_no_warning_and_no_change():
    x = np.full((3, 2), 3e38, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isinf(add_up(x, 0)).all()
    assert (x == np.float32(3e38)).all()


def test_few_rows_have_few_levels():
    """The scratch of wide rows is a line for each level of the tree, not one for each block."""
    loop = cpu_sums.sums().serial
    out, x = np.empty(2, np.float64), np.ones(2 * 5_000_000, np.float32)
    loop(x, 5_000_000, 2, 0, 1, 0, 2, out)
    assert out.tolist() == [5e6, 5e6]
