"""Derivatives of drawn formulas against differences of 50 digits."""

import builtins
import math

import mpmath as mp
import numpy as np
import pytest
from formulas import EXACT, formulas, function, slopes
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from nbgrad import kernels
from nbgrad.derive import parse, reverse, syntax, tangents, unroll, write
from nbgrad.derive.program import Builder

NAMES = ["x", "y", "z", "n"]
# No number at which a function of the table has a kink.
COORDINATES = st.integers(-1990, 1990).map(lambda k: (k + 0.37) / 1000)
# No two alike: at a tie of ``max(x, y)`` central differences are the mean of both slopes, whatever their step.
PLACES = st.lists(COORDINATES, min_size=3, max_size=3, unique=True).map(tuple)


def program(f):
    def lookup(name):
        return f.__globals__[name] if name in f.__globals__ else getattr(builtins, name)

    return parse.parse(syntax.read(f), lookup, lambda called: None)


def close(found, expected, tolerance):
    scale = 1 + max(abs(float(e)) for e in expected)
    return all(abs(f - float(e)) <= tolerance * scale for f, e in zip(found, expected, strict=True))


@settings(max_examples=max(200, settings().max_examples))
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@given(formulas(), PLACES, st.sampled_from([0, 1, 3]))
def test_drawn_formulas(text, point, n):
    exact = function(text, *EXACT)
    try:
        formula = program(function(text))
    except TypeError as error:  # a name that one way leaves without a value, used
        assert "without a value" in str(error)
        assume(False)
    try:
        values, second = slopes(exact, point, n)
        again, _ = slopes(exact, point, n, mp.mpf(10) ** -9)
    except (UnboundLocalError, mp.libmp.ComplexResult):
        assume(False)
    # Near a kink differences over two steps differ, and derivatives of a kink itself are a choice.
    assume(all(mp.isfinite(v) and abs(v) < 1e6 for v in (*values, *second)))
    assume(all(abs(a - b) < 1e-6 * (1 + abs(a)) for a, b in zip(values, again, strict=True)))
    gradient = reverse.gradients(formula, ("x", "y", "z"))
    found = write.function(gradient, "gradient", NAMES)(*point, n)
    assert close(found, values, 1e-8), write.text(gradient, "gradient")
    assert close([write.function(formula, "value", NAMES)(*point, n)], values[:1], 1e-12)
    assert close(write.function(unroll.unrolled(gradient), "g", NAMES)(*point, n), found, 1e-13)
    along = tangents.tangent(formula, {"x": "x_t", "y": "y_t", "z": 2.0})
    value, change = write.function(along, "along", [*NAMES, "x_t", "y_t"])(*point, n, 0.5, -1.0)
    assert close([value, change], [values[0], 0.5 * values[1] - values[2] + 2 * values[3]], 1e-8)
    assume(all(abs(v) < 1e4 for v in second))
    twice = write.function(tangents.tangent(gradient, {"x": 1.0}), "second", NAMES)(*point, n)
    assert close(twice[3::2], second, 1e-6), text


ORDER = [
    text.format(first=first, second=second)
    for first in ("+", "-", "*", "/", "//", "%", "**")
    for second in ("+", "-", "*", "/", "//", "%", "**")
    for text in (
        "(x {first} y) {second} z", "x {first} (y {second} z)", "-(x {first} y) {second} z", "(-x {first} y) {second} -z",
        "x {first} -(y {second} z)",
    )
]  # fmt: skip


@pytest.mark.parametrize("point", [(0.7, 1.3, 2.6), (1e16, 3.0, 0.1)], ids=str)
def test_operations_stay_in_the_order_written(point):
    for text in ORDER:
        f = function(f"def f(x, y, z):\n    return {text}\n")
        try:
            expected = f(*point)
        except (ArithmeticError, ValueError):
            continue
        if not isinstance(expected, complex):
            assert write.function(program(f), "f", ["x", "y", "z"])(*point) == expected, text


def test_source_reads_as_written_by_hand():
    def nll(w, b, x, y):
        z = w * x + b
        return kernels.softplus(z) - y * z

    formula = program(nll)
    assert write.text(reverse.gradients(formula, ("w", "b")), "value_and_grad") == (
        "def value_and_grad(w, b, x, y):\n    z = w * x + b\n    d_z = d_softplus(z) - y\n    d_w = d_z * x\n    return softplus(z) - y * z, d_w, d_z\n"
    )


def test_source_of_branches_and_loops():
    def f(x, a):
        if x > 0:
            y = x * a
        elif x < -3:
            y = math.exp(x)
        else:
            y = a
        for i in range(4):
            y = y * x + i
        return y

    assert write.text(reverse.gradients(program(f), ("x",)), "value_and_grad") == (
        "def value_and_grad(x, a):\n"
        "    if x > 0:\n"
        "        y = x * a\n"
        "    elif x < -3:\n"
        "        y = exp(x)\n"
        "    else:\n"
        "        y = a\n"
        "    y_2 = y\n"
        "    y_t1 = 0\n"
        "    y_t2 = 1\n"
        "    for i in range(4):\n"
        "        y_2, y_t1, y_t2 = y_2 * x + i, y_t1 * x + y_2, y_t2 * x\n"
        "    d_x = y_t2 * a if x > 0 else y_t2 * y if x < -3 else 0\n"
        "    d_x_2 = y_t1 + d_x\n"
        "    return y_2, d_x_2\n"
    )


def test_source_carries_only_what_changes():
    def f(x, y, z, n):
        k = 0
        c = 1.5
        w = z
        for i in range(n):
            k = k + i
            c = c * 0.5
            w = w * z
            x = x * y + c * w
            y = y + k
        return x * w

    values = (
        "    c = 1.5\n"
        "    k = 0\n"
        "    w = z\n"
        "    x_2 = x\n"
        "    y_2 = y\n"
    )  # fmt: skip
    steps = "        k_2 = k + i\n        c_2 = c * 0.5\n        w_2 = w * z\n        c, k, w, x_2, y_2, "
    assert write.text(tangents.tangent(program(f), {"x": "x_t"}), "along") == (
        "def along(x, y, z, n, x_t):\n" + values + "    x_t_2 = x_t\n"
        "    for i in range(n):\n" + steps + "x_t_2 = c_2, k_2, w_2, x_2 * y_2 + c_2 * w_2, y_2 + k_2, x_t_2 * y_2\n"
        "    return x_2 * w, x_t_2 * w\n"
    )
    assert write.text(reverse.gradients(program(f), ("x", "y")), "value_and_grad") == (
        "def value_and_grad(x, y, z, n):\n" + values + "    x_t1 = 1\n    x_t2 = 0\n    y_t2 = 1\n"
        "    for i in range(n):\n"
        + steps + "x_t1, x_t2 = c_2, k_2, w_2, x_2 * y_2 + c_2 * w_2, y_2 + k_2, x_t1 * y_2, x_t2 * y_2 + y_t2 * x_2\n"
        "    d_x = w * x_t1\n"
        "    d_y = w * x_t2\n"
        "    return x_2 * w, d_x, d_y\n"
    )  # fmt: skip


def test_source_without_names_of_nothing():
    def f(x, y, z):
        return math.sin(x * y) * (x * y if z > 0 else (x * y) * z)

    assert " d_ =" not in write.text(reverse.gradients(program(f), ("x", "y")), "value_and_grad")


def test_integers_that_formulas_are_called_with_become_real():
    b = Builder()
    value = tangents.inline(b, program(function("def f(x):\n    return x * x * x\n")), [b.argument("n", "integer")])
    assert value.kind == "real" and all(node.kind == "real" for node in value.args)


def test_what_has_no_derivative_is_said():
    f = program(function("def f(x, a):\n    return kernels.celu(x, a)\n"))
    assert reverse.gradients(f, ("x",)).results
    with pytest.raises(TypeError, match="celu: its derivative in alpha is not known"):
        reverse.gradients(f, ("a",))


def test_a_way_not_taken_does_no_harm():
    """0·∞ of the other way would be nan."""

    def root(x):
        return math.sqrt(x) if x > 0 else 0.0 * x

    gradient = write.function(reverse.gradients(program(root), ("x",)), "gradient", ["x"])
    assert gradient(0.0) == (0.0, 0.0)
    assert gradient(4.0) == (2.0, 0.25)


def test_float32_stays_float32():
    def f(x, y):
        z = 2 * x + 1
        for i in range(3):
            z = z / (i + 1) if z > y else 0.5 * math.exp(y)
        return z**1.5 - max(x, 3) ** 2 + abs(y)

    for p in (program(f), reverse.gradients(program(f), ("x", "y"))):
        found = write.function(p, "f", ["x", "y"])(np.float32(0.7), np.float32(0.2))
        for number in found if isinstance(found, tuple) else [found]:
            assert type(number) is np.float32
