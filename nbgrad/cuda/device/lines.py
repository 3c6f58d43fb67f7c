"""Formulas of numbers become formulas of lines: 16 bytes that a thread loads at a time, 4 float32 or 2 float64 numbers.

What keeps memory busy is bytes under way, so a thread loads ``ahead`` lines of each array before it uses the first
(NVVM loads each where it is used: a store might change what comes next). ``at`` says which they are: ``(start, i, step,
end)`` are the lines i, i + step, ... of those counted from the element ``start`` on, of which there are ``end``; where
lines do not lie on multiples of 16 bytes (not ``whole``) i, step and end count elements, and a "line" is made of
elements ``step`` apart, so that neighbouring threads read neighbouring ones. What lies beyond the end is loaded from
the last place again, and left out.

``a`` is a tuple of 1 or 2 arrays, ``terms`` a tuple, too. Tuples must be written out: Numba makes none in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda.device import intrinsics
from nbgrad.cuda.device.intrinsics import LINE, load
from nbgrad.jit import scalar

__all__ = ["Lines", "least", "of_elements", "size_of", "tree", "written"]


def size_of(dtype: Any) -> int:
    """Numbers of a line."""
    return LINE // np.dtype(dtype).itemsize


@scalar
def least(i, last):
    return i if i < last else last


def of_elements(f: Callable[..., Any], inputs: int) -> Callable[..., Any]:
    """``at(a, k, terms)``: f of element k of each of ``a``."""
    if inputs == 1:
        return scalar(lambda a, k, terms: f(a[0][k], *terms))
    return scalar(lambda a, k, terms: f(a[0][k], a[1][k], *terms))


def tree(terms: list[str], join: str = "({} + {})") -> str:
    """Their sum, by pairs: of 2ⁿ numbers each goes through n roundings. (Each is made where it is added.)"""
    half = (len(terms) + 1) // 2
    return join.format(tree(terms[:half], join), tree(terms[half:], join)) if len(terms) > 1 else terms[0]


def written(head: str, body: list[str], **names: Any) -> Callable[..., Any]:
    """The function ``head`` of these lines."""
    exec(compile("\n    ".join([f"def made({head}):", *body]), "<lines>", "exec"), names)
    return scalar(names["made"])


class Lines:
    """What threads do with ``ahead`` lines of each of ``inputs`` arrays; ``full``: none is beyond the end."""

    def __init__(self, dtype: Any, inputs: int, ahead: int, whole: bool = True, full: bool = False) -> None:
        self.full, self.zero, self.size = full, np.dtype(dtype).type(0), size_of(dtype)
        self.inputs, self.ahead, self.whole = inputs, ahead, whole
        #: By how much i grows from these lines of a thread to its next, for each step.
        self.turn = ahead if whole else ahead * self.size
        self.places = [(k, n) for k in range(ahead) for n in range(self.size)]

    def offset(self, k: int, n: int) -> str:
        """Where number n of line k stands."""
        return f"i + {k if self.whole else k * self.size + n} * step"

    def read(self, absent: Any = None) -> Callable[..., Any]:
        """``held(a, at)``: the lines, as held[line][array][number]; beyond the end stands ``absent`` (if given)."""
        each = [(array, k) for k in range(self.ahead) for array in range(self.inputs)]

        def taken(place: str, number: str) -> list[str]:
            """All lines loaded, then their numbers put together."""
            places = {own: [place.format(self.offset(k, n)) for n in range(self.size)] for own in each for k in own[1:]}
            loads = {
                (array, k): f"load(a[{array}], start + ({at[0]}) * {self.size})"
                if self.whole
                else f"({', '.join(f'a[{array}][start + {j}]' for j in at)})"
                for (array, k), at in places.items()
            }
            lines = {
                (array, k): ", ".join(number.format(f"v{array}_{k}[{n}]", self.offset(k, n)) for n in range(self.size))
                for array, k in each
            }
            tuples = ("".join(f"({lines[array, k]}), " for array in range(self.inputs)) for k in range(self.ahead))
            return [
                *(f"v{array}_{k} = {loads[array, k]}" for array, k in each),
                f"return ({''.join(f'({line}), ' for line in tuples)})",
            ]

        body = ["start, i, step, end = at"]
        if self.full:
            return written("a, at", [*body, *taken("{}", "{}")], load=load)
        body += [
            f"if {self.offset(*self.places[-1])} < end:",
            *(f"    {line}" for line in taken("{}", "{}")),
            "last = end - 1 if end > 0 else 0",
            *taken("least({}, last)", "{}" if absent is None else "{} if {} < end else absent"),
        ]
        return written("a, at", body, load=load, least=least, absent=absent)

    def _values(self) -> list[str]:
        """f of each number of each line."""
        own = [", ".join(f"held[{k}][{array}][{n}]" for array in range(self.inputs)) for k, n in self.places]
        return [f"y{k}_{n} = f({values}, *terms)" for (k, n), values in zip(self.places, own, strict=True)]

    def write(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``put(held, y, at, terms)``: f of what was read goes to the same places of y."""
        body = ["start, i, step, end = at"]
        for (k, n), value in zip(self.places, self._values(), strict=True):
            place, line = self.offset(k, n), ", ".join(f"y{k}_{j}" for j in range(self.size))
            body.append(value)
            if not self.whole or n == self.size - 1:
                store = f"store(y, start + ({place}) * {self.size}, ({line}))"
                store = store if self.whole else f"y[start + {place}] = y{k}_{n}"
                body += [store] if self.full else [f"if {place} < end:", f"    {store}"]
        return written("held, y, at, terms", body, f=f, store=intrinsics.store)

    def sum(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """``summed(held, at, terms)``: the sum of f of what was read."""
        own = [y.partition(" = ")[2] for y in self._values()]
        if not self.full:
            own = [f"({y} if {self.offset(*place)} < end else zero)" for y, place in zip(own, self.places, strict=True)]
        return written("held, at, terms", ["start, i, step, end = at", f"return {tree(own)}"], f=f, zero=self.zero)
