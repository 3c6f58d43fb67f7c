"""The worst error of every kernel, forward and backward, in units in the last place (ulp) of the exact
result, with the input where it occurs.

float32 is measured on every 61st of all inputs, with ``--exhaustive`` on every one of the 2³²; float64 on ``--points``
points: a half log-uniform over all exponents, a quarter over ordinary magnitudes, a quarter densely around the branch
points. Peers that are installed stand beside it. "where the derivative is below ½: eps": see `nbgrad.ops.Elementwise`.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import multiprocessing
from collections.abc import Callable
from functools import partial
from typing import Any

import mpmath
import numba
import numpy as np
from numba import njit

from bench.method import machine, optional, table
from bench.peers import jax_function, torch_function
from bench.references import FUNCTIONS, in_arrays, in_exact_arithmetic
from nbgrad.jit import serial_loops
from nbgrad.ops import OPS

BRANCH_POINTS = (
    0.0, 0.34657359, 0.5, 0.7, 0.7518, 0.8, 0.85, 1.0, 1.19, 1.2785, 3.0, 6.0, 9.0, 17.33, 22.18, 38.5, 87.34, 88.72,
    103.97, 709.78, 745.13,
)  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exhaustive", action="store_true", help="all 2³² float32 inputs")
    parser.add_argument("--stride", type=int, default=61, help="every how many bit patterns of float32")
    parser.add_argument("--points", type=int, default=20_000, help="inputs of float64 (1000000: up to an hour)")
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


def worst_float64(
    functions: list[Callable[[Any], Any] | None], name: str, direction: str, points: int
) -> list[tuple[float, float] | None]:
    """The worst error of each function on `float64_inputs`, and its input."""
    x = float64_inputs(points)
    x = x[np.isfinite(x)]
    if name.startswith("log") and name not in OPS:
        x = np.abs(x[x != 0])
    with multiprocessing.get_context("spawn").Pool() as pool:
        parts = pool.map(partial(_exact_values, name=name, direction=direction), np.array_split(x, 64))
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


def peers() -> dict[str, dict[tuple[str, str], Callable[[Any], Any]]]:
    found: dict[str, dict[tuple[str, str], Any]] = {}
    torch, scipy, jax = optional("torch"), optional("scipy"), optional("jax")
    if torch:
        public = {name: getattr(torch, name, None) for name, _ in FUNCTIONS if name not in OPS}
        public |= {name: torch_function(torch, op) for name, op in OPS.items()}

        def gradient(f: Any) -> Callable[[Any], Any]:
            def compute(x: Any) -> Any:
                t = torch.from_numpy(x).requires_grad_()
                return torch.autograd.grad(f(t), t, torch.ones_like(t))[0].numpy()

            return compute

        found["PyTorch"] = {
            (n, d): (lambda x, f=public[n]: f(torch.from_numpy(x)).numpy()) if d == "value" else gradient(public[n])
            for n, d in FUNCTIONS
        }
    if jax:
        jax.config.update("jax_enable_x64", True)
        table = {n: getattr(jax.numpy, n, None) or getattr(jax.scipy.special, n) for n, _ in FUNCTIONS if n not in OPS}
        table |= {n: jax_function(jax, op) for n, op in OPS.items()}

        def slope(f: Any) -> Any:
            return jax.jit(lambda x: jax.vjp(f, x)[1](jax.numpy.ones_like(x))[0])

        found["JAX"] = {
            (n, d): lambda x, f=table[n] if d == "value" else slope(table[n]): np.asarray(f(x))
            for n, d in FUNCTIONS
            if table[n] is not None
        }
    if scipy:
        from scipy import special

        names = {"sigmoid": "expit", "log_sigmoid": "log_expit", "erf": "erf", "erfc": "erfc"}
        found["SciPy"] = {(n, "value"): getattr(special, s) for n, s in names.items()}
    return found


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    stride = 1 if arguments.exhaustive else arguments.stride
    others = {} if arguments.alone else peers()
    for dtype in arguments.dtypes:
        rows = []
        inputs = f"every {stride}th of the 2³² inputs" if stride > 1 else "all 2³² inputs"
        inputs = inputs if dtype == "float32" else f"{arguments.points:,} inputs"
        print(f"\n{dtype}, worst error in ulp, {inputs}", flush=True)
        for name, direction in FUNCTIONS:
            if arguments.only and name not in arguments.only:
                continue
            functions = [in_arrays(name, direction), *(p.get((name, direction)) for p in others.values())]
            if dtype == "float32":
                worst = worst_float32(functions, name, direction, stride)
            else:
                worst = worst_float64(functions, name, direction, arguments.points)
            cells = ["" if w is None else f"{w[0]:.3g} at {w[1]:.6g}" if w[0] else "exact" for w in worst]
            note = " (or eps)" if _crosses_zero(name, direction) else ""
            rows.append([name, direction + note, *cells])
            if arguments.exhaustive or (dtype == "float64" and arguments.points >= 100_000):  # it takes a while
                print(f"  {name} {direction}: {', '.join(cells)}", flush=True)
        print(table(["function", "of the", "nbgrad", *others], rows), flush=True)
