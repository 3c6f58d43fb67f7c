"""The disk cache of compiled loops: Numba's, with a checksum over each file, so that no damaged file does harm.

Numba hands the machine code that it finds to the process as it is. Zeros, as a power cut leaves them, kill each process
that loads them; another loop's file in the place of a loop's own computes something else. Here a file holds one
compiled loop, and before its bytes are as much as unpickled their hash must be right, which is one over the loop's name
and key, too (argument types, processor, Numba's version). A file that is not right counts as absent: the loop is
compiled anew, and the file replaced.

What is Numba's and private is touched in `attach` and `_index_key` alone. Upstream has no checksum, no way to replace
the files' format, and the pickled closure in the key (numba#6264). A version of Numba that has it otherwise keeps its
own cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import re
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import numba
import numpy

from nbgrad.jit.sources import is_hashed

try:
    import fcntl
except ImportError:  # Windows, which removes no file that is open in another process
    fcntl = None  # type: ignore[assignment]

__all__ = ["attach", "remove_orphans"]


def attach(compiled: Any) -> None:
    """Give a function compiled with ``cache=True`` the cache of this module."""
    try:
        cache: Any = compiled._cache
        files = _Files(Path(cache.cache_path), cache._impl.filename_base, cache._cache_file._dump)
        cache._index_key  # noqa: B018 (asked for: what is set below must be what Numba reads)
    except AttributeError:
        return
    cache._index_key, cache._cache_file = _index_key(compiled.py_func), files
    compiled._cache = _Cache(cache)


class _Files:
    """The files of one loop, one for each key. (Numba numbers them, and an index has the numbers: two processes that
    write at once may take the same one.)
    """

    def __init__(self, folder: Path, base: str, dump: Callable[[Any], bytes]) -> None:
        self.folder, self.base, self.dump = folder, base, dump

    def load(self, key: Any) -> Any:
        """What was saved under ``key``, None where there is nothing that is whole."""
        name = self._name(key)
        with contextlib.suppress(OSError), open(self.folder / name, "rb", opener=_open) as file:
            head = file.read(_HEAD)
            size = os.fstat(file.fileno()).st_size
            # the length first: whatever lies there, no more is read than was written
            if len(head) == _HEAD and int.from_bytes(head[_SUM:]) == size - _HEAD:
                data = file.read(size - _HEAD)
                if _head(name, data) == head:
                    return pickle.loads(data)
        return None

    def save(self, key: Any, value: Any) -> None:
        """Keep ``value``: under its name there is the old file or the new one, never a part of one."""
        remove_orphans(self.folder)
        name, data = self._name(key), self.dump(value)
        temporary = self.folder / f"{name}.tmp.{uuid.uuid4().hex[:16]}"
        try:
            with open(temporary, "xb") as file:
                _locked(file)
                file.write(_head(name, data))
                file.write(data)
            os.replace(temporary, self.folder / name)
        except BaseException:  # Ctrl-C and a full disk alike
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise

    def flush(self) -> None:
        """Nothing: a file that is not right is replaced."""

    def _name(self, key: Any) -> str:
        digest = hashlib.sha256(repr((numba.__version__, key)).encode()).hexdigest()
        return f"{self.base}.{digest[:32]}.nbc"


_SUM = hashlib.sha256().digest_size
_HEAD = _SUM + 8


def _head(name: str, data: bytes) -> bytes:
    """What stands before the data: a hash over the file's name, which has the key's, and the data; their length."""
    length = len(data).to_bytes(_HEAD - _SUM)
    return hashlib.sha256(b"%b\0%b%b" % (name.encode(), length, data)).digest() + length


def _open(path: str, flags: int) -> int:
    """A regular file only: a pipe in its place would be waited for."""
    handle = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise OSError("expected a regular file")
    return handle


# What `_Files.save` writes, and what Numba's own index and data files were called while they were being written.
_TEMPORARY = re.compile(r".+-[0-9a-f]{16}-\d+\.py\d+\w*\.(\w+\.)?nb[ci]\.tmp\.[0-9a-f]+")


def remove_orphans(folder: Path) -> None:
    """Remove the temporary files of writers that were killed. A living writer holds a lock on its file."""
    for entry in os.scandir(folder):
        if _TEMPORARY.fullmatch(entry.name):
            with contextlib.suppress(OSError), open(entry.path, "rb", opener=_open) as file:
                if _locked(file):
                    os.unlink(entry.path)


def _locked(file: Any) -> bool:
    """Lock a file; False where another process has it, or where the file system has no locks."""
    if fcntl is not None:
        try:  # the system lets go of the lock however the process ends
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True


class _Cache:
    """Numba's disk cache of one function, made unable to fail: Numba lets through to the caller what a full disk or
    unpickling raises.
    """

    def __init__(self, cache: Any) -> None:
        self._cache = cache

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cache, name)

    def load_overload(self, *arguments: Any) -> Any:
        with contextlib.suppress(Exception):
            return self._cache.load_overload(*arguments)

    def save_overload(self, *arguments: Any) -> None:
        with contextlib.suppress(Exception):
            self._cache.save_overload(*arguments)


def _index_key(function: Callable[..., Any]) -> Callable[[Any, Any], Any]:
    """A loop's key in its cache file, in place of Numba's, which hashes the pickled closure: those bytes differ
    between a process that read the sources and one that read their .pyc files, and are random where a nested function
    names an intrinsic. Each such process compiled everything anew.
    """
    digest = _digest(function)
    return lambda signature, codegen: (signature, codegen.magic_tuple(), digest)


def _digest(function: Callable[..., Any]) -> str:
    """A hash of a function's code, of what its closure holds and what its code names, and so on."""
    digest, seen = hashlib.sha256(), set()

    def add(value: Any) -> None:
        value = getattr(value, "py_func", value)  # of what a user compiled by @njit
        if isinstance(value, FunctionType):
            if id(value) not in seen:
                seen.add(id(value))
                add((value.__code__, value.__defaults__, [c.cell_contents for c in value.__closure__ or ()]))
                add(_named(value))
        elif isinstance(value, CodeType):
            add((value.co_code, value.co_names, value.co_consts))
        elif isinstance(value, (tuple, list)):
            digest.update(b"(%d" % len(value))
            for item in value:
                add(item)
        elif isinstance(value, frozenset):
            add(sorted(map(repr, value)))
        elif isinstance(value, numpy.ndarray):
            add((value.dtype, value.shape, value.tobytes()))
        elif value is None or isinstance(value, (int, float, complex, str, bytes, numpy.generic, numpy.dtype)):
            digest.update(repr((type(value).__name__, value)).encode())
        else:  # a class, a module, an intrinsic
            name = getattr(value, "__qualname__", getattr(value, "__name__", ""))
            digest.update(f"{type(value).__qualname__} {getattr(value, '__module__', '')} {name}".encode())

    add(function)
    return digest.hexdigest()


def _named(function: FunctionType) -> list[Any]:
    """What a function's code names in its module, and in the modules that it names: Numba compiles that in. Of
    nbgrad's compiled rooms `source_hash` says it.
    """
    if is_hashed(function.__code__.co_filename) or (function.__module__ or "").partition(".")[0] in _LIBRARIES:
        return []
    names, values = list(_names(function.__code__)), []
    for name in names:
        value = function.__globals__.get(name)
        values.append(value)
        if isinstance(value, ModuleType) and value.__name__.partition(".")[0] not in _LIBRARIES:
            values += [getattr(value, other, None) for other in names]
    return values


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)


# What Numba knows by name.
_LIBRARIES = ("math", "numba", "numpy", "scipy")
