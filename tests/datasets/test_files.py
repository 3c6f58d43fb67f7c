"""Files from strangers: their kind, and how much of them is read."""

import contextlib
import gzip
import os
import socket
import subprocess
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pytest

from nbgrad.datasets.files import Bounded, Gunzip, Source, open_regular, read_regular, reason
from nbgrad.datasets.idx import read_idx

posix = pytest.mark.skipif(os.name == "nt", reason="no such files there")


@posix
@pytest.mark.parametrize("kind", ["a pipe", "a device", "a socket"])
@pytest.mark.parametrize("linked", [False, True])
def test_only_regular_files(tmp_path, kind, linked):
    path = tmp_path / "x"
    if kind == "a pipe":
        os.mkfifo(path)  # nobody writes into it: to open it would wait for ever
    elif kind == "a device":
        path = "/dev/zero"
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    if linked:
        (tmp_path / "link").symlink_to(path)
        path = tmp_path / "link"
    for read in (open_regular, lambda p: read_regular(p, 10)):
        with pytest.raises((ValueError, OSError), match=f"expected a regular file, got {kind}|No such device"):
            read(path)
    with pytest.raises(IsADirectoryError):
        open_regular(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_no_more_is_read_than_allowed(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"12345")
    assert read_regular(path, 5) == b"12345"
    with pytest.raises(ValueError, match="x: expected a file of at most 4 bytes, got a larger one"):
        read_regular(path, 4)
    with open(path, "wb") as file:
        file.truncate(10**12)  # claims a terabyte and takes no room
    tracemalloc.start()
    with pytest.raises(ValueError, match="at most 1000 bytes"):
        read_regular(path, 1000)
    with open(path, "rb", buffering=0) as file:
        bounded = Bounded(file, 100)
        assert bounded.read(60) == bytes(60)
        for size in (41, -1):
            with pytest.raises(ValueError, match="more bytes to read"):
                bounded.read(size)
        assert bounded.read(40) == bytes(40)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def through_a_pipe(write):
    """The path of a pipe that a thread writes into."""
    reader, writer = os.pipe()

    def run():
        with contextlib.suppress(BrokenPipeError), open(writer, "wb") as file:
            write(file)

    threading.Thread(target=run, daemon=True).start()
    return f"/dev/fd/{reader}", reader


def endless(begin, more):
    def write(file):
        file.write(begin)
        while True:
            file.write(more * 1000)

    return write


NAME = b"\x1f\x8b\x08\x08" + bytes(6)  # a gzip header whose file name begins here
COMMENT, EXTRA = b"\x1f\x8b\x08\x10" + bytes(6), b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff"


@posix
@pytest.mark.parametrize(
    ("begin", "more"),
    [(NAME, b"n"), (COMMENT, b"n"), (EXTRA, b"n"), (b"", gzip.compress(b"", mtime=0)), (gzip.compress(b"\0\0\x08\x01", mtime=0), gzip.compress(b"", mtime=0)), (gzip.compress(b"\0\0", mtime=0), bytes(9)),
     (b"\0\0\x08\x01\xff\xff\xff\xff", b"n"), (b"\0\0\x08\x01\0\0\0\1", b"n"), (b"\0\0\x08\xff", bytes(9)), (gzip.compress(b"\0\0\x08\x01\0\0\0\1\7", mtime=0), bytes(9))],
)  # fmt: skip
def test_what_never_ends_is_not_read_on_and_on(begin, more):
    """Names, comments, members without content, padding; through a pipe, whose size tells nothing."""
    path, reader = through_a_pipe(endless(begin, more))
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected"):
        read_idx(path)
    assert tracemalloc.get_traced_memory()[1] < 2e6
    tracemalloc.stop()
    os.close(reader)


def test_a_gzip_header_of_a_gigabyte_is_not_read(tmp_path):
    path = tmp_path / "x.gz"
    with open(path, "wb") as file:
        file.write(NAME)
        for _ in range(30):
            file.write(b"n" * 10**6)
    with pytest.raises(ValueError, match=r"x.gz: expected a whole gzip file, got a damaged one \(more compressed bytes"):
        read_idx(path)


@pytest.mark.parametrize("size", [0, 1, 10**5, 3 * 10**6])
@pytest.mark.parametrize("level", [0, 1])
def test_what_gzip_packs_is_unpacked(tmp_path, size, level):
    data = np.random.default_rng(0).integers(0, 256 if level == 0 else 3, size, dtype=np.uint8).tobytes()
    half = size // 2
    for i, packed in enumerate((
        gzip.compress(data, level), gzip.compress(data[:half], level) + gzip.compress(data[half:], level),
        gzip.compress(data, level) + bytes(1000), gzip.compress(b"") + gzip.compress(data, level),
    )):  # fmt: skip
        (tmp_path / str(i)).write_bytes(packed)
        with Source(tmp_path / str(i)) as source:
            stream = Gunzip(source)
            stream.allow(size)
            parts = [stream.read(n) for n in (0, 1, 7, size, 1)]
            assert b"".join(parts) == data and stream.read(1) == b""


@pytest.mark.parametrize(
    "packed", [gzip.compress(b"abc", mtime=0)[:-1], gzip.compress(b"abc", mtime=0)[:-8] + bytes(8), gzip.compress(b"abc", mtime=0) + b"x", b"\x1f\x8b", b""]
)
def test_damaged_gzip(tmp_path, packed):
    (tmp_path / "x").write_bytes(packed)
    with Source(tmp_path / "x") as source:
        stream = Gunzip(source)
        if not packed:
            assert stream.read(5) == b""
            return
        with pytest.raises((EOFError, zlib.error)):
            stream.read(5)


def test_peeking_takes_nothing_away(tmp_path):
    (tmp_path / "x").write_bytes(b"12345")
    with Source(tmp_path / "x") as source:
        assert source.size == 5 and source.peek(3) == b"123" and source.peek(2) == b"12" and source.peek(9) == b"12345"
        assert source.read(2) == b"12" and source.peek(1) == b"3" and source.read(9) == b"345" and source.read(1) == b""


@posix
def test_idx_through_a_pipe_that_writes_slowly():
    def write(file):
        for i in range(13):
            file.write(b"\0\0\x08\x01\0\0\0\5abcde"[i : i + 1])
            file.flush()

    path, reader = through_a_pipe(write)
    assert read_idx(path).tobytes() == b"abcde"
    os.close(reader)


def test_reasons_are_never_empty():
    for error, text in (
        (ValueError("a\nb"), "a"),
        (EOFError(), "EOFError"),
        (KeyError("x"), "'x'"),
        (MemoryError(""), "MemoryError"),
        (ValueError(()), "ValueError"),
    ):
        assert reason(error) == text


def test_loading_it_is_light():
    code = "import sys, nbgrad.__main__; print(sorted({'numpy', 'numba', 'typing'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == "[]\n", done.stderr
