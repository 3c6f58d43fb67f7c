"""Training on every device: the CPU's losses, to rounding, and the same bits when it is interrupted."""

import json

import numpy as np
import pytest

from nbgrad import nn
from nbgrad.training import loop


@pytest.fixture
def few_digits(monkeypatch):
    """The first 60 of the digits, of 3 rows of pixels: the simulator is slow."""
    pytest.importorskip("matplotlib")  # a training ends with its pictures
    monkeypatch.setattr("nbgrad.training.plots.to_bytes", lambda figure: b"a picture")
    whole = loop.DATASETS["digits"]()
    part = whole._replace(
        train_images=whole.train_images[:60, 2:5], train_labels=whole.train_labels[:60],
        test_images=whole.test_images[:20, 2:5], test_labels=whole.test_labels[:20],
    )  # fmt: skip
    monkeypatch.setitem(loop.DATASETS, "digits", lambda: part)


@pytest.mark.parametrize("model", ["softmax", "logistic", "logistic-mse"])
def test_a_training_has_the_losses_of_the_cpu(few_digits, tmp_path, model, device):
    losses = []
    for where in ("cpu", device.tensors):
        folder = tmp_path / str(len(losses))
        loop.train(model=model, epochs=2, batch_size=25, device=where, out=folder)
        metrics = json.loads((folder / "metrics.json").read_text())
        assert metrics["device"] == where
        losses.append([entry[key] for entry in metrics["history"] for key in ("batch_loss", "test_loss")])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_dropout_goes_on_from_a_checkpoint_with_the_same_bits(few_digits, tmp_path, monkeypatch, device):
    from nbgrad.training.models import MODELS

    def narrow(features, classes, recipe, rng):
        return nn.Sequential(nn.Dropout(0.3, rng=rng), nn.Linear(features, classes, rng=rng))

    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setitem(MODELS, "softmax", MODELS["softmax"].__class__(**{**vars(MODELS["softmax"]), "build": narrow}))
    options = {"epochs": 3, "batch_size": 30, "device": device.tensors}
    loop.train(**options, out=tmp_path / "whole")
    epoch = loop._Run._epoch

    def interrupted(self, bar):
        if len(self.history) == 1:
            raise KeyboardInterrupt
        return epoch(self, bar)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(loop._Run, "_epoch", interrupted)
        loop.train(**options, out=tmp_path / "parts")
    assert loop.train(resume=True, out=tmp_path / "parts").epochs_trained == 2
    whole, parts = (np.load(tmp_path / name / "model.npz") for name in ("whole", "parts"))
    for name in whole.files:
        np.testing.assert_array_equal(whole[name], parts[name])
