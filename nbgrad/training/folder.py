"""The folder of a training: one at a time."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from nbgrad.training import checkpoint

__all__ = ["locked"]


@contextlib.contextmanager
def locked(folder: Path, files: list[str]) -> Iterator[None]:
    """The folder: made if need be, closed to other trainings meanwhile and, as it is ours then, cleaned of what
    was left of these ``files`` half written.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if _lock(folder, stack):
                checkpoint.remove_leftovers(folder, files)
        except BlockingIOError:
            raise OSError(f"out: another training is writing to {folder}") from None
        except OSError as error:
            raise OSError(f"out: cannot write to {folder}: {error.strerror}") from None
        yield


def _lock(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Lock the folder until the stack ends; False where that is not possible, and a second training goes unnoticed: on
    Windows, and on some network file systems.
    """
    try:
        import fcntl
    except ImportError:
        return False
    handle = os.open(folder, os.O_RDONLY)
    stack.callback(os.close, handle)
    try:  # the system lets go of the lock however the process ends
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True
