"""NumPy's matrix products on the CPU, with threads by their work.

OpenBLAS takes all threads for every product of more than some 10⁴ multiplications, and they wait for each other by
spinning. A product of a training step is over in a tenth of a millisecond; where a thread gets its core late, because
another process, or a loop of this one's own, has it, all wait: 2 cores with other work on them, a step of the network
784-256-256-10 on 32 rows: 1.2 ms with one thread, with two 1.0 to 300.

So products below `WORTH` multiplications run with one. The number of threads is the process's own setting: it is
changed from the main thread alone, for the length of a product, and put back. ``NBGRAD_BLAS_THREADS=keep`` in the
environment leaves it alone. Of other libraries than OpenBLAS (MKL, Accelerate) nothing is changed.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import glob
import os
import threading
from collections.abc import Callable, Iterator
from threading import get_ident, main_thread
from typing import Any, NamedTuple

import numpy as np

__all__ = ["WORTH", "Threads", "matmul", "one_blas_thread", "threads", "work"]

#: Multiplications of a product from which on it takes the threads that there are. (AVX-512, 2 cores: two threads take
#: 0.6 of one's time from 10⁶ on where they are alone; beside other work 10 to 300 times as long, up to 10⁹.)
WORTH = 10_000_000
#: Up to this OpenBLAS takes one by itself (vectors: 9216).
SMALL = 9000


class Threads(NamedTuple):
    """OpenBLAS's own functions: the number of threads, and to set it."""

    get: Callable[[], int]
    set: Callable[[int], None]


@functools.cache
def threads() -> Threads | None:
    """Of the OpenBLAS that NumPy calls; None where it calls another library, or the environment says to leave it."""
    if os.environ.get("NBGRAD_BLAS_THREADS") == "keep":
        return None
    home = os.path.dirname(np.__file__)
    # A name is looked for in the libraries that NumPy's extension was linked with, too; not on Windows.
    for file in (*glob.glob(f"{home}/_core/_multiarray_umath*"), *glob.glob(f"{home}.libs/*openblas*")):
        try:
            library = ctypes.CDLL(file)
        except OSError:
            continue
        for name in ("scipy_openblas_{}_num_threads64_", "openblas_{}_num_threads64_", "openblas_{}_num_threads"):
            try:
                get, put = (getattr(library, name.format(verb)) for verb in ("get", "set"))
            except AttributeError:
                continue
            put.argtypes, put.restype = [ctypes.c_int], None
            return Threads(get, put)
    return None


def work(x: Any, y: Any) -> int:
    """The multiplications of ``x @ y``."""
    return int(x.size * y.shape[-1] if y.ndim > 1 else x.size)


def matmul(x: Any, y: Any) -> Any:
    """``x @ y``"""
    if x.ndim > 1 < y.ndim and x.shape[-1] == 1 == y.shape[-2]:  # of one row: NumPy goes past BLAS, 10 times as slow
        return np.multiply(x, y)
    control = threads() if SMALL < work(x, y) < WORTH else None
    if control is None or get_ident() != main_thread().ident or (before := control.get()) == 1:
        return np.matmul(x, y)
    try:
        control.set(1)
        return np.matmul(x, y)
    finally:
        control.set(before)


_lock = threading.Lock()
_inside = 0
_before: Any = None


@functools.cache
def _controller() -> Any:
    """threadpoolctl's, which comes with scikit-learn; None without it."""
    try:
        import scipy.linalg  # noqa: F401  # has a BLAS of its own, which must be known
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """One thread of every BLAS within it: OpenBLAS's others go on spinning for tens of milliseconds after a call, on
    cores that threads of ours wait for, and small products gain nothing by them. The number is the process's, so that
    the last of several threads to leave puts it back.
    """
    global _inside, _before
    controller = _controller()
    with _lock:
        _inside += 1
        if _inside == 1 and controller is not None:
            _before = controller.limit(limits=1, user_api="blas")
    try:
        yield
    finally:
        with _lock:
            _inside -= 1
            if _inside == 0 and _before is not None:
                _before, before = None, _before
                before.restore_original_limits()
