"""One argument's gradient against the oracle: the precisions in turn, from the cheapest, until every element is
decided.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.testing.compare import (
    ELEMENTS,
    EXACT_ELEMENTS,
    Elements,
    References,
    compare,
    differenced,
    exactly,
    nearest,
)
from nbgrad.testing.conditioning import Sensitivity, rounds
from nbgrad.testing.constant import constant
from nbgrad.testing.hints import of_nan, of_ratio, of_state
from nbgrad.testing.problem import Problem
from nbgrad.testing.report import GradientError, GradientReport, number

__all__ = ["ULPS", "Lazy", "check_argument"]

#: What a backward function may lose by its own rounding, in units of eps times the terms of the gradient and the
#: change of the gradient for a relative error of its inputs. nbgrad's kernels need 3 to 5; 64 let y(1 − y) pass down
#: to 1e-5.
ULPS = 16


class Lazy:
    """A value made when it is first asked for."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self.make, self.made, self.value = make, False, None

    def __call__(self) -> Any:
        if not self.made:
            self.value, self.made = self.make(), True
        return self.value


def check_argument(
    problem: Problem, references: References, exact: Lazy, position: int, gradient: Any, kinks: Any, domain: Any,
    tolerance: float | None, sensitivity: Sensitivity, imprecise: list[GradientError],
) -> tuple[GradientReport, bool]:  # fmt: skip
    """The report for one argument, and whether every element was looked at; the worst element that is no more than
    ``imprecise`` goes into that list.
    """
    if not gradient.size:
        return GradientReport(), True
    if not problem.grad_output.size:  # a sum over nothing
        if gradient.any():
            label = problem.call.label(position)
            problem.fail("wrong", f"the gradient of {label} is not 0, but forward's result is empty")
        return GradientReport(gradient.size, gradient.size), True
    info = np.finfo(gradient.dtype)
    rtol = ULPS * problem.eps(gradient.dtype) if tolerance is None else tolerance
    x = problem.pristine[position]
    with np.errstate(all="ignore"):
        scale = np.clip(np.abs(x.astype(np.float64).ravel()), 1, 2.0**20)
    values = gradient.astype(np.float64).ravel()
    half = problem.eps(gradient.dtype) ** 0.5
    given = sensitivity.given.ravel()
    change, excused = sensitivity.change.ravel() + given, sensitivity.excused.ravel() + given
    size = x.size
    places = np.sort(references.rng.permutation(size)[:ELEMENTS])

    def granted(found: Elements, change: Any) -> Any:
        at = found.places
        return rtol * (np.fmin(found.size, info.max) + change[at]) + problem.tiny * scale[at]

    def most(found: Elements) -> Any:
        """Beyond it an error is no rounding: half of the reference's digits."""
        return np.maximum(half * nearest(found, values[found.places]), granted(found, excused))

    def allowed(found: Elements) -> Any:
        return np.minimum(granted(found, change), most(found))

    found: Elements | None = None
    names: list[str] = []
    kinked = np.zeros(size, bool)
    for precision in references.precisions:
        if found is not None and not _doubtful(found, values, allowed(found)).any():
            break
        there = differenced(references, precision, position, places, kinks, domain)
        there = _narrowed(there)
        outside, _ = compare(there, values[there.places], allowed(there))
        if (outside > 0).any():  # again with other steps: of a million estimates one may be off by chance
            again = _narrowed(
                differenced(
                    references,
                    precision,
                    position,
                    there.places if len(there.places) < size else places,
                    kinks,
                    domain,
                    0.8125,
                )
            )
            milder = compare(again, values[again.places], allowed(again))[0] <= 0
            there = _chosen(milder & (outside > 0), again, there)
        names.append(precision.name)
        inside = (there.high > there.low) & (compare(there, values[there.places], allowed(there))[0] <= 0)
        kinked[there.places] |= inside
        found = there if found is None else _chosen(there.error < found.error, there, found)
    assert found is not None
    doubtful = _doubtful(found, values, allowed(found)) & ~kinked[found.places]
    if doubtful.any() and exact() is not None:
        references.exact = exact()
        outside, _ = compare(found, values[found.places], allowed(found))
        order = references.rng.permutation(np.flatnonzero(doubtful))
        with np.errstate(all="ignore"):  # the worst first: relative errors decide
            relative = np.nan_to_num(outside / nearest(found, values[found.places]), nan=0.0, neginf=0.0)
        order = order[np.argsort(-np.where(outside > 0, relative, 0)[order], kind="stable")]
        chosen = np.sort(order[:EXACT_ELEMENTS])
        diagonal = len(found.places) == size and problem.value_here.shape == x.shape and size > ELEMENTS
        sharp = exactly(references, position, found.places[chosen], diagonal)
        there = Elements(*(v.copy() for v in (found.places, found.low, found.high, found.error, found.size)))
        for name in ("low", "high", "error", "size"):
            getattr(there, name)[chosen] = getattr(sharp, name)
        found = _chosen(np.isfinite(there.error), there, found)
        # An error needs the sharpest oracle's word: elements that were not asked for are not refused.
        unasked = np.setdiff1d(np.flatnonzero(outside > 0), chosen)
        found.error[unasked] = np.inf
        names.append("mpmath")
    room = allowed(found)
    outside, decisive = compare(found, values[found.places], room)
    too_large = np.fmax(np.abs(found.low), np.abs(found.high)) > info.max / 8  # overflow is no fault of a gradient
    outside = np.where(too_large | kinked[found.places], -np.inf, outside)
    lost = outside > 0
    if lost.any():
        beyond = np.where(lost, outside + room, 0)
        wrong = beyond > most(found)
        if not wrong.any():
            errors = np.zeros(size)
            errors[found.places] = beyond
            moves = rounds(problem.quietly, problem.grad_output, problem.pristine, position, errors.reshape(x.shape))
            wrong = lost & ~moves.ravel()[found.places]
        worst = int(np.argmax(np.where(wrong, outside, -np.inf) if wrong.any() else outside))
        error = _error(problem, position, gradient, found, room, worst, names[-1], not wrong.any())
        if wrong.any():
            raise error
        imprecise.append(error)
    at_kink = (kinked[found.places] | (found.high > found.low) & np.isfinite(found.error)) & ~lost
    confirmed = decisive & ~at_kink & ~too_large & ~lost
    zero = ~confirmed & ~at_kink & ~lost & (values[found.places] == 0)
    if zero.any():  # the exact zeros of clamps
        confirmed[zero] = constant(references.precisions[0], position, found.places[zero], len(found.places) > ELEMENTS)
    with np.errstate(all="ignore"):
        ulp = np.spacing(np.abs(values[found.places]).astype(gradient.dtype)).astype(np.float64)
        distance = (
            np.maximum(np.maximum(found.low - values[found.places], values[found.places] - found.high) - found.error, 0)
            / ulp
        )
    furthest = float(np.max(distance, initial=0, where=confirmed & np.isfinite(distance)))
    counts = len(found.places), int(confirmed.sum()), int(at_kink.sum())
    undecided = counts[0] - counts[1] - counts[2] - int(lost.sum())
    report = GradientReport(*counts, undecided, furthest, tuple(names), int(lost.sum()))
    return report, len(found.places) == size


def _narrowed(found: Elements) -> Elements:
    return Elements(
        found.places, *(np.asarray(v).astype(np.float64) for v in (found.low, found.high, found.error, found.size))
    )


def _chosen(choice: Any, a: Elements, b: Elements) -> Elements:
    if len(a.places) != len(b.places):  # elementwise in one precision only
        return a if len(a.places) > len(b.places) else b
    parts = ((getattr(a, n), getattr(b, n)) for n in ("low", "high", "error", "size"))
    return Elements(a.places, *(np.where(choice, x, y) for x, y in parts))


def _doubtful(found: Elements, values: Any, room: Any) -> Any:
    """Where a sharper oracle would help: outside, or the error bar wider than what is granted."""
    outside, _ = compare(found, values[found.places], room)
    return (outside > 0) | (found.error > room)


def _error(
    problem: Problem, position: int, gradient: Any, found: Elements, room: Any, worst: int, name: str, imprecise: bool
) -> GradientError:
    place = int(found.places[worst])
    index = tuple(int(v) for v in np.unravel_index(place, gradient.shape))
    low, high, error = (float(v[worst]) for v in (found.low, found.high, found.error))
    value, reference = gradient[index], (low + high) / 2
    with np.errstate(all="ignore"):
        ulp = float(np.spacing(gradient.dtype.type(abs(reference) or np.finfo(gradient.dtype).tiny)))
    ulps = float(abs(float(value) - min(max(float(value), low), high)) / ulp) if np.isfinite(value) else np.inf
    kink = high > low
    verdict = "imprecise" if imprecise else "kink" if kink else "wrong"
    advice = (
        ""
        if not imprecise
        else (
            "\n  it changes with the last bits of the inputs, as rounding does: terms= or rtol= grant it, and another "
            "formula may be exact"
        )
    )
    if verdict == "wrong":
        advice = of_state(problem) or of_ratio(problem, position, gradient, found)
    advice += of_nan(problem)
    slope = f"{low!r} ... {high!r} (one-sided)" if kink else number(reference)
    return problem.error(
        verdict,
        f"the gradient of {problem.call.label(position)} at {index}\n"
        f"  input      {number(problem.pristine[position][index])} ({gradient.dtype})\n"
        f"  {problem.names[1]:<10} {number(value)}\n"
        f"  reference  {slope} ± {error:.2g} (differences in {name})\n"
        f"  distance   {ulps:.3g} ulps; granted are {room[worst]:.2g} and the error bar{advice}",
        argument=position, index=index, value=value, reference=(low, high) if kink else reference, error=error,
        ulps=ulps,
    )  # fmt: skip
