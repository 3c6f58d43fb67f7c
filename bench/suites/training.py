"""Softmax regression and the MLP 784-256-256-10 on MNIST, batches of 100, Adam: an epoch of each library in turn, from
the same weights, in the same order of the images; losses and test accuracies after each epoch, the time to an accuracy.

On MNIST where NBGRAD_DATA names a folder with it, else on drawn data of its shape; with ``--quick`` on the digits.
``--accuracy`` instead trains the models of `nbgrad train` on MNIST and the digits with the seeds 0, 1, 2 and records
the median test accuracies.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from typing import Any

import numpy as np

from bench.data import mnist, mnist_test
from bench.method import Timing
from bench.record import OWN, Record, Spread
from bench.session import Job, Session
from bench.suites.trainers import OwnTrainer
from nbgrad.datasets import load_digits

#: hidden units, epochs, test accuracy to be reached in %, learning rate
MODELS: dict[str, tuple[tuple[int, ...], int, float, float]] = {
    "softmax": ((), 10, 92.0, 1e-3),
    "MLP": ((256, 256), 6, 97.0, 1e-3),
}
QUICK = {"softmax": ((), 10, 90.0, 1e-2), "MLP": ((256, 256), 5, 85.0, 1e-3)}
TARGETS = {  # test accuracy in %, to be reached by the median of three seeds of `nbgrad train`
    ("mnist", "softmax"): 92.2,
    ("mnist", "mlp"): 98.2,
    ("mnist", "maxout"): 98.4,
    ("digits", "softmax"): 95.0,
    ("digits", "mlp"): 97.0,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--alone", metavar="NAME", help="nbgrad, PyTorch or sklearn alone: BLAS thread pools disturb each other"
    )
    parser.add_argument("--accuracy", action="store_true", help="train for accuracy instead of measuring epochs")
    parser.add_argument("--datasets", nargs="*", default=["digits", "mnist"], help="with --accuracy")


def _data(quick: bool) -> tuple[str, Any, Any, Any, Any]:
    if quick:
        digits = load_digits()
        train, test = (
            images.reshape(-1, 64).astype(np.float32) / 16 for images in (digits.train_images, digits.test_images)
        )
        return "digits", train, digits.train_labels.astype(np.int64), test, digits.test_labels.astype(np.int64)
    return (*mnist(), *mnist_test())


def _weights(sizes: tuple[int, ...]) -> list[Any]:
    """Weights and biases as PyTorch draws them."""
    rng = np.random.default_rng(0)
    found = []
    for i, o in zip(sizes, sizes[1:], strict=False):
        found += [rng.uniform(-(i**-0.5), i**-0.5, shape).astype(np.float32) for shape in ((o, i), (o,))]
    return found


def _epochs(session: Session, name: str, alone: str | None) -> list[Record]:
    hidden, epochs, target, lr = (QUICK if session.quick else MODELS)[name]
    epochs = session.rounds or epochs
    data, x, labels, test, test_labels = _data(session.quick)
    weights = _weights((x.shape[1], *hidden, 10))
    trainers: dict[str, Any] = {OWN: OwnTrainer(weights, lr)}
    for peer in session.peers.values():
        trainer = peer.trainer(weights, lr)
        if trainer is not None:
            trainers[peer.title] = trainer
    if alone:
        if alone not in trainers:
            raise SystemExit(f"--alone: expected one of {', '.join(trainers)}, got {alone}")
        trainers = {alone: trainers[alone]}
    OwnTrainer(weights, lr).epoch(x[:200], labels[:200], np.arange(200))  # compiles
    seconds: dict[str, list[float]] = {who: [] for who in trainers}
    losses: dict[str, list[float]] = {who: [] for who in trainers}
    accuracies: dict[str, list[float]] = {who: [] for who in trainers}
    for k in range(epochs):
        order = np.random.default_rng(k).permutation(len(x))
        for who, trainer in trainers.items():
            time.sleep(0.1)  # until the BLAS threads of the one before have stopped waiting for work
            start = time.perf_counter()
            losses[who].append(float(trainer.epoch(x, labels, order)))
            seconds[who].append(time.perf_counter() - start)
            accuracies[who].append(100 * trainer.accuracy(test, test_labels))
    records, needed = [], {}
    for who in trainers:
        base = OWN if OWN in trainers else who
        apart = max(abs(a - b) / b for a, b in zip(losses[who], losses[base], strict=True))
        if apart > 0.05:
            session.wrong.append(f"{who}: the losses of {name} differ from nbgrad's by {100 * apart:.1f} %")
            continue
        details: dict[str, Any] = {"loss": _short(losses[who]), "accuracy": _short(accuracies[who])}
        details |= {"difference": float(f"{apart:.2g}"), "target": target}
        reached = [a >= target for a in accuracies[who]]
        own, other = Timing(seconds[base]), Timing(seconds[who])
        make = partial(Record, "training", name, data, "float32", who=who, rounds=epochs, threads=session.threads)
        ratio = Spread.of(own.ratios_to(other)) if who != base else None
        records.append(make(direction="epoch", value=Spread.of(seconds[who]), ratio=ratio, details=details))
        if any(reached):
            count = reached.index(True) + 1
            needed[who] = sum(seconds[who][:count])
            ratio = Spread.of([needed[who] / needed[OWN]]) if who != OWN and OWN in needed else None
            to = make(
                direction=f"to {target:g} %", value=Spread.of([needed[who]]), ratio=ratio, details={"epochs": count}
            )
            records.append(to)
    return records


def _short(values: list[float]) -> list[float]:
    return [float(f"{v:.6g}") for v in values]


def _accuracy(session: Session, dataset: str, model: str) -> list[Record]:
    from nbgrad.training.loop import train

    accuracies, seconds = [], []
    for seed in range(3):
        with tempfile.TemporaryDirectory() as folder:
            metrics = train(dataset=dataset, model=model, seed=seed, out=folder).metrics
        accuracies.append(100 * metrics["test_accuracy"])
        seconds.append(metrics["seconds"])
    details = {
        "seeds": [round(a, 2) for a in accuracies],
        "target": TARGETS[dataset, model],
        "seconds": sorted(seconds)[1],
    }
    return [
        Record("training", model, dataset, "float32", "test accuracy", OWN, Spread.of(accuracies), unit="%", rounds=3,
               threads=session.threads, details=details)
    ]  # fmt: skip


def jobs(session: Session, arguments: argparse.Namespace) -> Iterable[Job]:
    if arguments.accuracy:
        for dataset, model in TARGETS:
            if dataset in arguments.datasets:
                yield Job(f"{model} on {dataset}", partial(_accuracy, session, dataset, model))
        return
    for name in MODELS:
        yield Job(f"{name}", partial(_epochs, session, name, arguments.alone))
