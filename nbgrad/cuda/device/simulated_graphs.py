"""A stand-in for CUDA graphs in the simulator: a list of calls with their arguments. What is noted is done for the
shapes of its results alone: afterwards memory is as it was, as a capture leaves it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from nbgrad.cuda.device.noting import here

__all__ = ["Graph", "Memory", "Room", "current", "noted", "noting", "room"]


class Graph:
    def __init__(self) -> None:
        self.calls: list[Callable[[], Any]] = []
        self.before: dict[int, tuple[Any, Any]] = {}
        self.fresh: list[Any] = []  # memory handed out while it was captured: before each run it is anybody's

    def changes(self, *values: Any) -> None:
        """To be called before arrays are written."""
        for value in values:
            if isinstance(value, tuple):
                self.changes(*value)
            elif isinstance(value, np.ndarray):
                while isinstance(value.base, np.ndarray):
                    value = value.base
                self.before.setdefault(id(value), (value, np.array(value)))

    def fill(self, out: Any, function: Callable[[], Any]) -> None:
        """What the function returns goes to the array ``out``."""
        out = out.view(np.ndarray)

        def call() -> None:
            out[...] = function()

        self.calls.append(call)

    def put_back(self) -> None:
        for array, values in self.before.values():
            array.view(np.ndarray)[...] = values

    def launch(self) -> None:
        for array in self.fresh:
            array.view(np.ndarray).reshape(-1).view(np.uint8)[...] = 255
        with np.errstate(all="ignore"):
            for call in self.calls:
                call()


def noting() -> Graph | None:
    """The graph that this thread captures."""
    run = here.run
    return run.graph if run is not None and run.capturing else None


def noted(result: Any, function: Callable[[], Any], *operands: Any) -> Any:
    """The result of a function, which becomes a part of the graph unless it is a view of an operand."""
    graph = noting()
    if graph is None:
        return result
    several = isinstance(result, (tuple, list))
    for k, one in enumerate(result if several else (result,)):
        if isinstance(one, np.ndarray) and not any(_share(one, other) for other in operands):
            graph.fill(one, functools.partial(_part, function, k) if several else function)
    return result


def _part(function: Callable[[], Any], k: int) -> Any:
    return function()[k]


def _share(a: Any, b: Any) -> bool:
    if isinstance(b, (tuple, list)):
        return any(_share(a, one) for one in b)
    return isinstance(b, np.ndarray) and bool(a.size) and np.may_share_memory(a.view(np.ndarray), b.view(np.ndarray))


class Memory:
    def __init__(self, number: int) -> None:
        pass

    def apart(self, count: int, dtype: Any) -> Any:
        return np.empty(count, dtype)

    def keep(self, *values: Any) -> None:
        pass


class Room:
    def here(self) -> Any:
        return contextlib.nullcontext()

    def within(self, memory: Memory) -> Any:
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def capture(self, run: Any) -> Iterator[None]:
        run.graph, run.capturing = Graph(), True
        try:
            yield
        finally:
            run.capturing = False
            run.graph.put_back()

    def copy(self, target: Any, source: Any) -> None:
        target.view(np.ndarray)[...] = source.view(np.ndarray)

    def launch(self, graph: Graph) -> None:
        graph.launch()


def current() -> int:
    return 0


@functools.cache
def room(number: int) -> Room:
    return Room()
