"""What an optimiser can be told and what it remembers: hyperparameters, state, and what of both is refused."""

import numpy as np
import pytest
from test_optim import GRADIENTS, START, adam, run

from nbgrad import optim
from nbgrad.autograd.tensor import Tensor, tensor


def test_every_hyperparameter_may_be_changed_at_any_time():
    """What the next step uses is what the attribute is by then; the rules with numbers that change, step by step."""
    p = Tensor(START.copy(), requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1)
    values = [(0.1, 0.0, 0.0, False), (0.2, 0.9, 0.0, False), (0.1, 0.5, 0.1, True), (0.3, 0.0, 0.1, False), (0.3, 0.7, 0.0, True)]
    q, b = START.copy(), 0
    for (lr, momentum, weight_decay, nesterov), g in zip(values, GRADIENTS, strict=False):
        optimizer.momentum, optimizer.nesterov = momentum, nesterov
        optimizer.lr, optimizer.weight_decay = lr, weight_decay
        run(optimizer, p, [g])
        d = g + weight_decay * q
        b = momentum * b + d if momentum else b  # as in PyTorch: without momentum the buffer stays as it was
        q = q - lr * ((d + momentum * b if nesterov else b) if momentum else d)
        np.testing.assert_allclose(p.numpy(), q, rtol=1e-12)

    p = Tensor(START.copy(), requires_grad=True)
    optimizer = optim.Adam([p])
    for name, value in {"lr": 0.2, "betas": (0.5, 0.75), "eps": 0.1, "weight_decay": 0.3}.items():
        setattr(optimizer, name, value)
    assert (optimizer.beta1, optimizer.beta2, optimizer.betas) == (0.5, 0.75, (0.5, 0.75))
    run(optimizer, p, GRADIENTS)
    np.testing.assert_allclose(p.numpy(), adam(START, GRADIENTS, 0.2, (0.5, 0.75), 0.1, 0.3), rtol=1e-12)


def test_momentum_after_a_state_was_loaded():
    def started(**parameters):
        p = Tensor(START.copy(), requires_grad=True)
        return p, optim.SGD([p], lr=0.1, **parameters)

    for before, after, loaded in ((0.0, 0.9, 0.0), (0.9, 0.5, 0.0), (0.9, 0.0, 0.5), (0.0, 0.9, 0.9)):
        p, optimizer = started(momentum=before)
        run(optimizer, p, GRADIENTS[:2])
        optimizer.momentum = after
        q, other = started(momentum=loaded)
        q.numpy()[...] = p.numpy()
        other.load_state_dict(optimizer.state_dict())
        assert other.momentum == after
        run(optimizer, p, GRADIENTS[2:])
        run(other, q, GRADIENTS[2:])
        np.testing.assert_array_equal(p.numpy(), q.numpy())
        other.momentum = 0.25  # also after a state was loaded
        run(other, q, GRADIENTS[:1])
        optimizer.momentum = 0.25
        run(optimizer, p, GRADIENTS[:1])
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_wrong_hyperparameters_are_refused_when_they_are_set():
    p = tensor([1.0], requires_grad=True)
    for optimizer, names in ((optim.SGD([p]), ("lr", "momentum", "weight_decay")), (optim.AdamW([p]), ("lr", "beta1", "beta2", "eps", "weight_decay"))):
        for name in names:
            before = getattr(optimizer, name)
            for value in (-1, float("nan"), float("inf"), np.float32(-0.5), 10**400):
                with pytest.raises(ValueError, match=f"^{name}: expected a number in"):
                    setattr(optimizer, name, value)
            for value in ("a", None, [0.1], [[1], [1, 2]], np.array([0.1]), np.complex64(1), 1j, np.array("a")):
                with pytest.raises(TypeError, match=f"^{name}: expected a number, got"):
                    setattr(optimizer, name, value)
            assert getattr(optimizer, name) == before
            setattr(optimizer, name, np.array(0.5))
            assert getattr(optimizer, name) == 0.5 and type(getattr(optimizer, name)) is float
    with pytest.raises(ValueError, match="beta2: expected"):
        optimizer.betas = 0.1, 1.0
    with pytest.raises(TypeError, match="betas: expected two numbers"):
        optimizer.betas = 0.9
    assert optimizer.betas == (0.5, 0.5)
    sgd = optim.SGD([p], momentum=0.9)
    for value in ("False", 1, None, [True]):
        with pytest.raises(TypeError, match="nesterov: expected True or False"):
            sgd.nesterov = value
    sgd.nesterov = np.bool_(True)
    p.grad = tensor([1.0])
    sgd.momentum = 0.0  # in either order: what does not go together is told by the step
    with pytest.raises(ValueError, match="nesterov: expected False where momentum is 0"):
        sgd.step()
    assert p.tolist() == [1.0] and sgd.state == [{}]
    with pytest.raises(ValueError, match="^state_dict: nesterov: expected False"):
        sgd.load_state_dict(sgd.state_dict())


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
def test_a_step_is_all_or_nothing(kind):
    def foreign(what):
        p, q, r = (Tensor(START.astype(np.float32), requires_grad=True) for _ in range(3))
        optimizer = kind([p, q, r])
        if kind is optim.SGD:
            optimizer.momentum = 0.9
        for one in (p, q, r):
            one.grad = Tensor(GRADIENTS[0].astype(np.float32))
        optimizer.step()
        if what == "read-only":
            r.numpy().flags.writeable = False
        elif what == "the gradient's shape":
            r.grad._data = r.grad._data[0]
        elif what == "the gradient's dtype":
            r.grad._data = r.grad._data.astype(float)
        elif what == "the state's shape":
            optimizer.state[2][kind.arrays[-1]] = np.zeros(3, np.float32)
        elif what == "the state's dtype":
            optimizer.state[2][kind.arrays[-1]] = np.zeros(START.shape)
        elif what == "a state too few":
            optimizer.state.pop()
        elif what == "a parameter too many":
            optimizer.params.append(p)
        return optimizer, [one.numpy() for one in (p, q, r)]

    for what in (
        "read-only",
        "the gradient's shape",
        "the gradient's dtype",
        "the state's shape",
        "the state's dtype",
        "a state too few",
        "a parameter too many",
    ):
        optimizer, arrays = foreign(what)
        before, states = [a.copy() for a in arrays], [{k: np.copy(v) for k, v in s.items()} for s in optimizer.state]
        with pytest.raises(ValueError, match="expected"):
            optimizer.step()
        for a, b in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(a, b)
        for s, t in zip(optimizer.state, states, strict=True):
            assert s.keys() == t.keys() and all(np.array_equal(s[name], t[name]) for name in s), what


def test_a_first_step_that_fails_leaves_no_state():
    p, q = Tensor(START.copy(), requires_grad=True), Tensor(np.broadcast_to(1.0, 3), requires_grad=True)
    p.grad, q.grad = Tensor(GRADIENTS[0]), Tensor(np.ones(3))
    optimizer = optim.Adam([p, q])
    with pytest.raises(ValueError, match="params: expected writeable arrays to update in place, got a read-only one at 1"):
        optimizer.step()
    assert optimizer.state == [{}, {}]
    np.testing.assert_array_equal(p.numpy(), START)


def test_the_state_dict_is_a_copy():
    p = Tensor(START.copy(), requires_grad=True)
    optimizer = optim.SGD([p], lr=0.1, momentum=0.5)
    run(optimizer, p, GRADIENTS[:1])
    state = optimizer.state_dict()
    assert set(state) == {"lr", "momentum", "weight_decay", "nesterov", "0.step", "0.momentum_buffer"}
    run(optimizer, p, GRADIENTS[:1])
    np.testing.assert_array_equal(state["0.momentum_buffer"], GRADIENTS[0])


@pytest.mark.parametrize("kind", [optim.SGD, optim.Adam, optim.AdamW])
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
        (good | {"0.exp_avg": np.zeros((4, 3), complex)}, "0.exp_avg: expected float64, got complex128"),
        (good | {"0.exp_avg": np.full((4, 3), "a")}, "0.exp_avg: expected float64, got <U1"),
        (good | {"0.step": 1.5}, "0.step: expected a number of steps, got 1.5"),
        (good | {"0.step": -1}, "0.step: expected a number of steps, got -1"),
        (good | {"0.step": np.nan}, "0.step: expected a number of steps, got nan"),
        (good | {"beta1": 1.0}, r"beta1: expected a number in \[0, 1\), got 1.0"),
        (good | {"eps": "tiny"}, "eps: expected a number, got str"),
        (good | {"eps": np.array("1")}, "eps: expected a number, got ndarray"),
        (good | {"0.exp_avg": np.ma.masked_array(np.ones(2), [0, 1])}, "0.exp_avg: expected an array without a mask"),
        (good | {3: 4}, "3 is not expected"),
    ]
    for state, message in bad:
        with pytest.raises((ValueError, TypeError), match=f"^state_dict: .*{message}"):
            optimizer.load_state_dict({"lr": 9.0} | state | {"lr": 9.0})
    with pytest.raises(TypeError, match="state_dict: expected a dict, got int"):
        optimizer.load_state_dict(3)
    assert optimizer.lr == 0.5
    optimizer.load_state_dict(good)
