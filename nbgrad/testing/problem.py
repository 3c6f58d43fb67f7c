"""A forward and a backward function at one point: how they are called, and every error on the way."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import numpy as np

from nbgrad.testing.oracle.conditioning import Sensitivity, sensitivities
from nbgrad.testing.report import Call, GradientError
from nbgrad.testing.state import of_call

__all__ = ["Misfit", "Problem"]


class Misfit(Exception):
    """What an adapter's forward or backward raises where the functions behind it return something of a wrong kind."""

    def __init__(self, verdict: str, message: str) -> None:
        super().__init__(message)
        self.verdict = verdict


class Problem:
    """What is checked. `gradients` and `value` call the functions and raise `GradientError` where that fails."""

    def __init__(
        self, forward: Callable[..., Any], backward: Callable[..., Any], arrays: list[Any], wrt: tuple[int, ...] | None,
        call: Call, terms: Callable[..., Any] | None = None,
    ) -> None:  # fmt: skip
        self.forward, self.backward, self.arrays, self.call = forward, backward, arrays, call
        self.terms = terms
        self.names = call.names
        self.pristine = [a.copy() for a in arrays]
        self.wrt = wrt
        self.value_here: Any = None
        self.grad_output: Any = None
        #: of what the functions compute in, where that is coarser than their arrays: bfloat16 in float32
        self.coarse = 0.0

    def eps(self, dtype: Any) -> float:
        return max(float(np.finfo(dtype).eps), self.coarse)

    def error(self, verdict: str, message: str, **details: Any) -> GradientError:
        """A `GradientError` with the code that repeats it."""
        message += self.call.note
        return GradientError(
            verdict, message, reproducer=self.call.code(), arguments=tuple(self.call.arguments), **details
        )

    def fail(self, verdict: str, message: str, cause: BaseException | None = None, **details: Any) -> NoReturn:
        raise self.error(verdict, message, **details) from cause

    def _called(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            with np.errstate(all="ignore"):
                return function(*arguments)
        except Misfit as error:
            self.fail(error.verdict, f"{what} {error}", error)
        except Exception as error:
            if isinstance(error, ValueError) and "read-only" in str(error):
                self.fail("mutated", f"{what} writes to an argument that is read-only: {error}", error)
            hint = of_call(function, arguments) if what == self.names[1] and isinstance(error, TypeError) else ""
            self.fail("raised", f"{what} raised {type(error).__name__}: {error}{hint}", error)

    def value(self, arrays: Sequence[Any]) -> Any:
        """forward's result as an array of floats."""
        result = self._called(self.names[0], self.forward, *arrays)
        try:
            value = np.asarray(result)
        except Exception as error:
            what = f"{self.names[0]} returned {type(result).__name__}, which is no array: {error}"
            if isinstance(result, tuple):
                what += "\n  hint       a function that takes the first of them alone can be checked"
            self.fail("raised", what, error)
        if value.dtype.kind != "f":
            self.fail("dtype", f"{self.names[0]} returned {value.dtype}, expected floats")
        return value

    def gradients(self, grad_output: Any, arrays: Sequence[Any], function: Any = None) -> dict[int, Any]:
        """backward's result, by argument; shapes and dtypes are checked against the arguments."""
        result = self._called(self.names[1], function or self.backward, grad_output, *arrays)
        if isinstance(result, tuple | list):
            given = list(result)
            if len(given) != len(arrays):
                self.fail(
                    "shape",
                    f"{self.names[1]} returned {len(given)} gradients for {len(arrays)} arguments (None for those "
                    "without; a tuple or list has one for each argument, so that one gradient must be an array)",
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
                self.fail("shape", f"{self.names[1]} returned no gradient of an argument of floats")
        found = {}
        for i in wanted:
            label = self.call.label(i)
            if given[i] is None:
                self.fail("shape", f"{self.names[1]} returned None for {label}, expected its gradient", argument=i)
            try:
                gradient = np.asarray(given[i])
            except Exception as error:
                what = f"{self.names[1]} returned {type(given[i]).__name__} for {label}"
                self.fail("shape", f"{what}, which is no array: {error}", error, argument=i)
            if gradient.shape != arrays[i].shape:
                self.fail(
                    "shape",
                    f"the gradient of {self.call.label(i)} has shape {gradient.shape}, expected {arrays[i].shape}",
                    argument=i,
                )
            if gradient.dtype.newbyteorder("=") != arrays[i].dtype.newbyteorder("="):
                what = f"the gradient of {label} is {gradient.dtype}, expected {arrays[i].dtype}"
                self.fail("dtype", what, argument=i)
            found[i] = gradient
        return found

    def unchanged(self, where: str, grad_output: Any = None, kept: Any = None) -> None:
        """Refuse a function that has written to an argument."""
        for i, (a, b) in enumerate(zip(self.arrays, self.pristine, strict=True)):
            if not np.array_equal(a, b, equal_nan=True) or a.tobytes() != b.tobytes():
                self.arrays[i] = b  # the reproducer shows what was given
                self.call.arguments[i] = b
                self.fail("mutated", f"{where} changed {self.call.label(i)}", argument=i)
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
