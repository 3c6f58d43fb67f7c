"""THE RULES: each function that a formula may call, with its partial derivatives.

A partial derivative is an expression, text, of the function's parameters and of ``y``, its value; the same rules serve
the derivation in reverse order, tangents and second derivatives. A function's derivative of the table (d_sigmoid) is a
function with a rule of its own, so that formulas have second derivatives. "0" where a derivative is 0 but at jumps.
"""

from __future__ import annotations

import builtins
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad import elementary
from nbgrad.derive.program import Function
from nbgrad.elementary.division import copysign
from nbgrad.formulas.row import Elementwise
from nbgrad.formulas.table import LOSSES, OPS

__all__ = ["FUNCTIONS", "KERNELS", "named"]

#: By the name under which rules and written programs call them.
FUNCTIONS: dict[str, Function] = {}
#: By the function that a user calls.
_CALLED: dict[Any, Function] = {}
#: The public kernels by their names: they stand above this room.
KERNELS: dict[str, Function] = {}


def _add(
    name: str, call: Callable[..., Any], signature: str, *partials: str | None, also: tuple[Any, ...] = ()
) -> None:
    function = Function(name, call, tuple(signature.replace(" ", "").split(",")), partials)
    FUNCTIONS[name] = function
    for key in (call, *also):
        _CALLED[key] = function


_SQRT_PI = repr(2 / math.sqrt(math.pi))

# The derivatives: M. Abramowitz & I. Stegun, Handbook of Mathematical Functions (1964), 3.3, 4.2 to 4.6, 7.1.
_add("exp", elementary.exp, "x", "y", also=(math.exp, np.exp))
_add("expm1", elementary.expm1, "x", "exp(x)", also=(math.expm1, np.expm1))
_add("exp2", math.exp2, "x", f"{math.log(2)!r} * y", also=(np.exp2,))
_add("log", elementary.log, "x", "1 / x", also=(math.log, np.log))
_add("log1p", elementary.log1p, "x", "1 / (1 + x)", also=(math.log1p, np.log1p))
_add("log2", math.log2, "x", f"{1 / math.log(2)!r} / x", also=(np.log2,))
_add("log10", math.log10, "x", f"{1 / math.log(10)!r} / x", also=(np.log10,))
_add("sqrt", math.sqrt, "x", "0.5 / y", also=(np.sqrt,))
_add("sin", math.sin, "x", "cos(x)", also=(np.sin,))
_add("cos", math.cos, "x", "-sin(x)", also=(np.cos,))
_add("tan", math.tan, "x", "1 + y * y", also=(np.tan,))
_add("asin", math.asin, "x", "1 / sqrt((1 - x) * (1 + x))", also=(np.arcsin,))
_add("acos", math.acos, "x", "-1 / sqrt((1 - x) * (1 + x))", also=(np.arccos,))
_add("atan", math.atan, "x", "1 / (1 + x * x)", also=(np.arctan,))
_add("atan2", math.atan2, "a, b", "b / (a * a + b * b)", "-a / (a * a + b * b)", also=(np.arctan2,))
_add("sinh", math.sinh, "x", "cosh(x)", also=(np.sinh,))
_add("cosh", math.cosh, "x", "sinh(x)", also=(np.cosh,))
_add("asinh", math.asinh, "x", "1 / hypot(1, x)", also=(np.arcsinh,))
_add("acosh", math.acosh, "x", "1 / (sqrt(x - 1) * sqrt(x + 1))", also=(np.arccosh,))
_add("atanh", math.atanh, "x", "1 / ((1 - x) * (1 + x))", also=(np.arctanh,))
_add("erf", elementary.erf, "x", f"{_SQRT_PI} * exp(-x * x)", also=(math.erf,))
_add("erfc", elementary.erfc, "x", f"-{_SQRT_PI} * exp(-x * x)", also=(math.erfc,))
_add("hypot", math.hypot, "a, b", "0 if y == 0 else a / y", "0 if y == 0 else b / y", also=(np.hypot,))
_add(
    "copysign", copysign, "a, b", "-1 if copysign(1, a) != copysign(1, b) else 1", "0",
    also=(math.copysign, np.copysign),
)  # fmt: skip
_add("floor", math.floor, "x", "0", also=(np.floor,))
_add("ceil", math.ceil, "x", "0", also=(np.ceil,))
_add("trunc", math.trunc, "x", "0", also=(np.trunc,))
# x ** p: at x = 0 the derivative in p is 0 (0 · ln 0), and of the constant x ** 0 that in x.
_add("power", math.pow, "x, p", "0 if p == 0 else p * x ** (p - 1)", "0 if y == 0 else y * log(x)", also=(np.power,))
# At a tie the derivative goes to the first, as the comparison in the definition has it: a if a >= b else b.
_add("abs", builtins.abs, "x", "1 if x > 0 else (-1 if x < 0 else 0)", also=(math.fabs, np.abs, np.fabs))
_CALLED[np.absolute] = FUNCTIONS["abs"]

#: The derivatives of the table's derivatives in x; ``y`` is the derivative itself. "0" between the kinks.
_SECOND: dict[str, str] = {
    "sigmoid": "-tanh(x / 2) * y",
    "tanh": "-2 * tanh(x) * y",
    "relu": "0",
    "leaky_relu": "0",
    "elu": "0 if x > 0 else y",
    "selu": "0 if x > 0 else y",
    "celu": "0 if x > 0 else y / alpha",
    "hardtanh": "0",
    "relu6": "0",
    "hardsigmoid": "0",
    "hardswish": f"{1 / 3!r} if abs(x) < 3 else 0",
    "threshold": "0",
    "softplus": "beta * d_sigmoid(beta * x)",
    "log_sigmoid": "-d_sigmoid(x)",
    "silu": "d_sigmoid(x) * (2 - x * tanh(x / 2))",
    "gelu": f"{1 / math.sqrt(2 * math.pi)!r} * exp(-x * x / 2) * (2 - x * x)",
    "softsign": "-copysign(2, x) / (1 + abs(x)) ** 3",
}
_K, _C = math.sqrt(2 / math.pi), 0.044715
# u = k(x + c·x³): y = ½(1 + tanh u) + ½·x·tanh'(u)·u'
_U, _DU = f"({_K!r} * (x + {_C!r} * x * x * x))", f"({_K!r} * (1 + {3 * _C!r} * x * x))"
_SECOND["gelu_tanh"] = (
    f"d_tanh({_U}) * ({_DU} + x * ({3 * _K * _C!r} * x - tanh({_U}) * {_DU} * {_DU}))"
)
# w = tanh(softplus(x)): y = w + x·w', w' = tanh'(softplus)·σ, w'' = tanh'(softplus)·(σ' − 2·w·σ²)
_SECOND["mish"] = (
    "d_tanh(softplus(x, 1)) * "
    "(2 * sigmoid(x) + x * (d_sigmoid(x) - 2 * tanh(softplus(x, 1)) * sigmoid(x) * sigmoid(x)))"
)
#: Of the losses: the derivative in the target; then those of the derivative in the input, in input and target.
_LOSSES: dict[str, tuple[str, str, str]] = {
    "squared_error": ("2 * (target - x)", "2", "-2"),
    "half_squared_error": ("target - x", "1", "-1"),
    "logistic_squared_error": (
        "2 * (target * sigmoid(-x) - (1 - target) * sigmoid(x))",
        "2 * d_sigmoid(x) * (d_sigmoid(x) + (target * sigmoid(-x) - (1 - target) * sigmoid(x)) * tanh(x / 2))",
        "-2 * d_sigmoid(x)",
    ),
    "absolute_error": ("1 if x < target else (-1 if x > target else 0)", "0", "0"),
    "huber": (
        "delta if x - target < -delta else (-delta if x - target > delta else target - x)",
        "1 if abs(x - target) <= delta else 0", "-1 if abs(x - target) <= delta else 0",
    ),
    "binary_cross_entropy_with_logits": (
        "pos_weight * softplus(-x, 1) - softplus(x, 1)",
        "(1 - target + pos_weight * target) * d_sigmoid(x)",
        "-sigmoid(x) - pos_weight * sigmoid(-x)",
    ),
}  # fmt: skip


def _add_row(op: Elementwise, arguments: tuple[str, ...], partials: tuple[str, ...], seconds: tuple[str, ...]) -> None:
    constants = tuple(op.parameters)
    none = (None,) * len(constants)
    parameters = (*arguments, *constants)
    d = Function(f"d_{op.name}", op.derivative, parameters, (*seconds, *none), op.parameters)
    named = ", ".join(parameters)
    function = Function(
        op.name, op.forward, parameters, (f"d_{op.name}({named})", *partials, *none), op.parameters, op.kinks_at
    )
    for f in (function, d):
        FUNCTIONS[f.name] = _CALLED[f.call] = f
    KERNELS[op.name] = function


for _op in OPS.values():
    _add_row(_op, ("x",), (), (_SECOND[_op.name],))
for _op in LOSSES.values():
    _target, _dx, _dt = _LOSSES[_op.name]
    _add_row(_op, ("x", "target"), (_target,), (_dx, _dt))
_PUBLIC = {"mse_loss": "squared_error", "l1_loss": "absolute_error", "huber_loss": "huber"}
KERNELS |= {public: FUNCTIONS[name] for public, name in _PUBLIC.items()}
_CALLED |= dict.fromkeys([math.tanh, np.tanh], FUNCTIONS["tanh"])
_CALLED[math.pow] = FUNCTIONS["power"]


def named(called: Any) -> Function | None:
    """What a formula calls, if there is a rule for it."""
    try:
        return _CALLED.get(called)
    except TypeError:  # not hashable
        return None
