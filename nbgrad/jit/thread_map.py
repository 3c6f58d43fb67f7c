"""Ranges of one big loop on several threads, for loops that a parallel compilation would take seconds to make.

A compiled loop lets go of Python's lock; the threads are Python's own. There are as many as Numba would take
(``numba.set_num_threads``, NUMBA_NUM_THREADS), none within `nbgrad.jit.serial_loops`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba

from nbgrad.jit.arithmetic import arithmetic
from nbgrad.jit.modes import is_serial

__all__ = ["thread_map"]

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def thread_map(call: Callable[[int], Any], count: int, *, alone: bool = False) -> list[Any]:
    """[call(k) for k in range(count)], here if ``alone`` or its arithmetic is not the default, else on several."""
    threads = 1 if alone or count < 2 or is_serial() or arithmetic() else min(count, numba.get_num_threads())
    if threads == 1:
        return [call(k) for k in range(count)]
    with _lock:
        pool = _pools.get(threads)
        if pool is None:
            pool = _pools[threads] = ThreadPoolExecutor(threads, thread_name_prefix="nbgrad")
    return list(pool.map(call, range(count)))


def _after_fork() -> None:
    """In a forked child there are no threads of the parent's."""
    global _lock
    _lock = threading.Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
