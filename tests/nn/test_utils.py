"""Clipping the gradients' norm."""

import math

import mpmath
import numpy as np
import pytest
from devices import CPU

from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.nn import utils
from nbgrad.nn.utils import clip_grad_norm_

RNG = np.random.default_rng(5)


def with_grads(*arrays, device=CPU):
    tensors = [device.tensor(np.zeros_like(a), requires_grad=True) for a in arrays]
    for one, a in zip(tensors, arrays, strict=True):
        one.grad = device.tensor(a)
    return tensors


def norm(arrays, p):
    """From the definition, in 50 digits."""
    values = [mpmath.mpf(float(abs(v))) for a in arrays for v in a.ravel()]
    with mpmath.workdps(50):
        if math.isinf(p):
            return max(values) if p > 0 else min(values)
        return mpmath.power(mpmath.fsum(v ** mpmath.mpf(p) for v in values), 1 / mpmath.mpf(p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [2, 2.0, 1, 3.5, 0.5, math.inf, "inf", -math.inf, -1, -2.5, np.float32(2)])
@pytest.mark.parametrize("max_norm", [0.5, 1e6, 0])
def test_the_norm_and_the_factor(dtype, p, max_norm, device):
    arrays = [np.asarray(RNG.normal(size=shape)).astype(dtype) for shape in ((3, 4), (2,), ())]
    tensors = with_grads(*arrays, device=device)
    total = clip_grad_norm_(iter(tensors), max_norm, p)
    expected = norm(arrays, float(p))
    assert total.shape == () and total.dtype == np.float64 and not total.requires_grad
    assert total.item() == pytest.approx(float(expected), rel=1e-14)
    factor = min(1.0, float(max_norm / (expected + mpmath.mpf("1e-6"))))
    for one, a in zip(tensors, arrays, strict=True):
        got = one.grad.cpu().numpy()
        assert got.dtype == dtype and one.detach().cpu().numpy().max(initial=0) == 0
        np.testing.assert_allclose(got, a.astype(float) * factor, rtol=1e-14 if dtype is np.float64 else 1e-7)
        if factor == 1:
            np.testing.assert_array_equal(got, a)


@pytest.mark.parametrize(
    ("dtype", "scale"), [(np.float32, 1e38), (np.float32, 1e-44), (np.float64, 1e200), (np.float64, 5e306), (np.float64, 1e-200), (np.float64, 1e-320)]
)
@pytest.mark.parametrize("p", [2, 1, 30, 0.5, -2, math.inf])
def test_no_power_leaves_the_range(dtype, scale, p):
    arrays = [np.array([3, 2, 0.5]).astype(dtype) * dtype(scale), np.array(1).astype(dtype) * dtype(scale)]
    tensors = with_grads(*arrays)
    total, expected = clip_grad_norm_(tensors, 1e-3, p).item(), norm(arrays, p)
    assert total == pytest.approx(float(expected), rel=1e-13) and 0 < total < math.inf
    factor = min(mpmath.mpf(1), mpmath.mpf("1e-3") / (expected + mpmath.mpf("1e-6")))
    for one, a in zip(tensors, arrays, strict=True):
        exact = [float(mpmath.mpf(float(v)) * factor) for v in a.ravel()]
        np.testing.assert_allclose(one.grad.numpy().ravel(), exact, rtol=1e-6 if dtype is np.float32 else 1e-13)


def test_order_zero_counts_the_gradients_that_are_not_zero():
    """As PyTorch's: it is the norm of the norms."""
    assert clip_grad_norm_(with_grads(np.array([0.0, 2.0, 3.0]), np.zeros(2), np.array(4.0)), 10, 0).item() == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("p", [2, 1, math.inf, 0.5])
def test_norms_that_are_not_finite(bad, p):
    arrays = [np.array([1.0, bad]), np.array([2.0])]
    tensors = with_grads(*arrays)
    with pytest.raises(RuntimeError, match="expected gradients with a finite norm of order"):
        clip_grad_norm_(tensors, 1.0, p, error_if_nonfinite=True)
    assert [list(map(str, one.grad.tolist())) for one in tensors] == [list(map(str, a.tolist())) for a in arrays]
    total = clip_grad_norm_(tensors, 1.0, p).item()
    assert math.isnan(total) if math.isnan(bad) else total == math.inf
    assert math.isnan(tensors[0].grad.numpy()[1])
    assert math.isnan(tensors[1].grad.item()) if math.isnan(bad) else tensors[1].grad.item() == 0
    assert clip_grad_norm_(with_grads(np.array([1.0, math.inf])), 1.0, 0, error_if_nonfinite=True).item() == 1


def test_what_has_no_gradient_or_no_elements_counts_nothing():
    without, empty = tensor([1.0], requires_grad=True), Tensor(np.zeros((0, 3)), requires_grad=True)
    empty.grad = Tensor(np.zeros((0, 3)))
    (some,) = with_grads(np.array([3.0, 4.0]))
    assert clip_grad_norm_([], 1.0).item() == clip_grad_norm_([without], 1.0, error_if_nonfinite=True).item() == 0
    for p in (2, math.inf, -math.inf, -1):
        some.grad = Tensor(np.array([4.0, 4.0]))
        assert clip_grad_norm_([without, empty, some], 1.0, p).item() == clip_grad_norm_(with_grads(np.array([4.0, 4.0])), 1, p).item()
    assert without.grad is None
    (zeros,) = with_grads(np.zeros(3))
    assert [clip_grad_norm_(zeros, 1.0, p).item() for p in (2, -2, math.inf, 0)] == [0] * 4
    some.grad = Tensor(np.array([6.0, 8.0]))
    assert utils.clip_grad_norm_(some, 1.0).item() == 10  # a tensor by itself


def test_gradients_in_any_layout_are_scaled_in_place():
    memory = np.ones((4, 6))
    p = Tensor(np.zeros((3, 2)), requires_grad=True)
    p.grad = mine = Tensor(memory[::2, ::2].T)
    assert clip_grad_norm_([p], 1.0).item() == pytest.approx(6**0.5)
    assert p.grad is mine and memory.sum() == pytest.approx(18 + 6**0.5, abs=1e-5)


def test_wrong_arguments():
    good, read_only = with_grads(np.ones(2), np.ones(2))
    read_only.grad.numpy().flags.writeable = False
    for parameters, arguments, error, message in (
        (3, (1.0,), TypeError, "parameters: expected tensors, got int"),
        ([good, 3], (1.0,), TypeError, "parameters: expected tensors, got int"),
        ([good], ("a",), TypeError, "max_norm: expected a number, got 'a'"),
        ([good], (None,), TypeError, "max_norm: expected a number, got None"),
        ([good], (-1,), ValueError, "max_norm: expected a number of at least 0, got -1"),
        ([good], (math.nan,), ValueError, "max_norm: expected a number of at least 0, got nan"),
        ([good], (1.0, "two"), TypeError, "norm_type: expected a number, got 'two'"),
        ([good], (1.0, math.nan), ValueError, "norm_type: expected a number, got nan"),
        ([good, read_only], (0.1,), ValueError, "parameters: expected gradients that can be written"),
    ):
        with pytest.raises(error, match=message):
            clip_grad_norm_(parameters, *arguments)
    assert good.grad.tolist() == [1, 1]
