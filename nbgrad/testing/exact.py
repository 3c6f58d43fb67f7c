"""Slopes in mpmath's arithmetic, where the other precisions cannot see: σ(40) in float64 is 1, its slope 4e-18."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.testing.precision import DIGITS, exact_numbers

__all__ = ["ExactFunction"]

#: h/|x|. The truncation, h² = 2^-266, is below every rounding error; no two floats are nearer to each other than 2^-53.
_STEP = -133


class ExactFunction:
    """``function`` of arrays of mpmath numbers; `ready` says whether it takes them and has the right value.

    ``given`` is a caller's own reference, which expects the numbers of ``mpmath.mp``; otherwise the checked function itself
    is tried, with numbers that know the methods NumPy calls.
    """

    def __init__(self, function: Callable[..., Any], arrays: Sequence[Any], value: Any, given: bool) -> None:
        floats = [a for a in arrays if isinstance(a, np.ndarray) and a.dtype.kind == "f"]
        self.function, self.given, self.shape = function, given, value.shape
        self.digits = max(DIGITS.get(a.dtype.itemsize, 450) for a in floats)
        context = exact_numbers(self.digits)
        self.ready, self.failure = False, None
        if context is None:
            return
        if given:
            import mpmath

            context = mpmath.mp
        self.context = context
        with self._digits():
            self.arrays = [self._numbers(a) for a in arrays]
            self.value = self._values(self.arrays)
        finite = np.isfinite(value)
        if self.value is not None:
            there = self._floats(self.value)
            with np.errstate(all="ignore"):
                size = np.abs(value[finite]).max(initial=0)
                near = np.abs(there - value) <= 2.0**-6 * np.abs(value) + 2.0**-10 * size
            self.ready = bool(near[finite].all())

    def _digits(self) -> Any:
        return self.context.workdps(self.digits) if self.given else contextlib.nullcontext()

    def _numbers(self, array: Any) -> Any:
        if not (isinstance(array, np.ndarray) and array.dtype.kind == "f"):
            return array
        made = np.empty(array.shape, object)
        for i, v in enumerate(array.ravel()):
            made.flat[i] = self.context.mpf(float(v))
        return made

    def _values(self, arrays: Sequence[Any]) -> Any:
        try:
            with np.errstate(all="ignore"):
                found = np.asarray(self.function(*arrays), dtype=object)
            if found.shape != self.shape:
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

    def slopes(self, position: int, places: Sequence[int], outputs: Any) -> Any:
        """(low, high, error) of ∂f/∂x, float64 (elements, outputs); ``outputs``: None for all, or the one that each element
        moves, with which all elements are moved at once.
        """
        with self._digits():
            if outputs is not None:
                found = self._moved(position, list(places))
                return tuple(np.array([row[o] for o in outputs])[:, None] for row in found)
            rows = [self._moved(position, [place]) for place in places]
            return tuple(np.stack(part) for part in zip(*rows, strict=True))

    def _moved(self, position: int, places: list[int]) -> Any:
        mp, n = self.context, int(np.prod(self.shape, dtype=int))
        x = self.arrays[position].ravel()
        sizes = [abs(v) for a in self.arrays if isinstance(a, np.ndarray) and a.dtype == object for v in a.ravel()]
        smallest = min([s for s in sizes if s and mp.isfinite(s)] or [mp.mpf(1)])
        steps = {i: mp.ldexp(abs(x[i]) or min(smallest, 1), _STEP) for i in places}
        h = max(steps.values()) if len(places) == 1 else None
        sides = []
        for sign in (1, -1):
            moved = x.copy()
            for i, step in steps.items():
                moved[i] = x[i] + sign * step
            arrays = list(self.arrays)
            arrays[position] = moved.reshape(self.arrays[position].shape)
            values = self._values(arrays)
            sides.append(self.value if values is None else values)
        low, high, error = np.zeros(n), np.zeros(n), np.full(n, np.inf)
        f, plus, minus = (v.ravel() for v in (self.value, *sides))
        for o in range(n):
            step = h if h is not None else steps.get(o)
            if step is None or not (mp.isfinite(f[o]) and mp.isfinite(plus[o]) and mp.isfinite(minus[o])):
                continue
            if sides[0] is self.value or sides[1] is self.value:
                continue
            up, down = (plus[o] - f[o]) / step, (f[o] - minus[o]) / step
            noise = mp.mpf(10) ** (8 - self.digits) * max(abs(f[o]), abs(plus[o]), abs(minus[o])) / step
            apart = abs(up - down)
            kink = apart > mp.ldexp(abs(up) + abs(down), -60) + noise
            center = (up + down) / 2
            low[o], high[o] = (
                (float(min(up, down)), float(max(up, down))) if kink else (float(center), float(center))
            )
            error[o] = float(noise + mp.ldexp(apart, -60))
        return low, high, error
