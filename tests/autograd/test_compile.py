"""`nbgrad.compile`: what is part of a recording, what is recorded anew, what is refused, and what runs in a replay."""

import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import nbgrad
from nbgrad import functional as F
from nbgrad import nn, optim
from nbgrad.autograd.tensor import Tensor, tensor


def count(step):
    return sum(map(len, step._recordings.values()))


def leaf(*values):
    return tensor(list(values), requires_grad=True)


def test_present_values_are_used():
    w, table, box = leaf(1.0, 2.0), np.array([1.0, 10.0], np.float32), nn.Linear(2, 2)
    step = nbgrad.compile(lambda x: (box(w * x) * table).sum().detach())

    def check():
        x = Tensor(np.random.default_rng(0).normal(size=2).astype(np.float32))
        expected = step.function(x).item()
        np.testing.assert_allclose(step(x).item(), expected, rtol=1e-6)

    check()
    with nbgrad.no_grad():
        w[...] = [3.0, -1.0]
    check()
    table *= 2
    check()
    box.load_state_dict(nn.Linear(2, 2).state_dict())
    check()
    assert count(step) == 1


def test_other_shapes_dtypes_and_constants_are_recorded_anew():
    step = nbgrad.compile(lambda x, power=2: (x**power).sum())
    for shape in ((3,), (2, 2), (3,)):
        for dtype in (np.float32, np.float64):
            x = Tensor(np.full(shape, 2, dtype))
            value = step(x)
            assert value.item() == 4 * x.numel() and value.dtype == dtype
    assert count(step) == 4
    assert step(tensor([2.0]), 3).item() == 8 and step(tensor([3.0]), power=3).item() == 27 and step(tensor([3.0]), 3).item() == 27
    assert count(step) == 6


def test_arguments_in_any_layout_and_arrays():
    step = nbgrad.compile(lambda x, y: (x @ y[::-1] + x[0, 1] * np.sqrt(y)[0]).sum())
    base = np.arange(24.0).reshape(4, 6)
    for x, y in ((base[:2, :3], base[0, :3]), (base[::2, ::2], base[1, 3:]), (base.T[:3, :3], base[:3, 0]), (base[1:3, 1:4], base[2, :3])):
        expected = (x @ y[::-1] + x[0, 1] * np.sqrt(y)[0]).sum()
        for tx in (Tensor(x), x):
            assert abs(step(tx, y).item() - expected) < 1e-12 * expected
    one = Tensor(base[0, :3].reshape(1, 3))
    assert step(one[:, ::-1], one[0]).item() == step.function(one[:, ::-1], one[0]).item()


def test_a_leaf_as_argument_gets_its_gradient():
    step = nbgrad.compile(lambda w, x: (w * w * x).sum().backward())
    for _ in range(2):
        a, b = leaf(1.0, 2.0), leaf(3.0)
        step(a, tensor([1.0, 1.0]))
        step(b, tensor([2.0]))
        assert a.grad.tolist() == [2, 4] and b.grad.tolist() == [12]


def test_changes_in_place():
    w, seen = tensor([1.0, 2.0]), []

    def step(x):
        x[0] = 5
        w[1] += x[0]
        w[...] = w * 2
        seen.append(w)
        return x.sum()

    compiled = nbgrad.compile(step)
    for expected in ([2.0, 14.0], [4.0, 38.0], [8.0, 86.0]):
        x = tensor([1.0, 2.0])
        assert compiled(x).item() == 7 and x.tolist() == [5, 2] and w.tolist() == expected
    assert len(seen) == 1


def test_what_the_function_keeps_is_of_the_last_replay():
    kept = {}

    def step(x):
        kept["hidden"], kept["part"] = x * 2, x[1:]
        return (kept["hidden"] + 1).sum()

    step = nbgrad.compile(step)
    for k in range(3):
        assert step(tensor([1.0, k])).item() == 4 + 2 * k
        assert kept["hidden"].tolist() == [2, 2 * k] and kept["part"].tolist() == [k]


def test_gradients_are_clipped():
    w, v = leaf(3.0, 4.0), leaf(1.0)
    for wrap in (lambda f: f, nbgrad.compile):

        def step(x):
            w.grad = v.grad = None
            ((w * x).sum() + (v * x).sum()).backward()
            return nn.utils.clip_grad_norm_([w, v], 1.0)

        step = wrap(step)
        for k in (1.0, 5.0, 0.25):
            norm = step(tensor([k]))
            assert norm.dtype == np.float64 and abs(norm.item() - k * 3**0.5) < 1e-6
            assert abs(w.grad[0].item() - min(k, 3**-0.5)) < 1e-5 and abs(v.grad.item() - min(k, 3**-0.5)) < 1e-5


def test_training_and_evaluation_are_two_recordings():
    layer, x = nn.Dropout(0.5, rng=np.random.default_rng(0)), Tensor(np.ones(100, np.float32))
    step = nbgrad.compile(lambda x: layer(x))
    for _ in range(2):
        layer.train()
        assert set(step(x).tolist()) == {0, 2}
        layer.eval()
        assert set(step(x).tolist()) == {1}
    assert count(step) == 2


def test_parameters_frozen_or_replaced_are_recorded_anew():
    w, v = leaf(1.0), leaf(2.0)

    def step():
        w.grad = v.grad = None
        (w * v).sum().backward()

    step = nbgrad.compile(step)
    step(), step()
    v.requires_grad = False
    step()
    assert v.grad is None and w.grad.tolist() == [2]
    v.requires_grad = True
    step()
    assert v.grad.tolist() == [1]
    w._data = np.array([7.0], np.float32)
    step()
    assert v.grad.tolist() == [7]


REFUSED = {
    "if": (lambda x: x if x.sum() > 0 else -x, "a decision that depends on a tensor's value"),
    "item": (lambda x: x * x.sum().item(), r"item\(\)"),
    "float": (lambda x: x * float(x.sum()), "number of Python's"),
    "int": (lambda x: x[int(x.sum())], "number of Python's"),
    "index": (lambda x: range(x.sum().to(np.int64)), "number of Python's"),
    "numpy": (lambda x: x * x.numpy(), "array of NumPy's"),
    "tolist": (lambda x: x.tolist(), "tolist"),
    "repr": (lambda x: repr(x), "array of NumPy's"),
    "format": (lambda x: f"{x.sum():.3f}", "item"),
    "in": (lambda x: 3.0 in x, "a decision"),
    "mask": (lambda x: x[x > 0], "a mask"),
    "graph": (lambda x: x * GRAPH, "a graph from outside"),
    "smoothing": (lambda x: F.cross_entropy(x, np.array(1), label_smoothing=0.1), "label_smoothing"),
}
GRAPH = leaf(1.0) * 2


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_recorded_names_its_line(name):
    function, message = REFUSED[name]
    line = function.__code__.co_firstlineno
    for _ in range(2):
        with pytest.raises(RuntimeError, match=f"compile: .*{message}.*test_compile.py, line {line}"):
            nbgrad.compile(function)(tensor([1.0, 2.0]))
    assert tensor([1.0]).item() == 1 and (tensor([1.0]) + 1).tolist() == [2]  # eager code is as it was


def test_a_tensor_with_a_graph_is_not_returned():
    w = leaf(1.0)
    with pytest.raises(RuntimeError, match=r"call backward\(\) within"):
        nbgrad.compile(lambda: w * 2)()
    with nbgrad.no_grad():
        assert nbgrad.compile(lambda: w * 2)().tolist() == [2]
    with pytest.raises(ValueError, match="without a graph"):
        nbgrad.compile(lambda x: x.sum())(w * 2)
    with pytest.raises(TypeError, match="got a list"):
        nbgrad.compile(lambda x: x)([w])


def test_errors_inside_leave_what_eager_code_leaves():
    w = leaf(1.0, 2.0, 3.0)

    def step(labels):
        w.grad = None
        F.cross_entropy(w.reshape(1, 3), labels).backward()

    step = nbgrad.compile(step)
    with pytest.raises(ValueError, match="got 7 at position 0"):
        step(np.array([7]))
    step(np.array([2]))
    expected = w.grad.tolist()
    for wrong in (3, -1, 7):
        with pytest.raises(ValueError, match=f"got {wrong} at position 0"):
            step(np.array([wrong]))
        assert w.grad is None
        step(np.array([2]))
        assert w.grad.tolist() == expected
    assert count(step) == 1


def test_threads_wait_for_each_other():
    step = nbgrad.compile(lambda x: ((x @ x) * x + x).sum())
    inputs = [Tensor(np.random.default_rng(k).normal(size=(20 + k % 2, 20 + k % 2))) for k in range(8)]
    expected, wrong = [step.function(x).item() for x in inputs], []

    def run(k):
        for _ in range(50):
            if abs(step(inputs[k]).item() - expected[k]) > 1e-12 * abs(expected[k]):
                wrong.append(k)
            if (inputs[k] * 1).tolist() != inputs[k].tolist():  # eager code beside a recording
                wrong.append(k)

    threads = [threading.Thread(target=run, args=[k]) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == [] and count(step) == 2


def test_a_step_within_a_step_and_a_method():
    class Model:
        w = leaf(2.0)

        @nbgrad.compile
        def double(self, x):
            return (self.w * x).detach()

    model = Model()
    outer = nbgrad.compile(lambda x: model.double(x) + 1)
    assert model.double(tensor([1.0])).tolist() == [2] and model.double(tensor([4.0])).tolist() == [8]
    assert outer(tensor([1.0])).tolist() == [3] and outer(tensor([5.0])).tolist() == [11]


def test_functions_of_ones_own_and_formulas():
    class Square(nbgrad.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, grad_output):
            (x,) = ctx.saved_tensors
            return grad_output * 2 * x

    @nbgrad.differentiable
    def wave(a, x):
        return np.sin(a * x) * a

    w = leaf(1.0, 2.0)
    results = []
    for wrap in (lambda f: f, nbgrad.compile):

        def step(x):
            w.grad = None
            (Square.apply(w) * x + wave(w, x)).sum().backward()
            wave.sum(w, x).backward()
            return wave(w, x).detach()

        step = wrap(step)
        results.append([(step(tensor([k, 1.0])).tolist(), w.grad.tolist()) for k in (1.0, 2.0, 3.0)])
    np.testing.assert_allclose(np.array(results[1]), np.array(results[0]), rtol=1e-6)


def test_no_frame_of_python_for_an_operation():
    """The frames of a replay of few operations and of many are as many."""
    home, frames = str(Path(nbgrad.__file__).parent), {}
    for depth in (2, 12):
        net = nn.Sequential(*(layer for _ in range(depth) for layer in (nn.Linear(5, 5), nn.Tanh(), nn.Dropout(0.1))))
        optimizer = optim.SGD(net.parameters())

        def step(x, labels, net=net, optimizer=optimizer):
            optimizer.zero_grad()
            loss = F.cross_entropy(F.log_softmax(net(x)) * 2, labels)
            loss.backward()
            optimizer.step()
            return loss

        step, arguments = nbgrad.compile(step), (Tensor(np.ones((3, 5), np.float32)), np.array([0, 1, 2]))
        step(*arguments), step(*arguments)
        seen = frames[depth] = []
        sys.setprofile(lambda frame, event, _, seen=seen: event == "call" and frame.f_code.co_filename.startswith(home) and seen.append(frame.f_code.co_name))
        step(*arguments)
        sys.setprofile(None)
    assert frames[2] == frames[12] and len(frames[2]) < 20


def test_the_plan_says_what_runs():
    w = leaf(1.0, 2.0)
    step = nbgrad.compile(lambda x: F.relu(w * x + 1).sum().detach())
    assert step.plan is None
    step(tensor([1.0, 2.0]))
    assert str(step.plan).splitlines() == ["chain of multiply, add, relu -> float32 (2,)", "sum -> float32 (1,)"]
