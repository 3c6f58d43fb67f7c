"""Whether a thread wants its loops serial."""

from __future__ import annotations

import contextlib
import threading

__all__ = ["is_serial", "mode", "serial_loops"]


class _Mode(threading.local):
    serial = 0  # the number of `serial_loops` within which the thread is


#: each thread's own
mode = _Mode()


class serial_loops(contextlib.ContextDecorator):  # noqa: N801 (used as a function)
    """Within it the loops that this thread calls run serially.

    For code that alternates small loops with BLAS products. The idle threads of NumPy's OpenBLAS go on
    spinning for tens of milliseconds, and a parallel loop that waits for a core meanwhile takes milliseconds
    instead of microseconds: an epoch of the 784-256-256-10 network on MNIST on 2 cores took 14 s with
    parallel loops, 1.1 s with serial ones.
    """

    def __enter__(self) -> None:
        mode.serial += 1

    def __exit__(self, *exc: object) -> None:
        mode.serial -= 1


def is_serial() -> bool:
    """Whether this thread is within `serial_loops`."""
    return mode.serial > 0
