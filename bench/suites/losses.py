"""Every loss of `nbgrad.formulas.table.LOSSES` (the mean over 65536 and 16777216 elements) and cross-entropy: the
value, and value and gradient in one pass.

The limit of a loss is reading its two arrays; with the gradient a copy of as many bytes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from bench.flops import count
from bench.record import Record
from bench.session import Call, Case, Job, Key, Session
from nbgrad import kernels
from nbgrad.formulas.table import LOSSES, Loss
from nbgrad.kernels import losses

SIZES = (1 << 16, 1 << 24)
#: (rows, classes) of cross-entropy
SHAPES = ((100, 10), (60_000, 10), (4096, 1000), (256, 50_000))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    names = [*LOSSES, "cross_entropy"]
    parser.add_argument("--only", nargs="*", choices=names, help=", ".join(names), metavar="NAME")


def _join(session: Session, calls: dict[Key, Call], ask: Any) -> dict[Key, Call]:
    for peer in session.peers.values():
        calls |= {Key(peer.title, *key): call for key, call in ask(peer).items()}
    memories = {(k.direction, k.memory) for k in calls if k.who != "nbgrad"} | {
        ("value", "new"),
        ("value_and_grad", "out"),
    }
    return {k: c for k, c in calls.items() if (k.direction, k.memory) in memories}


def _calls(run: Any, grad_out: Any) -> dict[Key, Call]:
    """The value has no ``out``: it is compared with both kinds of peers."""
    return {
        Key("nbgrad", "value", "new"): lambda: run(False, None),
        Key("nbgrad", "value", "out"): lambda: run(False, None),
        Key("nbgrad", "value_and_grad", "out"): lambda: run(True, grad_out),
        Key("nbgrad", "value_and_grad", "new"): lambda: run(True, None),
    }


def case(session: Session, op: Loss, n: int, dtype: str) -> Case:
    """One row of the table on n elements. Called by the row, as the public functions do it."""
    place = session.place
    x = place.normal(n, dtype)
    target = kernels.sigmoid(place.normal(n, dtype, 1))  # between 0 and 1, or the ends of what targets may be
    low, high = op.targets
    if low > 0 or high < 1:
        target = target * (high - low) + low if high - low < np.inf else target + max(low, min(high - 1, 0))

    def run(grad: bool, out: Any) -> Any:
        return losses._loss(op, x, target, "mean", op.parameters, grad=grad, grad_out=out)

    calls = _join(session, _calls(run, place.empty_like(x)), lambda peer: peer.loss(op, x, target))
    arguments = 2 + len(op.parameters)
    value = 0 if session.quick else 1 + count(op.forward, arguments)
    return Case(
        "losses", op.name, f"{n:,}", dtype, calls, (place.copying(x.nbytes), place.reading(x.nbytes)),
        work={"value": {"read": 2 * x.nbytes}, "value_and_grad": {"copy": 3 * x.nbytes}},
        flops={} if session.quick else {
            "value": n * value, "value_and_grad": n * (value + 1 + count(op.derivative, arguments)),
        },
        size=n, tolerance=2e-4 if dtype == "float32" else 1e-11,
    )  # fmt: skip


def _elementwise(session: Session, op: Loss, n: int, dtype: str) -> list[Record]:
    return session.measure(case(session, op, n, dtype), rounds=11, budget=1.0)


def _cross_entropy(session: Session, dtype: str, n: int, classes: int) -> list[Record]:
    place = session.place
    x, labels = place.normal((n, classes), dtype), place.put(np.random.default_rng(0).integers(0, classes, n))

    def run(grad: bool, out: Any) -> Any:
        if grad:
            return kernels.cross_entropy_value_and_grad(x, labels, grad_out=out)
        return kernels.cross_entropy(x, labels)

    calls = _join(session, _calls(run, place.empty_like(x)), lambda peer: peer.cross_entropy(x, labels))
    case = Case(
        "losses", "cross_entropy", f"({n}, {classes})", dtype, calls,
        (place.copying(x.nbytes), place.reading(x.nbytes)),
        work={"value": {"read": x.nbytes}, "value_and_grad": {"copy": 2 * x.nbytes}}, size=x.size,
        tolerance=2e-4 if dtype == "float32" else 1e-11,
    )  # fmt: skip
    return session.measure(case, rounds=11, budget=1.0)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    for dtype in arguments.dtypes if not session.quick else arguments.dtypes[:1]:
        for n in SIZES[:1] if session.quick or dtype != "float32" else SIZES:
            for name, op in LOSSES.items():
                if not arguments.only or name in arguments.only:
                    yield Job(f"{name} {dtype} {n:,}", partial(_elementwise, session, op, n, dtype))
        if not arguments.only or "cross_entropy" in arguments.only:
            for shape in SHAPES[1:3] if session.quick else SHAPES:
                yield Job(f"cross_entropy {dtype} {shape}", partial(_cross_entropy, session, dtype, *shape))
