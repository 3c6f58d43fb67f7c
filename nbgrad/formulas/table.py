"""THE TABLE: every elementwise operator with its derivative, parameters and kinks.

Loops, public kernels, autograd functions, tests, benchmarks and pictures are derived from it. To add an
activation: two functions in `nbgrad.formulas` and one row here (and its public `def`, with docstring, in
`nbgrad.kernels.activations`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nbgrad import formulas as f

__all__ = ["LOSSES", "OPS", "Elementwise"]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """One operator: ``forward(x, *parameters)`` and ``derivative(x, *parameters)``, plain functions of
    numbers.

    ``parameters`` maps each parameter's name to its default; ``kinks`` are the inputs where the derivative
    jumps, or the names of the parameters that say where. For a loss the first parameter is the target and the kinks
    are those of ``input − target``. ``crosses_zero``: the derivative has a zero that no formula of a few numbers meets
    to 2 ulp; below ½ its error is at most eps instead. ``textbook``: the definition, as one would write it on paper,
    by which the tests know what the formula must be. ``ranges``: what a parameter must be beside a real number, one of
    `nbgrad.arrays.RANGES`.
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


def _table(*rows: Elementwise) -> dict[str, Elementwise]:
    return {row.name: row for row in rows}


OPS = _table(
    Elementwise(f.sigmoid, f.d_sigmoid, {}, textbook="1 / (1 + exp(-x))"),
    Elementwise(f.tanh, f.d_tanh, {}, textbook="(exp(x) - exp(-x)) / (exp(x) + exp(-x))"),
    Elementwise(f.relu, f.d_relu, {}, kinks=(0.0,), textbook="max(x, 0)"),
    Elementwise(
        f.leaky_relu, f.d_leaky_relu, {"negative_slope": 0.1}, kinks=(0.0,),
        textbook="max(x, 0) + negative_slope * min(x, 0)",
    ),
    Elementwise(
        f.elu, f.d_elu, {"alpha": 1.0}, kinks=(0.0,), textbook="max(x, 0) + alpha * (exp(min(x, 0)) - 1)"
    ),
    Elementwise(f.softplus, f.d_softplus, {"beta": 1.0}, textbook="log(1 + exp(beta * x)) / beta"),
    Elementwise(f.log_sigmoid, f.d_log_sigmoid, {}, textbook="log(1 / (1 + exp(-x)))"),
    Elementwise(f.silu, f.d_silu, {}, crosses_zero=True, textbook="x / (1 + exp(-x))"),
    Elementwise(f.gelu, f.d_gelu, {}, crosses_zero=True, textbook="x * erfc(-x / sqrt(2)) / 2"),
    Elementwise(
        f.gelu_tanh, f.d_gelu_tanh, {}, crosses_zero=True,
        textbook="x / (1 + exp(-2 * sqrt(2 / pi) * (x + 44715 * x**3 / 1000000)))",
    ),
    Elementwise(f.mish, f.d_mish, {}, crosses_zero=True, textbook="x * tanh(log(1 + exp(x)))"),
    Elementwise(f.softsign, f.d_softsign, {}, textbook="x / (1 + abs(x))"),
    Elementwise(
        f.selu, f.d_selu, {}, kinks=(0.0,),
        textbook="1.0507009873554805 * (max(x, 0) + 1.6732632423543772 * (exp(min(x, 0)) - 1))",
    ),
    Elementwise(
        f.celu, f.d_celu, {"alpha": 1.0}, textbook="max(x, 0) + alpha * (exp(min(x, 0) / alpha) - 1)"
    ),
    Elementwise(
        f.hardtanh, f.d_hardtanh, {"min_val": -1.0, "max_val": 1.0}, kinks=("min_val", "max_val"),
        textbook="min_val if x < min_val else (max_val if x > max_val else x)",
    ),
    Elementwise(f.relu6, f.d_relu6, {}, kinks=(0.0, 6.0), textbook="min(max(x, 0), 6)"),
    Elementwise(f.hardsigmoid, f.d_hardsigmoid, {}, kinks=(-3.0, 3.0), textbook="min(max(x + 3, 0), 6) / 6"),
    Elementwise(f.hardswish, f.d_hardswish, {}, kinks=(-3.0, 3.0), textbook="x * min(max(x + 3, 0), 6) / 6"),
    Elementwise(
        f.threshold, f.d_threshold, {"threshold": 0.0, "value": 0.0}, kinks=("threshold",),
        textbook="x if x > threshold else value",
    ),
)  # fmt: skip

LOSSES = _table(
    Elementwise(f.squared_error, f.d_squared_error, {}),
    Elementwise(f.half_squared_error, f.d_half_squared_error, {}),
    Elementwise(f.logistic_squared_error, f.d_logistic_squared_error, {}),
    Elementwise(f.absolute_error, f.d_absolute_error, {}, kinks=(0.0,)),
    Elementwise(f.huber, f.d_huber, {"delta": 1.0}, ranges={"delta": "> 0"}),
    Elementwise(
        f.binary_cross_entropy_with_logits, f.d_binary_cross_entropy_with_logits, {"pos_weight": 1.0}
    ),
)
