"""Elements whose one-sided slopes differ: a closer look whether the kink is at the point or beside it, and what more
than the one-sided slopes a generalised gradient may be where elements are tied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbgrad.testing.oracle.elements import Elements
from nbgrad.testing.oracle.precision import Precision

__all__ = ["closer", "tied_slopes"]


def _units(x: Any) -> Any:
    with np.errstate(all="ignore"):
        return np.exp2(np.floor(np.log2(np.where((x == 0) | ~np.isfinite(x), 2.0**-20, np.abs(x)).astype(np.float64))))


def closer(precision: Precision, position: int, g: Any, found: Elements, elementwise: bool, refused: Any) -> Elements:
    """``found`` with slopes in place of the intervals, and of slopes that refuse the value, where steps of the
    precision's half see no kink: between many kinks longer ones see slopes that there are not.
    """
    interval = ((found.high > found.low) | refused) & np.isfinite(found.error)
    if not interval.any():
        return found
    x, f = precision.arrays[position], precision.value.astype(precision.work)
    flat, weight = x.ravel(), g.astype(precision.work)
    places = found.places[interval]
    with np.errstate(all="ignore"):
        h = _units(flat[places]) * 2.0 ** np.ceil(np.log2(precision.eps) / 2 + 2)

        def change(sign: int) -> Any:
            if elementwise:
                moved = flat.copy()
                moved[places] += (sign * h).astype(x.dtype)
                return (weight * (precision.at(position, moved.reshape(x.shape)) - f)).ravel()[places]
            changes = []
            for place, step in zip(places, h, strict=True):
                moved = flat.copy()
                moved[place] += sign * step
                changes.append((weight * (precision.at(position, moved.reshape(x.shape)) - f)).sum())
            return np.array(changes)

        up, down = change(1) / h, -change(-1) / h
        level = np.abs(weight * f).ravel()[places] if elementwise else np.abs(weight * f).sum()
        noise = 16 * precision.eps * level / h
        here = found.of(interval)
        gap = np.where(here.high > here.low, here.high - here.low, np.maximum(np.abs(up), np.abs(here.low)))
        smooth = (np.abs(up - down) <= gap / 64) & (noise <= gap / 64) & np.isfinite(up - down)
        slope, bar = (up + down) / 2, np.abs(up - down) + noise + 2.0**-20 * np.abs(up)
        apart = np.maximum(here.low - slope, slope - here.high) > here.error + bar
        smooth &= apart | (here.high > here.low)
    sharp = Elements(found.places, *(np.array(v, np.float64) for v in (found.low, found.high, found.error, found.size)))
    at = np.flatnonzero(interval)[smooth]
    sharp.low[at] = sharp.high[at] = slope[smooth]
    sharp.error[at] = bar[smooth]
    return sharp


def tied_slopes(precision: Precision, position: int, place: int, g: Any, floats: Sequence[int]) -> tuple[float, float]:
    """The least and the largest slope of Σ g · forward by one element at points nearby, where the elements that are
    equal to it are in every order: (inf, -inf) if there are none, or if the slopes come together with the points, as
    those of a smooth function.
    """
    x = precision.arrays[position].ravel()[place]
    ties = [(i, int(k)) for i in floats for k in np.flatnonzero(precision.arrays[i].ravel() == x)]
    if len(ties) < 2:
        return np.inf, -np.inf
    weight, own = g.astype(precision.work), ties.index((position, place))
    every = np.abs(precision.arrays[position].astype(np.float64))
    most = float(every.max(initial=0, where=np.isfinite(every)))
    size = float(_units(np.array([max(abs(float(x)), most / 16) or 1.0]))[0])
    apart = size * 2.0 ** np.ceil(np.log2(precision.eps) * 2 / 3)

    def slopes(apart: float) -> tuple[list[float], float]:
        found, most = [], 0.0
        for shift in range(min(len(ties), 32)):
            arrays = [a.copy() for a in precision.arrays]
            for rank, (i, k) in enumerate(ties):
                arrays[i].reshape(-1)[k] += (((rank - own) * 7 + shift) % len(ties) - len(ties) / 2) * apart
            there = Precision(precision.name, precision.function, arrays, precision.value, precision.dtype)
            values, h = [], apart / 4
            for sign in (1, -1):
                moved = arrays[position].copy()
                moved.reshape(-1)[place] += sign * h
                values.append(there.at(position, moved))
            with np.errstate(all="ignore"):
                slope = float((weight * (values[0] - values[1])).sum() / (2 * h))
                noise = float(16 * precision.eps * np.sum(np.abs(weight * values[0]), where=values[0] != values[1]) / h)
            if np.isfinite(slope + noise):
                found.append(slope)
                most = max(most, noise)
        return found or [0.0], most

    (far, noise), (near, more) = slopes(apart), slopes(apart / 8)
    widths = max(far) - min(far), max(near) - min(near)
    if not widths[0] / 2 <= widths[1] <= widths[0] * 2 or widths[0] <= 2.0**-6 * max(map(abs, far)) + 4 * more:
        return np.inf, -np.inf
    return min(far) - noise, max(far) + noise
