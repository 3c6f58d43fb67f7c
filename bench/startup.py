"""Whole processes: importing nbgrad and Numba, `nbgrad train` on the digits with a cold and with a warm
disk cache, and the first call of a kernel, compiled and from the disk cache.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

from bench.method import machine, table

# A small array runs the serial loop, a large one the parallel one. What Numba itself starts at its first use
# is started before.
_FIRST_CALL = """
import time
import numpy as np
from numba import njit, prange
from nbgrad import kernels

def start(x):
    for i in prange(x.size):
        x[i] += 1
njit(start)(np.zeros(3)), njit(start, parallel=True)(np.zeros(3))
x = np.linspace(-3, 3, {size}).astype(np.float32)
rows, labels = x.reshape(-1, 10), np.zeros(x.size // 10, np.int64)
begin = time.perf_counter()
kernels.{call}
print(time.perf_counter() - begin)
"""
_CALLS = (
    "relu(x)",
    "sigmoid(x)",
    "sigmoid_backward(x, x)",
    "elu(x)",
    "elu_backward(x, x)",
    "softmax(rows)",
    "mse_loss_value_and_grad(x, x)",
    "cross_entropy(rows, labels)",
    "cross_entropy_value_and_grad(rows, labels)",
)


def _first_call(call: str, size: int, folder: str) -> float:
    command = [sys.executable, "-c", _FIRST_CALL.format(call=call, size=size)]
    environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
    return float(subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout)


def _first_calls(rounds: int) -> list[list[str]]:
    rows = []
    for call in _CALLS:
        row = [call]
        for size in (1000, 200_000):
            cold, warm = [], []
            for _ in range(rounds):
                with tempfile.TemporaryDirectory() as folder:
                    cold.append(_first_call(call, size, folder))
                    warm.append(_first_call(call, size, folder))
            row += [f"{statistics.median(cold) * 1e3:.0f}", f"{statistics.median(warm) * 1e3:.1f}"]
        rows.append(row)
    return rows


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only-first-calls", action="store_true")


def _seconds(*arguments: str, **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, env={**os.environ, **environment}, capture_output=True
    )
    return time.perf_counter() - start


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    header = ["first call, ms", "serial, compiled", "from disk", "parallel, compiled", "from disk"]
    print(table(header, _first_calls(min(arguments.rounds, 3))))
    if arguments.only_first_calls:
        return
    rounds = [
        (_seconds("-c", "import numba"), _seconds("-c", "import nbgrad")) for _ in range(arguments.rounds)
    ]
    numba = statistics.median(a for a, _ in rounds)
    extra = statistics.median(b - a for a, b in rounds)
    with tempfile.TemporaryDirectory() as folder:
        train = ("-m", "nbgrad", "train", "--out", os.path.join(folder, "run"))
        cache = {"NUMBA_CACHE_DIR": os.path.join(folder, "cache")}
        cold = _seconds(*train, **cache)
        warm = statistics.median(_seconds(*train, **cache) for _ in range(3))
    rows = [
        ["import numba", f"{numba:.2f}"],
        ["import nbgrad, beyond that", f"{extra:.2f}"],
        ["nbgrad train on the digits, first time (everything is compiled)", f"{cold:.1f}"],
        ["nbgrad train on the digits, again", f"{warm:.1f}"],
    ]
    print(table(["", "seconds"], rows))
