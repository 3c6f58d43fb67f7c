"""What a row of the table says of an elementwise operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Elementwise"]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """One operator: ``forward(x, *parameters)`` and ``derivative(x, *parameters)``, plain functions of
    numbers.

    ``parameters`` maps each parameter's name to its default; ``kinks`` are the inputs where the derivative
    jumps, or the names of the parameters that say where. For a loss the first parameter is the target and the kinks
    are those of ``input − target``. ``crosses_zero``: the derivative has a zero that no formula of a few numbers meets
    to 2 ulp; below ½ its error is at most eps instead. ``textbook``: the definition, as one would write it on paper,
    by which the tests know what the formula must be. ``ranges``: what a parameter must be beside a real number, one of
    `nbgrad.arguments.RANGES`.
    """

    forward: Callable[..., Any]
    derivative: Callable[..., Any]
    parameters: dict[str, float]
    kinks: tuple[float | str, ...] = ()
    crosses_zero: bool = False
    textbook: str = ""
    ranges: dict[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.forward.__name__

    def kinks_at(self, *parameters: Any) -> tuple[Any, ...]:
        """The kinks for these parameters; for the defaults if there are none."""
        values = dict(zip(self.parameters, parameters or self.parameters.values(), strict=True))
        return tuple(values[k] if isinstance(k, str) else k for k in self.kinks)
