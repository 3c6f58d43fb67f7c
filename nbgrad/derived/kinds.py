"""The kinds of derivatives that a formula has, as programs."""

from __future__ import annotations

from collections.abc import Callable

from nbgrad.derive import reverse, tangents
from nbgrad.derive.program import Program

__all__ = ["KINDS", "unique"]


def unique(program: Program, name: str) -> str:
    while name in program.arguments:
        name += "_"
    return name


def _value(program: Program, wrt: tuple[str, ...]) -> Program:
    return program


def _grad(program: Program, wrt: tuple[str, ...]) -> Program:
    return reverse.gradients(program, wrt)


def _backward(program: Program, wrt: tuple[str, ...]) -> Program:
    found = reverse.gradients(program, wrt, unique(program, "grad_output"))
    found.results = found.results[1:]
    return found


def _jvp(program: Program, wrt: tuple[str, ...]) -> Program:
    return tangents.tangent(program, {name: unique(program, f"{name}_t") for name in wrt})


def _grad_hess(program: Program, wrt: tuple[str, ...]) -> Program:
    found = tangents.tangent(reverse.gradients(program, wrt), {wrt[0]: 1.0})
    found.results = found.results[2:]
    return found


#: From a formula's program and the arguments to differentiate by.
KINDS: dict[str, Callable[[Program, tuple[str, ...]], Program]] = {
    "value": _value, "grad": _grad, "backward": _backward, "jvp": _jvp, "grad_hess": _grad_hess,
}  # fmt: skip
