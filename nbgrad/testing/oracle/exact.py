"""Slopes in mpmath's arithmetic, where the other precisions cannot see: σ(40) in float64 is 1, its slope 4e-18."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.testing.oracle.precision import DIGITS, evaluated, part_of
from nbgrad.testing.oracle.wide import Wide, wide_numbers

__all__ = ["Exact", "ExactFunction"]

#: h/|x|. The truncation, h² = 2^-266, is below every rounding error; no two floats are nearer to each other than 2^-53.
_STEP = -133


#: Of functions of more numbers, and with more results, mpmath is asked for a part of the elements or not at all.
_MANY = 20_000


class Exact:
    """A function in mpmath's numbers, made when it is first asked for: the caller's ``reference`` or forward itself."""

    def __init__(self, forward: Any, reference: Any, arrays: Sequence[Any], value: Any) -> None:
        self.forward, self.reference, self.arrays, self.value = forward, reference, arrays, value
        self._whole: tuple[ExactFunction | None] | None = None

    def whole(self) -> ExactFunction | None:
        """None where the function does not take such numbers; ValueError if that is the caller's reference."""
        if self._whole is None:
            many = sum(a.size for a in self.arrays) + self.value.size > _MANY
            self._whole = (None if many and self.reference is None else self._made(self.arrays, self.value),)
            if self.reference is not None and self._whole[0] is None:
                why = "mpmath is missing, or its values are not forward's"
                why = f"it raised {self._failure!r}" if self._failure else why
                raise ValueError(f"reference: expected forward's values for arrays of mpmath's numbers, but {why}")
        return self._whole[0]

    def of(self, places: Any) -> ExactFunction | None:
        """Of an elementwise function: for some of the elements alone; None where it does not take those."""
        arrays = part_of(self.arrays, places, self.value.shape)
        value, there = self.value.ravel()[places], evaluated(self.forward, arrays)
        if there is None or there.dtype != value.dtype or not np.array_equal(there, value, equal_nan=True):
            return None
        return self._made(arrays, value)

    def _made(self, arrays: Sequence[Any], value: Any) -> ExactFunction | None:
        made = ExactFunction(self.reference or self.forward, arrays, value, self.reference is not None)
        self._failure = made.failure
        return made if made.ready else None


class ExactFunction:
    """``function`` of arrays of mpmath numbers; `ready` says whether it takes them and has the right value.

    ``given`` is a caller's own reference, which expects the numbers of ``mpmath.mp``; otherwise the checked function
    itself is tried, with `Wide` numbers. Where it makes floats of them its values are not theirs, and not used.
    """

    def __init__(self, function: Callable[..., Any], arrays: Sequence[Any], value: Any, given: bool) -> None:
        floats = [a for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        self.function, self.given, self.shape = function, given, value.shape
        self.digits = max(DIGITS.get(a.dtype.itemsize, 450) for a in floats)
        self.numbers = wide_numbers(self.digits)
        self.ready = False
        self.failure: Exception | None = None
        if self.numbers is None:
            return
        self.context = self.numbers.context
        if given:
            import mpmath

            self.context = mpmath.mp
        with self._digits():
            self.arrays = [self._numbers(a) for a in arrays]
            self.value = self._values(self.arrays)
        finite = np.isfinite(value)
        if self.value is not None:
            there = self._floats(self.value)
            with np.errstate(all="ignore"):
                size = np.abs(value[finite]).max(initial=0)
                near = np.abs(there - value) <= 2.0**-6 * np.abs(value) + 2.0**-10 * size + np.finfo(value.dtype).tiny
            self.ready = bool(near[finite].all())

    def _digits(self) -> Any:
        return self.context.workdps(self.digits) if self.given else contextlib.nullcontext()

    def _numbers(self, array: Any) -> Any:
        if not (isinstance(array, np.ndarray) and array.dtype.kind == "f"):
            return array
        made = np.empty(array.shape, object)
        for i, v in enumerate(array.ravel()):
            made.flat[i] = self.context.mpf(float(v))
        return made if self.given else made.view(Wide)

    def _values(self, arrays: Sequence[Any]) -> Any:
        assert self.numbers is not None
        self.numbers.narrowed = False
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(self.function(*arrays), dtype=object)
            if found.shape != self.shape or self.numbers.narrowed:
                return None
            flat = [self.context.mpf(self.context.convert(v)) for v in found.ravel()]
        except Exception as error:
            self.failure = error
            return None
        made = np.empty(self.shape, object)
        for i, v in enumerate(flat):
            made.flat[i] = v
        return made

    @staticmethod
    def _floats(values: Any) -> Any:
        return np.array([float(v) for v in values.ravel()], np.float64).reshape(values.shape)

    def slopes(self, position: int, places: Any, outputs: Any) -> Any:
        """(low, high, error) of ∂f/∂x, float64 (elements, outputs); ``outputs``: None for all, or the one that each
        element moves, with which all elements are moved at once.
        """
        with self._digits():
            if outputs is not None:
                found = self._moved(position, [int(p) for p in places])
                return tuple(np.array([row[o] for o in outputs])[:, None] for row in found)
            rows = [self._moved(position, [int(place)]) for place in places]
            return tuple(np.stack(part) for part in zip(*rows, strict=True))

    def _moved(self, position: int, places: list[int]) -> Any:
        mp, n = self.context, int(np.prod(self.shape, dtype=int))
        x = self.arrays[position].ravel()
        sizes = [abs(v) for a in self.arrays if isinstance(a, np.ndarray) and a.dtype == object for v in a.ravel()]
        smallest = min([s for s in sizes if s and mp.isfinite(s)] or [mp.mpf(1)])
        # Nowhere beyond 2^-133: at 1e40 a part of x would be several waves of a sine.
        steps = {i: mp.ldexp(min(abs(x[i]) or smallest, 1), _STEP) for i in places}
        points = []
        for sign, part in ((1, 0), (-1, 0), (1, -1), (-1, -1)):  # ±h, ±h/2
            moved = x.copy()
            for i, step in steps.items():
                moved[i] = x[i] + sign * mp.ldexp(step, part)
            arrays = list(self.arrays)
            arrays[position] = moved.reshape(self.arrays[position].shape)
            values = self._values(arrays)
            if values is None:
                return np.zeros(n), np.zeros(n), np.full(n, np.inf)
            points.append(values.ravel())
        only = steps[places[0]] if len(places) == 1 else None
        rows = []
        for f, *values, step in zip(self.value.ravel(), *points, (steps.get(o, only) for o in range(n)), strict=True):
            rows.append(self._slope(f, values, step))
        return tuple(np.array(part) for part in zip(*rows, strict=True)) if rows else (np.zeros(0),) * 3

    def _slope(self, f: Any, values: list[Any], h: Any) -> tuple[float, float, float]:
        """(low, high, error) of one output from its values at x ± h and x ± h/2; -inf ... inf where it has no limit."""
        mp = self.context
        if h is None or not all(mp.isfinite(v) for v in (f, *values)):
            return 0.0, 0.0, np.inf
        up, down, up2, down2 = ((v - f) / s for v, s in zip(values, (h, -h, h / 2, -h / 2), strict=True))
        noise = mp.mpf(10) ** (8 - self.digits) * max(abs(v) for v in (f, *values)) / h
        # The sides of a smooth function come together with h, those of a kink do not, and an infinite slope has none:
        # half the step shows neither the same slope nor, as at the bottom of a square, half of it.
        for wide, near in ((up, up2), (down, down2)):
            if abs(near - wide) > mp.ldexp(abs(near), -60) + 4 * noise and abs(near) > abs(wide) * 3 / 4:
                return -np.inf, np.inf, np.inf
        if abs(up2 - down2) > max(abs(up - down) * 3 / 4, mp.ldexp(abs(up2) + abs(down2), -60)) + 4 * noise:
            return float(min(up2, down2)), float(max(up2, down2)), float(noise)
        wide, near = (up + down) / 2, (up2 + down2) / 2
        center = float((4 * near - wide) / 3)
        return center, center, float(8 * noise + abs(near - wide))
