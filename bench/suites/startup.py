"""Whole processes: the time to the first result (imports and first call) and what is installed for it, beside the
peers; the first call of a kernel alone; `nbgrad train` on the digits. Each with an empty disk cache ("compiled") and
with a filled one ("from disk"); the peers have none, as they come.
"""

from __future__ import annotations

import argparse
import configparser
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

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
_CALLS = ("sigmoid(x)", "softmax(rows)", "cross_entropy_value_and_grad(rows, labels)")

# The first result of a process: the same task by each library, as its users write it.
_FIRST_RESULT = """
import time
begin = time.perf_counter()
import numpy as np
{imports}
imported = time.perf_counter()
x = np.linspace(-3, 3, 1000).astype(np.float32)
rows, labels = x.reshape(-1, 10), np.arange(100) % 10
y = np.arange(100) % 2
{call}
print(imported - begin, time.perf_counter() - begin)
"""
_TORCH = """
a = torch.from_numpy({x}).requires_grad_()
F.{loss}.backward()
"""
_JAX = """
f = lambda w: {loss}
jax.block_until_ready(jax.jit(jax.value_and_grad(f))({x}))
"""
_OF_LOSS = {
    "nbgrad": "kernels.cross_entropy_value_and_grad(rows, labels)",
    "torch": _TORCH.format(x="rows", loss="cross_entropy(a, torch.from_numpy(labels))"),
    "jax": _JAX.format(x="rows", loss="-jnp.mean(jax.nn.log_softmax(w)[jnp.arange(100), labels])"),
}
_OF_MODEL = {
    "nbgrad": "regression.logistic_value_and_grad(np.zeros(11, np.float32), rows, y)",
    "torch": _TORCH.format(
        x="np.zeros(10, np.float32)",
        loss="binary_cross_entropy_with_logits(torch.from_numpy(rows) @ a, torch.from_numpy(y).float())",
    ),
    "jax": _JAX.format(x="jnp.zeros(10)", loss="jnp.mean(jax.nn.softplus(rows @ w) - y * (rows @ w))"),
    "sklearn": """
loss = LinearModelLoss(base_loss=HalfBinomialLoss(), fit_intercept=True)
loss.loss_gradient(np.zeros(11, np.float32), rows, y.astype(np.float32), l2_reg_strength=0.0)
""",
}
#: task: {who: code}
_TASKS = {
    "sigmoid": {
        "nbgrad": "kernels.sigmoid(x)",
        "torch": "torch.sigmoid(torch.from_numpy(x))",
        "jax": "jax.block_until_ready(jax.nn.sigmoid(x))",
    },
    "cross_entropy, value and gradient": _OF_LOSS,
    "logistic regression, value and gradient": _OF_MODEL,
}
_IMPORTS = {
    "nbgrad": "from nbgrad import kernels, regression",
    "torch": "import torch\nimport torch.nn.functional as F",
    "jax": "import jax\nimport jax.numpy as jnp",
    "sklearn": (
        "import sklearn.linear_model\nfrom sklearn._loss import HalfBinomialLoss\n"
        "from sklearn.linear_model._linear_loss import LinearModelLoss"
    ),
}
_INSTALLED_AS = {"sklearn": "scikit-learn"}


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


def _first_result(session: Session, task: str) -> list[Record]:
    """Import and first call in a new process, everybody in turn."""
    rounds, codes = session.rounds or (1 if session.quick else 3), _TASKS[task]
    peers = [peer for peer in _IMPORTS if peer in codes and peer in session.peers]
    times: dict[str, list[tuple[float, float]]] = {who: [] for who in ("compiled", "from disk", *peers)}
    with tempfile.TemporaryDirectory() as folder:
        for k in range(rounds):
            for who, several in times.items():
                library = who if who in peers else "nbgrad"
                code = _FIRST_RESULT.format(imports=_IMPORTS[library], call=codes[library])
                environment = {**os.environ, "NUMBA_CACHE_DIR": os.path.join(folder, str(k))}
                done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
                imported, whole = map(float, done.stdout.split())
                several.append((imported, whole))

    def records(name: str, kind: str, direction: str, of: Callable[[tuple[float, float]], float]) -> Iterable[Record]:
        own = Timing([of(pair) for pair in times[kind]])
        for who in ("nbgrad", *peers):
            found = own if who == "nbgrad" else Timing([of(pair) for pair in times[who]])
            yield Record(
                "startup", name, "", "", direction, session.peers[who].title if who in peers else who,
                Spread.of(found.rounds), rounds=rounds, threads=session.threads,
                ratio=Spread.of(own.ratios_to(found)) if who in peers else None,
            )  # fmt: skip

    name = f"first result, {task}"
    found = [r for kind in ("compiled", "from disk") for r in records(name, kind, kind, lambda t: t[1])]
    return found + (list(records("import", "from disk", "", lambda t: t[0])) if codes is _OF_MODEL else [])


def _megabytes(package: str) -> float:
    """What is installed for a package: its files and those of all that it needs."""
    sizes: dict[str, int] = {}

    def add(name: str) -> None:
        name = re.sub("[-_.]+", "-", name).lower()
        if name in sizes:
            return
        try:
            files, needs = distribution(name).files or [], distribution(name).requires or []
            sizes[name] = sum(Path(f.locate()).stat().st_size for f in files if Path(f.locate()).is_file())
        except PackageNotFoundError:
            if name != "nbgrad":
                return  # of another platform
            settings, root = configparser.ConfigParser(), Path(__file__).parents[2]
            settings.read(root / "setup.cfg")
            needs = settings["options"]["install_requires"].split("\n")
            sizes[name] = sum(file.stat().st_size for file in (root / "nbgrad").rglob("*.py*"))
        for requirement in needs:
            if (match := re.match(r"[\w.-]+", requirement)) and "extra ==" not in requirement:
                add(match[0])

    add(package)
    return sum(sizes.values()) / 1e6


def _installed(session: Session) -> list[Record]:
    """Megabytes on the disk; a ratio above 1 is a peer that needs more."""
    own, found = _megabytes("nbgrad"), {}
    for peer in _IMPORTS:
        if peer in session.peers:
            found[session.peers[peer].title] = _megabytes(_INSTALLED_AS.get(peer, peer))
    return [
        Record("startup", "installed", "", "", "", who, Spread.of([size]), unit="MB",
               ratio=Spread.of([size / own]) if who != "nbgrad" else None)
        for who, size in {"nbgrad": own, **found}.items()
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
        yield Job("installed", partial(_installed, session))
        for task in _TASKS:
            yield Job(f"first result, {task}", partial(_first_result, session, task))
        yield Job("nbgrad train", partial(_train, session))
    for call in _CALLS[:1] if session.quick else _CALLS:
        for size in (1000,) if session.quick else (1000, 200_000):
            yield Job(f"first call, {call}, {size}", partial(_kernel, session, call, size))
