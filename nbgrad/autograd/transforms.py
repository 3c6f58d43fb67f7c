"""`grad` and `value_and_grad`: from a function to the function that computes its gradient, as in JAX."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.autograd.devices import zeros
from nbgrad.autograd.operators.axes import integers
from nbgrad.autograd.tape import Node, enable_grad, propagate
from nbgrad.autograd.tensor import Tensor, tensor, wrap

__all__ = ["grad", "value_and_grad"]


class _Running(threading.local):
    """What the calls now running differentiate by: a call within a call must not lose sight of it."""

    leaves: frozenset[Node] = frozenset()


_running = _Running()


def value_and_grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns `(f(...), gradient)`, the gradient by the argument(s) number `argnums`.

    An argument to differentiate by is a float tensor, array or number, or a list, tuple or dict of such,
    nested too; `f` gets it with tensors in their places, and the gradient has its form. For a sequence
    `argnums` the gradient is a tuple. `f` must return a tensor of one element, which comes back outside the graph. The
    `.grad` of no tensor changes, whatever `f` uses besides. There are no second derivatives: `grad(grad(f))`
    is refused.

    TypeError for an argument without floats and for a result that is no tensor; ValueError for a result of
    several elements; RuntimeError for a second derivative.

    Returns
    -------
    function
        Of the same arguments: (value, gradient), the latter a tuple for several ``argnums``.

    Examples
    --------
    >>> value_and_grad(lambda w, x: (w * x).sum())(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    (tensor(11., dtype=float64), tensor([3., 4.], dtype=float64))
    """
    several, numbers = _numbers(argnums)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        outer = _running.leaves
        arguments = list(args)
        leaves: set[Node] = set()
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise ValueError(f"argnums: expected a number of one of {len(args)} arguments, got {number}")
            leaf = functools.partial(_leaf, f"argument {number}", leaves)
            arguments[number] = _map(leaf, args[number])
        _running.leaves = outer | leaves
        try:
            with enable_grad():
                value = f(*arguments, **kwargs)
        finally:
            _running.leaves = outer
        if not isinstance(value, Tensor):
            raise TypeError(f"f: expected it to return a Tensor, got {type(value).__name__}")
        if value.numel() != 1:
            raise ValueError(f"f: expected it to return one number, got a tensor of shape {value.shape}")
        grads: dict[Node, Any] = {}
        if value._node is not None:
            # The graph may be a part of a greater one: it is left for that one's own pass.
            grads = propagate(value._node, value._seed(None), retain_graph=True)
        if not outer.isdisjoint(grads):
            raise _second_derivative()
        found = [_map(functools.partial(_gradient, grads), arguments[number]) for number in numbers]
        return value.detach(), tuple(found) if several else found[0]

    return value_and_gradient


def _numbers(argnums: Any) -> tuple[bool, tuple[int, ...]]:
    """Whether `argnums` is a sequence, and its numbers."""
    numbers = integers(argnums, "argnums")
    return (False, (numbers,)) if isinstance(numbers, int) else (True, numbers)


def grad(f: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The function that returns the gradient of `f`; see `value_and_grad`.

    Returns
    -------
    function
        Of the same arguments: the gradient, or a tuple of them for several ``argnums``.

    Examples
    --------
    >>> grad(lambda x: x**3)(2.0)
    tensor(12.)
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def _second_derivative() -> RuntimeError:
    return RuntimeError("grad: a gradient is not recorded, so it has no gradient: there are no second derivatives")


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of lists, tuples and dicts with `function` applied to each innermost value."""
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        values = [_map(function, value) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)  # a namedtuple
    return function(tree)


def _leaf(name: str, leaves: set[Node], value: Any) -> Tensor:
    """A leaf of its own for an argument; its node goes into `leaves`."""
    if isinstance(value, Tensor):
        if not value.is_leaf or value._node in _running.leaves:
            raise _second_derivative()
        out = value.detach()
    elif isinstance(value, np.ndarray) or on_device(value):
        out = Tensor(value)
    elif isinstance(value, np.generic | float):
        out = tensor(value)
    else:
        raise TypeError(f"{name}: expected floats to differentiate by, got {type(value).__name__}")
    if out.dtype.kind != "f":
        raise TypeError(f"{name}: expected floats to differentiate by, got {out.dtype}")
    out.requires_grad = True
    leaves.add(out._node)  # type: ignore[arg-type]
    return out


def _gradient(grads: dict[Node, Any], leaf: Tensor) -> Tensor:
    gradient = grads.get(leaf._node)  # type: ignore[arg-type]
    return wrap(zeros(leaf.shape, leaf._data) if gradient is None else gradient)
