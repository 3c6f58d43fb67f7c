"""Files that are either whole or not there: atomic writing, and arrays with a checksum, without pickle.

A saved file is an ordinary `.npz` (an uncompressed zip of `.npy` members, so `numpy.load` opens it) with two
members more: `meta.json` and `sha256`, the checksum over all the others. `load` is written for files from
strangers: nothing is unpickled, nothing is decompressed, and no array is allocated whose bytes are not there.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, cast

import numpy as np

from nbgrad.datasets.files import Bounded, open_regular, reason
from nbgrad.training import schema

_META, _SUM = "meta.json", "sha256"
MOST_BYTES = 1 << 30


def write_atomically(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` so that a crash at any moment leaves the old file or the new one, no mixture.

    The bytes go to a temporary file in the same folder, which is flushed to the disk and then renamed over
    `path`; the folder is flushed too, or a power cut could undo the rename.

    Raises OSError where the folder cannot be written.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_atomically(pathlib.Path(folder, "a.txt"), b"whole")
    ...     [f.name for f in pathlib.Path(folder).iterdir()]
    ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)  # a killed process's of the same number
        with open(temporary, "xb") as file:  # x: never through a link that somebody laid there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _flush_folder(path.parent)
    except BaseException as error:  # Ctrl-C and a full disk alike
        with contextlib.suppress(OSError):  # on a disk that cannot be written any more; the first error is what counts
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno:  # the caller knows its own path, not the temporary one
            raise OSError(error.errno, error.strerror, os.fspath(path)) from None
        raise


def _flush_folder(folder: Path) -> None:
    if os.name != "posix":  # Windows cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # a file system that flushes files only
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: str | os.PathLike[str], names: Iterable[str]) -> None:
    """Remove the temporary files that a killed `write_atomically` of one of `names` left in `folder`.

    For who alone writes there: the files of one that is running look the same.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pathlib.Path(folder, ".a.txt.17.tmp").touch()
    ...     remove_leftovers(folder, ["a.txt"])
    ...     list(pathlib.Path(folder).iterdir())
    []
    """
    ours = re.compile(rf"\.({'|'.join(map(re.escape, names))})\.\d+\.tmp")
    for file in Path(folder).iterdir():
        if ours.fullmatch(file.name) and (file.is_symlink() or file.is_file()):
            file.unlink(missing_ok=True)


def save(path: str | os.PathLike[str], arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> str:
    """Write named arrays and a JSON-able description to `path`, atomically; returns their checksum.

    Equal content gives equal bytes (no time stamps), so two files can be compared with `cmp`.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     checksum = save(folder + "/a.npz", {"w": np.arange(3.0)}, {"epoch": 7})
    ...     arrays, meta, same = load(folder + "/a.npz")
    >>> arrays["w"], meta, same == checksum
    (array([0., 1., 2.]), {'epoch': 7}, True)
    """
    members: dict[str, bytes] = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.lib.format.write_array(buffer, np.asanyarray(array), allow_pickle=False)
        members[f"{name}.npy"] = buffer.getvalue()
    members[_META] = json.dumps(meta).encode()
    checksum = _checksum(members)
    members[_SUM] = checksum.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name), data)
    write_atomically(path, buffer.getvalue())
    return checksum


def load(
    path: str | os.PathLike[str], most: int = MOST_BYTES, names: Iterable[str] | None = None
) -> tuple[dict[str, np.ndarray], Any, str]:
    """Read what `save` wrote: (arrays, meta, checksum). At most `most` bytes of the file are read.

    Raises OSError where the file cannot be read, ValueError where it is truncated, altered, no such file, not a regular
    file, needs more reading, or does not have exactly the arrays `names`.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "a.npz")
    ...     checksum = save(file, {"w": np.zeros(3)}, {})
    ...     _ = file.write_bytes(file.read_bytes()[:-1])
    ...     load(file)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ValueError: .../a.npz is damaged or not written by nbgrad (File is not a zip file)
    """
    with open_regular(path) as file:
        try:
            with zipfile.ZipFile(cast(IO[bytes], Bounded(file, most))) as archive:
                infos = archive.infolist()
                # `save` compresses nothing, so a zip bomb is refused unread.
                if any(info.compress_type != zipfile.ZIP_STORED for info in infos):
                    raise ValueError("a member is compressed")
                there = {info.filename.removesuffix(".npy") for info in infos}
                if len({info.filename for info in infos}) != len(infos):
                    raise ValueError("a member appears twice")
                wrong = there ^ {*names, _META, _SUM} if names is not None else ()
                members = {} if wrong else {info.filename: archive.read(info) for info in infos}
            if not wrong:
                stored = members.pop(_SUM).decode("ascii")
                if stored != _checksum(members):
                    raise ValueError("its checksum does not match")
                meta = schema.parse(f"its {_META}", members.pop(_META))
                arrays = {name.removesuffix(".npy"): _array(data) for name, data in members.items()}
        except KeyError as error:
            raise _damaged(path, f"no member {error}") from None
        # A damaged zip makes zipfile raise about anything: struct.error, NotImplementedError for unknown flags,
        # RuntimeError for "encrypted" members.
        except Exception as error:
            raise _damaged(path, reason(error)) from None
    if wrong:
        name = min(wrong)
        raise ValueError(f"{path}: array {name!r} is {'not expected' if name in there else 'missing'}")
    return arrays, meta, stored


def _damaged(path: str | os.PathLike[str], why: str) -> ValueError:
    return ValueError(f"{path} is damaged or not written by nbgrad ({why})")


def _checksum(members: Mapping[str, bytes]) -> str:
    """sha256 over names, lengths and contents, whatever the members' order."""
    digest = hashlib.sha256()
    for name in sorted(members):
        digest.update(f"{name}\0{len(members[name])}\0".encode())
        digest.update(members[name])
    return digest.hexdigest()


def _array(data: bytes) -> np.ndarray:
    """One `.npy` member. The header is checked first: `read_array` allocates whatever shape it claims."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array's format version is not 1.0")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ValueError(f"an array's dtype is {dtype}")
    size = dtype.itemsize
    for length in shape:
        size *= length
    if min(shape, default=0) < 0 or size != len(data) - file.tell():
        raise ValueError(f"an array of shape {shape} does not have the bytes for it")
    file.seek(0)
    array = np.lib.format.read_array(file, allow_pickle=False)
    return np.array(array, dtype.newbyteorder("="), order="C")
