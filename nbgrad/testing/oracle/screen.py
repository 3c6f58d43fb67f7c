"""Which of many elements are in doubt: along directions through many of them ⟨grad, v⟩ must be the derivative of
Σ grad_output · forward along v, and where it is not halves of the direction are asked in turn.

Elements that are equal move together, for where maxima are tied or sorted numbers equal there is a derivative along no
other direction: of all generalised gradients at a tie the sum is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nbgrad.testing.oracle.precision import Precision

__all__ = ["Screen"]

#: Lengths of the first step, beside the elements' own size; of each two halves more make an extrapolation.
_STEPS = (2.0**-8, 2.0**-18, 2.0**-28)
#: The elements of many are asked in so many parts: what is off in one of them is less beside the rounding of all.
_MANY, _PARTS = 4096, 8
#: How many directions are asked beside those of one bisection.
_BUDGET = 24


class Screen:
    """``precision`` at one point with ``grads`` by argument; ``room``: what they may be off, elementwise."""

    def __init__(
        self, precision: Precision, g: Any, grads: Mapping[int, Any], room: Mapping[int, Any],
        domains: Mapping[int, tuple[float, float]], rng: Any,
    ) -> None:  # fmt: skip
        self.precision, self.work = precision, precision.work
        self.g = g.ravel().astype(self.work)
        self.grads = {i: v.ravel().astype(self.work) for i, v in grads.items()}
        self.room = {i: np.asarray(v, np.float64).ravel() for i, v in room.items()}
        self.value = precision.value.ravel().astype(self.work)
        self.directions, parts, values = {}, [], []
        for i in grads:
            x = precision.arrays[i].ravel().astype(np.float64)
            low, high = domains.get(i, (-np.inf, np.inf))
            with np.errstate(all="ignore"):
                size = np.exp2(np.floor(np.log2(np.where(x == 0, 1.0, np.minimum(np.abs(x), 1.0)))))
                inside = (x - size / 128 > low) & (x + size / 128 < high) & np.isfinite(x)
            self.directions[i] = np.where(inside, size, 0.0)
            parts.append(np.stack([np.full(x.size, i), np.arange(x.size)], axis=1))
            values.append(x)
        self.places = np.concatenate(parts)  # (argument, flat index) of each element
        _, self.group = np.unique(np.concatenate(values), return_inverse=True)
        self.group = self.group.ravel()
        self.groups = int(self.group.max(initial=-1)) + 1
        factors = rng.choice(np.array([-1.0, 1.0]), self.groups) * rng.choice(np.array([0.5, 0.75, 1.0]), self.groups)
        for i in grads:
            self.directions[i] = self.directions[i] * factors[self.group[self.places[:, 0] == i]]
        self.order = rng.permutation(self.groups)
        self.left = _BUDGET + 2 * self.groups.bit_length()
        #: whether everything passed or was found, nothing left open
        self.sure = True

    @property
    def tied(self) -> bool:
        return self.groups < len(self.places)

    def doubtful(self) -> list[tuple[Any, float]]:
        """Groups that do not pass: ((argument, flat index) rows, how far the sum is off in parts of its size)."""
        ends = np.linspace(0, self.groups, 1 + (_PARTS if self.groups > _MANY else min(self.groups, 1))).astype(int)
        return [found for a, b in zip(ends[:-1], ends[1:], strict=True) for found in self._search(int(a), int(b), None)]

    def _search(self, first: int, last: int, known: tuple[str, float] | None) -> list[tuple[Any, float]]:
        if self.left <= 0:
            self.sure = False
            return []
        word, off = known or self._asked(self.order[first:last])
        if word == "right":
            return []
        if word == "unknown" and self.groups > _MANY:  # each takes long, and the next ones will hardly know more
            self.left -= _BUDGET // 3
        if last - first == 1:
            self.sure &= word == "off"
            return [(self.places[self.group == self.order[first]], off)]
        middle = (first + last) // 2
        near = self._asked(self.order[first:middle])
        found = self._search(first, middle, near)
        # What is off in one half of a direction need not be looked for in the other, before it is known to be there.
        return found + self._search(middle, last, ("off", off) if near[0] == "right" and word == "off" else None)

    def _at(self, direction: Mapping[int, Any], t: float) -> Any:
        """g · (f(x + t v) − f(x))"""
        arrays = list(self.precision.arrays)
        for i, v in direction.items():
            x = arrays[i]
            arrays[i] = (x.ravel() + (t * v).astype(x.dtype)).astype(x.dtype).reshape(x.shape)
        try:
            value = np.asarray(self.precision.function(*arrays))
        except Exception:
            return np.nan
        if value.size != self.value.size:
            return np.nan
        change = value.ravel().astype(self.work) - self.value
        return np.sum(self.g * change, where=self.g != 0)

    def _asked(self, groups: Any) -> tuple[str, float]:
        """ "right", "off" or "unknown" for the direction through these groups, and how far it is off."""
        self.left -= 1
        chosen = np.zeros(self.groups, bool)
        chosen[groups] = True
        own = chosen[self.group]
        direction = {i: np.where(own[self.places[:, 0] == i], v, 0.0) for i, v in self.directions.items()}
        with np.errstate(all="ignore"):
            products = [self.grads[i] * v for i, v in direction.items()]
            value = sum(np.sum(p, where=direction[i] != 0) for i, p in zip(direction, products, strict=True))
            size = sum(np.sum(np.abs(p), where=direction[i] != 0) for i, p in zip(direction, products, strict=True))
            granted = 2 * sum(float((self.room[i] * np.abs(v)).sum()) for i, v in direction.items())
            granted += 4 * self.precision.eps * float(size)
            # A value of 0 may be the difference of others, of the size of 1: log(1 + x).
            level = np.sum(np.abs(self.g * self.value), where=self.g != 0) + np.sqrt(np.sum(self.g**2))
            for i, v in direction.items():  # x + h is rounded, too
                level += np.sum(np.abs(self.grads[i] * self.precision.arrays[i].ravel()), where=v != 0) / 4
            best = np.inf, np.nan
            for step in _STEPS:
                bar, rounding, slope = self._slope(direction, step, level)
                if bar < best[0]:
                    best = bar, slope
                if best[0] <= max(granted, 2 * rounding):  # which a shorter step has more of
                    break
            bar, slope = best
            distance = abs(float(value - slope))
            if not np.isfinite(bar) or np.isnan(float(value)):
                return "unknown", 0.0
            if distance <= granted + bar:
                sharp = granted + 2.0**-10 * float(size) / len(groups)  # sees a single element among them
                return ("right" if bar <= sharp else "unknown"), 0.0
            off = (distance - granted - bar) / max(float(abs(slope)), float(size), 1e-300)
            return ("off" if distance > 2 * (granted + bar) else "unknown"), off

    def _slope(self, direction: Mapping[int, Any], step: float, level: Any) -> tuple[float, float, Any]:
        """(error bar, rounding's part, derivative along the direction), inf where its sides do not come together."""
        hs = step * np.array([1, 0.5, 0.25])
        both = [np.array([self._at(direction, s * h) for h in hs], self.work) for s in (1, -1)]
        up: Any = both[0]
        down: Any = both[1]
        gap, central = np.abs(up + down) / hs, (up - down) / (2 * hs)
        level = level + max(np.abs(up).max(), np.abs(down).max())
        rounding = float((8 * self.precision.eps * level + self.precision.tiny) / hs[2])
        if not np.isfinite(central).all() or gap[2] > gap[0] / 2 + 4 * rounding:
            return np.inf, 4 * rounding, np.nan
        steps = np.abs(np.diff(central))
        if steps[1] > 0.35 * steps[0] + 2 * rounding:  # a jump of the second derivative: no extrapolation
            return float(abs(central[2] - central[0])) + 4 * rounding, 4 * rounding, central[2]
        once = (4 * central[1:] - central[:-1]) / 3
        slope = (16 * once[1] - once[0]) / 15
        return float(2 * np.abs(slope - once[1])) + 4 * rounding, 4 * rounding, slope
