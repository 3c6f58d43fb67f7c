"""Files of every kind, damaged in 2 000 seeded ways: a right answer or one line and status 2, within seconds and little
memory, and nothing outside the folder.
"""

import contextlib
import io
import os
import shutil
import subprocess
import sys
import time
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from nbgrad.cli import main
from nbgrad.datasets import load_digits, read_idx, write_idx
from nbgrad.training import checkpoint, models, predict, report
from nbgrad.training import loop as module
from nbgrad.training.loop import train

MUTATIONS = 2000
KINDS = ["a.idx", "a.idx.gz", "a.npy", "a.png", "model.json", "model.npz", "checkpoint.npz"]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A folder with a good file of each kind."""
    folder = tmp_path_factory.mktemp("good")
    train(epochs=1, out=folder)
    few = load_digits().test_images[:5]
    write_idx(folder / "a.idx", few)
    write_idx(folder / "a.idx.gz", few)
    np.save(folder / "a.npy", few)
    Image.fromarray(few[0] * 15).save(folder / "a.png")
    return folder


def mutated(data, rng):
    """One to three of: bits turned, bytes exchanged, a part cut off, left out, put in twice or moved, numbers of all sizes
    written over others.
    """
    data = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        size = len(data)
        if not size:
            break
        at, length = int(rng.integers(size)), int(rng.integers(1, 1 + min(size, 40)))
        what = rng.integers(8)
        if what == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif what == 1:
            data[at : at + length] = rng.bytes(min(length, size - at))
        elif what == 2:
            del data[at:]
        elif what == 3:
            del data[at : at + length]
        elif what == 4:
            data[at:at] = data[at : at + length]
        elif what == 5:
            part = data[at : at + length]
            del data[at : at + length]
            other = int(rng.integers(len(data) + 1))
            data[other:other] = part
        elif what == 6:
            number = int(rng.choice([0, 1, 2**31 - 1, 2**32 - 1, 255, 2**16]))
            data[at : at + 4] = number.to_bytes(4, "big" if rng.integers(2) else "little")
        else:
            data += rng.bytes(length)
    return bytes(data)


def commands(name, folder):
    """The command line that reads the file, and the functions of the library."""
    path = folder / name
    if name.startswith("a."):
        read = [lambda: predict.read_images(path, 8, 8, 16)]
        if "idx" in name:
            read.append(lambda: read_idx(path))
        return ["predict", "--model", str(folder), str(path)], read
    if name.startswith("model"):
        return ["predict", "--model", str(folder), str(folder / "a.npy")], [lambda: models.load_model(folder)]
    return ["train", "--resume", "--out", str(folder)], [lambda: checkpoint.load(path), lambda: train(out=folder, resume=True)]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files(good, tmp_path, kind, monkeypatch):
    # A checkpoint that is accepted is one that trains: that is not what is asked here, nor for how long.
    monkeypatch.setattr(module._Run, "finish", lambda *_: None)
    monkeypatch.setattr(report, "write", lambda folder, settings, net, data, history, seconds: METRICS | settings)
    rng = np.random.default_rng(KINDS.index(kind))
    whole = (good / kind).read_bytes()
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    shutil.copytree(good, folder)
    outside.mkdir()
    monkeypatch.chdir(outside)
    others = {path: data for path, data in contents(folder).items() if path.name != kind}
    refused = 0
    for number in range(-(-MUTATIONS // len(KINDS))):
        (folder / kind).write_bytes(mutated(whole, rng))
        words, functions = commands(kind, folder)
        for call in functions:
            tracemalloc.start()
            started = time.perf_counter()
            with contextlib.suppress(ValueError, OSError):
                call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 100e6 and time.perf_counter() - started < 5, number
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(words)
        told = err.getvalue()
        assert status in (0, 2), (number, told)
        assert "Traceback" not in told and all(len(line) <= 300 for line in told.splitlines())
        if status == 2:
            assert told.startswith("nbgrad: error: ") and told.count("\n") == 1, (number, told)
            refused += 1
        else:
            assert all(line.startswith("nbgrad: note: ") for line in told.splitlines())
        now = contents(folder)
        assert {path: now.get(path) for path in others} == others and len(now) == len(others) + 1, number
        assert not contents(outside) and sorted(os.listdir(tmp_path)) == ["folder", "outside"]
    assert refused > 100


METRICS = {
    "train_images": 1, "test_images": 1, "train_loss": 0.0, "test_loss": 0.0, "train_accuracy": 1.0, "test_accuracy": 1.0,
    "seconds": 0.0, "images_per_second": 1.0,
}  # fmt: skip

LIMITED = """
import sys
from nbgrad.cli import main
status = main(sys.argv[1:])
with open("/proc/self/status") as status_file:  # (getrusage's largest size may be that of the process that forked this one)
    peak = next(int(line.split()[1]) for line in status_file if line.startswith("VmHWM"))
with open("memory", "w") as file:
    print(peak // 1024, file=file)
sys.exit(status)
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks the system for the memory")
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_in_processes_of_their_own(good, tmp_path, kind):
    """The whole process's memory and time, of a few."""
    rng = np.random.default_rng(100 + KINDS.index(kind))
    whole = (good / kind).read_bytes()
    folder = tmp_path / "folder"
    shutil.copytree(good, folder)
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}
    for _ in range(3):
        (folder / kind).write_bytes(mutated(whole, rng))
        words, _ = commands(kind, folder)
        done = subprocess.run([sys.executable, "-W", "error", "-c", LIMITED, *words], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment)
        assert done.returncode in (0, 2), done.stderr
        if done.returncode == 2:
            assert done.stderr.startswith("nbgrad: error: ") and done.stderr.count("\n") == 1
            assert int((tmp_path / "memory").read_text()) < 300
        assert sorted(os.listdir(tmp_path)) == ["folder", "memory"]
