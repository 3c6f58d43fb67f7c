"""A training that is killed, stopped and continued at random moments, while another one wants its folder."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

ROUNDS = 20


def start(folder, *more, stderr=subprocess.DEVNULL):
    options = ["--model", "mlp", "--epochs", "30", "--out", str(folder), *more]
    return subprocess.Popen([sys.executable, "-m", "nbgrad", "train", *options], stdout=subprocess.DEVNULL, stderr=stderr)


def knock(folder, done):
    """In a process of its own: another training asks for the folder every 100 ms. Prints what it was told."""
    code = f"""
import os, sys, time
from nbgrad.training.loop import train
told = set()
while not os.path.exists({str(done)!r}):
    started = time.monotonic()
    for resume in (False, True):
        fd = os.open({str(folder)!r}, os.O_RDONLY)
        import fcntl
        try:  # only where the first is there: else this one is the training, which is right, too
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            try:
                train(model="mlp", epochs=30, out={str(folder)!r}, resume=resume)
                told.add("trained")
            except OSError as error:
                told.add(str(error).split(" to ")[0])
            except ValueError as error:
                told.add(str(error).split(" ")[0])
        finally:
            os.close(fd)
    time.sleep(max(0, 0.1 - (time.monotonic() - started)))
print(sorted(told))
"""
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="locks and signals are other things there")
def test_killed_stopped_and_continued_while_another_one_knocks(tmp_path):
    rng = np.random.default_rng(1)
    whole, parts, done = tmp_path / "whole", tmp_path / "parts", tmp_path / "done"
    with start(whole) as process:
        assert process.wait(timeout=300) == 0
    parts.mkdir()
    saved = parts / "checkpoint.npz"
    knocking = knock(parts, done)
    try:
        for turn in range(ROUNDS):
            before = saved.stat().st_mtime_ns if saved.exists() else 0
            with open(tmp_path / "stderr", "w") as stderr, start(parts, *(["--resume"] if before else []), stderr=stderr) as process:
                end = time.monotonic() + 60
                if turn % 2 or not before:  # every other time not before it has come further
                    while process.poll() is None and time.monotonic() < end and not (saved.exists() and saved.stat().st_mtime_ns > before):
                        time.sleep(0.01)
                time.sleep(rng.uniform(0, 0.4))
                what = rng.integers(3)
                if what == 0:  # stopped for a while: others must not take its folder from it
                    process.send_signal(signal.SIGSTOP)
                    time.sleep(rng.uniform(0.1, 0.3))
                    process.send_signal(signal.SIGCONT)
                    time.sleep(rng.uniform(0, 0.2))
                process.send_signal(signal.SIGINT if what == 1 else signal.SIGKILL)
                status = process.wait(timeout=60)
            told = (tmp_path / "stderr").read_text()
            # ended already, killed, interrupted; and once in a while the other one had the folder for a moment
            assert status in (0, -signal.SIGKILL, 130, -signal.SIGINT) or "another training" in told, told
            assert "No such file" not in told and "damaged" not in told
        done.touch()
        out, err = knocking.communicate(timeout=120)
    finally:
        done.touch()
        knocking.kill()
        knocking.wait()
    assert knocking.returncode == 0, err
    assert "another training is writing" in out, out
    with open(tmp_path / "stderr", "w") as stderr, start(parts, "--resume", stderr=stderr) as process:
        assert process.wait(timeout=300) == 0, (tmp_path / "stderr").read_text()
    assert (whole / "model.npz").read_bytes() == (parts / "model.npz").read_bytes()
    assert sorted(os.listdir(parts)) == sorted(os.listdir(whole))
