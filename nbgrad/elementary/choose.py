"""How an elementary function finds its implementation: NumPy's function in plain Python, one of ours in compiled
code, chosen by the argument's type.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
from numba import types

from nbgrad.elementary.constants import CONSTANTS
from nbgrad.jit import overload_scalar, scalar

__all__ = ["choose", "quiet"]


def quiet(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a NumPy function without its warnings: compiled code does not warn either."""
    with np.errstate(all="ignore"):
        return function(*arguments)


def choose(function: Callable[..., Any], build: Callable[[SimpleNamespace], Callable[..., Any]]) -> None:
    """Compiled code that calls ``function`` gets ``build(constants)`` for its first argument's type; integers
    are converted to float64.
    """
    chosen = {
        types.float32: scalar(build(CONSTANTS[np.float32])),
        types.float64: scalar(build(CONSTANTS[np.float64])),
    }

    @overload_scalar(function)
    def implementation(*arguments):
        if isinstance(arguments[0], (types.Integer, types.Boolean)) and len(arguments) == 1:
            return lambda x: function(np.float64(x))
        return chosen.get(arguments[0])
