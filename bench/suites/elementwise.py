"""Every activation of `nbgrad.formulas.table.OPS`, forward and backward, over array size; and a sweep from 1 to 10⁸
elements.

``out=`` against ``out=`` where the peer has it, allocating against allocating where it has not. The limit is a copy of
as many bytes: forward reads and writes an array, backward reads two and writes one. ``--check`` prints the geometric
means of the ratios to PyTorch and names what is slower.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from bench.flops import count
from bench.record import OWN, Record
from bench.session import Call, Case, Job, Key, Session, both
from nbgrad import kernels
from nbgrad.formulas.table import OPS, Elementwise

SIZES = (1 << 10, 1 << 16, 1 << 24)
SWEEP = tuple(10**k for k in range(9))
#: how many rows of the table are swept over size
SWEPT = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--sizes", type=int, nargs="*", help="elements (1024, 65536, 16777216; float64: the first two)")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument("--only", nargs="*", choices=list(OPS), help="names of functions", metavar="NAME")
    parser.add_argument("--no-sweep", action="store_true", help="without the sizes from 1 to 10⁸")
    parser.add_argument("--check", action="store_true", help="geometric means, and what is slower than PyTorch")


def own_calls(name: str, x: Any, g: Any, out: Any) -> dict[Key, Call]:
    """nbgrad's public functions, into ``out`` and allocating."""
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    return {
        Key("nbgrad", "forward", "out"): lambda: forward(x, out=out),
        Key("nbgrad", "backward", "out"): lambda: backward(g, x, out=out),
        Key("nbgrad", "forward", "new"): lambda: forward(x),
        Key("nbgrad", "backward", "new"): lambda: backward(g, x),
    }


def case(
    session: Session, op: Elementwise, n: int, dtype: str, directions: tuple[str, ...] = ("forward", "backward")
) -> Case:
    """One operator on arrays of n normally distributed numbers."""
    place = session.place
    x, g = (place.normal(n, dtype, seed) for seed in range(2))
    calls = own_calls(op.name, x, g, place.empty_like(x))
    for peer in session.peers.values():
        found = peer.elementwise(op, x, g, place.empty_like(x))
        calls |= {Key(peer.title, *key): call for key, call in found.items()}
    calls = {k: c for k, c in calls.items() if k.direction in directions}
    # allocating is measured of the peers that have no ``out`` in one of the directions, and of nbgrad beside them
    into = [k.who for k in calls if k.memory == "out"]
    calls = {k: c for k, c in calls.items() if k.memory == "out" or k.who == OWN or into.count(k.who) < len(directions)}
    new = {k.direction for k in calls if k.memory == "new" and k.who != OWN}
    calls = {k: c for k, c in calls.items() if k.memory == "out" or k.direction in new}
    arguments = 1 + len(op.parameters)
    return Case(
        "elementwise", op.name, f"{n:,}", dtype, calls, (place.copying(x.nbytes),),
        work={"forward": {"copy": 2 * x.nbytes}, "backward": {"copy": 3 * x.nbytes}, "both": {"copy": 5 * x.nbytes}},
        flops={} if session.quick else {
            "forward": n * count(op.forward, arguments), "backward": n * (1 + count(op.derivative, arguments)),
        },
        size=n, tolerance=128 * float(np.finfo(dtype).eps), sums=both("forward", "backward"),
    )  # fmt: skip


def _measure(session: Session, op: Elementwise, n: int, dtype: str) -> list[Record]:
    return session.measure(case(session, op, n, dtype), budget=0.7)


def _sweep(session: Session, op: Elementwise, n: int) -> list[Record]:
    swept = case(session, op, n, "float32", ("forward",))
    swept.suite = "sizes"
    return session.measure(swept, rounds=9, budget=0.8)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    for dtype in arguments.dtypes if not session.quick else arguments.dtypes[:1]:
        default = SIZES[1:2] if session.quick else SIZES if dtype == "float32" else SIZES[:2]
        for n in arguments.sizes or default:
            for name in arguments.only or OPS:
                yield Job(f"{name} {dtype} {n:,}", partial(_measure, session, OPS[name], n, dtype))
    if arguments.no_sweep:
        return
    swept = (arguments.only or list(OPS))[: 1 if session.quick else SWEPT]
    for name in swept:
        for n in SWEEP[::2] if session.quick else SWEEP:
            if not (session.quick and n > 10**6):
                yield Job(f"{name} {n:,}", partial(_sweep, session, OPS[name], n))


def summary(records: list[Record], check: bool = False) -> list[str]:
    """Lines below the tables: geometric means against PyTorch; with ``check`` what is slower."""
    of = [r for r in records if r.suite == "elementwise" and r.direction == "both" and r.who == "PyTorch" and r.ratio]
    if not of:
        return []

    def mean(chosen: list[Record]) -> str:
        values = [r.ratio.median for r in chosen if r.ratio]
        return f"{statistics.geometric_mean(values):.2f}" if values else "not measured"

    small = mean([r for r in of if r.size < 1 << 20])
    large = mean([r for r in of if r.size >= 1 << 20])
    what = "PyTorch / nbgrad, forward and backward together, geometric mean"
    lines = [f"{what}: {small} in the cache, {large} beyond it"]
    if check:
        slow = [f"{r.name} {r.dtype} {r.shape}: {r.ratio.median:.2f}" for r in of if r.ratio and r.ratio.median < 1]
        lines.append("slower than PyTorch: " + ("; ".join(slow) or "none"))
    return lines
