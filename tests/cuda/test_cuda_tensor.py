"""Tensors on the device against the same on the CPU: operations with their gradients, moves, errors, other libraries' arrays."""

import operator

import devices
import numpy as np
import pytest

import nbgrad
from nbgrad import functional, nn
from nbgrad.formulas.table import OPS
from nbgrad.testing import check_autograd

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


def compared(function, *arrays):
    """The value and the gradients by all arrays, on both devices, of a weighted sum of the results."""
    results = []
    for device in ("cpu", "cuda"):
        inputs = [nbgrad.tensor(x, device=device, requires_grad=True) for x in arrays]
        y = function(*inputs)
        assert y.device.startswith(device)
        weights = nbgrad.tensor(np.linspace(1, 2, y.numel()).reshape(y.shape), device=device)
        (y * weights).sum().backward()
        assert all(x.grad is None or x.grad.device == x.device for x in inputs)
        results.append([y.detach(), *(x.grad for x in inputs)])
    for cpu, gpu in zip(*results, strict=True):
        assert (cpu is None) == (gpu is None)
        if cpu is not None:
            assert gpu.dtype == cpu.dtype and gpu.shape == cpu.shape
            scale = np.abs(cpu.numpy()).max(initial=1e-30)
            np.testing.assert_allclose(gpu.cpu().numpy(), cpu.numpy(), rtol=0, atol=32 * np.finfo(np.float32).eps * scale)


@pytest.mark.parametrize("name", UNARY)
def test_of_one_tensor(name):
    compared(UNARY[name], X)


@pytest.mark.parametrize("name", BINARY)
def test_of_two_tensors(name):
    compared(BINARY[name], X, Y)


@pytest.mark.parametrize("name", [*OPS, "softmax", "logsumexp"])
def test_gradient_against_finite_differences(name):
    function = getattr(functional, name)
    check_autograd(lambda x: function(x.cuda()).cpu(), np.array([[-1.25, 0.75]]), framework="nbgrad", rng=np.random.default_rng(0), strict=True)


def test_gradient_of_a_loss_against_finite_differences():
    labels = nbgrad.tensor(np.array([1]), device="cuda")
    x = np.array([[-1.25, 0.75]])
    check_autograd(lambda x: functional.cross_entropy(x.cuda(), labels).cpu(), x, framework="nbgrad", rng=np.random.default_rng(0), strict=True)


def test_dropout():
    x = nbgrad.tensor(np.ones((20, 50), np.float32), device="cuda", requires_grad=True)
    first, again, other = (functional.dropout(x, 0.25, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
    y = first.detach().cpu().numpy()
    np.testing.assert_array_equal(y, again.detach().cpu().numpy())
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and np.mean(y == 0) == pytest.approx(0.25, abs=0.05)
    assert np.mean(y == other.detach().cpu().numpy()) == pytest.approx(0.625, abs=0.05)
    first.sum().backward()
    np.testing.assert_array_equal(x.grad.cpu().numpy(), y)
    for p, kept in ((0.0, 1000), (1.0, 0)):
        assert functional.dropout(x, p).sum().item() == kept


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


def test_parts_that_overlap():
    x = nbgrad.tensor(np.arange(5.0), device="cuda")
    x[1:] = x[:-1]
    assert x.tolist() == [0, 0, 1, 2, 3]


def test_a_gradient_handed_to_backward_is_nobody_elses():
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


def test_in_place_changes_are_noticed():
    x = nbgrad.tensor(X, device="cuda", requires_grad=True)
    y = x * 1
    z = (y * y).sum()
    y[0] = 1.0
    with pytest.raises(RuntimeError, match="changed in place after its use"):
        z.backward()


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


def test_graphs_are_drawn():
    w = nbgrad.tensor(3.0, device="cuda", requires_grad=True)
    assert "value = 6" in nbgrad.to_dot(w * 2, names={"w": w})


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
