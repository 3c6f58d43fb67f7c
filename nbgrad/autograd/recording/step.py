"""`compile`: a function of tensors that is recorded at its first call and replayed at the next ones."""

from __future__ import annotations

import functools
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.autograd.modes import mode
from nbgrad.autograd.recording import plug_in  # noqa: F401 (what recorded arrays are asked by)
from nbgrad.autograd.recording.captured import Captures, constant
from nbgrad.autograd.recording.outcome import Outcome
from nbgrad.autograd.recording.plan import Plan
from nbgrad.autograd.recording.recorded import OnGpu, Recorded, refuse
from nbgrad.autograd.recording.recorder import Recorder
from nbgrad.autograd.tape import Leaf, mutations, note_mutation, owner
from nbgrad.autograd.tensor import Tensor

__all__ = ["Step", "compile"]

_ndarray = np.ndarray
#: Recordings that a step keeps; beyond them the oldest goes.
MOST = 64
#: And for one kind of arguments, in different states of gradients and modules.
STATES = 8


class _Recording(Outcome):
    """A plan, what must be as it was when it was recorded, and what comes out."""

    def __init__(self, recorder: Recorder, given: list[Any], arrays: list[Any], output: Any) -> None:
        super().__init__(recorder, given)
        apart = functools.partial(recorder.apart, arguments={id(a) for a in arrays})
        kept = []
        for holder in recorder.holders:  # what somebody has kept: what is returned, gradients, attributes
            if (tensor := holder()) is not None and id(tensor) not in self.own:
                tensor._data = apart(tensor._data)
                kept.append(tensor._data)
        self.tree = self.shape(output, lambda value: apart(value.array), lambda value: type(value) is Recorded)
        kept += [value for kind, value in self.outputs if kind in ("copy", "array")]
        self.plan = Plan(recorder, arrays, kept)
        written = {recorder.root(a): a for i in self.plan.instructions for a in i.writes}
        self.written = [k for k, a in enumerate(arrays) if id(a) in written]
        lasting = recorder.outside | {recorder.root(a) for a in kept}
        memories = [owner(a) for root, a in written.items() if root in lasting]
        self.mutated = [(id(a), weakref.ref(a, functools.partial(mutations.pop, id(a)))) for a in memories]

    def replay(self, arrays: list[Any]) -> None:
        try:
            self.plan.replay(arrays)
        except BaseException:
            for node in self.lost:
                node._grad = None
            raise
        for k in self.written:
            note_mutation(arrays[k])
        self.done()


class Step:
    """What `nbgrad.compile` returns: called as the function."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self._recordings: dict[Any, list[_Recording]] = {}
        self._lock = threading.RLock()
        self._last: Any = None
        self._captures = Captures(function)
        self._elsewhere: set[Any] = set()  # kinds of arguments, none on a GPU, with which the function computes on one

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
                    if not isinstance(data, np.generic) or (data is value and not isinstance(data, np.floating)):
                        if on_device(data):
                            return self._captured(args, keywords, given)
                        key.append(constant(data))
                        continue
                    data = np.array(data)
                if isinstance(value, Tensor) and value._node is not None:
                    if type(value._node) is not Leaf:
                        raise ValueError("compile: expected tensors without a graph as arguments; use detach()")
                    key.append(value)
                    continue
                key += (data.shape, data.dtype, isinstance(value, Tensor))
                if not data.flags.carray:
                    data = data.copy()
                    key.append("copied")
                arrays.append(data)
            if len(arrays) > 1 and len({*map(id, arrays)}) < len(arrays):
                key.append(tuple([id(a) == id(b) for a in arrays for b in arrays]))
            key = tuple(key)
            if key in self._elsewhere:
                return self._captured(args, keywords, given)
            for recording in self._recordings.get(key, ()):
                if recording.holds():
                    recording.replay(arrays)
                    break
            else:
                try:
                    recording = self._record(key, args, keywords, list(given), arrays)
                except OnGpu:
                    self._elsewhere.add(key)
                    return self._captured(args, keywords, given)
            self._last = recording
            return recording.result(recording.tree, list(given))

    def _captured(self, args: Any, keywords: Any, given: Any) -> Any:
        """A call on a GPU."""
        self._last, result = self._captures(args, keywords, list(given))
        return result

    def _record(self, key: Any, args: Any, keywords: Any, given: list[Any], arrays: list[Any]) -> _Recording:
        recorder = Recorder()
        own = [array.copy() for array in arrays]  # memory of its own, so that views of it are told from views of others
        with recorder.running():
            values, left = [], iter(own)
            for value in given:
                of_tensor = isinstance(value, Tensor)
                if not (of_tensor and value._node is None) and not isinstance(value, np.ndarray | np.floating):
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
    def plan(self) -> Any:
        """What the last call ran; None before the first. Printed it has a line for each call of a compiled loop, on a
        GPU for each kernel of nbgrad's and each product (CuPy's copies and additions are not told).
        """
        return None if self._last is None else self._last.plan


def compile(function: Callable[..., Any]) -> Step:
    """Record a function of tensors at its first call, and replay it at the next ones, without Python in between.

    The function may go forward, backward and an optimiser's step, or a part of that. While it is recorded it runs
    eagerly; what it does to arrays becomes a list of calls of compiled functions on memory that stays: chains of
    elementwise operations as one loop, products in BLAS, updates in place. Arguments of other shapes and dtypes are
    recorded anew, as are other values of arguments that are no tensors or arrays (NumPy's floats count as arrays).
    ``print(step.plan)`` shows what runs.

    Tensors and arrays that the function reads from globals, closures and attributes are a part of the recording: their
    values at each replay are used, also of parameters changed in between (a parameter that is another object, or holds
    another array, is recorded anew). So are learning rates and the other numbers of optimisers, whether modules are in
    training, and generators of dropout, whose next numbers each replay draws, as eager code does. Other numbers and
    settings of Python's, and what NumPy and kernels make of arrays alone, are as they were when it was recorded.

    Results are eager code's to a few ulp (exp and log of tensors are nbgrad's; sums and products the same), without
    NumPy's warnings. What is returned is outside the graph and has memory of its own. Gradients are written to the same
    memory at each replay: ``w.grad`` of an earlier one changes (clone() what is to be kept); where it is not set to
    None inside it is added to, as ever. One thread at a time; the others wait.

    Of tensors on a GPU the step runs eagerly at the first two calls, at the third it is captured as a CUDA graph, which
    is launched as a whole from then on, in the current stream; results are eager code's to the bit. Arguments are
    copied into memory of the graph's, from the CPU's memory, too, but what else it computes with lies on the GPU.
    Labels out of range are told by the next call, as ever there.

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
        ``numpy()``, ``float(t)``; picking by a mask; a way between CPU and GPU; stacks of matrices in a product on a
        GPU; where a tensor with a graph is returned.

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
