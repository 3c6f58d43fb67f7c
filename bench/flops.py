"""How many floating-point operations a formula is, counted in the machine-independent code that LLVM made of it.

Both sides of a branch count: in a vector both are computed. A fused multiplication and addition counts as two, a
division, a root or a comparison as one, a selection and what is done with integers not at all.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import float32, float64, njit

__all__ = ["count"]

_ONE = re.compile(r"= (?:\w+ )*?f(?:add|sub|mul|div|cmp)\b|= (?:tail )?call [^@]*@llvm\.sqrt")
_FUSED = re.compile(r"= (?:tail )?call [^@]*@llvm\.fma|= (?:tail )?call [^@]*@llvm\.fmuladd")


@functools.cache
def count(formula: Callable[..., Any], arguments: int, dtype: Any = np.float32) -> int:
    """Operations of ``formula`` of so many numbers.

    >>> from nbgrad.formulas import squared_error
    >>> count(squared_error, 2)
    2
    """
    kind = float32 if dtype == np.float32 else float64
    names = ", ".join(f"a{i}" for i in range(arguments))
    space: dict[str, Any] = {"formula": formula}
    exec(f"def call({names}):\n    return formula({names})\n", space)
    compiled = njit((kind,) * arguments, error_model="numpy", no_cfunc_wrapper=True)(space["call"])
    (text,) = compiled.inspect_llvm().values()
    start = re.search(r"^define [^@\n]*\bi32 @", text, re.MULTILINE)  # the function itself, not Python's way into it
    assert start, "Numba names its functions in another way"
    body = text[start.start() : text.index("\n}", start.start())]
    return len(_ONE.findall(body)) + 2 * len(_FUSED.findall(body))
