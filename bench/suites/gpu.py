"""The kernels on a GPU, against PyTorch's: rows, losses, users' formulas, regression, epochs of an MLP, elementwise
functions. First the tests that need a GPU (``pytest -m gpu``), whose outcome stands in the same file. Needs the extra
``cuda``; data are drawn on the device, MNIST-shaped where it is about MNIST. Times are the device's, between CUDA's
events.
"""

from __future__ import annotations

import argparse
import dataclasses
import glob
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bench.machine import usable_cores
from bench.peers.base import Peer
from bench.place import Gpu
from bench.record import Record, Spread
from bench.session import Call, Case, Job, Key, Session
from bench.suites import elementwise, formulas, losses, regression, rows
from nbgrad.formulas.table import LOSSES, OPS

#: larger than any GPU's cache: 256 MB an array
ELEMENTS = 1 << 26
ROWS = ((60_000, 10), (8192, 32_768))
MAXOUT = (65_536, 512, 2)
PASSES = (
    ("logistic", 60_000, 784, 1),
    ("softmax", 60_000, 784, 10),
    ("logistic", 10_000_000, 100, 1),
    ("softmax", 10_000_000, 100, 10),
)
BATCHES = (100, 1000)
#: seconds that the tests may take
TESTS = 480
PARTS = ("tests", "rows", "losses", "formulas", "regression", "training", "elementwise")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--only", nargs="*", choices=PARTS, help=", ".join(PARTS), metavar="PART")


def lacking() -> str | None:
    """What is missing for a measurement, or None."""
    for module in ("numba_cuda", "cupy"):
        if importlib.util.find_spec(module) is None:
            return f'{module} is not installed: pip install ".[cuda]"'
    if not glob.glob("/dev/nvidia[0-9]*") and not glob.glob("/dev/dxg"):
        return "this machine has no NVIDIA GPU"
    return None


def _tests() -> list[Record]:
    """``pytest -m gpu`` in processes of their own: how many passed, which failed."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-rfEs", "-p", "no:cacheprovider", "tests"]
    if importlib.util.find_spec("xdist"):  # compiling is most of it: 14 processes take a minute or two, one takes ten
        command += ["-n", str(max(1, usable_cores() - 2)), "--dist", "worksteal"]
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    with tempfile.TemporaryFile("w+") as output:
        try:
            code: int | str = subprocess.run(
                command, cwd=Path(__file__).parents[2], env=environment, stdout=output, stderr=subprocess.STDOUT,
                timeout=TESTS,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired:
            code = f"stopped after {TESTS} s"
        output.seek(0)
        lines = output.read().strip().splitlines() or ["no output"]
    seconds = time.perf_counter() - start
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped|error)", lines[-1])}
    bad = [line[:300] for line in lines if line.startswith(("FAILED", "ERROR"))]
    print(f"pytest -m gpu: {code}; {lines[-1]}", *bad, sep="\n", flush=True)
    details = {"exit": code, **counts, "failures": bad}
    return [Record("gpu", "pytest -m gpu", "", "", "tests", "nbgrad", Spread.of([seconds]), details=details)]


def _own_epoch(x: Any, labels: Any, batch: int, compiled: bool) -> Call:
    import nbgrad
    from nbgrad import functional, nn, optim

    net = nn.Sequential(nn.Linear(784, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 10)).to("cuda")
    optimizer = optim.Adam(net.parameters(), lr=1e-3)
    images = nbgrad.tensor(x)

    def step(pixels: Any, target: Any) -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(pixels), target)
        loss.backward()
        optimizer.step()
        return loss

    run = nbgrad.compile(step) if compiled else step

    def epoch() -> Any:
        for start in range(0, len(x), batch):
            loss = run(images[start : start + batch], labels[start : start + batch])
        return loss

    return epoch


def _torch_epoch(peer: Any, x: Any, labels: Any, batch: int) -> Call:
    torch = peer.torch
    layers = torch.nn
    net = layers.Sequential(
        layers.Linear(784, 256), layers.ReLU(), layers.Linear(256, 256), layers.ReLU(), layers.Linear(256, 10)
    ).to("cuda")
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    images, target = peer.tensor(x), peer.tensor(labels)

    def epoch() -> Any:
        for start in range(0, len(x), batch):
            optimizer.zero_grad()
            loss = layers.functional.cross_entropy(net(images[start : start + batch]), target[start : start + batch])
            loss.backward()
            optimizer.step()
        return loss

    return epoch


def _training(session: Session, batch: int) -> list[Record]:
    n = 6_000 if session.quick else 60_000
    x = session.place.normal((n, 784), "float32")
    labels = session.place.put(np.random.default_rng(0).integers(0, 10, n))
    calls: dict[Key, Call] = {
        Key("nbgrad", "epoch", "new"): _own_epoch(x, labels, batch, compiled=True),
        Key("nbgrad, eager", "epoch", "new"): _own_epoch(x, labels, batch, compiled=False),
    }
    for peer in session.peers.values():
        calls[Key(peer.title, "epoch", "new")] = _torch_epoch(peer, x, labels, batch)
    case = Case("gpu", "MLP 784-256-256-10, Adam", f"batch {batch}", "float32", calls, size=n, tolerance=None)
    return session.measure(case, rounds=5, budget=20.0)


def on_device(session: Session) -> Session:
    """The session as it is on the GPU: of the peers PyTorch."""
    from bench.peers.pytorch import PyTorchOnGpu

    peers: dict[str, Peer] = {}
    if "torch" in session.peers:
        try:
            peers["torch"] = PyTorchOnGpu(session.threads)
        except ImportError as error:
            session.missing["gpu: PyTorch"] = str(error)
    return dataclasses.replace(session, place=Gpu(), peers=peers, _met=set())


def _as_gpu(run: Any, *arguments: Any) -> list[Record]:
    """The records of another suite's case, as this one's."""
    return [dataclasses.replace(record, suite="gpu") for record in run(*arguments)]


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    why = lacking()
    if why is not None:
        session.missing["gpu"] = why
        return
    chosen = arguments.only or PARTS
    if "tests" in chosen:
        yield Job("pytest -m gpu", _tests)
    here = on_device(session)
    n = 1 << 20 if session.quick else ELEMENTS
    if "rows" in chosen:
        for name in rows.NAMES:
            for shape in ROWS[:1] if session.quick else ROWS:
                yield Job(f"{name} {shape}", partial(_as_gpu, rows._rows, here, name, "float32", shape, 1))
        yield Job("maxout", partial(_as_gpu, rows._maxout, here, "float32", *MAXOUT))
    if "losses" in chosen:
        for name, op in LOSSES.items():
            yield Job(name, partial(_as_gpu, losses._elementwise, here, op, n, "float32"))
        for shape in ROWS[:1] if session.quick else ROWS:
            yield Job(f"cross_entropy {shape}", partial(_as_gpu, losses._cross_entropy, here, "float32", *shape))
    if "formulas" in chosen:
        for row in formulas.ROWS[:3]:
            yield Job(row.formula.__name__, partial(_as_gpu, formulas._measure, here, row, n))
    if "regression" in chosen:
        for p in PASSES[:2] if session.quick else PASSES:
            yield Job(f"{p[0]} {p[1:]}", partial(_as_gpu, regression._pass, here, *p))
    if "training" in chosen:
        for batch in BATCHES:
            yield Job(f"MLP epoch, batch {batch}", partial(_training, here, batch))
    if "elementwise" in chosen:
        for name, op in OPS.items():
            yield Job(name, partial(_as_gpu, elementwise._measure, here, op, n, "float32"))
