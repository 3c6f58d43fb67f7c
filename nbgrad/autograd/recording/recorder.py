"""`Recorder`: a step runs eagerly, once, and what it does to arrays is noted, instruction by instruction.

While it runs, two things of the package are others for its thread: the slot `TensorBase._data`, which hands out
`Recorded` arrays, and `Loop.__call__`, which notes the compiled loop and its arrays. (A question in each operation, "is
this recorded?", would cost eager code 15 to 30 ns an operation.)

The memory of the run is the memory of its replays: an instruction is a function, its arguments, arrays among them, and
the array that takes the result. Views of arrays stay views, and need no instruction.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nbgrad.arrays import on_device, quietly
from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.modes import mode
from nbgrad.autograd.recording.recorded import OnGpu, Recorded, Watcher, refuse
from nbgrad.autograd.recording.sums import note_sum
from nbgrad.cpu import blas
from nbgrad.jit import Loop

__all__ = ["Instruction", "SLOT", "Recorder", "alone", "root_of"]

SLOT: Any = TensorBase.__dict__["_data"]
alone = threading.RLock()  # one recording at a time
_call_loop = Loop.__call__


@dataclass(eq=False)
class Instruction:
    """``function(*args, **keywords)``; ``target``: where its result is to be written, None: it writes itself, into
    arrays among its arguments. ``writes``: those, and the target; ``name``: what `print(plan)` calls it.
    """

    name: str
    function: Callable[..., Any]
    args: list[Any]
    writes: list[Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    target: Any = None
    #: of a loop that answers (error, value): makes the error of its answer
    check: Callable[[Any, Any], Exception] | None = None
    #: an elementwise function: its name for `nbgrad.autograd.recording.fuse`, its operands; ``writes`` has the result
    formula: tuple[str, tuple[Any, ...]] | None = None
    work: int = 0
    #: the arguments of the plan's call
    called: list[Any] = field(default_factory=list)


def root_of(array: Any) -> Any:
    """The array that has the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


class _Data:
    """In the place of the slot `TensorBase._data`."""

    def __get__(self, tensor: Any, owner: Any = None) -> Any:
        if tensor is None:
            return self
        value, recorder = SLOT.__get__(tensor), mode.recorder
        if type(value) is Recorded:
            return value if recorder is not None else value.array
        return value if recorder is None else recorder.of_tensor(tensor, value)

    def __set__(self, tensor: Any, value: Any) -> None:
        recorder = mode.recorder
        if type(value) is Recorded and recorder is not None:
            try:
                if SLOT.__get__(tensor) is value.array:  # changed in place
                    return
            except AttributeError:
                pass
            recorder.holders.append(weakref.ref(tensor))
        SLOT.__set__(tensor, value)


def _noted_loop(self: Loop, work: int, *args: Any) -> Any:
    recorder = mode.recorder or mode.inner
    if recorder is None:
        return _call_loop(self, work, *args)
    answer = self.serial(*args)
    recorder.loops.append((self, args, answer, work))
    return answer


class Recorder(Watcher):
    """``externals``: arrays from outside, by id, each with the tensors that hold it; ``instructions``: in order."""

    def __init__(self) -> None:
        self.instructions: list[Instruction] = []
        self.holders: list[Any] = []
        self.loops: list[Any] = []
        self.known: dict[int, Recorded] = {}  # by the array's id: kept alive here
        self.roots: set[int] = set()  # the ids of the arrays that have memory of their own
        self.outside: set[int] = set()  # of these those that were there before
        self.leaves: dict[int, tuple[Any, Any, bool]] = {}
        self.tensors: dict[int, tuple[Any, Any]] = {}  # tensors from outside and their arrays
        self.modules: dict[int, tuple[Any, bool]] = {}
        self.hooks: list[Any] = []
        self.seeds: list[Any] = []

    # Running

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The recording, of this thread; another thread's waits."""
        with alone:
            TensorBase._data, Loop.__call__ = _Data(), _noted_loop  # type: ignore[method-assign, misc]
            mode.recorder = self
            try:
                yield
            finally:
                mode.recorder = None
                for holder in self.holders:
                    tensor = holder()
                    if tensor is not None and type(value := SLOT.__get__(tensor)) is Recorded:
                        SLOT.__set__(tensor, value.array)
                TensorBase._data, Loop.__call__ = SLOT, _call_loop  # type: ignore[method-assign, misc]

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Within it tensors hold plain arrays, and only compiled loops are noted."""
        mode.recorder, mode.inner = None, self
        try:
            yield
        finally:
            mode.recorder, mode.inner = self, None

    # Arrays

    def of_tensor(self, tensor: Any, array: Any) -> Recorded:
        """The array of a tensor from outside."""
        if on_device(array):
            if self.instructions:
                refuse("a tensor on a GPU beside those in the CPU's memory")
            for node, before, _ in self.leaves.values():
                node._grad = before
            raise OnGpu
        if tensor._node is not None and tensor._node._order is not None:
            refuse("a tensor with a graph from outside")
        if isinstance(array, np.generic):
            array = np.array(array)
            SLOT.__set__(tensor, array)
        self.tensors.setdefault(id(tensor), (weakref.ref(tensor), array))
        return self.given(array)

    def of(self, array: Any) -> Recorded:
        """An array as a Recorded one; a view's root is that of the memory it lies in."""
        found = self.known.get(id(array))
        if found is None:
            root = root_of(array)
            found = Recorded(array, self, None if root is array else self.of(root))
            self.known[id(array)] = found
            self.roots.add(id(root))
        return found

    def taken(self, array: Any) -> Any:
        """What stands for an array that a tensor is made of."""
        return array if on_device(array) else self.given(np.asarray(array))  # its values are read at each replay

    def given(self, array: Any) -> Recorded:
        """An array from outside of the recording."""
        if (root := self.root(array)) not in self.roots:
            self.outside.add(root)
        return self.of(array)

    def touch(self, node: Any, reading: bool) -> None:
        """To be called before a leaf's gradient is read, or set: what it was at first, and whether that matters."""
        self.leaves.setdefault(id(node), (node, node._grad, reading))

    def root(self, array: Any) -> int:
        """The id of the array that has the memory."""
        return id(root_of(array))

    def _plain(self, value: Any) -> Any:
        if type(value) is Recorded:
            if value.recorder is not self:
                refuse("an array of an earlier recording")
            return value.array
        if isinstance(value, tuple | list):
            return type(value)(map(self._plain, value))
        if isinstance(value, np.ndarray):
            self.given(value)
        return value

    def _wrapped(self, value: Any, name: str) -> Any:
        if isinstance(value, np.generic):
            value = np.array(value)
        if isinstance(value, np.ndarray):
            return self.of(value)
        refuse(f"{name}, which gives a {type(value).__name__},")

    # Instructions

    def note(self, name: str, function: Any, args: Any, writes: Any, **more: Any) -> Instruction:
        """One more instruction; ``writes``: arrays."""
        instruction = Instruction(name, function, list(args), list(writes), **more)
        self.instructions.append(instruction)
        return instruction

    def ufunc(self, ufunc: Any, inputs: Any, keywords: Any) -> Any:
        """A function of NumPy's, element by element."""
        out = keywords.pop("out", None)
        if keywords:
            return self.call(ufunc, inputs, {**keywords, **({} if out is None else {"out": out})})
        plain = [self._plain(x) for x in inputs]
        if out is not None:
            results = tuple(self._plain(y) for y in out)
            quietly(ufunc, *plain, *results)
        else:
            answer = blas.matmul(*plain) if ufunc is np.matmul else ufunc(*plain)
            results = tuple(np.asarray(y) for y in (answer if isinstance(answer, tuple) else (answer,)))
        one = len(results) == 1 and ufunc is not np.matmul
        self.note(
            ufunc.__name__, ufunc, [*plain, *results], results, formula=(ufunc.__name__, tuple(plain)) if one else None
        )
        wrapped = tuple(map(self.of, results))
        return wrapped if len(wrapped) > 1 else wrapped[0]

    def call(self, function: Any, args: Any, keywords: Any) -> Any:
        """A function of arrays that gives arrays. What it gives of memory that is known is a view."""
        name = function.__name__
        plain, named = [self._plain(x) for x in args], {k: self._plain(v) for k, v in keywords.items()}
        answer = function(*plain, **named)
        if answer is None:  # it has written into its first argument
            self.note(name, function, plain, [plain[0]], keywords=named)
            return None
        several = isinstance(answer, tuple | list)
        fresh = []
        for one in answer if several else (answer,):
            view = isinstance(one, np.ndarray) and self.root(one) in self.roots
            fresh.append((self._wrapped(one, name), view))
        if not all(view for _, view in fresh):
            if several:
                refuse(f"{name}, which gives several arrays,")
            chosen = (name, tuple(plain)) if name in ("where", "clip") and not named else None
            self.note(
                name, function, plain, [fresh[0][0].array], keywords=named, target=fresh[0][0].array, formula=chosen
            )
        results = [wrapped for wrapped, _ in fresh]
        return results if several else results[0]

    def copy(self, x: Recorded, dtype: Any) -> Recorded:
        """A copy in C order, in this dtype."""
        out = self.of(np.empty(x.shape, dtype))
        self.store(out.array, x.array, "copy" if dtype == x.dtype else f"as {dtype}")
        return out

    def store(self, target: Any, value: Any, name: str) -> None:
        """``target[...] = value``"""
        quietly(target.__setitem__, ..., value)
        if isinstance(value, np.ndarray):
            self.given(value)
        same = getattr(value, "dtype", None) == target.dtype and np.shape(value) == target.shape
        formula = ("positive", (value,)) if same else None
        self.note(name, np.ndarray.__setitem__, [target, ..., value], [target], formula=formula)

    def write(self, x: Recorded, key: Any, value: Any) -> None:
        """``x[key] = value``"""
        plain, value = self._plain(key), self._plain(value)
        if plain is Ellipsis or (isinstance(plain, tuple) and len(plain) == 1 and plain[0] is Ellipsis):
            self.store(x.array, value, "fill" if np.ndim(value) == 0 else "copy")
            return
        quietly(x.array.__setitem__, plain, value)
        self.note("write", np.ndarray.__setitem__, [x.array, plain, value], [x.array])

    def add_up(self, x: Recorded, axis: Any, keepdims: Any, dtype: Any) -> Recorded:
        """The sum over axes, by the compiled sums where the array lies in C order."""
        return self.of(note_sum(self, x.array, axis, keepdims, dtype))

    def run(self, function: Callable[..., Any], args: list[Any], changed: list[Any]) -> Recorded:
        """A function of Python's that changes these arrays and returns a number."""
        plain, writes = self._plain(args), self._plain(changed)
        out = np.asarray(function(*plain))
        self.note(function.__name__, function, plain, [*writes, out], target=out)
        return self.of(out)

    def apart(self, array: Any, arguments: set[int]) -> Any:
        """An array that is read when a replay is over: a copy where its memory is an argument's."""
        if self.root(array) not in arguments:
            return array
        out = array.copy()
        self.note("copy", np.ndarray.__setitem__, [out, ..., array], [out])
        return out

    def through(self, method: Any, *args: Any, **keywords: Any) -> Any:
        """A method of the CPU's plug-in that goes through a compiled loop: noted is the loop, where that is all."""
        ready = [x.copy() if type(x) is Recorded and not x.flags.carray else x for x in args]
        plain, named = [self._plain(x) for x in ready], {k: self._plain(v) for k, v in keywords.items()}
        before = set(self.roots)
        self.loops.clear()
        with self.paused():
            answer = method(*plain, **named)
        several = isinstance(answer, tuple)
        results = [np.asarray(one) for one in (answer if several else (answer,))]
        roots = {self.root(one) for one in results}
        wrapped = [self.of(one) for one in results]
        if len(self.loops) == 1:
            loop, loop_args, _, work = self.loops[0]
            arrays = [a for a in loop_args if isinstance(a, np.ndarray)]
            reached = {self.root(a) for a in arrays}
            if reached <= before | roots and roots <= reached:
                self.note(loop.name, loop, loop_args, results, work=work)
                return tuple(wrapped) if several else wrapped[0]
        if several:
            refuse(f"{method.__name__} of arrays in this layout")
        self.note(method.__name__, method, plain, results, keywords=named, target=results[0])
        return wrapped[0]
