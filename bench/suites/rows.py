"""The functions of whole rows, those of the table, logsumexp and maxout, forward and backward.

Into memory that is there (``out=``) where the peer can. The limit is a copy of as many bytes as are read and written.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from bench.record import Record
from bench.session import Call, Case, Job, Key, Session, both
from nbgrad import kernels
from nbgrad.formulas.table import ROW_FUNCTIONS

#: (rows, columns)
SHAPES = ((100, 10), (60_000, 10), (4096, 1000), (256, 50_000))
#: (rows, outputs, pieces)
MAXOUT = ((100, 32, 2), (4096, 512, 2), (4096, 512, 4))
NAMES = (*ROW_FUNCTIONS, "logsumexp")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument(
        "--only", nargs="*", choices=[*NAMES, "maxout"], help=", ".join([*NAMES, "maxout"]), metavar="NAME"
    )


def _join(session: Session, calls: dict[Key, Call], ask: Any) -> dict[Key, Call]:
    for peer in session.peers.values():
        calls |= {Key(peer.title, *key): call for key, call in ask(peer).items()}
    new = {k.direction for k in calls if k.memory == "new" and k.who != "nbgrad"}
    return {k: c for k, c in calls.items() if k.memory == "out" or k.direction in new}


def _work(forward: int, backward: int) -> dict[str, dict[str, int]]:
    several = {"forward": forward, "backward": backward, "both": forward + backward}
    return {direction: {"copy": moved} for direction, moved in several.items()}


def _rows(session: Session, name: str, dtype: str, shape: tuple[int, int], axis: int) -> list[Record]:
    place = session.place
    x = place.normal(shape, dtype)
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    y = forward(x, axis=axis)
    g = place.normal(y.shape, dtype, 1)
    out, grad_out = place.empty_like(y), place.empty_like(x)
    kept = x if name == "logsumexp" else y  # what backward takes
    calls: dict[Key, Call] = {
        Key("nbgrad", "forward", "out"): lambda: forward(x, axis=axis, out=out),
        Key("nbgrad", "backward", "out"): lambda: backward(g, kept, axis=axis, out=grad_out),
        Key("nbgrad", "forward", "new"): lambda: forward(x, axis=axis),
        Key("nbgrad", "backward", "new"): lambda: backward(g, kept, axis=axis),
    }
    calls = _join(session, calls, lambda peer: peer.rows(name, x, g, place.empty_like(y), place.empty_like(x), axis))
    case = Case(
        "rows", name, f"{shape}, axis {axis}", dtype, calls, (place.copying(x.nbytes),),
        work=_work(x.nbytes + y.nbytes, kept.nbytes + g.nbytes + x.nbytes),
        size=x.size, tolerance=512 * float(np.finfo(dtype).eps), sums=both("forward", "backward"),
    )  # fmt: skip
    return session.measure(case, rounds=11, budget=0.6)


def _maxout(session: Session, dtype: str, n: int, outputs: int, pieces: int) -> list[Record]:
    place = session.place
    x, g = (place.normal((n, k), dtype, k) for k in (outputs * pieces, outputs))
    y, dx, index = place.empty_like(g), place.empty_like(x), place.put(np.empty(g.shape, np.intp))

    def forward() -> Any:
        kernels.maxout(x, pieces, out=y, index_out=index)
        return y

    kernels.maxout(x, pieces, out=y, index_out=index)
    calls: dict[Key, Call] = {
        Key("nbgrad", "forward", "out"): forward,
        Key("nbgrad", "backward", "out"): lambda: kernels.maxout_backward(g, index, pieces, out=dx),
    }
    calls = _join(session, calls, lambda peer: peer.maxout(x, g, pieces, place.empty_like(y), place.empty_like(x)))
    case = Case(
        "rows", "maxout", f"({n}, {outputs}), {pieces} pieces", dtype, calls, (place.copying(x.nbytes),),
        work=_work(x.nbytes + y.nbytes + index.nbytes, g.nbytes + index.nbytes + x.nbytes),
        size=x.size, tolerance=0.0, sums=both("forward", "backward"),
    )  # fmt: skip
    return session.measure(case, rounds=11, budget=0.6)


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    chosen = arguments.only or [*NAMES, "maxout"]
    for dtype in arguments.dtypes if not session.quick else arguments.dtypes[:1]:
        for name in NAMES:
            if name in chosen:
                for shape in SHAPES[1:3] if session.quick or dtype != "float32" else SHAPES:
                    for axis in (1,) if session.quick or dtype != "float32" else (1, 0):
                        s = shape if axis else shape[::-1]
                        yield Job(f"{name} {dtype} {s}, axis {axis}", partial(_rows, session, name, dtype, s, axis))
        if "maxout" in chosen:
            for n, outputs, pieces in MAXOUT[1:2] if session.quick else MAXOUT:
                yield Job(f"maxout {dtype} {n}", partial(_maxout, session, dtype, n, outputs, pieces))
