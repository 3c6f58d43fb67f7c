"""What an argument may be: arrays, numbers, symmetric matrices."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask

__all__ = ["as_arguments", "default_wrt", "mirrored", "of_numbers", "of_whole"]


def as_arguments(args: Sequence[Any]) -> list[Any]:
    """NumPy arrays as they are; numbers as 0-d arrays. Beside arrays of floats that are narrower a number of Python's
    is no wider, as NumPy has it. TypeError for anything else, for complex numbers and for objects.
    """
    found = []
    kinds = [a.dtype for a in args if isinstance(a, np.ndarray | np.generic) and a.dtype.kind == "f"]
    widest = min(np.result_type(*kinds), np.dtype(np.float64)) if kinds else np.dtype(np.float64)
    for i, a in enumerate(args):
        if isinstance(a, bool | int | float | np.generic):
            a = np.array(a, widest if isinstance(a, float) and not isinstance(a, np.generic) else None)
        if not isinstance(a, np.ndarray):
            raise TypeError(
                f"args[{i}]: expected a NumPy array or a number, got {type(a).__name__}; "
                "bind other arguments with functools.partial"
            )
        check_mask(a, f"args[{i}]")
        if a.dtype.kind not in "fiub" or a.dtype.kind == "f" and a.dtype.itemsize < 2:
            raise TypeError(f"args[{i}]: expected floats, integers or bools, got {a.dtype}")
        found.append(a)
    if not any(a.dtype.kind == "f" for a in found):
        raise TypeError("args: expected at least one array of floats to differentiate by, got none")
    return found


def of_numbers(
    function: Callable[..., Any], numbers: dict[int, np.dtype[Any] | None], back: bool = False
) -> Callable[..., Any]:
    """``function`` with these arguments as numbers in place of 0-d arrays, as its caller gives them: Numba's functions
    of floats take no arrays, and beside a float32 array Python's 2.0 is float32, NumPy's float64. A dtype: a number of
    Python's, whose gradient may be of any float. ``back``: a backward function, which has grad_output in front.
    """

    def number(a: Any, i: int) -> Any:
        if np.ndim(a) or i >= 0 and i not in numbers:
            return a
        a = np.asarray(a)
        # Python's floats as NumPy's, which are floats with methods, but for those that would widen others.
        return a.item() if numbers.get(i) is not None and a.dtype != np.float64 else a[()]

    @functools.wraps(function)
    def called(*arguments: Any, **keywords: Any) -> Any:
        found = function(*(number(a, i - back) for i, a in enumerate(arguments)), **keywords)
        if not back or not isinstance(found, tuple | list) or len(found) != len(arguments) - 1:
            return found
        return [
            np.asarray(g, a.dtype) if numbers.get(i) is not None and isinstance(g, float | np.floating) else g
            for i, (g, a) in enumerate(zip(found, arguments[1:], strict=True))
        ]

    return called


def mirrored(function: Callable[..., Any], places: Sequence[int], back: bool = False) -> Callable[..., Any]:
    """``function`` of symmetric matrices as one of any: of their symmetric parts. ``back``: a backward function, which
    has grad_output in front.
    """

    def part(a: Any) -> Any:
        other = np.swapaxes(a, -1, -2)
        return a if np.all(a == other) else a / 2 + other / 2

    def called(*arguments: Any) -> Any:
        found = function(*(part(a) if i - back in places else a for i, a in enumerate(arguments)))
        if not back or isinstance(found, tuple | list) and len(found) != len(arguments) - 1:
            return found
        several = isinstance(found, tuple | list)
        grads = [
            part(np.asarray(g)) if i in places and np.shape(g) == np.shape(a) else g
            for i, (g, a) in enumerate(zip(found if several else [found], arguments[1:], strict=False))
        ]
        return grads if several else grads[0]

    return called


def of_whole(symmetric: Any, arrays: Sequence[Any]) -> tuple[int, ...]:
    """The numbers of the arguments that are symmetric matrices, or stacks of such."""
    places = default_wrt(arrays, symmetric, "symmetric") if np.size(symmetric) else ()
    for i in places or ():
        if arrays[i].ndim < 2 or not np.array_equal(arrays[i], np.swapaxes(arrays[i], -1, -2), equal_nan=True):
            raise ValueError(f"symmetric: expected args[{i}] to be a symmetric matrix")
    return places or ()


def default_wrt(arrays: Sequence[Any], wrt: Any, name: str = "wrt") -> tuple[int, ...] | None:
    """The arguments to differentiate by as numbers from 0; None if backward is to say."""
    if wrt is None:
        return None
    wrt = (wrt,) if isinstance(wrt, int | np.integer) and not isinstance(wrt, bool) else wrt
    try:
        numbers = tuple(int(i) for i in wrt)
    except (TypeError, ValueError):
        raise TypeError(f"{name}: expected an argument's number or several, got {wrt!r}") from None
    for i in numbers:
        if not 0 <= i < len(arrays):
            raise ValueError(f"{name}: expected numbers in 0..{len(arrays) - 1}, got {i}")
        if arrays[i].dtype.kind != "f":
            raise TypeError(f"{name}: expected arguments of floats, but args[{i}] is {arrays[i].dtype}")
    if not numbers:
        raise ValueError(f"{name}: expected at least one argument, got none")
    return numbers
