"""What a row of the table says: of an elementwise operator, a loss, a row function, a regression model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any

__all__ = ["Elementwise", "Loss", "OfSums", "RegressionModel", "RowFunction", "ScoreModel"]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """One operator: ``forward(x, *parameters)`` and ``derivative(x, *parameters)``, plain functions of
    numbers.

    ``parameters`` maps each parameter's name to its default; ``kinks`` are the inputs where the derivative
    jumps, or the names of the parameters that say where. ``crosses_zero``: the derivative has a zero that no formula of
    a few numbers meets to 2 ulp; below ½ its error is at most eps instead. ``textbook``: the definition, as one would
    write it on paper, by which the tests know what the formula must be. ``ranges``: what a parameter must be beside a
    real number, one of `nbgrad.arguments.RANGES`.
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


@dataclass(frozen=True, eq=False)
class Loss(Elementwise):
    """A loss of one element: ``forward(x, target, *parameters)``, and ``derivative``, that in x.

    ``target_derivative``: that in the target; None for a function of x − target, where it is −``derivative``. The
    ``kinks`` are those of x − target. ``kernel``: the public function, whose derivative is ``kernel`` with
    ``_value_and_grad`` behind it; empty for what only regression models use. ``input``: what it calls its first
    argument. ``targets``: between which numbers a target lies.
    """

    target_derivative: Callable[..., Any] | None = None
    kernel: str = ""
    input: str = "input"
    targets: tuple[float, float] = (-inf, inf)


@dataclass(frozen=True, eq=False)
class OfSums:
    """A row function that is made of a row's sums, entry by entry: the loops go through many rows at a time.

    ``terms(T, largest, others)``: what the entries need of the row's maximum and of Σ e^(x − max), two numbers, and
    ``entry``: y, from x and these, or where ``of_exp`` from e^(x − max) and these. ``backward_term(grad_output, y)`` is
    summed over the row, ``backward_entry(grad_output, y, total)`` the gradient.
    """

    terms: Callable[..., Any]
    entry: Callable[..., Any]
    backward_term: Callable[..., Any]
    backward_entry: Callable[..., Any]
    of_exp: bool = False


@dataclass(frozen=True, eq=False)
class RowFunction:
    """A function of a whole row: ``forward(x, y)`` fills the row y, ``backward(grad_output, y, grad_x)`` the gradient
    of x, from the result y. Plain functions of 1-D arrays, which must not allocate memory (a GPU has none); what they
    fill lies apart from the others. ``sums``: the same entry by entry, where it can be had so.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    sums: OfSums | None = None

    @property
    def name(self) -> str:
        return self.forward.__name__


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
