"""The activations on arrays of any layout, shape and size, for every row of the table. (Values and slopes: ``tests/test_ops.py``.)"""

import inspect
import re

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, FEW_OPS, LAYOUTS, arrays, dtypes, lay, layouts, out_layouts, same_bits, shapes

from nbgrad import kernels
from nbgrad.formulas.table import OPS

ops = pytest.mark.parametrize("op", OPS.values(), ids=OPS)
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
def test_layouts_change_nothing(op, data):
    """Any layout of the inputs and of out: the same bits, and the inputs as they were."""
    forward, backward = functions(op)
    dtype, shape = data.draw(dtypes), data.draw(shapes())
    x, g = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, shape))
    width = np.finfo(dtype).bits
    parameters = {name: data.draw(st.floats(-5, 5, width=width)) for name in op.parameters}
    y, dx = forward(x, **parameters), backward(g, x, **parameters)
    assert np.shape(y) == np.shape(dx) == shape
    laid = lay(x, data.draw(layouts)), lay(g, data.draw(layouts))
    same_bits(forward(laid[0], **parameters), y)
    same_bits(backward(laid[1], laid[0], **parameters), dx)
    for call, expected in (
        (lambda out: forward(laid[0], **parameters, out=out), y),
        (lambda out: backward(laid[1], laid[0], **parameters, out=out), dx),
    ):
        out = lay(np.full(shape, 7, dtype), data.draw(out_layouts))
        assert call(out) is out
        same_bits(out.astype(dtype), expected)
    same_bits(laid[0].astype(dtype), x)
    same_bits(laid[1].astype(dtype), g)


@ops
@given(st.data())
def test_backward_broadcasts(op, data):
    _, backward = functions(op)
    dtype = data.draw(dtypes)
    shape = data.draw(shapes(max_dims=3))
    other = tuple(data.draw(st.sampled_from([1, n])) for n in shape[data.draw(st.integers(0, len(shape))) :])
    x, g = data.draw(arrays(dtype, shape)), data.draw(arrays(dtype, other))
    for first, second in ((g, x), (x, g)):
        full = backward(*(np.broadcast_to(v, shape).copy() for v in (first, second)))
        same_bits(backward(first, second), full)
        out = lay(np.zeros(shape, dtype), data.draw(out_layouts))
        assert backward(first, second, out=out) is out
        same_bits(out.astype(dtype), full)


@ops
@precisions
def test_out_may_overlap_the_inputs(op, dtype):
    forward, backward = functions(op)
    memory = np.linspace(-3, 3, 503).astype(dtype)
    views = [slice(0, 500), slice(1, 501), slice(3, 503), slice(499, None, -1), slice(2, 502)]
    for i, of_x in enumerate(views):
        of_g = views[i - 1]
        x, g = memory[of_x].copy(), memory[of_g].copy()
        for of_out in views:
            fresh = memory.copy()
            forward(fresh[of_x], out=fresh[of_out])
            same_bits(fresh[of_out], forward(x))
            fresh = memory.copy()
            backward(fresh[of_g], fresh[of_x], out=fresh[of_out])
            same_bits(fresh[of_out], backward(g, x))
    square = np.linspace(-2, 2, 49).reshape(7, 7).astype(dtype)
    expected = forward(square.copy())
    forward(square, out=square.T)
    same_bits(square.T, expected)


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
    x, g = (
        rng.integers(0, 2**32, 40_001, dtype=np.uint64).astype(np.uint32).view(np.float32) for _ in range(2)
    )
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
def test_integers_bools_and_lists_are_computed_in_float64(op):
    forward, backward = functions(op)
    for values in (
        np.array([[-2, 0, 3]], np.int8),
        np.array([0, 1, 2**64 - 1], np.uint64),
        np.array([True, False]),
        [-1, 2.5],
        range(3),
    ):
        y = forward(values)
        assert y.dtype == np.float64
        same_bits(y, forward(np.asarray(values, np.float64)))
        same_bits(backward(values, values), backward(*[np.asarray(values, np.float64)] * 2))


@ops
@precisions
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 3), (2, 0, 4)])
def test_empty_arrays(op, dtype, shape):
    forward, backward = functions(op)
    x = np.empty(shape, dtype)
    for y in (forward(x), forward(x, out=x), backward(x, x), backward(1.0, x), forward(np.asfortranarray(x))):
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
        match=re.escape(
            "grad_output: expected shapes that broadcast together, got grad_output (4,), x (2, 3)"
        ),
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
        start = (
            out.__array_interface__["data"][0]
            + sum(i * s for i, s in zip(offset, out.strides, strict=True))
            - flat
        )
        written[start : start + 8] = True
    kernels.sigmoid(np.ones((3, 4)), out=out)
    changed = np.frombuffer(before.tobytes(), np.uint8) != np.frombuffer(base.tobytes(), np.uint8)
    assert not (changed & ~written).any() and changed.any()
