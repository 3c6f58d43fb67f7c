"""A forward and a backward function at one point: how they are called, and every error on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from nbgrad.testing.conditioning import Sensitivity, sensitivities
from nbgrad.testing.report import Call, GradientError

__all__ = ["Problem", "as_arguments", "default_wrt"]


def as_arguments(args: Sequence[Any]) -> list[Any]:
    """NumPy arrays as they are; numbers as 0-d arrays. TypeError for anything else, for complex numbers and for
    objects.
    """
    found = []
    for i, a in enumerate(args):
        if isinstance(a, bool | int | float | np.generic):
            a = np.array(a)
        if not isinstance(a, np.ndarray):
            raise TypeError(
                f"args[{i}]: expected a NumPy array or a number, got {type(a).__name__}; "
                "bind other arguments with functools.partial"
            )
        if a.dtype.kind not in "fiub" or a.dtype.kind == "f" and a.dtype.itemsize < 2:
            raise TypeError(f"args[{i}]: expected floats, integers or bools, got {a.dtype}")
        found.append(a)
    if not any(a.dtype.kind == "f" for a in found):
        raise TypeError("args: expected at least one array of floats to differentiate by, got none")
    return found


def default_wrt(arrays: Sequence[Any], wrt: Any) -> tuple[int, ...] | None:
    """The arguments to differentiate by as numbers from 0; None if backward is to say."""
    if wrt is None:
        return None
    wrt = (wrt,) if isinstance(wrt, int | np.integer) and not isinstance(wrt, bool) else wrt
    try:
        numbers = tuple(int(i) for i in wrt)
    except TypeError:
        raise TypeError(f"wrt: expected an argument's number or several, got {wrt!r}") from None
    for i in numbers:
        if not 0 <= i < len(arrays):
            raise ValueError(f"wrt: expected numbers in 0..{len(arrays) - 1}, got {i}")
        if arrays[i].dtype.kind != "f":
            raise TypeError(f"wrt: expected arguments of floats, but args[{i}] is {arrays[i].dtype}")
    if not numbers:
        raise ValueError("wrt: expected at least one argument, got none")
    return numbers


class Problem:
    """What is checked. `gradients` and `value` call the functions and raise `GradientError` where that fails."""

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], arrays: list[Any], wrt: tuple[int, ...] | None,
        call: Call, terms: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.forward, self.backward, self.arrays, self.call = forward, backward, arrays, call
        self.terms = terms
        self.pristine = [a.copy() for a in arrays]
        self.wrt = wrt
        self.value_here: Any = None
        self.grad_output: Any = None

    def error(self, verdict: str, message: str, **details: Any) -> GradientError:
        """A `GradientError` with the code that repeats it."""
        return GradientError(
            verdict, message, reproducer=self.call.code(), arguments=tuple(self.call.arguments), **details
        )

    def fail(self, verdict: str, message: str, cause: BaseException | None = None, **details: Any) -> NoReturn:
        raise self.error(verdict, message, **details) from cause

    def _called(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                return function(*arguments)
        except Exception as error:
            if isinstance(error, ValueError) and "read-only" in str(error):
                self.fail("mutated", f"{what} writes to an argument that is read-only: {error}", error)
            self.fail("raised", f"{what} raised {type(error).__name__}: {error}", error)

    def value(self, arrays: Sequence[Any]) -> Any:
        """forward's result as an array of floats."""
        result = self._called("forward", self.forward, *arrays)
        try:
            value = np.asarray(result)
        except Exception as error:
            self.fail("raised", f"forward returned {type(result).__name__}, which is no array: {error}", error)
        if value.dtype.kind != "f":
            self.fail("dtype", f"forward returned {value.dtype}, expected floats")
        return value

    def gradients(self, grad_output: Any, arrays: Sequence[Any], function: Any = None) -> dict[int, Any]:
        """backward's result, by argument; shapes and dtypes are checked against the arguments."""
        result = self._called("backward", function or self.backward, grad_output, *arrays)
        if isinstance(result, tuple | list):
            given = list(result)
            if len(given) != len(arrays):
                self.fail(
                    "shape",
                    f"backward returned {len(given)} gradients for {len(arrays)} arguments (None for those without)",
                )
        else:
            place = self.wrt[0] if self.wrt and len(self.wrt) == 1 else 0
            given = [None] * len(arrays)
            given[place] = result
        wanted = self.wrt
        if wanted is None:
            wanted = tuple(
                i for i, (a, g) in enumerate(zip(arrays, given, strict=True)) if g is not None and a.dtype.kind == "f"
            )
            if not wanted:
                self.fail("shape", "backward returned no gradient of an argument of floats")
        found = {}
        for i in wanted:
            if given[i] is None:
                self.fail("shape", f"backward returned None for args[{i}], expected its gradient", argument=i)
            gradient = np.asarray(given[i])
            if gradient.shape != arrays[i].shape:
                self.fail(
                    "shape",
                    f"the gradient of args[{i}] has shape {gradient.shape}, expected {arrays[i].shape}",
                    argument=i,
                )
            if gradient.dtype != arrays[i].dtype:
                self.fail(
                    "dtype", f"the gradient of args[{i}] is {gradient.dtype}, expected {arrays[i].dtype}", argument=i
                )
            found[i] = gradient
        return found

    def unchanged(self, where: str, grad_output: Any = None, kept: Any = None) -> None:
        """Refuse a function that has written to an argument."""
        for i, (a, b) in enumerate(zip(self.arrays, self.pristine, strict=True)):
            if not np.array_equal(a, b, equal_nan=True) or a.tobytes() != b.tobytes():
                self.arrays[i] = b  # the reproducer shows what was given
                self.call.arguments[i] = b
                self.fail("mutated", f"{where} changed args[{i}]", argument=i)
        if kept is not None and grad_output.tobytes() != kept.tobytes():
            self.fail("mutated", f"{where} changed grad_output")

    @functools.cached_property
    def tiny(self) -> float:
        """What underflow may cost in an intermediate result."""
        g = np.abs(self.grad_output).max(initial=0)
        return 8 * float(np.finfo(self.value_here.dtype).smallest_subnormal) * max(1.0, float(g))

    def sensitivity(self) -> dict[int, Sensitivity]:
        """What rounding may do to each argument's gradient. Times eps it makes a tolerance, of values of backward
        beside the point only, so that a wrong backward gains nothing.
        """
        return sensitivities(self.quietly, self.forward, self.terms, self.grad_output, self.pristine)

    def quietly(self, grad_output: Any, arrays: Sequence[Any], function: Any = None) -> dict[int, Any]:
        """`gradients`, or nothing where they fail: at points of the check's choice that is no fault."""
        try:
            return self.gradients(grad_output, arrays, function)
        except GradientError:
            return {}
