"""CUDA graphs of a step, by CuPy's stream capture. `nbgrad.cuda.device.simulated_graphs` has the same names."""

from __future__ import annotations

import contextlib
import functools
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np

from nbgrad.cuda.device import blas
from nbgrad.cuda.device.driver import guard, module

__all__ = ["Memory", "Room", "current", "room"]

#: Bytes of numbers that are written between runs of a graph, and of what lies together of them.
WORDS, LINE = 1 << 14, 128


class Memory:
    """The memory of one graph and of the runs before it: nobody else is handed any of it while the graph lives."""

    def __init__(self, number: int) -> None:
        self.pool, self.own = module().cuda.MemoryPool(), set[int]()
        with module().cuda.Device(number):
            self.words, self.used = module().empty(WORDS, np.uint8), 0
        self.foreign: dict[int, Any] = {}  # what lies elsewhere and is used: kept alive
        _pools[:] = [entry for entry in _pools if _used(*entry)]
        _pools.append((number, weakref.ref(self), self.pool))

    def malloc(self, size: int) -> Any:
        pointer = self.pool.malloc(size)
        self.own.add(pointer.ptr)
        return pointer

    def apart(self, count: int, dtype: Any) -> Any:
        """An array that is written between runs of the graph. Not of the pool's: there a capture hands out what is free
        by then, and each run of the graph writes to it before, as to whatever had it then.
        """
        start, self.used = self.used, self.used + -(-count * dtype.itemsize // LINE) * LINE
        if self.used > WORDS:
            raise RuntimeError(f"compile: expected at most {WORDS} bytes of numbers that differ from step to step")
        return self.words[start : start + count * dtype.itemsize].view(dtype)

    def keep(self, *values: Any) -> None:
        """Keep the memory of arrays, which a graph knows by their addresses."""
        for value in values:
            if isinstance(value, tuple):
                self.keep(*value)
            elif (data := getattr(value, "data", None)) is not None and hasattr(data, "mem"):
                if data.mem.ptr not in self.own:
                    self.foreign[data.mem.ptr] = data.mem


#: A pool outlives its graph as long as an array lies in it: an optimiser's memory, a gradient.
_pools: list[tuple[int, Any, Any]] = []


def _used(number: int, memory: Any, pool: Any) -> bool:
    if memory() is not None:
        return True
    with module().cuda.Device(number):
        pool.free_all_blocks()
        return bool(pool.used_bytes())


class Room:
    """The stream of a GPU in which steps are run before they are captured, and captured. Their graphs run in the
    caller's stream, one after the other.
    """

    def __init__(self, number: int) -> None:
        self.number, self.alone, self.last = number, threading.RLock(), None
        with module().cuda.Device(number):
            self.stream = module().cuda.Stream(non_blocking=True)

    @contextlib.contextmanager
    def here(self) -> Iterator[None]:
        """The GPU is the current one, and what runs in the current stream waits for what ran in the last one."""
        library = module().cuda
        there = library.runtime.getDevice() != self.number
        with self.alone, guard(), library.Device(self.number) if there else contextlib.nullcontext():
            current = library.get_current_stream()
            if self.last is not None and self.last.ptr != current.ptr:
                current.wait_event(self.last.record())
            self.last = current
            yield

    @contextlib.contextmanager
    def within(self, memory: Memory) -> Iterator[None]:
        """The room's stream and this memory are the current ones."""
        library = module().cuda
        with self.here():
            current = library.get_current_stream()
            self.stream.wait_event(current.record())
            try:
                with self.stream, library.using_allocator(memory.malloc):
                    yield
            finally:
                current.wait_event(self.stream.record())

    @contextlib.contextmanager
    def capture(self, run: Any) -> Iterator[None]:
        """What is done is not done but becomes ``run.graph``. Numbers and arrays from the CPU's memory, which CuPy
        copies from pinned memory that it uses anew, cannot become a part of it.
        """
        cupy = module()
        if (handle := blas.ready(self.number)) is not None:
            handle.use(self.stream.ptr)
        cupy.cuda.set_pinned_memory_allocator(functools.partial(self._pinned, threading.get_ident()))
        self.stream.begin_capture()
        run.capturing = True
        try:
            yield
        except BaseException:
            with contextlib.suppress(Exception):
                self.stream.end_capture()
            raise
        else:
            run.graph = self.stream.end_capture()
        finally:
            run.capturing = False
            cupy.cuda.set_pinned_memory_allocator(cupy.get_default_pinned_memory_pool().malloc)

    @staticmethod
    def _pinned(thread: int, size: int) -> Any:
        """Pinned memory, for other threads than the one that captures."""
        if threading.get_ident() == thread:
            raise RuntimeError("what is captured takes numbers from the CPU's memory")
        return module().get_default_pinned_memory_pool().malloc(size)

    def copy(self, target: Any, source: Any) -> None:
        """``target[...] = source``, of one shape and dtype, in the current stream."""
        cupy = module()
        if not isinstance(source, cupy.ndarray):
            source = cupy.asarray(source)
        if source.flags.c_contiguous:
            target.data.copy_from_device_async(source.data, source.nbytes)
        else:
            target[...] = source

    def launch(self, graph: Any) -> None:
        graph.launch()


def current() -> int:
    """The number of the current GPU."""
    return int(module().cuda.runtime.getDevice())


@functools.cache
def room(number: int) -> Room:
    return Room(number)
