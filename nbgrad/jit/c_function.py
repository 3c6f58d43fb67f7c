"""Compiled functions, called past Numba's dispatcher: by C, and for arguments whose types are known."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numba

__all__ = ["c_function", "prebound"]


def c_function(function: Callable[..., Any], signature: Any) -> Any:
    """A function of numbers as Numba's cfunc: ``.address``, ``.ctypes``, and what scipy.LowLevelCallable takes."""
    return numba.cfunc(signature, error_model="numpy")(function)


def prebound(compiled: Any, args: list[Any]) -> tuple[Callable[..., Any], list[Any]]:
    """What a compiled function calls in the end for arguments of the types of ``args``, and what that takes. It is
    compiled here, if it is not yet.

    Numba's way there takes 50 ns an argument, and a profiler sees it as a frame of Python's. That ``compile`` returns
    what it leads to is not documented, nor that this takes ``*args`` as one tuple: a version of Numba that has it
    otherwise calls the function itself.
    """
    code, given = compiled.py_func.__code__, args
    try:
        if code.co_flags & inspect.CO_VARARGS:
            n = code.co_argcount
            args = [*args[:n], tuple(args[n:])]
        # The types are those by which the dispatcher asks: of others that are compiled to the same it would know two
        # functions, and choose between them at each call, in 27 µs.
        entry = compiled.compile(tuple(map(numba.typeof, args)))
    except (AttributeError, TypeError):
        return compiled, given
    return (entry, args) if callable(entry) else (compiled, given)
