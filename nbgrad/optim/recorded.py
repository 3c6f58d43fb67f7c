"""An optimiser's step within a recording (`nbgrad.compile`): its loops are instructions, its numbers, which change from
step to step, are worked out before each replay.
"""

from __future__ import annotations

from typing import Any

from nbgrad.autograd.devices import on_cpu
from nbgrad.autograd.recording.recorded import refuse
from nbgrad.place import plug_in, plug_in_of

__all__ = ["RecordedStep"]


class RecordedStep:
    """``prepare()`` before a replay: False where the optimiser is not what was recorded; ``done()`` after it."""

    def __init__(self, optimizer: Any, recorder: Any, straight: Any) -> None:
        self.optimizer, self.params, self.entries = optimizer, list(optimizer.params), []
        for param in self.params:
            if not straight(param._data):
                refuse("a step of an optimiser on a parameter that does not lie in C order")
            if param.grad is not None and not straight(param.grad._data):
                param.grad = param.grad.clone()
        self.ids = [*map(id, self.params)]
        self.slots: dict[Any, Any] = {}  # on a GPU: of equal numbers
        with recorder.paused():
            for param, state, name, arrays, numbers, new in optimizer._updates():
                into = self._note(recorder, name, arrays, numbers)
                optimizer._finish(param, state, arrays[0], new)
                kept = [(one, state[one]) for one in new if one != "step"]
                at = self.ids.index(id(param))
                self.entries.append((at, state, name, kept, into, arrays[0].dtype.type))

    def _note(self, recorder: Any, name: str, arrays: Any, numbers: Any) -> Any:
        """Run an update, which a replay does again; where its numbers are to be set."""
        if not on_cpu(arrays[0]):
            slot = self.slots.get((name, numbers))
            if slot is None:
                slot = self.slots[name, numbers] = recorder.device_run.numbers(numbers)
            plug_in_of(arrays[0]).updates.run(name, arrays, slot)
            return slot
        recorder.loops.clear()
        plug_in("cpu").updates.run(name, arrays, numbers)
        ((loop, args, _, work),) = recorder.loops
        return recorder.note(name, loop, args, [arrays[0], *arrays[2:]], work=work)

    def prepare(self) -> bool:
        optimizer = self.optimizer
        if [*map(id, optimizer.params)] != self.ids or len(optimizer.state) != len(self.ids):
            return False
        known: dict[Any, Any] = {}
        told: dict[Any, Any] = {}
        for at, state, name, kept, into, T in self.entries:
            key = state.get("step"), T
            if key not in known:
                rule, values = optimizer._rule(state["step"] + 1)
                known[key] = rule, [T(value) for value in values]
            rule, numbers = known[key]
            if rule != name or optimizer.state[at] is not state:
                return False
            for one, array in kept:
                if state[one] is not array:
                    return False
            if self.slots:
                if told.setdefault(into, numbers) is not numbers:  # of several parameters, which now differ
                    return False
                into.set(numbers)
            elif type(into.called[-1]) is tuple:
                into.called[-1] = tuple(numbers)
            else:
                into.called[-len(numbers) :] = numbers
        return True

    def done(self) -> None:
        for _, state, *_ in self.entries:
            state["step"] += 1
