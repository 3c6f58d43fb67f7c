"""The worst error of every kernel, forward and backward, in units in the last place (ulp) of the exact
result, with the input where it occurs.

float32 is measured on every 61st of all inputs, with ``--exhaustive`` on every one of the 2³²; float64 on ``--points``
points: a half log-uniform over all exponents, a quarter over ordinary magnitudes, a quarter densely around the branch
points. Peers that are installed stand beside it. Where a derivative crosses zero (see
`nbgrad.formulas.table.Elementwise`), an error of eps where it is below ½ is none.
"""

from __future__ import annotations

import argparse
import atexit
import concurrent.futures
import functools
import multiprocessing
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import mpmath
import numba
import numpy as np
from numba import njit

from bench import curve
from bench.record import OWN, Record, Spread
from bench.references import FUNCTIONS, in_arrays, in_exact_arithmetic
from bench.session import Job, Session
from nbgrad.formulas.table import OPS
from nbgrad.jit import serial_loops

BRANCH_POINTS = (
    0.0, 0.34657359, 0.5, 0.7, 0.7518, 0.8, 0.85, 1.0, 1.19, 1.2785, 3.0, 6.0, 9.0, 17.33, 22.18, 38.5, 87.34, 88.72,
    103.97, 709.78, 745.13,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exhaustive", action="store_true", help="all 2³² float32 inputs")
    parser.add_argument("--stride", type=int, help="every how many bit patterns of float32 (61; with --quick 6007)")
    parser.add_argument("--points", type=int, default=5000, help="inputs of float64 (1000000: up to an hour)")
    parser.add_argument("--only", nargs="*", help="names of functions")
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument("--alone", action="store_true", help="without the peers")


@njit(error_model="numpy", nogil=True)
def _worst(result, exact, exact_bits, close):
    """(largest error in ulp, its index) of float32 results; ``exact_bits`` is ``exact`` (float64) seen as integers.
    ``close``: an absolute error that is none, where the value is below ½.
    """
    worst, where = -1.0, 0
    for i in range(result.size):
        y, t = np.float64(result[i]), exact[i]
        if np.isnan(t) or np.isnan(y):
            error = 0.0 if np.isnan(t) and np.isnan(y) else np.inf
        elif y == t or (abs(t) >= 2.0**128 - 2.0**103 and y == np.copysign(np.inf, t)):
            error = 0.0
        elif abs(t) < 0.5 and abs(y - t) <= close:
            error = 0.0
        else:
            exponent = ((exact_bits[i] >> 52) & 0x7FF) - 1023
            error = abs(y - t) / 2.0 ** max(exponent - 23, -149)
        if error > worst:
            worst, where = error, i
    return worst, where


def _crosses_zero(name: str, direction: str) -> bool:
    return direction == "gradient" and OPS[name].crosses_zero


def worst_float32(
    functions: list[Callable[[Any], Any] | None], name: str, direction: str, stride: int
) -> list[tuple[float, float] | None]:
    """The worst error of each function over every ``stride``-th float32, and its input."""
    reference = in_arrays(name, direction)
    close = float(np.finfo(np.float32).eps) if _crosses_zero(name, direction) else 0.0

    step = (1 << 16) * stride  # so many at a time that they stay in the cache

    def worst_of(start: int) -> list[Any]:
        x = np.arange(start, min(start + step, 1 << 32), stride, dtype=np.uint32).view(np.float32)
        with serial_loops(), np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
            found = []
            for f in functions:
                error, i = -1.0, 0
                if f is not None:
                    error, i = _worst(np.ascontiguousarray(f(x)), exact, exact.view(np.int64), close)
                found.append((error, float(x[i])))
            return found

    with concurrent.futures.ThreadPoolExecutor(numba.get_num_threads()) as pool:  # the kernels release the GIL
        several = list(pool.map(worst_of, range(0, 1 << 32, step)))
    return [None if f is None else max(w[k] for w in several) for k, f in enumerate(functions)]


def float64_inputs(points: int) -> Any:
    rng = np.random.default_rng(0)
    x = np.ldexp(1 + rng.random(points // 2), rng.integers(-1074, 1024, points // 2))
    moderate = np.exp(rng.uniform(np.log(1e-9), np.log(800), points // 4))
    near = rng.choice(BRANCH_POINTS, points // 4)
    dense = near + rng.normal(size=near.size) * 10.0 ** rng.integers(-12, 0, near.size)
    x = np.concatenate([x, moderate, dense])
    return np.concatenate([np.where(rng.random(x.size) < 0.5, x, -x), [0.0, -0.0, np.inf, -np.inf, np.nan]])


def _exact_values(x: Any, name: str, direction: str) -> tuple[Any, Any]:
    """The function at x as two float64 that add up to it, for finite x."""
    mpmath.mp.dps = 40
    function = in_exact_arithmetic(name, direction)
    high, low = np.empty(x.size), np.empty(x.size)
    for i, number in enumerate(x):
        try:
            true = function(mpmath.mpf(float(number)))
            high[i] = float(true)
            low[i] = float(true - high[i]) if np.isfinite(high[i]) else 0.0
        except (ValueError, ZeroDivisionError):  # outside the function's domain
            high[i], low[i] = np.nan, 0.0
        if isinstance(true, mpmath.mpc):
            high[i], low[i] = np.nan, 0.0
    return high, low


@functools.cache
def _pool() -> Any:
    """Processes for mpmath, which start once: that takes as long as the work for one function."""
    pool = multiprocessing.get_context("spawn").Pool(numba.get_num_threads())
    atexit.register(pool.terminate)
    return pool


def worst_float64(
    functions: list[Callable[[Any], Any] | None], name: str, direction: str, points: int
) -> list[tuple[float, float] | None]:
    """The worst error of each function on `float64_inputs`, and its input."""
    x = float64_inputs(points)
    x = x[np.isfinite(x)]
    if name.startswith("log") and name not in OPS:
        x = np.abs(x[x != 0])
    parts = _pool().map(partial(_exact_values, name=name, direction=direction), np.array_split(x, 64))
    high, low = (np.concatenate(p) for p in zip(*parts, strict=True))
    exponent = np.frexp(np.where(np.isfinite(high), high, 1))[1] - 1
    ulp = np.ldexp(1.0, np.maximum(exponent - 52, -1074))
    close = np.finfo(np.float64).eps if _crosses_zero(name, direction) else 0.0
    worst: list[Any] = []
    for f in functions:
        if f is None:
            worst.append(None)
            continue
        with np.errstate(all="ignore"):
            y = np.asarray(f(x))
            difference = np.abs((y - high) - low)
            error = np.where((y == high) & ~np.isfinite(high), 0.0, difference / ulp)
            error = np.where(np.isnan(y) & np.isnan(high), 0.0, error)
            error = np.where((np.abs(high) < 0.5) & (difference <= close), 0.0, error)
            error = np.where(np.isnan(error), np.inf, error)
        i = int(np.argmax(error))
        worst.append((float(error[i]), float(x[i])))
    return worst


#: with --quick: the table's first rows, because references in float64 are compiled for each
QUICK = tuple(OPS)[:3]


def _curve(function: Callable[[Any], Any], name: str, direction: str) -> list[float]:
    """The largest error in each interval of `bench.curve`, of 199 inputs; float32. 0 is none of them: which slope a
    kink has is a convention.
    """
    close = float(np.finfo(np.float32).eps) if _crosses_zero(name, direction) else 0.0
    edges = curve.edges()
    found = []
    for low, high in zip(edges, edges[1:], strict=False):
        x = np.linspace(low, high, 201)[1:-1].astype(np.float32)
        with serial_loops(), np.errstate(all="ignore"):
            exact = in_arrays(name, direction)(x.astype(np.float64))
            error, _ = _worst(np.ascontiguousarray(function(x)), exact, exact.view(np.int64), close)
        found.append(float(f"{min(error, 1e9):.3g}"))
    return found


def _functions(session: Session, name: str, direction: str, alone: bool) -> dict[str, Callable[[Any], Any]]:
    found = {OWN: in_arrays(name, direction)}
    for peer in session.peers.values() if not alone else ():
        function = peer.function(name, direction, OPS.get(name))
        if function is not None:
            found[peer.title] = function
    return found


def _records(session: Session, arguments: argparse.Namespace, name: str, direction: str, dtype: str) -> list[Record]:
    functions = _functions(session, name, direction, arguments.alone)
    stride = 1 if arguments.exhaustive else arguments.stride or (6007 if session.quick else 61)
    if dtype == "float32":
        worst = worst_float32(list(functions.values()), name, direction, stride)
        shape, inputs = f"one of {stride} inputs" if stride > 1 else "all inputs", -(-(1 << 32) // stride)
    else:
        points = min(arguments.points, 2000) if session.quick else arguments.points
        worst = worst_float64(list(functions.values()), name, direction, points)
        shape, inputs = f"{points:,} inputs", points
    with_curve = dtype == "float32" and name in OPS and not arguments.exhaustive
    records = []
    for (who, function), found in zip(functions.items(), worst, strict=True):
        assert found is not None
        details: dict[str, Any] = {"at": repr(found[1])}
        if who == OWN and _crosses_zero(name, direction):
            details["crosses zero"] = True
        if with_curve:
            details["curve"] = _curve(function, name, direction)
        records.append(
            Record("accuracy", name, shape, dtype, direction, who, Spread.of([found[0]]), unit="ulp",
                   threads=session.threads, size=inputs, details=details)
        )  # fmt: skip
    return records


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    for dtype in arguments.dtypes[:1] if session.quick else arguments.dtypes:
        for name, direction in FUNCTIONS:
            if arguments.only and name not in arguments.only:
                continue
            if session.quick and not arguments.only and name not in QUICK:
                continue
            yield Job(f"{name} {direction} {dtype}", partial(_records, session, arguments, name, direction, dtype))
