"""Tuples, lists and dicts of arrays, nested as they may be: their leaves, and the way back."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

__all__ = ["flatten", "joined", "names", "split"]


def flatten(value: Any) -> tuple[list[Any], Callable[[Sequence[Any]], Any]]:
    """(leaves, a function that puts others in their place)

    >>> leaves, back = flatten({"w": 1, "layers": [2, (3,)]})
    >>> leaves, back([10, 20, 30])
    ([1, 2, 3], {'w': 10, 'layers': [20, (30,)]})
    """
    if isinstance(value, dict):
        parts = [flatten(v) for v in value.values()]
    elif isinstance(value, tuple | list):
        parts = [flatten(v) for v in value]
    else:
        return [value], lambda leaves: leaves[0]

    def back(leaves: Sequence[Any]) -> Any:
        items, start = [], 0
        for part, rebuilt in parts:
            items.append(rebuilt(leaves[start : start + len(part)]))
            start += len(part)
        if isinstance(value, dict):
            made = copy.copy(value)  # of the caller's kind, as in its order
            made.update(zip(value, items, strict=True))
            return made
        return value._make(items) if hasattr(value, "_make") else type(value)(items)

    return [leaf for part, _ in parts for leaf in part], back


def names(value: Any, name: str) -> list[str]:
    """How code reaches each leaf.

    >>> names({"w": 1, "layers": [2, (3,)]}, "args[0]")
    ["args[0]['w']", "args[0]['layers'][0]", "args[0]['layers'][1][0]"]
    """
    if isinstance(value, dict | tuple | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        return [leaf for key, v in items for leaf in names(v, f"{name}[{key!r}]")]
    return [name]


def joined(arrays: Sequence[Any]) -> Any:
    """One array as it is; several behind each other, in one dimension."""
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.ravel(a) for a in arrays])


def split(array: Any, shapes: Sequence[tuple[int, ...]]) -> list[Any]:
    """What `joined` has put together.

    >>> [part.tolist() for part in split(np.arange(3), [(), (2, 1)])]
    [0, [[1], [2]]]
    """
    if len(shapes) == 1:
        return [array]
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    return [part.reshape(shape) for part, shape in zip(np.split(array, ends), shapes, strict=True)]
