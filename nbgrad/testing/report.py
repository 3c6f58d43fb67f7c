"""What a check says: the report of one that passed, the error of one that did not, and code that repeats it."""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["VERDICTS", "Call", "GradientError", "GradientReport", "GradientWarning", "warn"]

#: The words of a `GradientError`.
VERDICTS = {
    "wrong": "the gradient is not the slope of the function",
    "imprecise": "the gradient has the right size, but lost more digits than the tolerance grants",
    "kink": "the function has a kink here, and the gradient lies outside its one-sided derivatives",
    "shape": "a gradient, or their number, does not fit the arguments",
    "dtype": "a gradient has another dtype than its argument",
    "mutated": "an argument was changed",
    "not repeatable": "the same call gave other bits",
    "not linear": "the gradient is not linear in grad_output",
    "layout": "the values depend on how an argument lies in memory",
    "out": "out= gives another result than the call without it",
    "unconfirmed": "no element of the gradient could be confirmed",
    "raised": "forward or backward raised an exception",
}


@dataclass(frozen=True)
class GradientReport:
    """What a check that passed has seen.

    ``elements`` of the gradients were compared with differences: ``confirmed`` agree to the tolerance or to 1/64 where
    the differences are no sharper, ``kinks`` lie inside the one-sided derivatives, ``undecided`` could not be
    decided: no error, but no confirmation either. ``worst_ulps``: the largest distance of a confirmed element, in
    ulps, beyond the error bar. ``precisions``: in which the function was differenced. ``imprecise`` ones have lost
    digits to rounding, up to half of them (see `GradientWarning`).

    >>> GradientReport(elements=4, confirmed=3, undecided=1)
    GradientReport: 4 elements, 3 confirmed, 0 at kinks, 1 undecided; worst 0 ulps; differences in -
    """

    elements: int = 0
    confirmed: int = 0
    kinks: int = 0
    undecided: int = 0
    worst_ulps: float = 0.0
    precisions: tuple[str, ...] = ()
    imprecise: int = 0

    @property
    def nothing(self) -> bool:
        """Whether there were elements, and none could be decided.

        >>> GradientReport(elements=2, undecided=2).nothing
        True
        """
        return self.elements > 0 and self.undecided == self.elements

    def __add__(self, other: GradientReport) -> GradientReport:
        """Both together.

        >>> (GradientReport(elements=1, confirmed=1) + GradientReport(elements=2, undecided=2)).elements
        3
        """
        return GradientReport(
            self.elements + other.elements,
            self.confirmed + other.confirmed,
            self.kinks + other.kinks,
            self.undecided + other.undecided,
            max(self.worst_ulps, other.worst_ulps),
            tuple(dict.fromkeys(self.precisions + other.precisions)),
            self.imprecise + other.imprecise,
        )

    def __repr__(self) -> str:
        imprecise = f", {self.imprecise} imprecise" if self.imprecise else ""
        return (
            f"GradientReport: {self.elements} elements, {self.confirmed} confirmed, {self.kinks} at kinks, "
            f"{self.undecided} undecided{imprecise}; worst {self.worst_ulps:.3g} ulps; "
            f"differences in {', '.join(self.precisions) or '-'}"
        )


class GradientWarning(UserWarning):
    """A gradient that is right but for rounding, or a check that could say little: what passes a check, but not one
    with ``strict=True``.

    >>> issubclass(GradientWarning, UserWarning)
    True
    """


def warn(message: str) -> None:
    """A `GradientWarning` at the line that called this package."""
    level, frame = 1, sys._getframe()
    ours = ("nbgrad.testing", "numpy.", "contextlib")  # NumPy's errstate is a decorator of ours
    while frame.f_back is not None and frame.f_globals.get("__name__", "").startswith(ours):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, GradientWarning, stacklevel=level)


class GradientError(AssertionError):
    """A gradient that is wrong, and how.

    ``verdict`` is one of `VERDICTS`; ``argument`` and ``index`` say where (None where that has no meaning); ``value``
    is what backward returned, ``reference`` what it should be, ``error`` the error bar of the reference, ``ulps`` the
    distance; ``arguments`` are those of forward, ``reproducer`` is Python code that raises the same error, given the
    functions by name; the message has it without large arrays.

    >>> error = GradientError("shape", "2 gradients for 1 argument", reproducer="check_gradient(f, g, x)")
    >>> print(error)
    shape: 2 gradients for 1 argument
    Reproduce it:
        check_gradient(f, g, x)
    """

    def __init__(
        self,
        verdict: str,
        message: str,
        *,
        argument: int | None = None,
        index: tuple[int, ...] | None = None,
        value: Any = None,
        reference: Any = None,
        error: Any = None,
        ulps: float | None = None,
        reproducer: str = "",
        arguments: tuple[Any, ...] = (),
    ) -> None:
        self.verdict, self.argument, self.index = verdict, argument, index
        self.arguments = arguments
        self.value, self.reference, self.error, self.ulps = value, reference, error, ulps
        self.reproducer = reproducer
        indented = "".join(f"\n    {_shortened(line)}" for line in reproducer.splitlines())
        text = _cut(f"{verdict}: {message}", 2 * LONGEST // 3)
        super().__init__(_cut(text + ("\nReproduce it:" + indented if reproducer else ""), LONGEST))


#: No message has more characters.
LONGEST = 5000


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 4] + " ..."


def _shortened(line: str) -> str:
    """A line of the reproducer as the message has it: of large arrays the name alone."""
    if len(line) <= 700:
        return line
    name = line.partition(" = ")[0]
    return f"{name} = ...  # large: the error's `reproducer` has it" if len(name) < 80 else _cut(line, 700)


def number(value: Any) -> str:
    """A number in decimal and in hex: 22.18 = 0x1.62e148p+4."""
    shown = float(value)
    decimal = str(value) if np.isfinite(shown) else repr(shown)
    return f"{decimal} = " + re.sub(r"\.?0*p", "p", shown.hex())


def literal(value: Any) -> str:
    """Python code of an array, a number, or a tuple, list or dict of them, to the last bit."""
    if isinstance(value, str):
        return repr(value)
    if isinstance(value, dict):
        return "{" + ", ".join(f"{literal(k)}: {literal(v)}" for k, v in value.items()) + "}"
    if type(value) in (tuple, list):
        items = ", ".join(map(literal, value)) + ("," if type(value) is tuple and len(value) == 1 else "")
        return f"({items})" if type(value) is tuple else f"[{items}]"
    if not isinstance(value, np.ndarray):
        try:
            return re.sub(r"\b(nan|inf)\b", r"np.\1", repr(value))
        except Exception:  # an object of the caller's that has no name must not hide the error
            return f"<{type(value).__name__}>"
    kind = f"np.{value.dtype.type.__name__}" + ("_" if value.dtype.type.__name__ == "bool" else "")
    if value.dtype.itemsize > 8:
        digits = [str(v) for v in value.ravel()]
        return f"np.array({digits!r}).astype(np.longdouble).reshape({value.shape})"
    if not value.dtype.isnative:
        kind = repr(value.dtype.str)
    text = re.sub(r"\b(nan|inf)\b", r"np.\1", repr(value.tolist()))
    return f"np.array({text}, {kind})" + ("" if value.size else f".reshape({value.shape})")


def name_of(function: Callable[..., Any], fallback: str) -> tuple[str, str]:
    """(what code calls the function, the import that it needs or "")"""
    name = getattr(function, "__name__", "")
    if not isinstance(name, str) or not name.isidentifier():  # a lambda, a partial, an object
        return fallback, ""
    if isinstance(function, np.ufunc) and getattr(np, name, None) is function:
        return f"np.{name}", ""
    module = getattr(function, "__module__", None) or ""
    home = sys.modules.get(module)
    importable = module != "__main__" and all(part.isidentifier() for part in module.split("."))
    known = importable and getattr(home, name, None) is function
    return name, f"from {module} import {name}\n" if known else ""


@dataclass
class Call:
    """How the check was called, for the reproducer."""

    check: str
    functions: dict[str, Callable[..., Any]]
    arguments: list[Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    hidden: tuple[str, ...] = ()
    #: makes the call's arguments of the names of the arrays: a dict of tensors has several
    arrange: Callable[[list[str]], list[str]] = list
    #: what the caller calls forward, backward and grad_output
    names: tuple[str, str] = ("forward", "backward")
    grad_output: str = "grad_output"
    #: added to every message
    note: str = ""
    #: what messages call the arrays
    labels: Sequence[str] = ()
    imports: str = ""

    def label(self, i: int) -> str:
        return self.labels[i] if self.labels else f"args[{i}]"

    def code(self) -> str:
        """Python code that repeats the call."""
        imports, names = self.imports, list[str]()
        for fallback, function in self.functions.items():
            name, line = name_of(function, fallback)
            if name in names:  # two functions of one name
                name, line = fallback, ""
            imports += line
            names.append(name)
        variables = [f"x{i}" for i in range(len(self.arguments))]
        lines = [f"{x} = {literal(a)}" for x, a in zip(variables, self.arguments, strict=True)]
        given = []
        for key, value in self.keywords.items():
            if key in self.hidden or value is None or (isinstance(value, tuple | list | dict) and not value):
                continue
            key = self.grad_output if key == "grad_output" else key
            if callable(value):
                name, line = name_of(value, key)
                imports += line
                given.append(f"{key}={name}")
            elif isinstance(value, np.ndarray):
                lines.append(f"{key} = {literal(value)}")
                given.append(f"{key}={key}")
            else:
                given.append(f"{key}={literal(value)}")
        arguments = ", ".join([*names, *self.arrange(variables), *given])
        head = f"import numpy as np\nfrom nbgrad.testing import {self.check}\n{imports}"
        return head + "\n".join([*lines, f"{self.check}({arguments})"])
