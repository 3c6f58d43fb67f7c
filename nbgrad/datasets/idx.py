"""The IDX file format, that of MNIST: `read_idx` and `write_idx`."""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import sys
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask
from nbgrad.datasets.files import GZIP_MAGIC, MOST_UNPACKED, Gunzip, Source, read_exactly, reason

__all__ = ["read_idx", "read_idx_from", "write_idx"]

_Path = str | os.PathLike[str]

# The IDX format: two zero bytes, a type code, the number of dimensions, each dimension as big-endian uint32,
# then the elements, big-endian, in C order.
_DTYPE_OF_CODE: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CODE_OF_DTYPE = {dtype: code for code, dtype in _DTYPE_OF_CODE.items()}
_MAX_DIMENSIONS = 64  # NumPy's own limit
_MAX_INFLATION = 1032  # the most bytes that deflate makes of one: a match of 258 bytes costs at least 2 bits


def read_idx(path: _Path, *, sha256: str | None = None) -> np.ndarray:
    """Read an array from an IDX file, the format of MNIST; dtypes as for write_idx, in native byte order.

    A gzip-compressed file is recognised by its content, whatever its name. With ``sha256`` the uncompressed
    bytes must have that checksum (64 hexadecimal digits).

    Raises ValueError, naming the file, where it is not exactly one whole IDX file: a wrong magic number, an
    unknown type code, a header or data cut off, bytes after the data, a gzip stream cut off or corrupt, a
    wrong checksum. The header's size is compared with the file's before memory is allocated, and of a gzip
    stream no more is unpacked than the header announces.

    Returns
    -------
    numpy.ndarray

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(folder + "/labels.gz", np.array([7, 2, 1], dtype=np.uint8))
    ...     read_idx(folder + "/labels.gz")
    array([7, 2, 1], dtype=uint8)
    """
    with Source(path) as source:
        return read_idx_from(source, sha256=sha256)


def write_idx(path: _Path, array: np.ndarray) -> None:
    """Write an array as an IDX file, gzip-compressed where the name ends in ``.gz``.

    ``array`` has dtype uint8, int8, int16, int32, float32 or float64 in any byte order and memory layout, and
    any shape (0-d and empty too) with dimensions below 2³². The same array gives the same bytes at any time:
    the gzip header bears no time and no name.

    Raises TypeError for another dtype and ValueError for a dimension that is too large.

    Returns
    -------
    None

    Examples
    --------
    >>> write_idx("labels", np.array([7, 2, 1]))
    Traceback (most recent call last):
        ...
    TypeError: array: expected dtype uint8, int8, int16, int32, float32 or float64, got int64
    """
    check_mask(array, "array")
    array = np.asarray(array)
    big_endian = array.dtype.newbyteorder(">")
    if big_endian not in _CODE_OF_DTYPE:
        expected = "uint8, int8, int16, int32, float32 or float64"
        raise TypeError(f"array: expected dtype {expected}, got {array.dtype}")
    if any(length >= 2**32 for length in array.shape):
        raise ValueError(f"array: expected every dimension below 2**32, got shape {array.shape}")
    lengths = np.array(array.shape, dtype=">u4").tobytes()
    header = bytes([0, 0, _CODE_OF_DTYPE[big_endian], array.ndim]) + lengths
    data = header + array.astype(big_endian, copy=False).tobytes()
    with open(path, "wb") as file:
        if os.fspath(path).endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream:
                stream.write(data)
        else:
            file.write(data)


def read_idx_from(
    source: Source,
    *,
    sha256: str | None = None,
    check: Callable[[np.dtype[Any], tuple[int, ...]], None] | None = None,
    most: int = sys.maxsize,
) -> np.ndarray:
    """`read_idx` of an open file or pipe. ``check`` is called with dtype and shape before the data are read, and may
    raise a ValueError; of a compressed file ``most`` bytes of data are read at most, of a pipe 256 MiB.
    """
    compressed = source.peek(2) == GZIP_MAGIC
    if source.size is None:
        most = MOST_UNPACKED
    elif not compressed:
        most = sys.maxsize
    limit = sys.maxsize if source.size is None else source.size * (_MAX_INFLATION if compressed else 1)

    def checked(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        if check is not None:
            check(dtype, shape)
        size = math.prod(shape) * dtype.itemsize
        # An empty array may have other dimensions whose product overflows, which NumPy refuses to make.
        if size > limit or math.prod(max(length, 1) for length in shape) * dtype.itemsize > sys.maxsize:
            raise ValueError(f"{source.path}: expected {dtype.name} data of shape {shape}, got fewer bytes")
        if size > most:
            raise ValueError(f"{source.path}: expected at most {most} bytes compressed or from a pipe, got {size}")

    if not compressed:
        return _read(source, source.path, sha256, checked)
    try:
        return _read(Gunzip(source), source.path, sha256, checked)
    except (EOFError, zlib.error) as error:
        raise ValueError(f"{source.path}: expected a whole gzip file, got a damaged one ({reason(error)})") from error


def _read(
    stream: Source | Gunzip,
    path: _Path,
    sha256: str | None,
    check: Callable[[np.dtype[Any], tuple[int, ...]], None],
) -> np.ndarray:
    """The array in an uncompressed stream, whose dtype and shape ``check`` has nothing against."""
    magic = read_exactly(stream.read, path, 4, "the magic number")
    if magic[0] or magic[1]:
        raise ValueError(f"{path}: expected two zero bytes at its beginning, got {magic[:2].tobytes()!r}")
    code, ndim = int(magic[2]), int(magic[3])
    if code not in _DTYPE_OF_CODE:
        raise ValueError(f"{path}: expected an IDX type code of 8, 9, 11, 12, 13 or 14, got {code}")
    if ndim > _MAX_DIMENSIONS:
        raise ValueError(f"{path}: expected at most {_MAX_DIMENSIONS} dimensions, got {ndim}")
    lengths = read_exactly(stream.read, path, 4 * ndim, "the dimensions")
    dtype, shape = _DTYPE_OF_CODE[code], tuple(lengths.view(">u4").tolist())
    check(dtype, shape)
    size = math.prod(shape) * dtype.itemsize
    if isinstance(stream, Gunzip):
        stream.allow(size)
    data = read_exactly(stream.read, path, size, "data")
    if stream.read(1):  # at the end of a gzip stream this also verifies its checksum
        raise ValueError(f"{path}: expected nothing after the {size} bytes of data, got trailing bytes")
    if sha256 is not None:
        digest = hashlib.sha256(magic.data)
        digest.update(lengths.data)
        digest.update(data.data)
        if digest.hexdigest() != sha256:
            raise ValueError(f"{path}: expected the uncompressed SHA-256 {sha256}, got {digest.hexdigest()}")
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)
