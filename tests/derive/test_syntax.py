"""What a formula cannot be made of: one error at decoration, with file, line and construct."""

import inspect
import linecache
import math
import re

import numpy as np
import pytest

from nbgrad import differentiable, kernels

_count = 0


def made(body, arguments="x", **names):
    global _count
    _count += 1
    file = f"<syntax {_count}>"
    text = f"def f({arguments}):\n" + "".join(f"    {line}\n" for line in body.split("\n"))
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    scope = {"math": math, "np": np, "kernels": kernels, **names}
    exec(compile(text, file, "exec"), scope)
    return scope["f"]


@pytest.mark.parametrize(
    ("body", "line", "words"),
    [
        ("while x > 1:\n    x = x / 2\nreturn x", 2, "a while loop"),
        ("y = [x]\nreturn x", 2, "a list"),
        ("return x + (1, 2)", 2, "a tuple is not understood here"),
        ("y = (x, 1) if x > 0 else x\nreturn x", 2, "a tuple is not understood here"),
        ("y = x, 1\nreturn x", 2, "a tuple is not understood here"),
        ("a, b = c = x, 1\nreturn a", 2, "expected numbers, got a tuple"),
        ("a, b = (x, 1), 2\nreturn b", 2, "a tuple is not understood here"),
        ("x += 1, 2\nreturn x", 2, "a tuple is not understood here"),
        ("y: float = (1, 2)\nreturn x", 2, "a tuple is not understood here"),
        ("if (x, 1):\n    x = 2\nreturn x", 2, "a tuple is not understood here"),
        ("for i in range((1, 2)):\n    x = x\nreturn x", 2, "a tuple is not understood here"),
        ("y = 2 * x\nreturn y.real", 3, "y.real: an attribute of a number"),
        ("x.conjugate()\nreturn x", 2, "an expression whose value is dropped"),
        ("return x[0]", 2, "an index"),
        ("try:\n    return x\nfinally:\n    pass", 2, "try"),
        ("for i in range(3):\n    if x > 1:\n        break\n    x = x + 1\nreturn x", 4, "break"),
        ("for i in range(3):\n    return x\nreturn x", 3, "return within a loop"),
        ("for i in (1, 2):\n    x = x + i\nreturn x", 2, "another iterable"),
        ("if x > 0:\n    return x", 1, "a return at the end of every branch"),
        ("return x, x", 2, "one number"),
        ("return", 2, "one number"),
        ("y = lambda t: t\nreturn y(x)", 2, "lambda"),
        ("return (y := x) + y", 2, ":="),
        ("return 'a'", 2, "numbers"),
        ("return 1j * x", 2, "numbers"),
        ("a, b = x\nreturn a", 2, "as many values"),
        ("x.real = 1\nreturn x", 2, "names to assign to"),
        ("global y\nreturn x", 2, "global"),
        ("return x if x is not 1 else x", 2, "is not"),
        ("import math\nreturn x", 2, "import"),
        ("return x @ x", 2, "@"),
        ("print(x)\nreturn x", 2, "an expression whose value is dropped"),
    ],
)
@pytest.mark.filterwarnings("ignore::SyntaxWarning")
def test_constructs(body, line, words):
    with pytest.raises(TypeError, match=rf"^<syntax \d+>:{line}: f: .*{re.escape(words)}"):
        differentiable(made(body))


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda x: x, "got a lambda"), (math.sin, "written with def"), (3, "written with def"), (len, "written with def"),
    ],
    ids=["lambda", "builtin", "number", "len"],
)  # fmt: skip
def test_what_is_no_function(function, words):
    with pytest.raises(TypeError, match=words):
        differentiable(function)


@pytest.mark.parametrize("arguments", ["*x", "**x", "*, x", "", "x='a'"])
def test_arguments(arguments):
    with pytest.raises(TypeError, match="f: expected"):
        differentiable(made("return 1.0", arguments))


@pytest.mark.parametrize("there", ["", "import sys\n", "def g(x):\n    return 2 * x\n", "def (:\n"])
def test_no_source(there, monkeypatch):
    """Nor where there is another text by that name, as that of `python -c` from Python 3.13 on."""
    monkeypatch.setattr(inspect, "getsourcelines", lambda f: ([there], 1)) if there else None
    scope = {}
    exec("def f(x):\n    return x", scope)
    with pytest.raises(TypeError, match="whose source can be read"):
        differentiable(scope["f"])


@pytest.mark.parametrize(
    ("body", "names", "words"),
    [
        ("return x + q", {}, ":2: f: the name q is not defined"),
        ("return x + q", {"q": "a"}, "q: expected a number, got str"),
        ("return x + q", {"q": np.ones(3)}, "q: expected a number, got ndarray"),
        ("return math.gamma(x)", {}, "math.gamma has no derivative that nbgrad knows"),
        ("return np.nothing(x)", {}, "np.nothing does not exist"),
        ("return kernels.softmax(x)", {}, "kernels.softmax has no derivative"),
        ("return x(1)", {}, "x: expected a function, got a number"),
        ("if x > 0:\n    y = 1\nreturn y", {}, "y may be without a value here"),
        ("for i in range(3):\n    y = x\nreturn y", {}, "y may be without a value here"),
        ("for i in range(x * 0.5):\n    x = x + 1\nreturn x", {}, "expected integers in range"),
        ("return math.exp(x, x)", {}, "math.exp: expected 1 arguments, got 2"),
        ("return kernels.elu(x, beta=1)", {}, "kernels.elu: expected arguments x, alpha, got beta"),
        ("return kernels.huber_loss(x)", {}, "kernels.huber_loss: the argument target is missing"),
    ],
)
def test_names(body, names, words):
    f = differentiable(made(body, **names))
    with pytest.raises(TypeError, match=re.escape(words)):
        f(1.0)


def test_derivatives_in_parameters():
    f = differentiable(made("return kernels.elu(x, alpha=a) + kernels.huber_loss(x, 0.0, a)", "x, a"))
    assert f.value_and_grad(-3.0, 2.0, wrt="a")[1][0] == pytest.approx(math.expm1(-3) + 1)


def test_a_parameter_without_a_derivative():
    f = differentiable(made("return kernels.celu(x, alpha=a)", "x, a"))
    assert f(-1.0, 2.0) == 2 * math.expm1(-0.5)
    assert f.value_and_grad(-1.0, 2.0, wrt="x")[1][0] == pytest.approx(math.exp(-0.5))
    with pytest.raises(TypeError, match="celu: its derivative in alpha is not known"):
        f.value_and_grad(-1.0, 2.0)


def test_closures_and_globals_are_numbers():
    a = 2.5

    @differentiable
    def f(x):
        return a * x + math.pi

    assert f(2.0) == 5 + math.pi and f.value_and_grad(2.0)[1] == (2.5,)


def test_formulas_call_formulas():
    @differentiable
    def inner(x, y=2.0):
        return x * x if x > y else x * y

    @differentiable
    def outer(x):
        return inner(x) + inner(y=1.0, x=3 * x)

    assert outer(1.0) == 2 + 9 and outer.value_and_grad(1.0)[1] == (2 + 18,)

    @differentiable
    def endless(x):
        return endless(x)

    with pytest.raises(TypeError, match="endless: a formula cannot call itself"):
        endless(1.0)


@pytest.mark.parametrize("text", ["x and y", "x or y", "x and y and 3", "x or 0 or y", "x and x > 1", "not x", "not (x and y)", "x > 1 or y", "(x or y) * (y and x)"])  # fmt: skip
def test_numbers_as_truth(text):
    f = made(f"return {text}", "x, y")
    formula = differentiable(f)
    for x in (0.0, 0.5, 2.0):
        for y in (0.0, -1.5):
            assert formula(x, y) == float(f(x, y)), (text, x, y)
    assert differentiable(made("return 3 * x if x and y else x", "x, y")).value_and_grad(2.0, 1.0) == (6.0, (3.0, 0.0))
    assert differentiable(made("return x and x * y", "x, y")).value_and_grad(2.0, 3.0) == (6.0, (3.0, 2.0))
