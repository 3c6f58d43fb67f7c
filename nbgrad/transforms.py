"""`grad` and `value_and_grad`: from a function to the function that computes its gradient, as in JAX."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.autograd import enable_grad, propagate
from nbgrad.tensor import Tensor, tensor, wrap

__all__ = ["grad", "value_and_grad"]


def value_and_grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns `(f(...), gradient)`, the gradient with respect to the argument(s) number
    `argnums`.

    An argument to differentiate by is a float tensor, array or number, or a list, tuple or dict of such,
    nested too; `f` gets it with tensors in the places of the numbers, and the gradient, of tensors, has its
    form. For a tuple `argnums` the gradient is a tuple. `f` must return a tensor of one element, which comes
    back outside the graph. The `.grad` of no tensor changes, whatever `f` uses besides. Backward passes are
    not recorded: `grad(grad(f))` is refused.

    TypeError for an argument that has no floats, or a result that is no tensor; ValueError for one with
    several elements.

    >>> value_and_grad(lambda w, x: (w * x).sum())(np.array([1.0, 2.0]), np.array([3.0, 4.0]))
    (tensor(11., dtype=float64), tensor([3., 4.], dtype=float64))
    """
    numbers = argnums if isinstance(argnums, tuple) else (argnums,)

    @functools.wraps(f)
    def value_and_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        inputs: dict[int, Any] = {}
        for number in numbers:
            if not -len(args) <= number < len(args):
                raise ValueError(
                    f"argnums: expected numbers of the {len(args)} positional arguments, got {number}"
                )
            inputs[number] = _map(functools.partial(_leaf, number), args[number])
        arguments = list(args)
        for number, value in inputs.items():
            arguments[number] = value
        with enable_grad():
            value = f(*arguments, **kwargs)
        if not isinstance(value, Tensor):
            raise TypeError(f"f: expected it to return a Tensor, got {type(value).__name__}")
        if value.numel() != 1:
            raise ValueError(f"f: expected it to return one number, got a tensor of shape {value.shape}")
        grads = propagate(value._node, np.ones(value.shape, value.dtype)) if value._node is not None else {}
        found = [_map(lambda leaf: _gradient(grads, leaf), inputs[number]) for number in numbers]
        return value.detach(), tuple(found) if isinstance(argnums, tuple) else found[0]

    return value_and_gradient


def grad(f: Callable[..., Any], argnums: int | tuple[int, ...] = 0) -> Callable[..., Any]:
    """The function that returns the gradient of `f`; see `value_and_grad`.

    >>> grad(lambda x: x**3)(2.0)
    tensor(12.)
    """
    both = value_and_grad(f, argnums)

    @functools.wraps(f)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def _map(function: Callable[[Any], Any], tree: Any) -> Any:
    """The same nesting of lists, tuples and dicts with `function` applied to each innermost value."""
    if isinstance(tree, dict):
        return {key: _map(function, value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return type(tree)([_map(function, value) for value in tree])
    return function(tree)


def _leaf(number: int, value: Any) -> Tensor:
    if isinstance(value, Tensor) and not value.is_leaf:
        raise TypeError(
            f"argument {number}: expected a leaf, got a recorded result: there are no second derivatives"
        )
    if not isinstance(value, Tensor | np.ndarray | np.generic | float):
        raise TypeError(f"argument {number}: expected floats to differentiate by, got {type(value).__name__}")
    out = (
        wrap(value._own())
        if isinstance(value, Tensor)
        else Tensor(value)
        if isinstance(value, np.ndarray)
        else tensor(value)
    )
    if out.dtype.kind != "f":
        raise TypeError(f"argument {number}: expected floats to differentiate by, got {out.dtype}")
    return out.requires_grad_()


def _gradient(grads: dict[Any, Any], leaf: Tensor) -> Tensor:
    gradient = grads.get(leaf._node)
    return wrap(np.zeros(leaf.shape, leaf.dtype) if gradient is None else gradient)
