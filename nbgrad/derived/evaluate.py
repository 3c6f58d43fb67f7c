"""Derived programs on the arrays and numbers of one call.

Where an argument has the result's shape it goes into the loop as an array, where it is one number as a number, else as
an array that was broadcast. A result that has one number for many elements (the gradient in a number, a sum) is added
up within the same pass.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, as_float, broadcast, contiguous, output
from nbgrad.cpu import formula
from nbgrad.cpu.add_up import add_up
from nbgrad.derive import write
from nbgrad.derive.parse import Program
from nbgrad.jit import Loop

__all__ = ["Derived", "precision"]

_ndarray = np.ndarray
_NUMBERS = (float, int, bool, np.floating, np.integer, np.bool_)


def precision(values: list[Any]) -> np.dtype[Any]:
    """float32 where every array of floats is (or, without arrays, every number), else float64; Python's numbers and
    integers adapt.
    """
    arrays = [v.dtype for v in values if isinstance(v, _ndarray) and v.ndim]
    dtypes = [d for d in arrays if d.kind == "f"] or arrays
    if not dtypes:
        dtypes = [v.dtype for v in values if hasattr(v, "dtype") and v.dtype.kind == "f"]
    return FLOAT32 if dtypes and all(d == FLOAT32 for d in dtypes) else FLOAT64


class Derived:
    """A program, compiled for the kinds of calls that come."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arguments = list(program.arguments)
        self.integers = [node.kind == "integer" for node in program.arguments.values()]
        self.results = [name for name, _ in program.results]
        self._loops: dict[Any, Loop] = {}
        self._number: Callable[..., Any] | None = None

    def _function(self, order: list[str], results: list[int], name: str) -> Callable[..., Any]:
        chosen = Program(self.program.name, self.program.builder, [self.program.results[k] for k in results])
        return write.function(chosen, name, order)

    def number(self, values: tuple[Any, ...]) -> Any:
        """The results for numbers: one, or a tuple."""
        if self._number is None:
            function = self._function(self.arguments, [*range(len(self.results))], self.program.name)
            self._number = formula.number(function, self.program.name).serial
        return self._number(*values)

    def numbers(self, values: list[Any]) -> Any:
        T = float if precision(values) is not FLOAT32 else np.float32
        return self.number(
            tuple(int(v) if whole else T(v) for v, whole in zip(values, self.integers, strict=True))
        )

    def __call__(self, values: list[Any], targets: list[tuple[int, ...] | None], outs: list[Any] | None = None) -> Any:
        """The results for arrays and numbers, by the program's arguments. ``targets``: the shape of each result, None:
        one for each element. ``outs``: memory for them.
        """
        arrays, dtype, shape = self._checked(values)
        size = 1
        for n in shape:
            size *= n
        inputs, order, numbers = [], [], []
        for k, a in enumerate(arrays):
            if type(a) is _ndarray:
                inputs.append(a if a.ndim == 1 else a.reshape(-1))
                order.append(k)
            else:
                numbers.append(k)
        results: list[Any] = [None] * len(targets)
        kept, summed = [], []
        for k, target in enumerate(targets):
            one = target is not None and target != shape and all(n == 1 for n in target)
            (summed if one else kept).append(k)
        for k in kept:
            out = outs[k] if outs else None
            whole = targets[k] is None or targets[k] == shape
            fits = whole and out is not None and out.flags.carray
            if fits and any(np.may_share_memory(out, a) and out is not a for a in arrays if type(a) is _ndarray):
                fits = False
            results[k] = out if fits else np.empty(shape, dtype)
        loop = self._loop(tuple(order), tuple(summed))
        flat = tuple(results[k] if results[k].ndim == 1 else results[k].reshape(-1) for k in kept)
        parameters = tuple(arrays[k] for k in numbers)
        if summed:
            partials = np.empty((-(-size // formula.BLOCK), len(summed)))
            loop(size, tuple(inputs), flat, partials, parameters)
            totals = formula.total(partials)
            for k, value in zip(summed, totals, strict=True):
                results[k] = dtype.type(value) if targets[k] == () else np.full(targets[k], value, dtype)
        else:
            loop(size, tuple(inputs), flat, parameters)
        for k in kept:
            target = targets[k]
            if target is not None and target != shape:
                results[k] = _reduced(results[k], target)
            if outs and outs[k] is not None and results[k] is not outs[k]:
                np.copyto(outs[k], results[k])
                results[k] = outs[k]
        return results

    def _checked(self, values: list[Any]) -> tuple[list[Any], np.dtype[Any], tuple[int, ...]]:
        """The arguments as contiguous arrays of the joint shape, or as numbers; their precision; that shape."""
        first = next((v for v in values if type(v) is _ndarray), None)
        if first is not None and first.ndim and ((dtype := first.dtype) is FLOAT32 or dtype is FLOAT64):
            shape = first.shape
            for v, whole in zip(values, self.integers, strict=True):
                if type(v) is _ndarray:
                    if v.dtype is not dtype or v.shape != shape or not v.flags.carray or whole:
                        break
                elif type(v) is not float and (type(v) is not int or not whole):
                    break
            else:
                return values, dtype, shape
        dtype = precision(values)
        arrays = [
            v if isinstance(v, _ndarray) and whole else as_float(v, name)
            for v, name, whole in zip(values, self.arguments, self.integers, strict=True)
        ]
        shape = broadcast(dict(zip(self.arguments, arrays, strict=True)))
        fitted: list[Any] = []
        for a, whole in zip(arrays, self.integers, strict=True):
            if a.shape != shape and a.size == 1:
                fitted.append(int(a.reshape(-1)[0]) if whole else float(a.reshape(-1)[0]))
            else:
                fitted.append(contiguous(a if whole else a.astype(dtype, copy=False), shape))
        if not any(type(a) is _ndarray for a in fitted) or not any(
            type(a) is _ndarray and not whole for a, whole in zip(fitted, self.integers, strict=True)
        ):
            k = self.integers.index(False)
            fitted[k] = np.full(shape, fitted[k], dtype)
        return fitted, dtype, shape

    def _loop(self, order: tuple[int, ...], summed: tuple[int, ...]) -> Loop:
        loop = self._loops.get((order, summed))
        if loop is None:
            arrays = sorted(order, key=lambda k: self.integers[k])  # the first has the precision
            assert tuple(arrays) == order or any(self.integers)
            rest = [k for k in range(len(self.arguments)) if k not in order]
            results = [k for k in range(len(self.results)) if k not in summed] + list(summed)
            function = self._function([self.arguments[k] for k in (*order, *rest)], results, self.program.name)
            loop = self._loops[order, summed] = formula.loop(function, self.program.name, bool(summed))
        return loop


def _reduced(gradient: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    """The sum over the axes along which an argument of this shape was broadcast."""
    lead = gradient.ndim - len(shape)
    axes = (*range(lead), *(lead + k for k, n in enumerate(shape) if n == 1 and gradient.shape[lead + k] != 1))
    return np.asarray(add_up(gradient, axes, keepdims=False)).reshape(shape)


def checked_outs(outs: Any, shapes: list[tuple[int, ...]], dtype: np.dtype[Any], names: list[str]) -> None:
    for out, shape, name in zip(outs, shapes, names, strict=True):
        if out is not None:
            output(out, shape, dtype, name)
