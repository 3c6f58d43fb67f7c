"""Derived formulas as machine code, without a GPU: like ``test_ptx``, of formulas with branches and loops."""

import math

import numpy as np
import pytest
from numba import float32, float64, int64
from numba.types import BaseTuple
from test_ptx import CAPABILITIES, assembled, compiled

from nbgrad import differentiable, elementary, kernels
from nbgrad.derive import write
from nbgrad.derive.unroll import has_loop, unrolled

pytestmark = pytest.mark.cuda


@differentiable
def nll(w, b, x, y):
    z = w * x + b
    return kernels.softplus(z) - y * z


@differentiable
def focal(x, target, gamma):
    """A power of a probability, by branches on the label."""
    if target > 0.5:
        p = kernels.sigmoid(-x)
        loss = kernels.softplus(-x)
    else:
        p = kernels.sigmoid(x)
        loss = kernels.softplus(x)
    return p**gamma * loss


@differentiable
def pieces(x, a):
    """Branches in a branch, ties, a branch that returns."""
    if x > 3:
        return a * math.sqrt(x)
    if x < -1:
        y = a * x * x if a > 0 else x * x * x
    elif x < 0:
        y = abs(x) + max(a, x, 0.25)
    else:
        y = kernels.huber_loss(x, a)
    return y + 1


@differentiable
def mixture(x, m, s):
    """The log density of eight normal distributions: a loop that is written out."""
    total = 0.0
    for k in range(8):
        z = (x - m - 0.5 * k) / (s + 0.1 * k)
        total += elementary.exp(-0.5 * z * z) / (s + 0.1 * k)
    return elementary.log(total)


@differentiable
def logistic_map(r, x, n):
    """A loop whose turns the call says."""
    for _ in range(n):
        x = r * x * (1 - x)
    return x


@differentiable
def newton(a, x, n):
    """Branches in a loop, an integer that is counted, an index that is used."""
    steps = 0
    for i in range(1, n, 2):
        if x * x > a:
            x = (x + a / x) / 2
            steps += i
        else:
            x = x + 0.1 * i
    return x + 0.001 * steps


@differentiable
def lennard_jones(r, epsilon, sigma):
    if r > 2.5 * sigma:
        return 0.0
    s = (sigma / r) ** 6
    return 4 * epsilon * (s * s - s)


@differentiable
def price(s, k, t, r, v):
    """Black & Scholes: the normal distribution by erf."""
    d = (elementary.log(s / k) + (r + v * v / 2) * t) / (v * math.sqrt(t))
    e = d - v * math.sqrt(t)
    c = math.sqrt(0.5)
    return s * (0.5 + 0.5 * math.erf(c * d)) - k * elementary.exp(-r * t) * (0.5 + 0.5 * math.erf(c * e))


@differentiable
def products(a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p):  # noqa: E741
    """Much to load, and little to do."""
    return (a * b + c * d + e * f) * (g * h + i * j) + k * l * m * n * elementary.exp(o * p)


#: With the number of arguments, the last ones, that come as numbers, as in a sum over data.
FORMULAS = {
    "nll": (nll, 0), "focal": (focal, 1), "pieces": (pieces, 0), "mixture": (mixture, 2),
    "logistic_map": (logistic_map, 1), "newton": (newton, 1), "lennard_jones": (lennard_jones, 2), "price": (price, 3),
}  # fmt: skip


def kernel(formula, scalars, kind, number):
    """The kernel of one kind of derivative, and its arguments' types. "sum": all derivatives, those of numbers summed."""
    from nbgrad.cuda.formula import Formula

    reals = tuple(n for n in formula._arguments if formula.kinds[n] == "real")
    arrays = len(formula._arguments) - scalars
    derived = formula.derived("value" if kind == "value" else "grad_hess" if kind == "grad_hess" else "grad",
                              reals[:1] if kind == "grad_hess" else () if kind == "value" else reals)  # fmt: skip
    program, order = unrolled(derived.program), [*formula._arguments]
    outs = [*range(len(program.results))]
    summed = []
    if kind == "sum":
        summed = [0, *(1 + k for k, n in enumerate(reals) if order.index(n) >= arrays)]
    kept = [k for k in outs if k not in summed]
    program.results = [program.results[k] for k in (*kept, *summed)]
    f = Formula(write.function(program, formula.__name__, order), formula.__name__, arrays, len(kept), len(summed), len(order) - arrays, not has_loop(program))
    given = [number if formula.kinds[n] == "real" else int64 for n in order[arrays:]]
    a = number[::1]
    types = (*[a] * (arrays + len(kept) + len(summed)), int64, BaseTuple.from_types(given))
    return f._kernel(np.dtype(str(number))), types, not has_loop(program)


CASES = [
    (kind, number, capability)
    for kind, numbers, capabilities in (
        ("value", (float32, float64), CAPABILITIES[:1]), ("grad", (float32, float64), CAPABILITIES),
        ("sum", (float32, float64), CAPABILITIES[:1]), ("grad_hess", (float32,), CAPABILITIES[1:]),
    )
    for number in numbers
    for capability in capabilities
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"{c[0]}-{c[1]}-{c[2][0]}.{c[2][1]}")
@pytest.mark.parametrize("name", FORMULAS)
def test_machine_code(name, case, monkeypatch, tmp_path):
    kind, number, capability = case
    made, types, by_lines = kernel(*FORMULAS[name], kind, number)
    ptx = compiled(made, types, capability, monkeypatch)
    line = f"global.v{4 if number is float32 else 2}.f"
    assert by_lines == (name not in ("logistic_map", "newton"))
    assert by_lines == (f"ld.{line}" in ptx) == (f"st.{line}" in ptx)
    assert ".local" not in ptx
    if number is float32:
        assert ".f64" not in ptx and "call" not in ptx
    else:
        assert "call" not in ptx or name in ("focal", "lennard_jones")  # CUDA's own power
    # 256 threads of a block have room with 255 registers; of float32 numbers two such blocks
    assembled(ptx, capability, tmp_path, 128 if number is float32 else 255)


@pytest.mark.parametrize("name, ahead", {"nll": 2, "pieces": 2, "price": 2, "mixture": 1, "products": 1}.items())
def test_two_lines_of_each_array_are_under_way_where_registers_are_left(name, ahead, monkeypatch, tmp_path):
    formula, scalars = FORMULAS.get(name, (products, 0))
    made, types, _ = kernel(formula, scalars, "sum", float32)
    ptx = compiled(made, types, CAPABILITIES[0], monkeypatch)
    assert ptx.count("ld.global.v4.f") == ahead * (len(formula._arguments) - scalars)
    assembled(ptx, CAPABILITIES[0], tmp_path)
