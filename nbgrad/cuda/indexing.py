"""Elements of a GPU's array picked more than once by an index: sums of them, and which of several is written.

CuPy adds and writes them in the order in which its threads come, another one on every run. Here the picks are sorted by
the element that they pick, and a thread for each picked element goes through its picks in their order.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.cuda.device import kernel, launch_each, module, restore, use
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread

__all__ = ["add_at", "last"]


#: Picks of an element that are added up before their sum is: one after the other a million would cost float32 3 digits.
PART = 1024


def _sums(places, order, g, out):
    """out[p] += Σ g of the picks of p; ``places``: sorted, ``order``: the picks that they are of."""
    i = block() * block_size() + thread()
    while i < places.size:
        place = places[i]
        if i == 0 or places[i - 1] != place:
            total, k = out[place], i
            while k < places.size and places[k] == place:
                part, last = g[order[k]], k + PART
                k += 1
                while k < places.size and k < last and places[k] == place:
                    part += g[order[k]]
                    k += 1
                total += part
            out[place] = total
        i += block_size() * blocks()


def _lasts(places, order, out):
    """out[pick] = the last pick of the same element."""
    i = block() * block_size() + thread()
    while i < places.size:
        place = places[i]
        if i == 0 or places[i - 1] != place:
            end = i
            while end < places.size and places[end] == place:
                end += 1
            for k in range(i, end):
                out[order[k]] = order[end - 1]
        i += block_size() * blocks()


_sums_kernel, _lasts_kernel = kernel(_sums), kernel(_lasts)


def _sorted(shape: tuple[int, ...], key: Any) -> tuple[Any, Any, tuple[int, ...]]:
    """Which element each pick is of, sorted; the numbers of the picks in that order; the shape of what is picked."""
    xp = module()
    places = xp.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)[key]
    flat = places.reshape(-1)
    order = xp.argsort(flat, kind="stable")
    return flat[order], order, places.shape


def add_at(out: Any, key: tuple[Any, ...], g: Any) -> None:
    """``out[key] += g``, an element as often as it is picked; ``out``, contiguous, changes in place."""
    with use(out, out):
        places, order, shape = _sorted(out.shape, key)
        flat = module().ascontiguousarray(g.reshape(shape)).reshape(-1)
        launch_each(_sums_kernel, places.size, places, order, flat, out.reshape(-1))


def last(x: Any, key: tuple[Any, ...]) -> tuple[Any, Any]:
    """See `nbgrad.cpu.tensor.last`."""
    with use(x, x):
        places, order, shape = _sorted(x.shape, key)
        staying = module().empty(order.size, order.dtype)
        launch_each(_lasts_kernel, places.size, places, order, staying)
        return tuple(restore(a.reshape(shape), x) for a in (staying, module().arange(order.size)))
