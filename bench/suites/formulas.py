"""`nbgrad.differentiable`: value and all gradients of a formula's sum, beside frameworks that differentiate and a loop
written by hand on nbgrad's formulas; calls on numbers, calls within compiled code, first calls in new processes.

The limit is a copy of as many bytes as the arrays and their gradients have.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import numba
import numpy as np

from bench.record import Record
from bench.session import Call, Case, Job, Key, Session
from bench.suites.startup import first_calls
from nbgrad import differentiable, kernels
from nbgrad.formulas.classic import d_sigmoid, d_tanh, sigmoid, tanh

SIZES = (1 << 10, 1 << 16, 1 << 24)
_LOG_2PI = math.log(2 * math.pi)


@differentiable
def gate(w, x, b):
    return np.tanh(w * x + b) * kernels.sigmoid(x)


@differentiable
def bernoulli(w, b, x, y):
    z = w * x + b
    return kernels.softplus(z) - y * z


@differentiable
def poisson(w, b, x, y):
    z = w * x + b
    return math.exp(z) - y * z


@differentiable
def focal(x, y):
    """Lin et al., Focal loss for dense object detection (2017), gamma = 2."""
    p = kernels.sigmoid(x)
    q = p + y - 2 * p * y
    return q * q * (kernels.softplus(x) - y * x)


@differentiable
def huber(x, y):
    return kernels.huber_loss(x, y)


@differentiable
def black_scholes(spot, strike, time, rate, volatility):
    """A European call's price; its derivatives are the Greeks."""
    root = volatility * math.sqrt(time)
    d = (math.log(spot / strike) + (rate + 0.5 * volatility * volatility) * time) / root
    discounted = strike * math.exp(-rate * time)
    return 0.5 * (spot * math.erfc(-0.7071067811865476 * d) - discounted * math.erfc(0.7071067811865476 * (root - d)))


@differentiable
def mixture(x, center, step):
    """Minus the log density of 8 normal distributions side by side."""
    total = 0.0
    for k in range(8):
        d = x - center - step * k
        total += math.exp(-0.5 * d * d)
    return 0.5 * _LOG_2PI + math.log(8) - math.log(total)


@differentiable
def logistic_map(r, x):
    for _ in range(20):
        x = r * x * (1 - x)
    return x


@differentiable
def lennard_jones(distance, epsilon, sigma):
    s = sigma / distance
    cube = s * s * s
    square = cube * cube
    return 4 * epsilon * (square * square - square)


def _mixture(m: Any, x: Any, center: Any, step: Any) -> Any:
    total = 0.0
    for k in range(8):
        d = x - center - step * k
        total = total + m.exp(-0.5 * d * d)
    return 0.5 * _LOG_2PI + math.log(8) - m.log(total)


def _map(m: Any, r: Any, x: Any) -> Any:
    for _ in range(20):
        x = r * x * (1 - x)
    return x


def _black_scholes(m: Any, spot: Any, strike: Any, time: Any, rate: Any, volatility: Any) -> Any:
    root = volatility * m.sqrt(time)
    d = (m.log(spot / strike) + (rate + 0.5 * volatility * volatility) * time) / root
    discounted = strike * m.exp(-rate * time)
    return 0.5 * (spot * m.erfc(-0.7071067811865476 * d) - discounted * m.erfc(0.7071067811865476 * (root - d)))


def _focal(m: Any, x: Any, y: Any) -> Any:
    p = m.sigmoid(x)
    q = p + y - 2 * p * y
    return q * q * (m.softplus(x) - y * x)


def _lennard_jones(m: Any, distance: Any, epsilon: Any, sigma: Any) -> Any:
    s = sigma / distance
    cube = s * s * s
    square = cube * cube
    return 4 * epsilon * (square * square - square)


class Row(NamedTuple):
    """A formula; the same of a framework's arrays; its arguments: numbers, or (low, high) of arrays; its value as
    numexpr can write it.
    """

    formula: Any
    body: Callable[..., Any]
    arguments: tuple[Any, ...]
    text: str = ""


# fmt: off
ROWS = (
    Row(gate, lambda m, w, x, b: m.tanh(w * x + b) * m.sigmoid(x), ((-1, 1), (-3, 3), (-1, 1)),
        "tanh(w * x + b) / (1 + exp(-x))"),
    Row(bernoulli, lambda m, w, b, x, y: m.softplus(w * x + b) - y * (w * x + b), (0.75, -0.5, (-3, 3), (0, 1))),
    Row(poisson, lambda m, w, b, x, y: m.exp(w * x + b) - y * (w * x + b), (0.75, -0.5, (-3, 3), (0, 9)),
        "exp(w * x + b) - y * (w * x + b)"),
    Row(focal, _focal, ((-5, 5), (0, 1))),
    Row(huber, lambda m, x, y: m.where(abs(x - y) <= 1, 0.5 * (x - y) ** 2, abs(x - y) - 0.5), ((-3, 3), (-3, 3)),
        "where(abs(x - y) <= 1, (x - y) ** 2, 2 * abs(x - y) - 1) / 2"),
    Row(black_scholes, _black_scholes, ((80, 120), (80, 120), (0.5, 2), 0.03, (0.1, 0.5))),
    Row(mixture, _mixture, ((-3, 6), 0.5, 0.3)),
    Row(logistic_map, _map, (2.9, (0.1, 0.9))),
    Row(lennard_jones, _lennard_jones, ((0.9, 3), 1.1, 1.0),
        "4 * epsilon * ((sigma / distance) ** 12 - (sigma / distance) ** 6)"),
)
# fmt: on


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", nargs="*", type=int, default=list(SIZES))
    names = [row.formula.__name__ for row in ROWS]
    parser.add_argument("--only", nargs="*", choices=names, help=", ".join(names), metavar="NAME")


def _by_hand(parallel: bool) -> Any:
    """What a user of nbgrad's formulas would write for `gate`: a loop over arrays that takes the gradients' memory."""

    @numba.njit(parallel=parallel, error_model="numpy", fastmath={"contract", "reassoc", "nsz"})
    def loop(w, x, b, d_w, d_x, d_b):  # type: ignore[no-untyped-def]
        total = 0.0
        for i in numba.prange(x.size):
            u = w[i] * x[i] + b[i]
            t, s = tanh(u), sigmoid(x[i])
            d = s * d_tanh(u)
            total += t * s
            d_w[i], d_b[i], d_x[i] = d * x[i], d, d * w[i] + t * d_sigmoid(x[i])
        return total

    return loop


def _with_memory(loop: Any) -> Callable[..., Any]:
    def call(w: Any, x: Any, b: Any) -> Any:
        grads = [np.empty_like(x) for _ in range(3)]
        return loop(w, x, b, *grads), *grads

    return call


def _flat(found: Any) -> list[Any]:
    return [found[0], *found[1]]


def _measure(session: Session, row: Row, n: int) -> list[Record]:
    rng = np.random.default_rng(0)
    place = session.place
    arguments = [
        place.put(rng.uniform(*a, n).astype(np.float32)) if isinstance(a, tuple) else float(a) for a in row.arguments
    ]
    formula, both = row.formula, "value_and_grad"
    name = formula.__name__
    calls: dict[Key, Call] = {Key("nbgrad", both, "new"): lambda: _flat(formula.sum.value_and_grad(*arguments))}
    for key, peer in session.peers.items():
        if key == "autograd" and n > 1_000_000:
            continue  # seconds a call
        if key == "compile" and formula in (mixture, logistic_map):
            session.missing[f"{peer.title}: {name}"] = "its loop takes minutes to compile"
            continue
        calls |= {Key(peer.title, *of): call for of, call in peer.formula(name, row.body, arguments).items()}
    if formula is gate and place.device == "cpu":
        loop = _by_hand(n > 32_768 and session.threads > 1)
        calls[Key("by hand", both, "new")] = partial(_with_memory(loop), *arguments)
        grads = tuple(np.empty(n, np.float32) for _ in range(3))
        calls[Key("nbgrad", both, "out")] = lambda: _flat(formula.sum.value_and_grad(*arguments, out=(None, grads)))
        calls[Key("by hand", both, "out")] = lambda: [loop(*arguments, *grads), *grads]
    if row.text and "numexpr" in session.peers:
        variables = dict(zip(formula._arguments, map(np.float32, arguments), strict=True))
        calls[Key("nbgrad", "value", "new")] = partial(formula.sum, *arguments)
        calls[Key("numexpr", "value", "new")] = lambda: session.peers["numexpr"].evaluate(row.text, variables, {}).sum()
    if formula is focal:
        calls[Key("nbgrad", "grad_hess", "new")] = partial(formula.grad_hess, *arguments)
    read = sum(a.nbytes for a in arguments if not isinstance(a, float))
    case = Case(
        "formulas", name, f"{n:,}", "float32", calls, (place.copying(read),), work={both: {"copy": 2 * read}},
        size=n, tolerance=2e-3,
    )  # fmt: skip
    return session.measure(case, rounds=11, budget=1.0)


def _numbers(session: Session) -> list[Record]:
    """Calls on Python's numbers; and `gate` over arrays within compiled code, beside the same by hand."""

    @numba.njit(error_model="numpy")
    def pair(w, x, b):  # type: ignore[no-untyped-def]
        u = w * x + b
        t, s = tanh(u), sigmoid(x)
        d = s * d_tanh(u)
        return t * s, (d * x, d * w + t * d_sigmoid(x), d)

    loop, both = _by_hand(False), "value_and_grad"

    @numba.njit
    def ours(w, x, b):  # type: ignore[no-untyped-def]
        return gate.sum.value_and_grad(w, x, b)

    @numba.njit
    def by_hand(w, x, b):  # type: ignore[no-untyped-def]
        d_w, d_x, d_b = np.empty_like(w), np.empty_like(x), np.empty_like(b)
        return loop(w, x, b, d_w, d_x, d_b), (d_w, d_x, d_b)

    rng, records = np.random.default_rng(0), []
    calls: dict[Key, Call] = {
        Key("nbgrad", both): lambda: _flat(gate.value_and_grad(0.5, 1.5, 0.25)),
        Key("by hand", both): lambda: _flat(pair(0.5, 1.5, 0.25)),
    }
    records += session.measure(Case("formulas", "gate on numbers", "", "float64", calls), budget=0.2)
    for n in SIZES[:2]:
        w, x, b = (rng.uniform(-1, 1, n).astype(np.float32) for _ in range(3))
        calls = {
            Key("nbgrad", both, "new"): lambda w=w, x=x, b=b: _flat(ours(w, x, b)),  # type: ignore[misc]
            Key("by hand", both, "new"): lambda w=w, x=x, b=b: _flat(by_hand(w, x, b)),  # type: ignore[misc]
        }
        records += session.measure(
            Case("formulas", "gate within @njit", f"{n:,}, one thread", "float32", calls, size=n), budget=0.5
        )
    return records


def _first(session: Session, n: int) -> list[Record]:
    arrays = f"w, x, b = np.linspace(-3, 3, {3 * n}, dtype=np.float32).reshape(3, -1)"
    call, setup = "gate.sum.value_and_grad(w, x, b)", "from bench.suites.formulas import gate\n" + arrays
    return first_calls(session, "formulas", "gate", f"{n:,}", call, setup)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    chosen = [row for row in ROWS if not arguments.only or row.formula.__name__ in arguments.only]
    for n in arguments.sizes[:2] if session.quick else arguments.sizes:
        for row in chosen:
            if n <= 1_000_000 or row.formula is gate or arguments.only:
                yield Job(f"{row.formula.__name__} {n:,}", partial(_measure, session, row, n))
    if not arguments.only:
        yield Job("numbers, within @njit", partial(_numbers, session))
        for n in SIZES[:1] if session.quick else SIZES[:2]:
            yield Job(f"first call, {n:,}", partial(_first, session, n))
