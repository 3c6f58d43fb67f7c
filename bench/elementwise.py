"""Throughput of the elementwise kernels, forward and backward with ``out=``, against PyTorch's, in 10⁹
elements a second.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np

from bench.method import interleaved, machine, optional, table
from nbgrad import kernels
from nbgrad.ops import OPS

SIZES = (1 << 10, 1 << 16, 1 << 24)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "float64"])


def _torch_calls(torch: Any, name: str, x: Any, g: Any, out: Any) -> dict[str, Callable[[], Any]]:
    """PyTorch's ``out=`` calls; its backward functions take what its own autograd saves."""
    aten, x, g, out = torch.ops.aten, torch.from_numpy(x), torch.from_numpy(g), torch.from_numpy(out)
    y = {"sigmoid": torch.sigmoid, "tanh": torch.tanh}.get(name, lambda t: t)(x)
    return {
        "sigmoid": lambda: {
            "forward": lambda: torch.sigmoid(x, out=out),
            "backward": lambda: aten.sigmoid_backward.grad_input(g, y, grad_input=out),
        },
        "tanh": lambda: {
            "forward": lambda: torch.tanh(x, out=out),
            "backward": lambda: aten.tanh_backward.grad_input(g, y, grad_input=out),
        },
        "relu": lambda: {
            "forward": lambda: torch.clamp_min(x, 0, out=out),
            "backward": lambda: aten.threshold_backward.grad_input(g, x, 0, grad_input=out),
        },
        "leaky_relu": lambda: {
            "forward": lambda: aten.leaky_relu.out(x, 0.1, out=out),
            "backward": lambda: aten.leaky_relu_backward.grad_input(g, x, 0.1, False, grad_input=out),
        },
        "elu": lambda: {
            "forward": lambda: aten.elu.out(x, 1.0, out=out),
            "backward": lambda: aten.elu_backward.grad_input(g, 1.0, 1.0, 1.0, False, x, grad_input=out),
        },
    }[name]()  # fmt: skip


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    torch = optional("torch")
    for dtype in arguments.dtypes:
        for n in arguments.sizes:
            rows = []
            rng = np.random.default_rng(0)
            x, g = (rng.normal(size=n).astype(dtype) for _ in range(2))
            outs = [np.empty_like(x) for _ in range(2)]
            copy = interleaved({"copy": lambda: np.copyto(outs[0], x)}, rounds=arguments.rounds)[
                "copy"
            ].median
            for name in OPS:
                forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
                calls = {
                    ("forward", "nbgrad"): lambda f=forward: f(x, out=outs[0]),
                    ("backward", "nbgrad"): lambda f=backward: f(g, x, out=outs[0]),
                }
                if torch:
                    for direction, call in _torch_calls(torch, name, x, g, outs[1]).items():
                        calls[direction, "PyTorch"] = call
                times = interleaved(calls, rounds=arguments.rounds)
                row = [name]
                for direction in ("forward", "backward"):
                    own = times[direction, "nbgrad"]
                    row.append(f"{n / own.median / 1e9:.2f}")
                    if torch:
                        peer = times[direction, "PyTorch"]
                        row += [f"{n / peer.median / 1e9:.2f}", f"{own.ratio_to(peer):.2f}"]
                rows.append(row)
            titles = [
                f"{d} {c}"
                for d in ("forward", "backward")
                for c in (["nbgrad", "PyTorch", "ratio"] if torch else ["nbgrad"])
            ]
            print(f"\n{dtype}, {n:,} elements, 10⁹ elements/s; a copy: {n / copy / 1e9:.2f}")
            print(table(["", *titles], rows), flush=True)
