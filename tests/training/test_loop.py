import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from nbgrad.datasets import load_digits
from nbgrad.training import checkpoint, models, plots
from nbgrad.training import loop as module
from nbgrad.training.loop import train

RESULTS = [
    "confusion.png",
    "curves.png",
    "metrics.json",
    "misclassified.png",
    "model.json",
    "model.npz",
    "weights.png",
]

TO_BYTES = plots.to_bytes


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing them takes more than a second, of each training; the tests that want them put `TO_BYTES` back."""
    monkeypatch.setattr(plots, "to_bytes", lambda figure: b"a picture")


def weights(folder):
    return (folder / "model.npz").read_bytes()


def test_a_run_leaves_what_it_promises(tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "to_bytes", TO_BYTES)
    result = train(epochs=3, out=tmp_path / "deep" / "folder")
    folder = result.folder
    assert sorted(os.listdir(folder)) == sorted([*RESULTS, "checkpoint.npz"]) == sorted(result.files)
    assert result.epochs_trained == 3
    assert all((folder / name).read_bytes().startswith(b"\x89PNG") for name in RESULTS if name.endswith(".png"))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics == result.metrics
    assert (metrics["dataset"], metrics["model"], metrics["seed"], metrics["epochs"]) == (
        "digits",
        "softmax",
        0,
        3,
    )
    assert 0.8 < metrics["test_accuracy"] < 1 and 0 < metrics["train_loss"] < metrics["test_loss"] < 1
    assert metrics["seconds"] > 0 and metrics["images_per_second"] > 0
    assert [entry["epoch"] for entry in metrics["history"]] == [1, 2, 3]
    # and they are the figures of the model beside them
    data = load_digits()
    net, description = models.load_model(folder)
    assert description["max_value"] == 16
    scores = models.score(net, data.test_images, 16)
    assert metrics["test_accuracy"] == np.mean(scores.argmax(1) == data.test_labels)
    assert metrics["history"][-1]["test_accuracy"] == metrics["test_accuracy"]
    p = np.exp(scores.astype(float)) / np.exp(scores.astype(float)).sum(1, keepdims=True)
    loss = -np.mean(np.log(p[np.arange(len(p)), data.test_labels]))
    assert metrics["test_loss"] == pytest.approx(loss, rel=1e-5)


def test_the_pictures_are_of_the_trained_model(tmp_path, monkeypatch):
    drawn = {}

    def spy(name):
        draw = getattr(plots, name)
        monkeypatch.setattr(plots, name, lambda *args: drawn.update({name: args}) or draw(*args))

    for name in ("curves", "weights", "confusion", "misclassified"):
        spy(name)
    result = train(epochs=2, out=tmp_path)
    data = load_digits()
    net, _ = models.load_model(tmp_path)
    scores = models.score(net, data.test_images, 16)
    predicted = scores.argmax(1)
    counts, title = drawn["confusion"]
    for true in range(10):
        for guess in range(10):
            assert counts[true, guess] == np.sum((data.test_labels == true) & (predicted == guess))
    right = int(np.trace(counts))
    assert f"{right} of 359 test images right" in title
    images, labels, guesses, sure, title = drawn["misclassified"]
    assert images is data.test_images or np.array_equal(images, data.test_images)
    np.testing.assert_array_equal(labels, data.test_labels)
    np.testing.assert_array_equal(guesses, predicted)
    p = models.MODELS["softmax"].probabilities(scores)
    np.testing.assert_array_equal(sure, p[np.arange(359), predicted])
    assert f"{359 - right} mistakes" in title
    white = np.asarray(next(iter(net.parameters())).detach()).reshape(10, 8, 8)
    np.testing.assert_array_equal(drawn["weights"][0], white)
    assert drawn["curves"][0] == result.metrics["history"]


@pytest.mark.parametrize("model", models.MODELS)
def test_the_seed_decides_the_weights(tmp_path, model):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(model=model, epochs=2, seed=seed, out=tmp_path / name)
    assert weights(tmp_path / "a") == weights(tmp_path / "b") != weights(tmp_path / "c")


@pytest.mark.parametrize("model", models.MODELS)
def test_interrupted_and_resumed_ends_with_the_same_weights(tmp_path, model, monkeypatch):
    train(model=model, epochs=4, out=tmp_path / "whole")
    epoch, calls = module._Run._epoch, []

    def interrupted(self, bar):
        calls.append(1)
        if len(calls) in (3, 5):
            epoch(self, bar)  # in the middle of an epoch: its work is lost
            raise KeyboardInterrupt
        return epoch(self, bar)

    monkeypatch.setattr(module._Run, "_epoch", interrupted)
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    with pytest.raises(KeyboardInterrupt, match="interrupted after epoch 2 of 4; to continue: nbgrad train --resume"):
        train(model=model, epochs=4, out=tmp_path / "parts")
    assert os.listdir(tmp_path / "parts") == ["checkpoint.npz"]
    with pytest.raises(KeyboardInterrupt, match="after epoch 3 of 4"):
        train(out=tmp_path / "parts", resume=True)
    result = train(model=model, epochs=4, out=tmp_path / "parts", resume=True)
    assert result.epochs_trained == 1
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    one, two = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("whole", "parts"))
    for metrics in (one, two):
        for entry in [metrics, *metrics["history"]]:
            for key in ("seconds", "images_per_second"):
                entry.pop(key, None)
    assert one == two


@pytest.mark.slow
def test_killed_at_any_moment_and_resumed_ends_with_the_same_weights(tmp_path):
    def start(folder, *more):
        options = ["--model", "mlp", "--epochs", "30", "--out", str(folder), *more]
        # to a file: a pipe that nobody empties holds 64 KB, then the process waits for ever
        with open(tmp_path / "stderr", "w") as stderr:
            return subprocess.Popen([sys.executable, "-m", "nbgrad", "train", *options], stderr=stderr)

    def ended(process):
        try:
            return process.wait(timeout=300)
        except subprocess.TimeoutExpired:
            process.kill()  # leaving ``with`` would wait for it
            raise

    def written(path):
        return path.stat().st_mtime_ns if path.exists() else 0

    with start(tmp_path / "whole") as process:
        assert ended(process) == 0, (tmp_path / "stderr").read_text()
    rng = np.random.default_rng(0)
    saved, kills = tmp_path / "parts" / "checkpoint.npz", 0
    for _ in range(4):
        before = written(saved)
        with start(tmp_path / "parts", *(["--resume"] if before else [])) as process:
            while process.poll() is None and written(saved) == before:
                time.sleep(0.005)
            time.sleep(rng.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            kills += ended(process) == -signal.SIGKILL
    assert kills >= 2
    with start(tmp_path / "parts", "--resume") as process:
        assert ended(process) == 0, (tmp_path / "stderr").read_text()
    assert weights(tmp_path / "whole") == weights(tmp_path / "parts")
    assert sorted(os.listdir(tmp_path / "parts")) == sorted(os.listdir(tmp_path / "whole"))


def test_resuming_a_finished_run_writes_its_results_again(tmp_path):
    train(epochs=1, out=tmp_path)
    before = weights(tmp_path)
    for name in RESULTS:
        (tmp_path / name).unlink()
    result = train(out=tmp_path, resume=True)
    assert result.epochs_trained == 0 and weights(tmp_path) == before
    assert sorted(result.files) == sorted(os.listdir(tmp_path)) == sorted([*RESULTS, "checkpoint.npz"])


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(epochs=1, out=tmp_path_factory.mktemp("run")).folder


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"model": "mlp"}, "model: expected softmax, as the run in .* began, got mlp"),
        ({"epochs": 3}, "epochs: expected 1, as"),
        ({"lr": 0.5}, r"lr: expected 0\.05, as"),
        ({"batch_size": 7}, "batch_size: expected 32, as"),
        ({"seed": 1}, "seed: expected 0, as"),
        ({"dataset": "mnist"}, "dataset: expected digits, as"),
    ],
)
def test_a_run_is_not_resumed_with_other_settings(finished, option, message):
    with pytest.raises(ValueError, match=message):
        train(**option, out=finished, resume=True)


def test_without_a_good_checkpoint_nothing_is_resumed(tmp_path):
    with pytest.raises(ValueError, match=r"resume: there is no checkpoint\.npz in .*none"):
        train(out=tmp_path / "none", resume=True)
    assert not (tmp_path / "none").exists()
    train(epochs=1, out=tmp_path)
    path = tmp_path / "checkpoint.npz"
    data = path.read_bytes()
    path.write_bytes(data[:-100])
    with pytest.raises(ValueError, match=r"checkpoint\.npz is damaged"):
        train(out=tmp_path, resume=True)
    checkpoint.save(path, {}, {"version": 2})
    with pytest.raises(ValueError, match="another version"):
        train(out=tmp_path, resume=True)
    checkpoint.save(path, {}, [])
    with pytest.raises(ValueError, match="another version"):
        train(out=tmp_path, resume=True)


def test_a_new_run_replaces_old_results_and_leaves_other_files(tmp_path, monkeypatch):
    train(epochs=1, out=tmp_path)
    for name in ("notes.txt", "other.png", ".model.npz.7.tmp", ".checkpoint.npz.7.tmp"):
        (tmp_path / name).touch()
    monkeypatch.setattr(module._Run, "finish", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        train(epochs=2, out=tmp_path)
    # killed right after its start, the new run can be resumed, and no old result can be taken for its own
    assert sorted(os.listdir(tmp_path)) == ["checkpoint.npz", "notes.txt", "other.png"]
    monkeypatch.undo()
    assert train(out=tmp_path, resume=True).epochs_trained == 2
    train(model="mlp", epochs=1, out=tmp_path)
    assert not (tmp_path / "weights.png").exists()


def test_two_trainings_do_not_share_a_folder(tmp_path):
    fcntl = pytest.importorskip("fcntl")
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(OSError, match="out: another training is writing to"):
            train(epochs=1, out=tmp_path)
    finally:
        os.close(handle)
    assert train(epochs=1, out=tmp_path).epochs_trained == 1


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OSError, match="out: cannot write to .*file"):
            train(out=out)
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("model", ["softmax", "mlp"])
def test_a_diverging_training_stops_and_keeps_the_last_good_checkpoint(tmp_path, model, monkeypatch):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    with pytest.raises(FloatingPointError, match=r"lr: expected one that keeps the loss finite, got 1e\+38"):
        train(model=model, lr=1e38, out=tmp_path)
    arrays, _, _ = checkpoint.load(tmp_path / "checkpoint.npz")
    assert all(np.isfinite(array).all() for array in arrays.values())
    assert os.listdir(tmp_path) == ["checkpoint.npz"]


@pytest.mark.parametrize(
    ("option", "error", "message"),
    [
        ({"dataset": "cifar"}, ValueError, "dataset: expected one of digits, mnist, got 'cifar'"),
        ({"model": "svm"}, ValueError, "model: expected one of softmax, logistic, .*, got 'svm'"),
        ({"epochs": 0}, ValueError, "epochs: expected at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs: expected an integer, got float"),
        ({"batch_size": 0}, ValueError, "batch_size: expected at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
        ({"seed": True}, TypeError, "seed: expected an integer, got bool"),
        ({"lr": 0.0}, ValueError, r"lr: expected a finite number above 0, got 0\.0"),
        ({"lr": math.nan}, ValueError, "lr: expected a finite number above 0, got nan"),
        ({"lr": math.inf}, ValueError, "lr: expected a finite number above 0, got inf"),
        ({"lr": "fast"}, TypeError, "lr: expected a number, got str"),
        ({"device": "tpu"}, ValueError, "device: expected one of cpu, cuda, got 'tpu'"),
        ({"device": "cuda"}, RuntimeError, "device: cuda is not available: "),
    ],
)
def test_wrong_settings_are_refused_before_anything_is_written(tmp_path, option, error, message):
    with pytest.raises(error, match=message):
        train(**option, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("batch_size", [1, 7, 1438, 100_000])
def test_any_batch_size_trains_on_every_image_once_an_epoch(tmp_path, batch_size, monkeypatch):
    seen = []

    def tensor(x):
        seen.append(x.copy())
        return Tensor(x)

    Tensor = module.Tensor
    monkeypatch.setattr(module, "Tensor", tensor)
    train(epochs=1, batch_size=batch_size, lr=1e-3, out=tmp_path)
    assert {len(x) for x in seen[:-1]} <= {batch_size} and len(seen[-1]) <= batch_size
    trained = np.concatenate(seen)
    expected = load_digits().train_images.reshape(1438, 64) / np.float32(16)
    assert not np.array_equal(trained, expected)  # in another order
    np.testing.assert_array_equal(trained[np.lexsort(trained.T)], expected[np.lexsort(expected.T)])


def test_the_learning_rate_falls_to_zero():
    rates = [module._learning_rate({"lr": 0.5}, step, 100) for step in range(100)]
    assert rates[0] == 0.5 and rates[50] == pytest.approx(0.25) and 0 < rates[-1] < 0.001
    assert all(a > b for a, b in zip(rates, rates[1:], strict=False))


@pytest.mark.parametrize(
    ("model", "least"),
    [("softmax", 0.95), ("mlp", 0.97), ("maxout", 0.97), ("logistic", 0.94), ("logistic-mse", 0.94)],
)
def test_accuracy_on_the_digits(tmp_path, model, least):
    """Two of three seeds: one image is 0.28 %, and the number of BLAS threads decides over one or two."""
    found = []
    for seed in range(3):
        found.append(train(model=model, seed=seed, out=tmp_path / str(seed)).metrics["test_accuracy"])
        if sum(accuracy >= least for accuracy in found) == 2:
            return
    pytest.fail(f"{found}")


THOROUGH = os.environ.get("HYPOTHESIS_PROFILE") == "thorough"


@pytest.mark.mnist
@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "epochs", "least"),
    [
        ("softmax", None, 0.922),
        ("mlp", 4, 0.975),
        ("maxout", 3, 0.97),
        *([("mlp", None, 0.982), ("maxout", None, 0.984)] if THOROUGH else []),
    ],
)
def test_accuracy_on_mnist(tmp_path, model, epochs, least):
    """The larger models for a few epochs, because all of them (None) take a minute and more."""
    result = train(dataset="mnist", model=model, epochs=epochs, out=tmp_path)
    assert result.metrics["test_accuracy"] >= least


def test_an_empty_folder_name_is_refused():
    with pytest.raises(ValueError, match="out: expected the name of a folder"):
        train(epochs=1, out="")


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("options", [{"epochs": 1}, {"resume": True}, {"model": "mlp", "epochs": 3}])
def test_a_refused_training_touches_nothing(tmp_path, options):
    """Above all not the temporary file in which the running one writes its checkpoint."""
    fcntl = pytest.importorskip("fcntl")
    train(epochs=1, out=tmp_path)
    for name in (".checkpoint.npz.17.tmp", ".model.npz.17.tmp", ".metrics.json.17.tmp"):
        (tmp_path / name).write_text("being written")
    before, changed = contents(tmp_path), os.stat(tmp_path).st_mtime_ns
    handle = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        with pytest.raises(OSError, match="out: another training is writing to"):
            train(out=tmp_path, **options)
        assert contents(tmp_path) == before and os.stat(tmp_path).st_mtime_ns == changed
    finally:
        os.close(handle)
    train(out=tmp_path, **options)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


def test_without_locks_nothing_is_cleaned_up(tmp_path, monkeypatch):
    """Whose a temporary file is cannot be known there."""
    fcntl = pytest.importorskip("fcntl")

    def none(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", none)
    (tmp_path / ".checkpoint.npz.17.tmp").touch()
    train(epochs=1, out=tmp_path)
    assert (tmp_path / ".checkpoint.npz.17.tmp").exists()


@pytest.mark.parametrize("moment", ["replace", "fsync"])
def test_a_disk_that_becomes_read_only_keeps_its_first_error(tmp_path, monkeypatch, moment):
    def begin(*_):
        monkeypatch.setattr(module.Path, "unlink", refuse("second"))
        refuse("first")()

    def refuse(which):
        def refused(*_, **__):
            raise OSError(30, f"Read-only file system, the {which}")

        return refused

    train(epochs=1, out=tmp_path)
    before = contents(tmp_path)
    monkeypatch.setattr(os, moment, begin)
    with pytest.raises(OSError, match="the first") as caught:
        train(epochs=1, out=tmp_path)
    assert caught.value.filename == str(tmp_path / "checkpoint.npz") and caught.value.errno == 30
    monkeypatch.undo()
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before


def test_a_link_in_the_temporary_files_place_is_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("checkpoint.npz", "model.npz", "metrics.json"):
        (folder / f".{name}.{os.getpid()}.tmp").symlink_to(outside)
        (folder / name).symlink_to(outside)
    train(epochs=1, out=folder)
    assert outside.read_text() == "mine" and not (folder / "model.npz").is_symlink()


def test_more_epochs_than_a_checkpoint_holds_are_refused(tmp_path):
    with pytest.raises(ValueError, match="epochs: expected at most 100000, got 100001"):
        train(epochs=100_001, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()
