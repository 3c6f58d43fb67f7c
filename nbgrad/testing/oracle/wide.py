"""Numbers of mpmath that NumPy's and SciPy's functions take: the arithmetic of the sharpest oracle.

An array of objects knows few of NumPy's functions: no ``logaddexp``, ``hypot`` or ``isfinite``, nothing of
``scipy.special``. `Wide` arrays, and the numbers themselves, answer for all of those in `_FUNCTIONS`; for the others
NumPy's loops over objects do. A function that makes floats of them (``np.asarray(x, float)``, ``math.sin``, a loop
that fills ``np.empty``) gives values without the wide digits, whose differences are 0 or stairs: `Numbers.narrowed`
says so.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["Numbers", "Wide", "wide_numbers"]


class Wide(np.ndarray[Any, Any]):
    """An array of objects, numbers of `Numbers`."""

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
        return _apply_ufunc(self, ufunc, method, *inputs, **keywords)

    def __array_function__(self, function: Any, types: Any, arguments: Any, keywords: Any) -> Any:
        return _wide(super().__array_function__(function, types, arguments, keywords))


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    return value.view(np.ndarray) if isinstance(value, Wide) else value


def _apply_ufunc(number: Any, ufunc: Any, method: str, *inputs: Any, **keywords: Any) -> Any:
    """A ufunc with a number or an array of ours among its inputs or outputs."""
    name = ufunc.__name__
    if name in _FUNCTIONS:
        ufunc = _vectorized(name, ufunc.nin)
        keywords = {k: v for k, v in keywords.items() if k not in ("dtype", "casting", "order", "subok")}
    found = getattr(ufunc, method)(*map(_boxed, inputs), **{k: _plain(v) for k, v in keywords.items()})
    return np.asarray(found).astype(bool) if name in _QUESTIONS else _wide(found)


def _wide(found: Any) -> Any:
    if isinstance(found, tuple | list):
        return type(found)(map(_wide, found)) if type(found) in (tuple, list) else found
    return found.view(Wide) if type(found) is np.ndarray and found.dtype == object else found


def _boxed(value: Any) -> Any:
    """What NumPy's loops take without asking the number again: an array of objects in place of a number."""
    if hasattr(value, "_mpf_"):
        box = np.empty((), object)
        box[()] = value
        return box
    return _plain(value)


@functools.cache
def _vectorized(name: str, count: int) -> Any:
    return np.frompyfunc(functools.partial(_call, name), count, 1)


def _call(name: str, *numbers: Any) -> Any:
    """One function of numbers, as NumPy has it: nan where mpmath has a complex number or an exception."""
    context = _numbers().context
    mine = [context.convert(float(v) if isinstance(v, np.generic) else v) for v in numbers]
    with _numbers().trusted():
        try:
            found = _FUNCTIONS[name](context, *mine)
        except (ValueError, ZeroDivisionError, OverflowError):
            return context.nan
    return context.nan if isinstance(found, context.mpc) else found


def _divided(c: Any, a: Any, b: Any) -> Any:
    return a / b if b else c.nan if not a or c.isnan(a) else c.sign(a) * c.inf


def _power(c: Any, a: Any, b: Any) -> Any:
    return c.inf if not a and b < 0 else a**b


def _xlogy(c: Any, a: Any, b: Any) -> Any:
    return c.mpf(0) if not a else a * c.log(b)


def _cbrt(c: Any, a: Any) -> Any:
    return c.sign(a) * c.cbrt(abs(a))


def _relative_entropy(c: Any, a: Any, b: Any) -> Any:
    return _xlogy(c, a, a) - _xlogy(c, a, b) if a >= 0 and b > 0 else c.mpf(0) if a == 0 else c.inf


#: By the ufunc's name, NumPy's or SciPy's: a function of mpmath's context and numbers.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        "arc" + name: lambda c, a, name=name: getattr(c, "a" + name)(a)
        for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh")
    },
    **{
        name: lambda c, a, name=name: getattr(c, name)(a)
        for name in (
            "exp",
            "expm1",
            "log",
            "log1p",
            "sqrt",
            "sin",
            "cos",
            "tan",
            "sinh",
            "cosh",
            "tanh",
            "erf",
            "erfc",
            "erfinv",
            "gamma",
            "digamma",
            "sign",
            "degrees",
            "radians",
        )
    },
    "absolute": lambda c, a: abs(a),
    "fabs": lambda c, a: abs(a),
    "cbrt": _cbrt,
    "exp2": lambda c, a: c.mpf(2) ** a,
    "exp10": lambda c, a: c.mpf(10) ** a,
    "log2": lambda c, a: c.log(a) / c.log(2),
    "log10": lambda c, a: c.log(a) / c.log(10),
    "rad2deg": lambda c, a: c.degrees(a),
    "deg2rad": lambda c, a: c.radians(a),
    "floor": lambda c, a: c.floor(a),
    "ceil": lambda c, a: c.ceil(a),
    "rint": lambda c, a: c.nint(a),
    "trunc": lambda c, a: c.sign(a) * c.floor(abs(a)),
    "isfinite": lambda c, a: bool(c.isfinite(a)),
    "isnan": lambda c, a: bool(c.isnan(a)),
    "isinf": lambda c, a: bool(c.isinf(a)),
    "signbit": lambda c, a: bool(a < 0),
    "divide": _divided,
    "power": _power,
    "float_power": _power,
    "floor_divide": lambda c, a, b: c.floor(_divided(c, a, b)),
    "logaddexp": lambda c, a, b: max(a, b) if c.isinf(a) or c.isinf(b) else c.log(c.exp(a) + c.exp(b)),
    "logaddexp2": lambda c, a, b: c.log(c.mpf(2) ** a + c.mpf(2) ** b) / c.log(2),
    "hypot": lambda c, a, b: c.sqrt(a * a + b * b),
    "arctan2": lambda c, a, b: c.atan2(a, b),
    "copysign": lambda c, a, b: abs(a) if b >= 0 else -abs(a),
    "heaviside": lambda c, a, b: b if a == 0 else c.mpf(int(a > 0)),
    "expit": lambda c, a: 1 / (1 + c.exp(-a)),
    "log_expit": lambda c, a: -c.log1p(c.exp(-a)),
    "logit": lambda c, a: c.log(a / (1 - a)),
    "xlogy": _xlogy,
    "xlog1py": lambda c, a, b: c.mpf(0) if not a else a * c.log1p(b),
    "entr": lambda c, a: -_xlogy(c, a, a) if a >= 0 else -c.inf,
    "rel_entr": _relative_entropy,
    "kl_div": lambda c, a, b: _relative_entropy(c, a, b) - a + b,
    "huber": lambda c, d, r: r * r / 2 if abs(r) <= d else d * (abs(r) - d / 2),
    "pseudo_huber": lambda c, d, r: d * d * (c.sqrt(1 + (r / d) ** 2) - 1),
    "gammaln": lambda c, a: c.log(abs(c.gamma(a))),
    "loggamma": lambda c, a: c.loggamma(a),
    "psi": lambda c, a: c.digamma(a),
    "betaln": lambda c, a, b: c.log(abs(c.beta(a, b))),
    "beta": lambda c, a, b: c.beta(a, b),
    "ndtr": lambda c, a: c.ncdf(a),
    "log_ndtr": lambda c, a: c.log(c.ncdf(a)),
    "exprel": lambda c, a: c.expm1(a) / a if a else c.mpf(1),
    "i0": lambda c, a: c.besseli(0, a),
    "i1": lambda c, a: c.besseli(1, a),
    "i0e": lambda c, a: c.besseli(0, a) * c.exp(-abs(a)),
    "i1e": lambda c, a: c.besseli(1, a) * c.exp(-abs(a)),
    "j0": lambda c, a: c.besselj(0, a),
    "j1": lambda c, a: c.besselj(1, a),
}


_QUESTIONS = ("isfinite", "isnan", "isinf", "signbit")


class Numbers:
    """A context of mpmath of its own, whose numbers NumPy takes and which notices when floats are made of them."""

    def __init__(self) -> None:
        from mpmath import MPContext

        self.context: Any = MPContext()
        #: Whether a float was made of a number since this was last set to False.
        self.narrowed = False
        self._trusting = 0
        number = self.context.mpf
        for name, function in _FUNCTIONS.items():
            if function.__code__.co_argcount - len(function.__defaults__ or ()) == 2 and name not in _QUESTIONS:
                # What NumPy's loops over objects call a method of the number, where an array is no longer Wide.
                setattr(number, name, functools.partialmethod(_method, name))
        for name in ("__float__", "__complex__"):  # mpmath 1.4 leaves complex to float
            if hasattr(number, name):
                setattr(number, name, self._noticing(getattr(number, name)))
        number.__array_ufunc__ = _apply_ufunc

    def _noticing(self, convert: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def converted(number: Any) -> Any:
            if not self._trusting:
                self.narrowed = True
            return convert(number)

        return converted

    def trusted(self) -> Numbers:
        """``with numbers.trusted():`` floats that mpmath itself makes are no narrowing."""
        return self

    def __enter__(self) -> None:
        self._trusting += 1

    def __exit__(self, *exception: Any) -> None:
        self._trusting -= 1


def _method(number: Any, name: str) -> Any:
    return _call(name, number)


@functools.cache
def _numbers() -> Numbers:
    return Numbers()


def wide_numbers(digits: int) -> Numbers | None:
    """The numbers with so many digits; None where mpmath is not installed."""
    try:
        numbers = _numbers()
    except ImportError:
        return None
    numbers.context.dps = digits
    return numbers
