"""What finds a mutant of nbgrad's formulas: `nbgrad.testing`, the textbook definition, the bound of 2 units in the last place.

A mutant is a module's namespace of plain Python functions in place of `nbgrad.formulas` or `nbgrad.formulas.rows`, over compiled elementary
functions: plain Python's round more often, and right formulas over them miss the bounds. Where only the derivative is touched the function is
differenced as it is; where only the function is, its derivative is the unchanged one.
"""

from __future__ import annotations

import functools
import inspect
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from nbgrad import elementary, formulas
from nbgrad.formulas import losses
from nbgrad.formulas.table import LOSSES, OPS, Elementwise
from nbgrad.testing import GradientError, check_gradient

sys.path.append(str(Path(__file__).parent.parent))
from reference import COMPILED, DIGITS, MPMATH, as_compiled, derivative, exact, ulps  # noqa: E402

F32, F64 = np.float32, np.float64
#: Where formulas change: kinks, saturation, the ends of polynomials, 0.
POINTS = np.array([
    -110, -89, -80, -22.18, -17.5, -8.5, -6, -5, -3, -2.5, -1.2784645, -1.1924, -1, -0.7517, -0.7, -0.69, -0.4, -0.1, -1e-3, -1e-5, -1e-9,
    1e-9, 1e-5, 1e-3, 0.1, 0.4, 0.5, 0.69, 0.7, 0.71, 1, 1.2, 2.3, 3, 3.5, 5, 6, 6.5, 8.5, 9.5, 13, 17.5, 22.18, 40.5, 80, 89, 110, 850, 1e20,
    3.0000002, 0.99999994, -1e20, -850, 20, -20, 1e-20, -1e-20,
    *(np.exp2(np.random.default_rng(0).uniform(-4, 6.5, 160)) * np.resize([1, -1], 160)),
])  # fmt: skip
#: A few of them with 0, for the differences: the bound of 2 ulp sees the others.
FEW = np.array([-40.5, -22.18, -5, -3, -1.2784645, -1, -0.7, -0.1, -1e-5, 0, 1e-5, 0.4, 0.7, 1, 2.3, 3, 5, 6, 6.5, 13, 22.18, 60])
TARGETS = np.array([0, 1, 0.25])
#: What `nbgrad/formulas/regression.py` differentiates, first and second derivatives, by the function's name; the targets are labels, 0 or 1.
REGRESSION = {
    op.name: op
    for op in (
        Elementwise(formulas.logistic_loss, formulas.d_logistic_loss, {}),
        Elementwise(formulas.d_logistic_loss, formulas.d2_logistic_loss, {}),
        Elementwise(formulas.d_half_squared_error, formulas.d2_half_squared_error, {}),
        Elementwise(formulas.d_logistic_squared_error, formulas.d2_logistic_squared_error, {}, crosses_zero=True),
    )
}


INF = mpf("inf")


def _exp(x: Any) -> Any:
    return mpmath.exp(x) if mpmath.isinf(x) else MPMATH["exp"](x)


def _softplus(x: Any) -> Any:
    return max(x, 0) + mpmath.log1p(_exp(-abs(x)))


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + _exp(-x))


def _weight(t: Any, p: Any) -> Any:
    return p * t if t else 0


#: Parameters at their limits, beside which 0·∞ and ∞/∞ stand on the way, and what is right there, value and slope, in mpmath's numbers.
LIMITS = {
    "leaky_relu": ((0.0, -0.5, np.inf, -np.inf), lambda x, s: x if x >= 0 else s * x if s else 0, lambda x, s: 1 if x > 0 else s),
    "elu": (
        (0.0, -0.5, 1e30, -1e30, np.inf, -np.inf), lambda x, a: x if x >= 0 else a * (_exp(x) - 1),
        lambda x, a: 1 if x > 0 else a if abs(a) == INF else a * _exp(x),
    ),
    "softplus": (
        (np.inf, -np.inf), lambda x, b: x if x * b > 0 else 0, lambda x, b: 0.5 if x == 0 else 1 if x * b > 0 else 0,
    ),
    "celu": (
        (-0.5, 1e-30, 1e30, np.inf, -np.inf), lambda x, a: x if x >= 0 or abs(a) == INF else a * (_exp(x / a) - 1),
        lambda x, a: 1 if x >= 0 or abs(a) == INF else _exp(x / a),
    ),
    "binary_cross_entropy_with_logits": (
        (0.0, np.inf),
        lambda x, t, p: (_weight(t, p) * _softplus(-x) if _weight(t, p) else 0) + ((1 - t) * _softplus(x) if t != 1 else 0),
        lambda x, t, p: (1 - t) * _sigmoid(x) - _weight(t, p) * _sigmoid(-x),
    ),
}  # fmt: skip
#: The last two for activations alone: an infinite weight of a loss that is 0 in the floating-point format gives nan.
LIMIT_POINTS = (1.0, 1e-320, 0.0, -1e-320, -1e-20, -1.0, -740.0, -1e20, -np.inf, 1e20, np.inf)


def compile_imports(space: dict[str, Any]) -> None:
    """What a module's namespace has from `nbgrad.elementary` and from other formulas, as compiled code has it."""
    for name, value in space.items():
        module = value.__module__ if inspect.isfunction(value) else ""
        if module.startswith(elementary.__name__):
            space[name] = COMPILED[name]
        elif module.startswith(formulas.__name__) and module != space["__name__"]:
            space[name] = as_compiled(value)


def refuse_wide(x: Any) -> None:
    """Compiled functions take float32 and float64: nbgrad.testing, which tries wider numbers, is told so."""
    if x.dtype not in (F32, F64):
        raise TypeError(f"float32 or float64, not {x.dtype}")


def _targets(op: Any) -> Any:
    """The targets of a loss; none of an activation's."""
    return np.array([]) if op.name in OPS else TARGETS[:2] if op.name in REGRESSION else TARGETS


def _elementwise(function: Any) -> Any:
    """A plain function of numbers as one of arrays."""

    def apply(*arrays: Any) -> Any:
        shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
        flat = [np.broadcast_to(a, shape).ravel() for a in arrays]
        refuse_wide(flat[0])
        out = np.array([function(*v) for v in zip(*flat, strict=True)], flat[0].dtype)
        return out.reshape(shape)

    return apply


@dataclass
class Checks:
    """``functions``: the names whose change matters; called with a namespace and the touched names it says what finds the
    mutant ("" if nothing).
    """

    functions: frozenset[str]
    find: Any

    def __call__(self, space: dict[str, Any], touched: set[str]) -> str:
        try:
            return self.find(space, touched)
        except GradientError:
            return "nbgrad.testing"
        except (ArithmeticError, TypeError, ValueError, IndexError, AssertionError, NameError) as error:
            return f"raised {type(error).__name__}"


def _others(op: Any) -> list[tuple[float, ...]]:
    defaults = tuple(op.parameters.values())
    if not defaults:
        return [()]
    others = tuple(0.25 if op.ranges.get(name) == "in 0..1" else 1.75 for name in op.parameters)
    return [defaults, {"hardtanh": (-0.5, 2.0), "threshold": (0.5, -2.0)}.get(op.name, others)]


@functools.cache
def _truth(op: Any, slope: bool, dtype: Any, parameters: tuple[float, ...]) -> Any:
    """(points, exact values) at `POINTS`, for losses with each of `TARGETS`."""
    f = exact(op.forward)
    columns = [POINTS.astype(dtype)]
    if _targets(op).size:
        columns = [c.ravel() for c in np.meshgrid(columns[0], _targets(op).astype(dtype))]
    found = []
    with mpmath.workdps(DIGITS[np.dtype(dtype)]):
        for numbers in zip(*columns, strict=True):
            exactly = [mpf(float(v)) for v in (*numbers, *(dtype(p) for p in parameters))]
            found.append(derivative(f, *exactly) if slope else f(*exactly))
    return columns, found


def _kinks(op: Any, parameters: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(map(float, op.kinks_at(*parameters))) if op.name in OPS else ()


def _units(op: Any, slope: bool) -> int:
    """What the tests hold: losses to 4 ulp, the others to 2."""
    return 4 if (op.derivative if slope else op.forward).__module__ == losses.__name__ else 2


@functools.cache
def _room(op: Any, slope: bool, dtype: Any, value: Any, numbers: tuple[float, ...]) -> Any:
    """What else the tests grant a ``value`` (tests/test_ops.py, tests/formulas/): eps near a derivative's zero, and what a rounding
    of the parameters, or four of a loss's and of its unsure target, would change.
    """
    units, eps = _units(op, slope), mpf(float(np.finfo(dtype).eps))
    if units == 2 and numbers[1:] == tuple(map(float, map(dtype, op.parameters.values()))) or op.name in REGRESSION:
        return eps if op.crosses_zero and slope and abs(value) < 0.5 else 0
    f = exact(op.forward)
    exactly = [mpf(v) for v in numbers]
    moved = [
        derivative(f, *v) if slope else f(*v)
        for i in range(1, len(numbers)) if i > 1 or units == 2 or numbers[1] != 1
        for v in [[*exactly[:i], exactly[i] * (1 + eps * (1 if units == 2 else 4)), *exactly[i + 1 :]]]
    ]  # fmt: skip
    room = sum(abs(m - value) for m in moved)
    if units == 2:
        tiny = mpf(float(np.finfo(dtype).smallest_subnormal))
        room += 2 * mpmath.ldexp(eps, mpmath.frexp(value)[1] - 1) + tiny * max(map(abs, numbers[1:]))
    return room


def _within_ulps(op: Any, formula: Any, slope: bool, dtype: Any, parameters: tuple[float, ...]) -> bool:
    """The bounds that the tests hold: `_units`, or `_room`."""
    columns, true = _truth(op, slope, dtype, parameters)
    values = tuple(dtype(p) for p in parameters)
    with mpmath.workdps(DIGITS[np.dtype(dtype)]):
        for *numbers, value in zip(*columns, true, strict=True):
            if float(numbers[0]) in _kinks(op, parameters) or op.name in LOSSES and numbers[0] == numbers[1]:
                continue
            got = formula(*numbers, *values)
            if type(got) is not dtype:
                return False
            if ulps(got, value) > _units(op, slope):
                room = _room(op, slope, dtype, value, tuple(map(float, (*numbers, *values))))
                if not abs(mpf(float(got)) - value) <= room:
                    return False
    return True


def _at_infinity(op: Any, space: dict[str, Any], name: str, original: Any) -> bool:
    """nan gives nan, ±inf the limit, and the value at a kink is the documented one: as the unchanged formula has them."""
    for drawn in _others(op):
        parameters = tuple(F64(p) for p in drawn)
        for x in (np.nan, np.inf, -np.inf, 0.0, *_kinks(op, drawn)):
            for numbers in [(F64(x),)] if op.name in OPS else [(F64(x), F64(t)) for t in (0.0, 1.0)]:
                a, b = space[name](*numbers, *parameters), original(*numbers, *parameters)
                if not (a == b or (np.isnan(a) and np.isnan(b))):
                    return False
    return True


def _at_limits(op: Any, formula: Any, slope: bool) -> bool:
    """The right numbers, to 4 ulp, where the parameters are at their limits."""
    parameters, *definitions = LIMITS.get(op.name, ((),))
    for dtype in (F32, F64):
        for p in map(dtype, parameters):
            for x in map(dtype, LIMIT_POINTS if op.name in OPS else LIMIT_POINTS[:-2]):
                for numbers in [(x, p)] if op.name in OPS else [(x, t, p) for t in map(dtype, TARGETS)]:
                    got = formula(*numbers)
                    with mpmath.workdps(DIGITS[np.dtype(dtype)]):
                        true = mpf(definitions[slope](*(mpf(float(v)) for v in numbers)))
                        if not (np.isnan(got) if mpmath.isnan(true) else ulps(got, true) <= 4):
                            return False
    return True


def _find_elementwise(op: Any, space: dict[str, Any], touched: set[str]) -> str:
    slope_name = op.derivative.__name__
    value_touched, slope_touched = op.name in touched, slope_name in touched
    forward = space[op.name] if value_touched else as_compiled(op.forward)
    slope = space[slope_name] if slope_touched else as_compiled(op.derivative)
    for parameters in _others(op):
        for dtype in (F32, F64):
            values = tuple(dtype(p) for p in parameters)
            arguments = [FEW.astype(dtype)]
            if _targets(op).size:
                arguments.append(np.resize(_targets(op), FEW.shape).astype(dtype))
            cast = lambda f: _elementwise(lambda *v: f(*v, *(type(v[0])(p) for p in values)))  # noqa: B023, E731
            one = cast(slope)

            def backward(g: Any, *arrays: Any, one: Any = one) -> Any:
                return g * one(*arrays), *(None for _ in arrays[1:])

            check_gradient(
                cast(forward),
                backward,
                *arguments,
                wrt=0,
                kinks={0: _kinks(op, parameters)},
                rtol=4 * float(np.finfo(dtype).eps),
                strict=True,
            )
    for parameters in _others(op):
        for dtype in (F32, F64):
            if value_touched and not _within_ulps(op, forward, False, dtype, parameters):
                return "definition"
            if slope_touched and not _within_ulps(op, slope, True, dtype, parameters):
                return "2 ulp"
    if value_touched and not _at_infinity(op, space, op.name, op.forward):
        return "nan, inf, kinks"
    if slope_touched and not _at_infinity(op, space, slope_name, op.derivative):
        return "nan, inf, kinks"
    if value_touched and not _at_limits(op, forward, False) or slope_touched and not _at_limits(op, slope, True):
        return "limits"
    return ""


ELEMENTWISE = [
    Checks(frozenset({op.name, op.derivative.__name__}), functools.partial(_find_elementwise, op))
    for op in (*OPS.values(), *LOSSES.values(), *REGRESSION.values())
]


def _find_target_slope(op: Any, space: dict[str, Any], touched: set[str]) -> str:
    slope = space[op.target_derivative.__name__]
    for parameters in _others(op):
        for dtype in (F32, F64):
            x, t = FEW.astype(dtype), np.resize(TARGETS, FEW.shape).astype(dtype)
            cast = lambda f: _elementwise(lambda *v: f(*v, *(type(v[0])(p) for p in parameters)))  # noqa: B023, E731
            one = cast(slope)

            def backward(g: Any, x: Any, t: Any, one: Any = one) -> Any:
                return None, g * one(x, t)

            rtol = 4 * float(np.finfo(dtype).eps)
            check_gradient(cast(as_compiled(op.forward)), backward, x, t, wrt=1, rtol=rtol, strict=True)
    zeros = [F64(0)] * len(op.parameters)  # at infinity a term with factor 0 is absent
    if any(slope(x, F64(1), *zeros) != op.target_derivative(x, F64(1), *zeros) for x in (F64(np.inf), F64(-np.inf))):
        return "nan, inf, kinks"
    return ""


#: the losses whose derivative in the target is not the negative of that in the input
ELEMENTWISE += [Checks(frozenset({op.target_derivative.__name__}), functools.partial(_find_target_slope, op)) for op in LOSSES.values() if op.target_derivative]


def _find_target(name: str, accepted: Any, space: dict[str, Any], touched: set[str]) -> str:
    targets = [dtype(t) for dtype in (F32, F64) for t in (0, 1, 0.5, -1, -0.5, 2, 1e-30, 1e30, np.nan, np.inf, -np.inf)]
    return "" if all(bool(space[name](t)) == accepted(float(t)) for t in targets) else "definition"


#: Which targets a model takes: `nbgrad/formulas/targets.py`.
ELEMENTWISE += [
    Checks(frozenset({name}), functools.partial(_find_target, name, accepted))
    for name, accepted in (
        ("is_finite", math.isfinite),
        ("is_binary", lambda t: t in (0, 1)),
        ("is_count", lambda t: 0 <= t < np.inf),
        ("is_positive", lambda t: 0 < t < np.inf),
    )
]

#: Mutants that change nothing that is promised: (function, part of the mutant's text, reason).
EQUIVALENT = [
    (".*", r"^(.+) ([<>])=? (.+)  ->  \1 \2=? \3$", "both branches have the same value at the boundary, and the documented one is kept"),
    ("silu|d_silu|d_mish|mish", r"800  ->  (801|0)$", "e^-800 is 0 already: any larger or, where it is a factor, smaller number does"),
    ("gelu|gelu_tanh|d_gelu|d_gelu_tanh", r"40  ->  (41|0)$", "e^(-40²/2) is 0 already"),
    ("_times_exp_minus", "80  ->  81$", "any limit will do between which no exponential of a normal number leaves the range"),
    ("d_relu|d_leaky_relu|d_absolute_error|d_threshold", r"0  ->  1$", "the number of a comparison that only 0 and nan come to: both are below 1 or neither"),
    ("d_absolute_error", r"T\(0\) if d == T\(0\) else d  ->  d$", "d is 0 there, or nan"),
    ("maxout", r"1  ->  0$", "the loop begins with the first entry, which is the best one so far"),
    ("d_gelu_tanh|d_mish|d_silu|d_gelu|gelu|gelu_tanh|mish|selu", r"(?i)rest", "a correction of the last bits: without it the result is still within 2 ulp on these inputs"),
    ("d_mish", r"(d \* d|T\(2\) \* d|^2|^4)  ->  ", "part of a correction of the last bits"),
    ("gelu|d_gelu", r"^0\.5  ->  (0\.5005|1\.5)$", "the factor of the rounding error of a²: a correction of the last bits"),
    ("mish", r"^(x > T\(0\)  ->  x < T\(0\)|0  ->  1)$", "whether the rounding error of 2 + e is put right: a correction of the last bits"),
    ("d_softsign", r"^2  ->  3$", "the factor of a correction of the last bits"),
    ("gelu", r"near if a < T\(0\.7\) else w  ->  w$|^0\.7  ->  ", "both ways are within 2 ulp there"),
    ("d_elu", r"^(2\.0|20)  ->  ", "moves the switch between two ways of which both are right there"),
    ("celu", r"abs\(alpha\) if abs\(alpha\) > T\(1\) else T\(0\)  ->  T\(-1e-30\)|^1  ->  |^1e-30  ->  ", "moves a switch where x and α·(e^(x/α) − 1) are the same number"),
    ("softmax_terms|logsumexp_slope_terms", r"^0  ->  1$", "a place in the result that `softmax_entry` does not read"),
]  # fmt: skip


def reason_for(function: str, change: str) -> str:
    """Why a survivor is none; "" if there is no reason."""
    return next((why for name, text, why in EQUIVALENT if re.fullmatch(name, function) and re.search(text, change)), "")
