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
from nbgrad.elementary.logarithm import difference, logaddexp
from nbgrad.formulas.row import Elementwise, Loss
from nbgrad.formulas.table import LOSSES, OPS, PUBLIC_LOSSES

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
_add("difference", difference, "a, b", "1", "-1")
_add("logaddexp", logaddexp, "a, b", "sigmoid(difference(a, b))", "sigmoid(difference(b, a))", also=(np.logaddexp,))
_add("floor", math.floor, "x", "0", also=(np.floor,))
_add("ceil", math.ceil, "x", "0", also=(np.ceil,))
_add("trunc", math.trunc, "x", "0", also=(np.trunc,))
# x ** p: at x = 0 the derivative in p is 0 (0 · ln 0), and of the constant x ** 0 that in x.
_add("power", math.pow, "x, p", "0 if p == 0 else p * x ** (p - 1)", "0 if y == 0 else y * log(x)", also=(np.power,))
_add("abs", builtins.abs, "x", "1 if x > 0 else (-1 if x < 0 else x - x)", also=(math.fabs, np.abs, np.fabs))
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
_SECOND["gelu_tanh"] = f"d_tanh({_U}) * ({_DU} + x * ({3 * _K * _C!r} * x - tanh({_U}) * {_DU} * {_DU}))"
# w = tanh(softplus(x)): y = w + x·w', w' = tanh'(softplus)·σ, w'' = tanh'(softplus)·(σ' − 2·w·σ²)
_SECOND["mish"] = (
    "d_tanh(softplus(x, 1)) * "
    "(2 * sigmoid(x) + x * (d_sigmoid(x) - 2 * tanh(softplus(x, 1)) * sigmoid(x) * sigmoid(x)))"
)
#: The second derivatives of the losses in the input; of those that are no functions of x − target also that in input
#: and target, and that in the target.
_LOSSES: dict[str, tuple[str | None, ...]] = {
    "squared_error": ("2",),
    "half_squared_error": ("1",),
    "absolute_error": ("0",),
    "huber": ("1 if abs(x - target) <= delta else 0",),
    "logistic_squared_error": (
        "2 * d_sigmoid(x) * (d_sigmoid(x) + (target * sigmoid(-x) - (1 - target) * sigmoid(x)) * tanh(x / 2))",
        "-2 * d_sigmoid(x)", "2",
    ),
    "binary_cross_entropy_with_logits": (
        "(1 - target + pos_weight * target) * d_sigmoid(x)", "-sigmoid(x) - pos_weight * sigmoid(-x)", "0",
    ),
}  # fmt: skip


#: The derivatives in the parameters. (celu's cancels near 0 however it is written, and is left out.)
_PARAMETERS: dict[str, tuple[str | None, ...]] = {
    "leaky_relu": ("0 if x > 0 else x",),
    "elu": ("0 if x > 0 else expm1(x)",),
    "softplus": ("-(softplus(-abs(beta * x), 1) / beta + abs(x) * sigmoid(-abs(beta * x))) / beta",),
    "hardtanh": ("1 if x < min_val else 0", "1 if x > max_val else 0"),
    "threshold": ("0", "0 if x > threshold else 1"),
    "huber": ("0 if abs(x - target) <= delta else abs(x - target) - delta",),
    "binary_cross_entropy_with_logits": ("target * softplus(-x, 1)",),
}  # fmt: skip


def _add_row(op: Elementwise, *inputs: str, partials: tuple[str, ...] = (), seconds: tuple[str | None, ...]) -> None:
    """A function of the table and its derivative; ``partials``, beside that in the first input, ``seconds``: of the
    derivative. None where nobody has written it down.
    """
    parameters, none = (*inputs, *op.parameters), (None,) * len(op.parameters)
    d = Function(f"d_{op.name}", op.derivative, parameters, (*seconds, *none), op.parameters)
    slopes = (f"d_{op.name}({', '.join(parameters)})", *partials, *_PARAMETERS.get(op.name, none))
    function = Function(op.name, op.forward, parameters, slopes, op.parameters, op.kinks_at)
    for f in (function, d):
        FUNCTIONS[f.name] = _CALLED[f.call] = f
    KERNELS[op.name] = function


def _add_loss(op: Loss) -> None:
    parameters, none = ("x", "target", *op.parameters), (None,) * len(op.parameters)
    in_input, mixed, in_target = (*_LOSSES.get(op.name, ()), None, None, None)[:3]
    arguments = ", ".join(parameters)
    if op.target_derivative is None:  # of x − target
        if in_input is not None:
            mixed = "0" if in_input == "0" else f"-({in_input})"
        slope = f"-d_{op.name}({arguments})"
    else:
        slope = f"dt_{op.name}({arguments})"
        dt = Function(f"dt_{op.name}", op.target_derivative, parameters, (mixed, in_target, *none), op.parameters)
        FUNCTIONS[dt.name] = _CALLED[dt.call] = dt
    _add_row(op, "x", "target", partials=(slope,), seconds=(in_input, mixed))


for _op in OPS.values():
    _add_row(_op, "x", seconds=(_SECOND.get(_op.name),))
for _loss in LOSSES.values():
    _add_loss(_loss)
KERNELS |= {public: FUNCTIONS[row.name] for public, row in PUBLIC_LOSSES.items()}
_CALLED |= dict.fromkeys([math.tanh, np.tanh], FUNCTIONS["tanh"])
_CALLED[math.pow] = FUNCTIONS["power"]


def named(called: Any) -> Function | None:
    """What a formula calls, if there is a rule for it."""
    try:
        return _CALLED.get(called)
    except TypeError:  # not hashable
        return None
