"""Locks over a fork: a forked child has none of its parent's other threads, but each lock that one of them held.

Numba compiles, and loads from its disk cache, under one lock. A child forked meanwhile would wait for it for ever, and
LLVM would be in the middle of something. So the thread that forks takes the locks first, as the C library takes those
of its memory: `os.fork` waits until what another thread compiles is done. (`subprocess` does not fork in this sense,
and waits for nothing.) Numba's names stand here and nowhere else; a lock that a version of it lacks is left out.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from typing import Any

__all__ = ["compiler_lock", "lazy"]

#: Numba's lock around everything that it compiles or loads.
compiler_lock: Any
try:
    from numba.core.compiler_lock import global_compiler_lock

    compiler_lock = global_compiler_lock
except ImportError:
    compiler_lock = threading.RLock()

# Private to Numba and llvmlite, which do nothing of their own at a fork. In the order in which Numba takes them.
_LOCKS = (
    ("nbgrad.jit.locks", "compiler_lock"),  # our own, where Numba's has another name
    ("numba.core.compiler_lock", "global_compiler_lock._lock"),
    ("numba.np.ufunc.parallel", "_backend_init_thread_lock"),  # around the start of its threads
    ("llvmlite.binding.ffi", "lib._lock._lock"),
)
# Seconds. A thread that compiles may itself wait for the one that forks (for a module that it imports, say): rather a
# child whose first kernel may fail than two threads that wait for each other.
_PATIENCE = 60.0


class _Held(threading.local):
    taken: tuple[Any, ...] = ()
    missed: tuple[Any, ...] = ()


_held = _Held()


def _locks() -> list[Any]:
    found = []
    for module, path in _LOCKS:
        lock: Any = sys.modules.get(module)
        for name in path.split("."):
            lock = getattr(lock, name, None)
        if all(hasattr(lock, name) for name in ("acquire", "release", "_at_fork_reinit")):
            found.append(lock)
    return found


def _before_fork() -> None:
    _held.taken = _held.missed = ()
    for lock in _locks():
        if lock.acquire(timeout=_PATIENCE):
            _held.taken = (lock, *_held.taken)
        else:
            _held.missed = (lock, *_held.missed)


def _after_fork() -> None:
    for lock in _held.taken:
        lock.release()


def _after_fork_in_child() -> None:
    for lock in _held.missed:
        lock._at_fork_reinit()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)


class lazy:  # noqa: N801 (used as a decorator)
    """`functools.cached_property` without the lock that it has in Python 3.11, which a fork may find taken: two threads
    may compute the value at once, and all get the first one's.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        return instance.__dict__.setdefault(self.name, self.function(instance))
