"""One argument's gradient against the oracle: the precisions in turn, from the cheapest, until every element is
decided.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.testing.compare import (
    ELEMENTS,
    EXACT_ELEMENTS,
    References,
    compare,
    differenced,
    exactly,
    nearest,
)
from nbgrad.testing.hints import of_nan, of_ratio, of_state
from nbgrad.testing.oracle.conditioning import Sensitivity, rounds, underflows
from nbgrad.testing.oracle.constant import constant
from nbgrad.testing.oracle.elements import Elements
from nbgrad.testing.oracle.exact import Exact
from nbgrad.testing.oracle.kinks import closer, tied_slopes
from nbgrad.testing.problem import Problem
from nbgrad.testing.report import GradientError, GradientReport, number

__all__ = ["LARGE", "ULPS", "check_argument"]

#: Gradients of so many elements are large: in long double, without BLAS and vectors, their functions take long.
LARGE = 20_000

#: What a backward function may lose by its own rounding, in units of eps times the terms of the gradient and the
#: change of the gradient for a relative error of its inputs. nbgrad's kernels need 3 to 5; 64 let y(1 − y) pass down
#: to 1e-5.
ULPS = 16


def check_argument(
    problem: Problem, references: References, exact: Exact, position: int, gradient: Any, kinks: Any, domain: Any,
    tolerance: float | None, sensitivity: Sensitivity, imprecise: list[GradientError],
    chosen: Any = None,
) -> tuple[GradientReport, bool]:  # fmt: skip
    """The report for one argument, and whether every element was looked at; the worst element that is no more than
    ``imprecise`` goes into that list. ``chosen``: flat indices of elements in doubt, in place of drawn ones.
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
    places = np.sort((references.rng.permutation(size) if chosen is None else chosen)[:ELEMENTS])

    def granted(found: Elements, change: Any) -> Any:
        at = found.places
        return rtol * (np.fmin(found.size, info.max) + change[at]) + problem.tiny * scale[at]

    def most(found: Elements) -> Any:
        """Beyond it an error is no rounding: half of the reference's digits."""
        return np.maximum(half * nearest(found, values[found.places]), granted(found, excused))

    def allowed(found: Elements) -> Any:
        return np.minimum(granted(found, change), most(found))

    def blunt(found: Elements) -> Any:
        with np.errstate(all="ignore"):
            return ~(found.error <= np.maximum(allowed(found), half * nearest(found, values[found.places])))

    def doubtful(found: Elements) -> Any:
        """More than 0 where an estimate is not enough, the more the surer it refuses."""
        value = values[found.places]
        outside, _ = compare(found, value, allowed(found))
        with np.errstate(all="ignore"):
            relative = np.nan_to_num(outside / nearest(found, value), nan=1.0)
        return np.where(outside > 0, 1 + relative, blunt(found) * 0.5)

    found: Elements | None = None
    names: list[str] = []
    for precision in references.precisions:
        if found is not None and not _doubtful(found, values, allowed(found)).any():
            break
        if found is not None and len(found.places) < size >= LARGE:  # the screen is sharper than a few drawn ones are
            _, decisive = compare(found, values[found.places], allowed(found))
            if decisive.all() if chosen is None else not blunt(found).any():
                break
        ask = functools.partial(differenced, references, precision, position)
        there = _narrowed(ask(places, kinks, domain, doubtful))
        outside, _ = compare(there, values[there.places], allowed(there))
        if (outside > 0).any():  # again with other steps: of a million estimates one may be off by chance
            once = there.places if len(there.places) < size else places
            again = _narrowed(ask(once, kinks, domain, doubtful, 0.8125))
            milder = compare(again, values[again.places], allowed(again))[0] <= 0
            there = _chosen(milder & (outside > 0), again, there)
        names.append(precision.name)
        kinked = _at_kinks(found, there, values, allowed) if found is not None else np.zeros(len(there.places), bool)
        found = there if found is None else _chosen((there.error < found.error) & ~kinked, there, found)
    assert found is not None
    elementwise = len(found.places) == size and problem.value_here.shape == x.shape and size > ELEMENTS
    declared = np.isin(x.ravel()[found.places].astype(np.float64), [float(x.dtype.type(k)) for k in kinks])
    if not declared.all():
        refused = compare(found, values[found.places], allowed(found))[0] > 0
        near = closer(references.precisions[-1], position, references.grad_output, found, elementwise, refused)
        found = _chosen(~declared, near, found)
    doubt = _doubtful(found, values, allowed(found)) | (found.high > found.low)
    doubt &= ~(declared & (compare(found, values[found.places], allowed(found))[0] <= 0))
    if doubt.any():
        order = references.rng.permutation(np.flatnonzero(doubt))
        order = order[np.argsort(-doubtful(found)[order], kind="stable")]
        chosen = np.sort(order[: EXACT_ELEMENTS * (4 if elementwise else 1)])
        sharp = exactly(references, exact, position, found.places[chosen], elementwise)
        if sharp is not None:
            names.append("mpmath")
            _sharpen(found, sharp, chosen, values, allowed)
    if sum(a.dtype.kind == "f" for a in problem.pristine) > 1 or not elementwise:
        found = _with_ties(problem, references, position, found, values, allowed)
    room = allowed(found)
    outside, decisive = compare(found, values[found.places], room)
    too_large = np.fmax(np.abs(found.low), np.abs(found.high)) > info.max / 8  # overflow is no fault of a gradient
    outside = np.where(too_large, -np.inf, outside)
    if (outside > 0).any():
        outside = np.where(_underflown(problem, position, gradient, found, allowed), -np.inf, outside)
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
    at_kink = (found.high > found.low) & (found.error <= (found.high - found.low) / 4) & ~lost
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


def _at_kinks(found: Elements, there: Elements, values: Any, allowed: Any) -> Any:
    """Where one precision has seen a kink around the value and the next one refuses it."""
    if len(found.places) != len(there.places):
        return np.zeros(len(there.places), bool)
    value = values[found.places]
    inside = (found.high > found.low) & (compare(found, value, allowed(found))[0] <= 0)
    return inside & (compare(there, value, allowed(there))[0] > 0) & (there.high > there.low)


def _sharpen(found: Elements, sharp: Elements, chosen: Any, values: Any, allowed: Any) -> None:
    """mpmath's word on the ``chosen`` elements, into ``found``. An error needs the sharpest oracle's word: elements
    that were not asked for are not refused.
    """
    outside, _ = compare(found, values[found.places], allowed(found))
    with np.errstate(all="ignore"):
        here = found.of(chosen)
        apart = np.maximum(sharp.low - here.high, here.low - sharp.high) > sharp.error + here.error + allowed(here)
        # Two oracles that exclude each other refuse nothing, and a function that does not move at all says nothing.
        apart &= (outside[chosen] <= 0) | (sharp.low == 0) & (sharp.high == 0)
    known = np.isfinite(sharp.error) & ~apart
    for name in ("low", "high", "error", "size"):
        getattr(found, name)[chosen[known]] = getattr(sharp, name)[known]
    found.error[chosen[~np.isfinite(sharp.low)]] = np.inf  # an infinite slope: nothing is known of it
    found.error[np.setdiff1d(np.flatnonzero(outside > 0), chosen)] = np.inf


def _with_ties(
    problem: Problem, references: References, position: int, found: Elements, values: Any, allowed: Any
) -> Elements:
    """``found`` with wider intervals where the value lies outside one but elements are tied."""
    outside, _ = compare(found, values[found.places], allowed(found))
    floats = [i for i, a in enumerate(problem.pristine) if a.dtype.kind == "f"]
    for k in np.flatnonzero(outside > 0)[:8]:
        least, most = tied_slopes(
            references.precisions[-1], position, int(found.places[k]), references.grad_output, floats
        )
        found.low[k], found.high[k] = min(found.low[k], least), max(found.high[k], most)
    return found


def _underflown(problem: Problem, position: int, gradient: Any, found: Elements, allowed: Any) -> Any:
    """Where the gradient is right in wider floats and small enough that subnormal numbers times large inputs, as in a
    product, have too few digits for it.
    """
    none = np.zeros(len(found.places), bool)
    arrays = problem.pristine
    wide = underflows(problem.backward, problem.quietly, problem.grad_output, arrays).get(position)
    if wide is None or wide.dtype == gradient.dtype:
        return none
    with np.errstate(all="ignore"):
        floats = [a.astype(np.float64) for a in (*arrays, problem.grad_output) if a.dtype.kind == "f"]
        factors = [np.fmax(np.abs(a), 1) for a in floats]
        reach = np.log2(float(np.finfo(gradient.dtype).tiny)) + sum(float(np.log2(f).sum()) for f in factors)
        small = np.log2(nearest(found, found.low)) <= reach
        right = compare(found, wide.ravel()[found.places].astype(np.float64), allowed(found))[0] <= 0
    return small & right & np.isfinite(gradient.ravel()[found.places])


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
