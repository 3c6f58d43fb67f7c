"""Lists and dicts of Modules."""

import copy

import numpy as np
import pytest

from nbgrad import nn
from nbgrad.autograd.tensor import tensor

X = np.random.default_rng(7).normal(size=(5, 6)).astype(np.float32)


def rng():
    return np.random.default_rng(0)


class Residual(nn.Module):
    def __init__(self):
        self.steps = nn.ModuleList([nn.Linear(6, 6, rng=rng()), nn.Dropout(0.5)])
        self.heads = nn.ModuleDict({"a": nn.Linear(6, 2, rng=rng()), "b": nn.Linear(6, 3, rng=rng())})

    def forward(self, x, head="a"):
        for step in self.steps:
            x = x + step(x)
        return self.heads[head](x)


def test_modules_in_lists_and_dicts_belong_to_the_module():
    net = Residual()
    names = ["steps.0.weight", "steps.0.bias", "heads.a.weight", "heads.a.bias", "heads.b.weight", "heads.b.bias"]
    assert [name for name, _ in net.named_parameters()] == list(net.state_dict()) == names
    assert net.eval().steps[1].training is False
    x = X.astype(float)
    h = x + x @ net.steps[0].weight.numpy().T + net.steps[0].bias.numpy()
    np.testing.assert_allclose(net(x, "b").numpy(), 2 * h @ net.heads["b"].weight.numpy().T + net.heads["b"].bias.numpy(), rtol=1e-12)
    net(X).sum().backward()
    assert net.steps[0].weight.grad is not None and net.heads["b"].weight.grad is None
    again = copy.deepcopy(net).load_state_dict({name: 2 * value for name, value in net.state_dict().items()})
    np.testing.assert_array_equal(again.heads["a"].weight.numpy(), 2 * net.heads["a"].weight.numpy())
    assert repr(nn.Sequential(nn.ModuleList([nn.ReLU(), nn.ModuleDict({"x": nn.Tanh()})]), nn.ModuleList())) == (
        "Sequential(\n  (0): ModuleList(\n    (0): ReLU()\n    (1): ModuleDict(\n      (x): Tanh()\n    )\n  )\n  (1): ModuleList()\n)"
    )
    with pytest.raises(NotImplementedError, match="ModuleList needs a method forward"):
        net.steps(X)


@pytest.mark.parametrize("kind", [nn.ModuleList, lambda modules=(): nn.Sequential(*modules)])
def test_what_a_list_can_do_module_lists_can(kind):
    a, b, c, d = (nn.ReLU() for _ in range(4))
    modules = kind(iter([a, b]))
    assert len(modules) == 2 and modules[-1] is b and list(reversed(modules)) == [b, a] and a in modules and c not in modules
    assert modules.append(c) is modules and modules.extend([d]) is modules and list(modules) == [a, b, c, d]
    assert type(modules[1:3]) is type(modules) and list(modules[1:3]) == [b, c]
    modules.insert(1, d)
    assert modules.pop() is d and modules.pop(0) is a and list(modules) == [d, b, c]
    modules[0], modules[np.int64(1)] = a, d
    del modules[2]
    before = modules
    modules += [b]
    assert modules is before and list(modules) == [a, d, b] and list(modules + kind([c])) == [a, d, b, c] and len(modules) == 3
    modules[1:] = [c]
    assert list(modules) == [a, c] and len(kind()) == 0
    modules.extend(modules)
    assert list(modules) == [a, c, a, c]
    modules.scale = tensor(1.0, requires_grad=True)  # beside the numbered ones it may have others
    assert list(modules.state_dict()) == ["scale"]
    for change in (modules.append, lambda m: modules.extend([b, m]), lambda m: modules.insert(0, m), lambda m: modules.__setitem__(0, m), lambda m: kind([m])):
        for wrong in (abs, None, tensor(1.0), "ReLU"):
            with pytest.raises(TypeError, match=f"expected Modules, got {type(wrong).__name__}"):
                change(wrong)
    with pytest.raises(TypeError, match="expected an iterable of Modules, got ReLU"):
        modules.extend(a)
    with pytest.raises(ValueError, match="itself"):
        modules.append(modules)
    with pytest.raises(IndexError):
        modules[4]
    assert list(modules) == [a, c, a, c]


def test_what_a_dict_can_do_module_dicts_can():
    a, b, c = (nn.ReLU() for _ in range(3))
    modules = nn.ModuleDict({"y": a, "x": b})
    assert list(modules) == ["y", "x"] and list(modules.keys()) == ["y", "x"] and list(modules.values()) == [a, b]
    assert list(modules.items()) == [("y", a), ("x", b)] and len(modules) == 2 and "x" in modules and "z" not in modules
    modules["y"] = c
    assert modules["y"] is c and modules.pop("y") is c and list(modules) == ["x"]
    modules.update(nn.ModuleDict([("z", a)]))
    modules.update({"w": b})
    modules.update([("w", c)])
    assert list(modules.items()) == [("x", b), ("z", a), ("w", c)]
    del modules["x"]
    for names, error, message in (
        ({3: a}, TypeError, "names that are strings, got int"), ({"a.b": a}, ValueError, "without a dot, got 'a.b'"),
        ({"": a}, ValueError, "without a dot, got ''"), ({"u": a, "v": abs}, TypeError, "v: expected a Module, got builtin"),
        ({"u": modules}, ValueError, "itself"), (3, TypeError, "a mapping or pairs of name and Module, got int"),
        ([a], TypeError, "a mapping or pairs"), (["ab"], TypeError, "u|b: expected a Module, got str"),
    ):  # fmt: skip
        with pytest.raises(error, match=f"modules: .*{message}"):
            modules.update(names)
    assert list(modules) == ["z", "w"]
    with pytest.raises(KeyError):
        modules["none"]
    modules.clear()
    assert not modules and nn.ModuleDict() is not None
