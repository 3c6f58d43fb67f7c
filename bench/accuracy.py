"""The worst error of every kernel, forward and backward, in units in the last place (ulp) of the exact
result, with the input where it occurs.

float32 is measured against float64 on every input, or every 61st (``--exhaustive``: every one of the 2³²);
float64 against long double on 10⁶ points: log-uniform over all exponents, both signs, and densely around the
branch points. Peers that are installed stand beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numba import njit

from bench.method import machine, optional, table
from bench.references import ELEMENTARY, REFERENCES
from nbgrad import elementary, kernels

BRANCH_POINTS = (0.0, 0.5, 1.0, 0.34657359, 17.33, 22.18, 87.34, 88.72, 103.97, 709.78, 745.13)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--exhaustive", action="store_true", help="all 2³² float32 inputs")
    parser.add_argument("--stride", type=int, default=61, help="every how many bit patterns of float32")
    parser.add_argument("--only", nargs="*", help="names of functions")


@njit(error_model="numpy")
def _worst(result, exact, exact_bits, mantissa, smallest):
    """(largest error in ulp, its index); ``exact_bits`` is ``exact`` seen as integers."""
    worst, where = -1.0, 0
    for i in range(result.size):
        y, t = np.float64(result[i]), exact[i]
        if np.isnan(t) or np.isnan(y):
            error = 0.0 if np.isnan(t) and np.isnan(y) else np.inf
        elif y == t:
            error = 0.0
        else:
            exponent = ((exact_bits[i] >> 52) & 0x7FF) - 1023
            error = abs(y - t) / 2.0 ** max(exponent - mantissa, smallest)
        if error > worst:
            worst, where = error, i
    return worst, where


def worst_float32(
    function: Callable[[Any], Any], reference: Callable[[Any], Any], stride: int
) -> tuple[float, float]:
    """The worst error over every ``stride``-th float32, and its input."""
    worst, where = -1.0, np.float32(0)
    for x in _float32_inputs(stride):
        with np.errstate(all="ignore"):
            exact = reference(x.astype(np.float64))
            overflow = np.abs(exact) >= 2.0**128 - 2.0**103  # rounds to inf in float32
            exact = np.where(overflow, np.copysign(np.inf, exact), exact)
            result = np.ascontiguousarray(function(x))
        assert result.dtype == np.float32
        error, i = _worst(result, exact, exact.view(np.int64), 23, -149)
        if error > worst:
            worst, where = error, x[i]
    return worst, float(where)


def _float32_inputs(stride: int) -> Iterator[Any]:
    step = (1 << 20) * stride
    for start in range(0, 1 << 32, step):
        yield np.arange(start, min(start + step, 1 << 32), stride, dtype=np.uint32).view(np.float32)


def float64_inputs(points: int = 1_000_000) -> Any:
    rng = np.random.default_rng(0)
    x = np.ldexp(1 + rng.random(points // 2), rng.integers(-1074, 1024, points // 2))
    moderate = np.exp(rng.uniform(np.log(1e-9), np.log(800), points // 4))
    dense = np.concatenate(
        [
            p + rng.normal(size=points // 4 // len(BRANCH_POINTS)) * 10.0 ** rng.integers(-12, 0)
            for p in BRANCH_POINTS
        ]
    )
    x = np.concatenate([x, moderate, dense])
    return np.concatenate([np.where(rng.random(x.size) < 0.5, x, -x), [0.0, -0.0, np.inf, -np.inf, np.nan]])


def worst_float64(function: Callable[[Any], Any], reference: Callable[[Any], Any]) -> tuple[float, float]:
    """The worst error on `float64_inputs` against long double, and its input."""
    x = float64_inputs()
    with np.errstate(all="ignore"):
        exact = np.asarray(reference(x.astype(np.longdouble)), np.longdouble)
        y = np.asarray(function(x)).astype(np.longdouble)
        overflow = np.abs(exact) >= np.longdouble(2) ** 1024 - np.longdouble(2) ** 970
        exact = np.where(overflow, np.copysign(np.longdouble(np.inf), exact), exact)
        exponent = np.frexp(np.where(np.isfinite(exact), exact, 1))[1] - 1
        ulp = np.ldexp(np.longdouble(1), np.maximum(exponent - 52, -1074))
        error = np.where((y == exact) | (np.isnan(y) & np.isnan(exact)), 0, np.abs(y - exact) / ulp)
        error = np.where(np.isnan(error), np.inf, error)
    i = int(np.argmax(error))
    return float(error[i]), float(x[i])


def own() -> dict[tuple[str, str], tuple[Callable[[Any], Any], Callable[[Any], Any]]]:
    """(name, direction) → (function, reference)"""
    functions: dict[tuple[str, str], Any] = {}
    for name, reference in ELEMENTARY.items():
        functions[name, "value"] = _compiled(getattr(elementary, name)), reference
    for name, (forward, derivative) in REFERENCES.items():
        functions[name, "value"] = getattr(kernels, name), forward
        backward = getattr(kernels, name + "_backward")
        functions[name, "gradient"] = lambda x, b=backward: b(np.ones_like(x), x), derivative
    return functions


def _compiled(scalar: Callable[[Any], Any]) -> Callable[[Any], Any]:
    @njit(error_model="numpy")
    def loop(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y[i] = scalar(x[i])
        return y

    return loop


def peers() -> dict[str, dict[tuple[str, str], Callable[[Any], Any]]]:
    found: dict[str, dict[tuple[str, str], Any]] = {}
    torch, scipy, jax = optional("torch"), optional("scipy"), optional("jax")
    if torch:
        F = torch.nn.functional
        functions = {
            name: getattr(torch, name) for name in ("exp", "expm1", "log", "log1p", "sigmoid", "tanh", "relu")
        }
        functions |= {"leaky_relu": lambda x: F.leaky_relu(x, 0.1), "elu": F.elu}

        def gradient(f: Any) -> Callable[[Any], Any]:
            def compute(x: Any) -> Any:
                t = torch.from_numpy(x).requires_grad_()
                return torch.autograd.grad(f(t), t, torch.ones_like(t))[0].numpy()

            return compute

        found["PyTorch"] = {
            (n, "value"): lambda x, f=f: f(torch.from_numpy(x)).numpy() for n, f in functions.items()
        }
        found["PyTorch"] |= {(n, "gradient"): gradient(f) for n, f in functions.items() if n in REFERENCES}
    if jax:
        jax.config.update("jax_enable_x64", True)
        j = {name: getattr(jax.numpy, name) for name in ELEMENTARY} | {
            n: getattr(jax.nn, n) for n in ("sigmoid", "tanh", "relu", "elu")
        }
        j["leaky_relu"] = lambda x: jax.nn.leaky_relu(x, 0.1)
        found["JAX"] = {(n, "value"): lambda x, f=jax.jit(f): np.asarray(f(x)) for n, f in j.items()}
        found["JAX"] |= {
            (
                n,
                "gradient",
            ): lambda x, f=jax.jit(lambda x, f=f: jax.vjp(f, x)[1](jax.numpy.ones_like(x))[0]): np.asarray(
                f(x)
            )
            for n, f in j.items()
            if n in REFERENCES
        }
    if scipy:
        from scipy.special import expit

        found["SciPy"] = {("sigmoid", "value"): expit}
    return found


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    stride = 1 if arguments.exhaustive else arguments.stride
    others = peers()
    for dtype in ("float32", "float64"):
        rows = []
        for (name, direction), (function, reference) in own().items():
            if arguments.only and name not in arguments.only:
                continue
            cells = []
            for f in [function, *(p.get((name, direction)) for p in others.values())]:
                if f is None:
                    cells.append("")
                    continue
                error, x = (
                    worst_float32(f, reference, stride) if dtype == "float32" else worst_float64(f, reference)
                )
                cells.append(f"{error:.3g} at {x:.6g}" if error else "exact")
            rows.append([name, direction, *cells])
        inputs = f"every {stride}th of the 2³² inputs" if stride > 1 else "all 2³² inputs"
        print(f"\n{dtype}, worst error in ulp, {inputs if dtype == 'float32' else 'a million inputs'}")
        print(table(["function", "of the", "nbgrad", *others], rows), flush=True)
