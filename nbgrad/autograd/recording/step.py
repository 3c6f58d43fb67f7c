"""`compile`: a function of tensors that is recorded at its first call and replayed at the next ones."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.autograd.modes import mode
from nbgrad.autograd.recording import plug_in  # noqa: F401 (what recorded arrays are asked by)
from nbgrad.autograd.recording.plan import Plan
from nbgrad.autograd.recording.recorded import Recorded, refuse
from nbgrad.autograd.recording.recorder import Recorder
from nbgrad.autograd.tape import Leaf, mutations, next_order, note_mutation, owner
from nbgrad.autograd.tensor import Tensor

__all__ = ["Step", "compile"]

_new, _ndarray = object.__new__, np.ndarray
#: Recordings that a step keeps; beyond them the oldest goes.
MOST = 64
#: And for one kind of arguments, in different states of gradients and modules.
STATES = 8


class _Recording:
    """A plan, what must be as it was when it was recorded, and what comes out."""

    def __init__(self, recorder: Recorder, given: list[Any], arrays: list[Any], output: Any) -> None:
        own = {id(value) for value in given}
        alive = [(ref(), array) for ref, array in recorder.tensors.values()]
        self.tensors = [(t, array, t._node) for t, array in alive if t is not None and id(t) not in own]
        known = {id(t) for t, *_ in self.tensors} | own
        self.modules, self.hooks = list(recorder.modules.values()), recorder.hooks
        leaves = list(recorder.leaves.values())
        self.grads = [(node, before) for node, before, reading in leaves if reading]
        self.set_grads = [(node, node._grad) for node, before, _ in leaves if node._grad is not before]
        self.lost = [node for node, before, reading in leaves if not reading]
        self.outputs: list[Any] = []
        apart = functools.partial(recorder.apart, arguments={id(a) for a in arrays})
        kept = []
        for holder in recorder.holders:  # what somebody has kept: what is returned, gradients, attributes
            if (tensor := holder()) is not None and id(tensor) not in own:
                tensor._data = apart(tensor._data)
                kept.append(tensor._data)
        self.tree = self._shape(output, given, known, apart)
        kept += [value for kind, value in self.outputs if kind in ("copy", "array")]
        self.plan = Plan(recorder, arrays, kept)
        written = {recorder.root(a): a for i in self.plan.instructions for a in i.writes}
        self.written = [k for k, a in enumerate(arrays) if id(a) in written]
        lasting = recorder.outside | {recorder.root(a) for a in kept}
        memories = [owner(a) for root, a in written.items() if root in lasting]
        #: what graphs of others, made before a replay, must not use after it
        self.mutated = [(id(a), weakref.ref(a, functools.partial(mutations.pop, id(a)))) for a in memories]

    def _shape(self, value: Any, given: list[Any], known: set[int], apart: Any) -> Any:
        """The tree of what is returned, with numbers of `outputs` for tensors."""
        if isinstance(value, Tensor):
            for k, one in enumerate(given):
                if one is value:
                    return self._output("argument", k)
            if id(value) in known:
                return self._output("same", value)
            node = value._node
            if node is not None and type(node) is not Leaf and node._edges is not None:
                raise RuntimeError(
                    "compile: expected tensors without a graph to be returned, as a replay makes none: call backward() "
                    "within, return t.detach(), or compute under no_grad()"
                )
            return self._output("copy", value._data)
        if type(value) is Recorded:
            return self._output("array", apart(value.array))
        if isinstance(value, dict):
            return {key: self._shape(one, given, known, apart) for key, one in value.items()}
        if isinstance(value, tuple | list):
            parts = [self._shape(one, given, known, apart) for one in value]
            return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
        return value

    def _output(self, kind: str, value: Any) -> Any:
        self.outputs.append((kind, value))
        return _Number(len(self.outputs) - 1)

    def holds(self) -> bool:
        """Whether the world is still as it was recorded."""
        for tensor, array, node in self.tensors:
            if tensor._data is not array or tensor._node is not node:
                return False
        for node, before in self.grads:
            if node._grad is not before:
                return False
        for module, training in self.modules:
            if module.training is not training:
                return False
        for hook in self.hooks:
            if not hook.prepare():
                return False
        return True

    def replay(self, arrays: list[Any]) -> None:
        try:
            self.plan.replay(arrays)
        except BaseException:
            for node in self.lost:
                node._grad = None
            raise
        for node, grad in self.set_grads:
            node._grad = grad
        order = next_order()
        for key, memory in self.mutated:
            mutations[key] = memory, order
        for k in self.written:
            note_mutation(arrays[k])
        for hook in self.hooks:
            hook.done()

    def result(self, given: list[Any]) -> Any:
        """What the step returns, in memory of its own."""
        made = []
        for kind, value in self.outputs:
            if kind == "copy":
                out = _new(Tensor)
                out._data, out._node, out._view_of = value.copy() if value.ndim else value[()], None, None
                made.append(out)
            else:
                made.append(given[value] if kind == "argument" else value if kind == "same" else value.copy())
        if type(self.tree) is _Number:
            return made[self.tree]
        return _filled(self.tree, made) if made else self.tree


class _Number(int):
    """In a tree of results: the number of one."""


def _filled(tree: Any, made: list[Any]) -> Any:
    if type(tree) is _Number:
        return made[tree]
    if isinstance(tree, dict):
        return {key: _filled(one, made) for key, one in tree.items()}
    if isinstance(tree, tuple | list):
        parts = [_filled(one, made) for one in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
    return tree


class Step:
    """What `nbgrad.compile` returns: called as the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._recordings: dict[Any, list[_Recording]] = {}
        self._lock = threading.RLock()
        self._last: _Recording | None = None

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else types.MethodType(self, instance)

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if mode.recorder is not None:  # a part of another step
            return self.function(*args, **keywords)
        given = [*args, *keywords.values()] if keywords else args
        with self._lock:
            key: Any = [mode.enabled, *keywords] if keywords else [mode.enabled]
            arrays: list[Any] = []
            for value in given:
                data = value._data if isinstance(value, Tensor) else value
                if type(data) is not _ndarray:
                    if not isinstance(data, np.generic):
                        key.append(_constant(data))
                        continue
                    data = np.array(data)
                if isinstance(value, Tensor) and value._node is not None:
                    if type(value._node) is not Leaf:
                        raise ValueError("compile: expected tensors without a graph as arguments; use detach()")
                    key.append(value)
                    continue
                key += (data.shape, data.dtype, type(value) is _ndarray)
                if not data.flags.carray:
                    data = data.copy()
                    key.append("copied")
                arrays.append(data)
            if len(arrays) > 1 and len({*map(id, arrays)}) < len(arrays):
                key.append(tuple([id(a) == id(b) for a in arrays for b in arrays]))
            key = tuple(key)
            for recording in self._recordings.get(key, ()):
                if recording.holds():
                    recording.replay(arrays)
                    break
            else:
                recording = self._record(key, args, keywords, list(given), arrays)
            self._last = recording
            return recording.result(list(given))

    def _record(self, key: Any, args: Any, keywords: Any, given: list[Any], arrays: list[Any]) -> _Recording:
        recorder = Recorder()
        own = [array.copy() for array in arrays]  # memory of its own, so that views of it are told from views of others
        with recorder.running():
            values, left = [], iter(own)
            for value in given:
                of_tensor = isinstance(value, Tensor)
                if not (of_tensor and value._node is None) and type(value) is not _ndarray:
                    values.append(value)
                    continue
                wrapped = recorder.given(next(left))
                if of_tensor:  # a tensor of its own, so that what is done to it is not done to the caller's
                    value = Tensor(wrapped)
                values.append(value if of_tensor else wrapped)
            named = dict(zip(keywords, values[len(args) :], strict=True))
            output = self.function(*values[: len(args)], **named)
        recording = _Recording(recorder, values, own, output)
        for k in recording.written:
            if "copied" in key or type(key[-1]) is tuple:
                refuse("a change in place of an argument that does not lie in C order, or that comes twice,")
            arrays[k][...] = own[k]
            note_mutation(arrays[k])
        if len(self._recordings) >= MOST:
            del self._recordings[next(iter(self._recordings))]
        self._recordings[key] = [recording, *self._recordings.get(key, ())][:STATES]
        return recording

    @property
    def plan(self) -> Plan | None:
        """What the last call ran; None before the first. Printed it has a line for each call of a compiled loop."""
        return None if self._last is None else self._last.plan


def _constant(value: Any) -> Any:
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


def compile(function: Callable[..., Any]) -> Step:
    """Record a function of tensors at its first call, and replay it at the next ones, without Python in between.

    The function may go forward, backward and an optimiser's step, or a part of that. While it is recorded it runs
    eagerly; what it does to arrays becomes a list of calls of compiled functions on memory that stays: chains of
    elementwise operations as one loop, products in BLAS, updates in place. Arguments of other shapes and dtypes are
    recorded anew, as are other values of arguments that are no tensors or arrays. ``print(step.plan)`` shows what runs.

    Tensors and arrays that the function reads from globals, closures and attributes are a part of the recording: their
    values at each replay are used, also of parameters changed in between (a parameter that is another object, or holds
    another array, is recorded anew). So are learning rates and the other numbers of optimisers, whether modules are in
    training, and generators of dropout, whose next numbers each replay draws, as eager code does. Other numbers and
    settings of Python's, and what NumPy and kernels make of arrays alone, are as they were when it was recorded.

    Results are eager code's to a few ulp (exp and log of tensors are nbgrad's; sums and products the same), without
    NumPy's warnings. What is returned is outside the graph and has memory of its own. Gradients are written to the same
    memory at each replay: ``w.grad`` of an earlier one changes (clone() what is to be kept); where it is not set to
    None inside it is added to, as ever. One thread at a time; the others wait.

    Parameters
    ----------
    function : function
        Of tensors, NumPy's arrays (within it their operations are recorded, too) and constants, not in lists. It
        returns tensors, in tuples and dicts if it likes, whose graph a backward() inside has used up.

    Returns
    -------
    Step
        Called as the function.

    Raises
    ------
    RuntimeError
        At a call, naming the line, where something cannot be recorded: a decision by a tensor's value, ``item()``,
        ``numpy()``, ``float(t)``; picking by a mask; a tensor on a GPU; where a tensor with a graph is returned.

    Examples
    --------
    >>> import numpy as np, nbgrad
    >>> from nbgrad import functional, nn, optim
    >>> net = nn.Linear(4, 3, rng=np.random.default_rng(0))
    >>> optimizer = optim.Adam(net.parameters(), lr=0.1)
    >>> @nbgrad.compile
    ... def step(x, labels):
    ...     optimizer.zero_grad()
    ...     loss = functional.cross_entropy(net(x), labels)
    ...     loss.backward()
    ...     optimizer.step()
    ...     return loss
    >>> x, labels = nbgrad.tensor(np.eye(4, dtype=np.float32)), np.array([0, 1, 2, 0])
    >>> losses = [step(x, labels).item() for _ in range(100)]
    >>> losses[-1] < 0.02
    True
    """
    return Step(function)
