"""The arguments of one call of a formula: checked, in one precision, in their joint shape."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, as_float, broadcast, check_float, contiguous, on_device
from nbgrad.place import CPU

__all__ = ["as_table", "checked", "outputs", "precision", "shape_of"]

_ndarray = np.ndarray


def precision(values: Any) -> np.dtype[Any]:
    """float32 where every array of floats is (or, without arrays, every number), else float64; Python's numbers and
    integers adapt.
    """
    arrays = [v.dtype for v in values if getattr(v, "ndim", 0)]
    dtypes = [d for d in arrays if d.kind == "f"] or arrays
    if not dtypes:
        dtypes = [v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"]
    return FLOAT32 if dtypes and all(d == FLOAT32 for d in dtypes) else FLOAT64


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of an array of either device, or of what NumPy makes one of."""
    if type(value) is _ndarray:
        return value.shape  # type: ignore[no-any-return]
    if type(value) is float:
        return ()
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)


def checked(
    place: Any, values: dict[str, Any], integers: list[bool]
) -> tuple[list[Any], np.dtype[Any], tuple[int, ...]]:
    """The arguments as contiguous arrays, or as numbers; their precision; their joint shape, which a GPU's arrays then
    have (the CPU's keep their own).
    """
    pairs = list(zip(values.items(), integers, strict=True))
    if place is CPU:
        given = [np.asarray(v) if whole else as_float(v, name) for (name, v), whole in pairs]
        dtype = precision(list(values.values()))
    else:
        given = [place.as_array(v, name) if on_device(v) else np.asarray(v) for (name, v), _ in pairs]
        dtype = precision(given)
    for a, ((name, v), whole) in zip(given, pairs, strict=True):
        if whole and a.dtype.kind not in "iu":
            raise TypeError(f"{name}: expected integers, which range(...) takes, got {type(v).__name__} of {a.dtype}")
        if not whole and place is not CPU:
            check_float(a.dtype, name)
    shape = broadcast(dict(zip(values, given, strict=True)))
    fitted: list[Any] = []
    for a, (_, whole) in zip(given, pairs, strict=True):
        if type(a) is _ndarray and a.size == 1 and a.shape != shape:
            fitted.append(int(a.reshape(-1)[0]) if whole else float(a.reshape(-1)[0]))
        elif place is CPU:
            fitted.append(contiguous(a if whole else a.astype(dtype, copy=False)))
        else:
            wide = place.xp.broadcast_to(a if whole else place.cast(a, dtype), shape)
            fitted.append(place.flat(wide).reshape(shape))
    if not any(hasattr(a, "shape") and not whole for a, whole in zip(fitted, integers, strict=True)):
        k = integers.index(False)  # the loop takes its precision from an array
        fitted[k] = place.xp.full(shape, fitted[k], dtype)
    return fitted, dtype, shape


def outputs(out: Any, count: int, pair: bool) -> list[Any] | None:
    """``out=`` of a call with ``count`` results, in the order of these: it has their form, (first, (the others)) if
    they are a ``pair``; None stands for new memory.
    """
    if out is None:
        return None
    found: list[Any] = []
    if isinstance(out, tuple | list):
        if not pair:
            found = list(out)
        elif len(out) == 2 and isinstance(out[1], tuple | list):
            found = [out[0], *out[1]]
    if len(found) != count:
        form = f"(value, ({count - 1} gradients))" if pair else f"{count} results"
        raise ValueError(f"out: expected arrays or None in the form of {form}, got {type(out).__name__}")
    return found


#: Columns of a table at least: below, a copy of a row to each row costs less than going from row to row.
_WIDE = 64


def as_table(shape: tuple[int, ...], several: set[tuple[int, ...]]) -> tuple[int, int, dict[Any, str]] | None:
    """The joint shape as rows and columns, and what an array of each of ``several`` shapes is beside them: "full",
    "row" or "column". None where one is none of these, or where all have the joint shape.
    """
    if all(s == shape for s in several):
        return None
    for axis in range(1, len(shape)):
        m, n = math.prod(shape[:axis]), math.prod(shape[axis:])
        kinds = {s: _kind(s, shape, axis) for s in several}
        if n >= _WIDE and m and all(kinds.values()):
            return m, n, kinds
    return None


def _kind(own: tuple[int, ...], shape: tuple[int, ...], axis: int) -> str:
    wide = (1,) * (len(shape) - len(own)) + own
    first, last = wide[:axis], wide[axis:]
    if wide == shape:
        return "full"
    if all(n == 1 for n in first) and last == shape[axis:]:
        return "row"
    return "column" if first == shape[:axis] and all(n == 1 for n in last) else ""
