"""Whole processes: importing nbgrad and Numba, and `nbgrad train` on the digits with a cold and with a warm
disk cache.
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=7)


def _seconds(*arguments: str, **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, *arguments], check=True, env={**os.environ, **environment}, capture_output=True
    )
    return time.perf_counter() - start


def run(arguments: argparse.Namespace) -> None:
    print(machine())
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
