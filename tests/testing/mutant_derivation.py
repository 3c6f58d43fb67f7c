"""What finds a mutant of `nbgrad.derive`: the rules' test against differences; formulas, drawn and written, whose derivatives are held
against differences in 50 digits; the tests of the source that is shown.
"""

import dataclasses
import functools
import itertools
import random
import re
import sys
from pathlib import Path

import mpmath as mp
import numpy as np
from hypothesis import HealthCheck, Phase, given, seed, settings

from nbgrad.derive import parse, program, reverse, rules, tangents, unroll, write

sys.path.append(str(Path(__file__).parents[1] / "derive"))
import test_derivation_rules  # noqa: E402
import test_derivatives  # noqa: E402
from formulas import EXACT, formulas, function, slopes  # noqa: E402

#: What the drawn formulas' grammar does not have, or seldom together.
WRITTEN = [
    "    return x % 0.7 + (x % y) * z",
    "    return math.hypot(x, y) ** x - math.sqrt(x * x + 1) ** -2 + 2 ** z",
    "    a, b = x * y, -z\n    a, b = b / a, a - b\n    return -(a - b) * (a / b) - -a",
    "    return x if y > 0 and not z > 1 or x < -1 else y * z",
    "    for i in range(n):\n        for k in range(i):\n            x = x * y + z * k\n        y = y + 0.1 * x * i\n    return x * y",
    "    u = x * y\n    for i in range(2):\n        if u > z:\n            z = z + u * x\n        else:\n            y = y * z - u\n    return y + z * u",
    "    k = 0\n    for i in range(n):\n        k = k + i * 2\n    return x * k + y ** k",
    "    u = x\n    v = y\n    for i in range(5):\n        u, v = v * z, u + 0.5\n    return u - v",
    "    s = 0\n    for i in range(3):\n        s = s + math.sin(x + i * y)\n    return s * s + z",
    "    if x > y:\n        u = x * z\n        if y > 0:\n            u = u * y\n        v = u + z\n    else:\n        u = y\n        v = x * x\n    return u * v + x * u",
    "    if x > 0.3:\n        return x * y\n    if y > 0.1:\n        for i in range(n):\n            x = x * z + y\n        return x\n    return z * z",
    "    u = 2 if x > 0 else 3\n    return u * y ** u",
    "    for i in range(4):\n        u = x\n        if i > 1:\n            u = u * y\n        x = u - z\n    return x",
    "    for i in range(n):\n        pass\n    return x * y",
    "    u = y * y\n    return (x if z > 0 else u) * (u if z > 0 else x) + (x * u if z > 0 else x * u)",
    "    m = max(x, y, z)\n    return m + math.log(math.exp(x - m) + math.exp(y - m) + math.exp(z - m))",
    "    for i in range(3):\n        x = y * x\n        y = 0.5\n    return x + y * z",
    "    u = x\n    for i in range(n):\n        u = z if u > 0.5 else u + y\n    return u - (x if n > 1 else 0)",
    "    for i in range(0, 30, 10):\n        x = x + i * z / (1 + y * y)\n    return x",
    "    return x * y if z > 0 else x * z",
    "    k = n * 2\n    for i in range(n):\n        k = k * x + y\n    return k * z",
    "    for i in range(n):\n        t = z\n        for k in range(2):\n            t = t * x\n        y = y + t\n    return y",
    "    u = x * z\n    for i in range(n):\n        t = y\n        for k in range(i):\n            t = u\n        y = y * 0.5 + t\n    return y",
    "    c = 1.5\n    for i in range(200):\n        c = c * 0.5 + 1\n        x = math.sin(x + c) * y\n    return x - z / 3 - (-y) / z",
]  # fmt: skip
POINTS = ((0.73, -1.21, 1.37), (-1.13, 0.64, -0.41), (0.21, 0.87, 0.33), (1.43, 1.19, -1.91))
TURNS = (3, 4, 2, 0)
NAMES = test_derivatives.NAMES
#: What is executed anew above a changed module.
ABOVE = (tangents, parse, reverse, unroll, write)


@functools.cache
def cases():
    """(text, point, n, exact slopes, exact second derivatives) of formulas at points without kinks."""
    drawn, dice = [], random.Random(1)

    @seed(1)
    @settings(max_examples=70, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck])
    @given(formulas())
    def draw(text):
        drawn.append(text)

    draw()
    texts = [f"def f(x, y, z, n):\n{body}\n" for body in WRITTEN]
    found = []
    tried = itertools.chain(itertools.product(texts, zip(POINTS, TURNS, strict=True)), ((t, (dice.choice(POINTS), 3)) for t in drawn))
    for text, (point, n) in tried:
        try:
            test_derivatives.program(function(text))
            exact = function(text, *EXACT)
            (first, second), (again, _) = slopes(exact, point, n), slopes(exact, point, n, mp.mpf(10) ** -9)
        except (TypeError, UnboundLocalError, mp.libmp.ComplexResult, ArithmeticError):
            continue
        if all(abs(a - b) < 1e-6 for a, b in zip(first, again, strict=True)) and max(map(abs, [*first, *second])) < 1e4:
            found.append((text, point, n, [*map(float, first)], [*map(float, second)]))
    return found


def _formula(text, point, n, first, second):
    f = test_derivatives.program(function(text))
    close = test_derivatives.close
    gradient = reverse.gradients(f, ("x", "y", "z"))
    if not close(write.function(gradient, "gradient", NAMES)(*point, n), first, 1e-8):
        return "gradient"
    less = reverse.gradients(f, ("y",), "g")
    if not close(write.function(less, "gradient", [*NAMES, "g"])(*point, n, -2.0), [first[0], -2 * first[2]], 1e-8):
        return "backward"
    written_out = unroll.unrolled(gradient)
    if not close(write.function(written_out, "gradient", NAMES)(*point, n), first, 1e-8):
        return "written out"
    if "range(n)" not in text and unroll.has_loop(written_out) != ("range(200)" in text):
        return "what is written out"
    along = tangents.tangent(f, {"x": "x_t", "z": 2.0})
    change = write.function(along, "along", [*NAMES, "x_t"])(*point, n, 0.5)
    if not close(change, [first[0], 0.5 * first[1] + 2 * first[3]], 1e-8):
        return "tangent"
    twice = write.function(tangents.tangent(gradient, {"x": 1.0}), "second", NAMES)(*point, n)
    if not close(twice[3::2], second, 1e-6):
        return "second derivative"
    b = program.Builder()
    values = [b.argument("x"), b.argument("y"), b.argument("z"), b.argument("n", "integer")]
    doubled = b.times(b.constant(2), tangents.inline(b, f, values))
    whole = program.Program("twice", b, [("value", doubled)])
    return "" if close([write.function(whole, "twice", NAMES)(*point, n)], [2 * first[0]], 1e-10) else "inlined"


#: Of known formulas: what the source is like, ways not taken, float32.
TESTS = [
    getattr(test_derivatives, f"test_{name}")
    for name in (
        "source_reads_as_written_by_hand", "source_of_branches_and_loops", "source_carries_only_what_changes",
        "source_without_names_of_nothing", "integers_that_formulas_are_called_with_become_real", "what_has_no_derivative_is_said",
        "a_way_not_taken_does_no_harm", "float32_stays_float32",
    )
]  # fmt: skip


@np.errstate(all="ignore")
def found_by():
    """What finds that nbgrad.derive is wrong, as it stands now; "" if nothing does."""
    try:
        for test in TESTS:
            test()
    except AssertionError:
        return "tests of known formulas"
    except Exception as error:
        return f"raised {type(error).__name__}"
    for case in cases():
        try:
            if by := _formula(*case):
                return by
        except Exception as error:
            return f"raised {type(error).__name__}"
    return ""


def verdict(module, changed):
    """What finds the ``changed`` code of a module of nbgrad.derive ("" if nothing does): it runs in the module's place."""
    spaces = [(m, dict(vars(m))) for m in ABOVE]
    try:
        exec(changed, vars(module))
        for above in ABOVE[ABOVE.index(module) + 1 :]:
            exec(_code(above), vars(above))
        return found_by()
    finally:
        for m, space in spaces:
            vars(m).clear()
            vars(m).update(space)


@functools.cache
def _code(module):
    path = Path(module.__file__)
    return compile(path.read_text("utf-8"), str(path), "exec")


@np.errstate(all="ignore")
def rule_verdict(name, i, text):
    """What finds another text of a function's partial derivative: the same differences that the rules are tested by."""
    f = rules.FUNCTIONS[name]
    changed = dataclasses.replace(f, partials=(*f.partials[:i], text, *f.partials[i + 1 :]))
    try:
        if test_derivation_rules.wrong(changed):
            return "differences"
        rules.FUNCTIONS[name] = changed
        for edge in test_derivation_rules.EDGES:
            if edge[0] == name:
                test_derivation_rules.test_at_edges(*edge)
    except AssertionError:
        return "tests of known formulas"
    except Exception as error:
        return f"raised {type(error).__name__}"
    finally:
        rules.FUNCTIONS[name] = f
    return ""


#: Survivors that change nothing: function, change, reason.
EQUIVALENT = [
    ("active_in_loop", r"^1  ->  |found or out", "where the count begins, which is no set's size; and as the next"),
    ("_read", "^ ?for", "directions for numbers of the loop's own, of which nothing is written"),
    ("active_in_loop|visit|loop", "^ ?for .*->   ?for ", "more is taken to depend on the arguments: its changes are 0 and are not written"),
    ("_place", r"0\.5|^0  ->  1", "between the numbers of what stands before and after, which are whole"),
    ("visit", r"^(1  ->  0|3  ->  4)$", "the number after a statement is one of the loop's own, which are left out"),
    ("unrolled", "if False", "a copy is the same program"),
    ("loop", "> _LARGEST  ->  ", "a limit of time, by an operation"),
    ("node", r"copied\.name|if True:$", "which of its names a number has that is computed once"),
    ("leaky_relu|elu|huber", "x >= 0|< delta", "where both sides are 0"),
    ("abs", r"else x \+ x$", "0 and nan, to which it comes there, are their own double"),
]


def reason_for(function, change):
    """Why a survivor is none; "" if there is no reason."""
    return next((why for name, text, why in EQUIVALENT if re.fullmatch(name, function) and re.search(text, change)), "")
