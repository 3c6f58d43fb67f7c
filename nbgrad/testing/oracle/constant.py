"""Slopes of exactly 0: where a function is constant up to a kink, as a clamp is, and not saturated; or even.

Both have values that keep every bit when the argument moves. But a clamp's interval ends in a kink, behind which the
values move away in proportion to a power of the distance, and by much more than their rounding at once; where
saturation ends the values move by one unit in the last place, and then ever faster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.oracle.precision import Precision

__all__ = ["constant"]

#: Distances from the point in which the end of the interval is looked for, and how exactly it is found.
DISTANCES, HALVINGS = np.exp2(np.arange(-24.0, 25.0, 3.0)), 60


def constant(precision: Precision, position: int, places: Any, elementwise: bool) -> Any:
    """Whether the function is constant around each of the elements ``places``: to a kink on each side, or to one
    and to no end on the other, or without an end, 2²¹ times as far as the element is from 0 and more. Or whether it
    is even there.
    """
    x = precision.arrays[position]
    at = x.ravel()[places].astype(precision.dtype)
    values = _elementwise(precision, position, places) if elementwise else _one_by_one(precision, position, places)
    constant = np.isfinite(at)
    for sign in (1, -1):
        kinks, unbounded = _end(values, at, sign)
        constant &= kinks | unbounded
    return constant | _even(values, at)


Values = Callable[[Any], Any]


def _elementwise(precision: Precision, position: int, places: Any) -> Values:
    def values(points: Any) -> Any:
        moved = precision.arrays[position].copy()
        moved.reshape(-1)[places] = points
        return precision.at(position, moved).reshape(-1)[places][:, None]

    return values


def _one_by_one(precision: Precision, position: int, places: Any) -> Values:
    def values(points: Any) -> Any:
        rows = []
        for place, point in zip(places, points, strict=True):
            moved = precision.arrays[position].copy()
            moved.reshape(-1)[place] = point
            rows.append(precision.at(position, moved).ravel())
        return np.stack(rows)

    return values


def _even(values: Values, at: Any) -> Any:
    """Whether the values are the same to either side of each element, to the last bit and at all distances, and grow
    faster than in proportion: a quadratic function where it is least.
    """
    here = values(at)
    with np.errstate(all="ignore"):
        scale = np.maximum(np.abs(at), 1)
        even = np.ones(len(at), bool)
        for factor in DISTANCES:
            up, down = (values((at + sign * factor * scale).astype(at.dtype)) for sign in (1, -1))
            even &= ((up == down) | (np.isnan(up) & np.isnan(down))).all(axis=1)
        far, near, nearest = (
            np.abs(values((at + factor * scale).astype(at.dtype)) - here).max(axis=1, initial=0)
            for factor in (0.25, 0.125, 0.0625)
        )
        return even & (far > 2.5 * near) & (near > 2.5 * nearest) & (nearest > 0)


def _end(values: Values, at: Any, sign: int) -> tuple[Any, Any]:
    """For each element (whether its interval ends in a kink on this side, whether it does not end)"""
    dtype = at.dtype
    here = values(at)

    def moved_by(distance: Any) -> Any:
        """How far the values move."""
        change = np.abs(values((at + sign * distance).astype(dtype)) - here)
        return np.where(np.isnan(change), np.inf, change).max(axis=1, initial=0)

    with np.errstate(all="ignore"):
        scale = np.maximum(np.abs(at), 1)
        inside, outside = np.zeros_like(at), np.full_like(at, np.inf)
        for factor in DISTANCES:
            distance = (factor * scale).astype(dtype)
            same = moved_by(distance) == 0
            inside = np.where(np.isinf(outside) & same, distance, inside)
            outside = np.where(np.isinf(outside) & ~same, distance, outside)
        unbounded = np.isinf(outside)
        outside = np.where(unbounded, inside, outside)
        for _ in range(HALVINGS):
            middle = inside + (outside - inside) / 2
            same = moved_by(middle) == 0
            inside, outside = np.where(same, middle, inside), np.where(same, outside, middle)
        info = np.finfo(dtype)
        noise = float(info.eps) ** 0.6 * np.abs(here).max(axis=1, initial=0) + float(info.tiny)
        power = np.zeros(len(at), bool)
        for size in (np.abs(at + sign * inside), np.minimum(inside, 1)):  # the end may be 0, or far away
            far, near, nearest = (moved_by(inside + 2.0**-10 * size * part) for part in (1, 0.5, 0.25))
            first, second = far / near, near / nearest
            power |= (first > 1.75) & (np.abs(first / second - 1) < 0.125) & (nearest > noise) & np.isfinite(far)
    return power & (inside > 0) & ~unbounded, unbounded
