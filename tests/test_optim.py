"""The optimisers' update rules, their state, bitwise resumption."""

import numpy as np
import pytest

from nbgrad import optim
from nbgrad.autograd.tensor import Tensor, tensor

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


CASES = [
    (optim.SGD, sgd, {"lr": 0.1}),
    (optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.3}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (optim.SGD, sgd, {"lr": 0.1, "momentum": 0.8, "weight_decay": 0.2, "nesterov": True}),
    (optim.Adam, adam, {"lr": 0.1}),
    (optim.Adam, adam, {"lr": 0.2, "betas": (0.5, 0.75), "eps": 0.1, "weight_decay": 0.3}),
]


def run(optimizer, parameter, gradients):
    for g in gradients:
        parameter.grad = Tensor(g.astype(parameter.dtype))
        optimizer.step()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("kind", "rule", "parameters"), CASES)
def test_update_rules(kind, rule, parameters, dtype):
    p = Tensor(START.astype(dtype), requires_grad=True)
    memory = p.numpy()
    run(kind([p], **parameters), p, GRADIENTS)
    assert p.dtype == dtype and p.numpy() is memory and p.is_leaf
    np.testing.assert_allclose(
        p.numpy(), rule(START, GRADIENTS, **parameters), rtol=1e-4 if dtype == np.float32 else 1e-12
    )


@pytest.mark.parametrize(("kind", "rule", "parameters"), CASES)
def test_a_resumed_run_is_bitwise_the_unbroken_one(kind, rule, parameters, tmp_path):
    def start():
        p = Tensor(START.astype(np.float32), requires_grad=True)
        return p, kind([p], **parameters)

    whole, optimizer = start()
    run(optimizer, whole, GRADIENTS)
    p, optimizer = start()
    run(optimizer, p, GRADIENTS[:3])
    np.savez(tmp_path / "state.npz", **optimizer.state_dict())
    q = Tensor(p.numpy().copy(), requires_grad=True)
    resumed = kind([q], lr=123.0, momentum=0.1) if parameters.get("momentum") else kind([q], lr=123.0)
    with np.load(tmp_path / "state.npz") as state:
        resumed.load_state_dict(state)
    assert resumed.lr == parameters["lr"] and type(resumed.lr) is float
    run(resumed, q, GRADIENTS[3:])
    assert q.numpy().tobytes() == whole.numpy().tobytes()


def test_large_parameters_in_any_layout_of_the_gradient():
    """Above the size where a loop runs in parallel, and with a gradient in Fortran order."""
    start, g = RNG.normal(size=(300, 200)), RNG.normal(size=(200, 300)).T
    p = Tensor(start.copy(), requires_grad=True)
    run(optim.Adam([p], lr=0.1), p, [g, g])
    np.testing.assert_allclose(p.numpy(), adam(start, [g, g], 0.1), rtol=1e-12, atol=1e-14)


def test_the_state_dict_is_a_copy():
    p = Tensor(START.copy(), requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    run(optimizer, p, GRADIENTS[:1])
    state = optimizer.state_dict()
    assert set(state) == {"lr", "momentum", "weight_decay", "nesterov", "0.step", "0.momentum_buffer"}
    run(optimizer, p, GRADIENTS[:1])
    np.testing.assert_array_equal(state["0.momentum_buffer"], GRADIENTS[0])


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


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam])
def test_wrong_arguments(kind):
    p = tensor([1.0], requires_grad=True)
    for params, error, message in (
        (p, TypeError, "params: expected an iterable of tensors, got a Tensor"),
        ([], ValueError, "params: expected at least one"),
        ([1.0], TypeError, "params: expected tensors, got float"),
        ([tensor([1.0])], ValueError, "params: expected leaf tensors that require a gradient"),
        ([p * 2], ValueError, "params: expected leaf tensors"),
        ([p, p], ValueError, "params: expected each tensor once"),
    ):
        with pytest.raises(error, match=message):
            kind(params)
    for name in ("lr", "weight_decay"):
        for value in (-1, float("nan"), float("inf")):
            with pytest.raises(ValueError, match=f"{name}: expected a number in"):
                kind([p], **{name: value})
        for value in ("a", "1", None, [0.1], np.array([0.1])):
            with pytest.raises(TypeError, match=f"{name}: expected a number, got"):
                kind([p], **{name: value})
    with pytest.raises(ValueError, match="beta2: expected a number in"):
        optim.Adam([p], betas=(0.9, 1.0))
    for betas in (3, None, (0.9,), (0.9, 0.99, 0.999), "ab"):
        with pytest.raises((TypeError, ValueError), match="betas: expected two numbers|beta1: expected a number, got str"):
            optim.Adam([p], betas=betas)
    with pytest.raises(TypeError, match="params: expected an iterable of tensors, got int"):
        kind(3)
    with pytest.raises(ValueError, match="nesterov"):
        optim.SGD([p], nesterov=True)
    read_only = Tensor(np.broadcast_to(np.float64(1), 3), requires_grad=True)
    read_only.grad = Tensor(np.ones(3))
    with pytest.raises(ValueError, match="params: expected writeable arrays"):
        kind([read_only]).step()


def test_wrong_states():
    p = Tensor(START.copy(), requires_grad=True)
    optimizer = optim.Adam([p], lr=0.5)
    run(optimizer, p, GRADIENTS[:1])
    good = optimizer.state_dict()
    bad = [
        ({name: value for name, value in good.items() if name != "eps"}, "eps is missing"),
        ({name: value for name, value in good.items() if name != "0.exp_avg"}, "for parameter 0"),
        (good | {"1.step": 3}, "1.step is not expected"),
        (good | {"0.exp_avg": np.zeros(3)}, r"0.exp_avg: expected shape \(4, 3\), got \(3,\)"),
    ]
    for state, message in bad:
        with pytest.raises(ValueError, match=f"^state_dict: .*{message}"):
            optimizer.load_state_dict(state | {"lr": 9.0})
    with pytest.raises(TypeError, match="state_dict: expected a dict, got int"):
        optimizer.load_state_dict(3)
    assert optimizer.lr == 0.5
    optimizer.load_state_dict(good)
