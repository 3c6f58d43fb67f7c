"""Formulas drawn by hypothesis from the language that a formula may be written in, and what mpmath says of them."""

import linecache
import math
from types import SimpleNamespace

import mpmath as mp
from hypothesis import strategies as st

from nbgrad import kernels

MATH = SimpleNamespace(**{n: getattr(mp, n) for n in ("sin", "cos", "tanh", "atan", "asinh", "erf", "log", "exp", "sqrt", "hypot")})
KERNELS = SimpleNamespace(
    sigmoid=lambda x: 1 / (1 + mp.exp(-x)),
    softplus=lambda x: mp.log1p(mp.exp(x)),
    silu=lambda x: x / (1 + mp.exp(-x)),
    gelu=lambda x: x * mp.ncdf(x),
    mish=lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    softsign=lambda x: x / (1 + abs(x)),
    elu=lambda x: x if x > 0 else mp.expm1(x),
    log_sigmoid=lambda x: -mp.log1p(mp.exp(-x)),
    huber_loss=lambda x, t: (x - t) ** 2 / 2 if abs(x - t) <= 1 else abs(x - t) - mp.mpf(1) / 2,
    mse_loss=lambda x, t: (x - t) ** 2,
)
ONE = [
    *(f"math.{n}" for n in ("sin", "tanh", "atan", "asinh", "erf")),
    *(f"kernels.{n}" for n in ("sigmoid", "softplus", "silu", "gelu", "mish", "softsign", "elu", "log_sigmoid")),
]


@st.composite
def expressions(draw, names, depth=3):
    """Text of bounded size: quotients and logarithms stay away from their poles."""
    if depth == 0:
        return draw(st.sampled_from([*names, *names, "2", "0.5", "1.5", "-1"]))
    part = expressions(names, depth - 1)
    kind = draw(st.sampled_from(["name", "two", "two", "two", "quotient", "one", "one", "log", "power", "choice", "max", "loss", "rest"]))
    if kind == "name":
        return draw(st.sampled_from(names))
    if kind == "two":
        return f"({draw(part)} {draw(st.sampled_from('+-*'))} {draw(part)})"
    if kind == "quotient":
        return f"({draw(part)} / (2 + math.sin({draw(part)})))"
    if kind == "one":
        return f"{draw(st.sampled_from(ONE))}({draw(part)})"
    if kind == "log":
        return f"math.log(1.5 + math.cos({draw(part)}))"
    if kind == "power":
        return f"({draw(part)}) ** {draw(st.sampled_from([2, 3]))}"
    if kind == "choice":
        return f"({draw(part)} if {draw(conditions(names))} else {draw(part)})"
    if kind == "max":
        return f"{draw(st.sampled_from(['max', 'min']))}({draw(part)}, {draw(part)})"
    if kind == "rest":
        return f"({draw(part)} % (2 + math.sin({draw(part)})))"
    return f"kernels.{draw(st.sampled_from(['huber_loss', 'mse_loss']))}({draw(part)}, {draw(part)})"


@st.composite
def conditions(draw, names):
    a, b = draw(expressions(names, 1)), draw(expressions(names, 1))
    text = f"{a} {draw(st.sampled_from(['<', '>', '<=', '>=']))} {b}"
    return text if draw(st.booleans()) else f"({text} {draw(st.sampled_from(['and', 'or']))} {draw(expressions(names, 0))} > 0)"


@st.composite
def blocks(draw, names, indent, depth):
    lines, names = [], list(names)
    for _ in range(draw(st.integers(1, 2))):
        kind = draw(st.sampled_from(["assign", "add", "if", "for"] if depth else ["assign", "add"]))
        if kind == "assign":
            name = draw(st.sampled_from(["u", "v", "x", "y"]))
            lines.append(f"{indent}{name} = {draw(expressions(names, 2))}")
            names.append(name)
        elif kind == "add":
            lines.append(f"{indent}{draw(st.sampled_from(['x', 'y']))} += 0.3 * {draw(st.sampled_from(names))}")
        elif kind == "if":
            lines.append(f"{indent}if {draw(conditions(names))}:")
            lines += draw(blocks(names, indent + "    ", depth - 1))
            if draw(st.booleans()):
                lines.append(f"{indent}else:")
                lines += draw(blocks(names, indent + "    ", depth - 1))
        else:
            turns = draw(st.sampled_from(["3", "n", "1, 4", "0, 6, 2"]))
            lines.append(f"{indent}for i{depth} in range({turns}):")
            lines += draw(blocks([*names, f"i{depth}"], indent + "    ", depth - 1))
            name = draw(st.sampled_from(["x", "y"]))  # numbers stay bounded over many turns
            lines.append(f"{indent}    {name} = math.tanh({name}) + 0.1 * {draw(st.sampled_from(names))}")
    return lines


@st.composite
def formulas(draw):
    """The text of ``f(x, y, z, n)``. Names that a way leaves without a value are not used after it."""
    lines = draw(blocks(["x", "y", "z"], "    ", 2))
    return "\n".join(["def f(x, y, z, n):", *lines, f"    return {draw(expressions(['x', 'y', 'z']))}", ""])


EXACT = MATH, KERNELS
STEP = mp.mpf(10) ** -12
_count = 0


def function(text, math=math, kernels=kernels):
    """The function, its source where Python finds it, of these libraries' functions: `EXACT` are mpmath's."""
    global _count
    _count += 1
    file = f"<formula {_count}>"
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    scope = {"math": math, "kernels": kernels}
    exec(compile(text, file, "exec"), scope)
    return scope["f"]


def slopes(f, point, n, h=STEP):
    """Value, partial derivatives, and the second ones in the first argument and each: differences in 50 digits."""
    with mp.workdps(50):
        at = [mp.mpf(v) for v in point]

        def moved(i, by, base):
            return [v + by if k == i else v for k, v in enumerate(base)]

        def slope(i, base):
            return (f(*moved(i, h, base), n) - f(*moved(i, -h, base), n)) / (2 * h)

        first = [slope(i, at) for i in range(len(at))]
        second = [(slope(i, moved(0, h, at)) - slope(i, moved(0, -h, at))) / (2 * h) for i in range(len(at))]
        return [f(*at, n), *first], second
