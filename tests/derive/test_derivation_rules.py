"""Each rule against differences of its function in 50 digits, and each rule made wrong: the check must see it."""

import dataclasses
import math

import numpy as np
import pytest

from nbgrad.derive import rules
from nbgrad.derive.expressions import expression
from nbgrad.derive.program import Builder, Program
from nbgrad.derive.write import function

POINTS = [-3.6, -2.3, -1.1, -0.35, 0.3, 0.9, 1.7, 3.5, 4.1]
#: Arguments inside the functions' domains.
DOMAIN = {
    "log": abs, "log2": abs, "log10": abs, "sqrt": abs, "log1p": abs, "power": abs, "acosh": lambda x: 1.5 + abs(x),
    "asin": lambda x: x / 5, "acos": lambda x: x / 5, "atanh": lambda x: x / 5,
}  # fmt: skip
OTHERS = {"target": 0.62, "delta": 1.0, "pos_weight": 1.5, "alpha": 0.8, "beta": 1.3, "negative_slope": 0.1,
          "min_val": -1.0, "max_val": 1.0, "threshold": 0.5, "value": 2.0, "lambd": 0.5}  # fmt: skip


def differentiated(f, args, i):
    """Central differences, extrapolated: about 1e-9 in float64."""

    def slope(h):
        up, down = list(args), list(args)
        up[i] += h
        down[i] -= h
        return (f(*up) - f(*down)) / (2 * h)

    return (4 * slope(5e-5) - slope(1e-4)) / 3


def wrong(f, points=POINTS):
    """The rules of a function that its differences do not bear out."""
    bad = []
    for i, text in enumerate(f.partials):
        if text is None:
            continue
        b = Builder()
        nodes = {p: b.argument(p) for p in f.parameters}
        y = b.argument("y")
        rule = function(Program("rule", b, [("d", b.real(expression(b, text, nodes | {"y": y})))]), "rule", [*f.parameters, "y"])
        for x in points:
            x = DOMAIN.get(f.name, float)(x)
            args = [x, *(OTHERS.get(p, 1.3) for p in f.parameters[1:])]
            value = f.call(*args)
            expected = differentiated(f.call, args, i)
            found = rule(*args, float(value))
            if not math.isclose(found, expected, rel_tol=1e-6, abs_tol=1e-7):
                bad.append((f.name, f.parameters[i], x, found, expected))
                break
    return bad


@pytest.mark.parametrize("name", sorted(rules.FUNCTIONS))
def test_the_rule_is_right(name):
    assert wrong(rules.FUNCTIONS[name]) == []


@pytest.mark.parametrize("name", sorted(rules.FUNCTIONS))
def test_a_wrong_rule_is_seen(name):
    f = rules.FUNCTIONS[name]
    for i, text in enumerate(f.partials):
        if text is not None:
            partials = [*f.partials]
            partials[i] = f"({text}) + 0.01"
            assert wrong(dataclasses.replace(f, partials=tuple(partials))), (name, text)


def test_all_of_the_table_have_second_derivatives():
    for name in rules.FUNCTIONS:
        if f"d_{name}" in rules.FUNCTIONS:
            assert rules.FUNCTIONS[f"d_{name}"].partials[0] is not None


EDGES = [
    ("power", 0, (0.0, 0.0), 0.0),  # 0 ** p: the derivative in p is 0; x ** 0: that in x
    ("power", 1, (0.0, 2.0), 0.0),
    ("power", 0, (0.0, 1.0), 1.0),
    ("hypot", 0, (0.0, 0.0), 0.0),
    ("hypot", 1, (0.0, 0.0), 0.0),
    ("hypot", 0, (0.6, 0.8), 0.6),
    ("hypot", 1, (0.6, 0.8), 0.8),
    ("abs", 0, (0.0,), 0.0),
    ("abs", 0, (math.nan,), math.nan),
    ("difference", 0, (-math.inf, -math.inf), 1.0),
    ("logaddexp", 0, (-math.inf, -math.inf), 0.5),
    ("logaddexp", 1, (-math.inf, 2.0), 1.0),
    ("d_elu", 0, (0.0, 0.8), 0.8),  # at a kink the branch that is taken decides, as for the function itself
    ("d_selu", 0, (0.0,), 1.0507009873554805 * 1.6732632423543772),
    ("d_celu", 0, (0.0, 0.5), 2.0),
    ("d_hardswish", 0, (3.0,), 0.0),
    ("d_hardswish", 0, (-3.0,), 0.0),
    ("hardtanh", 1, (-1.0, -1.0, 1.0), 0.0),
    ("hardtanh", 2, (1.0, -1.0, 1.0), 0.0),
    ("threshold", 2, (0.5, 0.5, 2.0), 1.0),
    ("d_huber", 0, (2.0, 1.0, 1.0), 1.0),
    ("d_huber", 1, (2.0, 1.0, 1.0), -1.0),
]


@pytest.mark.parametrize(("name", "i", "args", "expected"), EDGES)
def test_at_edges(name, i, args, expected):
    f = rules.FUNCTIONS[name]
    b = Builder()
    nodes = {p: b.argument(p) for p in (*f.parameters, "y")}
    node = b.real(expression(b, f.partials[i], nodes))
    found = function(Program("rule", b, [("d", node)]), "rule", [*f.parameters, "y"])(*args, float(f.call(*args)))
    np.testing.assert_equal(float(found), expected)
