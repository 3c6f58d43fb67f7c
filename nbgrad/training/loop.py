"""The training loop: from a data set's name to weights and pictures in a folder, resumable.

What makes a resumed run bitwise equal to an unbroken one: a checkpoint holds all the state there is (weights,
optimiser, history, and the one random generator that initialises, shuffles and drops out), and the learning
rate is a function of the step alone.
"""

from __future__ import annotations

import dataclasses
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from nbgrad import __version__, datasets, nn, optim
from nbgrad.autograd.devices import empty, move
from nbgrad.autograd.recording.step import compile
from nbgrad.autograd.tensor import Tensor
from nbgrad.jit import serial_loops
from nbgrad.training import checkpoint, models, report
from nbgrad.training.feed import Feed
from nbgrad.training.folder import locked
from nbgrad.training.interrupts import Interrupts
from nbgrad.training.models import MODELS, Recipe
from nbgrad.training.schema import check_argument, check_file
from nbgrad.training.settings import CHECKPOINT, DATASETS, MOST_EPOCHS, SETTINGS

__all__ = ["Result", "train"]

CHECKPOINT_FILE = "checkpoint.npz"
_LARGEST = 28 * 28, 10  # of the data sets: features and classes
_BYTES_OF_AN_EPOCH = 200  # in a checkpoint, at most

# Checkpoints are at least so far apart: flushing a file to the disk can take longer than an epoch on the
# digits.
_SECONDS_BETWEEN_CHECKPOINTS = 0.5


class Result(NamedTuple):
    """What `train` returns: what `metrics.json` holds, the folder and its files, the epochs it trained."""

    metrics: dict[str, Any]
    folder: Path
    files: list[str]
    epochs_trained: int


def train(
    *,
    dataset: str | None = None,
    model: str | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    seed: int | None = None,
    device: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> Result:
    """Train a model on handwritten digits and write the results into a folder.

    `dataset` is "digits" (default) or "mnist", `model` a key of `nbgrad.training.models.MODELS` ("softmax");
    `epochs`, `batch_size` and `lr` have defaults per model and data set; `seed` is 0, `device` "cpu" (or "cuda", a
    GPU), `out` `runs/DATASET-MODEL`. The same seed gives bitwise the same weights for the same number of threads.
    `progress`: show a bar (None: where stderr is a terminal).

    Into `out` go `checkpoint.npz` while it trains and, at the end, `model.npz`, `model.json`, `metrics.json`,
    `curves.png`, `confusion.png`, `misclassified.png` and, for the models without hidden units,
    `weights.png`. Files of these names from an earlier run are replaced: the results are removed when the new
    run starts. Other files are left alone.

    `resume=True` continues from the checkpoint in `out`. What is not given is taken from it; what is given
    must agree with it. Of a finished run the results are written again.

    Raises ValueError or TypeError for a wrong argument, OSError where `out` cannot be written or MNIST not be
    had, RuntimeError where there is no usable GPU, FloatingPointError where the loss stops being finite (the last
    good checkpoint is kept).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     metrics = train(epochs=2, out=folder).metrics
    >>> metrics["dataset"], metrics["epochs"], metrics["test_accuracy"] > 0.8
    ('digits', 2, True)
    """
    named = dict(
        dataset=dataset, model=model, epochs=epochs, batch_size=batch_size, lr=lr, seed=seed, device=device
    )  # fmt: skip
    given = {  # NumPy's numbers as Python's, which JSON takes
        name: value.item() if isinstance(value, np.generic) else value
        for name, value in named.items()
        if value is not None
    }
    for name, value in given.items():
        check_argument(name, value, SETTINGS[name])
    if epochs is not None and epochs > MOST_EPOCHS:
        raise ValueError(f"epochs: expected at most {MOST_EPOCHS}, got {epochs}")
    if out is not None and not os.fspath(out):
        raise ValueError("out: expected the name of a folder, got an empty one")
    if out is None:
        out = Path("runs", f"{given.get('dataset', 'digits')}-{given.get('model', 'softmax')}")
    folder = Path(out)
    if resume and not os.path.lexists(folder / CHECKPOINT_FILE):
        raise ValueError(f"resume: there is no {CHECKPOINT_FILE} in {folder}")
    # What is wrong in a new run is told before its folder is made; a checkpoint is read when it is ours alone.
    ready = None if resume else _settings_and_data(given, None, folder)
    with locked(folder, [CHECKPOINT_FILE, *report.FILES]), serial_loops():
        saved = _read_checkpoint(folder) if resume else None
        settings, data = ready or _settings_and_data(given, saved, folder)
        run = _Run(settings, data, folder)
        if saved:
            run.restore(*saved)
        else:
            run.save()  # first the new checkpoint, then the old results go: at no moment is there neither
            for name in report.FILES:
                (folder / name).unlink(missing_ok=True)
        done = len(run.history)
        try:
            run.finish(progress)
            metrics = report.write(folder, settings, run.net, data, run.history, run.seconds)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"interrupted after epoch {len(run.history)} of {settings['epochs']}; "
                f"to continue: nbgrad train --resume --out {folder}"
            ) from None
        files = [name for name in (*report.FILES, CHECKPOINT_FILE) if (folder / name).exists()]
        return Result(metrics, folder, files, len(run.history) - done)


def _settings_and_data(
    given: dict[str, Any], saved: tuple[Any, dict[str, Any]] | None, folder: Path
) -> tuple[dict[str, Any], datasets.Dataset]:
    settings = _settings(given, saved[1]["settings"] if saved else None, folder)
    move(np.zeros(1, np.float32), settings["device"])  # where there is no such device it says so
    return settings, DATASETS[settings["dataset"]]()


def _settings(given: dict[str, Any], saved: dict[str, Any] | None, folder: Path) -> dict[str, Any]:
    """All settings of a run: the given ones, the rest from the checkpoint or, in a new run, the recipe."""
    if saved is not None:
        for name, value in given.items():
            if saved[name] != value:
                raise ValueError(f"{name}: expected {saved[name]}, as the run in {folder} began, got {value}")
        return saved
    settings: dict[str, Any] = {"dataset": "digits", "model": "softmax", "seed": 0, "device": "cpu"} | given
    return dataclasses.asdict(MODELS[settings["model"]].recipes[settings["dataset"]]) | settings


def _read_checkpoint(folder: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    path = folder / CHECKPOINT_FILE
    # A weight is there three times, with the optimiser's memory; beside it there is a line for each epoch.
    weights = max(models.most_bytes(models.shapes(model, *_LARGEST)) for model in MODELS.values())
    arrays, meta, _ = checkpoint.load(path, 3 * weights + 2 * _BYTES_OF_AN_EPOCH * MOST_EPOCHS)
    if not isinstance(meta, dict) or meta.get("version") != 1:
        raise ValueError(f"resume: {path} was written by another version of nbgrad")
    check_file(path, meta, CHECKPOINT)
    done, epochs = [entry["epoch"] for entry in meta["history"]], meta["settings"]["epochs"]
    if epochs > MOST_EPOCHS:
        raise ValueError(f"{path}: settings.epochs: expected at most {MOST_EPOCHS}, got more")
    if done != list(range(1, min(len(done), epochs) + 1)):
        raise ValueError(f"{path}: history: expected the epochs 1, 2, ... of {epochs}, got others")
    return arrays, meta


class _Run:
    """The state of a training; `save` and `restore` take all of it to the disk and back."""

    def __init__(self, settings: dict[str, Any], data: datasets.Dataset, folder: Path) -> None:
        self.settings, self.data, self.folder = settings, data, folder
        self.rng = np.random.default_rng(settings["seed"])
        self.model = MODELS[settings["model"]]
        recipe = Recipe(**{field.name: settings[field.name] for field in dataclasses.fields(Recipe)})
        features, classes = data.train_images[0].size, int(data.train_labels.max()) + 1
        self.net: nn.Sequential = self.model.build(features, classes, recipe, self.rng).to(settings["device"])
        self.optimizer = optim.Adam(self.net.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.feed = Feed(
            data.train_images.reshape(len(data.train_images), -1), data.train_labels.astype(np.int64),
            min(settings["batch_size"], len(data.train_images)), data.max_value, settings["device"],
        )  # fmt: skip
        models.one_hot(self.feed.labels[:1], classes)  # what losses look up: there before a step is recorded
        self.step = compile(self._step)
        self.history: list[dict[str, Any]] = []
        self.seconds = 0.0

    def _step(self, x: Tensor, targets: Any) -> tuple[Tensor, Tensor]:
        """One step of the training: (loss, scores)."""
        self.optimizer.zero_grad()
        predicted = self.net(x)
        loss = self.model.loss(predicted, targets)
        loss.backward()
        self.optimizer.step()
        return loss.detach(), predicted.detach()

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {f"net.{name}": value.cpu().numpy() for name, value in self.net.state_dict().items()}
        return arrays | {f"optimizer.{name}": np.asarray(value) for name, value in self.optimizer.state_dict().items()}

    def save(self) -> None:
        meta = {
            "version": 1,
            "nbgrad": __version__,
            "settings": self.settings,
            "rng": self.rng.bit_generator.state,
            "history": self.history,
            "seconds": self.seconds,
        }
        checkpoint.save(self.folder / CHECKPOINT_FILE, self._arrays(), meta)

    def restore(self, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
        path = self.folder / CHECKPOINT_FILE
        steps = len(meta["history"]) * -(-len(self.data.train_images) // self.feed.size)
        expected = self._arrays()
        if steps:
            for i, parameter in enumerate(self.net.parameters()):
                expected[f"optimizer.{i}.step"] = np.array(steps)
                expected |= dict.fromkeys((f"optimizer.{i}.{name}" for name in self.optimizer.arrays), parameter._data)
        models.check_arrays(arrays, expected, path)
        for name, array in arrays.items():  # what a run does not change, and the number of its steps
            if not array.ndim and name != "optimizer.lr" and array != expected[name]:
                raise ValueError(f"{path}: {name}: expected {expected[name]}, got {array}")
        net, optimizer = (
            {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
            for prefix in ("net.", "optimizer.")
        )
        self.net.load_state_dict(net)
        try:
            self.optimizer.load_state_dict(optimizer)
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: optimizer: {error}") from None
        self.rng.bit_generator.state = meta["rng"]
        self.history, self.seconds = meta["history"], meta["seconds"]

    def finish(self, progress: bool | None) -> None:
        """Train until the last epoch is done."""
        from tqdm import tqdm

        settings, data = self.settings, self.data
        images = len(data.train_images)
        before, started = self.seconds, time.perf_counter()
        saved = started
        with (
            Interrupts() as self.interrupts,
            tqdm(
                total=settings["epochs"] * images,
                initial=len(self.history) * images,
                desc=settings["model"],
                unit=" img",
                unit_scale=True,
                dynamic_ncols=True,
                disable=None if progress is None else not progress,
            ) as bar,
        ):
            # A diverging training overflows: that is told once, below, not in a RuntimeWarning by NumPy.
            with np.errstate(all="ignore"):
                while len(self.history) < settings["epochs"]:
                    entry = self._epoch(bar)
                    if not (math.isfinite(entry["batch_loss"]) and math.isfinite(entry["test_loss"])):
                        raise FloatingPointError(
                            f"lr: expected one that keeps the loss finite, got {settings['lr']}: in epoch "
                            f"{entry['epoch']} the loss was {entry['batch_loss']}; try a smaller one"
                        )
                    self.history.append(entry)
                    now = time.perf_counter()
                    self.seconds = before + now - started
                    if now - saved >= _SECONDS_BETWEEN_CHECKPOINTS or entry["epoch"] == settings["epochs"]:
                        self.save()
                        saved = now
                    bar.set_postfix_str(f"test {100 * entry['test_accuracy']:.2f} %")

    def _epoch(self, bar: Any) -> dict[str, Any]:
        """Train for one epoch, evaluate; the epoch's entry in the history."""
        settings, net, optimizer = self.settings, self.net, self.optimizer
        images, size = self.data.train_images, self.feed.size
        batches = -(-len(images) // size)
        first_step = len(self.history) * batches
        order = self.rng.permutation(len(images))
        self.feed.shuffle(order)
        net.train()
        started = time.perf_counter()
        # What a batch tells stays where it was computed: to ask for it would wait for a GPU in every step.
        losses = scores = None
        for batch in range(batches):
            x, targets = self.feed(batch)
            optimizer.lr = _learning_rate(settings, first_step + batch, settings["epochs"] * batches)
            loss, predicted = self.step(Tensor(x), targets)
            if losses is None or scores is None:
                losses = empty((batches,), loss._data)
                scores = empty((len(images), predicted.shape[1]), predicted._data)
            losses[batch] = loss._data
            scores[batch * size : batch * size + len(x)] = predicted._data
            bar.update(len(x))
            self.interrupts.check()
        losses, scores = move(losses, "cpu"), move(scores, "cpu")
        counts = np.minimum(size, len(images) - size * np.arange(batches))
        seconds = time.perf_counter() - started
        test_loss, test_scores = models.evaluate(
            self.model, net, self.data.test_images, self.data.test_labels, self.data.max_value
        )
        return {
            "epoch": len(self.history) + 1,
            "batch_loss": float(counts @ losses.astype(np.float64)) / len(images),
            "batch_accuracy": float(np.mean(scores.argmax(axis=1) == self.data.train_labels[order])),
            "test_loss": test_loss,
            "test_accuracy": float(np.mean(test_scores.argmax(axis=1) == self.data.test_labels)),
            "seconds": seconds,
        }


def _learning_rate(settings: dict[str, Any], step: int, steps: int) -> float:
    """From lr down to 0, half a cosine; a straight line is as good (93.3 % in MNIST's validation)."""
    return settings["lr"] * 0.5 * (1 + math.cos(math.pi * step / steps))
