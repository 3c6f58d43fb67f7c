"""Functions of numbers for C callers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["c_function"]


def c_function(function: Callable[..., Any], signature: Any) -> Any:
    """A function of numbers as Numba's cfunc: ``.address``, ``.ctypes``, and what scipy.LowLevelCallable takes."""
    return numba.cfunc(signature, error_model="numpy")(function)
