"""Layers: what they compute, their parameters, their state."""

import copy

import numpy as np
import pytest

from nbgrad import functional as F
from nbgrad import nn
from nbgrad.autograd.tensor import Tensor, tensor

X = np.random.default_rng(7).normal(size=(5, 6)).astype(np.float32)


def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(
    ("layer", "function"),
    [
        (nn.Sigmoid(), F.sigmoid), (nn.Tanh(), F.tanh), (nn.ReLU(), F.relu), (nn.LeakyReLU(), F.leaky_relu),
        (nn.LeakyReLU(0.3), lambda x: F.leaky_relu(x, 0.3)), (nn.ELU(), F.elu), (nn.ELU(2.0), lambda x:
        F.elu(x, 2.0)), (nn.Softmax(), F.softmax), (nn.Softmax(0), lambda x: F.softmax(x, 0)),
        (nn.LogSoftmax(), F.log_softmax), (nn.LogSoftmax(axis=0), lambda x: F.log_softmax(x, 0)),
        (nn.Flatten(), lambda x: x), (nn.Flatten(0), lambda x: x.flatten()),
    ],
)  # fmt: skip
def test_layers_without_parameters(layer, function):
    np.testing.assert_array_equal(layer(Tensor(X)).numpy(), function(Tensor(X)).numpy())
    assert list(layer.parameters()) == []


def test_linear():
    layer = nn.Linear(6, 400, rng=rng())
    weight, bias = layer.parameters()
    assert (weight.shape, bias.shape, weight.dtype, weight.is_leaf) == ((400, 6), (400,), np.float32, True)
    bound = 6**-0.5
    for values in (weight.numpy(), bias.numpy()):  # uniform in ±1/√in_features
        assert np.abs(values).max() <= np.float32(bound) and np.abs(values).max() > 0.95 * bound
        assert abs(values.std() / (bound / 3**0.5) - 1) < 0.1
    np.testing.assert_allclose(layer(X).numpy(), X @ weight.numpy().T + bias.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(nn.Linear(6, 400, rng=rng()).weight.numpy(), weight.numpy())
    assert not np.array_equal(nn.Linear(6, 4).weight.numpy(), nn.Linear(6, 4).weight.numpy())
    assert nn.Linear(6, 4, bias=False).bias is None and nn.Linear(6, 4, dtype=np.float64).weight.dtype == np.float64
    for wrong, error in ((0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)):
        with pytest.raises(error, match="in_features"):
            nn.Linear(wrong, 3)
        with pytest.raises(error, match="num_pieces"):
            nn.Maxout(3, 3, wrong)


def test_sizes_may_be_integers_of_any_kind():
    for kind in (np.uint8, np.int64, np.array, tensor):
        layer = nn.Maxout(kind(3), kind(100), kind(4))  # 400 is no uint8
        assert layer.linear.weight.shape == (400, 3) and layer(np.ones((1, 3), np.float32)).shape == (1, 100)
        assert nn.Linear(kind(3), kind(2), rng=rng()).weight.tolist() == nn.Linear(3, 2, rng=rng()).weight.tolist()
    for wrong in (np.array([3]), [3], np.array(3.0), np.bool_(True), "3", None):
        with pytest.raises(TypeError, match="in_features: expected an integer"):
            nn.Linear(wrong, 3)


def test_integers_of_the_state_must_fit():
    class Counter(nn.Module):
        def __init__(self):
            self.weight, self.count = tensor([1.0]), tensor(3, dtype=np.int8)

    counter = Counter()
    with pytest.raises(OverflowError, match="state_dict: count: expected numbers in the range of int8, got 300"):
        counter.load_state_dict({"weight": np.zeros(1), "count": np.array(300)})
    assert counter.weight.item() == 1 and counter.count.item() == 3
    assert counter.load_state_dict({"weight": np.zeros(1), "count": np.array(100)}).count.item() == 100


def test_maxout():
    layer = nn.Maxout(6, 3, 4, rng=rng())
    linear = layer.linear(X).numpy()
    assert linear.shape == (5, 12)
    np.testing.assert_array_equal(layer(X).numpy(), linear.reshape(5, 3, 4).max(-1))
    assert [name for name, _ in layer.named_parameters()] == ["linear.weight", "linear.bias"]


def test_dropout_belongs_to_training():
    net = nn.Sequential(nn.Sequential(nn.Dropout(0.5, rng=rng())), nn.ReLU())
    x = tensor(np.ones((50, 50)))
    assert set(np.unique(net(x).numpy())) == {0, 2}
    assert net.eval() is net and net(x).numpy().min() == 1
    assert net.train() is net and net(x).numpy().min() == 0
    with pytest.raises(ValueError, match="p: expected a probability"):
        nn.Dropout(2)


class Net(nn.Module):
    def __init__(self):
        self.first = nn.Linear(6, 4, rng=rng())
        self.tied = self.first
        self.scale = tensor(2.0, requires_grad=True)
        self.offset = tensor([1.0, 2.0, 3.0, 4.0])  # part of the state, no parameter
        self._cache = tensor(0.0, requires_grad=True)

    def forward(self, x):
        return self.tied(self.first(x)[:, [0, 1, 2, 3, 0, 1]]) * self.scale + self.offset


def test_modules_of_ones_own():
    net = Net()
    assert [name for name, _ in net.named_parameters()] == ["first.weight", "first.bias", "scale"]
    assert sorted(net.state_dict()) == [
        "first.bias",
        "first.weight",
        "offset",
        "scale",
        "tied.bias",
        "tied.weight",
    ]
    net(X).sum().backward()
    assert all(p.grad is not None for p in net.parameters())
    net.zero_grad()
    assert all(p.grad is None for p in net.parameters())
    net.scale.requires_grad = False
    assert "scale" in net.state_dict() and len(list(net.parameters())) == 2
    assert net.to("cpu") is net
    with pytest.raises(RuntimeError, match="cuda is not available"):
        net.to("cuda")
    with pytest.raises(NotImplementedError, match="Module needs a method forward"):
        nn.Module()(X)


def test_state_dict_is_a_copy_and_comes_back(tmp_path):
    net, other = (nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Maxout(4, 3, 2)) for _ in range(2))
    state = net.state_dict()
    assert list(state) == ["0.weight", "0.bias", "2.linear.weight", "2.linear.bias"]
    assert not any(t.requires_grad for t in state.values())
    before = other[0].weight.numpy()
    np.savez(tmp_path / "net.npz", **state)
    with np.load(tmp_path / "net.npz") as arrays:
        assert other.load_state_dict(arrays) is other
    assert other[0].weight.numpy() is before  # in place: an optimiser goes on with the same tensors
    np.testing.assert_array_equal(other(X).numpy(), net(X).numpy())
    state["0.weight"].zero_()
    assert net[0].weight.numpy().any()
    np.testing.assert_array_equal(copy.deepcopy(net)(X).numpy(), net(X).numpy())


def test_load_state_dict_checks_everything_before_it_writes():
    net = nn.Linear(3, 2, rng=rng())
    good, before = net.state_dict(), net.weight.numpy().copy()
    for state, error, message in (
        ({"weight": np.zeros((2, 3))}, ValueError, r"missing \['bias'\]"),
        (good | {"more": np.zeros(2)}, ValueError, r"not expected \['more'\]"),
        (
            good | {"weight": np.zeros((2, 3)), "bias": np.zeros(3)},
            ValueError,
            r"bias: expected shape \(2,\), got \(3,\)",
        ),
        (good | {"bias": np.zeros(2, complex)}, TypeError, "bias: expected float32, got complex128"),
        (good | {"bias": np.ma.masked_array(np.ones(2), [0, 1])}, TypeError, "bias: expected an array without a mask"),
        (3, TypeError, "state_dict: expected a dict of tensors, got int"),
    ):
        with pytest.raises(error, match=message):
            net.load_state_dict(state)
    np.testing.assert_array_equal(net.weight.numpy(), before)


def test_sequential():
    layers = [nn.Linear(6, 4), nn.ReLU()]
    net = nn.Sequential(*layers)
    assert len(net) == 2 and list(net) == layers and net[1] is layers[1] and list(net[:1]) == layers[:1]
    assert repr(nn.Sequential(net, nn.Dropout(0.2))) == (
        "Sequential(\n  (0): Sequential(\n    (0): Linear(in_features=6, out_features=4)\n    (1): ReLU()\n  )\n  (1): Dropout(p=0.2)\n)"
    )
    with pytest.raises(TypeError, match="layers: expected Modules, got function"):
        nn.Sequential(F.relu)
