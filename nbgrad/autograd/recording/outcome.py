"""`Outcome`: what must be as it was when a step ran, for its recording to hold, and what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbgrad.autograd.tape import Leaf, mutations, next_order
from nbgrad.autograd.tensor import Tensor

__all__ = ["Outcome"]

_new = object.__new__


class Outcome:
    """Of one run, noted by a recorder, with these arguments, tensors of their own among them."""

    def __init__(self, recorder: Any, given: list[Any]) -> None:
        self.given, self.own = given, {id(value) for value in given}
        alive = [(ref(), array) for ref, array in recorder.tensors.values()]
        self.tensors = [(t, array, t._node) for t, array in alive if t is not None and id(t) not in self.own]
        self.known = {id(t) for t, *_ in self.tensors} | self.own
        self.modules, self.hooks = list(recorder.modules.values()), recorder.hooks
        leaves = list(recorder.leaves.values())
        self.grads = [(node, before) for node, before, reading in leaves if reading]
        self.set_grads = [(node, node._grad) for node, before, _ in leaves if node._grad is not before]
        self.lost = [node for node, before, reading in leaves if not reading]
        self.outputs: list[Any] = []
        #: what graphs of others, made before a replay, must not use after it
        self.mutated: list[tuple[int, Any]] = []

    def shape(self, value: Any, apart: Callable[[Any], Any], is_array: Callable[[Any], bool]) -> Any:
        """The tree of what is returned, with numbers of `outputs` for tensors; ``apart`` makes of an array one that
        may be read when the run is over.
        """
        if isinstance(value, Tensor):
            for k, one in enumerate(self.given):
                if one is value:
                    return self._output("argument", k)
            if id(value) in self.known:
                return self._output("same", value)
            node = value._node
            if node is not None and type(node) is not Leaf and node._edges is not None:
                raise RuntimeError(
                    "compile: expected tensors without a graph to be returned, as a replay makes none: call backward() "
                    "within, return t.detach(), or compute under no_grad()"
                )
            return self._output("copy", value._data)
        if is_array(value):
            return self._output("array", apart(value))
        if isinstance(value, dict):
            return {key: self.shape(one, apart, is_array) for key, one in value.items()}
        if isinstance(value, tuple | list):
            parts = [self.shape(one, apart, is_array) for one in value]
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

    def done(self) -> None:
        """After a replay: Python's part of it."""
        for node, grad in self.set_grads:
            node._grad = grad
        order = next_order()
        for key, memory in self.mutated:
            if memory() is not None:
                mutations[key] = memory, order
        for hook in self.hooks:
            hook.done()

    @staticmethod
    def copied(value: Any) -> Any:
        """A tensor's data of its own."""
        return value.copy() if value.ndim else value[()]

    def result(self, tree: Any, given: list[Any]) -> Any:
        """What the step returns, in memory of its own."""
        made = []
        for kind, value in self.outputs:
            if kind == "copy":
                out = _new(Tensor)
                out._data, out._node, out._view_of = self.copied(value), None, None
                made.append(out)
            else:
                made.append(given[value] if kind == "argument" else value if kind == "same" else value.copy())
        if type(tree) is _Number:
            return made[tree]
        return _filled(tree, made) if made else tree


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
