"""What a peer can be asked for. A peer that has no such function answers with nothing: "not there"."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Calls", "Peer", "as_arrays"]

#: (direction, memory): call
Calls = dict[tuple[str, str], Callable[[], Any]]


class Peer:
    """One library, as its users call it. ``title`` is its name in tables.

    Every call returns its results, so that they can be compared; the arrays given are shared with the other
    candidates, but for ``out`` and its like, which are this peer's alone.
    """

    title: str
    #: (function, direction): how far its result is off, relative to the largest; what it is said of was looked into
    rough: dict[tuple[str, str], float] = {}

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        """ "forward": op(x); "backward": g·op'(x)."""
        return {}

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        """A row function of the table, or logsumexp: "forward", "backward" for g."""
        return {}

    def maxout(self, x: Any, g: Any, pieces: int, out: Any, grad_out: Any) -> Calls:
        """ "forward": the maximum of each ``pieces`` neighbours; "backward" for g."""
        return {}

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        """ "value" and "value_and_grad" of the mean over all elements."""
        return {}

    def cross_entropy(self, x: Any, labels: Any) -> Calls:
        """ "value" and "value_and_grad" of the mean over all rows."""
        return {}

    def regression(self, model: str, params: Any, X: Any, y: Any) -> Calls:
        """ "value_and_grad" of the mean loss, without penalty; params (classes, features + 1) or (features + 1,)."""
        return {}

    def formula(self, name: str, body: Callable[..., Any], arguments: list[Any]) -> Calls:
        """ "value_and_grad" of the sum of ``body(functions, *arguments)`` in all arguments, arrays and numbers."""
        return {}

    def graph(self) -> Calls:
        """ "both": the five derivatives of L = 10 − (w3·w1·a + w4·w2·a)."""
        return {}

    def chain(self, name: str, length: int) -> Calls:
        """ "forward" and "both" of ``length`` operations on one number (`bench.suites.autograd`)."""
        return {}

    def mlp_step(self, weights: list[Any], x: Any, labels: Any) -> Calls:
        """ "step": loss and gradients of a network of linear layers with ReLU between, weights (outputs, inputs)."""
        return {}

    def trainer(self, weights: list[Any], lr: float) -> Any:
        """`bench.suites.training.Trainer`, or None."""
        return None

    def function(self, name: str, direction: str, op: Any) -> Callable[[Any], Any] | None:
        """ "value" or "gradient" of a function of an array, for its accuracy; ``op`` None for the elementary ones."""
        return None


def _array(value: Any) -> Any:
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    elif hasattr(value, "__cuda_array_interface__"):
        value = value.get()
    array = np.asarray(value).astype(np.float64) if np.ndim(value) == 0 else np.asarray(value)
    if array.size > 1 << 20:  # a part of it, from end to end
        flat = array.reshape(-1)
        array = flat[:: array.size >> 17]
    return np.array(array, dtype=np.float64)


def as_arrays(result: Any) -> list[Any]:
    """What a call returned, as arrays of their own in float64; of large ones every n-th element."""
    return [_array(r) for r in result] if isinstance(result, (tuple, list)) else [_array(result)]
