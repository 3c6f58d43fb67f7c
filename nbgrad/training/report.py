"""What a finished training leaves in its folder: the model, `metrics.json` and the pictures."""

from __future__ import annotations

import json
import os
import platform
import statistics
from pathlib import Path
from typing import Any

import numba
import numpy as np

from nbgrad import __version__, nn
from nbgrad.datasets import Dataset
from nbgrad.training import models, plots
from nbgrad.training.checkpoint import write_atomically

__all__ = ["FILES", "write"]

METRICS_FILE = "metrics.json"
PICTURES = ("curves.png", "weights.png", "confusion.png", "misclassified.png")

#: Every file that `write` may write.
FILES = (models.WEIGHTS_FILE, models.DESCRIPTION_FILE, METRICS_FILE, *PICTURES)


def write(
    folder: Path,
    settings: dict[str, Any],
    net: nn.Sequential,
    data: Dataset,
    history: list[dict[str, Any]],
    seconds: float,
) -> dict[str, Any]:
    """Evaluate the trained network, write all files into `folder`, return what `metrics.json` holds.

    `train_loss` and `train_accuracy` are of the final weights on the whole training set, without dropout; the
    history's `batch_loss` and `batch_accuracy` are of the batches as they were trained on.
    `images_per_second` is of the median epoch, so that compiling in the first one does not count; `seconds`
    counts all of the training, the evaluation after each epoch too.
    """
    model = models.MODELS[settings["model"]]
    height, width = data.test_images.shape[1:]
    white = data.max_value
    train_loss, train_scores = models.evaluate(model, net, data.train_images, data.train_labels, white)
    test_loss, test_scores = models.evaluate(model, net, data.test_images, data.test_labels, white)
    epoch_seconds = statistics.median(entry["seconds"] for entry in history)
    predicted = test_scores.argmax(axis=1)
    test_mistakes = int(np.sum(predicted != data.test_labels))
    classes = test_scores.shape[1]
    metrics = {
        **settings,
        "train_images": len(data.train_images),
        "test_images": len(data.test_images),
        "train_loss": train_loss,
        "train_accuracy": float(np.mean(train_scores.argmax(axis=1) == data.train_labels)),
        "test_loss": test_loss,
        "test_accuracy": 1 - test_mistakes / len(predicted),
        "seconds": seconds,
        "images_per_second": len(data.train_images) / epoch_seconds,
        "cpus": os.cpu_count(),
        "versions": {
            "nbgrad": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "numba": numba.__version__,
        },
        "history": history,
    }

    description = {
        "model": settings["model"],
        "dataset": settings["dataset"],
        "height": height,
        "width": width,
        "max_value": data.max_value,
        "num_classes": classes,
    }
    models.save_model(folder, net, description)

    name = f"{settings['model']} on {settings['dataset']}"
    counts = np.zeros((classes, classes), int)
    np.add.at(counts, (data.test_labels, predicted), 1)
    sure = model.probabilities(test_scores).max(axis=1)
    score = f"{len(predicted) - test_mistakes} of {len(predicted)} test images right"
    shown = f", the {plots.MOST_MISTAKES} surest" if test_mistakes > plots.MOST_MISTAKES else ""
    pictures = {
        "curves.png": plots.curves(history, name),
        "confusion.png": plots.confusion(counts, f"{name}: {score}"),
        "misclassified.png": plots.misclassified(
            data.test_images,
            data.test_labels,
            predicted,
            sure,
            f"{name}: {test_mistakes} mistakes{shown} (true as predicted)",
        ),
    }
    layers = list(net.parameters())
    if len(layers) == 2:  # one Linear layer: a row of its matrix is a class's weights
        images = layers[0].detach().cpu().numpy().reshape(classes, height, width)
        pictures["weights.png"] = plots.weights(images, f"{name}: weights of each class")
    for file, figure in pictures.items():
        write_atomically(folder / file, plots.to_bytes(figure))
    # The figures last: where metrics.json is, all is.
    write_atomically(folder / METRICS_FILE, (json.dumps(metrics, indent=2) + "\n").encode())
    return metrics
