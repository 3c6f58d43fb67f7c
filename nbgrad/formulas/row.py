"""What a row of the table says of an elementwise operator, and of a regression model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Elementwise", "RegressionModel", "ScoreModel"]


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


@dataclass(frozen=True, eq=False, kw_only=True)
class RegressionModel:
    """What a model's public functions and errors say of it.

    ``targets``: what y may be, as errors say it ({dtype}: the products' precision, {last}: the last class).
    ``classifies``: whether they are labels. ``text``: the documentation, what is minimised in its first line;
    ``example``: its doctest. ``parameters``, ``ranges``: as `Elementwise` has them.
    """

    targets: str
    text: str
    example: str = ""
    classifies: bool = False
    parameters: dict[str, float] = field(default_factory=dict)
    ranges: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ScoreModel(RegressionModel):
    """A model of one score a row: ``loss(score, target, *parameters)``, its derivatives in the score, and
    ``is_target(target)``, whether there can be such a target; plain functions of numbers.
    """

    loss: Callable[..., Any]
    derivative: Callable[..., Any]
    second_derivative: Callable[..., Any]
    is_target: Callable[..., Any]
