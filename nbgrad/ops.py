"""THE TABLE: every elementwise operator with its derivative, parameters and kinks.

Loops, public kernels, autograd functions, tests, benchmarks and pictures are derived from it. To add an
activation: two functions in `nbgrad.formulas` and one row here (and its public `def`, with docstring, in
`nbgrad.kernels.activations`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbgrad import formulas as f

__all__ = ["LOSSES", "OPS", "Elementwise"]


@dataclass(frozen=True, eq=False)
class Elementwise:
    """One operator: ``forward(x, *parameters)`` and ``derivative(x, *parameters)``, plain functions of
    numbers.

    ``parameters`` maps each parameter's name to its default; ``kinks`` are the inputs where the derivative
    jumps. For a loss the first parameter is the target and the kinks are those of ``input − target``.
    """

    forward: Callable[..., Any]
    derivative: Callable[..., Any]
    parameters: dict[str, float]
    kinks: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        return self.forward.__name__


def _table(*rows: Elementwise) -> dict[str, Elementwise]:
    return {row.name: row for row in rows}


OPS = _table(
    Elementwise(f.sigmoid, f.d_sigmoid, {}),
    Elementwise(f.tanh, f.d_tanh, {}),
    Elementwise(f.relu, f.d_relu, {}, kinks=(0.0,)),
    Elementwise(f.leaky_relu, f.d_leaky_relu, {"negative_slope": 0.1}, kinks=(0.0,)),
    Elementwise(f.elu, f.d_elu, {"alpha": 1.0}, kinks=(0.0,)),
)

LOSSES = _table(
    Elementwise(f.squared_error, f.d_squared_error, {}),
    Elementwise(f.half_squared_error, f.d_half_squared_error, {}),
    Elementwise(f.logistic_squared_error, f.d_logistic_squared_error, {}),
    Elementwise(f.absolute_error, f.d_absolute_error, {}, kinks=(0.0,)),
    Elementwise(f.huber, f.d_huber, {"delta": 1.0}),
    Elementwise(
        f.binary_cross_entropy_with_logits, f.d_binary_cross_entropy_with_logits, {"pos_weight": 1.0}
    ),
)
