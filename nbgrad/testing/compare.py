"""One argument's gradient against the oracle: which elements, at which points, in which precision, and the verdict."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.testing.differences import ladders, scales, slopes
from nbgrad.testing.exact import ExactFunction
from nbgrad.testing.precision import Precision, evaluated

__all__ = ["Elements", "References", "compare", "differenced", "exactly", "nearest"]

#: How many elements of a gradient are differenced one by one, and by mpmath, where one number takes 0.1 ms.
ELEMENTS, EXACT_ELEMENTS = 4, 4
#: An error bar up to this part of the gradient confirms it.
DECISIVE = 2.0**-6


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


@dataclass
class References:
    """What the oracle may use: the function in several ``precisions``, the cheapest first, then mpmath (``exact``)."""

    precisions: list[Precision]
    exact: ExactFunction | None
    grad_output: Any
    rng: Any


def _summed(places: Any, low: Any, high: Any, error: Any, g: Any) -> Elements:
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


def _room(x: Any, kinks: Any, domain: tuple[float, float]) -> tuple[Any, Any, Any]:
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


def _steps(precision: Precision, x: Any, rooms: Any, others: float, stretch: float) -> Any:
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


def _diagonal(precision: Precision, position: int, grad: Any, rooms: Any, at: Any, stretch: float, rng: Any) -> Any:
    """All elements at once, if output i depends on element i alone; None if it does not.

    That is tested, not believed: of the points that are evaluated some are evaluated again with only a part of the
    elements moved, parts such that of any two elements each is moved once without the other (the bits of their numbers,
    and the complements: 14 calls for 100 elements). The others' outputs must keep, and the moved ones' must have,
    every bit.
    """
    x = precision.arrays[position]
    n = x.size
    if precision.value.shape != x.shape or n == 0:
        return None
    flat = x.ravel()
    up, down, h_up, h_down = _steps(precision, flat, rooms, 0.0, stretch)
    f = precision.value.ravel().astype(precision.work)

    def at_points(points: Any, h: Any) -> Any:
        safe = np.where(np.isnan(h), flat, points).astype(precision.dtype)
        return np.stack(
            [np.stack([precision.at(position, p.reshape(x.shape)).ravel() for p in ladder]) for ladder in safe]
        )

    numbers = np.arange(n)
    masks = [
        m for bit in range(max(1, (n - 1).bit_length())) for m in ((numbers >> bit) & 1 == 1, (numbers >> bit) & 1 == 0)
    ]
    if n == 1:
        masks = []
    steps = np.concatenate([h_up, h_down]).reshape(-1, n)
    points = np.concatenate([up, down]).reshape(-1, n)
    longest = np.argsort(-np.where(np.isnan(steps), 0, steps), axis=0, kind="stable")
    for mask in masks:  # before the other 60 calls: most functions that are not diagonal end here
        # One of the four longest steps that each element may take, since a small one may be invisible to the others.
        chosen = longest[rng.integers(4, size=n), numbers]
        chosen = np.where(np.isnan(steps[chosen, numbers]), longest[0], chosen)
        point = np.where(np.isnan(steps[chosen, numbers]), flat, points[chosen, numbers]).astype(precision.dtype)
        whole = precision.at(position, point.reshape(x.shape)).ravel()
        part = precision.at(position, np.where(mask, point, flat).reshape(x.shape)).ravel()
        if not np.array_equal(part, np.where(mask, whole, f), equal_nan=True):
            return None
    plus, minus = at_points(up, h_up), at_points(down, h_down)
    unseen = _unseen(precision, position, [slice(None)])[0]
    low, high, error = slopes(
        flat.astype(precision.work), f, plus, minus, h_up, h_down, precision.eps, precision.tiny, at
    )
    error = np.fmin(error, unseen)
    return _summed(np.arange(n), low[:, None], high[:, None], error[:, None], grad.ravel()[:, None])


def _unseen(precision: Precision, position: int, places: Any) -> Any:
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


def _one_by_one(
    precision: Precision, position: int, grad: Any, places: Any, rooms: Any, at: Any, stretch: float, others: float
) -> Elements:
    x = precision.arrays[position]
    flat = x.ravel()[places]
    up, down, h_up, h_down = _steps(precision, flat, [r[places] for r in rooms], others, stretch)
    f = precision.value.ravel().astype(precision.work)
    values = np.full((2, *h_up.shape, f.size), np.nan, precision.work)
    for side, (points, h) in enumerate(((up, h_up), (down, h_down))):
        for ladder, k, e in np.argwhere(~np.isnan(h)):
            moved = x.copy()
            moved.reshape(-1)[places[e]] = points[ladder, k, e]
            values[side, ladder, k, e] = precision.at(position, moved).ravel()
    unseen = np.stack(_unseen(precision, position, places))
    shape = (len(places), f.size)
    columns = (*values.shape[1:3], -1)
    wide_up, wide_down = (np.broadcast_to(h[..., None], values.shape[1:]).reshape(columns) for h in (h_up, h_down))
    low, high, error = slopes(
        np.broadcast_to(flat.astype(precision.work)[:, None], shape).ravel(), np.broadcast_to(f, shape).ravel(),
        values[0].reshape(columns), values[1].reshape(columns), wide_up, wide_down, precision.eps, precision.tiny,
        np.broadcast_to(at[places][:, None], shape).ravel(),
    )  # fmt: skip
    error = np.fmin(error.reshape(shape), unseen)
    return _summed(places, low.reshape(shape), high.reshape(shape), error, grad.ravel()[None])


def differenced(
    references: References,
    precision: Precision,
    position: int,
    places: Any,
    kinks: Any,
    domain: Any,
    stretch: float = 1.0,
) -> Elements:
    """The oracle in one precision, for all elements where the function is elementwise, else for ``places``."""
    x, g = precision.arrays[position], references.grad_output.astype(precision.work)
    *rooms, at = _room(x.ravel(), kinks, domain)
    found = _diagonal(precision, position, g, rooms, at, stretch, references.rng)
    if found is not None:
        return found
    finite = np.abs(x[np.isfinite(x)]).astype(np.float64)
    return _one_by_one(precision, position, g, places, rooms, at, stretch, float(finite.max(initial=0)))


def exactly(references: References, position: int, places: Any, diagonal: bool) -> Elements:
    """The oracle in mpmath's arithmetic."""
    assert references.exact is not None
    low, high, error = references.exact.slopes(position, places, places if diagonal else None)
    g = references.grad_output.astype(np.float64).ravel()
    return _summed(places, low, high, error, g[places][:, None] if diagonal else g[None])


def nearest(found: Elements, value: Any) -> Any:
    """The size of what each value should be: of its interval's nearest point."""
    return np.abs(np.clip(value, found.low, found.high))


def compare(found: Elements, value: Any, allowed: Any) -> tuple[Any, Any]:
    """(distance of each value from its interval beyond the error bar and the tolerance, whether the bar is decisive)"""
    with np.errstate(all="ignore"):
        outside = np.maximum(found.low - value, value - found.high)
        outside = np.where(np.isfinite(found.error), outside - found.error - allowed, -np.inf)
        outside = np.where(np.isnan(value) & np.isfinite(found.error), np.inf, outside)
        size = np.maximum(np.maximum(np.abs(found.low), np.abs(found.high)), np.abs(value))
        decisive = np.isfinite(found.error) & (found.error <= DECISIVE * size + allowed)
    return outside, decisive
