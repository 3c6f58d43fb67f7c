"""What `train --resume` and `predict` do with files of strangers: their containers, and right checksums over wrong content."""

import gzip
import json
import os
import re
import shutil
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from nbgrad.datasets import load_digits, write_idx
from nbgrad.training import checkpoint, models, predict, report
from nbgrad.training import loop as module
from nbgrad.training.loop import train

posix = pytest.mark.skipif(os.name == "nt", reason="no such files there")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return train(epochs=2, out=tmp_path_factory.mktemp("run")).folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "copy")


def bounded(call, error=(ValueError, OSError), match=None, memory=20e6):
    """The call is refused in one short line that tells a reason, and without much memory."""
    tracemalloc.start()
    try:
        with pytest.raises(error, match=match) as caught:
            call()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    text = str(caught.value)
    assert peak < memory and "\n" not in text and not text.endswith("()") and "(())" not in text
    return text


def resume(folder):
    return train(out=folder, resume=True)


FILES = [("model.json", models.load_model), ("model.npz", models.load_model), ("checkpoint.npz", resume)]


@posix
@pytest.mark.parametrize(("name", "use"), FILES)
@pytest.mark.parametrize("kind", ["device", "pipe", "folder", "huge", "nothing", "dangling"])
def test_containers(folder, name, use, kind):
    path = folder / name
    path.unlink()
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "huge":
        with open(path, "wb") as file:
            file.truncate(10**12)
    elif kind == "nothing":
        path.touch()
    else:
        path.symlink_to(folder / "nowhere")
    before = sorted(os.listdir(folder))
    match = {"device": "expected a regular file, got a device", "pipe": "expected a regular file, got a pipe"}.get(kind)
    bounded(lambda: use(folder), match=match)
    assert sorted(os.listdir(folder)) == before


def lying_members(path, copies):
    """A zip whose members are all the same bytes: it takes little room, and much to read."""
    data = b"\x93NUMPY" + bytes(10**6)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("0.weight.npy", data)
        info = archive.infolist()[0]
        for i in range(copies):
            other = zipfile.ZipInfo(f"a{i}.npy")
            for key in ("CRC", "compress_size", "file_size", "header_offset", "external_attr", "create_system"):
                setattr(other, key, getattr(info, key))
            archive.filelist.append(other)
            archive.NameToInfo[other.filename] = other
        archive._didModify = True


@pytest.mark.parametrize(("name", "use"), FILES[1:])
def test_members_that_lie_over_each_other(folder, name, use):
    lying_members(folder / name, 500)
    bounded(lambda: use(folder), ValueError, f"{name} is damaged|{name}: array '.*' is")


@pytest.mark.parametrize(("name", "use"), FILES[1:])
def test_a_foreign_central_directory(folder, name, use):
    """One that claims 4 GB of a file that is that long and mostly hole."""
    with open(folder / name, "wb") as file:
        file.truncate(4 * 10**9)
        file.seek(0, 2)
        file.write(b"PK\5\6" + struct.pack("<4H2LH", 0, 0, 1, 1, 4 * 10**9 - 1, 0, 0))
    bounded(lambda: use(folder), ValueError, f"{name} is damaged .*more bytes to read")


def forge(folder, change=lambda meta: None, arrays=lambda arrays: None):
    path = folder / "checkpoint.npz"
    values, meta, _ = checkpoint.load(path)
    changed = change(meta)
    arrays(values)
    checkpoint.save(path, values, meta if changed is None else changed)


def leaves(tree, path=()):
    """The paths to all values in nested dicts and lists, containers too."""
    yield path
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield from leaves(tree[key], (*path, key))


def at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


WRONG = [None, -1, 1.5, float("nan"), 1e308, True, "x" * 10**4, [[]], {"a": 1}, 10**40]


def test_every_key_of_a_checkpoint_is_checked(folder, monkeypatch):
    """Each value left out, exchanged for each wrong one, and one too many; of the numbers some are right, and fine."""
    _, meta, _ = checkpoint.load(folder / "checkpoint.npz")
    saved = (folder / "checkpoint.npz").read_bytes()
    monkeypatch.setattr(module._Run, "finish", lambda *_: None)  # some would train for ever
    monkeypatch.setattr(report, "write", lambda *_: {})
    accepted = set()
    for path in leaves(meta):
        if path and path[0] == "history" and len(path) > 1 and path[1] == 1:
            continue
        for value in [..., *WRONG] if path else WRONG[1:]:
            (folder / "checkpoint.npz").write_bytes(saved)

            def change(meta, path=path, value=value):
                if not path:
                    return None if value is ... else value
                inner = at(meta, path[:-1])
                if value is ...:
                    del inner[path[-1]]
                else:
                    inner[path[-1]] = value
                return None

            forge(folder, change)
            try:
                resume(folder)
            except ValueError as error:
                text = str(error)
                assert "checkpoint.npz" in text and "\n" not in text and len(text) < 400 + len(str(folder)), text
                key = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, path)))
                other = ("another version", "history: expected", "optimizer.0.step: expected", "optimizer.weight_decay: ", "array '")
                assert not path or key in text or any(part in text for part in other), (path, value, text)
            else:
                accepted.add((path[0] if path else "", path[-1] if path else "", str(value)))
    allowed = {"batch_size": {"10" + "0" * 39}, "epochs": set(), "seed": {"10" + "0" * 39}}
    numbers = {"lr", "weight_decay", "batch_loss", "test_loss", "seconds"}
    for _, key, value in accepted:
        assert key in numbers or key in {"uinteger", "nbgrad", "state", "inc", "dataset", "model"} or value in allowed.get(key, set()), (key, value)
    for key in ("settings", "rng", "history[0]"):
        (folder / "checkpoint.npz").write_bytes(saved)
        forge(folder, lambda meta, key=key: (meta["history"][0] if "[" in key else meta[key]).update(extra=1))
        bounded(lambda: resume(folder), ValueError, re.escape(f"checkpoint.npz: {key}.extra: not expected"))


ARRAYS = [
    (lambda a: a.pop("net.0.weight"), "array 'net.0.weight' is missing"),
    (lambda a: a.update(more=np.zeros(2)), "array 'more' is not expected"),
    (lambda a: a.update({"net.0.bias": np.zeros(10)}), "net.0.bias: expected float32 of shape"),
    (lambda a: a.update({"net.0.bias": np.zeros(9, np.float32)}), "net.0.bias: expected float32 of shape"),
    (lambda a: a["net.0.bias"].fill(np.nan), "net.0.bias: expected finite values"),
    (lambda a: a["optimizer.1.exp_avg"].fill(np.inf), "optimizer.1.exp_avg: expected finite values"),
    (lambda a: a.update({"optimizer.0.step": np.array(7)}), "optimizer.0.step: expected 90, got 7"),
    (lambda a: a.update({"optimizer.beta1": np.array(0.5)}), "optimizer.beta1: expected 0.9, got 0.5"),
    (lambda a: a.update({"optimizer.lr": np.array(-1.0)}), "checkpoint.npz: optimizer: state_dict: lr: expected"),
    (lambda a: a.update({"optimizer.lr": np.array("a")}), "damaged|optimizer.lr: expected float64"),
    (lambda a: a.update({"optimizer.lr": np.zeros(2)}), "optimizer.lr: expected float64 of shape"),
    (lambda a: a.clear(), "is missing"),
]


@pytest.mark.parametrize(("change", "message"), ARRAYS)
def test_the_arrays_of_a_checkpoint_are_checked(folder, change, message):
    forge(folder, arrays=change)
    bounded(lambda: resume(folder), ValueError, message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m["history"].append(dict(m["history"][1], epoch=3)), "history: expected the epochs 1, 2"),
        (lambda m: m["history"].reverse(), "history: expected the epochs 1, 2"),
        (lambda m: m["history"].__delitem__(1), "optimizer.0.step: expected 45, got 90"),
        (lambda m: m["history"].clear(), "is not expected"),
        (lambda m: m["settings"].update(epochs=1), "history: expected the epochs"),
        (lambda m: m["settings"].update(model="mlp", dropout=0.1), "array '.*' is"),
        (lambda m: m["settings"].update(dropout=2), "settings.dropout: expected a number in 0..1, got '2'"),
        (lambda m: m.update(junk=[[]] * 10**6), "JSON of other proportions"),
        (lambda m: m.update(junk=[1] * 10**6), "JSON of other proportions"),
    ],
)
def test_descriptions_that_do_not_go_together(folder, change, message):
    forge(folder, change)
    bounded(lambda: resume(folder), ValueError, message, memory=60e6)


def test_every_key_of_a_model_is_checked(folder):
    good = json.loads((folder / "model.json").read_text())
    for key in good:
        for value in [..., *WRONG, "0" * 64, [1] * 1000]:
            changed = {k: v for k, v in good.items() if k != key} | ({} if value is ... else {key: value})
            (folder / "model.json").write_text(json.dumps(changed))
            text = bounded(lambda: models.load_model(folder), ValueError, rf"model\.json: {key}: ")
            assert len(text) < 300 + len(str(folder))
    (folder / "model.json").write_text(json.dumps(good | {"extra": 1}))
    bounded(lambda: models.load_model(folder), ValueError, "model.json: extra: not expected")
    (folder / "model.json").write_text(json.dumps(good | {"height": 200, "width": 200, "num_classes": 1000}))
    bounded(lambda: models.load_model(folder), ValueError, "0.bias: expected float32 of shape|0.weight: expected")


# ---- pictures


def read(path):
    return predict.read_images(path, 8, 8, 16)


@posix
@pytest.mark.parametrize("kind", ["idx", "gz", "npy", "png"])
def test_pictures_come_through_pipes(tmp_path, kind):
    few = load_digits().test_images[:3]
    path = tmp_path / f"a.{kind}"
    if kind == "npy":
        np.save(path, few)
    elif kind == "png":
        Image.fromarray(few[0] * 15).save(path)
    else:
        write_idx(path, few)
    expected, white = read(path)
    os.mkfifo(tmp_path / "pipe")
    if (child := os.fork()) == 0:  # in parts, as a program that computes them
        try:
            data = path.read_bytes()
            with open(tmp_path / "pipe", "wb", buffering=0) as pipe:
                for i in range(0, len(data), 50):
                    pipe.write(data[i : i + 50])
        finally:
            os._exit(0)
    got, same = read(tmp_path / "pipe")
    os.waitpid(child, 0)
    np.testing.assert_array_equal(got, expected)
    assert same == white


def npy(header, data=b"", version=1):
    length = len(header).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + length + header + data


def header(shape, dtype="|u1"):
    return f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()


BAD_NPY = [
    (npy(header((1, 8, 8)), bytes(63)), "64 bytes of data, got 63|fewer bytes"),
    (npy(header((1, 9, 8)), bytes(72)), r"got shape \(1, 9, 8\)"),
    (npy(header((10**12, 8, 8)), bytes(64)), "fewer bytes"),
    (npy(header((1, 8, 8), "|O"), bytes(64)), "damaged"),
    (npy(header((1, 8, 8), "|V8"), bytes(512)), "integers 0"),
    (npy(header((-1, 8, 8)), bytes(64)), "damaged|fewer"),
    (npy(b"(" * 9000), "damaged"),
    (npy(b"[" * 9000 + b"]" * 900), "damaged"),
    (npy(b" " * 20_000), "damaged one .a header of 20000 bytes"),
    (b"\x93NUMPY\2\0" + (3 * 10**9).to_bytes(4, "little") + bytes(100), "damaged one .a header of 3000000000 bytes"),
    (npy(header((1, 8, 8)), bytes(64), version=9), "damaged"),
    (b"\x93NUMPY", "damaged"),
    (b"\x93NUMPY\1", "damaged"),
]


@pytest.mark.parametrize(("content", "message"), BAD_NPY)
def test_npy_headers(tmp_path, content, message):
    (tmp_path / "a.npy").write_bytes(content)
    bounded(lambda: read(tmp_path / "a.npy"), ValueError, f"a.npy: expected .*({message})", memory=5e6)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i8"])
def test_npy_versions(tmp_path, version, dtype):
    values = np.arange(128).reshape(2, 8, 8) % 17
    (tmp_path / "a.npy").write_bytes(npy(header((2, 8, 8), dtype), values.astype(dtype).tobytes(), version))
    np.testing.assert_array_equal(read(tmp_path / "a.npy")[0], values)


def test_a_npy_file_that_is_cut_while_it_is_read(tmp_path, monkeypatch):
    """A mapped file would end the process."""
    path = tmp_path / "a.npy"
    np.save(path, np.zeros((100_000, 8, 8), np.uint8))
    read_exactly = predict.read_exactly

    def cut(*arguments):
        os.truncate(path, 1_000_000)
        return read_exactly(*arguments)

    monkeypatch.setattr(predict, "read_exactly", cut)
    with pytest.raises(ValueError, match=r"a.npy: expected 6400000 bytes of data, got \d+"):
        read(path)


def test_a_megabyte_that_holds_a_gigabyte(tmp_path):
    """Of another shape: refused by it, unread. Of the right one: more than a stated number of bytes is too much."""
    packed = gzip.compress(bytes(10**7))[10:]
    for shape, message in (((10**9,), "got shape"), ((10**9 // 64, 8, 8), "expected at most 268435456 bytes compressed")):
        head = struct.pack(f">BBBB{len(shape)}I", 0, 0, 8, len(shape), *shape)
        (tmp_path / "a.gz").write_bytes(gzip.compress(head) + (b"\x1f\x8b\x08\0" + bytes(6) + packed) * 100)
        bounded(lambda message=message: read(tmp_path / "a.gz"), ValueError, message, memory=5e6)


def png(pixels, width=8, height=8, colour=0, interlaced=0, chunks=()):
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, interlaced)), *(chunk(*c) for c in chunks)]
    packed = zlib.compress(pixels)
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IDAT", packed[:9]), chunk(b"IDAT", packed[9:]), chunk(b"IEND", b"")])


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
@pytest.mark.parametrize("interlaced", [0, 1])
def test_a_png_whose_pixels_end_early(tmp_path, colour, interlaced):
    channels, path = {0: 1, 2: 3, 4: 2, 6: 4}[colour], tmp_path / "a.png"
    # the seven passes of 8 x 8 pixels: 1x1, 1x1, 1x2, 2x2, 2x4, 4x4, 4x8
    rows = [(1, 1), (1, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8)] if interlaced else [(8, 8)]
    size = sum(n * (1 + columns * channels) for n, columns in rows)
    whole = b"".join((b"\0" + b"\xff" * columns * channels) * n for n, columns in rows)
    assert len(whole) == size
    path.write_bytes(png(whole, colour=colour, interlaced=interlaced))
    np.testing.assert_array_equal(read(path)[0], np.full((1, 8, 8), 255))
    for missing in (1, size // 2, size):
        path.write_bytes(png(whole[:-missing], colour=colour, interlaced=interlaced))
        bounded(lambda: read(path), ValueError, "a.png: expected a PNG file, got a damaged one")


def test_a_png_with_much_beside_its_pixels(tmp_path):
    whole, path = (b"\0" + b"\xff" * 8) * 8, tmp_path / "a.png"
    path.write_bytes(png(whole, chunks=[(b"tEXt", b"Comment\0" + b"x" * 30_000)]))
    assert read(path)[0].shape == (1, 8, 8)
    path.write_bytes(png(whole, chunks=[(b"tEXt", b"Comment\0" + b"x" * 10**7)]))
    bounded(lambda: read(path), ValueError, "expected a PNG file of at most 66064 bytes, got a larger one", memory=2e6)
    path.write_bytes(png((b"\0" + b"\xff" * 1000) * 1000, 1000, 1000, chunks=[(b"tEXt", b"Comment\0" + b"x" * 10**6)]))
    bounded(lambda: read(path), ValueError, "expected an image of 8x8 pixels, got 1000x1000", memory=2e6)
    path.write_bytes(png(whole, chunks=[(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(10**9 // 4)))]))
    bounded(lambda: read(path), (ValueError, OSError), "expected", memory=20e6)


@posix
def test_devices_and_sockets_as_pictures(tmp_path):
    for path in ("/dev/zero", "/dev/null", "/dev/urandom", str(tmp_path)):
        bounded(lambda path=path: read(path), memory=2e6)
