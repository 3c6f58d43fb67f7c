"""`nbgrad.compile` on each device: on a GPU a step runs eagerly, twice, is captured at the third call and launched from then on as a CUDA
graph (in the simulator: as the list of its calls); what it does is what eager code does, to the bit.
"""

import numpy as np
import pytest
from devices import CUDA, SIMULATED

import nbgrad
from nbgrad import functional as F
from nbgrad import nn, optim
from nbgrad.autograd.tensor import Tensor

on_cuda = pytest.mark.cudasim if SIMULATED else pytest.mark.gpu
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def same(device, got, want):
    np.testing.assert_allclose(np.array(got), np.array(want), rtol=1e-5 if device.cpu else 0, atol=1e-6 if device.cpu else 0)


def leaf(device, *values):
    return device.tensor(list(values), requires_grad=True)


def recorded(step):
    return [one for many in (*step._recordings.values(), *step._captures.recordings.values()) for one in many]


def network(device, dtype=np.float32):
    rng = np.random.default_rng(0)
    layers = nn.Linear(4, 5, rng=rng), nn.Tanh(), nn.Dropout(0.3, rng=np.random.default_rng(3)), nn.Linear(5, 3, rng=rng)
    net = nn.Sequential(*layers).to(device.tensors)
    return net.to(dtype) if dtype != np.float32 else net


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_is_eager_codes(name, device):
    """Two sizes of batches in turn, a rate that changes, dropout that is switched off for a while."""
    seen = []
    for wrap in (lambda f: f, nbgrad.compile):
        net, rng, losses = network(device), np.random.default_rng(1), []
        optimizer = OPTIMIZERS[name](net.parameters())

        @wrap
        def step(x, labels, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            scores = net(x)
            loss = F.cross_entropy(scores, labels)
            loss.backward()
            optimizer.step()
            return loss.detach(), scores.detach()

        for k in range(12):
            n = 3 if k % 3 == 1 else 2
            x, labels = device.tensor(rng.normal(size=(n, 4)).astype(np.float32)), device.tensor(rng.integers(0, 3, n))
            optimizer.lr = 0.1 / (k + 1)
            net.train(k not in (7, 8))
            loss, scores = step(x, labels)
            losses += [loss.item(), *scores.cpu().numpy().ravel()]
        seen.append([losses, *(p.detach().cpu().numpy() for p in net.parameters()), *(p.grad.cpu().numpy() for p in net.parameters())])
        assert {state["step"] for state in optimizer.state} == {12}
    for got, want in zip(seen[1], seen[0], strict=True):
        same(device, got, want)
    if not device.cpu:
        assert sum(one.run.graph is not None for one in recorded(step)) == 2  # the two sizes, in training
        assert any("updates" in line for line in str(step.plan).splitlines())


def test_gradients_are_added_up_unless_they_are_taken_away(device):
    w = leaf(device, 1.0, 2.0)
    clear = nbgrad.compile(lambda: (setattr(w, "grad", None), (w * w).sum().backward())[0])
    add = nbgrad.compile(lambda: (w * w).sum().backward())
    zero = nbgrad.compile(lambda: (w.grad.zero_(), (3 * w).sum().backward())[1])
    for _ in range(5):
        clear()
        assert w.grad.tolist() == [2, 4]
    for k in range(2, 7):
        add()
        assert w.grad.tolist() == [2 * k, 4 * k]
    for _ in range(5):
        zero()
        assert w.grad.tolist() == [3, 3]
    w.grad = None
    for k in range(1, 6):
        add()
        assert w.grad.tolist() == [2 * k, 4 * k]
    w.grad = device.tensor([1.0, 1.0])
    add()
    assert w.grad.tolist() == [3, 5]
    assert not device.cpu or len(recorded(clear)) == len(recorded(zero)) == 1


def test_what_is_returned_stays(device):
    w = leaf(device, 1.0, 2.0)
    step = nbgrad.compile(lambda x: {"all": (x * w).detach(), "parts": (x[1:] + 0, x[0], (x * 2).sum()), "w": w, "x": x, "n": 3})
    x, y = device.tensor([1.0, 2.0]), device.tensor([5.0, 6.0])
    results = [(step(v), v) for v in (x, x, y, x, y, y)]
    for result, given in results:
        assert result["x"] is given and result["w"] is w and result["n"] == 3
        assert result["all"].tolist() == (given * w).tolist() and not result["all"].requires_grad
        assert [t.tolist() for t in result["parts"]] == [given[1:].tolist(), given[0].item(), 2 * given.sum().item()]


def test_changes_in_place_and_what_is_kept(device):
    w, seen, kept = device.tensor([1.0, 2.0]), [], {}

    def step(x):
        x[0] = 5
        w[1] += x[0]
        w[...] = w * 2
        kept["hidden"] = x * 2
        seen.append(w)
        return x.sum()

    compiled, a, b = nbgrad.compile(step), 1.0, 2.0
    for k in range(6):
        a, b = 2 * a, 2 * (b + 5)
        x = device.tensor([1.0, k])
        assert compiled(x).item() == 5 + k and x.tolist() == [5, k] and w.tolist() == [a, b]
        assert kept["hidden"].tolist() == [10, 2 * k]
    assert len(seen) == (1 if device.cpu else 3)


def test_a_graph_from_before_notices_the_change(device):
    w = leaf(device, 1.0, 2.0)
    optimizer = optim.SGD([w], 0.5)

    @nbgrad.compile
    def step():
        optimizer.zero_grad()
        (w * w).sum().backward()
        optimizer.step()

    for _ in range(4):
        step()
    for _ in range(2):
        y = (w * w).sum()
        step()
        with pytest.raises(RuntimeError, match="changed in place"):
            y.backward()


def test_present_values_and_other_parameters(device):
    w, v = leaf(device, 1.0), leaf(device, 2.0)

    @nbgrad.compile
    def step():
        w.grad = v.grad = None
        (w * v).sum().backward()

    for _ in range(4):
        step()
    with nbgrad.no_grad():
        v[...] = 3.0
    step()
    assert w.grad.tolist() == [3]
    v.requires_grad = False
    for _ in range(4):
        step()
        assert v.grad is None and w.grad.tolist() == [3]
    v.requires_grad = True
    for _ in range(4):
        step()
        assert v.grad.tolist() == [1]
    w._data = device.tensor([7.0])._data
    for _ in range(4):
        step()
        assert v.grad.tolist() == [7]


def test_an_optimiser_that_is_changed(device):
    w, other = leaf(device, 1.0), leaf(device, 1.0)
    a, b = (optim.SGD([p], 0.1, momentum=0.5) for p in (w, other))

    def run(p, optimizer):
        optimizer.zero_grad()
        (p * p).sum().backward()
        optimizer.step()

    step = nbgrad.compile(lambda: run(w, a))
    for k in range(16):
        for optimizer in (a, b):
            optimizer.lr = 0.1 / (k + 1)
            optimizer.momentum = 0.0 if 5 < k < 10 else 0.5
            if k == 12:
                optimizer.load_state_dict(optimizer.state_dict())
        step()
        run(other, b)
        assert w.tolist() == other.tolist() and a.state[0]["step"] == b.state[0]["step"]


def test_parameters_whose_steps_come_to_differ(device):
    """They read the same numbers of Adam's until one of them has gone another number of steps."""
    seen = []
    for wrap in (lambda f: f, nbgrad.compile):
        w, v = leaf(device, 1.0), leaf(device, 2.0)
        optimizer = optim.Adam([w, v], 0.1)

        @wrap
        def step(w=w, v=v, optimizer=optimizer):
            optimizer.zero_grad()
            ((w * v) ** 2).sum().backward()
            optimizer.step()

        for k in range(10):
            if k == 5:
                optimizer.state[1]["step"] = 1
            step()
        seen.append([w.item(), v.item()])
    same(device, seen[1], seen[0])


@pytest.mark.parametrize("kind", ["soft", "mse", "smooth", "rows", "maxout", "nll", "embedding", "write"])
def test_functions(kind, device):
    rng = np.random.default_rng(0)
    w = device.tensor(rng.normal(size=(4, 6)).astype(np.float32), requires_grad=True)
    q = device.tensor(rng.dirichlet(np.ones(6), 3).astype(np.float32))
    functions = {
        "soft": lambda x, labels: F.cross_entropy(x @ w, q),
        "mse": lambda x, labels: F.mse_loss(F.gelu(x @ w), q),
        "smooth": lambda x, labels: (F.softplus(x @ w, 2.0) * q).mean(),
        "rows": lambda x, labels: (F.softmax(x @ w, 0) * F.logsumexp(x @ w, 1, keepdim=True)).sum(),
        "maxout": lambda x, labels: F.maxout(x @ w, 2).sum(),
        "nll": lambda x, labels: F.nll_loss(F.log_softmax(x @ w, 1), labels),
        "write": lambda x, labels: written(x @ w, labels % 3, q),
        "embedding": lambda x, labels: (w[labels] ** 2).sum(),
    }
    results = []
    for wrap in (lambda f: f, nbgrad.compile):

        @wrap
        def step(x, labels):
            w.grad = None
            loss = functions[kind](x, labels)
            loss.backward()
            return loss

        rng = np.random.default_rng(1)
        results.append([])
        for _ in range(5):
            loss = step(device.tensor(rng.normal(size=(3, 4)).astype(np.float32)), device.tensor(rng.integers(0, 4, 3)))
            results[-1] += [loss.item(), *w.grad.cpu().numpy().ravel()]
    same(device, results[1], results[0])


def written(y, rows, q):
    y[rows] = 0.5
    y[:, 1] = 2
    return (y * q).sum()


REFUSED = {
    "if": (lambda x: x if x.sum() > 0 else -x, "a decision that depends on a tensor's value"),
    "item": (lambda x: x * x.sum().item(), r"item\(\)"),
    "float": (lambda x: x * float(x.sum()), "number of Python's"),
    "index": (lambda x: range(x.sum().to(np.int64)), "number of Python's"),
    "numpy": (lambda x: x * x.numpy(), "array of NumPy's"),
    "tolist": (lambda x: x.tolist(), "tolist"),
    "in": (lambda x: 3.0 in x, "a decision"),
    "mask": (lambda x: x[x > 0], "a mask"),
}
ON_A_GPU = {
    "repr": (lambda x: repr(x), "a way between"),
    "to the CPU": (lambda x: x.cpu() * 2, "a way between"),
    "from the CPU": (lambda x: x * nbgrad.tensor([1.0, 2.0], device="cuda"), "a way between"),
    "of the CPU": (lambda x: x * OUTSIDE, "a tensor in the CPU's memory"),
    "an index": (lambda x: x[[0, 1]], "an index in the CPU's memory"),
    "clip": (lambda x: nn.utils.clip_grad_norm_(x, 1.0), "clip_grad_norm_ on a GPU"),
}
OUTSIDE = nbgrad.tensor([1.0, 2.0])


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_names_its_line(name, device):
    refused(*REFUSED[name], device)


@on_cuda
@pytest.mark.parametrize("name", ON_A_GPU)
def test_what_cannot_be_recorded_on_a_gpu(name):
    refused(*ON_A_GPU[name], CUDA)


def refused(function, message, device):
    line, x = function.__code__.co_firstlineno, device.tensor([1.0, 2.0])
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"compile: .*{message}.*test_captured.py, line {line}"):
            nbgrad.compile(function)(x)
    assert device.tensor([1.0]).item() == 1 and (x + 1).tolist() == [2, 3]  # eager code is as it was


def test_labels_out_of_range(device):
    w = leaf(device, 1.0, 2.0, 3.0)

    @nbgrad.compile
    def step(labels):
        w.grad = None
        F.cross_entropy(w.reshape(1, 3), labels).backward()

    for _ in range(4):
        step(device.array(np.array([2])))
    expected = w.grad.tolist()
    for wrong in (3, -1):
        with pytest.raises(ValueError, match="at position 0|of 0 or more"):
            step(device.array(np.array([wrong])))
            w.grad.tolist()  # waits for a GPU
            step(device.array(np.array([2])))
        step(device.array(np.array([2])))
        assert w.grad.tolist() == expected


def test_arguments_of_other_kinds(device):
    """Constants, numbers of NumPy's, leaves; on a GPU what lies in the CPU's memory is copied there."""
    step = nbgrad.compile(lambda x, power=2, scale=1.0: (x**power).sum() * scale)
    for k in range(5):
        for power in (2, 3):
            assert step(device.tensor([1.0, k]), power).item() == 1 + k**power
            assert step(device.tensor([1.0, k]), power=power, scale=np.float32(k)).item() == k * (1 + k**power)
    first = nbgrad.compile(lambda scale, x, axis: (x * scale).sum(axis))
    for k in range(5):
        for kind in (np.float32, np.float64):
            assert first(kind(k), device.tensor([[1.0, 2.0], [3.0, k]]), np.int64(k % 2)).tolist() == [[4 * k, (2 + k) * k], [3 * k, (3 + k) * k]][k % 2]
    gradient = nbgrad.compile(lambda w, x: (w * w * x).sum().backward())
    a, b = leaf(device, 1.0, 2.0), leaf(device, 3.0)
    for k in range(1, 6):
        gradient(a, nbgrad.tensor([1.0, 1.0]))
        gradient(b, device.tensor([2.0]))
        assert a.grad.tolist() == [2 * k, 4 * k] and b.grad.tolist() == [12 * k]


def test_errors_of_ones_own_and_a_step_within_a_step(device):
    fail = [False]

    @nbgrad.compile
    def inner(x):
        if fail[0]:
            raise KeyError("mine")
        return x * 2

    outer = nbgrad.compile(lambda x: inner(x) + 1)
    for k in range(5):
        assert outer(device.tensor([float(k)])).tolist() == [2 * k + 1]
    fail[0] = True
    again = nbgrad.compile(lambda x: inner(x) + 1)
    for _ in range(4):
        with pytest.raises(KeyError, match="mine"):
            again(device.tensor([1.0]))
    fail[0] = False
    assert again(device.tensor([1.0])).tolist() == [3]


@on_cuda
def test_a_capture_leaves_memory_as_it_was():
    from nbgrad.cuda.captures import Run, running
    from nbgrad.cuda.device import Memory, room

    x, there = CUDA.tensor([1.0, 2.0]), room(0)
    F.relu(x * 3)  # compiled before it is captured
    run = Run(Memory(0))
    with there.within(run.memory), running(run), there.capture(run):
        x[...] = x * 3
        y = F.relu(x)
    assert x.tolist() == [1, 2] and not run.capturing
    for k in (3, 9):
        with there.here():
            there.launch(run.graph)
        assert x.tolist() == y.tolist() == [k, 2 * k]
    with pytest.raises(KeyError), there.within(run.memory), there.capture(run):
        raise KeyError
    assert not run.capturing and (x * 1).tolist() == [9, 18]


def test_tensors_are_as_ever_beside_a_recording(device):
    x = device.tensor([1.0, 2.0])
    assert isinstance(x, Tensor) and (x * 2).tolist() == [2, 4]
