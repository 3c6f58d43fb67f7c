"""`Captures`: steps on a GPU. They run eagerly at first, then once in a stream that captures: what they launch becomes
a CUDA graph on memory that stays, which later calls launch as a whole.

While a step runs nothing stands between tensors and CuPy's arrays: who records notes which tensors are read from
outside, and refuses what would lead out of the GPU.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.modes import mode
from nbgrad.autograd.recording.outcome import Outcome
from nbgrad.autograd.recording.recorded import Watcher, refuse
from nbgrad.autograd.recording.recorder import SLOT, alone
from nbgrad.autograd.tape import Leaf, mutations, note_mutation, owner
from nbgrad.autograd.tensor import Tensor, wrap
from nbgrad.place import plug_in

__all__ = ["Captures", "constant"]

#: Eager runs before the capture: what they compile, allocate and keep (gradients, an optimiser's memory) is there then.
WARM = 2
#: Graphs that a step keeps for one kind of arguments, in different states, and for all.
STATES, MOST = 8, 64


def constant(value: Any) -> Any:
    """A part of the key: a value that is no array, by value, or by identity where it has none."""
    if isinstance(value, list | dict | set):
        raise TypeError(
            f"compile: expected tensors, arrays and constants as arguments, got a {type(value).__name__}; give what is "
            "in it one by one"
        )
    try:
        hash(value)
    except TypeError:
        refuse(f"an argument of type {type(value).__name__}")
    return type(value), repr(value) if isinstance(value, float) else value


class _Data:
    """In the place of the slot `TensorBase._data`: who records sees which tensors are new."""

    def __get__(self, tensor: Any, owner: Any = None) -> Any:
        if tensor is None:
            return self
        value, recorder = SLOT.__get__(tensor), mode.recorder
        if recorder is not None:
            recorder.of_tensor(tensor, value)
        return value

    def __set__(self, tensor: Any, value: Any) -> None:
        recorder = mode.recorder
        if recorder is not None:
            try:
                SLOT.__get__(tensor)
            except AttributeError:
                recorder.made[id(tensor)] = weakref.ref(tensor)
        SLOT.__set__(tensor, value)


def _captures() -> Any:
    """CUDA's part of it, loaded when a step is on a GPU."""
    from nbgrad.cuda import captures

    return captures


class DeviceRecorder(Watcher):
    """`Recorder` for tensors on a GPU: what of the world a run depends on."""

    def __init__(self, run: Any) -> None:
        self.device_run = run
        self.made: dict[int, Any] = {}
        self.leaves: dict[int, tuple[Any, Any, bool]] = {}
        self.tensors: dict[int, tuple[Any, Any]] = {}
        self.modules: dict[int, tuple[Any, bool]] = {}
        self.hooks: list[Any] = []

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """The run, of this thread; another thread's recording waits."""
        with alone, _captures().running(self.device_run):
            TensorBase._data = _Data()  # type: ignore[misc]
            mode.recorder = self
            try:
                yield
            finally:
                mode.recorder = None
                TensorBase._data = SLOT  # type: ignore[misc]

    paused = contextlib.nullcontext

    def of_tensor(self, tensor: Any, array: Any) -> None:
        made = self.made.get(id(tensor))
        if (made is not None and made() is tensor) or id(tensor) in self.tensors:
            return
        if not on_device(array):
            refuse("a tensor in the CPU's memory beside those on a GPU")
        if tensor._node is not None and tensor._node._order is not None:
            refuse("a tensor with a graph from outside")
        self.tensors[id(tensor)] = weakref.ref(tensor), array

    def touch(self, node: Any, reading: bool) -> None:
        self.leaves.setdefault(id(node), (node, node._grad, reading))

    def taken(self, array: Any) -> Any:
        if on_device(array):
            self.device_run.memory.keep(array)
        return array

    given = taken

    def leaving(self, what: str) -> None:
        refuse(what)

    def moving(self, array: Any, device: str) -> None:
        if on_device(array) is device.startswith("cpu"):
            refuse("a way between the GPU and the CPU's memory")

    def indexing(self, parts: Any) -> None:
        for part in parts:
            if getattr(part, "ndim", 0) and part.dtype.kind == "b":
                refuse("picking by a mask, which gives a shape that depends on values,")
            if isinstance(part, np.ndarray) and not on_device(part):
                refuse("an index in the CPU's memory (on the GPU it can be)")

    def run(self, function: Callable[..., Any], *args: Any) -> NoReturn:
        refuse("clip_grad_norm_ on a GPU, which decides by the norm,")


class _Captured(Outcome):
    """A run of a step on a GPU; where it was captured, its graph. ``static``: memory that its arguments lie in."""

    def __init__(
        self, recorder: DeviceRecorder, given: list[Any], static: list[Any], output: Any, before: dict[int, int]
    ) -> None:
        super().__init__(recorder, given)
        self.run, self.static = recorder.device_run, static
        self.tree = self.shape(output, lambda value: value, on_device)
        changed = {key: ref for key, (ref, order) in mutations.items() if before.get(key) != order}
        self.written = [k for k, a in enumerate(static) if id(owner(a)) in changed]
        inside = {id(owner(a)) for a in static}
        self.mutated = [(key, ref) for key, ref in changed.items() if key not in inside]
        self.runs = 1

    @staticmethod
    def copied(value: Any) -> Any:
        return value.copy()

    def replay(self, room: Any, arrays: list[Any]) -> None:
        with room.here():
            self.run.check(" in an earlier call")
            self.run.draw()
            self.start(room, arrays)
        self.done()

    def start(self, room: Any, arrays: list[Any]) -> None:
        """The graph, on these arrays."""
        for target, source in zip(self.static, arrays, strict=True):
            room.copy(target, source)
        self.run.write()
        room.launch(self.run.graph)
        self.run.look()

    def bring_back(self, arrays: list[Any]) -> None:
        """Arguments that the step has changed in place."""
        for k in self.written:
            if not on_device(arrays[k]):
                refuse("a change in place of an argument in the CPU's memory")
            arrays[k][...] = self.static[k]
            note_mutation(arrays[k])

    def __str__(self) -> str:
        how = "a CUDA graph" if self.run.graph is not None else "run eagerly (the graph comes after it)"
        return "\n".join([f"{how}: {len(self.run.names)} kernels of nbgrad's and products", *self.run.names])

    @property
    def plan(self) -> _Captured:
        """What `print(step.plan)` shows."""
        return self


class Captures:
    """A step's runs on GPUs, by the kind of its arguments and in the order of their use."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.recordings: dict[Any, list[_Captured]] = {}

    def __call__(self, args: Any, keywords: Any, given: list[Any]) -> tuple[_Captured, Any]:
        """(what ran, what the step returns)"""
        captures = _captures()
        key: Any = [mode.enabled, *keywords]
        arrays: list[Any] = []
        places: list[int] = []
        for k, value in enumerate(given):
            data = value._data if isinstance(value, Tensor) else value
            numbers = np.floating if data is value else np.generic
            if not (isinstance(data, np.ndarray | numbers) or on_device(data)):
                key.append(constant(data))
            elif isinstance(value, Tensor) and value._node is not None:
                if type(value._node) is not Leaf:
                    raise ValueError("compile: expected tensors without a graph as arguments; use detach()")
                key.append(value)
            else:
                data = plug_in("cuda").tensor.adopt(data) if on_device(data) else np.asarray(data)
                key += (data.shape, data.dtype, isinstance(value, Tensor))
                arrays.append(data)
                places.append(k)
        number = next((captures.device.device_of(a) for a in arrays if on_device(a)), None)
        number = captures.current() if number is None else number
        if len({*map(id, arrays)}) < len(arrays):
            key.append(tuple(id(a) == id(b) for a in arrays for b in arrays))
        key, room = (number, *key), captures.room(number)
        found = next((one for one in self.recordings.get(key, ()) if one.holds()), None)
        if found is None or found.run.graph is None:
            found = self._run(captures, room, key, found, (args, keywords, given), arrays, places)
        else:
            found.replay(room, arrays)
        with room.here():
            found.bring_back(arrays)
            return found, found.result(found.tree, given)

    def _run(
        self,
        captures: Any,
        room: Any,
        key: Any,
        before: _Captured | None,
        call: Any,
        arrays: list[Any],
        places: list[int],
    ) -> _Captured:
        """Run it eagerly, or where that was done often enough capture it, and run the graph."""
        args, keywords, given = call
        memory = captures.device.Memory(key[0]) if before is None else before.run.memory
        run = captures.Run(memory)
        recorder, capturing = DeviceRecorder(run), before is not None and before.runs >= WARM
        with room.within(memory):
            static = [captures.device.empty(a.shape, a.dtype) for a in arrays] if before is None else before.static
            if not capturing:
                for target, source in zip(static, arrays, strict=True):
                    room.copy(target, source)
            values = list(given)
            orders = {key: order for key, (_, order) in mutations.items()}
            with recorder.running(), room.capture(run) if capturing else contextlib.nullcontext():
                for k, array in zip(places, static, strict=True):
                    values[k] = wrap(array) if isinstance(given[k], Tensor) else array
                named = dict(zip(keywords, values[len(args) :], strict=True))
                try:
                    output = self.function(*values[: len(args)], **named)
                except Exception as error:
                    if not capturing or _told(error):
                        raise
                    refuse(f"what is done ({type(error).__name__}: {error})", error)
        outcome = _Captured(recorder, values, static, output, orders)
        if outcome.written and type(key[-1]) is tuple:
            refuse("a change in place of an argument that comes twice")
        if capturing:
            with room.here():
                outcome.start(room, arrays)
        if before is not None:
            outcome.runs = before.runs + 1
            self.recordings[key].remove(before)
        elif len(self.recordings) >= MOST:
            del self.recordings[next(iter(self.recordings))]
        self.recordings[key] = [outcome, *self.recordings.get(key, ())][:STATES]
        return outcome


def _told(error: Exception) -> bool:
    """Whether an error says all: one of nbgrad's, or of the function's own, not one that a capture has made."""
    return "captur" not in str(error).lower()
