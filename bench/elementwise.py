"""Throughput of the elementwise kernels, forward and backward, against PyTorch's (into the same memory again and again
where PyTorch can), SciPy's expit and a plain copy.

The last columns put forward and backward together; "of a copy" counts the bytes moved, two arrays forward and three
backward, against those of PyTorch's `copy_` in the same rounds. ``--check`` prints the geometric means and the rest
of what the kernels are held to.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.method import interleaved, machine, optional, table
from bench.peers import torch_calls
from nbgrad import kernels
from nbgrad.ops import OPS

SIZES = (1 << 10, 1 << 16, 1 << 24)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument("--only", nargs="*", help="names of functions")


def own_calls(name: str, x: Any, g: Any, out: Any) -> dict[str, Callable[[], Any]]:
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
    return {"forward": lambda: forward(x, out=out), "backward": lambda: backward(g, x, out=out)}


def _check_equal(own: dict[str, Any], peer: dict[str, Any], name: str) -> None:
    """A wrong peer call is a bug: the results must agree to what PyTorch's precision allows."""
    for direction in own:
        ours = np.array(own[direction](), copy=True)
        theirs = peer[direction]()
        theirs = (theirs[0] if isinstance(theirs, tuple) else theirs).detach().numpy()
        np.testing.assert_allclose(theirs, ours, rtol=1e-3, atol=1e-5, err_msg=f"{name} {direction}")


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    torch, ratios = optional("torch"), {}
    for dtype in arguments.dtypes:
        for n in arguments.sizes:
            rows = []
            for name in arguments.only or OPS:
                row, ratio = _measure(torch, name, n, dtype, arguments.rounds)
                rows.append(row)
                ratios[name, dtype, n] = ratio
            titles = ["", "forward", "PyTorch", "ratio", "backward", "PyTorch", "ratio", "both", "of a copy"]
            print(f"\n{dtype}, {n:,} elements, 10⁹ elements/s; a ratio above 1: nbgrad is faster")
            print(table(titles, rows), flush=True)
    if torch:
        _means(ratios)
    _call_overhead(torch, arguments.rounds)
    if optional("scipy"):
        _expit(arguments.rounds)


def _measure(torch: Any, name: str, n: int, dtype: str, rounds: int) -> tuple[list[str], float]:
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=n).astype(dtype) for _ in range(2))
    outs = [np.empty_like(x) for _ in range(2)]
    own = own_calls(name, x, g, outs[0])
    calls: dict[Any, Callable[[], Any]] = {(d, "nbgrad"): call for d, call in own.items()}
    if torch:
        tensors = [torch.from_numpy(a) for a in (x, g, outs[1])]
        peer = torch_calls(torch, OPS[name], *tensors)
        _check_equal(own, peer, name)
        calls |= {(d, "PyTorch"): call for d, call in peer.items()}
        calls["copy", ""] = lambda: tensors[2].copy_(tensors[0])
    else:
        calls["copy", ""] = lambda: np.copyto(outs[1], x)
    times = interleaved(calls, rounds=rounds)
    row, sums = [name], {}
    for direction in ("forward", "backward"):
        mine = times[direction, "nbgrad"]
        row.append(f"{n / mine.median / 1e9:.2f}")
        if torch:
            theirs = times[direction, "PyTorch"]
            row += [f"{n / theirs.median / 1e9:.2f}", f"{mine.ratio_to(theirs):.2f}"]
        else:
            row += ["", ""]
    for who in ("nbgrad", "PyTorch"):
        if ("forward", who) in times:
            sums[who] = [
                a + b for a, b in zip(times["forward", who].rounds, times["backward", who].rounds, strict=True)
            ]
    ratio = (
        statistics.median(b / a for a, b in zip(sums["nbgrad"], sums["PyTorch"], strict=True)) if torch else 0.0
    )
    copies = [2.5 * c / s for c, s in zip(times["copy", ""].rounds, sums["nbgrad"], strict=True)]
    return [*row, f"{ratio:.2f}" if torch else "", f"{statistics.median(copies):.2f}"], ratio


def _means(ratios: dict[tuple[str, str, int], float]) -> None:
    def mean(values: Any) -> str:
        values = list(values)
        return f"{statistics.geometric_mean(values):.2f}" if values else "not measured"

    small = mean(v for (_, _, n), v in ratios.items() if n < 1 << 20)
    print(f"\ngeometric mean of forward and backward together: {small} in the cache, {mean(ratios.values())} in all")
    slow = [f"{name} {dtype} {n:,}: {v:.2f}" for (name, dtype, n), v in ratios.items() if v < 1]
    print("slower than PyTorch:", "; ".join(slow) or "none")


def _call_overhead(torch: Any, rounds: int) -> None:
    x, out = np.ones(16, np.float32), np.empty(16, np.float32)
    calls = {f"nbgrad {name}": own_calls(name, x, x, out)["forward"] for name in ("sigmoid", "relu", "elu")}
    if torch:
        t, o = torch.from_numpy(x), torch.empty(16)
        calls["PyTorch sigmoid"] = lambda: torch.sigmoid(t, out=o)
        calls["PyTorch tanh"] = lambda: torch.tanh(t, out=o)
    times = interleaved(calls, rounds=rounds)
    rows = [[name, f"{time.median * 1e6:.2f}"] for name, time in times.items()]
    print("\na call with `out=` on 16 elements")
    print(table(["", "µs"], rows))


def _expit(rounds: int) -> None:
    from scipy.special import expit

    rows = []
    for n in (1 << 16, 1 << 24):
        x = np.random.default_rng(0).normal(size=n).astype(np.float32)
        out = np.empty_like(x)
        calls = {
            "nbgrad": lambda x=x, out=out: kernels.sigmoid(x, out=out),
            "SciPy": lambda x=x, out=out: expit(x, out=out),
        }
        times = interleaved(calls, rounds=rounds)
        rows.append([f"{n:,}", f"{times['nbgrad'].ratio_to(times['SciPy']):.1f}"])
    print("\nsigmoid against scipy.special.expit, float32: nbgrad is faster by")
    print(table(["elements", "ratio"], rows))
