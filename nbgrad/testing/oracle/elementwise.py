"""Functions whose output i depends on element i alone: all elements are moved at once.

That is tested, not believed (`_is`). Of many elements most are plain: six values make an estimate that is sharp enough;
only the others get whole ladders of steps, and where the function takes a part of its arrays it is asked for that part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.oracle.differences import slopes
from nbgrad.testing.oracle.elements import Elements, steps_at, summed, unseen
from nbgrad.testing.oracle.precision import Precision

__all__ = ["elementwise"]

#: From so many elements on the plain ones are told from the others; of the others so many get ladders, and so many at
#: once.
_MANY, _LADDERS, _CHUNK = 256, 16384, 4096


def elementwise(
    precision: Precision, position: int, grad: Any, rooms: Any, at: Any, stretch: float, rng: Any,
    doubtful: Callable[[Elements], Any],
) -> Elements | None:  # fmt: skip
    """The oracle for all elements; None if the function is not elementwise. ``doubtful`` says which elements of a
    first estimate need a better one, in numbers that are the larger the more.
    """
    x = precision.arrays[position]
    n = x.size
    if precision.value.shape != x.shape or n == 0:
        return None
    flat = x.ravel()
    up, down, h_up, h_down = (
        steps_at(precision, flat, rooms, 0.0, stretch) if n <= _MANY else _plain_steps(precision, flat, rooms, stretch)
    )
    if not _is(precision, position, np.concatenate([up, down]), np.concatenate([h_up, h_down]), rng):
        return None
    every = np.arange(n)
    if n <= _MANY:
        return _laddered(precision, position, grad, rooms, at, stretch, every)
    found = _plain(precision, position, grad, rooms, at, (up, down, h_up, h_down))
    doubt = doubtful(found)
    chosen = np.flatnonzero(doubt > 0)
    found.error[chosen] = np.inf
    if len(chosen) > _LADDERS:
        chosen = rng.permutation(chosen)
        chosen = chosen[np.argsort(-doubt[chosen], kind="stable")][:_LADDERS]
    for part in np.array_split(np.sort(chosen), -(-len(chosen) // _CHUNK)) if len(chosen) else ():
        sharper = _laddered(precision, position, grad, rooms, at, stretch, part)
        for name in ("low", "high", "error", "size"):
            getattr(found, name)[part] = getattr(sharper, name)
    return found


def _is(precision: Precision, position: int, points: Any, steps: Any, rng: Any) -> bool:
    """Whether output i depends on element i alone: points are evaluated with only a part of the elements moved, parts
    such that of any two elements each is moved once without the other (the bits of their numbers, and the complements:
    14 calls for 100 elements). The others' outputs must keep, and the moved ones' must have, every bit.
    """
    x = precision.arrays[position]
    n, flat = x.size, x.ravel()
    f = precision.value.ravel().astype(precision.work)
    numbers = np.arange(n)
    masks = [
        m for bit in range(max(1, (n - 1).bit_length())) for m in ((numbers >> bit) & 1 == 1, (numbers >> bit) & 1 == 0)
    ]
    points, steps = points.reshape(-1, n), steps.reshape(-1, n)
    longest = np.argsort(-np.where(np.isnan(steps), 0, steps), axis=0, kind="stable")[:4]
    for mask in masks if n > 1 else ():
        # One of the four longest steps that each element may take, since a small one may be invisible to the others.
        chosen = longest[rng.integers(len(longest), size=n), numbers]
        chosen = np.where(np.isnan(steps[chosen, numbers]), longest[0], chosen)
        point = np.where(np.isnan(steps[chosen, numbers]), flat, points[chosen, numbers]).astype(precision.dtype)
        whole = precision.at(position, point.reshape(x.shape)).ravel()
        part = precision.at(position, np.where(mask, point, flat).reshape(x.shape)).ravel()
        if not np.array_equal(part, np.where(mask, whole, f), equal_nan=True):
            return False
    return True


def _plain_steps(precision: Precision, x: Any, rooms: Any, stretch: float) -> Any:
    """As `steps_at`, two short ladders: of 1/256 of each element's size, and of 1/256."""
    work = precision.work
    with np.errstate(all="ignore"):
        own = np.exp2(np.floor(np.log2(np.where((x == 0) | ~np.isfinite(x), 1, np.abs(x)).astype(np.float64))))
        h = np.stack([own, np.ones_like(own)])[:, None] * (2.0**-8 * stretch * np.exp2(-np.arange(3.0)))[:, None]
        found = []
        for sign, room in ((1, rooms[1]), (-1, rooms[0])):
            moved = (x + (sign * h).astype(precision.dtype)).astype(precision.dtype)
            step = sign * (moved.astype(work) - x.astype(work))
            found += [moved, np.where((step > 0) & (step <= room) & np.isfinite(step), step, np.nan)]
    return found[0], found[2], found[1], found[3]


def _plain(precision: Precision, position: int, grad: Any, rooms: Any, at: Any, steps: Any) -> Elements:
    """The estimates of six values, in which only agreement counts."""
    x = precision.arrays[position]
    up, down, h_up, h_down = steps
    f = precision.value.ravel().astype(precision.work)
    best, error = np.zeros(f.size, precision.work), np.full(f.size, np.inf)
    with np.errstate(all="ignore"):
        for k in range(len(up)):
            a, b = (
                np.stack([precision.at(position, p.reshape(x.shape)).ravel() for p in points[k]])
                for points in (up, down)
            )
            width = h_up[k] + h_down[k]
            exact = np.all(np.abs(h_up[k] - h_down[k]) <= 2.0**-30 * width, axis=0)
            slope = (a - b) / width
            once = (4 * slope[1:] - slope[:-1]) / 3
            last = (16 * once[1] - once[0]) / 15
            sides = np.abs((a - f) / h_up[k] - (f - b) / h_down[k])
            rounding = 8 * precision.eps * (np.abs(f) + np.abs(x.ravel() * last)) / width[2]
            bar = 2 * np.abs(last - once[1]) + 4 * rounding + 2 * precision.tiny / width[2]
            smooth = exact & ~at & (sides[2] <= sides[0] / 2 + 16 * rounding)
            better = smooth & (bar < error)
            best, error = np.where(better, last, best), np.where(better, bar, error)
    return summed(np.arange(f.size), best[:, None], best[:, None].copy(), error[:, None], grad.ravel()[:, None])


def _laddered(
    precision: Precision, position: int, grad: Any, rooms: Any, at: Any, stretch: float, places: Any
) -> Elements:
    """The estimates of whole ladders for ``places``."""
    shape = precision.arrays[position].shape
    part = precision if len(places) == precision.value.size else precision.of(places, shape)
    x = (part or precision).arrays[position]
    own = slice(None) if part is not None else places  # without the part alone: its elements among the others
    flat = precision.arrays[position].ravel()[places]
    up, down, h_up, h_down = steps_at(precision, flat, [r[places] for r in rooms], 0.0, stretch)
    asked = part or precision

    def at_points(points: Any, h: Any) -> Any:
        safe = np.where(np.isnan(h), flat, points).astype(precision.dtype)
        rows = []
        for point in safe.reshape(-1, len(places)):
            moved = x.ravel().copy()
            moved[own] = point
            rows.append(asked.at(position, moved.reshape(x.shape)).ravel()[own])
        return np.stack(rows).reshape(h.shape)

    plus, minus = at_points(up, h_up), at_points(down, h_down)
    hidden = unseen(asked, position, [slice(None)])[0][own]
    low, high, error = slopes(
        flat.astype(precision.work), precision.value.ravel()[places].astype(precision.work), plus, minus, h_up, h_down,
        precision.eps, precision.tiny, at[places],
    )  # fmt: skip
    error = np.fmin(error, hidden)
    return summed(places, low[:, None], high[:, None], error[:, None], grad.ravel()[places][:, None])
