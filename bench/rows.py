"""The functions of whole rows, forward and backward, against PyTorch's: milliseconds a call, and the ratio.

Both write into memory that is there (``out=``, ``grad_out=``); PyTorch's cross_entropy, which has no such
call, is forward and autograd's backward, and beside it the allocating call of ours.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.method import interleaved, machine, optional, table
from nbgrad import kernels

#: (rows, columns)
CROSS_ENTROPY = ((100, 10), (60_000, 10), (4096, 1000), (256, 50_000))
SOFTMAX = ((100, 10), (60_000, 10), (4096, 1000), (256, 50_000))
#: (rows, outputs, pieces)
MAXOUT = ((100, 32, 2), (4096, 512, 2), (4096, 512, 4))

Calls = dict[str, Callable[[], Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])
    parser.add_argument("--only", nargs="*", help="cross_entropy, softmax, log_softmax, maxout")


def _cross_entropy(torch: Any, dtype: str, n: int, classes: int) -> Calls:
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(n, classes)).astype(dtype), rng.integers(0, classes, n)
    out = np.empty_like(x)
    calls: Calls = {
        "grad_out=": lambda: kernels.cross_entropy_value_and_grad(x, labels, grad_out=out),
        "allocating": lambda: kernels.cross_entropy_value_and_grad(x, labels),
    }
    if torch:
        t, target = torch.from_numpy(x).requires_grad_(), torch.from_numpy(labels)

        def forward_and_backward() -> None:
            t.grad = None
            torch.nn.functional.cross_entropy(t, target).backward()

        calls["PyTorch"] = forward_and_backward
    return calls


def _softmax(torch: Any, dtype: str, n: int, length: int, axis: int, log: bool) -> Calls:
    rng = np.random.default_rng(0)
    shape = (n, length) if axis else (length, n)
    x, g = (rng.normal(size=shape).astype(dtype) for _ in range(2))
    y, dx = np.empty_like(x), np.empty_like(x)
    name = "log_softmax" if log else "softmax"
    forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")

    def own() -> None:
        forward(x, axis=axis, out=y)
        backward(g, y, axis=axis, out=dx)

    calls: Calls = {"out=": own}
    if torch:
        aten = torch.ops.aten
        tx, tg, ty, tdx = map(torch.from_numpy, (x, g, y.copy(), dx.copy()))
        torch_forward = torch.log_softmax if log else torch.softmax
        torch_backward = (aten._log_softmax_backward_data if log else aten._softmax_backward_data).out
        into = "out" if log else "grad_input"

        def peer() -> None:
            torch_forward(tx, axis, out=ty)
            torch_backward(tg, ty, axis, tx.dtype, **{into: tdx})

        calls["PyTorch"] = peer
    return calls


def _maxout(torch: Any, dtype: str, n: int, outputs: int, pieces: int) -> Calls:
    rng = np.random.default_rng(0)
    x, g = (rng.normal(size=(n, k)).astype(dtype) for k in (outputs * pieces, outputs))
    y, dx, index = np.empty_like(g), np.empty_like(x), np.empty(g.shape, np.intp)

    def own() -> None:
        kernels.maxout(x, pieces, out=y, index_out=index)
        kernels.maxout_backward(g, index, pieces, out=dx)

    calls: Calls = {"out=": own}
    if torch:
        tx, tg, ty, tdx = map(torch.from_numpy, (x, g, y.copy(), dx.copy()))
        where = torch.empty(g.shape, dtype=torch.int64)

        def peer() -> None:
            torch.max(tx.view(n, outputs, pieces), -1, out=(ty, where))
            tdx.zero_()
            tdx.view(n, outputs, pieces).scatter_(-1, where[..., None], tg[..., None])

        calls["PyTorch"] = peer
    return calls


def _suites(torch: Any, dtype: str) -> dict[str, list[tuple[str, Calls]]]:
    def softmax(log: bool) -> list[tuple[str, Calls]]:
        return [
            (f"{s if axis else s[::-1]}, axis {axis}", _softmax(torch, dtype, *s, axis, log))
            for s in SOFTMAX
            for axis in (1, 0)
        ]

    return {
        "cross_entropy": [(f"{s}", _cross_entropy(torch, dtype, *s)) for s in CROSS_ENTROPY],
        "softmax": softmax(False),
        "log_softmax": softmax(True),
        "maxout": [(f"({n}, {k}), {p} pieces", _maxout(torch, dtype, n, k, p)) for n, k, p in MAXOUT],
    }


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    torch = optional("torch")
    for dtype in arguments.dtypes:
        for name, cases in _suites(torch, dtype).items():
            if arguments.only and name not in arguments.only:
                continue
            rows = []
            for title, calls in cases:
                times = interleaved(calls, rounds=arguments.rounds)
                row = [title, *(f"{1e3 * t.median:.4g}" for t in times.values())]
                if torch:
                    row += [f"{t.ratio_to(times['PyTorch']):.2f}" for c, t in times.items() if c != "PyTorch"]
                rows.append(row)
            own = [c for c in times if c != "PyTorch"]
            header = [f"{name}, {dtype}, ms", *times, *([f"ratio {c}" for c in own] if torch else [])]
            print("\n" + table(header, rows), flush=True)
