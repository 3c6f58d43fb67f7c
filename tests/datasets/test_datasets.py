"""nbgrad.datasets: the digits that ship with the package, and MNIST from a folder, the cache and a mirror."""

import hashlib
import http.server
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from nbgrad import datasets
from nbgrad.datasets import load_digits, load_mnist, read_idx, write_idx

DATA = Path(__file__).parents[2] / "data"


# --- digits -------------------------------------------------------------------------------------------------


def test_digits_are_the_files_that_the_readme_of_data_describes():
    rows = re.findall(r"`(\S+\.gz)` .*`([0-9a-f]{64})` .*`([0-9a-f]{64})`", (DATA / "README.md").read_text())
    assert sorted(name for name, _, _ in rows) == sorted(path.name for path in DATA.glob("*.gz"))
    for name, compressed, uncompressed in rows:
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == compressed
        read_idx(DATA / name, sha256=uncompressed)


def test_digits_are_split_once_and_for_all_into_stratified_parts():
    digits = load_digits()
    assert digits.train_images.shape == (1438, 8, 8) and digits.test_images.shape == (359, 8, 8)
    assert (digits.name, digits.max_value) == ("digits", 16)
    assert {array.dtype for array in digits[:4]} == {np.dtype(np.uint8)}
    tests, trains = np.bincount(digits.test_labels), np.bincount(digits.train_labels)
    np.testing.assert_array_less(abs(tests - (tests + trains) / 5), 0.5)

    def pairs(images, labels):
        return list(zip(images.tolist(), labels.tolist(), strict=True))

    whole = pairs(*(read_idx(DATA / f"digits-{name}-ubyte.gz") for name in ("images-idx3", "labels-idx1")))
    assert sorted(pairs(*digits[:2]) + pairs(*digits[2:4])) == sorted(whole)

    # The published accuracies rest on this very split: it must not follow a change in NumPy unseen.
    checksum = hashlib.sha256(digits.test_images.tobytes() + digits.test_labels.tobytes()).hexdigest()
    assert checksum == "386d811a323f132ca4cb0d0e63bf974fda8a421ba5193cf4f8d527c44251de08"


def test_digits_can_be_changed_without_changing_the_next_ones():
    load_digits().train_images[:] = 0
    assert load_digits().train_images.max() == 16


def test_digits_are_scikit_learns(tmp_path):
    pytest.importorskip("sklearn")
    root = DATA.parent
    subprocess.run([sys.executable, "-m", "data.make_digits", tmp_path], cwd=root, check=True)
    for path in DATA.glob("*.gz"):
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


IMAGES, LABELS = np.zeros((4, 2, 3), np.uint8), np.array([0, 9, 1, 2], np.uint8)


@pytest.mark.parametrize(
    "images, labels, message",
    [
        (IMAGES, LABELS + np.uint8(1), r"digits: expected labels with values in 0\.\.9, got 10"),
        (IMAGES + np.uint8(17), LABELS, r"digits: expected images with values in 0\.\.16, got 17"),
        (IMAGES[0], LABELS[:2], r"digits: expected images of 3 dimensions of uint8, got shape \(2, 3\)"),
        (IMAGES.astype(np.float32), LABELS, r"digits: expected images of .* got .* float32"),
        (IMAGES, LABELS[:, None], r"digits: expected labels of 1 dimensions of uint8, got shape \(4, 1\)"),
        (IMAGES, LABELS.astype(np.int8), r"digits: expected labels of .* got .* int8"),
        (IMAGES[:3], LABELS, r"digits: expected a label for each of 3 images, got 4"),
    ],
)
def test_files_that_hold_no_digits_are_refused(tmp_path, monkeypatch, images, labels, message):
    write_idx(tmp_path / "digits-images-idx3-ubyte.gz", images)
    write_idx(tmp_path / "digits-labels-idx1-ubyte.gz", labels)
    monkeypatch.setattr(datasets, "_digits_folder", lambda: tmp_path)
    with pytest.raises(ValueError, match=message):
        load_digits()


# --- MNIST in a folder --------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A folder of four small files, and nbgrad made to believe that they are MNIST's."""
    folder = tmp_path / "small"
    folder.mkdir()
    checksums = {}
    for seed, name in enumerate(datasets.MNIST_SHA256):
        rng = np.random.default_rng(seed)
        array = rng.integers(256, size=(100, 28, 28)) if "images" in name else rng.integers(10, size=100)
        write_idx(folder / name, array.astype(np.uint8))
        checksums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        write_idx(folder / f"{name}.gz", array.astype(np.uint8))
        (folder / name).unlink()
    monkeypatch.setattr(datasets, "MNIST_SHA256", checksums)
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", ())
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("NBGRAD_DATA", raising=False)
    return folder


def assert_is_small(mnist, folder):
    arrays = [read_idx(folder / f"{name}.gz") for name in datasets.MNIST_SHA256]
    assert (mnist.name, mnist.max_value) == ("mnist", 255)
    for array, expected in zip(mnist[:4], arrays, strict=True):
        np.testing.assert_array_equal(array, expected, strict=True)


def test_mnist_is_read_from_root_before_nbgrad_data(small, tmp_path, monkeypatch):
    monkeypatch.setenv("NBGRAD_DATA", str(tmp_path))
    assert_is_small(load_mnist(small), small)
    assert_is_small(load_mnist(str(small)), small)
    monkeypatch.setenv("NBGRAD_DATA", str(small))
    assert_is_small(load_mnist(), small)


def test_mnist_is_read_from_uncompressed_files_too(small, tmp_path):
    for name in datasets.MNIST_SHA256:
        write_idx(tmp_path / name, read_idx(small / f"{name}.gz"))
    assert_is_small(load_mnist(tmp_path), small)


@pytest.mark.parametrize("argument", ["root", "NBGRAD_DATA"])
def test_a_missing_file_is_named_and_not_downloaded(small, server, monkeypatch, argument):
    mirror, requests = server(small)
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (mirror,))
    (small / "t10k-labels-idx1-ubyte.gz").rename(small / "elsewhere")
    monkeypatch.setenv("NBGRAD_DATA", str(small))
    message = f"{argument}: expected t10k-labels-idx1-ubyte or the same .gz in {small}, got neither"
    with pytest.raises(FileNotFoundError, match=re.escape(message)):
        load_mnist(*([small] if argument == "root" else []))
    assert not requests


def test_other_data_under_mnists_names_are_refused(small):
    path = small / "train-labels-idx1-ubyte.gz"
    labels = read_idx(path)
    labels[7] ^= 1
    write_idx(path, labels)
    message = rf"{re.escape(str(path))}: expected the uncompressed SHA-256 \w+, got \w+"
    with pytest.raises(ValueError, match=message):
        load_mnist(small)


# --- MNIST from a mirror ------------------------------------------------------------------------------------


class Handler(http.server.SimpleHTTPRequestHandler):
    def __init__(self, *arguments, requests, missing, **keywords):
        self.requests, self.missing = requests, missing
        super().__init__(*arguments, **keywords)

    def do_GET(self):
        self.requests.append(self.path)
        if not self.missing:
            return super().do_GET()
        body = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: -self.missing])
        if self.missing > 1:
            self.server.stalled.wait(60)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    """server(folder) serves it and returns its address and the list that gathers the paths asked for.

    ``missing``: so many bytes of each file are never sent; more than one are waited for as well.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    running = []

    def start(folder, missing=0):
        requests = []
        handler = partial(Handler, directory=folder, requests=requests, missing=missing)
        running.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler))
        running[-1].stalled = threading.Event()
        threading.Thread(target=running[-1].serve_forever, args=(0.01,)).start()
        return f"http://127.0.0.1:{running[-1].server_port}/", requests

    yield start
    for each in running:
        each.stalled.set()
        each.shutdown()
        each.server_close()


def cached():
    return sorted(path.name for path in (datasets.cache_folder() / "mnist").glob("*"))


def test_mnist_is_downloaded_once(small, server, monkeypatch, capfd):
    mirror, requests = server(small)
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (mirror,))
    monkeypatch.setenv("NBGRAD_DATA", "")
    assert_is_small(load_mnist(), small)
    files = [f"{name}.gz" for name in datasets.MNIST_SHA256]
    assert requests == [f"/{file}" for file in files]
    assert cached() == sorted(files)
    assert "train-images-idx3-ubyte" in capfd.readouterr().err  # the progress bar
    assert_is_small(load_mnist(), small)
    assert len(requests) == 4


@pytest.mark.parametrize("damage", ["cut off", "other data"])
def test_a_damaged_file_in_the_cache_is_fetched_anew(small, server, monkeypatch, damage):
    mirror, requests = server(small)
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (mirror,))
    load_mnist()
    requests.clear()
    path = datasets.cache_folder() / "mnist" / "t10k-images-idx3-ubyte.gz"
    if damage == "cut off":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        write_idx(path, read_idx(path) // 2)
    assert_is_small(load_mnist(), small)
    assert requests == ["/t10k-images-idx3-ubyte.gz"]


def test_the_next_mirror_is_asked_when_one_fails(small, server, tmp_path, monkeypatch):
    empty, foreign = tmp_path / "empty", tmp_path / "foreign"
    empty.mkdir()
    foreign.mkdir()
    for name in datasets.MNIST_SHA256:
        write_idx(foreign / f"{name}.gz", LABELS)
    bad = [server(empty)[0], server(foreign)[0], server(small, missing=1)[0], "http://127.0.0.1:1/"]
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", bad)
    with pytest.raises(ConnectionError, match=r"mnist: expected train-images\S+ from a mirror") as caught:
        load_mnist()
    assert all(mirror in str(caught.value) for mirror in bad)
    assert "404" in str(caught.value) and "SHA-256" in str(caught.value) and "\n" not in str(caught.value)
    assert cached() == []
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", [*bad, server(small)[0]])
    assert_is_small(load_mnist(), small)


def test_many_may_download_at_once(small, server, monkeypatch):
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (server(small)[0],))
    with ThreadPoolExecutor(4) as pool:
        for mnist in pool.map(lambda _: load_mnist(), range(4)):
            assert_is_small(mnist, small)
    assert len(cached()) == 4


def test_a_download_that_was_killed_leaves_no_file_of_that_name(small, server, monkeypatch):
    stalling, requests = server(small, missing=10)
    script = (
        "import json, pathlib, sys; from nbgrad import datasets; cache, mirror, checksums = sys.argv[1:]\n"
        "datasets.MNIST_SHA256, datasets.MNIST_MIRRORS = json.loads(checksums), [mirror]\n"
        "datasets.cache_folder = lambda: pathlib.Path(cache)\n"
        "datasets.load_mnist()"
    )
    arguments = [str(datasets.cache_folder()), stalling, json.dumps(datasets.MNIST_SHA256)]
    folder = datasets.cache_folder() / "mnist"
    with subprocess.Popen([sys.executable, "-c", script, *arguments], stderr=subprocess.DEVNULL) as process:
        while not any(path.stat().st_size for path in folder.glob(".download-*/*")):
            assert process.poll() is None
        process.kill()
    assert requests == ["/train-images-idx3-ubyte.gz"]
    assert not any(name.startswith("train") for name in cached())
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (server(small)[0],))
    assert_is_small(load_mnist(), small)


# --- the real MNIST -----------------------------------------------------------------------------------------


@pytest.mark.mnist
def test_the_real_mnist(mnist_folder):
    mnist = load_mnist(mnist_folder)
    assert mnist.train_images.shape == (60000, 28, 28) and mnist.test_images.shape == (10000, 28, 28)
    assert mnist.test_labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(mnist.train_labels).sum() == 60000 and mnist.train_images.max() == 255


@pytest.mark.mnist
def test_the_real_mnist_is_downloaded_and_verified(mnist_folder, server, tmp_path, monkeypatch):
    mirror, requests = server(mnist_folder)
    monkeypatch.delenv("NBGRAD_DATA")
    monkeypatch.setattr(datasets, "MNIST_MIRRORS", (mirror,))
    monkeypatch.setattr(datasets, "cache_folder", lambda: tmp_path)
    first, second = load_mnist(), load_mnist()
    assert len(requests) == 4
    np.testing.assert_array_equal(first.train_images, second.train_images)
