"""A step of `nbgrad.compile` on a GPU: what of it is noted while it runs, what is done before its graph runs again.

Numbers that differ from step to step (rates of optimisers, seeds of dropout) are read by kernels from memory on the
GPU, which one launch for each `WORDS` of them writes before.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from nbgrad.cuda import device
from nbgrad.cuda.device import here, kernel, launch
from nbgrad.cuda.device.intrinsics import thread
from nbgrad.cuda.random import draw

__all__ = ["Run", "current", "device", "room", "running"]

WORDS = 16
room, current = device.room, device.current


@functools.cache
def _write() -> Any:
    """``kernel(out, numbers)``"""

    def write(out, numbers):
        i = thread()
        if i < out.size:
            out[i] = numbers[i]

    return kernel(write)


class _Page:
    def __init__(self, array: Any) -> None:
        self.array, self.values, self.used = array, [array.dtype.type(0)] * WORDS, 0

    def write(self) -> None:
        launch(_write(), 1, WORDS, self.array, tuple(self.values))


class Slot:
    """Numbers of one dtype; ``array`` is where kernels read them."""

    def __init__(self, page: _Page, at: int, count: int) -> None:
        self.page, self.at, self.count, self.array = page, at, count, page.array[at : at + count]

    def set(self, values: Any) -> None:
        self.page.values[self.at : self.at + self.count] = values


class Run:
    """One run of a step: eager, or ``capturing``, which makes its ``graph``."""

    def __init__(self, memory: Any) -> None:
        self.memory, self.capturing, self.graph = memory, False, None
        self.names: list[str] = []
        self.alarms: list[tuple[Any, str]] = []
        self.pages: list[_Page] = []
        self.seeds: list[tuple[Any, Slot]] = []

    # What is said while it runs

    def launched(self, compiled: Any, arguments: Any) -> None:
        function = compiled.py_func
        self.names.append(f"{function.__module__.rpartition('.')[2]}.{function.__qualname__.partition('.')[0]}")
        self.memory.keep(*arguments)

    def multiplied(self, x: Any, y: Any) -> None:
        self.names.append(f"matmul {x.shape} @ {y.shape}")
        self.memory.keep(x, y)

    def numbers(self, values: Any) -> Slot:
        """Numbers of one dtype that differ from step to step."""
        dtype, count = values[0].dtype, len(values)
        page = next((p for p in self.pages if p.array.dtype == dtype and p.used + count <= WORDS), None)
        if page is None:
            page = _Page(self.memory.apart(WORDS, dtype))
            self.pages.append(page)
        slot = Slot(page, page.used, count)
        page.used += count
        slot.set(values)
        if not self.capturing:
            page.write()
        return slot

    # Before and after the graph runs

    def check(self, when: str) -> None:
        """ValueError for a label out of range."""
        for alarm, expected in self.alarms:
            alarm.expected = expected
            alarm.tell(when)

    def look(self) -> None:
        """After the graph was launched: wait for its errors where that is wanted."""
        if device.blocking():
            device.synchronize()
            self.check("")

    def draw(self) -> None:
        """Dropout's next seeds."""
        for rng, slot in self.seeds:
            slot.set(draw(rng))

    def write(self) -> None:
        for page in self.pages:
            page.write()


@contextlib.contextmanager
def running(run: Run) -> Iterator[None]:
    """Within it this thread's launches belong to the run."""
    here.run = run
    try:
        yield
    finally:
        here.run = None
