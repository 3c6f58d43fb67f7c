"""`nbgrad.testing.check`: right formulas pass, and a rule or a method that is wrong is seen."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st

from nbgrad import differentiable, kernels
from nbgrad.derive import rules
from nbgrad.testing import GradientError, array, check

FEW = settings(max_examples=15, deadline=None, derandomize=True)


@differentiable
def nll(w, b, x, y):
    z = w * x + b
    return kernels.softplus(z) - y * z


@differentiable
def branches(x, a):
    if x > 2:
        y = a * math.sqrt(x)
    elif x < -1:
        y = a * x * x
    else:
        y = abs(x) + kernels.leaky_relu(x, 0.3)
    for i in range(3):
        y = math.tanh(y) + 0.1 * i * x
    return y if y < 10 else 10 + a


@differentiable
def mixed(x, n):
    for _ in range(n):
        x = math.sin(x) + 0.5
    return x


DOMAIN = array(3, domain=(-5, 5))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_right_formulas_pass(dtype):
    spec = array(3, dtype, domain=(-5, 5))
    assert check(nll, spec, spec, spec, spec, settings=FEW).confirmed > 0
    assert check(branches, spec, spec, settings=FEW).confirmed > 0
    assert check(mixed, spec, st.integers(0, 4), settings=FEW).confirmed > 0


def test_arguments():
    with pytest.raises(TypeError, match="formula: expected one made by nbgrad.differentiable"):
        check(lambda x: x, DOMAIN)
    with pytest.raises(TypeError, match="specs: expected 4, one for each argument"):
        check(nll, DOMAIN)


TEXTS = {
    "exp": "math.exp(x)", "log1p": "math.log1p(x * x)", "sqrt": "math.sqrt(2 + x)", "tan": "math.tan(0.2 * x)", "sin": "math.sin(x)",
    "power": "(6 + x) ** 1.5", "atan2": "math.atan2(x, 3.0)", "hypot": "math.hypot(x, 2.0)", "erf": "math.erf(x)",
    "softplus": "kernels.softplus(x)", "d_softplus": "kernels.softplus(x)", "tanh": "math.tanh(x)", "d_tanh": "math.tanh(x)",
    "gelu": "kernels.gelu(x)", "d_mish": "kernels.mish(x)", "huber": "kernels.huber_loss(x, 0.7)", "abs": "abs(x)",
}  # fmt: skip


def made(text):
    import linecache

    file = f"<check {text}>"
    source = f"def f(x):\n    return {text}\n"
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    scope = {"math": math, "kernels": kernels}
    exec(compile(source, file, "exec"), scope)
    return differentiable(scope["f"])


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_each_wrong_rule_is_seen(name, monkeypatch):
    right = rules.FUNCTIONS[name]
    partials = tuple(None if p is None else f"({p}) * 1.01 + 0.001" for p in right.partials)
    wrong = dataclasses.replace(right, partials=partials)
    monkeypatch.setitem(rules.FUNCTIONS, name, wrong)
    for key, function in [*rules._CALLED.items()]:
        if function is right:
            monkeypatch.setitem(rules._CALLED, key, wrong)
    for key, function in [*rules.KERNELS.items()]:
        if function is right:
            monkeypatch.setitem(rules.KERNELS, key, wrong)
    with pytest.raises(GradientError):
        check(made(TEXTS[name]), array(3, domain=(-4, 4)), settings=FEW)


@pytest.mark.parametrize("method", ["jvp", "sum", "__call__"])
def test_methods_that_disagree_are_seen(method, monkeypatch):
    f = made("math.sin(x) * 1.5")
    if method == "jvp":
        monkeypatch.setattr(f, "jvp", lambda args, tangents: (f(*args), 1.001 * f.value_and_grad(*args)[1][0]))
    elif method == "sum":
        monkeypatch.setattr(f, "sum", lambda *args: f(*args).sum() + 1e-3)
    else:
        right = f.value_and_grad
        monkeypatch.setattr(f, "value_and_grad", lambda *args, **more: (right(*args)[0] * 1.001, right(*args)[1]))
    with pytest.raises(GradientError, match="as value_and_grad has it"):
        check(f, array(3, domain=(0.1, 3)), second=False, settings=FEW)


@differentiable
def censored(rate, time, event):
    """A branch on a label: nothing is differentiated by it."""
    return rate * time - (math.log(rate) if event else 0)


@pytest.mark.parametrize("labels", [st.booleans(), st.integers(0, 1), st.sampled_from([0, 1])])
def test_labels_are_integers_or_bools(labels):
    spec = array(3, domain=(0.1, 5))
    assert check(censored, spec, spec, labels, settings=settings(max_examples=10, derandomize=True)).confirmed > 0
