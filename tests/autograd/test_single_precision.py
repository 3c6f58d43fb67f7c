"""Operations on float32 tensors, on every device: values and gradients are those of float64 on the CPU, to float32's rounding."""

import operator

import numpy as np
import pytest

import nbgrad
from nbgrad import functional
from nbgrad.formulas.table import OPS

X = np.linspace(-2, 2, 6, dtype=np.float32).reshape(2, 3)
Y = np.array([[0.5], [3.0]], np.float32)
KEY = np.array([[2, 0], [2, 2]])


def written(key, value):
    def write(x, y):
        z = x * 1
        z[key] = value(y)
        return z

    return write


def parts_in_place(x, y):
    z = x * 1
    z[0] += y[0]
    z.T[1][1:] *= 2
    z[:, 0][(0, 0),] = y[:, 0] * 3
    z[1] = z[0]
    view = z[:1]
    with pytest.raises(RuntimeError, match="view"):
        z[0] = y[0]
    z[1] = 3
    return z * view


class Both(nbgrad.Function):
    """Of two results; one has no gradient of its own where it is not used."""

    @staticmethod
    def forward(ctx, x):
        return x * 2, x.sum()

    @staticmethod
    def backward(ctx, a, b):
        assert b.shape == ()
        return a * 2 + b * 3


BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": lambda x, y: (abs(x) + 1) ** y,
    "floordiv": lambda x, y: x // y * x,
    "mod": lambda x, y: x % (x * x + y + 1),
    "ufuncs": lambda x, y: np.maximum(np.exp(x), np.add(y, x)) - np.tanh(x),
    "maximum": nbgrad.maximum,
    "minimum": nbgrad.minimum,
    "where": lambda x, y: nbgrad.where(x > y, x, y),
    "matmul": lambda x, y: x.T @ y,
    "row by matrix": lambda x, y: x[:, 0] @ (x * y),
    "matrices": lambda x, y: nbgrad.stack([x, x * y]) @ x.T,
    "cat": lambda x, y: nbgrad.cat([x, y], axis=1),
    "stack": lambda x, y: nbgrad.stack([x, x * y], axis=1),
    "linear": lambda x, y: functional.linear(x.T, y.T, y[0]),
    "write a part": written((slice(None), 1), lambda y: y[:, 0]),
    "write by numbers": written((slice(None), KEY), lambda y: y[0, 0] * 2),
    "write several": written(([0, 0], [1, 1]), lambda y: y[:, 0]),
    "write a number": written((0, 0), lambda y: 3.0),
    "a number in place": lambda x, y: operator.iadd((x * y).sum(), y.sum()),
    "a loss in place": lambda x, y: operator.iadd(functional.mse_loss(x, x * y), y.sum()),
    "in place": lambda x, y: operator.imul(operator.iadd(x * 1, y), 2),
    "parts in place": parts_in_place,
}
UNARY = {
    "neg": operator.neg,
    "abs": abs,
    "exp": lambda x: x.exp(),
    "log": lambda x: (x + 3).log(),
    "sqrt": lambda x: (x + 3).sqrt(),
    "numbers": lambda x: 10 - (3 * x + 1) / 2 - np.float32(2) * x,
    "inverse": lambda x: 1 / (x + 5),
    "power": lambda x: x**2 + 2.0**x + x**0,
    "clip": lambda x: x.clip(-1, 1) * x.clip(min=0),
    "clone": lambda x: x.clone(),
    "cast": lambda x: x.to(np.float64),
    "logic": lambda x: x * ((x > 0) & ~(x >= 2) | (x == -2) ^ (x != x)),
    "sum": lambda x: x.sum(),
    "sum of rows": lambda x: x.sum(axis=1, keepdims=True) * x,
    "mean": lambda x: x.mean(axis=0),
    "max": lambda x: x.max(),
    "max of columns": lambda x: x.max(axis=0).values,
    "min of rows": lambda x: x.min(axis=1, keepdims=True).values,
    "argmax": lambda x: x[x.argmax(axis=0).detach()],
    "reshape": lambda x: x.reshape(3, -1),
    "flatten": lambda x: x.flatten(),
    "permute": lambda x: x.T * 2,
    "part": lambda x: x[:, 1:] * x[0, 0],
    "mask": lambda x: x[x > 0],
    "by numbers": lambda x: x[:, KEY],
    "by numbers, then turned": lambda x: x[[0, 0, 1, 1]].T * 1,
    "by numbers twice": lambda x: x[[1, 1, 0], [2, 2, 1]],
    "softmax": functional.softmax,
    "log_softmax": lambda x: functional.log_softmax(x, axis=0),
    "logsumexp": functional.logsumexp,
    "maxout": lambda x: functional.maxout(x, 3),
    "mse_loss": lambda x: functional.mse_loss(x, x.T.reshape(2, 3)),
    "l1_loss": lambda x: functional.l1_loss(x, x * x, reduction="none"),
    "huber_loss": lambda x: functional.huber_loss(x, x * x, reduction="sum"),
    "binary_cross_entropy": lambda x: functional.binary_cross_entropy_with_logits(x, functional.sigmoid(x)),
    "cross_entropy": lambda x: functional.cross_entropy(x, functional.softmax(x * x)),
    "one of two results": lambda x: Both.apply(x)[0],
    **{name: getattr(functional, name) for name in OPS},
}


def results(function, device, dtype, *arrays):
    """The value and the gradients by all arrays of a weighted sum of the results."""
    inputs = [nbgrad.tensor(x, dtype, device=device, requires_grad=True) for x in arrays]
    y = function(*inputs)
    assert y.device.startswith(device)
    weights = nbgrad.tensor(np.linspace(1, 2, y.numel(), dtype=dtype).reshape(y.shape), device=device)
    (y * weights).sum().backward()
    assert all(x.grad is None or x.grad.device == x.device for x in inputs)
    return [y.detach(), *(x.grad for x in inputs)]


def compared(function, device, *arrays):
    wide, narrow = results(function, "cpu", np.float64, *arrays), results(function, device.tensors, np.float32, *arrays)
    for want, got in zip(wide, narrow, strict=True):
        assert (want is None) == (got is None)
        if want is not None:
            assert got.shape == want.shape and (got.dtype == np.float32 or function is UNARY["cast"])
            scale = np.abs(want.numpy()).max(initial=1e-30)
            np.testing.assert_allclose(got.cpu().numpy(), want.numpy(), rtol=0, atol=32 * np.finfo(np.float32).eps * scale)


@pytest.mark.parametrize("name", UNARY)
def test_of_one_tensor(name, device):
    compared(UNARY[name], device, X)


@pytest.mark.parametrize("name", BINARY)
def test_of_two_tensors(name, device):
    compared(BINARY[name], device, X, Y)


def test_parts_that_overlap(device):
    x = device.tensor(np.arange(5.0))
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]


def test_in_place_changes_are_noticed(device):
    x = device.tensor(X, requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    y[0] = 1.0
    with pytest.raises(RuntimeError, match="changed in place after its use"):
        z.backward()


def test_graphs_are_drawn(device):
    w = device.tensor(3.0, requires_grad=True)
    assert "value = 6" in nbgrad.to_dot(w * 2, names={"w": w})
