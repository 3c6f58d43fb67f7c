"""Which tensors lie on one memory. A change in place that is recorded gives the tensor a new history; every other
tensor on that memory would keep one that no longer tells how its values came about.

Noted are the tensors whose memory was handed on, and those made over memory that was there: of two that share at least
one, see `share`. All others own their memory alone, and cost nothing.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from nbgrad.autograd.devices import overlap
from nbgrad.autograd.tape import owner

__all__ = ["lineage", "others", "share"]

# What takes a dead reference out of a dict is C's alone, `dict.pop` with the reference as its default: in a function of
# Python's Ctrl-C could come, and Python drops what is raised there.

# id of the owner of the memory -> (weak reference to it, the living tensors by their id)
_sharers: dict[int, tuple[weakref.ref[Any], dict[int, weakref.ref[Any]]]] = {}


def share(tensor: Any, memory: Any = None) -> None:
    """To be called where another tensor, or an array of the user's, may come to lie on this one's memory, which is
    `owner(tensor._data)`.
    """
    if memory is None:
        if isinstance(tensor._data, np.generic):  # cannot change
            return
        memory = owner(tensor._data)
    key, number = id(memory), id(tensor)
    if key not in _sharers:
        _sharers.setdefault(key, (weakref.ref(memory, partial(_sharers.pop, key)), {}))
    tensors = _sharers[key][1]
    if number not in tensors:
        tensors[number] = weakref.ref(tensor, partial(tensors.pop, number))


def lineage(tensor: Any) -> Iterator[Any]:
    """The tensors that this one is a view of, nearest first."""
    while tensor._view_of is not None:
        tensor = tensor._view_of[0]
        yield tensor


def others(tensor: Any, part: Any) -> Iterator[Any]:
    """The living tensors, other than this one and those that it is a view of, whose elements lie within a part of its
    array.
    """
    _, tensors = _sharers.get(id(owner(part)), (None, {}))
    known = {id(tensor), *map(id, lineage(tensor))}
    for number, reference in list(tensors.items()):
        other = reference()
        if other is not None and number not in known and overlap(other._data, part):
            yield other
