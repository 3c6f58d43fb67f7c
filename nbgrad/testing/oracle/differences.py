"""The oracle: slopes of a function from its values alone, each with an error bar.

From one ladder of steps h, h/2, h/4, ... come three estimates of ∂f/∂x, central and to either side, each extrapolated
to h = 0 by Neville's scheme (Richardson, Ridders). Every estimate has an error bar made of three parts:

* truncation: how far extrapolations of different order and different steps lie apart (three comparisons, because of the
  50 estimates of a ladder the best is chosen: two may agree by chance);
* rounding: 8 eps·|f| and eps·|x·f'|, divided by the step, with Neville's weights;
* what the values themselves tell of their noise: combinations of them that vanish for smooth functions. A float64
  function that computes in float32 inside, or (x + 1e8) − 1e8, has a noise 8 digits above eps·|f|.

No single step suits all inputs: 1/(1 + e⁻ˣ) at 1e-300 needs h ≈ 1 to be seen at all, log(x) there needs h < 1e-300, and
1/(1 + e⁻ˣ) at 22 needs h ≈ 1 for its slope 2e-10 beside the value 1. So there are ladders of several lengths
(`scales`), walked from the smallest step to the largest; a larger step is believed as long as it lies inside the
error bars of the smaller ones. Where a step jumps over a singularity or a kink it does not.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["STEPS", "ladders", "scales", "slopes"]

#: Steps of a ladder, each half the one before. 8 saw only 3e-11 of a sigmoid's slope in float64, 16 no more than 12.
STEPS = 12
_ORDERS = 6
#: Much smaller steps behind them, so that what oscillates between the others is not taken for smooth: sin(1000 x).
_GUARDS = np.exp2(-np.arange(15.0, 19.0))


def scales(x: Any, others: float, room: Any = np.inf) -> Any:
    """The largest step of each ladder, smallest ladder first, (3, *x.shape): about |x|/2, 1, and ``others``/2 for the
    size of the other elements, and before them ``room``, the distance to the next kink or end of the domain, where
    that is smaller. Ladders that would overlap another one are nan. Powers of two, so that x ± h is exact.
    """
    x = np.abs(np.asarray(x, np.float64))
    found = np.stack([x / 2, np.ones_like(x), np.full_like(x, others / 2)])
    found = np.exp2(np.floor(np.log2(np.where((found > 0) & (found < np.inf), found, 1.0))))
    found.sort(axis=0)
    for i in (1, 0):  # the larger of two near ones stays: its steps reach down to the smaller
        near = found[i + 1 :] <= found[i] * 2.0**5
        found[i] = np.where(near.any(axis=0), np.nan, found[i])
    smallest = np.fmin.reduce(found, axis=0)
    with np.errstate(all="ignore"):
        narrow = np.exp2(np.floor(np.log2(np.where(room > 0, room, np.nan)))) + 0 * x
    return np.concatenate([np.where(narrow < smallest, narrow, np.nan)[None], found])


def ladders(largest: Any) -> Any:
    """Steps (ladders, STEPS + 4, ...) from the largest step of each ladder; empty ladders are left out."""
    kept = largest[[bool(np.isfinite(row).any()) for row in largest]]
    factors = np.concatenate([np.exp2(-np.arange(STEPS)), _GUARDS])
    return kept[:, None] * factors.reshape(-1, *(1,) * (kept.ndim - 1))


def _noise(delta: Any, base: Any) -> Any:
    """What the values of a ladder tell of their own noise. ``delta[k]``: difference of f over a step; smooth ones are
    sums of h, h², h³, ... (base 2), central ones of h, h³, h⁵, ... (base 4), which neighbouring steps cancel.
    """
    measured = np.empty_like(delta)
    least = _least(delta[:STEPS], base)
    # Of every smaller step and of the next three larger ones: where the values move in jumps, the smallest see none.
    least = np.maximum.accumulate(least[::-1])[::-1]
    measured[:3] = least[0]
    measured[3:STEPS] = least
    # The guards are only there against gross errors, and may see the same jumps four times.
    guards = np.maximum(_least(delta[STEPS:], base), _unit(delta))
    measured[STEPS:] = guards + 2.0**-10 * np.abs(delta[STEPS:])
    return measured


def _unit(delta: Any) -> Any:
    """The largest power of two of which all the differences are multiples; 0 where they are all 0."""
    mantissa, exponent = np.frexp(np.where(np.isfinite(delta), delta, 0).astype(np.float64))
    whole = (mantissa * 2.0**53).astype(np.int64)
    unit = np.ldexp((whole & -whole).astype(np.float64), exponent - 53)
    unit = np.where(whole == 0, np.inf, unit).min(axis=0)
    return np.where(np.isfinite(unit), unit, 0)


def _least(delta: Any, base: Any) -> Any:
    """For each step that has three smaller ones the smallest of three combinations of them."""
    n, found, least = len(delta) - 3, delta, np.inf
    for power, weight in zip((2, 2 * base, 2 * base * base), (2, 4, 16), strict=True):
        found = found[:-1] - power * found[1:]
        least = np.fmin(least, np.abs(found[:n]) / weight)
    return np.where(np.isfinite(least), least, 0)


def _extrapolate(
    delta: Any, sizes: Any, gaps: Any, h: Any, level: Any, x: Any, eps: float, tiny: float, base: Any
) -> tuple[Any, Any, Any]:
    """(slope, error bar, whether the slope is infinite) from the differences ``delta`` (ladders, steps, ...) over the
    whole steps ``h``; ``sizes``: of the changes that they are made of; ``gaps``: between the two changes of a central
    one.
    """
    best = np.zeros(delta.shape[2:], delta.dtype)
    error = np.full(delta.shape[2:], np.inf)
    alive = np.ones(delta.shape[2:], bool)
    # A step over which nothing changes says little of f's noise: log(1 + x) is 0 up to x = 1e-16. There the noise is
    # that of a value of 1 or of the largest value seen, or the smallest change that any step sees if it is small
    # beside that value.
    changes = np.abs(delta)
    largest = np.fmax.reduce(changes, axis=(0, 1), initial=0) + np.maximum(level, 1)
    jump = np.fmin.reduce(np.where(changes > 0, changes, np.inf), axis=(0, 1), initial=np.inf)
    unit = _unit(np.swapaxes(delta[:, :STEPS], 0, 1).reshape(-1, *delta.shape[2:]))
    blind = np.maximum(eps * largest, np.where(jump <= 2.0**-20 * largest, jump, 0))
    # All changes multiples of 1e-7 of the value: float32 inside.
    unit = np.where(unit <= 2.0**-20 * largest, unit, 0)
    blind = np.maximum(blind, unit)
    low = np.full(delta.shape[2:], -np.inf)
    high = -low
    infinite = np.zeros(delta.shape[2:], bool)
    for d, size, gap, width in zip(delta, sizes, gaps, h, strict=True):
        slope = d / width
        rounding = 8 * eps * (level + size) + np.abs(eps * x) * np.abs(slope) + 2 * tiny
        known = rounding[-1] / width[-1]
        noise = 4 * _noise(d, base)
        # More than 4 digits of the value are no rounding but something that these steps cannot resolve: no average
        # helps.
        rounding += np.where(noise > 2.0**-12 * (level + np.fmax.reduce(np.abs(d), axis=0)), np.inf, noise) + unit
        rounding = np.where(d == 0, np.maximum(rounding, blind), rounding)
        # What is lost in the noise may vary on a scale of 1, as e^-x does beside x: a longer step has not seen its
        # slope.
        seen = np.where(np.abs(d) <= 4 * rounding, 1, np.maximum(1, np.abs(x) / 64))
        rounding /= np.minimum(width, seen)
        estimates, bars = _neville(slope, rounding, base)
        moving, away = _moving(slope, known)
        infinite |= away
        bars[moving | _parted(gap / width, rounding)] = np.inf
        for k in range(len(slope) - 1, -1, -1):
            estimate, bar = estimates[k], np.where(np.isnan(bars[k]), np.inf, bars[k])
            # No smaller step may show another slope, up to its rounding, than this one's own distance from the
            # estimate.
            slack = 2 * np.maximum(bar, np.abs(slope[k] - estimate))
            alive &= (np.abs(estimate - best) <= error + bar) | ~np.isfinite(bar) | ~np.isfinite(error)
            better = alive & (bar < error) & (estimate + slack >= low) & (estimate - slack <= high)
            best = np.where(better, estimate, best)
            error = np.where(better, bar, error)
            low = np.fmax(low, slope[k] - rounding[k])
            high = np.fmin(high, slope[k] + rounding[k])
    return best, error + 128 * tiny, infinite & np.isinf(error)


def _moving(slope: Any, rounding: Any) -> tuple[Any, Any]:
    """The estimates (that begin at each step) from which on the slopes move ever on in the same direction, no halving
    by less than 3/4 of the one before: they have no limit, and no error bar. And whether they move to infinity, as
    those of h log h and √h do; beside a kink nearer than all the steps each halving doubles what it moves.
    """
    moves = np.diff(slope, axis=0)
    moves = np.concatenate([moves[: STEPS - 1], moves[STEPS:]])  # all of them by a half
    size = np.abs(moves)
    on = (moves[1:] * moves[:-1] > 0) & (size[1:] > 0.75 * size[:-1]) & (size[1:] > rounding)
    moving = np.zeros(slope.shape, bool)
    moving[: len(on)] = np.logical_and.accumulate(on[::-1])[::-1]
    moving[-1] = moving[len(on) - 2]
    return moving, moving[-1] & (size[-1] < 1.9375 * size[-2])


def _parted(gap: Any, rounding: Any) -> Any:
    """The same of the two sides of central differences, a ``gap`` apart: across 1/x no wave of it is seen."""
    parted = np.zeros(gap.shape, bool)
    parted[: STEPS - 3] = gap[2 : STEPS - 1] > 0.75 * gap[: STEPS - 3] + 2 * rounding[2 : STEPS - 1]
    parted[-1] = gap[-1] > 0.75 * gap[-3] + 2 * rounding[-1]
    return parted


def _neville(slope: Any, rounding: Any, base: Any) -> tuple[Any, Any]:
    """The best extrapolation that begins at each step, and its error bar."""
    table, bound = [slope[:STEPS]], [rounding[:STEPS]]
    for m in range(1, _ORDERS):
        c = base**m
        table.append((c * table[-1][1:] - table[-1][:-1]) / (c - 1))
        bound.append((c * bound[-1][1:] + bound[-1][:-1]) / (c - 1))
    estimates = slope.copy()
    bars = np.full(slope.shape, np.inf)
    bars[-1] = 3 * np.abs(slope[-1] - slope[STEPS:-1]).max(axis=0) + rounding[-1]
    for m in range(_ORDERS):
        n = STEPS - m - 3
        t = table[m][:n]
        others = [table[m][i : n + i] for i in (1, 2, 3)]
        if m:
            others += [table[m - 1][i : n + i] for i in (1, 2)]
        # The rounding of the comparison, too: what it cannot see it has not excluded.
        bar = bound[m][:n] + bound[m][3 : n + 3] + 3 * np.max([np.abs(t - other) for other in others], axis=0)
        better = bar < bars[:n]
        estimates[:n] = np.where(better, t, estimates[:n])
        bars[:n] = np.where(better, bar, bars[:n])
    return estimates, bars


def slopes(
    x: Any,
    f: Any,
    plus: Any,
    minus: Any,
    h_plus: Any,
    h_minus: Any,
    eps: float,
    tiny: float,
    at_kink: Any = False,
) -> tuple[Any, Any, Any]:
    """(low, high, error): the slope lies in low − error ... high + error; low = high where the function is smooth.

    ``f`` is the value at ``x``; ``plus`` and ``minus`` (ladders, STEPS, ...) those at x + ``h_plus`` and x −
    ``h_minus``; a value that is not finite counts as not there. ``at_kink``: the derivatives to both sides are
    wanted, equal or not.
    """
    with np.errstate(all="ignore"):
        level = np.abs(f)
        sides = []
        for values, h, sign in ((plus, h_plus, 1), (minus, h_minus, -1)):
            usable = np.isfinite(values) & (h > 0)
            delta = np.where(usable, sign * (values - f), np.nan)
            sides.append((delta, np.broadcast_to(h, delta.shape)))
        (up, wide_up), (down, wide_down) = sides
        n = level.shape[-1]
        three = np.concatenate  # to the right, to the left, central: in one go, it is all overhead
        found, errors, infinite = _extrapolate(
            three([up, down, up + down], -1),
            three([np.abs(up), np.abs(down), np.abs(up) + np.abs(down)], -1),
            three([0 * up, 0 * down, 2 * np.abs(up - down)], -1),
            three([wide_up, wide_down, wide_up + wide_down], -1),
            np.tile(level, 3), np.tile(x, 3), eps, tiny, np.repeat([2.0, 2.0, 4.0], n),
        )  # fmt: skip
        found, errors = found.reshape(3, n), errors.reshape(3, n)
        errors[2] = np.where(at_kink, np.inf, errors[2])
        low, high, error = _combined(found, errors, at_kink)
        return low, high, np.where(infinite.reshape(3, n)[:2].any(axis=0), np.inf, error)


def _combined(found: Any, errors: Any, at_kink: Any) -> tuple[Any, Any, Any]:
    """The best of the three estimates where they agree, the interval that they span where they do not: a kink."""
    known = np.isfinite(errors)
    apart = np.zeros(found.shape[1:], bool)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        apart |= known[i] & known[j] & (np.abs(found[i] - found[j]) > errors[i] + errors[j])
    apart |= np.broadcast_to(at_kink, apart.shape)
    # Between two sides that differ the central difference is nothing of its own.
    errors[2] = np.where(known[0] & known[1] & (np.abs(found[0] - found[1]) > errors[0] + errors[1]), np.inf, errors[2])
    known = np.isfinite(errors)
    best = np.argmin(errors, axis=0)[None]
    value = np.take_along_axis(found, best, 0)[0]
    error = np.take_along_axis(errors, best, 0)[0]
    low = np.where(apart, np.where(known, found, np.inf).min(axis=0), value)
    high = np.where(apart, np.where(known, found, -np.inf).max(axis=0), value)
    widest = np.where(known, errors, 0).max(axis=0)
    one_sided = np.broadcast_to(at_kink, apart.shape) & ~known[:2].all(axis=0)
    error = np.where(apart, np.where(known.any(axis=0), widest, np.inf), error)
    return low, high, np.where(one_sided, np.inf, error)
