"""Eager overhead: forward and backward of b = w1·a, c = w2·a, d = w3·b + w4·c, L = 10 − d on numbers, against
PyTorch.
"""

from __future__ import annotations

import argparse
from typing import Any

import nbgrad
from bench.method import interleaved, machine, optional, table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=31)


def graph(tensor: Any) -> Any:
    a, w1, w2, w3, w4 = (tensor(v, requires_grad=True) for v in (2.0, 3.0, -1.0, 0.5, 4.0))

    def step() -> Any:
        for leaf in (a, w1, w2, w3, w4):
            leaf.grad = None
        b = w1 * a
        c = w2 * a
        d = w3 * b + w4 * c
        L = 10 - d
        L.backward()
        return [float(leaf.grad) for leaf in (a, w1, w2, w3, w4)]

    return step


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    torch = optional("torch")
    candidates = {"nbgrad": graph(nbgrad.tensor)}
    if torch:
        candidates["PyTorch"] = graph(torch.tensor)
    results = [step() for step in candidates.values()]
    assert all(r == results[0] for r in results), results
    timings = interleaved(candidates, rounds=arguments.rounds, at_least=5e-3)
    own = timings["nbgrad"]
    rows = [[name, f"{t.median * 1e6:.1f}", f"{own.ratio_to(t):.2f}"] for name, t in timings.items()]
    print(table(["forward + backward of the graph", "µs", "nbgrad is faster by"], rows))
