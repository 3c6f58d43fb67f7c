"""The elementwise kernels on CUDA arrays, where they are CUDA's own: lines of 16 bytes, arrays of the CPU beside them. (What they compute:
``test_ops.py``, ``kernels/test_activations.py``.)
"""

import numpy as np
import pytest
from devices import get, put

from nbgrad import kernels
from nbgrad.formulas.table import Elementwise
from nbgrad.jit import scalar
from nbgrad.kernels.elementwise import Kernel
from nbgrad.place import place_of


def test_lines_begin_on_multiples_of_16_bytes(dtype):
    """(The simulator would not notice.)"""
    from nbgrad.cuda import device as cuda_target
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
            assert cuda_rows.in_lines(length, base[start:]) == aligned


@scalar
def cubic(x, a, b, c):
    return a + x * (b + x * c)


@scalar
def d_cubic(x, a, b, c):
    return b + x * (c + c)


@scalar
def quartic(x, a, b, c, d):
    return a + x * (b + x * (c + x * d))


@scalar
def d_quartic(x, a, b, c, d):
    return b + x * ((c + c) + x * (d + d + d))


@scalar
def weighted(x, target, a, b, c):
    return (x - target) * a + b * x + c


@scalar
def d_weighted(x, target, a, b, c):
    return a + b


@pytest.mark.parametrize("count", [3, 4])
def test_any_number_of_parameters(count, dtype):
    f, df = {3: (cubic, d_cubic), 4: (quartic, d_quartic)}[count]
    kernel, x, p = Kernel(Elementwise(f, df, dict.fromkeys("abcd"[:count], 1.0))), np.arange(-9, 10, dtype=dtype), [2.0, -1.0, 3.0, 5.0][:count]
    np.testing.assert_array_equal(get(kernel.forward(put(x), None, *p)), f(x, *map(dtype, p)), strict=True)
    np.testing.assert_array_equal(get(kernel.backward(put(-x), put(x), None, *p)), -x * df(x, *map(dtype, p)), strict=True)


def test_any_number_of_parameters_of_a_loss(dtype):
    op, x, t = Elementwise(weighted, d_weighted, {"a": 1.0, "b": 1.0, "c": 1.0}), np.arange(37, dtype=dtype), np.ones(37, dtype)
    with place_of(x=put(x), target=put(t)) as place:
        arrays, _ = place.as_floats({"x": put(x), "target": put(t)})
        each = place.elementwise("loss", op, arrays, x.shape, None, (2.0, 3.0, 4.0))
        total, grad = place.loss_sum(op, *arrays, (2.0, 3.0, 4.0), False, True, None)
        each, total, grad = (get(place.result(a, None)) for a in (each, total, grad))
    np.testing.assert_array_equal(each, (x - 1) * 2 + 3 * x + 4)
    assert total == each.sum() and grad.tolist() == [5.0] * 37


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
    with pytest.raises(TypeError, match="y: expected a CUDA array as grad_output is"):
        kernels.softmax_backward(d, x)
    for weight in ({}, {"weight": x}):
        target = np.array([0]) if not weight else put(np.array([0]))
        with pytest.raises(TypeError, match="(target|weight): expected a CUDA array as logits is, got a numpy.ndarray"):
            kernels.cross_entropy(put(np.ones((1, 3))), target, **weight)
