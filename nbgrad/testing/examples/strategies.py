"""What hypothesis draws to break derivatives: numbers where they go wrong, arrays with ties, and every way to lie in
memory.

All of it shrinks towards 0, equal elements and plain contiguous memory. A large array has its numbers from a pool of
at most `POOL`, chosen by bytes: to draw each of 100 elements by itself took 12 ms, this takes 0.5.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

__all__ = ["arrays", "floats", "grad_outputs", "labels", "layouts", "shapes", "simplex", "symmetric"]

POOL = 8


def shapes(min_dims: int = 1, max_dims: int = 2, max_side: int = 4) -> st.SearchStrategy[tuple[int, ...]]:
    """Small shapes without empty axes, of one element too; every draw of one example is the same, so that arrays fit.

    >>> shapes().example()  # doctest: +SKIP
    (3, 2)
    """
    return st.shared(
        hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=1, max_side=max_side),
        key=("nbgrad.testing.shapes", min_dims, max_dims, max_side),
    )


def floats(
    dtype: Any = np.float64, domain: tuple[float, float] = (-math.inf, math.inf), kinks: Sequence[float] = ()
) -> st.SearchStrategy[float]:
    """Finite numbers of ``domain`` (its finite ends included): ordinary ones, log-uniform over all its exponents,
    saturation, ±0, the ends and the kinks with their neighbours. Python floats that ``dtype`` holds exactly.

    >>> floats(np.float32, (0.0, 1.0)).example()  # doctest: +SKIP
    0.5
    """
    return _floats(np.dtype(dtype), tuple(domain), tuple(kinks))


@functools.cache  # made once: to build it for every draw took a third of a test
@np.errstate(all="ignore")
def _floats(dtype: np.dtype[Any], domain: tuple[float, float], kinks: tuple[float, ...]) -> st.SearchStrategy[float]:
    info = np.finfo(dtype)
    low, high = _ends(dtype, domain)
    width = {2: 16, 4: 32, 8: 64}[dtype.itemsize]

    def between(a: float, b: float) -> st.SearchStrategy[float] | None:
        a, b = float(dtype.type(max(a, low))), float(dtype.type(min(b, high)))
        return st.floats(a, b, width=width) if a <= b else None  # type: ignore[arg-type]

    def scaled(exponent: int, mantissa: float, sign: int) -> float:
        with np.errstate(all="ignore"):
            return float(dtype.type(sign * np.ldexp(mantissa, exponent)))

    def inside(x: float) -> bool:
        return low <= x <= high

    def clipped(x: float) -> float:  # not filtered: of ten numbers one would be outside for sure
        return min(max(x, low), high)

    signs = [s for s in (1, -1) if (high > 0 if s > 0 else low < 0)]
    smallest, largest = int(info.minexp) - int(info.nmant), int(info.maxexp) - 1
    if low > 0:
        smallest = max(smallest, math.frexp(low)[1] - 1)
    if high < 0:
        smallest = max(smallest, math.frexp(high)[1] - 1)
    largest = min(largest, math.frexp(max(abs(low), abs(high)))[1] - 1) if max(abs(low), abs(high)) > 0 else largest
    ordinary = between(-8, 8)
    parts = [between(low, high) if ordinary is None else ordinary]
    if signs and smallest <= largest:
        mantissas = st.floats(1, 2, exclude_max=True, width=32)
        parts += [
            st.builds(scaled, st.integers(smallest, largest), mantissas, st.sampled_from(signs)).map(clipped),
        ]
        saturated = max(3, smallest), min(10, largest)
        if saturated[0] <= saturated[1]:
            parts.append(st.builds(scaled, st.integers(*saturated), mantissas, st.sampled_from(signs)).map(clipped))
    special = [0.0, -0.0] if low <= 0 <= high else []
    near = [float(dtype.type(v)) for v in (*kinks, *(e for e in domain if math.isfinite(e)))]
    for v in near:
        for step in (0.0, 2.0**-20, 2.0**-8):
            special += [v * (1 + step), v * (1 - step), v + step, v - step]
        special += [float(np.nextafter(dtype.type(v), dtype.type(d))) for d in (-np.inf, np.inf)]
    special = [float(dtype.type(v)) for v in special]
    special = list(dict.fromkeys(v for v in special if inside(v) and math.isfinite(v)))
    if special:
        parts.append(st.sampled_from(special))
    return st.one_of(*(p for p in parts if p is not None))


def _ends(dtype: np.dtype[Any], domain: tuple[float, float]) -> tuple[float, float]:
    """The finite numbers of ``dtype`` between which the domain lies."""
    info = np.finfo(dtype)
    low, high = (float(min(max(v, float(info.min)), float(info.max))) for v in domain)
    a, b = float(dtype.type(low)), float(dtype.type(high))
    if a < low:
        a = float(np.nextafter(dtype.type(a), dtype.type(np.inf)))
    if b > high:
        b = float(np.nextafter(dtype.type(b), dtype.type(-np.inf)))
    return a, b


def _strided(a: Any) -> Any:
    big = np.full(tuple(2 * n for n in a.shape), 7, a.dtype)
    view = big[tuple(slice(None, None, 2) for _ in a.shape)] if a.ndim else big
    view[...] = a
    return view


def _read_only(a: Any) -> Any:
    a = a.copy()
    a.flags.writeable = False
    return a


_LAYOUTS = {
    "contiguous": lambda a: a,
    "Fortran": lambda a: np.array(a, order="F"),
    "strided": _strided,
    "backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1] if a.ndim else a,
    "read-only": _read_only,
}


def layouts() -> st.SearchStrategy[Any]:
    """Functions that lay an array otherwise in memory, with the same values.

    >>> layouts().example()(np.arange(3.0))  # doctest: +SKIP
    array([0., 1., 2.])
    """
    return st.sampled_from(list(_LAYOUTS)).map(_LAYOUTS.__getitem__)


@st.composite
def arrays(
    draw: Any, shape: Any = None, dtype: Any = np.float64, domain: tuple[float, float] = (-math.inf, math.inf),
    kinks: Sequence[float] = (),
) -> Any:  # fmt: skip
    """Arrays of `floats` in drawn `layouts`; a part of them with ties and repeated rows. ``shape``: an int, a tuple, a
    strategy, or None for `shapes`.

    >>> arrays(3, np.float32, (0.0, 1.0)).example()  # doctest: +SKIP
    array([0. , 0.5, 1. ], dtype=float32)
    """
    shape = _shape(draw, shape)
    size = math.prod(shape)
    numbers = floats(dtype, domain, kinks)
    if size <= POOL:
        flat = np.array(draw(st.lists(numbers, min_size=size, max_size=size)), dtype)
    else:
        pool = np.array(draw(st.lists(numbers, min_size=1, max_size=POOL)), dtype)
        flat = pool[np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8) % len(pool)]
        if draw(st.booleans()):  # without ties
            low, high = _ends(np.dtype(dtype), domain)
            with np.errstate(all="ignore"):
                apart = (flat * (1 - 2.0**-9 * np.arange(size) / size)).astype(dtype)
            flat = np.where((apart >= low) & (apart <= high), apart, flat)
    array = flat.reshape(shape)
    if size > 1:
        repeated = draw(st.sampled_from(["", "", "elements", "rows"]))
        if repeated == "elements":
            array.reshape(-1)[draw(st.integers(1, size - 1))] = array.reshape(-1)[0]
        elif repeated == "rows" and len(array) > 1:
            array[draw(st.integers(1, len(array) - 1))] = array[0]
    return draw(layouts())(array)


def _shape(draw: Any, shape: Any) -> tuple[int, ...]:
    if shape is None:
        shape = shapes()
    if isinstance(shape, st.SearchStrategy):
        shape = draw(shape)
    return (shape,) if isinstance(shape, int) else tuple(shape)


@st.composite
def labels(draw: Any, shape: Any, num_classes: Any) -> Any:
    """int64 class labels 0 ... ``num_classes`` − 1; both may be strategies.

    >>> labels(3, 2).example()  # doctest: +SKIP
    array([0, 1, 0])
    """
    classes = draw(num_classes) if isinstance(num_classes, st.SearchStrategy) else num_classes
    shape = _shape(draw, shape)
    numbers = st.lists(st.integers(0, classes - 1), min_size=math.prod(shape), max_size=math.prod(shape))
    return np.array(draw(numbers), np.int64).reshape(shape)


@st.composite
def simplex(draw: Any, shape: Any, dtype: Any = np.float64) -> Any:
    """Probabilities: the last axis adds up to 1 (up to rounding); sure ones (0 and 1) and equal ones among them.

    >>> simplex((2, 2)).example()  # doctest: +SKIP
    array([[1. , 0. ], [0.5, 0.5]])
    """
    shape = _shape(draw, shape)
    parts = draw(hnp.arrays(np.float64, shape, elements=st.integers(0, 16).map(float) | st.floats(0, 1)))
    parts[..., 0] += np.where(parts.sum(axis=-1) > 0, 0, 1)
    return (parts / parts.sum(axis=-1, keepdims=True)).astype(dtype)


@st.composite
def symmetric(
    draw: Any, n: Any, dtype: Any = np.float64, positive_definite: bool = False,
    domain: tuple[float, float] = (-8.0, 8.0),
) -> Any:  # fmt: skip
    """Symmetric matrices, to the last bit; ``positive_definite``: L·Lᵀ with 0.5 to 2 on the diagonal of L.

    >>> symmetric(2, positive_definite=True).example()  # doctest: +SKIP
    array([[1. , 0.5], [0.5, 2. ]])
    """
    n = draw(n) if isinstance(n, st.SearchStrategy) else n
    size = n * (n + 1) // 2
    matrix = np.zeros((n, n))
    beside = st.floats(-1, 1) if positive_definite else floats(dtype, domain)
    matrix[np.tril_indices(n)] = draw(st.lists(beside, min_size=size, max_size=size))
    if positive_definite:
        matrix[np.diag_indices(n)] = draw(st.lists(st.floats(0.5, 2), min_size=n, max_size=n))
        matrix = matrix @ matrix.T
    lower = np.tril(matrix).astype(dtype)
    return draw(layouts())(lower + np.tril(lower, -1).T)


@st.composite
def grad_outputs(draw: Any, shape: Any, dtype: Any = np.float64) -> Any:
    """Moderate numbers of either sign, ±0.5 ... ±2, no two neighbours equal: all ones hide what is summed over the
    wrong axis.

    >>> grad_outputs(2).example()  # doctest: +SKIP
    array([0.5 , 1.12])
    """
    shape = _shape(draw, shape)
    size = math.prod(shape)
    chosen = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), np.uint8)
    magnitude = 0.5 + (np.arange(size) * 0.6180339887 + (chosen >> 1) / 128) % 1.5
    return (magnitude * (1 - 2.0 * (chosen & 1))).astype(dtype).reshape(shape)
