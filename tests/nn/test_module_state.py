"""What belongs to a Module's state: what its constructor sets, Modules, and not what `forward` keeps."""

import abc
import dataclasses
import pickle
import threading

import numpy as np
import pytest

import nbgrad
from nbgrad import nn
from nbgrad.autograd.tensor import Tensor, tensor

X = np.random.default_rng(7).normal(size=(5, 6)).astype(np.float32)


def weight():
    return tensor([1.0], requires_grad=True)


@pytest.mark.parametrize(
    "hidden",
    [
        lambda: [nn.ReLU()], lambda: (1, nn.ReLU()), lambda: {"a": nn.ReLU()}, lambda: [[nn.ReLU()]], lambda: {nn.ReLU()},
        lambda: [weight()], lambda: (weight(), 2.0), lambda: {"w": weight()}, lambda: {"w": [{"deep": weight()}]},
    ],
)  # fmt: skip
def test_plain_containers_of_modules_and_parameters_are_refused(hidden):
    class Assigned(nn.Module):
        def __init__(self):
            self.parts = hidden()

    class Filled(nn.Module):
        def __init__(self):
            self.parts = {}
            self.parts["later"] = hidden()

    message = "parts: expected .* in an nn.ModuleList or nn.ModuleDict.*, got a (list|tuple|dict|set) that holds a (ReLU|parameter)"
    for kind in (Assigned, Filled):
        with pytest.raises(TypeError, match=message):
            kind()
    net = nn.Sequential(nn.Module())
    with pytest.raises(TypeError, match=message):
        net[0].parts = hidden()
    net[0].parts = []
    assert list(net.parameters()) == []
    net[0].parts.append(hidden())
    for use in (lambda: list(net.parameters()), net.state_dict, lambda: net.load_state_dict({}), net.train, net.eval, lambda: net.to("cpu")):
        with pytest.raises(TypeError, match=message):
            use()
    net[0]._parts = net[0].parts  # a name with _ in front is the user's own
    del net[0].parts
    assert net.state_dict() == {} and net.eval() is net


def test_plain_containers_of_what_is_found_otherwise_or_is_no_parameter_are_fine():
    class Net(nn.Module):
        def __init__(self):
            self.a, self.b, self.w = nn.Linear(6, 6), nn.Linear(6, 6), weight()
            self.order = [self.a, self.b, self.a]
            self.all = {"w": self.w, "of a": [self.a.weight], "buffer": tensor([1.0]), "array": np.ones(2)}
            self.loop = [self.all]
            self.loop.append(self.loop)
            self.sizes = [6] * 1000

        def forward(self, x):
            self.seen, self.history = [x], []
            for layer in self.order:
                x = layer(x)
                self.history.append(x)
            self.history.append(nbgrad.cat(self.history))
            return x

    net = Net()
    x = tensor(X, requires_grad=True)
    net(x).sum().backward()
    assert len(list(net.parameters())) == 5 and len(net.state_dict()) == 5


class Recurrent(nn.Module):
    """Keeps things on itself in all the ways there are."""

    def __init__(self):
        self.weight = tensor(0.5, requires_grad=True)
        self.running = tensor(0.0)
        self.hidden = None
        self._own = weight()
        self.child = nn.Module()

    def forward(self, x):
        self.hidden = x if self.hidden is None else self.hidden * self.weight + x
        self.input, self.constant, self.fresh = x, tensor([1.0, 2.0]), tensor(3.0, requires_grad=True)
        self.child.output = self.hidden * self.weight
        self.child.detached = self.hidden.detach()
        self.running = self.running * 0.9 + self.hidden.detach().sum() * 0.1
        self.remember(x)
        return self.child.output

    def remember(self, x):
        self.remembered = {"x": x, "copy": x.detach()}
        self.last = x.detach()


@pytest.mark.parametrize("requires_grad", [True, False])
@pytest.mark.parametrize("mode", [nbgrad.no_grad, nbgrad.enable_grad])
@pytest.mark.parametrize("call", ["net(x)", "net.forward(x)", "nn.Sequential(net)(x)", "net.remember(x)"])
def test_what_forward_keeps_is_no_state(call, mode, requires_grad):
    net = Recurrent()
    x = tensor([1.0, 2.0], requires_grad=requires_grad and call != "net.remember(x)")
    for _ in range(3):
        with mode():
            eval(call)
        assert [name for name, _ in net.named_parameters()] == ["weight"]
        assert list(net.state_dict()) == ["weight", "running"]
    other = Recurrent().load_state_dict(net.state_dict())
    assert other.running.item() == net.running.item() and other.hidden is None
    same = pickle.loads(pickle.dumps(other))
    assert list(same.state_dict()) == ["weight", "running"]
    with nbgrad.no_grad():
        assert same(x) is not None and list(same.state_dict()) == ["weight", "running"]


def test_a_part_of_the_state_that_forward_sets_stays_one():
    """Also where it comes out of a graph for the time being."""

    class Mean(nn.Module):
        def __init__(self):
            self.mean, self.scale = tensor(1.0), tensor(2.0, requires_grad=True)

        def forward(self, x):
            self.mean = self.mean * 0.5 + (x * self.scale).sum()
            return self.mean

    net = Mean()
    net(tensor([1.0, 2.0])).backward()
    assert {name: value.item() for name, value in net.state_dict().items()} == {"mean": 6.5, "scale": 2.0}
    assert not any(value.requires_grad for value in net.state_dict().values())
    assert [name for name, _ in net.named_parameters()] == ["scale"]
    assert net.load_state_dict({"mean": 9.0, "scale": 3.0}).mean.item() == 9


def test_state_that_is_set_later():
    class Lazy(nn.Module):
        def __init__(self):
            self.layer = None

        def forward(self, x):
            if self.layer is None:
                self.layer = nn.Linear(x.shape[-1], 2)
            return self.layer(x)

    net = Lazy()
    net(X)
    assert list(net.state_dict()) == ["layer.weight", "layer.bias"]
    net.scale = tensor(2.0, requires_grad=True)  # outside of forward that is meant
    net.layer.weight = tensor(np.zeros((2, 6)))
    assert list(net.state_dict()) == ["layer.weight", "layer.bias", "scale"]
    assert [name for name, _ in net.named_parameters()] == ["layer.bias", "scale"]
    net.scale = None
    assert "scale" not in net.state_dict()


def test_modules_of_other_makes():
    """Dataclasses, frozen too, and abstract classes."""

    @dataclasses.dataclass(eq=False)
    class Plain(nn.Module):
        w: Tensor

    @dataclasses.dataclass(frozen=True, eq=False)
    class Frozen(nn.Module):
        w: Tensor
        layer: nn.Module

        def forward(self, x):
            return self.layer(x) * self.w

    class Abstract(nn.Module, abc.ABC):
        @abc.abstractmethod
        def size(self): ...

    assert list(Plain(weight()).state_dict()) == ["w"]
    net = Frozen(weight(), nn.Linear(6, 1))
    assert list(net.state_dict()) == ["w", "layer.weight", "layer.bias"] and net(X).shape == (5, 1)
    with pytest.raises(TypeError, match="abstract"):
        Abstract()


def test_a_thread_inside_forward_is_no_other_threads_matter():
    inside, leave = threading.Event(), threading.Event()

    class Waiting(nn.Module):
        def forward(self):
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=Waiting())
    thread.start()
    inside.wait(10)
    net = nn.Module()
    net.w = weight()
    leave.set()
    thread.join()
    assert list(net.state_dict()) == ["w"]
    with pytest.raises(ZeroDivisionError):
        type("Failing", (nn.Module,), {"forward": lambda self: 1 / 0})()()
    net.v = weight()
    assert list(net.state_dict()) == ["w", "v"]
