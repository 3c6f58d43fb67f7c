"""One argument's gradient against the oracle: which elements, at which points, in which precision, and the verdict."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.testing.oracle.differences import slopes
from nbgrad.testing.oracle.elements import Elements, room_around, steps_at, summed, unseen
from nbgrad.testing.oracle.elementwise import elementwise
from nbgrad.testing.oracle.exact import Exact
from nbgrad.testing.oracle.precision import Precision

__all__ = ["References", "compare", "differenced", "exactly", "nearest"]

#: How many elements of a gradient are differenced one by one, and by mpmath, where one number takes 0.1 ms.
ELEMENTS, EXACT_ELEMENTS = 4, 4
#: From so many outputs on their weighted sum is differenced in place of each of them.
OUTPUTS = 4096
#: An error bar up to this part of the gradient confirms it.
DECISIVE = 2.0**-6


@dataclass
class References:
    """What the oracle may use: the function in several ``precisions``, the cheapest first."""

    precisions: list[Precision]
    grad_output: Any
    rng: Any


def _one_by_one(
    precision: Precision, position: int, grad: Any, places: Any, rooms: Any, at: Any, stretch: float, others: float
) -> Elements:
    x = precision.arrays[position]
    flat = x.ravel()[places]
    up, down, h_up, h_down = steps_at(precision, flat, [r[places] for r in rooms], others, stretch)
    f, weights = precision.value.ravel().astype(precision.work), grad.ravel()
    many = f.size > OUTPUTS
    with np.errstate(all="ignore"):
        level = np.sum(np.abs(weights * f), where=weights != 0)

    def at_point(moved: Any) -> Any:
        """Of many outputs the weighted sum: its change beside the size of what is added up."""
        value = precision.at(position, moved).ravel()
        if not many:
            return value
        with np.errstate(all="ignore"):
            return level + np.sum(weights * (value - f), where=(weights != 0) & (value != f))

    here = level[None] if many else f
    values = np.full((2, *h_up.shape, here.size), np.nan, precision.work)
    for side, (points, h) in enumerate(((up, h_up), (down, h_down))):
        for ladder, k, e in np.argwhere(~np.isnan(h)):
            moved = x.copy()
            moved.reshape(-1)[places[e]] = points[ladder, k, e]
            values[side, ladder, k, e] = at_point(moved)
    hidden = np.inf if many else np.stack(unseen(precision, position, places))
    shape = (len(places), here.size)
    columns = (*values.shape[1:3], -1)
    wide_up, wide_down = (np.broadcast_to(h[..., None], values.shape[1:]).reshape(columns) for h in (h_up, h_down))
    low, high, error = slopes(
        np.broadcast_to(flat.astype(precision.work)[:, None], shape).ravel(), np.broadcast_to(here, shape).ravel(),
        values[0].reshape(columns), values[1].reshape(columns), wide_up, wide_down, precision.eps, precision.tiny,
        np.broadcast_to(at[places][:, None], shape).ravel(),
    )  # fmt: skip
    error = np.fmin(error.reshape(shape), hidden)
    weights = np.ones(1) if many else weights
    return summed(places, low.reshape(shape), high.reshape(shape), error, weights[None])


def differenced(
    references: References, precision: Precision, position: int, places: Any, kinks: Any, domain: Any,
    doubtful: Callable[[Elements], Any], stretch: float = 1.0,
) -> Elements:  # fmt: skip
    """The oracle in one precision, for all elements where the function is elementwise, else for ``places``.
    ``doubtful``: as in `elementwise`.
    """
    x, g = precision.arrays[position], references.grad_output.astype(precision.work)
    *rooms, at = room_around(x.ravel(), kinks, domain)
    found = elementwise(precision, position, g, rooms, at, stretch, references.rng, doubtful)
    if found is not None:
        return found
    finite = np.abs(x[np.isfinite(x)]).astype(np.float64)
    return _one_by_one(precision, position, g, places, rooms, at, stretch, float(finite.max(initial=0)))


def exactly(references: References, exact: Exact, position: int, places: Any, elementwise: bool) -> Elements | None:
    """The oracle in mpmath's arithmetic; None where the function does not take it. Of an elementwise function of many
    elements these alone.
    """
    g = references.grad_output.astype(np.float64).ravel()
    if elementwise:
        part = exact.of(places)
        if part is not None:
            low, high, error = part.slopes(position, np.arange(len(places)), np.arange(len(places)))
            return summed(places, low, high, error, g[places][:, None])
    whole = exact.whole()
    if whole is None:
        return None
    low, high, error = whole.slopes(position, places, places if elementwise else None)
    return summed(places, low, high, error, g[places][:, None] if elementwise else g[None])


def nearest(found: Elements, value: Any) -> Any:
    """The size of what each value should be: of its interval's nearest point."""
    return np.abs(np.clip(value, found.low, found.high))


def compare(found: Elements, value: Any, allowed: Any) -> tuple[Any, Any]:
    """(distance of each value from its interval beyond the error bar and the tolerance, whether the bar is decisive)"""
    with np.errstate(all="ignore"):
        outside = np.maximum(found.low - value, value - found.high)
        outside = np.where(np.isfinite(found.error), outside - found.error - allowed, -np.inf)
        outside = np.where(np.isnan(value) & np.isfinite(found.error), np.inf, outside)
        vague = (found.high > found.low) & (found.error > (found.high - found.low) / 4)
        # An infinite slope has no finite error bar, and a wide one may stand for it.
        ends = np.maximum(np.abs(found.low), np.abs(found.high))
        vague |= np.isinf(value) & (found.error > DECISIVE * np.maximum(ends, 1))
        outside = np.where(vague, -np.inf, outside)
        size = np.maximum(np.maximum(np.abs(found.low), np.abs(found.high)), np.abs(value))
        decisive = np.isfinite(found.error) & (found.error <= DECISIVE * size + allowed) & ~vague & np.isfinite(value)
    return outside, decisive
