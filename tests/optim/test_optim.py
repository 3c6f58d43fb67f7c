"""The optimisers' update rules, their state, bitwise resumption."""

import numpy as np
import pytest

from nbgrad import nn, optim
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.formulas import updates
from nbgrad.jit import scalar
from nbgrad.optim.hyperparameters import Number

RNG = np.random.default_rng(3)
START = RNG.normal(size=(4, 3))
GRADIENTS = RNG.normal(size=(6, 4, 3))


def sgd(p, gradients, lr, momentum=0.0, weight_decay=0.0, nesterov=False):
    """The rule from the literature, step by step on whole arrays."""
    b = 0
    for g in gradients:
        d = g + weight_decay * p
        b = momentum * b + d
        p = p - lr * (d + momentum * b if nesterov else b)
    return p


def adam(p, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        g = g + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw(p, gradients, lr, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
    m = v = 0
    for t, g in enumerate(gradients, 1):
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p * (1 - lr * weight_decay)
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.2, "nesterov": True}),
    (optim.Adam, adam, {"lr": 0.1}),
    (optim.Adam, adam, {"lr": 0.2, "betas": (0.5, 0.75), "eps": 0.1, "weight_decay": 0.3}),
    (optim.AdamW, adamw, {"lr": 0.1}),
    (optim.AdamW, adamw, {"lr": 0.2, "betas": (0.5, 0.75), "eps": 0.1, "weight_decay": 0.3}),
]


def run(optimizer, parameter, gradients):
    for g in gradients:
        parameter.grad = tensor(g.astype(parameter.dtype), device=parameter.device)
        optimizer.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "rule", "parameters"), CASES)
def test_update_rules(kind, rule, parameters, dtype, device):
    p = device.tensor(START.astype(dtype), requires_grad=True)
    memory = p.numpy() if device.cpu else None
    run(kind([p], **parameters), p, GRADIENTS)
    assert p.dtype == dtype and p.is_leaf and (not device.cpu or p.numpy() is memory)
    rtol = 1e-4 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(p.detach().cpu().numpy(), rule(START, GRADIENTS, **parameters), rtol=rtol)


@pytest.mark.parametrize(("kind", "rule", "parameters"), CASES)
def test_a_resumed_run_is_bitwise_the_unbroken_one(kind, rule, parameters, device, tmp_path):
    """The state is NumPy's wherever the parameters lie."""

    def start():
        p = device.tensor(START.astype(np.float32), requires_grad=True)
        return p, kind([p], **parameters)

    whole, optimizer = start()
    run(optimizer, whole, GRADIENTS)
    p, optimizer = start()
    run(optimizer, p, GRADIENTS[:3])
    assert all(isinstance(v, (np.ndarray, float, int)) for v in optimizer.state_dict().values())
    np.savez(tmp_path / "state.npz", **optimizer.state_dict())
    q = device.tensor(p.detach(), requires_grad=True)
    resumed = kind([q], lr=123.0, momentum=0.1) if parameters.get("momentum") else kind([q], lr=123.0)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(state)
    assert resumed.lr == parameters["lr"] and type(resumed.lr) is float
    run(resumed, q, GRADIENTS[3:])
    assert q.detach().cpu().numpy().tobytes() == whole.detach().cpu().numpy().tobytes()


def test_large_parameters_in_any_layout_of_the_gradient():
    """Above the size where a loop runs in parallel, and with a gradient in Fortran order."""
    start, g = RNG.normal(size=(300, 200)), RNG.normal(size=(200, 300)).T
    p = Tensor(start.copy(), requires_grad=True)
    run(optim.Adam([p], lr=0.1), p, [g, g])
    np.testing.assert_allclose(p.numpy(), adam(start, [g, g], 0.1), rtol=1e-12, atol=1e-14)


def unaligned(array):
    out = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    out[...] = array
    return out


LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "strided": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "reversed": lambda a: a[::-1].copy()[::-1],
    "permuted": lambda a: np.ascontiguousarray(a[None].transpose(2, 0, 1)).transpose(1, 2, 0)[0],
    "unaligned": unaligned,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("kind", "rule", "parameters"), CASES)
def test_parameters_in_any_layout(kind, rule, parameters, layout):
    """The same bits as in C order, in the parameter's own memory, whatever the gradient's order is."""
    plain = Tensor(START.copy(), requires_grad=True)
    run(kind([plain], **parameters), plain, GRADIENTS)
    memory = LAYOUTS[layout](START)
    around = memory.base.copy() if layout == "strided" else None
    p = Tensor(memory, requires_grad=True)
    optimizer = kind([p], **parameters)
    for i, g in enumerate(GRADIENTS):
        p.grad = Tensor(LAYOUTS[layout](g) if i % 2 else g)
        optimizer.step()
    assert np.shares_memory(p.numpy(), memory)
    np.testing.assert_array_equal(memory, plain.numpy(), strict=True)
    if around is not None:  # what lies between the parameter's elements is somebody else's
        np.testing.assert_array_equal(memory.base[:, 1::2], around[:, 1::2])


def test_a_step_on_a_transposed_parameter_is_noticed_by_a_graph():
    w = Tensor(np.ones((2, 3)).T, requires_grad=True)
    loss = (w * w).sum()
    w.grad = Tensor(np.ones((3, 2)))
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_a_small_decay_keeps_its_digits_in_float32():
    """p·(1 − lr·weight_decay) in float32 would decay by 1.19e-7 or by nothing, and not by 1e-7 a step."""
    p = Tensor(np.linspace(1, 2, 1000, dtype=np.float32), requires_grad=True)
    optimizer = optim.AdamW([p], lr=1e-4, weight_decay=0.3)
    start = p.numpy().astype(float)
    for _ in range(100):
        p.grad = Tensor(np.zeros(1000, np.float32))
        optimizer.step()
    assert np.mean(p.numpy() / start) == pytest.approx((1 - 3e-5) ** 100, rel=2e-7)


def test_zero_grad_keeps_the_arrays_where_told_so():
    p, q = Tensor(START.copy(), requires_grad=True), tensor(1.0, requires_grad=True)
    for owner in (optim.SGD([p, q]), nn_of(p, q)):
        p.grad = mine = Tensor(GRADIENTS[0].copy())
        q.grad = None
        owner.zero_grad(set_to_none=False)
        assert p.grad is mine and not mine.numpy().any() and q.grad is None
        (p.sum() + q).backward()
        assert p.grad is mine and mine.numpy().min() == 1
        q.requires_grad = False  # what is frozen for a while forgets, too
        owner.zero_grad(set_to_none=True)
        assert p.grad is None and q.grad is None
        q.requires_grad = True


def nn_of(*tensors):
    module = nn.Module()
    for i, one in enumerate(tensors):
        setattr(module, f"p{i}", one)
    return module


def test_parameters_without_a_gradient_stay_and_numbers_may_change():
    p, q, r = (tensor(value, requires_grad=True) for value in ([1.0, 2.0], [3.0], 4.0))
    optimizer = optim.SGD(iter([p, q, r]), lr=0.5)
    (p.sum() + r).backward()
    optimizer.step()
    assert (p.tolist(), q.tolist(), r.tolist()) == ([0.5, 1.5], [3], 3.5)
    optimizer.lr = 1.0
    optimizer.step()
    assert p.tolist() == [-0.5, 0.5]
    optimizer.zero_grad()
    assert p.grad is None and r.grad is None


def test_a_step_between_forward_and_backward_is_noticed():
    w, v = tensor([1.0, 2.0], requires_grad=True), tensor([1.0, 2.0], requires_grad=True)
    loss = (w * v).sum()
    w.grad = tensor([1.0, 1.0])
    optim.SGD([w], lr=0.1).step()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


@scalar
def amsgrad(p, g, mean, square, greatest, lr, beta):
    """Three arrays are remembered."""
    m, s = mean + beta * (g - mean), square + beta * (g * g - square)
    most = s if s > greatest else greatest
    return p - lr * m / (most**0.5 + type(p)(1)), m, s, most


class AMSGrad(optim.Optimizer):
    hyperparameters, arrays = ("lr", "beta"), ("mean", "square", "greatest")
    lr, beta = Number(), Number(1)

    def __init__(self, params, lr, beta):
        super().__init__(params)
        self.lr, self.beta = lr, beta

    def _rule(self, step):
        return "amsgrad", (self.lr, self.beta)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_optimiser_of_ones_own_is_a_formula_and_its_row(dtype, monkeypatch):
    monkeypatch.setitem(updates.UPDATES, "amsgrad", updates.Update(amsgrad, AMSGrad.arrays))
    p = Tensor(START.astype(dtype), requires_grad=True)
    run(AMSGrad([p], 0.1, 0.5), p, GRADIENTS)
    want, m, s, most = START, 0, 0, 0
    for g in GRADIENTS:
        m, s = m + 0.5 * (g - m), s + 0.5 * (g * g - s)
        most = np.maximum(s, most)
        want = want - 0.1 * m / (np.sqrt(most) + 1)
    assert p.dtype == dtype
    np.testing.assert_allclose(p.numpy(), want, rtol=1e-5 if dtype == np.float32 else 1e-13)
