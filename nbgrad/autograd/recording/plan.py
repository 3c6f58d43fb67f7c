"""`Plan`: a recording made ready, and its replay: one loop over calls of compiled functions.

A call costs 0.2 to 0.6 µs beside its work. No function of Python's stands between them.
"""

from __future__ import annotations

import functools
from threading import get_ident, main_thread
from typing import Any

import numpy as np

from nbgrad.autograd.recording.fuse import arrays_in, fused
from nbgrad.autograd.recording.recorder import Instruction, Recorder, root_of
from nbgrad.cpu import blas
from nbgrad.jit import Loop
from nbgrad.jit.c_function import prebound

__all__ = ["Plan"]

_ndarray = np.ndarray


class Plan:
    """``arguments``: the arrays of the recorded call; ``kept``: arrays that are read when a replay is over."""

    def __init__(self, recorder: Recorder, arguments: list[Any], kept: list[Any]) -> None:
        self.arguments = {id(a): k for k, a in enumerate(arguments)}
        self.starts = [a.ctypes.data for a in arguments]
        self.instructions = fused(recorder, [*arguments, *kept])
        products = [i for i in self.instructions if i.function is np.matmul]
        self.numpy = any(isinstance(i.function, np.ufunc) or i.target is not None for i in self.instructions)
        #: (arguments of a call, position, number of the step's argument, None or how the view of it is made)
        self.places: list[tuple[list[Any], int, int, Any]] = []
        self.nested: list[tuple[list[Any], int, Any]] = []
        self.memory = _shared(recorder, self.instructions, [*arguments, *kept])
        self.calls = [self._call(i, bool(products)) for i in self.instructions]
        self.seeds = [(rng, self.calls[self.instructions.index(i)][1]) for rng, i in recorder.seeds]
        self.control = blas.threads() if products else None
        self.threaded = self._with_threads() if self.control else self.calls

    def _call(self, i: Instruction, products: bool) -> tuple[Any, list[Any], Any, Any]:
        function, args = i.function, self._moved(list(i.args))
        if isinstance(function, Loop):
            if i.work > function.threshold and not products:  # BLAS's threads would stand in the way
                function, args = function.__call__, [i.work, *args]
            else:
                function, args = prebound(function.serial, args)
        elif i.keywords:
            function = functools.partial(function, **i.keywords)
        for at, value in enumerate(args):
            if isinstance(value, _ndarray):
                found = self._argument(value)
                if found is not None:
                    view = None
                    if value.ctypes.data != self.starts[found] or id(value) not in self.arguments:
                        view = value.shape, value.dtype, value.ctypes.data - self.starts[found], value.strides
                    self.places.append((args, at, found, view))
            elif isinstance(value, tuple | list) and self._among(value):
                self.nested.append((args, at, value))
        i.called = args
        return function, args, self._moved(i.target), i.check

    def _moved(self, value: Any) -> Any:
        """The same with arrays in the memory that the plan gives them."""
        if isinstance(value, tuple | list):
            return type(value)(map(self._moved, value)) if any(map(self._moves, value)) else value
        if not self._moves(value):
            return value
        root = root_of(value)
        offset = value.ctypes.data - root.ctypes.data
        return _ndarray(value.shape, value.dtype, self.memory[id(root)], offset, value.strides)

    def _moves(self, value: Any) -> bool:
        if isinstance(value, tuple | list):
            return any(map(self._moves, value))
        return isinstance(value, _ndarray) and id(root_of(value)) in self.memory

    def _argument(self, array: Any) -> int | None:
        while isinstance(array, _ndarray):
            if id(array) in self.arguments:
                return self.arguments[id(array)]
            array = array.base
        return None

    def _among(self, value: Any) -> bool:
        if isinstance(value, tuple | list):
            return any(map(self._among, value))
        return isinstance(value, _ndarray) and self._argument(value) is not None

    def _rebuilt(self, value: Any, arrays: list[Any]) -> Any:
        if isinstance(value, tuple | list):
            return type(value)(self._rebuilt(v, arrays) for v in value)
        k = self._argument(value) if isinstance(value, _ndarray) else None
        if k is None:
            return value
        return _ndarray(value.shape, value.dtype, arrays[k], value.ctypes.data - self.starts[k], value.strides)

    def _with_threads(self) -> list[Any]:
        """The calls, with BLAS's number of threads set where the work of the next product says so."""
        calls: list[Any] = []
        self.restored: list[Any] = [0]
        alone = False
        for i, call in zip(self.instructions, self.calls, strict=True):
            if i.function is np.matmul:
                few = blas.work(*i.args[:2]) < blas.WORTH
                if few != alone:
                    calls.append((self.control.set, [1] if few else self.restored, None, None))  # type: ignore[union-attr]
                    alone = few
            calls.append(call)
        return calls

    def replay(self, arrays: list[Any]) -> None:
        """Run it on these arguments."""
        for args, at, k, view in self.places:
            args[at] = arrays[k] if view is None else _ndarray(view[0], view[1], arrays[k], view[2], view[3])
        for args, at, value in self.nested:
            args[at] = self._rebuilt(value, arrays)
        for rng, args in self.seeds:
            args[0] = np.uint64(rng.integers(1 << 63))
        control = self.control
        if control is not None and (get_ident() != main_thread().ident or control.get() == 1):
            control = None
        if not self.numpy:
            self._run(self.calls)
            return
        with np.errstate(all="ignore"):
            if control is None:
                self._run(self.calls)
                return
            before = self.restored[0] = control.get()
            try:
                self._run(self.threaded)
            finally:
                control.set(before)

    @staticmethod
    def _run(calls: list[Any]) -> None:
        for function, args, target, check in calls:
            answer = function(*args)
            if check is not None:
                if answer[0] != -1:
                    raise check(args, answer)
                answer = answer[1]
            if target is not None:
                target[...] = answer

    @property
    def nbytes(self) -> int:
        """The memory of what is computed within, bytes."""
        return sum({id(m): m.nbytes for m in self.memory.values()}.values())

    def __str__(self) -> str:
        lines = []
        for i in self.instructions:
            shapes = ", ".join(f"{a.dtype} {a.shape}" for a in i.writes)
            lines.append(f"{i.name} -> {shapes}")
        return "\n".join(lines)


def _shared(recorder: Recorder, instructions: list[Instruction], kept: list[Any]) -> dict[int, Any]:
    """Memory for the arrays that live within a replay only, by the id of their root: used again when it is free."""
    lasting = {recorder.root(a) for a in kept} | recorder.outside
    first: dict[int, tuple[int, Any, bool]] = {}
    last: dict[int, int] = {}
    for number, i in enumerate(instructions):
        own = {recorder.root(a) for a in i.writes}
        for array in arrays_in([i.args, list(i.keywords.values()), i.target]):
            root = root_of(array)
            last[id(root)] = number
            first.setdefault(id(root), (number, root, id(root) in own))
    free: list[Any] = []
    memory: dict[int, Any] = {}
    ends: dict[int, list[Any]] = {}
    for number in range(len(instructions)):
        for key, (begin, root, written) in first.items():
            if begin == number and written and key in recorder.roots and key not in lasting and root.flags.carray:
                fitting = [m for m in free if m.nbytes >= root.nbytes]
                if fitting:
                    slot = min(fitting, key=lambda m: m.nbytes)
                    free = [m for m in free if m is not slot]
                else:
                    slot = np.empty(max(root.nbytes, 1) + 64, np.uint8)
                    slot = slot[-slot.ctypes.data % 64 :][: max(root.nbytes, 1)]
                memory[key] = slot
                ends.setdefault(last[key], []).append(slot)
        free += ends.pop(number, [])
    return memory
