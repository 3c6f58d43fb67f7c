"""What may be behind a failure, where the numbers or the functions say so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbgrad.testing.compare import Elements
from nbgrad.testing.oracle.precision import evaluated
from nbgrad.testing.problem import Problem
from nbgrad.testing.state import line, wrapping

__all__ = ["of_nan", "of_nothing", "of_ratio", "of_state"]

#: An error bar up to this part of the slope tells 2 from 1.99.
SHARP = 2.0**-10


def of_ratio(problem: Problem, position: int, gradient: Any, found: Elements) -> str:
    """A sign, a factor 2, the length of an axis or grad_output, where they are what all wrong elements are off by."""
    values = gradient.ravel()[found.places].astype(np.float64)
    with np.errstate(all="ignore"):
        slope = (found.low + found.high) / 2
        ratio = values / slope
        bar = (found.error + (found.high - found.low) / 2) / np.abs(slope)
        room = bar + 64 * problem.eps(gradient.dtype)
        wrong = (bar <= SHARP) & np.isfinite(ratio) & (np.abs(ratio - 1) > room)
    if not wrong.any():
        return ""
    if _is_symmetric(problem, position, gradient, found.places[wrong]):
        label = problem.call.label(position)
        return line(f"{label} is a symmetric matrix, but its elements were moved one by one; see symmetric=")

    def all_are(factor: Any) -> bool:
        with np.errstate(all="ignore"):
            return bool((np.abs(ratio - factor) <= room * np.abs(factor))[wrong].all())

    g = problem.grad_output
    uses_g = "grad_output" not in problem.call.hidden
    if uses_g:
        other = problem.quietly(g * g.dtype.type(-3), problem.pristine).get(position)
        if other is not None and gradient.any() and np.array_equal(other, gradient):
            return line(f"{problem.names[1]} gives the same for another grad_output: it does not use it")
    name = f"{problem.names[1]} is"
    if all_are(-1.0):
        return line(f"{name} -1 times the slope: a sign")
    for n, what in _lengths(problem, position).items():
        said = f"a factor of 2{', or ' + what if what else ''}" if n == 2 else what
        if all_are(float(n)):
            return line(f"{name} {n} times the slope: {said}")
        if all_are(1.0 / n):
            return line(f"{name} 1/{n} of the slope: {said}")
    if uses_g and g.shape in ((), gradient.shape):
        factor = np.broadcast_to(g, gradient.shape).ravel()[found.places].astype(np.float64)
        if all_are(factor):
            return line(f"{name} grad_output times the slope: it is multiplied in twice")
    return ""


def _is_symmetric(problem: Problem, position: int, gradient: Any, wrong: Any) -> bool:
    """Whether a matrix and its gradient are symmetric, and only elements beside the diagonal are wrong."""
    x = problem.pristine[position]
    if problem.call.keywords.get("symmetric") or x.ndim != 2 or x.shape[0] != x.shape[1]:
        return False
    beside = wrong // len(x) != wrong % len(x)
    return bool(beside.all()) and np.array_equal(x, x.T) and np.allclose(gradient, gradient.T, equal_nan=True)


def _lengths(problem: Problem, position: int) -> dict[int, str]:
    """2 and the sizes that a sum may have been divided by, or not: what each is."""
    found: dict[int, list[str]] = {2: []}
    for what, a in ((problem.call.label(position), problem.pristine[position]), ("the result", problem.value_here)):
        if a.ndim:
            found.setdefault(a.size, []).append(f"the number of elements of {what}")
        for axis, n in enumerate(a.shape if a.ndim > 1 else ()):
            found.setdefault(n, []).append(f"the length of axis {axis} of {what}")
    return {n: " or ".join(names[:2]) for n, names in found.items() if n > 1}


def of_nan(problem: Problem) -> str:
    """That forward's own result is nan, or an argument."""
    for i, a in enumerate(problem.pristine):
        if a.dtype.kind == "f" and np.isnan(a).any():
            return line(f"{problem.call.label(i)} itself is nan at {_first(np.isnan(a))}")
    if np.isnan(problem.value_here).any():
        return line(f"{problem.names[0]} itself is nan at {_first(np.isnan(problem.value_here))}")
    return ""


def of_nothing(problem: Problem) -> str:
    """Why nothing could be confirmed."""
    known = of_nan(problem)
    if known:
        return known
    value = problem.value_here
    if np.isinf(value).any():
        return line(f"{problem.names[0]} itself is {value[_first(np.isinf(value))]} at {_first(np.isinf(value))}")
    return line(
        f"{problem.names[0]}'s digits do not tell its slope here, as where it is saturated; "
        "reference=, or other arguments, may"
    )


def _first(where: Any) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(where)[0]) if where.ndim else ()


def of_state(problem: Problem) -> str:
    """That backward depends on the arguments of forward's last call, and how to wrap such a layer."""

    def after(arrays: Sequence[Any]) -> Any:
        evaluated(problem.forward, [a.copy() for a in arrays])
        return problem.quietly(problem.grad_output.copy(), [a.copy() for a in problem.pristine])

    other = [a * a.dtype.type(0.875) if a.dtype.kind == "f" else a for a in problem.pristine]
    first, between, again = after(problem.pristine), after(other), after(problem.pristine)
    if not first or first.keys() != between.keys() or first.keys() != again.keys():
        return ""
    same = all(np.array_equal(first[i], again[i], equal_nan=True) for i in first)
    if not same or all(np.array_equal(first[i], between[i], equal_nan=True) for i in first):
        return ""
    return wrapping("(grad_output, *args)")
