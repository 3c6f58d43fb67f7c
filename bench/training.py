"""An epoch of softmax regression and of the MLP 784-256-256-10, batches of 100, Adam, nbgrad and PyTorch in
turn on the same batches.

On MNIST where it is at hand (``$NBGRAD_DATA`` or the cache), else on drawn data of its shape. ``--accuracy``
instead trains the models of `nbgrad train` on MNIST and the digits with the seeds 0, 1, 2 and prints the
median test accuracies.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np

import nbgrad
from bench.method import interleaved, machine, optional, table
from nbgrad import functional, nn, optim
from nbgrad.datasets import load_mnist
from nbgrad.jit import serial_loops

LAYERS = {"softmax": (784, 10), "mlp": (784, 256, 256, 10)}
TARGETS = {  # test accuracy in %, to be reached by the median of three seeds
    ("mnist", "softmax"): 92.2,
    ("mnist", "mlp"): 98.2,
    ("mnist", "maxout"): 98.4,
    ("digits", "softmax"): 95.0,
    ("digits", "mlp"): 97.0,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--alone", choices=["nbgrad", "PyTorch"], help="one only: BLAS thread pools disturb each other"
    )
    parser.add_argument(
        "--accuracy", action="store_true", help="train for accuracy instead of measuring epochs"
    )
    parser.add_argument("--datasets", nargs="*", default=["digits", "mnist"], help="with --accuracy")


def _data() -> tuple[Any, Any]:
    try:
        mnist = load_mnist()
    except (OSError, ValueError) as error:
        print(f"drawn data in place of MNIST ({error})")
        rng = np.random.default_rng(0)
        return rng.random((60_000, 784), dtype=np.float32), rng.integers(0, 10, 60_000)
    return mnist.train_images.reshape(-1, 784) / np.float32(255), mnist.train_labels.astype(np.int64)


def _epoch(step: Callable[[Any, Any], Any], x: Any, labels: Any, order: Any) -> Callable[[], Any]:
    def run() -> float:
        total = 0.0
        for start in range(0, len(x), 100):
            at = order[start : start + 100]
            total += step(x[at], labels[at])
        return total / (len(x) / 100)

    return run


def _nbgrad(sizes: tuple[int, ...]) -> tuple[Callable[[Any, Any], Any], list[Any]]:
    rng = np.random.default_rng(0)
    layers: list[Any] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(i, o, rng=rng), nn.ReLU()]
    net = nn.Sequential(*layers[:-1])
    optimizer = optim.Adam(net.parameters(), lr=1e-3)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = functional.cross_entropy(net(nbgrad.Tensor(x)), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step, list(net.parameters())


def _torch(torch: Any, sizes: tuple[int, ...], weights: list[Any]) -> Callable[[Any, Any], Any]:
    layers: list[Any] = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        layers += [torch.nn.Linear(i, o), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for mine, theirs in zip(net.parameters(), weights, strict=True):
            mine.copy_(torch.from_numpy(theirs.detach().numpy().copy()))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(torch.from_numpy(x)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def _epochs(rounds: int, alone: str | None) -> None:
    torch = optional("torch") if alone != "nbgrad" else None
    x, labels = _data()
    order = np.random.default_rng(1).permutation(len(x))
    rows = []
    for name, sizes in LAYERS.items():
        step, weights = _nbgrad(sizes)
        candidates = {"nbgrad": _epoch(step, x, labels, order)}
        if torch:
            candidates["PyTorch"] = _epoch(_torch(torch, sizes, weights), x, labels, order)
        if alone:
            candidates = {alone: candidates[alone]}
        with serial_loops():
            first = [
                call() for call in candidates.values()
            ]  # also warms up; from the same weights to the same loss
            assert max(first) - min(first) < 0.01 * max(first), first
            times = interleaved(candidates, rounds=rounds)
        own = times[alone or "nbgrad"]
        rows += [[name, peer, f"{1e3 * t.median:.0f}", f"{own.ratio_to(t):.2f}"] for peer, t in times.items()]
    print(table(["an epoch of", "by", "ms", "nbgrad is faster by" if not alone else ""], rows))


def _accuracies(datasets: list[str]) -> None:
    from nbgrad.training.loop import train

    rows = []
    for (dataset, model), target in TARGETS.items():
        if dataset not in datasets:
            continue
        accuracies, seconds = [], []
        for seed in range(3):
            with tempfile.TemporaryDirectory() as folder:
                metrics = train(dataset=dataset, model=model, seed=seed, out=folder).metrics
            accuracies.append(100 * metrics["test_accuracy"])
            seconds.append(metrics["seconds"])
        each = ", ".join(f"{a:.2f}" for a in accuracies)
        rows.append(
            [
                dataset,
                model,
                f"{statistics.median(accuracies):.2f}",
                each,
                f"{target:.1f}",
                f"{statistics.median(seconds):.1f}",
            ]
        )
        print(rows[-1], flush=True)
    print(table(["data", "model", "median test accuracy, %", "seeds 0, 1, 2", "to reach", "seconds"], rows))


def run(arguments: argparse.Namespace) -> None:
    print(machine())
    if arguments.accuracy:
        _accuracies(arguments.datasets)
    else:
        _epochs(arguments.rounds, arguments.alone)
