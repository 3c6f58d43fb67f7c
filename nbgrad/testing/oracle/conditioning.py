"""What rounding may do to a gradient: how far relative errors of the inputs move it, and whether an error behaves as
rounding at all. Both ask backward itself, at neighbours of the inputs, never across the very point: of a backward that
is wrong there alone they see nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.testing.oracle.precision import evaluated, widened

__all__ = ["Sensitivity", "rounds", "sensitivities", "underflows"]

Gradients = Callable[..., dict[int, Any]]


@dataclass
class Sensitivity:
    """For each element of one argument, multiples of eps that a gradient may be off: ``terms``, the size of what its
    sum is made of; ``given``, the caller's terms; ``change``, Σ|x_j ∂gradient/∂x_j|; ``excused``, the part of it that
    may be more than √eps of the gradient.

    A gradient changes so much with its inputs where it crosses 0, or where forward changes so, too: cos(1000 x) at
    1e9. Else the loss is backward's own: e^(a − log(eᵃ + eᵇ)) at 1e10 has no digit after the sixth.
    """

    terms: Any
    given: Any
    change: Any
    excused: Any


def sensitivities(
    gradients: Gradients, forward: Callable[..., Any], terms: Callable[..., Any] | None, g: Any, arrays: Sequence[Any]
) -> dict[int, Sensitivity]:
    """``gradients`` and ``forward`` around one point, in a wider precision where backward takes one."""
    signs = np.random.default_rng(0)  # always the same, so that no verdict is a matter of luck
    base = gradients(g, arrays)
    sizes = {i: np.abs(v).astype(np.float64) for i, v in base.items()}
    for _ in range(2):
        drawn = signs.choice(np.array([-1.0, 1.0]), g.shape).astype(g.dtype)
        for i, v in gradients(g * drawn, arrays).items():
            sizes[i] = np.fmax(sizes[i], np.abs(v).astype(np.float64))
    given = {} if terms is None else gradients(np.abs(g), arrays, terms)
    step = 2.0**-42 if g.dtype.itemsize >= 8 else 2.0**-18
    if all(a.dtype.itemsize < 8 for a in arrays if a.dtype.kind == "f"):
        wide = np.dtype(np.float64)
        there = gradients(g.astype(wide), widened(arrays, wide))
        if there and all(v.dtype == wide for v in there.values()):
            arrays, g, step = widened(arrays, wide), g.astype(wide), 2.0**-18
    change, scale, condition = _around(gradients, forward, g, arrays, step, signs)
    found = {}
    for i, size in sizes.items():
        shift = change.get(i, np.zeros(size.shape))
        forward_too = condition if condition.shape == size.shape else condition.max(initial=1)
        with np.errstate(all="ignore"):
            excused = np.fmin(shift, scale.get(i, np.full(size.shape, np.inf)) * np.maximum(forward_too, 1))
        found[i] = Sensitivity(size, np.abs(given.get(i, np.zeros(size.shape))), shift, excused)
    return found


def _moved(arrays: Sequence[Any], signs: Sequence[Any], step: float) -> list[Any]:
    with np.errstate(all="ignore"):
        return [a if s is None else (a * (1 + step * s)).astype(a.dtype) for a, s in zip(arrays, signs, strict=True)]


def _around(gradients: Gradients, forward: Any, g: Any, arrays: Any, step: float, rng: Any) -> tuple[Any, Any, Any]:
    """(change, largest gradient nearby, condition of forward's outputs), the first two by argument."""
    floats = [i for i, a in enumerate(arrays) if a.dtype.kind == "f"]
    alone = [[1.0 if j == i else None for j in range(len(arrays))] for i in floats]
    drawn = [
        [rng.choice(np.array([-1.0, 1.0]), a.shape) if a.dtype.kind == "f" else None for a in arrays] for _ in range(2)
    ]
    if sum(arrays[i].size for i in floats) == 1:
        drawn = []
    change: dict[int, Any] = {}
    here = evaluated(forward, arrays)
    values: list[tuple[float, Any]] = []
    for single, signs in [(True, s) for s in alone] + [(False, s) for s in drawn]:
        sides = []
        for way in (step, -step):  # to each side by itself: the difference across would see backward at the point
            near, far = (gradients(g, _moved(arrays, signs, n * way)) for n in (1, 2))
            with np.errstate(all="ignore"):
                sides.append({i: np.abs(far[i] - near[i]).astype(np.float64) / step for i in near if i in far})
        values.append((step, evaluated(forward, _moved(arrays, signs, step))))
        for i in sides[0].keys() & sides[1].keys():  # the smaller of both: across a kink one of them jumps
            seen = np.nan_to_num(np.fmin(sides[0][i], sides[1][i]), nan=0, posinf=0)
            before = change.get(i, np.zeros(seen.shape))
            change[i] = before + seen if single else np.fmax(before, seen)
    scale: dict[int, Any] = {}
    for signs in [[None if a.dtype.kind != "f" else 1.0 for a in arrays], *drawn[:1]]:
        for distance in (0.25, -0.25, 0.0625, -0.0625):
            there = _moved(arrays, signs, distance)
            for i, v in gradients(g, there).items():
                scale[i] = np.fmax(scale.get(i, 0), np.abs(v).astype(np.float64))
            values.append((abs(distance), evaluated(forward, there)))
    return change, scale, _condition(here, values)


def _condition(here: Any, values: list[tuple[float, Any]]) -> Any:
    """How many relative errors of forward's outputs a relative error of the inputs makes, from its value and (step,
    value) pairs.
    """
    if here is None:
        return np.zeros(())
    size, most = np.abs(here).astype(np.float64), np.zeros(here.shape)
    with np.errstate(all="ignore"):
        there = [(h, v.astype(np.float64)) for h, v in values if v is not None and v.shape == here.shape]
        for _, v in there:
            size = np.fmax(size, np.where(np.isfinite(v), np.abs(v), 0))
        for h, v in there:
            most = np.fmax(most, np.abs(v - here) / h / size)
    return np.nan_to_num(most, nan=0, posinf=0)


#: The points of a level, in parts of its largest step: the point itself is not among them. Not evenly spaced: over even
#: steps 1 − tanh²x at 6 − 2⁻²⁰ moves by a whole number of last bits, which looks smooth.
_POINTS = np.arange(1, 13) * 0.6180339887498949 % 1 * 2 - 1


def rounds(gradients: Gradients, g: Any, arrays: Sequence[Any], position: int, error: Any) -> Any:
    """Where errors of the size of ``error`` (an array like the gradient of argument ``position``) are rounding: at
    neighbours of the inputs the gradient, but for a smooth part, moves by at least half of it. A factor 1 + 1e-9 does
    not move, and neither does a value that is wrong at one point.

    Neighbours are as near as a few last bits and as far as √eps: 1 − y changes only when y's last bit does. What is
    smooth fades with the distance, what is rounding stays.
    """
    rng = np.random.default_rng(0)
    eps = float(np.finfo(arrays[position].dtype).eps)
    steps = [4 * eps**0.5]
    while steps[-1] > 32 * eps:
        steps.append(max(steps[-1] / (4 if len(steps) == 1 else 32), 32 * eps))
    signs = [
        rng.uniform(0.5, 1, a.shape) * rng.choice([-1.0, 1.0], a.shape) if a.dtype.kind == "f" else None for a in arrays
    ]
    other = rng.uniform(0.5, 1, g.shape) * rng.choice([-1.0, 1.0], g.shape)
    smooth = np.linalg.qr(np.stack([_POINTS**k for k in range(3)], axis=1))[0]
    spreads = []
    for step in steps:
        seen = []
        for t in step * _POINTS:
            moved = gradients((g * (1 + t * other)).astype(g.dtype), _moved(arrays, signs, t))
            seen.append(moved[position].astype(np.float64) if position in moved else np.full(error.shape, np.nan))
        with np.errstate(all="ignore"):
            values = np.stack(seen).reshape(len(_POINTS), -1)
            values = values - values.mean(axis=0)
            rest = values - smooth @ (smooth.T @ values)
            spreads.append(np.ptp(rest, axis=0).reshape(error.shape))
    found = np.zeros(error.shape, bool)
    with np.errstate(all="ignore"):
        for spread, nearer in zip(spreads, [*spreads[1:], spreads[-1]], strict=True):
            found |= (spread >= error / 2) & (nearer >= spread / 8)
    return found


def underflows(backward: Callable[..., Any], gradients: Gradients, g: Any, arrays: Sequence[Any]) -> dict[int, Any]:
    """Where backward meets numbers too small for its floats on the way: the gradients of wider floats, which hold
    them; else nothing.
    """
    seen: list[Any] = []
    with np.errstate(all="ignore", under="call", call=lambda *event: seen.append(event)):
        try:
            backward(g, *arrays)
        except Exception:
            return {}
    wide = np.dtype(np.float64 if g.dtype.itemsize < 8 else np.longdouble)
    return gradients(g.astype(wide), widened(arrays, wide)) if seen else {}
