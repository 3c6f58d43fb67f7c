"""`Optimizer`: what optimisers share. One of its own has its hyperparameters, the names of its arrays, and the row of
`nbgrad.formulas.updates` that makes a step: the loops on both devices follow from that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from nbgrad.arrays import as_array
from nbgrad.autograd.devices import device_name, move, on_cpu, zeros
from nbgrad.autograd.tape import mode, note_mutation
from nbgrad.autograd.tensor import Tensor, forget_gradients
from nbgrad.formulas.updates import UPDATES
from nbgrad.optim.recorded import RecordedStep
from nbgrad.place import plug_in

__all__ = ["Optimizer"]


def _update(name: str, arrays: tuple[Any, ...], numbers: tuple[Any, ...]) -> None:
    """Update flat arrays, the parameter first, in place."""
    plug_in(device_name(arrays[0])).updates.run(name, arrays, numbers)


def _straight(array: Any) -> bool:
    """Whether the loops can run over the array itself: in C order, and on the CPU aligned."""
    return array.flags.c_contiguous and (not on_cpu(array) or array.flags.aligned)


class Optimizer:
    """What the optimisers share. Hyperparameters are attributes and may be changed between steps: the next step
    uses them.

    >>> import nbgrad
    >>> optimizer = nbgrad.optim.SGD([nbgrad.tensor([1.0], requires_grad=True)], lr=0.5)
    >>> isinstance(optimizer, Optimizer)
    True
    >>> optimizer.lr = 0.1
    """

    #: names of the hyperparameters, and of the arrays that may be kept per parameter
    hyperparameters: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()

    def __init__(self, params: Iterable[Tensor]) -> None:
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            got = "a Tensor" if isinstance(params, Tensor) else type(params).__name__
            raise TypeError(f"params: expected an iterable of tensors, got {got}")
        self.params = list(params)
        if not self.params:
            raise ValueError("params: expected at least one tensor, got none")
        for param in self.params:
            if not isinstance(param, Tensor):
                raise TypeError(f"params: expected tensors, got {type(param).__name__}")
            if not (param.is_leaf and param.requires_grad):
                raise ValueError("params: expected leaf tensors that require a gradient")
        if len(set(self.params)) < len(self.params):
            raise ValueError("params: expected each tensor once")
        #: per parameter: what the optimiser remembers of it; empty before its first gradient
        self.state: list[dict[str, Any]] = [{} for _ in self.params]

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters; without `set_to_none` they stay, all 0."""
        forget_gradients(self.params, set_to_none)

    def step(self) -> None:
        """Update every parameter that has a gradient, in place. Where an error is raised nothing has changed."""
        if mode.recorder is not None:
            mode.recorder.hooks.append(RecordedStep(self, mode.recorder, _straight))
            return
        for param, state, name, arrays, numbers, new in self._updates():
            _update(name, arrays, numbers)
            self._finish(param, state, arrays[0], new)

    def _finish(self, param: Tensor, state: dict[str, Any], p: Any, new: dict[str, Any]) -> None:
        if not _straight(param._data):
            param._data[...] = p.reshape(param.shape)
        state.update(new)
        note_mutation(param._data)

    def _updates(self) -> list[tuple[Any, ...]]:
        """What a step does, nothing of it done: (parameter, its state, row, flat arrays, numbers, its state after)."""
        if len(self.state) != len(self.params):
            raise ValueError(f"state: expected one for each of {len(self.params)} params, got {len(self.state)}")
        numbers = {name: getattr(self, name) for name in self.hyperparameters}
        self._check(**numbers)
        used = self._used(**numbers)
        ready = [
            (param, state, self._ready(i, param, state, used))
            for i, (param, state) in enumerate(zip(self.params, self.state, strict=True))
            if param.grad is not None
        ]
        updates = []
        for param, state, (p, g, new) in ready:
            name, values = self._rule(new["step"])
            memory = [new[one].reshape(-1) for one in UPDATES[name].memory]
            updates.append((param, state, name, (p, g, *memory), tuple(map(p.dtype.type, values)), new))
        return updates

    def _ready(self, i: int, param: Tensor, state: dict[str, Any], used: tuple[str, ...]) -> tuple[Any, Any, Any]:
        """What an update takes of parameter i: it and its gradient as flat arrays in C order (of a parameter in
        another order a copy), and its state after the step, arrays that are to be updated. ValueError for what
        cannot be updated.
        """
        p, g = param._own(), param.grad._data  # type: ignore[union-attr]
        here = on_cpu(p)
        if here and not p.flags.writeable:
            raise ValueError(f"params: expected writeable arrays to update in place, got a read-only one at {i}")
        new: dict[str, Any] = {"step": state.get("step", 0) + 1}
        for name in used:
            array = state[name] if name in state else zeros(p.shape, p)
            if not here or not on_cpu(array):  # else the parameter was not moved
                array = move(array, param.device)
            new[name] = np.array(array) if here and not array.flags.carray else array
        for name, array in (("grad", g), *new.items()):
            if name == "step" or (array.shape == p.shape and array.dtype == p.dtype and on_cpu(array) == here):
                continue
            got = f"{array.dtype} {array.shape} on {device_name(array)}"
            raise ValueError(
                f"params: expected {name} as the parameter at {i}, {p.dtype} {p.shape} on {param.device}, got {got}"
            )
        p, g = ((a if _straight(a) else a.copy()).reshape(-1) for a in (p, g))
        return p, g, new

    def _check(self, **numbers: Any) -> None:
        """ValueError for hyperparameters that do not go together."""

    def _used(self, **numbers: Any) -> tuple[str, ...]:
        """The names of the arrays that a step with these hyperparameters updates."""
        return self.arrays

    def _rule(self, step: int) -> tuple[str, tuple[float, ...]]:
        """The name of this step's row of `nbgrad.formulas.updates`, and the numbers that its formula takes."""
        raise NotImplementedError("an Optimizer needs a method _rule(step)")

    def state_dict(self) -> dict[str, Any]:
        """Hyperparameters and memory in one flat dict: numbers, and copies of arrays named "0.exp_avg" and so
        on.
        """
        out: dict[str, Any] = {name: getattr(self, name) for name in self.hyperparameters}
        used = self._used(**out)
        for i, (param, state) in enumerate(zip(self.params, self.state, strict=True)):
            if state:
                out[f"{i}.step"] = state["step"]
            for name in self.arrays:
                if name in state:
                    out[f"{i}.{name}"] = move(state[name], "cpu").copy()
                elif state and name in used:  # of use from the next step on
                    out[f"{i}.{name}"] = np.zeros(param.shape, param.dtype)
        return out

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned, bitwise; numbers may be arrays of dimension 0, as from an
        npz file.

        ValueError or TypeError, with nothing changed, where names, shapes, dtypes or numbers are not those of this
        optimiser and its parameters.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"state_dict: expected a dict, got {type(state_dict).__name__}")
        rest = dict(state_dict)
        missing = [name for name in self.hyperparameters if name not in rest]
        if missing:
            raise ValueError(f"state_dict: {missing[0]} is missing")
        try:
            values = {name: getattr(type(self), name).check(rest.pop(name)) for name in self.hyperparameters}
            self._check(**values)
        except (TypeError, ValueError) as error:
            raise type(error)(f"state_dict: {error}") from None
        used = self._used(**values)
        states: list[dict[str, Any]] = [{} for _ in self.params]
        for i, (param, state) in enumerate(zip(self.params, states, strict=True)):
            names = [name for name in ("step", *self.arrays) if f"{i}.{name}" in rest]
            if names and not {"step", *used} <= {*names}:
                raise ValueError(f"state_dict: expected all of {('step', *used)} for parameter {i}, got {names}")
            for name in names:
                state[name] = self._loaded(f"state_dict: {i}.{name}", rest.pop(f"{i}.{name}"), param, name == "step")
        if rest:
            raise ValueError(f"state_dict: {sorted(map(str, rest))[0]} is not expected")
        self.state = states
        for name, value in values.items():
            setattr(self, name, value)

    @staticmethod
    def _loaded(where: str, value: Any, param: Tensor, is_step: bool) -> Any:
        array = np.array(as_array(value, where))
        shape = () if is_step else param.shape
        if array.shape != shape:
            raise ValueError(f"{where}: expected shape {shape}, got {array.shape}")
        if is_step:
            if array.dtype.kind not in "iu" or array < 1:
                raise ValueError(f"{where}: expected a number of steps, got {value}")
            return int(array)
        if not np.can_cast(array.dtype, param.dtype, "same_kind"):
            raise TypeError(f"{where}: expected {param.dtype}, got {array.dtype}")
        return move(array.astype(param.dtype, order="C"), param.device)
