"""Tensors on the device against the same on the CPU: moves, errors, operations with their gradients."""

import numpy as np
import pytest

import nbgrad
from nbgrad import functional

X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)

OPERATIONS = {
    "add": lambda x: x + 2.5,
    "product": lambda x: x * x,
    "division": lambda x: 1.0 / (x + 5.0),
    "matmul": lambda x: x @ x.T,
    "sum": lambda x: x.sum(axis=1),
    "mean": lambda x: x.mean(),
    "max": lambda x: x.max(axis=0)[0],
    "reshape": lambda x: x.reshape(3, 2),
    "part": lambda x: x[:, 1],
    "row": lambda x: x[0],
    "cat": lambda x: nbgrad.cat([x, x]),
    "relu": functional.relu,
    "sigmoid": functional.sigmoid,
    "softmax": lambda x: functional.softmax(x, axis=1),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_as_on_the_cpu(name):
    results = []
    for device in ("cpu", "cuda"):
        x = nbgrad.tensor(X, device=device, requires_grad=True)
        y = OPERATIONS[name](x)
        (y * y).sum().backward()
        assert x.grad.device == y.device == x.device and x.device.startswith(device)
        results.append([t.detach().cpu().numpy() for t in (y, x.grad)])
    for on_cpu, on_gpu in zip(*results, strict=True):
        np.testing.assert_allclose(on_gpu, on_cpu, rtol=1e-5, atol=1e-6)
        assert on_gpu.dtype == on_cpu.dtype


def test_moves():
    x = nbgrad.tensor(X, requires_grad=True)
    y = x.cuda()
    assert y.device == "cuda:0" and y.cuda() is y and x.cpu() is x and x.device == "cpu"
    (y.cpu() * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), np.full_like(X, 2))


def test_errors():
    y = nbgrad.tensor(X, device="cuda")
    with pytest.raises(TypeError, match=r"use \.cpu\(\)"):
        y.numpy()
    for mixed in (lambda: y + nbgrad.tensor(X), lambda: nbgrad.tensor(X) * y, lambda: y @ nbgrad.tensor(X.T)):
        with pytest.raises(TypeError, match="operand 1: expected a tensor on"):
            mixed()
    with pytest.raises(ValueError, match="device: expected cpu or cuda, got 'tpu'"):
        y.to(device="tpu")
