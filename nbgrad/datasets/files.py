"""Files from strangers: what kind they may be, and how much of them is read."""

from __future__ import annotations

import errno
import os
import stat
import zlib
from collections.abc import Callable
from typing import IO, Any, Self

import numpy as np

__all__ = [
    "GZIP_MAGIC", "MOST_UNPACKED", "Bounded", "Gunzip", "Source", "open_regular", "read_exactly", "read_regular",
    "reason",
]  # fmt: skip

GZIP_MAGIC = b"\x1f\x8b"

#: Bytes of data that are taken at most out of a pipe or a compressed file, whose own size bounds nothing.
MOST_UNPACKED = 1 << 28

_CHUNK = 1 << 20  # bytes of data read at once
_PACKED_CHUNK = 1 << 14
_KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def reason(error: BaseException) -> str:
    """What an exception says, in one line; the name of its kind where it says nothing.

    >>> reason(ValueError("no\\nnumber")), reason(EOFError()), reason(KeyError(()))
    ('no', 'EOFError', 'KeyError')
    """
    text = str(error).strip().partition("\n")[0]
    return text if text.strip("()'\" ,") else type(error).__name__


def open_regular(path: str | os.PathLike[str]) -> IO[bytes]:
    """A regular file, opened for reading.

    Raises OSError where it cannot be read, ValueError for a pipe, which might never begin or never end, and a device.

    >>> open_regular("/dev/zero")
    Traceback (most recent call last):
    ValueError: /dev/zero: expected a regular file, got a device
    """
    # Not blocking: to open a pipe that nobody writes into would wait for ever.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path}: expected a regular file, got {_KINDS.get(stat.S_IFMT(mode), 'another')}")
        return open(descriptor, "rb", buffering=0)
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """The content of a regular file, as `open_regular`; ValueError for one of more than `most` bytes."""
    with open_regular(path) as file:
        data = Bounded(file, most + 1).read(most + 1)
    if len(data) > most:
        raise ValueError(f"{path}: expected a file of at most {most} bytes, got a larger one")
    return data


class Bounded:
    """A file of which at most `most` bytes are read, all together; ValueError where somebody asks for more."""

    def __init__(self, file: IO[bytes], most: int) -> None:
        self._file, self._left = file, most
        self.seek, self.tell = file.seek, file.tell

    def seekable(self) -> bool:
        """It is: what `zipfile` asks."""
        return True

    def read(self, size: int = -1) -> bytes:
        """The next `size` bytes, by default all."""
        here = self._file.tell()
        there = max(self._file.seek(0, os.SEEK_END) - here, 0)
        self._file.seek(here)
        size = there if size < 0 else min(size, there)
        if size > self._left:
            raise ValueError("more bytes to read than such a file needs")
        self._left -= size
        out = bytearray()
        while len(out) < size and (part := self._file.read(size - len(out))):
            out += part
        return bytes(out)


class Source:
    """A file, pipe or device that is read from its beginning on; `size` is a regular file's, else None."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = path
        self._file = open(path, "rb")
        status = os.fstat(self._file.fileno())
        self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self._ahead = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end, which `read` gives once more."""
        self._ahead += self._file.read(max(size - len(self._ahead), 0))
        return self._ahead[:size]

    def read(self, size: int) -> bytes:
        """The next `size` bytes, fewer at the end."""
        ahead, self._ahead = self._ahead[:size], self._ahead[size:]
        return ahead + self._file.read(size - len(ahead)) if len(ahead) < size else ahead


class Gunzip:
    """What a gzip stream holds, its members one behind the other.

    Of the stream 64 KiB are read, and twice as many bytes as `allow` was told that are wanted: a header that does not
    end, or members without content, are an error and not read on and on.
    """

    def __init__(self, source: Source) -> None:
        self._source, self._allowed = source, 1 << 16
        self._packed, self._inside, self._begun = b"", False, False
        self._member = zlib.decompressobj(31)  # 31: with gzip's header and checksum

    def allow(self, size: int) -> None:
        """So many bytes of content more are wanted."""
        self._allowed += 2 * size

    def read(self, size: int) -> bytes:
        """The next `size` bytes of content, fewer at the end. EOFError or zlib.error where the stream is damaged."""
        out = bytearray()
        while len(out) < size:
            if not self._packed:
                if not self._allowed:
                    raise zlib.error("more compressed bytes than its content needs")
                self._packed = self._source.read(min(_PACKED_CHUNK, self._allowed))
                self._allowed -= len(self._packed)
                if not self._packed:
                    if self._inside:
                        raise EOFError("it ends before its content does")
                    break
            if not self._inside:
                if self._begun:  # zeros may fill up a block of a tape
                    self._packed = self._packed.lstrip(b"\0")
                if not self._packed:
                    continue
                self._member, self._inside, self._begun = zlib.decompressobj(31), True, True
            out += self._member.decompress(self._packed, size - len(out))
            self._packed = self._member.unconsumed_tail
            if self._member.eof:
                self._inside, self._packed = False, self._member.unused_data
        return bytes(out)


def read_exactly(read: Callable[[int], bytes], path: Any, size: int, what: str) -> np.ndarray:
    """The next ``size`` bytes; memory that np.empty reserves costs nothing until bytes arrive to fill it."""
    buffer = np.empty(size, dtype=np.uint8)
    done = 0
    while done < size:
        part = read(min(_CHUNK, size - done))
        if not part:
            raise ValueError(f"{path}: expected {size} bytes of {what}, got {done}")
        buffer[done : done + len(part)] = np.frombuffer(part, np.uint8)
        done += len(part)
    return buffer
