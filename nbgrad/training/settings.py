"""The settings of a training, and what a checkpoint's description holds, as tables for `nbgrad.training.schema`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from nbgrad import datasets
from nbgrad.training.models import DESCRIPTION
from nbgrad.training.schema import Field, choice, integer, number

__all__ = ["CHECKPOINT", "DATASETS", "MOST_EPOCHS", "SETTINGS"]

DATASETS: dict[str, Callable[[], datasets.Dataset]] = {
    "digits": datasets.load_digits,
    "mnist": datasets.load_mnist,
}
MOST_EPOCHS = 100_000  # a checkpoint tells of each in a line

SETTINGS: dict[str, Field] = {
    "dataset": DESCRIPTION["dataset"],
    "model": DESCRIPTION["model"],
    "epochs": integer(1),
    "batch_size": integer(1),
    "lr": Field((int, float), "a number", lambda v: 0 < v < math.inf, "a finite number above 0"),
    "weight_decay": number(),
    "dropout": number(0, 1),
    "input_dropout": number(0, 1),
    "seed": integer(0),
    "device": choice("cpu", "cuda"),
}

_EPOCH: dict[str, Any] = {
    "epoch": integer(1),
    "batch_loss": number(),
    "batch_accuracy": number(0, 1),
    "test_loss": number(),
    "test_accuracy": number(0, 1),
    "seconds": number(),
}

CHECKPOINT: dict[str, Any] = {
    "version": integer(1, 1),
    "nbgrad": Field((str,), "a string", lambda v: len(v) <= 100, "a version"),
    "settings": SETTINGS,
    "rng": {
        "bit_generator": choice("PCG64"),
        "state": {"state": integer(0, 2**128 - 1), "inc": integer(0, 2**128 - 1)},
        "has_uint32": integer(0, 1),
        "uinteger": integer(0, 2**32 - 1),
    },
    "history": [_EPOCH],
    "seconds": number(),
}
