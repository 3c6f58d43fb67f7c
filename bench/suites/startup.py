"""Whole processes: importing, the first call of a kernel, compiled and from the disk cache, and `nbgrad train` on the
digits with a cold and with a warm disk cache.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial

from bench.method import Timing
from bench.record import Record, Spread
from bench.session import Job, Session

# What Numba itself starts at its first use is started before.
_FIRST_CALL = """
import time
import numpy as np
from numba import njit, prange
from nbgrad import kernels

def start(x):
    for i in prange(x.size):
        x[i] += 1
njit(start)(np.zeros(3)), njit(start, parallel=True)(np.zeros(3))
{setup}
begin = time.perf_counter()
{call}
print(time.perf_counter() - begin)
"""
# A small array runs the serial loop, a large one the parallel one.
_SETUP = """
x = np.linspace(-3, 3, {size}).astype(np.float32)
rows, labels = x.reshape(-1, 10), np.zeros(x.size // 10, np.int64)
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
_PEERS = {"torch": "torch", "jax": "jax", "sklearn": "sklearn.linear_model"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only-first-calls", action="store_true")


def _seconds(*arguments: str, **environment: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env={**os.environ, **environment}, capture_output=True)
    return time.perf_counter() - start


def first_calls(
    session: Session, suite: str, name: str, shape: str, call: str, setup: str, rounds: int = 1
) -> list[Record]:
    """The first call in a new process: "compiled" with an empty disk cache, then "from disk"."""
    code = _FIRST_CALL.format(call=call, setup=setup)
    cold, warm = [], []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
            command = [sys.executable, "-c", code]
            cold_and_warm = [
                float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
                for _ in range(2)
            ]
            cold.append(cold_and_warm[0])
            warm.append(cold_and_warm[1])
    return [
        Record(suite, f"first call, {name}", shape, "float32", direction, "nbgrad", Spread.of(several), rounds=rounds,
               threads=session.threads)
        for direction, several in (("compiled", cold), ("from disk", warm))
    ]  # fmt: skip


def _kernel(session: Session, call: str, size: int) -> list[Record]:
    setup = _SETUP.format(size=size)
    return first_calls(session, "startup", call.partition("(")[0], f"{size:,}", "kernels." + call, setup)


def _imports(session: Session) -> list[Record]:
    """Whole processes that import and end."""
    everything = "from nbgrad import datasets, elementary, functional, kernels, nn, optim, regression, tensor"
    codes = {"nbgrad": everything, "Numba alone": "import numba"}
    for peer, module in _PEERS.items():
        if peer in session.peers:
            codes[session.peers[peer].title] = f"import {module}"
    rounds = session.rounds or (1 if session.quick else 5)
    times: dict[str, list[float]] = {who: [] for who in codes}
    for code in codes.values():
        _seconds("-c", code)  # its files are read once
    for _ in range(rounds):
        for who, code in codes.items():
            times[who].append(_seconds("-c", code))
    own = Timing(times["nbgrad"])
    return [
        Record("startup", "import", "", "", "", who, Spread.of(several), rounds=rounds, threads=session.threads,
               ratio=Spread.of(own.ratios_to(Timing(several))) if who != "nbgrad" else None)
        for who, several in times.items()
    ]  # fmt: skip


def _train(session: Session) -> list[Record]:
    with tempfile.TemporaryDirectory() as folder:
        train = ("-m", "nbgrad", "train", "--out", os.path.join(folder, "run"))
        cache = os.path.join(folder, "cache")
        cold = [_seconds(*train, NUMBA_CACHE_DIR=cache)]
        warm = [_seconds(*train, NUMBA_CACHE_DIR=cache) for _ in range(1 if session.quick else 3)]
    return [
        Record("startup", "nbgrad train, digits", "", "", direction, "nbgrad", Spread.of(several), rounds=len(several),
               threads=session.threads)
        for direction, several in (("compiled", cold), ("from disk", warm))
    ]  # fmt: skip


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    if not arguments.only_first_calls:
        yield Job("imports", partial(_imports, session))
        yield Job("nbgrad train", partial(_train, session))
    for call in _CALLS[1:2] if session.quick else _CALLS:
        for size in (1000,) if session.quick else (1000, 200_000):
            yield Job(f"first call, {call}, {size}", partial(_kernel, session, call, size))
