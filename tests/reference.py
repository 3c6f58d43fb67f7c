"""What the kernels are measured against: their formulas evaluated in exact arithmetic, and derivatives by finite differences of those.

`exact` evaluates a plain function of `nbgrad.formulas` with mpmath's numbers and functions in place of `nbgrad.elementary`'s: the same
mathematical function without a rounding error (``tests/formulas/test_formulas.py`` holds it against textbook definitions). No derivative is ever
taken from the package: `derivative` is a finite difference of the forward function in 450 digits, where even the slope of a sigmoid at
x = 700 (1e-304) and at x = 5e-324 keeps a hundred correct digits.
"""

import functools
import inspect
import math
from types import FunctionType

import mpmath
import numpy as np
from mpmath import mpf
from numba import njit

from nbgrad import elementary, formulas
from nbgrad.elementary import division, exponential, hyperbolic, logarithm, normal

DIGITS = {np.dtype(np.float32): 150, np.dtype(np.float64): 450}
FINFO = {t: np.finfo(t) for t in DIGITS}


def _clamped(function, limit=100_000):
    """mpmath takes 40 ms for e^1e300, and its erfc overflows from 1e154 on; e^±100000 lies beyond every float as well."""
    return lambda x: function(min(max(x, -limit), limit))


_exp = _clamped(mpmath.exp)
#: what the functions of `nbgrad.elementary` are, in any arithmetic; the sums and products of two numbers are exact
_SAME = {
    "copysign": lambda y, x: abs(y) if x >= 0 else -abs(y),
    "fma": lambda a, b, c: a * b + c,
    "two_sum": lambda a, b: (a + b, 0),
    "two_product": lambda a, b: (a * b, 0),
    "divide": lambda n, d, error: n / (d + error),
    "quotient": lambda n, a, b: n / (a + b),
    "quotient_squared": lambda n, b: n / ((1 + b) * (1 + b)),
}
#: exact counterparts of `nbgrad.elementary`: what its functions are called, in mpmath's arithmetic
MPMATH = {
    **_SAME,
    "exp": _exp,
    "expm1": _clamped(mpmath.expm1),
    "log": mpmath.log,
    "log1p": mpmath.log1p,
    "log1p_unit": mpmath.log1p,
    "erf": mpmath.erf,
    "erfc": _clamped(mpmath.erfc),
    "exp_minus": lambda x: _exp(-x),
    "exp_minus_close": lambda x: _exp(-x),
    "four_exp_minus": lambda x: 4 * _exp(-x),
    "times_exp_minus": lambda c, x: c * _exp(-x),
    "times_exp_minus_sums": lambda c, c_rest, x, x_rest: (c + c_rest) * _exp(-(x + x_rest)),
    "expm1_minus": lambda x: _clamped(mpmath.expm1)(-x),
    "tanh_plus": mpmath.tanh,
    "normal_ratio": lambda x: (mpmath.erfc(x / mpmath.sqrt(2)) * _exp(x * x / 2) / 2, 0),
    "normal_center": lambda z: mpmath.erf(mpmath.sqrt(z / 2)) / mpmath.sqrt(z) / 2 if z else 1 / mpmath.sqrt(2 * mpmath.pi),
}


@njit
def _normal_ratio(x):
    """By erfc; from 20 on by the asymptotic series, whose 9 terms are exact to 1e-16 there."""
    if x < 20:
        return math.erfc(x / math.sqrt(2)) * math.exp(x * x / 2) / 2, 0.0
    term, total = 1.0, 1.0
    for k in range(1, 9):
        term *= -(2 * k - 1) / (x * x)
        total += term
    return total / (x * math.sqrt(2 * math.pi)), 0.0


#: the same by the C library's functions in float64, for compiled loops
LIBM = {
    **{name: njit(function) for name, function in _SAME.items()},
    **{name: getattr(math, name) for name in elementary.__all__},
    "copysign": math.copysign,
    "two_sum": njit(lambda a, b: (a + b, 0.0)),
    "two_product": njit(lambda a, b: (a * b, 0.0)),
    "log1p_unit": math.log1p,
    "exp_minus": njit(lambda x: math.exp(-x)),
    "exp_minus_close": njit(lambda x: math.exp(-x)),
    "four_exp_minus": njit(lambda x: 4 * math.exp(-x)),
    "times_exp_minus": njit(lambda c, x: c * math.exp(-x)),
    "times_exp_minus_sums": njit(lambda c, c_rest, x, x_rest: (c + c_rest) * math.exp(-(x + x_rest))),
    "expm1_minus": njit(lambda x: math.expm1(-x)),
    "tanh_plus": math.tanh,
    "normal_ratio": _normal_ratio,
    "normal_center": njit(lambda z: math.erf(math.sqrt(z / 2)) / math.sqrt(z) / 2 if z else 1 / math.sqrt(2 * math.pi)),
}


def _compiled(function):
    """``function`` of `nbgrad.elementary` as compiled code has it, for NumPy's numbers; as plain Python has it for those of mixed types."""
    jitted = njit(lambda *numbers: function(*numbers))

    def call(*numbers):
        T = type(numbers[0])
        if not all(type(v) is T for v in numbers) or np.dtype(T) not in DIGITS:
            return function(*numbers)
        result = jitted(*numbers)
        return tuple(map(T, result)) if isinstance(result, tuple) else T(result)

    return call


#: `nbgrad.elementary` itself, compiled, for formulas that run as plain Python
COMPILED = {name: _compiled(getattr(module, name)) for module in (division, exponential, hyperbolic, logarithm, normal) for name in module.__all__}


def _with(function, replacements, wrap=lambda f: f):
    """A copy of ``function`` that calls ``replacements`` by name; formulas that it calls are copied likewise."""
    names = dict(function.__globals__)
    for name in function.__code__.co_names:
        called = names.get(name)
        module = getattr(called, "__module__", None) or ""
        if module.startswith(elementary.__name__):
            names[name] = replacements[name]
        elif inspect.isfunction(called) and module.startswith(formulas.__name__):
            names[name] = _with(called, replacements, wrap)
    return wrap(FunctionType(function.__code__, names, function.__name__, function.__defaults__))


def exact(formula):
    """``formula`` as a function of mpmath numbers."""
    return _with(formula, MPMATH)


def libm(formula):
    """``formula`` compiled for float64 numbers over the C library's exp and so on: exact enough to measure float32 by."""
    return _with(formula, LIBM, njit(error_model="numpy"))


@functools.cache
def as_compiled(formula):
    """``formula`` in plain Python over compiled elementary functions: the same numbers as compiled code, to the last bit."""
    return _with(formula, COMPILED)


def derivative(formula, x, *arguments):
    """d/dx of an exact ``formula`` at x, by a central difference that stays on x's side of 0 and of the first argument (the target)."""
    distances = [abs(x), *(abs(x - a) for a in arguments[:1])]
    h = mpmath.ldexp(min([d for d in distances if d] or [mpf(1)]), -133)
    return (formula(x + h, *arguments) - formula(x - h, *arguments)) / (2 * h)


def differences(f, x, h=2**-9):
    """The gradient of f (which gives one number) at an array x, by central differences with one step of Richardson's extrapolation."""
    x = np.asarray(x, np.longdouble)

    def slope(i, h):
        step = np.zeros(x.shape, np.longdouble)
        step.flat[i] = h
        return (f(x + step) - f(x - step)) / (2 * np.longdouble(h))

    values = [(4 * slope(i, h / 2) - slope(i, h)) / 3 for i in range(x.size)]
    return np.array(values, np.longdouble).reshape(x.shape)


def ulps(result, true):
    """The error of ``result`` (a NumPy float) in units in the last place of the true value (an mpmath number)."""
    info = FINFO[result.dtype]
    if np.isnan(result):
        return math.inf
    # one step beyond the largest number stands for inf, on both sides
    limit = mpmath.ldexp(1, int(info.maxexp))
    got = mpf(float(result)) if np.isfinite(result) else math.copysign(1, result) * limit
    true = max(min(true, limit), -limit)
    exponent = max(mpmath.frexp(true)[1] - 1 if true else info.minexp, int(info.minexp))
    return float(abs(got - true) / mpmath.ldexp(1, exponent - int(info.nmant)))


def allowed(crosses_zero, true, eps):
    """The largest error: 2 ulp; of a derivative that crosses zero, where it is below ½, eps if that is more."""
    two_ulp = 2 * mpmath.ldexp(eps, mpmath.frexp(true)[1] - 1)
    return max(two_ulp, eps) if crosses_zero and abs(true) < 0.5 else two_ulp


def worst_ulps(results, inputs, function, *arguments, crosses_zero=False):
    """(largest error in ulps, its input); ``function`` takes the inputs as mpmath numbers, and each of ``arguments`` (arrays) likewise.
    Where it is a derivative that ``crosses_zero`` an error below the absolute bound does not count.
    """
    worst, eps = (0.0, None), mpf(float(FINFO[results.dtype].eps))
    with mpmath.workdps(DIGITS[results.dtype]):
        for i, result in enumerate(results):
            numbers = [mpf(float(a[i])) for a in (inputs, *arguments)]
            true = function(*numbers)
            near = crosses_zero and abs(mpf(float(result)) - true) <= allowed(True, true, eps)
            error = 0.0 if near else ulps(result, true)
            worst = max(worst, (error, tuple(map(float, numbers))), key=lambda pair: pair[0])
    return worst


def worst_ulps_float32(results, true, inputs):
    """The same for whole arrays: float32 results against float64 values."""
    limit = 2.0**128
    with np.errstate(invalid="ignore"):  # a signaling nan warns when it is converted
        got = np.nan_to_num(results.astype(np.float64), nan=np.nan, posinf=limit, neginf=-limit)
        true = np.clip(true, -limit, limit)
        exponent = np.maximum(np.frexp(true)[1] - 1, -126)
        error = np.abs(got - true) / np.ldexp(1.0, exponent - 23)
    error = np.where(np.isnan(true), np.where(np.isnan(got), 0, np.inf), np.where(np.isnan(got), np.inf, error))
    place = int(np.argmax(error))
    return float(error[place]), float(inputs[place])


# Where something changes: 0, 1, the intervals' ends of the range reductions, saturation, overflow, the first and last normal numbers.
_POINTS = (
    0.0, 2.0**-149, 2.0**-126, 2.0**-56, 2.0**-55, 2.0**-54, 2.0**-53, 2.0**-50, 2.0**-45, 2.0**-27, 2.0**-26, 2.0**-25, 2.0**-13, 0.1, math.sqrt(0.5) - 1, math.sqrt(0.5), 1.0, math.sqrt(2), 2.0,
    *(math.log(2) / 2 * k for k in (0.5, 1, 2, 3, 5, 25, 47, 49, 127, 253, 255, 256, 299, 301)), 9.0, 14.56, 17.0, 20.0, 22.18, 40.0,
    44.0, 52.0, 87.34, 88.72, 89.0, 103.3, 103.98, 108.0, 2.0**24, 1e30, 2.0**127,
)  # fmt: skip


def float32_inputs(stride=4099, run=2048):
    """Every ``stride``-th of the 2³² bit patterns, and every one of a ``run`` around each point where something changes, ± ."""
    bits = [np.arange(0, 2**32, stride, dtype=np.uint64)]
    for point in np.float32(_POINTS).view(np.uint32).astype(np.int64):
        near = np.clip(np.arange(point - run // 2, point + run // 2), 0, 0x7FFFFFFF).astype(np.uint64)
        bits += [near, near | np.uint64(0x80000000)]
    return np.concatenate(bits).astype(np.uint32).view(np.float32)


def float_inputs(dtype, count, seed=0):
    """Finite numbers of either sign: a third log-uniform over every exponent, a third over those of ordinary numbers, a third near points
    where something changes.
    """
    rng, info = np.random.default_rng(seed), FINFO[np.dtype(dtype)]
    third = count // 3
    sign = rng.choice([-1.0, 1.0], (3, third))
    with np.errstate(under="ignore"):
        whole = np.ldexp(rng.uniform(1, 2, third), rng.integers(info.minexp - info.nmant, info.maxexp, third))
    ordinary = np.exp2(rng.uniform(-10, 10, third))
    points = np.array([p for p in _POINTS if p > 2.0**-100])
    near = rng.choice(points, third) * (1 + rng.choice([-1, 1], third) * np.exp2(rng.uniform(-40, -3, third)))
    return (sign * [whole, ordinary, near]).ravel().astype(dtype)
