"""Arrays of other libraries through an elementwise kernel, as through one of SciPy's ufuncs: the caller's kind comes
back, and a lazy array stays lazy.

Such a library says by NumPy's protocols what a ufunc makes of its arrays: `__array_ufunc__` (pandas, xarray, Dask, many
subclasses of ndarray) gets the ufunc and calls it on the arrays inside; `__array_wrap__` makes of the result what the
argument was. What a kernel hands them is a `Ufunc`: NumPy's own are made of C functions or of Python objects.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import as_array

__all__ = ["Ufunc", "among", "apply"]

_KNOWN = (float, int, complex, str, np.generic, list, tuple, type(None))
_plain = np.ndarray.__array_ufunc__


#: The public functions by name, which are made on this file: `nbgrad.kernels` fills it.
KERNELS: dict[str, Callable[..., Any]] = {}


class Ufunc:
    """A kernel with its parameters, and what other libraries ask of a ufunc. Dask's workers get it pickled."""

    nout, signature, identity = 1, None, None

    def __init__(self, name: str, nin: int, parameters: dict[str, Any]) -> None:
        self.__name__, self.nin, self.parameters = name, nin, parameters
        self.nargs = nin + 1

    def __reduce__(self) -> Any:
        return Ufunc, (self.__name__, self.nin, self.parameters)

    def __repr__(self) -> str:
        return f"<ufunc 'nbgrad.kernels.{self.__name__}'>"

    def __call__(self, *inputs: Any, out: Any = None, **others: Any) -> Any:
        if others:
            raise TypeError(f"{self.__name__}: unexpected argument {next(iter(others))!r}")
        (out,) = out if isinstance(out, tuple) else (out,)
        return KERNELS[self.__name__](*inputs, out=out, **self.parameters)


def _overrides(value: Any) -> Any:
    """The `__array_ufunc__` of what is no array of NumPy's own kind; None where it takes part in no ufunc."""
    if isinstance(value, np.generic) or getattr(type(value), "__array_ufunc__", None) is _plain:
        return None
    return getattr(value, "__array_ufunc__", None)


def _wrapper(inputs: dict[str, Any]) -> Callable[..., Any] | None:
    """The `__array_wrap__` of the input with the highest priority, of NumPy's subclasses and of other libraries."""
    kinds = [
        value for value in inputs.values()
        if not isinstance(value, _KNOWN) and type(value) is not np.ndarray and hasattr(type(value), "__array_wrap__")
    ]  # fmt: skip
    if not kinds:
        return None
    wrap: Callable[..., Any] = max(kinds, key=lambda v: getattr(v, "__array_priority__", 0.0)).__array_wrap__
    return wrap


def among(*values: Any) -> bool:
    """Whether one of the arguments is an array of another kind than NumPy's own."""
    for value in values:
        if type(value) is not np.ndarray and value is not None and not isinstance(value, _KNOWN):
            if getattr(value, "__array_ufunc__", None) is not None or hasattr(type(value), "__array_wrap__"):
                return not isinstance(value, np.ma.MaskedArray)  # refused with all that is no array
    return False


def apply(ufunc: Ufunc, inputs: dict[str, Any], out: Any) -> Any:
    """What the arguments' own library makes of the call."""
    asked = [v for v in (*inputs.values(), out) if v is not None and _overrides(v)]
    # as NumPy: from left to right, a subclass before its bases
    asked.sort(key=lambda v: -sum(isinstance(v, type(w)) and type(v) is not type(w) for w in asked))
    keywords = {} if out is None else {"out": (out,)}
    for value in asked:
        result = value.__array_ufunc__(ufunc, "__call__", *inputs.values(), **keywords)
        if result is not NotImplemented:
            return result if out is None else out
    if asked:
        kinds = ", ".join(dict.fromkeys(type(v).__name__ for v in asked))
        raise TypeError(f"{next(iter(inputs))}: expected arrays that take part in {ufunc!r}, got {kinds}")
    wrap = _wrapper(inputs)
    plain = [v if isinstance(v, _KNOWN) else as_array(v, name) for name, v in inputs.items()]
    if out is not None:  # a subclass of ndarray takes the result like any array
        ufunc(*plain, out=np.asarray(out) if isinstance(out, np.ndarray) else out)
        return out
    result = ufunc(*plain)
    if wrap is None:
        return result
    array = np.asarray(result)
    try:
        return wrap(array, (ufunc, tuple(inputs.values()), 0), array.ndim == 0)
    except TypeError:  # written for NumPy 1, or for arrays alone
        return wrap(array)
