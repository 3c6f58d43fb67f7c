"""What finds a mutant of nbgrad's formulas: `nbgrad.testing`, the textbook definition, the bound of 2 units in the last place.

A mutant is a module's namespace of plain Python functions in place of `nbgrad.formulas` or `nbgrad.formulas.rows`. Where only the derivative
is touched the function is differenced as it is; where only the function is, its derivative is the unchanged one.
"""

from __future__ import annotations

import functools
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from nbgrad import formulas, kernels
from nbgrad.formulas import rows
from nbgrad.formulas.table import LOSSES, OPS, Elementwise
from nbgrad.testing import GradientError, check_gradient

sys.path.append(str(Path(__file__).parent.parent))
from reference import DIGITS, derivative, exact, ulps  # noqa: E402

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


def _targets(op: Any) -> Any:
    """The targets of a loss; none of an activation's."""
    return np.array([]) if op.name in OPS else TARGETS[:2] if op.name in REGRESSION else TARGETS


def _elementwise(function: Any) -> Any:
    """A plain function of numbers as one of arrays."""

    def apply(*arrays: Any) -> Any:
        shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
        flat = [np.broadcast_to(a, shape).ravel() for a in arrays]
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
    return [defaults, {"hardtanh": (-0.5, 2.0), "threshold": (0.5, -2.0)}.get(op.name, (1.75,) * len(defaults))]


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


def _within_ulps(op: Any, formula: Any, slope: bool, dtype: Any, parameters: tuple[float, ...]) -> bool:
    """The bound that tests/test_ops.py and tests/test_formulas_regression.py hold: 2 ulp, eps near a derivative's zero; losses, and activations with other
    parameters than the defaults, 4 ulp and the rounding of what cancels.
    """
    columns, true = _truth(op, slope, dtype, parameters)
    info = np.finfo(dtype)
    values = tuple(dtype(p) for p in parameters)
    loose = op.name in LOSSES or parameters != tuple(op.parameters.values())
    with mpmath.workdps(DIGITS[np.dtype(dtype)]):
        for *numbers, value in zip(*columns, true, strict=True):
            if float(numbers[0]) in _kinks(op, parameters) or op.name in LOSSES and numbers[0] == numbers[1]:
                continue
            got = formula(*numbers, *values)
            if type(got) is not dtype:
                return False
            if ulps(got, value) <= (4 if loose else 2):
                continue
            room = float(info.eps) if op.crosses_zero and slope and abs(value) < 0.5 else 0.0
            if loose:  # the terms: a gradient's own and those of a rounded target or parameter
                room += 16 * float(info.eps) * float(min(abs(value) + abs(mpf(float(numbers[-1]))) * bool(op.name in LOSSES), 1e30))
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


def _find_elementwise(op: Any, space: dict[str, Any], touched: set[str]) -> str:
    slope_name = op.derivative.__name__
    value_touched, slope_touched = op.name in touched, slope_name in touched
    forward = space[op.name] if value_touched else op.forward
    slope = space[slope_name] if slope_touched else op.derivative
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
                cast(forward), backward, *arguments, wrt=0, kinks={0: _kinks(op, parameters)}, rtol=4 * float(np.finfo(dtype).eps),
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
    return ""


ELEMENTWISE = [
    Checks(frozenset({op.name, op.derivative.__name__}), functools.partial(_find_elementwise, op))
    for op in (*OPS.values(), *LOSSES.values(), *REGRESSION.values())
]

# ---- rows

ROW_INPUTS = [
    [0.3], [0.5, -1.25, 2.0, 0.75], [22.18, 0.0], [0.0, 22.18, -3.0], [1.5, 1.5, -2.0], [40.0, 3.0, -50.0, 39.0], [-3.0, -2.0, -2.5, -7.0, -2.25],
    [1000.0, 999.0, -1000.0],
]  # fmt: skip
SPECIAL = [
    [np.inf, 0.0], [-np.inf, -np.inf], [-np.inf, 1.0], [np.nan, 1.0], [1.0, np.nan], [np.nan, 2.0, np.nan], [np.inf, np.inf], [np.inf, np.nan],
]  # fmt: skip


def _filled(function: Any, *arrays: Any) -> Any:
    out = np.empty_like(arrays[-1])
    function(*arrays, out)
    return out


def _probabilities(x: Any) -> Any:
    q = np.array([0.2, 0.7, 0.0, 0.1, 0.5], x.dtype)[: x.size]
    return np.where(np.arange(x.size) == 1, q, q) + x.dtype.type(0)


def _row_pairs(space: dict[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    """For each row function (forward, backward, further arguments of x)."""

    def softmax_of(x: Any) -> Any:
        return _filled(space["softmax"], x)

    def pull_softmax(g: Any, x: Any) -> Any:
        return _filled(space["softmax_backward"], g, softmax_of(x))

    def log_softmax_of(x: Any) -> Any:
        return _filled(space["log_softmax"], x)

    def pull_log_softmax(g: Any, x: Any) -> Any:
        return _filled(space["log_softmax_backward"], g, log_softmax_of(x))

    def pull_cross_entropy(g: Any, x: Any, label: Any) -> Any:
        grad = np.empty_like(x)
        value = space["d_cross_entropy"](x, int(label), 1.0, grad)
        assert value == space["cross_entropy"](x, int(label))
        return g * grad, None

    def pull_soft(g: Any, x: Any, q: Any) -> Any:
        grad = np.empty_like(x)
        space["d_soft_cross_entropy"](x, q, x.dtype.type(1), grad)
        return g * grad, None

    def pull_maxout(g: Any, x: Any) -> Any:
        grad = np.zeros_like(x)
        grad[space["maxout"](x)[1]] = g
        return grad

    return {
        "softmax": (softmax_of, pull_softmax, lambda x: [()]),
        "log_softmax": (log_softmax_of, pull_log_softmax, lambda x: [()]),
        "logsumexp": (space["logsumexp"], lambda g, x: g * kernels.softmax(x), lambda x: [()]),
        "cross_entropy": (
            lambda x, label: space["cross_entropy"](x, int(label)), pull_cross_entropy, lambda x: [(np.array(j),) for j in range(x.size)],
        ),
        "soft_cross_entropy": (
            lambda x, q: space["soft_cross_entropy"](x, q), pull_soft, lambda x: [(_probabilities(x),), (_probabilities(x)[::-1].copy(),)],
        ),
        "maxout": (lambda x: space["maxout"](x)[0], pull_maxout, lambda x: [()]),
    }  # fmt: skip


def _definition(name: str, x: Any, *more: Any) -> Any:
    """The textbook value, in mpmath's numbers."""
    e = [mpmath.exp(mpf(float(v))) for v in x]
    total = mpmath.log(sum(e))
    logs = [mpf(float(v)) - total for v in x]
    return {
        "softmax": lambda: [v / sum(e) for v in e],
        "log_softmax": lambda: logs,
        "logsumexp": lambda: total,
        "cross_entropy": lambda: -logs[int(more[0])],
        "soft_cross_entropy": lambda: -sum(mpf(float(q)) * v for q, v in zip(more[0], logs, strict=True)),
        "maxout": lambda: max(mpf(float(v)) for v in x),
    }[name]()


def _softmax_terms(g: Any, x: Any) -> Any:
    y = kernels.softmax(x)
    return y * (np.abs(g) + np.sum(np.abs(g) * y))


def _find_row(name: str, space: dict[str, Any], touched: set[str]) -> str:
    forward, backward, more = _row_pairs(space)[name]
    for row in ROW_INPUTS:
        for dtype in (F32, F64):
            x = np.array(row, dtype)
            for arguments in more(x):
                check_gradient(
                    forward, backward, x, *arguments, wrt=0, rtol=8 * float(np.finfo(dtype).eps), terms=_softmax_terms if name == "softmax" else None,
                    strict=True,
                )
                with mpmath.workdps(100):
                    value, true = np.ravel(forward(x, *arguments)), np.ravel(np.array(_definition(name, x, *arguments), object))
                    for v, t in zip(value, true, strict=True):
                        size = max(abs(t), float(np.abs(x).max()) * 0.5 * abs(t))
                        if abs(mpf(float(v)) - t) > 6 * float(np.finfo(dtype).eps) * size + float(np.finfo(dtype).tiny):
                            return "definition"
    unchanged = _row_pairs(vars(rows))[name]
    for row in SPECIAL:
        x = np.array(row)
        for arguments in more(x):
            a, b = forward(x, *arguments), unchanged[0](x, *arguments)
            g = np.ones_like(a)
            c, d = backward(g, x, *arguments), unchanged[1](g, x, *arguments)
            c, d = (v[0] if isinstance(v, tuple) else v for v in (c, d))
            if not (np.array_equal(a, b, equal_nan=True) and np.array_equal(c, d, equal_nan=True)):
                return "nan, inf, kinks"
    return ""


ROWS = [
    Checks(frozenset(names), functools.partial(_find_row, names[0]))
    for names in (
        ("softmax", "softmax_backward"), ("log_softmax", "log_softmax_backward"), ("logsumexp",), ("cross_entropy", "d_cross_entropy"),
        ("soft_cross_entropy", "d_soft_cross_entropy"), ("maxout",),
    )
]  # fmt: skip

#: Mutants that change nothing that is promised: (function, part of the mutant's text, reason).
EQUIVALENT = [
    (".*", r"^(.+) (>|<)=? (.+)  ->  \1 (>|<)=? \3$", "both branches have the same value at the boundary, and the documented one is kept"),
    ("silu|d_silu|d_mish|mish", r"800  ->  (801|0)$", "e^-800 is 0 already: any larger or, where it is a factor, smaller number does"),
    ("gelu|gelu_tanh|d_gelu|d_gelu_tanh", r"40  ->  (41|0)$", "e^(-40²/2) is 0 already"),
    ("d_relu|d_leaky_relu|d_absolute_error|d_threshold", r"0  ->  1$", "the number of a comparison that only 0 and nan come to: both are below 1 or neither"),
    ("d_absolute_error", r"T\(0\) if d == T\(0\) else d  ->  d$", "d is 0 there, or nan"),
    ("maxout", r"1  ->  0$", "the loop begins with the first entry, which is the best one so far"),
    ("tanh", r"abs\(x\)  ->  x$", "plain Python's tanh_plus is NumPy's, which is odd; compiled it is a polynomial there, which tests/test_ops.py refuses"),
    ("d_gelu_tanh|d_mish|d_silu|d_gelu|gelu|gelu_tanh|mish|selu", r"(?i)rest", "a correction of the last bits: without it the result is still within 2 ulp on these inputs"),
    ("d_mish", r"(d \* d|T\(2\) \* d|^2|^4)  ->  ", "part of a correction of the last bits"),
]  # fmt: skip


def reason_for(function: str, change: str) -> str:
    """Why a survivor is none; "" if there is no reason."""
    return next((why for name, text, why in EQUIVALENT if re.fullmatch(name, function) and re.search(text, change)), "")
