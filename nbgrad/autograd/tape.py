"""The tape: a node for each recorded operation, and the pass that carries gradients back over the nodes.

This file knows arrays and nodes, no tensors. A tensor that takes part in a graph points to its node; a node
points to the nodes of its operation's inputs (`_edges`), never to tensors: no reference cycles, so a dropped
graph is freed at once.

A pass is a loop over a heap, not a recursion: a chain of 100 000 operations is no special case. Nodes are
numbered as they are made, so a node's consumers all have later numbers, and taking the latest node first
means that its gradient is complete.

What happens in a backward pass is not recorded itself: there are no second derivatives.
"""

from __future__ import annotations

import heapq
import itertools
import weakref
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import add_up
from nbgrad.autograd.modes import enable_grad, is_grad_enabled, mode, no_grad

__all__ = [
    "Leaf", "Node", "enable_grad", "is_grad_enabled", "mode", "mutations", "next_order", "no_grad", "note_mutation",
    "owner", "propagate",
]  # fmt: skip

# Counts downwards: heapq gives the smallest first, and that is to be the latest node.
next_order: Callable[[], int] = itertools.count(0, -1).__next__

# Up to this size a node keeps its result for `plot_graph`; of a larger one only a weak reference. Keeping all
# would pin every intermediate array: 400 MB for a chain of 100 000 additions of 1000 float32, where the rule
# keeps none.
_KEPT_SIZE = 64


class Node:
    """A recorded operation: what `tensor.grad_fn` shows. Subclasses say how to compute and how to
    differentiate.

    `forward(*arrays)` returns the result and puts into `_saved` what the derivative needs; `vjp(gradient)`
    takes the gradient with respect to the result and returns a tuple with one gradient per input, where
    anything may stand for an input that needs none (its entry in `_edges` is None). Neither changes its
    arguments. A gradient of the broadcast shape or of another float dtype is reduced to the input's by
    `propagate`: the rules need not know about broadcasting.
    """

    __slots__ = ("_dtype", "_edges", "_grad", "_order", "_retain", "_saved", "_shape", "_value")
    _edges: tuple[Node | None, ...] | None  # None: freed
    _order: int | None
    _shape: Any
    _dtype: Any
    _value: Any
    _retain: bool
    _grad: Any
    _saved: Any

    # True where vjp may hand on a view of its argument, or an array that it keeps: a leaf must copy those. (That it
    # hands on the argument itself is seen.)
    _shares = False

    forward: Callable[..., Any]

    def vjp(self, gradient: Any) -> Iterable[Any]:
        raise NotImplementedError

    def name(self) -> str:
        """The operation's name with "Backward" behind it."""
        return type(self).__name__ + "Backward"

    def __repr__(self) -> str:
        return f"<{self.name()}>"

    @property
    def next_functions(self) -> tuple[tuple[Node | None, int], ...]:
        """Per input (node, number of that node's output); (None, 0) where no gradient is needed."""
        return tuple((None, 0) if edge is None else edge._as_next() for edge in self._live_edges())

    def _as_next(self) -> tuple[Node, int]:
        return self, 0

    def _live_edges(self) -> tuple[Node | None, ...]:
        if self._edges is None:
            raise RuntimeError(f"{self.name()}: an earlier backward() freed the graph; give that one retain_graph=True")
        return self._edges

    @np.errstate(all="ignore")
    def backward(self, *grad_outputs: Any) -> tuple[Any, ...]:
        """One step of the chain rule by hand: from the gradient of the output, a Tensor, those of the inputs.

        Returns a tuple, an entry per entry of `next_functions`; None where no gradient is needed. Nothing is
        freed and no `.grad` changes, except by the `backward` of an AccumulateGrad, which adds to its leaf's
        `.grad`.

        >>> import nbgrad
        >>> w, a = (nbgrad.tensor(v, requires_grad=True) for v in (3.0, 5.0))
        >>> b = w * a
        >>> b.grad_fn.backward(nbgrad.tensor(1.0))
        (tensor(5.), tensor(3.))
        """
        edges = self._live_edges()
        cls, arrays = self._arrays(grad_outputs)
        check_unmodified(self)
        grads = self._by_hand(arrays)
        return tuple(
            None if edge is None or g is None else cls(fit(g, edge)) for edge, g in zip(edges, grads, strict=True)
        )

    __call__ = backward

    def _arrays(self, grad_outputs: tuple[Any, ...]) -> tuple[type, list[Any]]:
        shapes = self._output_shapes()
        if len(grad_outputs) != len(shapes):
            raise TypeError(f"{self.name()}: expected {len(shapes)} gradients, one per output, got {len(grad_outputs)}")
        for grad, shape in zip(grad_outputs, shapes, strict=True):
            if not isinstance(grad, TensorBase):
                raise TypeError(f"grad_output: expected a Tensor, got {type(grad).__name__}")
            if grad._data.shape != shape:
                raise ValueError(f"grad_output: expected shape {shape}, got {grad._data.shape}")
        return type(grad_outputs[0]), [grad._data for grad in grad_outputs]

    def _output_shapes(self) -> list[tuple[int, ...]]:
        return [self._shape]

    def _by_hand(self, arrays: list[Any]) -> Iterable[Any]:
        return self.vjp(arrays[0])


class Leaf(Node):
    """The node of a leaf tensor that requires a gradient; `_grad` is the Tensor that is its `.grad`.

    The gradient lives here, not in the tensor, so the graph need not hold the tensor.
    """

    __slots__ = ("_variable",)

    def __init__(self, variable: Any) -> None:
        data = variable._data
        self._edges, self._order, self._retain, self._saved, self._grad = (), None, False, None, None
        self._shape, self._dtype, self._variable = data.shape, data.dtype, weakref.ref(variable)
        self._value = None

    @property
    def variable(self) -> Any:
        """The leaf tensor; None where it is gone."""
        return self._variable()

    def name(self) -> str:
        return "AccumulateGrad"

    def backward(self, *grad_outputs: Any) -> tuple[Any, ...]:
        """Add a gradient, a Tensor, to the leaf's `.grad`."""
        cls, (array,) = self._arrays(grad_outputs)
        accumulate(self, fit(array, self).copy(), cls)
        return ()

    __call__ = backward


def accumulate(node: Node, gradient: Any, wrap: Callable[[Any], Any]) -> None:
    """Add an array of the caller's own to a node's `.grad`; `wrap` makes a tensor of it. A leaf that at the moment
    requires no gradient gets none.
    """
    if type(node) is Leaf and node.variable is not None and node.variable._node is not node:
        return
    if mode.recorder is not None:
        mode.recorder.touch(node, True)
    if node._grad is None:
        node._grad = wrap(gradient)
    else:
        with np.errstate(all="ignore"):
            node._grad._data += gradient


@np.errstate(all="ignore")
def propagate(root: Node, seed: Any, *, retain_graph: bool = False, every_node: bool = False) -> dict[Node, Any]:
    """The gradients of `root`, given its own (`seed`), with respect to all leaves and to the nodes that
    retain theirs.

    `every_node`: those of all nodes. The arrays are the caller's own. Each node that was passed is freed
    unless `retain_graph`.
    """
    result: dict[Node, Any] = {}
    if root._order is None:  # a leaf
        return {root: seed.copy()}
    pending = {root._order: seed}
    heap: list[Any] = [(root._order, root)]
    while heap:
        order, node = heapq.heappop(heap)
        gradient = pending.pop(order)
        edges = node._edges
        if edges is None:
            raise RuntimeError(
                f"backward: an earlier backward() freed the graph at {node.name()}; pass it retain_graph=True"
            )
        if mutations:
            check_unmodified(node)
        if node._retain or every_node:
            result[node] = gradient.copy()
        grads = node.vjp(gradient)
        if not retain_graph:
            node._edges = node._saved = None
        for edge, g in zip(edges, grads):  # noqa: B905 (strict costs 5 % on scalars; the rules are tested)
            if edge is None or g is None:
                continue
            if g.shape != edge._shape or g.dtype is not edge._dtype:
                g = fit(g, edge)
            order = edge._order
            if order is None:
                total = result.get(edge)
                if total is None:
                    result[edge] = g.copy() if g is gradient or node._shares else g
                else:
                    total += g
                    result[edge] = total
            elif order in pending:
                # not in place: the first may be an array that somebody else has
                pending[order] = pending[order] + g
            else:
                pending[order] = g
                heapq.heappush(heap, (order, edge))
    return result


def fit(gradient: Any, node: Node) -> Any:
    """A gradient in the shape and dtype of the node's output: summed over the axes that broadcasting had
    added or stretched.
    """
    shape = node._shape
    if gradient.shape != shape:
        extra = gradient.ndim - len(shape)
        stretched = (i + extra for i, n in enumerate(shape) if n == 1)
        gradient = add_up(gradient, (*range(extra), *stretched)).reshape(shape)
    return gradient if gradient.dtype == node._dtype else gradient.astype(node._dtype)


# Arrays that were changed in place: id of the owner of the memory -> (weak reference to it, when). "When" is
# a node number, so a node knows whether an array that it saved was changed after it. That costs nothing as
# long as nothing is changed; a version counter in each tensor costs 30 ns for each result. An array's owner
# stands for all its views.
mutations: dict[int, tuple[weakref.ref[Any], int]] = {}


def owner(array: Any) -> Any:
    """The array whose memory an array is a view of."""
    while (base := array.base) is not None:
        if not isinstance(base, np.ndarray | type(array)):
            base = getattr(base, "base", None)  # between an array and its view by np.lib.stride_tricks
            if not isinstance(base, np.ndarray):
                break
        array = base
    return array


def note_mutation(array: Any) -> None:
    """To be called when an array that may have been saved for a backward pass is changed in place."""
    memory = owner(array)
    key = id(memory)
    # no function of Python's, see `nbgrad.autograd.sharing`
    mutations[key] = weakref.ref(memory, partial(mutations.pop, key)), next_order()


def check_unmodified(node: Node) -> None:
    """RuntimeError if an array that the node saved was changed in place since."""
    saved = getattr(node, "_saved", None)  # not every rule keeps something
    for array in saved if type(saved) is tuple else (saved,):
        if hasattr(array, "base"):
            entry = mutations.get(id(owner(array)))
            if entry is not None and entry[1] < node._order:  # type: ignore[operator]
                raise RuntimeError(
                    f"{node.name()}: a tensor of shape {array.shape} that the gradient needs was changed "
                    "in place after its use; change a clone() instead"
                )
