"""Tensors on CUDA, where they are CUDA's own: moves, numbers of the CPU beside them, errors, arrays of the device. (What operations compute
and their gradients: `autograd`, ``test_functional.py``.)
"""

import operator

import devices
import numpy as np
import pytest

import nbgrad
from nbgrad import functional, nn

X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)


def test_random_numbers_are_the_published_ones():
    from nbgrad.cuda.random import philox

    full = 0xFFFFFFFF
    for low, high, key, drawn in ((0, 0, 0, 0xFF1DAE59), (full, full, full, 0x2C3F628B), (0x243F6A88, 0x85A308D3, 0x13198A2E, 0xDD7CE038)):
        with np.errstate(over="ignore"):
            assert philox(*map(np.uint64, (low, high, key))) == drawn


def test_moves():
    x = nbgrad.tensor(X, requires_grad=True)
    y = x.cuda()
    assert y.device == "cuda:0" and y.cuda() is y.to("cuda:0") is y and x.cpu() is x and x.device == "cpu"
    (y.cpu() * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full_like(X, 2))
    assert repr(y.detach()[0, :1]) == "tensor([-2.], device='cuda:0')"
    assert y.tolist() == X.tolist() and float(y[0, 0]) == -2 and bool(y[0, 0] < 0)
    assert [float(row[0]) for row in y] == [-2.0, X[1, 0]]


def test_a_number_on_the_cpu_meets_a_tensor_on_the_device():
    x, y = nbgrad.tensor(X, device="cuda"), nbgrad.tensor(2.0, requires_grad=True)
    (x * x * y).sum().backward()
    assert y.grad.device == "cpu" and y.grad.item() == pytest.approx(float(np.sum(X * X)), rel=1e-6)
    value, gradient = nbgrad.value_and_grad(lambda y: (x * y).sum())(y.detach())
    assert gradient.device == "cpu" and value.device == "cuda:0"


def test_a_computed_number_on_the_cpu_too():
    x, w = nbgrad.tensor(X, device="cuda"), nbgrad.tensor([1.0, 2.0], requires_grad=True)
    s = (w * w).sum()
    (x * s).sum().backward()
    np.testing.assert_allclose(w.grad.numpy(), 2 * np.array([1.0, 2.0]) * X.sum(), atol=1e-5)
    parameter = nbgrad.tensor(3.0, requires_grad=True)
    parameter.detach().numpy()  # an array of no dimension from now on
    (parameter * x[1, 1]).backward()
    assert parameter.grad.device == "cpu" and parameter.grad.item() == X[1, 1]


def test_indices_out_of_range(monkeypatch):
    """CuPy takes arrays of them modulo the length: nbgrad must not leave the check to the array."""
    x = nbgrad.tensor(X, device="cuda")
    with monkeypatch.context() as patch:
        if devices.SIMULATED:
            from nbgrad.cuda.device.simulator import Simulated

            patch.setattr(Simulated, "__getitem__", lambda self, key: self)
            patch.setattr(Simulated, "__setitem__", lambda self, key, value: None)
        for key in ([0, 7], (slice(None), np.array([0, -4]))):
            with pytest.raises(IndexError):
                x[key]
            with pytest.raises(IndexError):
                x[key] = 0.0
    with pytest.raises(IndexError):
        x[7]
    assert x[..., [0, 2]].shape == (2, 2) and x[None, [True, False]].shape == (1, 1, 3)


def test_a_gradient_handed_to_backward_is_nobody_elses():
    """(The CPU's is read-only.)"""

    class Careless(nbgrad.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            g *= 2
            return g

    x = nbgrad.tensor(X, device="cuda", requires_grad=True)
    y = x * 1
    (Careless.apply(y) + y).sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), np.full_like(X, 3))


def test_other_arrays_of_the_device():
    there = devices.put(X)
    x = nbgrad.Tensor(there)
    assert x.device == "cuda:0"
    y = x + there
    assert isinstance(y, nbgrad.Tensor) and y.device == "cuda:0"
    np.testing.assert_array_equal(y.cpu().numpy(), 2 * X)
    gradient = nbgrad.grad(lambda x: (x * x).sum())(there)
    np.testing.assert_array_equal(gradient.cpu().numpy(), 2 * X)
    x[0] = there[1]
    np.testing.assert_array_equal(devices.get(there)[0], X[1])  # the memory is the caller's
    copy = nbgrad.tensor(there)
    copy[0] = 0.0
    assert x[0, 0] != 0 and nbgrad.tensor(copy)[0, 0] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.bool_])
def test_an_array_of_the_device_is_held(dtype):
    """Over its memory by `Tensor`, in a copy by `tensor`, of whatever shape; a leaf where that is asked for."""
    for shape in ((2, 3), (0, 2), ()):
        there = devices.put(X.astype(dtype)[0, 0] if shape == () else np.resize(X.astype(dtype), shape))
        before, held, copied = np.array(devices.get(there)), nbgrad.Tensor(there), nbgrad.tensor(there)
        for one in (held, copied):
            assert (one.device, one.shape, one.dtype) == ("cuda:0", shape, dtype)
            np.testing.assert_array_equal(one.cpu().numpy(), before)
        held[...] = 1
        assert (devices.get(there) == 1).all()
        np.testing.assert_array_equal(copied.cpu().numpy(), before)
        assert nbgrad.tensor(there, device="cpu").device == "cpu" and nbgrad.tensor(there, dtype=np.float32).dtype == np.float32
        if np.dtype(dtype).kind == "f":
            leaf = nbgrad.Tensor(there, requires_grad=True)
            (leaf * leaf).sum().backward()
            assert leaf.grad.device == "cuda:0" and (leaf.grad.cpu().numpy() == 2).all()
        else:
            with pytest.raises(TypeError, match="requires_grad: expected a float32 or float64 tensor"):
                nbgrad.Tensor(there, requires_grad=True)
    with pytest.raises(TypeError, match="data: expected dtype float32, float64, an integer or bool, got float16"):
        nbgrad.Tensor(devices.put(X.astype(np.float16)))


def test_errors():
    y = nbgrad.tensor(X, device="cuda")
    with pytest.raises(TypeError, match=r"use \.cpu\(\)"):
        y.numpy()
    with pytest.raises(TypeError, match=r"use \.cpu\(\)"):
        np.asarray(y)
    mixed = (
        lambda: y + nbgrad.tensor(X), lambda: nbgrad.tensor(X) * y, lambda: y @ nbgrad.tensor(X.T), lambda: y + X,
        lambda: X + y, lambda: y > nbgrad.tensor(X), lambda: nbgrad.cat([y, nbgrad.tensor(X)]), lambda: operator.setitem(y, 0, X[0]),
    )  # fmt: skip
    for mix in mixed:
        with pytest.raises(TypeError, match="operand 1: expected a tensor on"):
            mix()
    with pytest.raises(TypeError, match="condition: expected one on cuda:0, got one on cpu"):
        nbgrad.where(X > 0, y, 0.0)
    assert nbgrad.where(True, y, 0.0).tolist() == X.tolist()
    with pytest.raises(TypeError, match="input: expected float32 or float64, got int64"):
        functional.dropout(nbgrad.tensor([1, 2], device="cuda"))
    with pytest.raises(TypeError, match="gradient: expected one on cuda:0 as the tensor is, got one on cpu"):
        (y.detach().requires_grad_() * 2).backward(X)
    with pytest.raises(TypeError, match="target: expected"):
        functional.cross_entropy(y, np.array([0, 1]))
    with pytest.raises(ValueError, match="device: expected cpu or cuda, got 'tpu'"):
        y.to(device="tpu")


def test_modules_move_and_keep_their_state():
    net = nn.Linear(3, 2)
    before = {name: value.numpy() for name, value in net.state_dict().items()}
    functional.mse_loss(net(nbgrad.tensor(X)), nbgrad.tensor(X[:, :2])).backward()
    gradient = net.weight.grad.numpy()
    assert net.cuda() is net and net.weight.device == "cuda:0" and net.weight.requires_grad
    np.testing.assert_array_equal(net.weight.grad.cpu().numpy(), gradient)
    other = nn.Linear(3, 2).to("cuda").load_state_dict(before)
    for name, value in other.cpu().state_dict().items():
        np.testing.assert_array_equal(value.numpy(), before[name])
    net.load_state_dict({name: 2 * value for name, value in before.items()})
    assert net.weight.device == "cuda:0" and net.state_dict()["bias"].device == "cuda:0"
    np.testing.assert_array_equal(net.cpu().weight.numpy(), 2 * before["weight"])


@pytest.mark.parametrize("part", [1, 2, 4, 100])
def test_picks_are_added_up_in_parts(part, monkeypatch):
    from nbgrad.cuda import indexing as cuda_indexing

    monkeypatch.setattr(cuda_indexing, "PART", part)
    picks = np.array([2, 0, 2, 2, 1, 2, 2, 0, 2, 2, 2, 2, 2])
    x = nbgrad.tensor(X[0], device="cuda", requires_grad=True)
    (x[picks] * nbgrad.tensor(np.arange(13, dtype=np.float32), device="cuda")).sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), np.bincount(picks, np.arange(13)))
