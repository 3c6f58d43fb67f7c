"""What the arguments of an overload may be: the checks of `nbgrad.arguments` and `nbgrad.arrays`, for functions that
Numba compiles.

Types are known at compile time: a wrong one is a TypingError with the argument's name. Values are known when the code
runs: a ValueError, whose text is fixed.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numba import TypingError, types

from nbgrad.jit import array_overload, outlined, scalar
from nbgrad.jit.intrinsics import overlap
from nbgrad.jit.memory import elements

__all__ = [
    "absent", "apart", "axes_kind", "constant", "integer", "is_number", "is_zero_d", "number", "precision", "refuse",
    "spread", "spreader", "write_to", "zero_d",
]  # fmt: skip


def refuse(name: str, expected: str, kind: Any) -> NoReturn:
    raise TypingError(f"{name}: expected {expected}, got {kind}")


def absent(argument: Any) -> bool:
    """Whether an optional argument was left out or is None."""
    return argument is None or isinstance(argument, types.NoneType) or getattr(argument, "value", 0) is None


def _plain(argument: Any) -> Any:
    """The type of a constant or of a default, too."""
    if isinstance(argument, types.Omitted):
        argument = argument.value
    if isinstance(argument, (bool, int, float)):
        return {bool: types.boolean, int: types.int64, float: types.float64}[type(argument)]
    return types.unliteral(argument) if isinstance(argument, types.Type) else argument


def is_number(argument: Any) -> bool:
    return _plain(argument) in (types.float32, types.float64) or isinstance(
        _plain(argument), (types.Integer, types.Boolean)
    )


def precision(**arguments: Any) -> Any:
    """The type in which arguments of these Numba types are computed: float32 if all arrays are (all numbers, where
    there is no array): beside an array a number may be Python's, and adapts.
    """
    kinds, arrays = [], []
    for name, argument in arguments.items():
        kind = argument.dtype if isinstance(argument, types.Array) else _plain(argument)
        if not is_number(kind):
            refuse(name, "float32, float64, integers or bools", argument)
        kinds.append(kind)
        arrays += [kind] * isinstance(argument, types.Array)
    return np.float32 if all(k == types.float32 for k in arrays or kinds) else np.float64


def is_zero_d(argument: Any) -> bool:
    return isinstance(argument, types.Array) and argument.ndim == 0


def constant(name: str, argument: Any, choices: tuple[Any, ...]) -> Any:
    """An argument that must be known at compile time, one of ``choices``."""
    value = getattr(argument, "literal_value", getattr(argument, "value", argument))
    if not any(value is c or (type(value) is type(c) and value == c) for c in choices):
        refuse(name, f"a constant, one of {', '.join(map(repr, choices))}", value)
    return value


def integer(name: str, argument: Any) -> None:
    """TypingError for what is no integer."""
    if not isinstance(_plain(argument), types.Integer) or isinstance(_plain(argument), types.Boolean):
        refuse(name, "an integer", argument)


@functools.cache
def _number(name: str, T: Any, wide: bool, expected: str) -> Callable[..., Any]:
    too_large = f"{name}: expected a number in the range of {np.dtype(T)}, got a larger one"
    outside = f"{name}: expected a number {expected}"
    if expected == "> 0":
        check = scalar(lambda value: value > 0)
    elif expected:
        check = scalar(lambda value: value >= 0 and value <= 1)
    else:
        check = scalar(lambda value: True)

    @scalar
    def convert(value):
        if not check(value):
            raise ValueError(outside)
        result = T(value)
        if wide and abs(result) == np.inf and abs(value) != np.inf:
            raise ValueError(too_large)
        return result

    return convert


def number(name: str, argument: Any, T: Any, expected: str = "") -> Callable[..., Any]:
    """``convert(value)``: a parameter in precision T, checked as `nbgrad.arguments.check_number` does."""
    kind, array = _plain(argument), is_zero_d(argument)
    if array:
        kind = argument.dtype
    if not is_number(kind) or isinstance(kind, types.Boolean):
        refuse(name, "a real number", argument)
    given = isinstance(argument, types.Type) and not isinstance(argument, types.Omitted)
    convert = _number(name, T, given and T is np.float32 and kind != types.float32, expected)
    return scalar(lambda value: convert(value[()])) if array else convert


def axes_kind(argument: Any, ndim: int) -> Any:
    """1 for an axis, None for all axes, (k,) for k of them."""
    if absent(argument):
        return None
    kind = _plain(argument)
    several = isinstance(kind, types.BaseTuple)
    for item in kind.types if several else [kind]:
        integer("axis", item)
    if ndim == 0 and not (several and len(kind) == 0):
        refuse("axis", "an array of at least 1 dimension to go along", "a number")
    return (len(kind),) if several else 1


# What arrays need beside an operator's loop is the same for every operator and as small as can be. Numba links the code
# of what is called into each caller, and has LLVM translate it there anew: in the loop's function, in the public
# function's and in the user's. (With NumPy's functions in their place a gradient took twice as long, 1.5 s.)


def spread(a: Any, shape: Any) -> Any:
    """``a`` broadcast to the shape: its elements in C order, 1-D. The array's own memory where that is possible."""
    return np.broadcast_to(a, shape).reshape(-1)


@array_overload(spread)
def _typed_spread(a: Any, shape: Any) -> Any:
    if not isinstance(a, types.Array) or a.ndim == 0:
        array = isinstance(a, types.Array)
        dtype = np.dtype(str(a.dtype if array else types.unliteral(a)))
        value_of = scalar((lambda a: a[()]) if array else (lambda a: a))

        def number(a, shape):
            value = value_of(a)
            result = np.empty(_count(shape), dtype)
            for k in range(result.size):
                result[k] = value
            return result

        return number

    def anew(a, shape):
        wide = np.broadcast_to(a, shape)
        result, k = np.empty(wide.size, a.dtype), 0
        for value in wide.flat:
            result[k] = value
            k += 1
        return result

    if a.layout != "C" or a.ndim != len(shape):
        return anew
    copied = outlined(anew)
    return lambda a, shape: elements(a) if a.shape == shape else copied(a, shape)


@scalar
def _count(shape):
    count = 1
    for n in shape:
        count *= n
    return count


def spreader(name: str, argument: Any, ndim: int, expected: str) -> Callable[..., Any]:
    """``spread(a, shape)`` of an argument with this name, to a shape of ``ndim`` dimensions; a ValueError says so where
    the shapes do not fit.
    """
    own = argument.ndim if isinstance(argument, types.Array) else 0
    if own > ndim:
        refuse(name, expected, argument)
    if own == 0:
        return scalar(lambda a, shape: spread(a, shape))
    return _checked_spread(f"{name}: expected {expected}", own, ndim)


@functools.cache
def _checked_spread(text: str, own: int, ndim: int) -> Callable[..., Any]:
    @outlined
    def checked(a, shape):
        for k in range(own):
            n = a.shape[k]
            if n != 1 and n != shape[ndim - own + k]:
                raise ValueError(text)
        return spread(a, shape)

    return checked


@functools.cache
def zero_d(T: Any) -> Callable[..., Any]:
    """A number as an array of no dimension."""

    @outlined
    def made(x):
        y = np.empty((), T)
        y[()] = x
        return y

    return made


@scalar
def _keep(y, out):
    return y


@functools.cache
def _write(name: str, flat: bool, ndim: int) -> Callable[..., Any]:
    """y is memory of its own, so nothing overlaps. (``out[...] = y``, which makes sure of that: 5 s more.)"""
    shape = f"{name}: expected the shape of the result"
    view = f"{name}: expected memory for each element, got a broadcast view"

    @outlined
    def write_number(y, out):
        out[()] = y[()]
        return out

    @outlined
    def write(y, out):
        if y.shape != out.shape:
            raise ValueError(shape)
        if not flat:
            for k in range(ndim):
                if out.strides[k] == 0 and out.shape[k] > 1 and out.size:
                    raise ValueError(view)
        for at in np.ndindex(y.shape):
            out[at] = y[at]
        return out

    return write if ndim else write_number


def write_to(name: str, out: Any, dtype: Any, ndim: int) -> Callable[..., Any]:
    """``finish(y, out)``: the result, of ``ndim`` dimensions, as the caller gets it: in ``out``, or itself; a number
    where there is no dimension.
    """
    if absent(out):
        return _keep if ndim else scalar(lambda y, out: y[()])
    if not isinstance(out, types.Array):
        refuse(name, "a numpy.ndarray", out)
    if out.dtype != types.Array(_numba(dtype), 1, "C").dtype:
        refuse(name, f"dtype {np.dtype(dtype)}", out.dtype)
    if out.ndim != ndim:
        refuse(name, f"{ndim} dimensions", out.ndim)
    if not out.mutable:
        refuse(name, "a writeable array", "a read-only one")
    return _write(name, out.layout in "CF", ndim)


def _numba(dtype: Any) -> Any:
    return {np.float32: types.float32, np.float64: types.float64, np.intp: types.intp}[dtype]


def apart(first: Any, name: str, second: Any) -> Callable[..., Any]:
    """``check(first, second)``: ValueError where two outputs, contiguous ones, share memory."""
    both = [a for a in (first, second) if isinstance(a, types.Array) and a.layout in "CF"]
    if len(both) < 2:
        return scalar(lambda a, b: None)
    text = f"{name}: expected memory of its own, got an array that overlaps out"

    @outlined
    def check(a, b):
        if overlap(a, b):
            raise ValueError(text)

    return check
