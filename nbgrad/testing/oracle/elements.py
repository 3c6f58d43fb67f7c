"""Elements of a gradient: the intervals that the oracle finds for them, and the points at which it asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.testing.oracle.differences import ladders, scales
from nbgrad.testing.oracle.precision import Precision, evaluated

__all__ = ["Elements", "room_around", "steps_at", "summed", "unseen"]


@dataclass
class Elements:
    """Elements ``places`` (flat indices) of an argument: intervals for the gradient, ``size`` Σ|terms| of its sum."""

    places: Any
    low: Any
    high: Any
    error: Any
    size: Any

    def of(self, chosen: Any) -> Elements:
        return Elements(self.places[chosen], self.low[chosen], self.high[chosen], self.error[chosen], self.size[chosen])


def summed(places: Any, low: Any, high: Any, error: Any, g: Any) -> Elements:
    """From intervals of ∂f_o/∂x_i (elements, outputs) to those of Σ_o g_o ∂f_o/∂x_i."""
    with np.errstate(all="ignore"):
        a, b = g * low, g * high
        known = g != 0  # a gradient of 0 asks nothing of its output, infinite or not
        a, b = np.where(known, a, 0), np.where(known, b, 0)
        bar = np.where(known, np.abs(g) * error, 0)
        size = np.maximum(np.abs(a), np.abs(b)).sum(axis=1)
        low, high = np.minimum(a, b).sum(axis=1), np.maximum(a, b).sum(axis=1)
        bar = bar.sum(axis=1) + 4 * np.finfo(np.float64).eps * size * (a.shape[1] > 1)
    bar = np.where(np.isnan(bar) | ~np.isfinite(low) | ~np.isfinite(high), np.inf, bar)
    return Elements(places, low, high, bar, size)


def room_around(x: Any, kinks: Any, domain: tuple[float, float]) -> tuple[Any, Any, Any]:
    """(room to the left, room to the right, whether x is a kink itself): steps end at kinks and at the domain's
    ends.
    """
    with np.errstate(invalid="ignore"):
        left, right = x - domain[0], domain[1] - x
        at = np.zeros(x.shape, bool)
        for kink in kinks:
            here = x.dtype.type(kink) == x
            at |= here
            left = np.where((kink < x) & ~here, np.minimum(left, x - kink), left)
            right = np.where((kink > x) & ~here, np.minimum(right, kink - x), right)
    return left, right, at


def steps_at(precision: Precision, x: Any, rooms: Any, others: float, stretch: float) -> Any:
    """(moved up, moved down, step up, step down) (ladders, steps, elements); a step that x is too large for is nan."""
    work = precision.work
    with np.errstate(all="ignore"):
        nearest = np.minimum(np.where(rooms[0] > 0, rooms[0], np.inf), np.where(rooms[1] > 0, rooms[1], np.inf))
        h = ladders(scales(x, others, nearest.astype(np.float64))) * stretch
        low = precision.eps * np.abs(x)
        points = []
        for sign, room in ((1, rooms[1]), (-1, rooms[0])):
            moved = (x + (sign * h).astype(precision.dtype)).astype(precision.dtype)
            step = sign * (moved.astype(work) - x.astype(work))
            points += [moved, np.where((step >= 8 * low) & (step <= room) & np.isfinite(step), step, np.nan)]
    return points[0], points[2], points[1], points[3]


def unseen(precision: Precision, position: int, places: Any) -> Any:
    """Bounds for the slopes of outputs that do not change when the elements move far, beyond all the others: what
    rounding may hide over that distance. inf for those that do change. (Saturation within the ladders' reach is no
    proof of a slope of 0.)
    """
    x = precision.arrays[position]
    largest = 1.5 * float(np.max(np.abs(x), initial=1, where=np.isfinite(x)))
    f = precision.value.astype(precision.work)
    with np.errstate(all="ignore"):
        # A value of 0 may be the difference of others, whose rounding hides as much: there it is not 0 nearby.
        nearby = [a * a.dtype.type(0.75) + a.dtype.type(0.375) if a.dtype.kind == "f" else a for a in precision.arrays]
        there = evaluated(precision.function, nearby)
        if there is None or there.shape != f.shape:
            there = f
        level = np.maximum(np.abs(f), np.where(np.isfinite(there), np.abs(there), 0))
        hidden = (8 * precision.eps * level / largest + 2 * precision.tiny).ravel()
    found = []
    for place in places:
        changed = np.zeros(f.size, bool)
        for target in (0.375, -0.625, largest, -largest):
            moved = x.copy().ravel()
            moved[place] = np.where(np.asarray(moved[place]) == target, 0.75 * target, target)
            changed |= (precision.at(position, moved.reshape(x.shape)) != f).ravel()
        found.append(np.where(changed, np.inf, hidden))
    return found
