"""Products of several factors whose value is a number though a part of them is too large or too small for one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.autograd.devices import on_cpu

__all__ = ["in_range", "power", "product", "times", "weighted"]


def in_range(quick: Callable[[], Any], careful: Callable[[], Any], like: Any, doubtful: bool = False) -> Any:
    """``quick()``; where a number over- or underflows in it the elements that are wrong are ``careful()``'s. On a GPU
    (``like`` says where), whose arithmetic does not tell, both are always made.
    """
    if not doubtful and on_cpu(like):
        try:
            with np.errstate(all="raise"):
                return quick()
        except FloatingPointError:
            pass
    right = careful()
    with np.errstate(all="ignore"):
        plain = quick()
        return np.where(abs(plain - right) <= 32 * np.finfo(plain.dtype).eps * abs(right), plain, right)


def product(factors: tuple[Any, ...], divisors: tuple[Any, ...] = ()) -> Any:
    """Their product over the divisors', rounded to the result's range at the end: mantissas are multiplied, exponents
    added.
    """
    mantissa: Any = 1
    exponent: Any = 0
    for factor in factors:
        m, e = np.frexp(factor)
        mantissa, exponent = mantissa * m, exponent + e
    for divisor in divisors:
        m, e = np.frexp(divisor)
        mantissa, exponent = mantissa / m, exponent - e
    return np.ldexp(mantissa, exponent)


def power(x: Any, p: Any) -> tuple[Any, Any]:
    """Two factors whose product is x^p: both are in range where its root is."""
    root = np.abs(x) ** (p / 2)
    odd = np.where(np.signbit(x) & (p % 2 == 1), -1, 1)
    return np.where((x < 0) & (p % 1 != 0), np.nan, odd).astype(root.dtype) * root, root


def times(array: Any, factor: Any) -> Any:
    """``array`` times a number of float64, which may lie outside the array's range."""
    with np.errstate(over="ignore", under="ignore"):
        narrow = array.dtype.type(factor)
        if factor == 0 or np.finfo(array.dtype).tiny <= abs(narrow) < np.inf:
            return array * narrow
        return (array.astype(np.float64) * factor).astype(array.dtype)


def weighted(weight: Any, values: Any) -> Any:
    """``weight · values``; what has weight 0 is absent, also where it is infinite."""
    with np.errstate(invalid="ignore"):
        return np.where(weight == 0, values.dtype.type(0), weight * values)
