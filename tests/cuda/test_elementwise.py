"""The elementwise kernels on CUDA arrays against the CPU's: values, shapes, layouts, ``out``, errors."""

import numpy as np
import pytest
from devices import near, put, same

from nbgrad import kernels
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import LOSSES, OPS


def inputs(dtype, count=37, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(count) * 10.0 ** rng.integers(-3, 3, count)
    special = [0, -0.0, 1, -1, 3, -3, 6, 1e-40, 88, -88, 700, -700, np.inf, -np.inf, np.nan]
    x[: len(special)] = special
    return x.astype(dtype)


@pytest.mark.parametrize("name", OPS)
def test_forward_and_backward_of_every_operator(name, dtype):
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    x, g = inputs(dtype), np.random.default_rng(1).standard_normal(37).astype(dtype)
    near(forward(put(x)), forward(x))
    # where a derivative crosses zero its terms are as large as g
    near(backward(put(g), put(x)), backward(g, x), g if OPS[name].crosses_zero else 0)


@pytest.mark.parametrize("name", [n for n, op in OPS.items() if op.parameters])
def test_parameters(name, dtype):
    x = np.linspace(-3, 3, 9).astype(dtype)
    values = {p: 0.25 + 0.5 * k for k, p in enumerate(OPS[name].parameters)}
    near(getattr(kernels, name)(put(x), **values), getattr(kernels, name)(x, **values))
    backward = getattr(kernels, name + "_backward")
    near(backward(put(x), put(x), **values), backward(x, x, **values))


@pytest.mark.parametrize("size", [0, 1, 3, 4, 127, 128, 129, 2500])
@pytest.mark.parametrize("start", [0, 1])
def test_any_size_at_any_address(size, start, dtype):
    """Whole lines of 16 bytes, what stands before and after them, and more of them than threads."""
    x = np.random.default_rng(size).standard_normal(size + start).astype(dtype)
    g = x[::-1].copy()
    near(kernels.relu(put(x)[start:]), np.maximum(x[start:], 0))
    near(kernels.relu_backward(put(g)[start:], put(x)[start:]), g[start:] * (x[start:] > 0))
    near(kernels.relu_backward(put(g)[start:], put(x)[: x.size - start]), g[start:] * (x[: x.size - start] > 0))
    out = put(np.full_like(x, 7))  # lies as the inputs do
    near(kernels.relu(put(x)[start:], out=out[start:]), np.maximum(x[start:], 0))
    near(kernels.relu_backward(put(g)[start:], put(x)[start:], out=out[start:]), g[start:] * (x[start:] > 0))
    near(out[:start], np.full(start, 7, dtype))


def test_lines_begin_on_multiples_of_16_bytes(dtype):
    """(The simulator would not notice.)"""
    from nbgrad.cuda import driver as cuda_target
    from nbgrad.cuda import elementwise as cuda_elementwise
    from nbgrad.cuda import rows as cuda_rows

    base = cuda_target.unwrap(put(np.zeros(64, dtype)), "x")
    size, item = 16 // base.dtype.itemsize, base.dtype.itemsize
    for start in range(2 * size):
        for count in (1, size, 30):
            x = base[start : start + count]
            lead = cuda_elementwise.lead_of(x, x)
            assert lead == count or (cuda_target.address(x) + lead * item) % 16 == 0
            assert lead < size or lead == count
            other = base[start + 1 : start + 1 + count]
            assert cuda_elementwise.lead_of(x, other) == count
        for length in range(1, 9):
            aligned = (cuda_target.address(base[start:])) % 16 == 0 and length % size == 0
            assert cuda_rows.lines_of(length, base[start:]) == (length // size if aligned else 0)


def test_shapes_layouts_and_numbers(dtype):
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(dtype)
    d = put(x)
    for place in ((slice(None), slice(None, None, 2)), (slice(None, None, -1),), (3,), (slice(0, 0),)):
        near(kernels.tanh(d[place]), kernels.tanh(x[place]))
    near(kernels.tanh(d.T), kernels.tanh(x.T))
    near(kernels.tanh(put(dtype(0.5))), kernels.tanh(np.full((), 0.5, dtype)))
    near(kernels.tanh_backward(2.0, d), kernels.tanh_backward(2.0, x))
    near(kernels.tanh_backward(d[:, :1], d), kernels.tanh_backward(x[:, :1], x))
    near(kernels.tanh_backward(d, d[0]), kernels.tanh_backward(x, x[0]))
    near(kernels.tanh_backward(np.float64(2), d), kernels.tanh_backward(np.float64(2), x))


def test_integers_are_computed_in_float64_and_the_wider_precision_wins():
    x = np.array([-2, 0, 3])
    near(kernels.elu(put(x)), kernels.elu(x))
    near(kernels.relu(put(np.array([True, False]))), np.array([1.0, 0.0]))
    single, double = put(np.ones(2, np.float32)), put(np.ones(2))
    near(kernels.relu_backward(single, double), np.ones(2))
    near(kernels.relu_backward(single, single), np.ones(2, np.float32))
    with pytest.raises(TypeError, match="x: expected float32, float64, integers or bools, got float16"):
        kernels.relu(put(np.ones(2, np.float16)))


def test_out(dtype):
    x, g = inputs(dtype), np.random.default_rng(1).standard_normal(37).astype(dtype)
    y, dx = kernels.elu(x), kernels.elu_backward(g, x)
    d, out = put(x), put(np.full(37, 7, dtype))
    assert kernels.elu(d, out=out) is out
    near(out, y)
    assert kernels.elu_backward(put(g), d, out=d) is d  # in place
    near(d, dx)
    room = put(np.full(40, 7, dtype))
    room[:37] = put(x)
    kernels.elu(room[:37], out=room[1:38])  # overlapping
    near(room[1:38], y)
    wide = put(np.full((37, 2), 7, dtype))
    kernels.elu(put(x), out=wide[:, 1])  # not contiguous
    near(wide[:, 1], y)
    same(wide[:, 0], np.full(37, 7, dtype))


@pytest.mark.parametrize("name", LOSSES)
def test_losses_and_their_derivatives(name, dtype):
    """Element by element: what ``reduction="none"`` gives."""
    from nbgrad.cuda import driver as cuda_target
    from nbgrad.cuda import elementwise as cuda_elementwise

    op = LOSSES[name]
    rng = np.random.default_rng(0)
    x, t = (rng.standard_normal(21) * 5).astype(dtype), rng.random(21).astype(dtype)
    parameters = tuple(map(dtype, op.parameters.values()))
    for derivative in (False, True):
        want, got = np.empty_like(x), put(np.empty_like(x))
        assert cpu.loss(op, derivative)(x.size, x, t, want, *map(float, parameters))
        arrays = (cuda_target.unwrap(put(a), "x") for a in (x, t))
        kernel = cuda_elementwise.loss(op, derivative, np.dtype(dtype))
        cuda_elementwise.run(kernel, list(arrays), cuda_target.unwrap(got, "out"), parameters)
        near(got, want, 1)


def test_mixed_arguments_are_refused_by_name():
    x, d = np.ones(3), put(np.ones(3))
    kind = "got a numpy.ndarray"
    with pytest.raises(TypeError, match=f"grad_output: expected a CUDA array as x is, {kind}"):
        kernels.sigmoid_backward(x, d)
    with pytest.raises(TypeError, match=f"x: expected a CUDA array as grad_output is, {kind}"):
        kernels.sigmoid_backward(d, x)
    with pytest.raises(TypeError, match=f"out: expected a CUDA array as x is, {kind}"):
        kernels.sigmoid(d, out=x)
    with pytest.raises(TypeError, match=f"x: expected a CUDA array as out is, {kind}"):
        kernels.sigmoid(x, out=d)
    with pytest.raises(TypeError, match="x: expected a CUDA array as grad_output is, got a list"):
        kernels.sigmoid_backward(d, [1.0])


def test_wrong_arguments():
    d = put(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"grad_output: expected shapes that broadcast together"):
        kernels.sigmoid_backward(put(np.ones(2)), d)
    with pytest.raises(ValueError, match=r"out: expected shape \(2, 3\), got \(3, 2\)"):
        kernels.sigmoid(d, out=put(np.ones((3, 2))))
    with pytest.raises(TypeError, match="out: expected dtype float64, got float32"):
        kernels.sigmoid(d, out=put(np.ones((2, 3), np.float32)))
    with pytest.raises(TypeError, match="negative_slope: expected a real number"):
        kernels.leaky_relu(d, negative_slope="a")
