"""The activations on arrays of any layout, shape and size, for every row of the table. (Values and slopes: ``tests/test_ops.py``.)"""

import inspect
import re

import numba
import numpy as np
import pytest
from devices import few
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, FEW_OPS, LAYOUTS, arrays, dtypes, lay, native, same_bits, shapes

from nbgrad import kernels
from nbgrad.formulas.table import OPS

ops = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
some_ops = pytest.mark.parametrize("op", few(OPS, FEW_OPS).values(), ids=few(OPS, FEW_OPS))
precisions = pytest.mark.parametrize("dtype", DTYPES)


def functions(op):
    return getattr(kernels, op.name), getattr(kernels, op.name + "_backward")


@ops
def test_every_row_has_its_two_public_functions(op):
    forward, backward = functions(op)
    assert {op.name, op.name + "_backward"} <= set(kernels.__all__)
    keywords = {**op.parameters, **({"approximate": "none"} if op.name == "gelu" else {}), "out": None}
    for function, positional in ((forward, ["x"]), (backward, ["grad_output", "x"])):
        parameters = inspect.signature(function).parameters
        assert [n for n, p in parameters.items() if p.kind is p.POSITIONAL_OR_KEYWORD] == positional
        assert {n: p.default for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY} == keywords
        assert ">>>" in function.__doc__


def test_the_slides_leaky_relu():
    assert kernels.leaky_relu(-1.0) == -0.1


@ops
@given(st.data())
def test_layouts_change_nothing(op, device, data):
    """Any layout of the inputs and of out: the same bits, and the inputs as they were."""
    forward, backward = functions(op)
    dtype, shape = data.draw(dtypes), data.draw(shapes())
    x, g = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, shape))
    width = np.finfo(dtype).bits
    parameters = {name: data.draw(st.floats(-5, 5, width=width)) for name in op.parameters}
    y = device.numpy(forward(device.array(x), **parameters))
    dx = device.numpy(backward(device.array(g), device.array(x), **parameters))
    assert np.shape(y) == np.shape(dx) == shape
    laid = [device.lay(a, data.draw(st.sampled_from(device.layouts))) for a in (x, g)]
    device.alike(forward(laid[0], **parameters), y)
    device.alike(backward(laid[1], laid[0], **parameters), dx)
    for call, expected in (
        (lambda out: forward(laid[0], **parameters, out=out), y),
        (lambda out: backward(laid[1], laid[0], **parameters, out=out), dx),
    ):
        out = device.lay(np.full(shape, 7, dtype), data.draw(st.sampled_from(device.out_layouts)))
        assert call(out) is out
        device.alike(native(out, dtype), expected)
    for a, before in zip(laid, (x, g), strict=True):
        same_bits(device.numpy(a).astype(dtype), before)


@ops
@given(st.data())
def test_backward_broadcasts(op, device, data):
    _, backward = functions(op)
    dtype = data.draw(dtypes)
    shape = data.draw(shapes(max_dims=3))
    other = tuple(data.draw(st.sampled_from([1, n])) for n in shape[data.draw(st.integers(0, len(shape))) :])
    x, g = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, other))
    for first, second in ((g, x), (x, g)):
        full = device.numpy(backward(*(device.array(np.broadcast_to(v, shape)) for v in (first, second))))
        first, second = device.arrays((first, second))
        device.alike(backward(first, second), full)
        out = device.lay(np.zeros(shape, dtype), data.draw(st.sampled_from(device.out_layouts)))
        assert backward(first, second, out=out) is out
        device.alike(native(out, dtype), full)


@some_ops
@precisions
def test_out_may_overlap_the_inputs(op, dtype, device):
    forward, backward = functions(op)
    n = few(500, 40)
    memory = np.linspace(-3, 3, n + 3).astype(dtype)
    views = [slice(0, n), slice(1, n + 1), slice(3, n + 3), slice(n - 1, None, -1), slice(2, n + 2)]
    for i, of_x in enumerate(views):
        of_g = views[i - 1]
        x, g = device.array(memory[of_x]), device.array(memory[of_g])
        y, dx = device.numpy(forward(x)), device.numpy(backward(g, x))
        for of_out in views:
            fresh = device.array(memory)
            forward(fresh[of_x], out=fresh[of_out])
            device.alike(fresh[of_out], y)
            fresh = device.array(memory)
            backward(fresh[of_g], fresh[of_x], out=fresh[of_out])
            device.alike(fresh[of_out], dx)
    square = device.array(np.linspace(-2, 2, 49).reshape(7, 7).astype(dtype))
    expected = device.numpy(forward(device.array(device.numpy(square))))
    forward(square, out=square.T)
    device.alike(square.T, expected)
    square = device.array(np.linspace(-2, 2, 49).reshape(7, 7).astype(dtype))
    for x, out in ((square[1:], square[:-1]), (square[:-1], square[1:]), (square, square)):
        expected = device.numpy(forward(device.array(device.numpy(x))))
        forward(x, out=out)
        device.alike(out, expected)


@pytest.mark.parametrize("size", [0, 1, 3, 4, 127, 128, 129, 2500])
@pytest.mark.parametrize("start", [0, 1])
@precisions
def test_any_size_at_any_address(size, start, dtype, device):
    """Whole lines of 16 bytes, what stands before and after them, and more of them than threads."""
    x = np.random.default_rng(size).standard_normal(size + start).astype(dtype)
    g = x[::-1].copy()
    y, dx = np.maximum(x[start:], 0), g[start:] * (x[start:] > 0)
    there_x, there_g, out = device.arrays((x, g, np.full_like(x, 7)))
    device.same(kernels.relu(there_x[start:]), y)
    device.same(kernels.relu_backward(there_g[start:], there_x[start:]), dx)
    at_the_front = there_x[: x.size - start]
    device.same(kernels.relu_backward(there_g[start:], at_the_front), g[start:] * (x[: x.size - start] > 0))
    device.same(kernels.relu(there_x[start:], out=out[start:]), y)  # lies as the inputs do
    device.same(kernels.relu_backward(there_g[start:], there_x[start:], out=out[start:]), dx)
    device.same(out[:start], np.full(start, 7, dtype))


def test_out_may_overlap_in_large_arrays_too():
    memory = np.linspace(-5, 5, 70_001).astype(np.float32)
    expected = kernels.relu(memory[:-1].copy())
    kernels.relu(memory[:-1], out=memory[1:])
    same_bits(memory[1:], expected)


@pytest.mark.parametrize("op", FEW_OPS.values(), ids=FEW_OPS)
def test_threads_and_size_change_nothing(op):
    """40 001 elements run in parallel, pieces of them serially: the same bits, for any number of threads."""
    forward, backward = functions(op)
    rng = np.random.default_rng(0)
    x, g = (rng.integers(0, 2**32, 40_001, dtype=np.uint64).astype(np.uint32).view(np.float32) for _ in range(2))
    before = numba.get_num_threads()
    results = []
    try:
        for threads in (1, before):
            numba.set_num_threads(threads)
            results.append((forward(x), backward(g, x)))
    finally:
        numba.set_num_threads(before)
    for y, dx in results:
        for place in (slice(0, 1000), slice(19_999, 20_003), slice(40_000, None)):
            same_bits(y[place], forward(x[place]))
            same_bits(dx[place], backward(g[place], x[place]))
    same_bits(results[0][0], results[1][0])
    same_bits(results[0][1], results[1][1])


@ops
@precisions
def test_numbers_give_numpy_scalars_of_their_precision(op, dtype):
    forward, backward = functions(op)
    x, g = dtype(-0.5), dtype(2)
    assert type(forward(x)) is type(backward(g, x)) is dtype
    assert type(backward(2.0, x)) is type(backward(2, x)) is type(backward(g, -0.5)) is dtype
    assert type(forward(np.array(x))) is dtype
    assert type(forward(-0.5)) is type(forward(-1)) is type(backward(1, -1)) is np.float64
    out = np.zeros((), dtype)
    assert forward(x, out=out) is out and out == forward(x)


@ops
def test_integers_and_bools_are_computed_in_float64(op, device):
    forward, backward = functions(op)
    for values in (
        np.array([[-2, 0, 3]], np.int8),
        np.array([0, 1, 2**64 - 1], np.uint64),
        np.array([True, False]),
    ):
        there, wide = device.array(values), device.array(values.astype(np.float64))
        device.alike(forward(there), device.numpy(forward(wide)))
        device.alike(backward(there, there), device.numpy(backward(wide, wide)))


@ops
def test_lists_are_computed_in_float64(op):
    forward, backward = functions(op)
    for values in ([-1, 2.5], range(3)):
        same_bits(forward(values), forward(np.asarray(values, np.float64)))
        same_bits(backward(values, values), backward(*[np.asarray(values, np.float64)] * 2))


def test_the_wider_precision_wins(device):
    for one, other in ((np.float32, np.float64), (np.float64, np.float32), (np.float32, np.float32)):
        got = kernels.relu_backward(device.array(np.ones(2, one)), device.array(np.ones(2, other)))
        device.same(got, np.ones(2, np.promote_types(one, other)))


@precisions
def test_numbers_beside_arrays(dtype, device):
    """Python's take the array's precision, NumPy's have their own."""
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(dtype)
    for two, wide in ((2.0, dtype), (2, dtype), (np.float32(2), dtype), (np.float64(2), np.float64)):
        same, twos = device.arrays((x.astype(wide), np.full(x.shape, 2, wide)))
        device.alike(kernels.tanh_backward(two, device.array(x)), device.numpy(kernels.tanh_backward(twos, same)))


@ops
@precisions
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
def test_empty_arrays(op, dtype, shape, device):
    forward, backward = functions(op)
    x, other = device.array(np.empty(shape, dtype)), device.lay(np.empty(shape, dtype), "fortran")
    for y in (forward(x), forward(x, out=x), backward(x, x), backward(1.0, x), forward(other)):
        assert y.shape == shape and y.dtype == dtype


@ops
def test_bad_arguments(op):
    forward, backward = functions(op)
    x = np.zeros((2, 3))
    for wrong in (
        np.float16(1),
        np.longdouble(1),
        1j,
        "x",
        None,
        object(),
        np.ma.zeros(3),
        np.zeros(3, "M8[s]"),
    ):
        with pytest.raises(TypeError, match="^x: expected "):
            forward(wrong)
        with pytest.raises(TypeError, match="^x: expected "):
            backward(1.0, wrong)
        with pytest.raises(TypeError, match="^grad_output: expected "):
            backward(wrong, 1.0)
    with pytest.raises(
        ValueError,
        match=re.escape("grad_output: expected shapes that broadcast together, got grad_output (4,), x (2, 3)"),
    ):
        backward(np.zeros(4), x)
    read_only = np.zeros((2, 3))
    read_only.flags.writeable = False
    for out, error in (
        (np.zeros((3, 2)), ValueError),
        (np.zeros(6), ValueError),
        (np.zeros((1, 2, 3)), ValueError),
        (np.zeros((2, 3), np.float32), TypeError),
        (np.zeros((2, 3), np.int64), TypeError),
        ([[0.0] * 3] * 2, TypeError),
        (1.0, TypeError),
        (read_only, ValueError),
        (np.broadcast_to(np.zeros(3), (2, 3)), ValueError),
    ):
        for call in (
            lambda out=out: forward(x, out=out),
            lambda out=out: backward(x, x, out=out),
            lambda out=out: backward(1.0, x, out=out),
        ):
            with pytest.raises(error, match="^out: expected "):
                call()
    with pytest.raises(ValueError, match="^out: expected shape"):
        backward(x, np.zeros(3), out=np.zeros(3))
    for name in op.parameters:
        for wrong in ("1", None, True, 1j, np.zeros(2)):
            with pytest.raises(TypeError, match=f"^{name}: expected a real number, got "):
                forward(x, **{name: wrong})
            with pytest.raises(TypeError, match=f"^{name}: expected a real number, got "):
                backward(x, x, **{name: wrong})
        with pytest.raises(ValueError, match=f"^{name}: expected a number in the range of float32"):
            forward(np.float32(1), **{name: 1e300})


@given(arrays(np.float64, 5))
def test_tanh_is_a_sigmoid(x):
    """tanh x = 2σ(2x) − 1 and tanh' = 1 − tanh², both to the rounding of the right sides."""
    eps = np.finfo(np.float64).eps
    ordinary = x[np.abs(x) < 1e300]
    y = kernels.tanh(ordinary)
    assert (np.abs(y - (2 * kernels.sigmoid(2 * ordinary) - 1)) <= 3 * eps).all()
    assert (np.abs(kernels.tanh_backward(1.0, ordinary) - (1 - y * y)) <= 3 * eps).all()


def test_what_lies_between_the_elements_of_out_stays(device):
    x, wide = np.linspace(-2, 2, 37), device.array(np.full((37, 2), 7.0))
    kernels.relu(device.array(x), out=wide[:, 1])
    device.same(wide, np.stack([np.full(37, 7.0), np.maximum(x, 0)], axis=1))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_subarrays_of_larger_memory_are_not_touched_around_out(layout):
    out = lay(np.zeros((3, 4)), layout)
    base = out
    while base.base is not None and isinstance(base.base, np.ndarray):
        base = base.base
    before = base.copy()
    written = np.zeros(base.nbytes, bool)
    flat = np.lib.array_utils.byte_bounds(base)[0]
    for offset in np.ndindex(out.shape):
        start = out.__array_interface__["data"][0] + sum(i * s for i, s in zip(offset, out.strides, strict=True)) - flat
        written[start : start + 8] = True
    kernels.sigmoid(np.ones((3, 4)), out=out)
    changed = np.frombuffer(before.tobytes(), np.uint8) != np.frombuffer(base.tobytes(), np.uint8)
    assert not (changed & ~written).any() and changed.any()
