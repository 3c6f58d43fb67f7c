import io
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbgrad.training import checkpoint

ARRAYS = st.dictionaries(
    st.text("abz09._", min_size=1, max_size=8),
    hnp.arrays(
        st.sampled_from(["f4", "f8", ">f4", "i8", "u1", "?"]),
        hnp.array_shapes(min_dims=0, min_side=0, max_side=4),
    ),
    max_size=4,
)
META = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@given(ARRAYS, META)
@settings(max_examples=60)
def test_what_was_saved_is_loaded(tmp_path_factory, arrays, meta):
    path = tmp_path_factory.mktemp("c") / "a.npz"
    checksum = checkpoint.save(path, arrays, meta)
    loaded, loaded_meta, same = checkpoint.load(path)
    assert (loaded_meta, same) == (meta, checksum)
    assert loaded.keys() == arrays.keys()
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype.newbyteorder("=")
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)


def saved(tmp_path):
    path = tmp_path / "a.npz"
    checkpoint.save(path, {"w": np.arange(6.0).reshape(2, 3).T, "n": np.array(3)}, {"epoch": 7, "f": 0.1})
    return path


def test_equal_content_gives_equal_bytes_that_numpy_reads(tmp_path):
    path = saved(tmp_path)
    first = path.read_bytes()
    time.sleep(0.01)
    assert saved(tmp_path).read_bytes() == first
    with np.load(path, allow_pickle=False) as file:
        np.testing.assert_array_equal(file["w"], np.arange(6.0).reshape(2, 3).T)


def test_every_truncation_is_noticed(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.npz is damaged"):
            checkpoint.load(path)


def test_no_damaged_byte_changes_what_is_loaded(tmp_path):
    path = saved(tmp_path)
    whole = path.read_bytes()
    arrays, meta, _ = checkpoint.load(path)
    noticed = 0
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x41]) + whole[at + 1 :])
        try:
            got, got_meta, _ = checkpoint.load(path)
        except ValueError as error:
            assert "is damaged" in str(error)
            noticed += 1
            continue
        assert got_meta == meta  # a byte that means nothing, as a time stamp's
        assert all(np.array_equal(got[name], arrays[name]) for name in arrays)
    assert noticed > 0.7 * len(whole)  # zip headers are a fifth of so small a file


def forged(tmp_path, members, compression=zipfile.ZIP_STORED):
    """A file with a right checksum and whatever members."""
    members = {"meta.json": b"{}", **members}
    members["sha256"] = checkpoint._checksum(members).encode()
    with zipfile.ZipFile(tmp_path / "f.npz", "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return tmp_path / "f.npz"


def npy(array, **kwargs):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **kwargs)
    return buffer.getvalue()


def test_a_forged_file_neither_unpickles_nor_allocates(tmp_path):
    pickled = npy(np.array([print], dtype=object), allow_pickle=True)
    huge = npy(np.zeros(3)).replace(b"(3,)", b"(9999999999999999,)", 1)
    cases = [
        ({"w.npy": pickled}, "dtype"),
        ({"w.npy": huge}, "bytes"),
        ({"w.npy": npy(np.zeros(3))[:-1]}, "bytes"),
        ({"w.npy": npy(np.zeros(3)) + b"x"}, "bytes"),
        ({"w.npy": npy(np.zeros(3)).replace(b"(3,)", b"(-3,)", 1)}, "damaged"),
        ({"w.npy": npy(np.array(["a"]))}, "dtype"),
        ({"w.npy": npy(np.zeros(2, "f4,f4"))}, "dtype"),
        ({"w.npy": npy(np.zeros(2), version=(2, 0))}, "version"),
        ({"w.npy": b""}, "damaged"),
        ({"meta.json": b"[" * 100_000}, "damaged"),
    ]
    for members, message in cases:
        with pytest.raises(ValueError, match=message):
            checkpoint.load(forged(tmp_path, members))
    with pytest.raises(ValueError, match="compressed"):  # a zip bomb
        checkpoint.load(forged(tmp_path, {"w.npy": npy(np.zeros(1_000_000))}, zipfile.ZIP_DEFLATED))


def test_members_that_were_exchanged_are_noticed(tmp_path):
    """What a zip's own CRCs do not see: another array under the name, one too many, one too few."""
    path = saved(tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    for change in ({"n.npy": npy(np.array(4))}, {"x.npy": npy(np.array(4))}, {"n.npy": None}):
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in {**members, **change}.items():
                if data is not None:
                    archive.writestr(name, data)
        with pytest.raises(ValueError, match="its checksum does not match"):
            checkpoint.load(path)


def test_foreign_files_are_refused(tmp_path):
    np.savez(tmp_path / "numpy.npz", w=np.zeros(3))
    with pytest.raises(ValueError, match="no member 'sha256'"):
        checkpoint.load(tmp_path / "numpy.npz")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ValueError, match="not a zip file"):
        checkpoint.load(tmp_path / "text")
    with pytest.raises(FileNotFoundError):
        checkpoint.load(tmp_path / "none")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, step):
    path = tmp_path / "a.txt"
    checkpoint.write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_only_our_own_leftovers_are_removed(tmp_path):
    ours = [".a.txt.1.tmp", ".b.npz.123456.tmp"]
    theirs = ["a.txt", ".a.txt.tmp", ".c.txt.1.tmp", "a.txt.1.tmp", ".axtxt.1.tmp", ".a.txt.x.tmp"]
    for name in ours + theirs:
        (tmp_path / name).touch()
    checkpoint.remove_leftovers(tmp_path, ["a.txt", "b.npz"])
    assert sorted(os.listdir(tmp_path)) == sorted(theirs)


def test_killed_while_writing_the_file_is_whole(tmp_path):
    path = tmp_path / "a.npz"
    code = f"""
import numpy as np
from nbgrad.training import checkpoint
for n in range(10**9):
    checkpoint.save({str(path)!r}, {{"w": np.full(300_000, n, np.float32)}}, {{"n": n}})
    print(n, flush=True)
"""
    rng = np.random.default_rng(0)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
            process.stdout.readline()
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            process.stdout.read()
        arrays, meta, _ = checkpoint.load(path)
        assert (arrays["w"] == meta["n"]).all()
    checkpoint.remove_leftovers(tmp_path, ["a.npz"])
    assert os.listdir(tmp_path) == ["a.npz"]


def test_an_error_names_the_path_that_was_asked_for(tmp_path):
    for path in (tmp_path / "missing" / "a.npz", tmp_path):
        with pytest.raises(OSError) as caught:
            checkpoint.write_atomically(path, b"")
        assert caught.value.filename == str(path)
