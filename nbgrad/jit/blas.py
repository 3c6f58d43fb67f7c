"""BLAS with one thread. OpenBLAS's others go on spinning for tens of milliseconds after a call, on cores that threads
of ours wait for, and small products gain nothing by them.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

__all__ = ["one_blas_thread"]

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
    """Within it; the number is the process's, so that the last of several threads to leave puts it back."""
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
