"""The models that `nbgrad train` knows, as one table: how each is built, its loss, its hyperparameters.

The hyperparameters were chosen on training images alone: for MNIST by training on the first 50 000 and
validating on the last 10 000, for the digits by 4-fold cross-validation. The test sets had no part in it.
"""

from __future__ import annotations

import functools
import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from nbgrad import functional, kernels, nn
from nbgrad.autograd.devices import device_name, move
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor
from nbgrad.datasets.files import read_regular
from nbgrad.training import checkpoint, schema
from nbgrad.training.schema import Field, choice, integer

__all__ = ["MODELS", "Model", "Recipe", "load_model", "one_hot", "save_model"]


@dataclass(frozen=True)
class Recipe:
    """How a model is trained on a data set unless told otherwise (with Adam; lr falls to 0, half a cosine).

    >>> MODELS["softmax"].recipes["mnist"].batch_size
    100
    """

    epochs: int
    batch_size: int
    lr: float
    weight_decay: float = 0.0
    dropout: float = 0.0  # of the hidden units
    input_dropout: float = 0.0


@dataclass(frozen=True)
class Model:
    """A row of `MODELS`.

    `build(num_features, num_classes, recipe, rng)` makes the network, whose outputs (n, num_classes) are
    scores; `loss(scores, labels)` is what training minimises; `probabilities(scores)` turns scores (an array)
    into class probabilities that sum to 1; `recipes` has the hyperparameters per data set.
    """

    summary: str
    build: Callable[[int, int, Recipe, np.random.Generator], nn.Sequential]
    loss: Callable[[Tensor, np.ndarray], Tensor]
    probabilities: Callable[[np.ndarray], np.ndarray]
    recipes: Mapping[str, Recipe]


def one_hot(labels: np.ndarray, num_classes: int, dtype: Any = np.float32) -> np.ndarray:
    """A row per label with a 1 at the label and 0 elsewhere, shape (n, num_classes).

    >>> one_hot(np.array([2, 0]), 3)
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    return _unit_rows(num_classes, np.dtype(dtype), device_name(labels))[labels]


def _one_hot(labels: Any, scores: Tensor) -> Tensor:
    """The same as a Tensor like the scores."""
    return Tensor(_unit_rows(scores.shape[1], scores.dtype, scores.device))[labels]


@functools.cache
def _unit_rows(num_classes: int, dtype: np.dtype[Any], device: str) -> Any:
    return move(np.eye(num_classes, dtype=dtype), device)


def _linear(features: int, classes: int, recipe: Recipe, rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(nn.Linear(features, classes, rng=rng))


def _mlp(features: int, classes: int, recipe: Recipe, rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(recipe.input_dropout, rng=rng),
        nn.Linear(features, 256, rng=rng),
        nn.ReLU(),
        nn.Dropout(recipe.dropout, rng=rng),
        nn.Linear(256, 256, rng=rng),
        nn.ReLU(),
        nn.Dropout(recipe.dropout, rng=rng),
        nn.Linear(256, classes, rng=rng),
    )


def _maxout(features: int, classes: int, recipe: Recipe, rng: np.random.Generator) -> nn.Sequential:
    return nn.Sequential(
        nn.Dropout(recipe.input_dropout, rng=rng),
        nn.Maxout(features, 128, 4, rng=rng),
        nn.Dropout(recipe.dropout, rng=rng),
        nn.Maxout(128, 128, 4, rng=rng),
        nn.Dropout(recipe.dropout, rng=rng),
        nn.Linear(128, classes, rng=rng),
    )


def _cross_entropy(scores: Tensor, labels: np.ndarray) -> Tensor:
    return functional.cross_entropy(scores, labels)


def _logistic(scores: Tensor, labels: np.ndarray) -> Tensor:
    targets = _one_hot(labels, scores)
    return functional.binary_cross_entropy_with_logits(scores, targets)


def _logistic_mse(scores: Tensor, labels: np.ndarray) -> Tensor:
    targets = _one_hot(labels, scores)
    return functional.mse_loss(functional.sigmoid(scores), targets)


def _softmax(scores: np.ndarray) -> np.ndarray:
    return kernels.softmax(scores)


def _one_vs_rest(scores: np.ndarray) -> np.ndarray:
    # σ(s) divided by the sum of its row. Taken through log σ(s) = -log(1 + exp(-s)): where every σ of a row
    # underflows to 0 the quotient would be 0/0.
    return kernels.softmax(-np.logaddexp(scores.dtype.type(0), -scores))


MODELS: dict[str, Model] = {
    "softmax": Model(
        "softmax regression with cross-entropy",
        _linear, _cross_entropy, _softmax,
        {"digits": Recipe(60, 32, 5e-2, weight_decay=1e-5), "mnist": Recipe(10, 100, 5e-3)},
    ),
    "logistic": Model(
        "one logistic regression per class, with cross-entropy",
        _linear, _logistic, _one_vs_rest,
        {"digits": Recipe(40, 32, 3e-2), "mnist": Recipe(10, 100, 1e-2)},
    ),
    "logistic-mse": Model(
        "one logistic regression per class, with the squared error",
        _linear, _logistic_mse, _one_vs_rest,
        # The loss is 1/m Σ (σ(wᵀx) - y)². At a learning rate of 0.1 units saturate in the first steps, and
        # the squared error, whose gradient has the factor σ', never brings them back: 54 % in the
        # cross-validation.
        {"digits": Recipe(40, 32, 3e-2), "mnist": Recipe(10, 100, 1e-2)},
    ),
    "mlp": Model(
        "two hidden layers of 256 ReLU units",
        _mlp, _cross_entropy, _softmax,
        {
            "digits": Recipe(60, 32, 3e-3, dropout=0.4, input_dropout=0.1),
            "mnist": Recipe(15, 100, 2e-3, dropout=0.2, input_dropout=0.1),
        },
    ),
    "maxout": Model(
        "two hidden layers of 128 maxout units with 4 pieces each",
        _maxout, _cross_entropy, _softmax,
        {
            "digits": Recipe(40, 32, 3e-3, dropout=0.3, input_dropout=0.1),
            "mnist": Recipe(20, 100, 1e-3, dropout=0.2, input_dropout=0.2),
        },
    ),
}  # fmt: skip


def evaluate(
    model: Model, net: nn.Sequential, images: np.ndarray, labels: np.ndarray, max_value: int
) -> tuple[float, np.ndarray]:
    """The mean loss and the scores (n, num_classes) of `net` on images (n, height, width)."""
    scores = score(net, images, max_value)
    with no_grad():
        return model.loss(Tensor(scores), labels.astype(np.int64)).item(), scores


def score(net: nn.Sequential, images: np.ndarray, max_value: int) -> np.ndarray:
    """The scores (n, num_classes) of `net`, put into evaluation mode, for images (n, height, width)."""
    net.eval()
    pixels = images.reshape(len(images), -1)
    scale = np.float32(1 / max_value)
    device = next(net.parameters()).device
    with no_grad():  # a thousand at once: the matrix products are large, the activations stay in the cache
        parts = [
            net(Tensor(pixels[at : at + 1000] * scale).to(device)).cpu().numpy() for at in range(0, len(pixels), 1000)
        ]
    return np.concatenate(parts)


WEIGHTS_FILE, DESCRIPTION_FILE = "model.npz", "model.json"

#: What `model.json` holds. The bounds keep a forged file from asking for gigabytes: the widest network within them has
#: 40 million weights.
DESCRIPTION: dict[str, Field] = {
    "model": choice(*MODELS),
    "dataset": choice(*MODELS["softmax"].recipes),
    "height": integer(1, 200),
    "width": integer(1, 200),
    "max_value": integer(1, 255),
    "num_classes": integer(2, 1000),
    "weights_sha256": Field(
        (str,), "a string", lambda v: re.fullmatch("[0-9a-f]{64}", v) is not None, "64 hexadecimal digits"
    ),
}


def save_model(folder: str | os.PathLike[str], net: nn.Sequential, description: Mapping[str, Any]) -> None:
    """Write a trained network as `model.npz` (the weights) and `model.json` (what they are of) into `folder`.

    `description` has the keys `model, dataset, height, width, max_value, num_classes`. Each file is written
    atomically, and `model.json` holds the checksum of the weights: `load_model` notices a pair that does not
    belong together.
    """
    arrays = {name: value.cpu().numpy() for name, value in net.state_dict().items()}
    checksum = checkpoint.save(Path(folder, WEIGHTS_FILE), arrays, {})
    text = json.dumps({**description, "weights_sha256": checksum}, indent=2) + "\n"
    checkpoint.write_atomically(Path(folder, DESCRIPTION_FILE), text.encode())


def load_model(folder: str | os.PathLike[str]) -> tuple[nn.Sequential, dict[str, Any]]:
    """Read what `save_model` wrote: (network in evaluation mode, description). Safe with a stranger's folder.

    Raises OSError where a file cannot be read, ValueError where one is not what `save_model` writes, or not a regular
    file. Of the weights at most twice as many bytes are read as the network needs.
    """
    path = Path(folder, DESCRIPTION_FILE)
    if not os.path.lexists(path):
        raise ValueError(f"{os.fspath(folder)}: expected the folder of a trained model, got no {path.name} in it")
    description = schema.parse(path, read_regular(path, 100_000))  # far more than `save_model` writes
    schema.check_file(path, description, DESCRIPTION)
    model = MODELS[description["model"]]
    shape = description["height"] * description["width"], description["num_classes"]
    expected = shapes(model, *shape)
    weights = Path(folder, WEIGHTS_FILE)
    arrays, _, checksum = checkpoint.load(weights, most_bytes(expected), expected)  # the names first: cheaply
    if checksum != description["weights_sha256"]:
        raise ValueError(f"{path}: weights_sha256: expected {checksum} of {WEIGHTS_FILE}, got another")
    check_arrays(arrays, expected, weights)
    net = model.build(*shape, model.recipes[description["dataset"]], np.random.default_rng(0))
    net.load_state_dict(arrays)
    return net.eval(), description


class _NoDraws:
    """In place of a random generator: the weights that it draws are 0 and take no memory."""

    def uniform(self, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.float32(0), shape)


def shapes(model: Model, features: int, classes: int) -> dict[str, Tensor]:
    """The tensors of a model's state by name, for their shapes and dtypes; no memory is needed for them."""
    net = model.build(features, classes, model.recipes["digits"], cast(np.random.Generator, _NoDraws()))
    return dict(net._state())


def most_bytes(expected: Mapping[str, Tensor]) -> int:
    """Twice what a file of such tensors needs."""
    return 2 * sum(value.numel() * value.dtype.itemsize + 1000 for value in expected.values()) + 100_000


def check_arrays(arrays: Mapping[str, np.ndarray], expected: Mapping[str, Any], path: Path) -> None:
    """ValueError unless the arrays have the names, shapes and dtypes of those expected, and finite values only."""
    if wrong := arrays.keys() ^ expected.keys():
        name = min(wrong)
        raise ValueError(f"{path}: array {name!r} is {'missing' if name in expected else 'not expected'}")
    for name, array in arrays.items():
        want = expected[name]
        if array.shape != want.shape or array.dtype != want.dtype:
            got = f"{array.dtype} of shape {array.shape}"
            raise ValueError(f"{path}: {name}: expected {want.dtype} of shape {want.shape}, got {got}")
        if not np.isfinite(array).all():
            raise ValueError(f"{path}: {name}: expected finite values only")
