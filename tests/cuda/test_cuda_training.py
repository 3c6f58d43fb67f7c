"""Training on the device gives what the CPU's gives, to rounding, and the same bits when it is interrupted."""

import json

import numpy as np
import pytest

import nbgrad
from nbgrad import functional, nn, optim
from nbgrad.training import loop

OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1, weight_decay=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9),
    "nesterov": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, lr=0.01, weight_decay=0.1),
    "adamw": lambda p: optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_steps_as_on_the_cpu(name):
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(5, 4)).astype(np.float32), np.array([0, 1, 2, 0, 1])
    start, weights = nn.Linear(4, 3).state_dict(), []
    for device in ("cpu", "cuda", "moved"):
        net = nn.Linear(4, 3).load_state_dict(start).to("cuda" if device == "cuda" else "cpu")
        optimizer = OPTIMIZERS[name](net.parameters())
        for step in range(3):
            if device == "moved" and step == 1:
                net.cuda()
            on = net.weight.device
            inputs, targets = nbgrad.tensor(x, device=on), nbgrad.tensor(labels, device=on)
            optimizer.zero_grad()
            functional.cross_entropy(net(inputs), targets).backward()
            optimizer.step()
        again = OPTIMIZERS[name](net.parameters())
        again.load_state_dict(optimizer.state_dict())
        assert all(isinstance(v, (np.ndarray, float, int)) for v in optimizer.state_dict().values())
        weights.append(net.cpu().weight.numpy())
    np.testing.assert_allclose(weights[1], weights[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(weights[2], weights[0], rtol=1e-5, atol=1e-6)


def test_what_is_remembered_of_a_number_comes_back_with_it():
    seen = []
    for back in (False, True):
        p = nbgrad.tensor(2.0, device="cuda" if back else "cpu", requires_grad=True)
        optimizer = optim.Adam([p])
        for step in range(3):
            if step == 1:
                p._data = p.detach().cpu()._own()
            optimizer.zero_grad()
            (p * p).backward()
            optimizer.step()
        seen.append([float(optimizer.state[0][name]) for name in optimizer.arrays] + [p.item()])
    np.testing.assert_allclose(seen[1], seen[0], rtol=1e-6)


@pytest.fixture
def few_digits(monkeypatch):
    """The first 60 of the digits, of 3 rows of pixels: the simulator is slow."""
    pytest.importorskip("matplotlib")  # a training ends with its pictures
    whole = loop.DATASETS["digits"]()
    part = whole._replace(
        train_images=whole.train_images[:60, 2:5], train_labels=whole.train_labels[:60],
        test_images=whole.test_images[:20, 2:5], test_labels=whole.test_labels[:20],
    )  # fmt: skip
    monkeypatch.setitem(loop.DATASETS, "digits", lambda: part)


@pytest.mark.parametrize("model", ["softmax", "logistic", "logistic-mse"])
def test_a_training_as_on_the_cpu(few_digits, tmp_path, model):
    losses = []
    for device in ("cpu", "cuda"):
        loop.train(model=model, epochs=2, batch_size=25, device=device, out=tmp_path / device)
        metrics = json.loads((tmp_path / device / "metrics.json").read_text())
        assert metrics["device"] == device
        losses.append([entry[key] for entry in metrics["history"] for key in ("batch_loss", "test_loss")])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_dropout_goes_on_from_a_checkpoint_with_the_same_bits(few_digits, tmp_path, monkeypatch):
    from nbgrad.training.models import MODELS

    def narrow(features, classes, recipe, rng):
        return nn.Sequential(nn.Dropout(0.3, rng=rng), nn.Linear(features, classes, rng=rng))

    monkeypatch.setattr(loop, "_SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setitem(MODELS, "softmax", MODELS["softmax"].__class__(**{**vars(MODELS["softmax"]), "build": narrow}))
    options = {"epochs": 3, "batch_size": 30, "device": "cuda"}
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


def test_clipping_as_on_the_cpu():
    grads = []
    for device in ("cpu", "cuda"):
        p = nbgrad.tensor([[0.0, 0.0]], device=device, requires_grad=True)
        p.grad = nbgrad.tensor([[3.0, 4.0]], device=device)
        assert nn.utils.clip_grad_norm_([p], 1.0).item() == 5 and p.grad.device.startswith(device)
        grads.append(p.grad.cpu().numpy().copy())
        p.grad.requires_grad = False
        optim.SGD([p]).zero_grad(set_to_none=False)
        assert p.grad.tolist() == [[0, 0]]
    np.testing.assert_allclose(grads[1], grads[0], rtol=1e-6)
