"""What a gradient must be beside its values: linear in grad_output, a function of its arguments alone."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np

from nbgrad.testing.hints import of_state
from nbgrad.testing.problem import Problem

__all__ = ["check_layout", "check_linear", "check_out", "check_repeatable"]


def _same(a: Any, b: Any) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True)


def _where(a: Any, b: Any, room: Any) -> Any:
    """The flat index of the worst pair further apart than ``room``; None if there is none. nan is equal to nan,
    infinities to infinities of the same sign.
    """
    with np.errstate(all="ignore"):
        a, b = a.astype(np.float64), b.astype(np.float64)
        apart = np.abs(a - b) - room
        same = (a == b) | (np.isnan(a) & np.isnan(b))
        apart = np.where(same, -np.inf, np.where(np.isnan(apart), np.inf, apart))
    return int(np.argmax(apart)) if apart.size and apart.max() > 0 else None


def check_repeatable(problem: Problem, grads: dict[int, Any]) -> None:
    """The same arguments give the same bits, also after other arguments."""
    value = problem.value(problem.arrays)  # as they were given: another layout may add up in another order
    if not _same(value, problem.value_here):
        problem.fail("not repeatable", f"{problem.names[0]} gave other values for the same arguments")
    for i, again in problem.gradients(problem.grad_output.copy(), problem.arrays).items():
        if not _same(again, grads[i]):
            at = np.argwhere(~((again == grads[i]) | (np.isnan(again) & np.isnan(grads[i]))))
            index = tuple(int(v) for v in at[0])
            problem.fail(
                "not repeatable",
                f"the gradient of {problem.call.label(i)} at {index} was {grads[i][index]!r} and then {again[index]!r}"
                + of_state(problem),
                argument=i, index=index, value=grads[i][index], reference=again[index],
            )  # fmt: skip


def check_linear(problem: Problem, grads: dict[int, Any], room: dict[int, Any]) -> None:
    """backward(−4 g) = −4 backward(g): a product with a power of two has no rounding error of its own."""
    scaled = problem.gradients(problem.grad_output * problem.grad_output.dtype.type(-4), problem.pristine)
    for i, other in scaled.items():
        with np.errstate(all="ignore"):
            expected = grads[i] * grads[i].dtype.type(-4)
        place = _where(other, expected, 8 * room[i] + 8 * problem.tiny)
        if place is not None and np.isfinite(expected.flat[place]):
            index = tuple(int(v) for v in np.unravel_index(place, other.shape))
            problem.fail(
                "not linear",
                f"-4 times the grad_output gives {other[index]!r} as gradient of {problem.call.label(i)} at {index}, "
                f"expected {expected[index]!r}",
                argument=i, index=index, value=other[index], reference=expected[index],
            )  # fmt: skip


def _backwards(a: Any) -> Any:
    """The same values, every second place of memory, from the end, read-only."""
    big = np.full(tuple(2 * n for n in a.shape), 7, a.dtype)
    view = big[tuple(slice(None, None, -2) for _ in a.shape)] if a.ndim else big
    view[...] = a
    view.flags.writeable = False
    return view


def _fortran(a: Any) -> Any:
    return np.array(a, order="F")


def check_layout(problem: Problem, grads: dict[int, Any], room: dict[int, Any], forward_room: Any) -> None:
    """Values do not depend on how the arguments lie in memory; sums may be made in another order."""
    for name, lay in (("strided, backwards and read-only", _backwards), ("in Fortran order", _fortran)):
        if name == "in Fortran order" and all(a.ndim < 2 for a in problem.pristine):
            continue
        arrays = [lay(a) for a in problem.pristine]
        note = problem.call.note
        problem.call.note += (
            f"\n  hint       the arrays lie {name}; layouts=False says that the functions take C-contiguous ones only"
        )
        value = problem.value(arrays)
        if value.shape != problem.value_here.shape or _where(value, problem.value_here, forward_room) is not None:
            problem.fail("layout", f"{problem.names[0]} gives other values for arrays that lie {name}")
        for i, other in problem.gradients(lay(problem.grad_output), arrays).items():
            place = _where(other, grads[i], 2 * room[i] + problem.tiny)
            if place is not None:
                index = tuple(int(v) for v in np.unravel_index(place, other.shape))
                problem.fail(
                    "layout",
                    f"the gradient of {problem.call.label(i)} at {index} is {other[index]!r} for arrays that lie "
                    f"{name}, else {grads[i][index]!r}",
                    argument=i, index=index, value=other[index], reference=grads[i][index],
                )  # fmt: skip
        problem.call.note = note


def check_out(problem: Problem, grads: dict[int, Any]) -> None:
    """A keyword ``out`` of forward or backward: it is returned, filled with the same bits as without it for the same
    arrays (NumPy's exp has other last bits for strided ones), whatever was in it.
    """

    def takes_out(function: Any) -> bool:
        try:
            parameter = inspect.signature(function).parameters.get("out")
        except (TypeError, ValueError):
            return False
        return parameter is not None and parameter.kind in (parameter.KEYWORD_ONLY, parameter.POSITIONAL_OR_KEYWORD)

    for what, function, leading, expected in (
        (problem.names[0], problem.forward, (), problem.value_here),
        (problem.names[1], problem.backward, (problem.grad_output,), grads[min(grads)] if len(grads) == 1 else None),
    ):
        if expected is None or not expected.ndim or not takes_out(function):
            continue
        if leading:
            expected = problem.gradients(problem.grad_output, problem.pristine)[min(grads)]
        else:
            expected = problem.value(problem.pristine)
        for filling in (np.nan, 3.0):
            out = np.full(expected.shape, filling, expected.dtype)
            try:
                with np.errstate(all="ignore"):
                    result = function(*leading, *problem.pristine, out=out)
            except Exception as error:
                problem.fail("raised", f"{what} with out= raised {type(error).__name__}: {error}", error)
            if result is not out and result is not None:
                problem.fail("out", f"{what} does not return the array given as out=")
            if not _same(out, expected):
                problem.fail(
                    "out",
                    f"{what} writes other values to out= than it returns without (out= was filled with {filling})",
                )
