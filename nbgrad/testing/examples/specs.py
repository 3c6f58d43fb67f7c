"""The arguments of a function as data: `array`, `labels`, `simplex`, `symmetric`; `gradient_test` draws them."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["Spec", "array", "labels", "simplex", "symmetric"]


@dataclass(frozen=True)
class Spec:
    """One argument: how it is drawn (``strategy``), and what the oracle respects: kinks, domain, symmetry."""

    strategy: Any
    kinks: tuple[float, ...] = ()
    domain: tuple[float, float] = (-math.inf, math.inf)
    symmetric: bool = False


def drawing() -> Any:
    """`nbgrad.testing.examples.strategies`, or one clear error where hypothesis is missing."""
    try:
        return importlib.import_module("nbgrad.testing.examples.strategies")
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "hypothesis":
            raise
        raise ImportError("specs and gradient_test need hypothesis: pip install nbgrad[testing]") from error


def _check_shape(shape: Any, name: str = "shape") -> Any:
    from hypothesis.strategies import SearchStrategy

    if shape is None or isinstance(shape, SearchStrategy):
        return shape
    sides = (shape,) if isinstance(shape, int | np.integer) and not isinstance(shape, bool) else shape
    if not isinstance(sides, tuple | list) or not all(
        isinstance(n, int | np.integer) and not isinstance(n, bool) for n in sides
    ):
        raise TypeError(f"{name}: expected an integer, a tuple of integers or a strategy, got {shape!r}")
    if not all(n > 0 for n in sides):
        raise ValueError(f"{name}: expected positive lengths, got {shape!r}")
    return tuple(int(n) for n in sides)


def _check_dtype(dtype: Any) -> np.dtype[Any]:
    found = np.dtype(dtype)
    if found not in (np.float16, np.float32, np.float64):
        raise TypeError(f"dtype: expected float16, float32 or float64, got {found}")
    return found


def array(
    shape: Any = None,
    dtype: Any = np.float64,
    domain: tuple[float, float] = (-math.inf, math.inf),
    kinks: Sequence[float] = (),
) -> Spec:
    """An array of floats of ``domain`` (finite ends included), drawn where derivatives break: all exponents,
    saturation, ±0, the domain's ends, the ``kinks`` and both their sides, ties, repeated rows, arrays that are
    strided or read-only.

    ``shape``: an int, a tuple, a hypothesis strategy, or None for small shapes, the same for all the arguments of a
    test. ImportError without hypothesis; TypeError and ValueError for a bad shape, dtype, domain or kink.

    Returns
    -------
    Spec
        For `gradient_test`.

    Examples
    --------
    >>> array((3, 2), np.float32, domain=(0, 1)).domain
    (0.0, 1.0)
    """
    drawn = drawing()
    found = _check_dtype(dtype)
    try:
        low, high = (float(v) for v in domain)
    except (TypeError, ValueError):
        raise TypeError(f"domain: expected two numbers (low, high), got {domain!r}") from None
    if not low < high:
        raise ValueError(f"domain: expected low < high, got {domain!r}")
    places = tuple(float(k) for k in kinks)
    if not all(low <= k <= high and math.isfinite(k) for k in places):
        raise ValueError(f"kinks: expected numbers in the domain {domain!r}, got {kinks!r}")
    return Spec(drawn.arrays(_check_shape(shape), found, (low, high), places), places, (low, high))


def labels(shape: Any, num_classes: Any) -> Spec:
    """Class labels 0 ... ``num_classes`` − 1 (int64), which have no gradient. Both may be strategies.

    Returns
    -------
    Spec
        For `gradient_test`.

    Examples
    --------
    >>> labels(3, 10).kinks
    ()
    """
    from_hypothesis = drawing()
    if isinstance(num_classes, int) and num_classes < 1:
        raise ValueError(f"num_classes: expected at least 1, got {num_classes}")
    return Spec(from_hypothesis.labels(_check_shape(shape), num_classes))


def simplex(shape: Any, dtype: Any = np.float64) -> Spec:
    """Probabilities along the last axis, which add up to 1; sure ones among them.

    Returns
    -------
    Spec
        For `gradient_test`.

    Examples
    --------
    >>> simplex((2, 3)).domain
    (0.0, 1.0)
    """
    return Spec(drawing().simplex(_check_shape(shape), _check_dtype(dtype)), (), (0.0, 1.0))


def symmetric(
    n: Any, dtype: Any = np.float64, *, positive_definite: bool = False, domain: tuple[float, float] = (-8.0, 8.0)
) -> Spec:
    """Symmetric matrices, (n, n), for determinants, inverses, factorisations: the function is differenced along
    symmetric directions, and what counts is the gradient's symmetric part (``symmetric=`` of `check_gradient`).

    ``n``: a number or a strategy of such. ``positive_definite``: products L·Lᵀ with 0.5 to 2 on the diagonal of L and
    at most 1 beside it; else the elements are drawn as `array` draws them, from ``domain``.

    Returns
    -------
    Spec
        For `gradient_test`.

    Examples
    --------
    >>> symmetric(3, positive_definite=True).symmetric
    True
    """
    drawn = drawing()
    number = _check_shape(n, "n")
    if isinstance(number, tuple):
        if len(number) != 1:
            raise TypeError(f"n: expected an integer or a strategy, got {n!r}")
        number = number[0]
    if not isinstance(positive_definite, bool | np.bool_):
        raise TypeError(f"positive_definite: expected True or False, got {positive_definite!r}")
    elements = array(1, dtype, domain)  # which knows what a domain and a dtype may be
    strategy = drawn.symmetric(number, np.dtype(dtype), bool(positive_definite), elements.domain)
    return Spec(strategy, symmetric=True)
