"""Derived programs on the arrays and numbers of one call.

Where an argument has the result's shape it goes into the loop as an array, where it is one number as a number, else as
an array that was broadcast. A result that has one number for many elements (the gradient in a number, a sum) is added
up within the same pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, as_float, broadcast, contiguous, output
from nbgrad.cpu import formula
from nbgrad.cpu.add_up import add_up
from nbgrad.derive import write
from nbgrad.derive.program import Program
from nbgrad.derive.unroll import has_loop, unrolled
from nbgrad.jit import Loop
from nbgrad.jit.locks import lazy

__all__ = ["Derived", "precision"]

_ndarray = np.ndarray
_NUMBERS = (float, int, bool, np.floating, np.integer, np.bool_)


def precision(values: Any) -> np.dtype[Any]:
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
        self._plans: dict[Any, _Plan] = {}

    def _function(self, order: list[str], results: list[int], name: str) -> Callable[..., Any]:
        chosen = Program(self.program.name, self.program.builder, [self.program.results[k] for k in results])
        return write.function(unrolled(chosen), name, order)

    @lazy
    def number(self) -> Callable[..., Any]:
        """The results for numbers: one, or a tuple."""
        function = self._function(self.arguments, [*range(len(self.results))], self.program.name)
        return formula.number(function, self.program.name).serial  # type: ignore[no-any-return]

    def of_floats(self) -> Callable[..., Any]:
        """The same, of arguments that are floats all."""
        return self.numbers if any(self.integers) else self.number  # type: ignore[return-value]

    def numbers(self, *values: Any) -> Any:
        """The results for numbers of any types."""
        T = float if precision(values) is not FLOAT32 else np.float32
        triples = zip(values, self.arguments, self.integers, strict=True)
        results = self.number(*[_integer(v, name) if whole else T(v) for v, name, whole in triples])
        if T is float:
            return results
        return tuple(map(T, results)) if isinstance(results, tuple) else T(results)

    def __call__(
        self, values: list[Any], targets: tuple[tuple[int, ...] | None, ...], outs: list[Any] | None = None
    ) -> list[Any]:
        """The results for arrays and numbers, by the program's arguments. ``targets``: the shape of each result, None:
        one for each element. ``outs``: memory for them.
        """
        arrays, dtype, shape = self._checked(values)
        for out in outs or ():
            if out is not None:
                output(out, shape, dtype)
        key = (shape, targets, *map(type, arrays))
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._plan(arrays, targets, shape)
            if len(self._plans) > 256:  # many shapes: nothing is lost but time
                self._plans.clear()
        inputs = [arrays[k] for k in plan.order]
        if plan.reshaped:
            inputs = [a.reshape(-1) for a in inputs]
        results: list[Any] = [None] * len(targets)
        flat = []
        for k in plan.kept:
            out = outs[k] if outs else None
            if out is None or not self._takes(out, targets[k], shape, arrays):
                out = np.empty(shape, dtype)
            results[k] = out
            flat.append(out.reshape(-1) if plan.reshaped else out)
        parameters = tuple([arrays[k] for k in plan.numbers])
        if plan.summed:
            partials = np.empty((plan.blocks, len(plan.summed)))
            plan.loop(plan.size, tuple(inputs), tuple(flat), partials, parameters)
            for k, value in zip(plan.summed, formula.totals(partials), strict=True):
                results[k] = dtype.type(value) if (target := targets[k]) == () else np.full(target or 1, value, dtype)
        else:
            plan.loop(plan.size, tuple(inputs), tuple(flat), parameters)
        for k in plan.reduced:
            results[k] = _reduced(results[k], targets[k])  # type: ignore[arg-type]
        if outs:
            for k, out in enumerate(outs):
                if out is not None and results[k] is not out:
                    np.copyto(out, results[k])
                    results[k] = out
        return results

    @staticmethod
    def _takes(out: Any, target: Any, shape: tuple[int, ...], arrays: list[Any]) -> bool:
        """Whether the loop may write here: every element, and no input's but its own."""
        whole = out.shape == shape and (target is None or target == shape) and out.flags.carray
        return whole and not any(type(a) is _ndarray and np.may_share_memory(out, a) and out is not a for a in arrays)

    def _plan(self, arrays: list[Any], targets: tuple[Any, ...], shape: tuple[int, ...]) -> _Plan:
        order = [k for k, a in enumerate(arrays) if type(a) is _ndarray]
        order.sort(key=lambda k: self.integers[k])  # the first one's precision is that of all
        numbers = [k for k in range(len(arrays)) if k not in order]
        summed = [
            k for k, target in enumerate(targets)
            if target is not None and target != shape and all(n == 1 for n in target)
        ]  # fmt: skip
        kept = [k for k in range(len(targets)) if k not in summed]
        reduced = [k for k in kept if targets[k] is not None and targets[k] != shape]
        size = math.prod(shape)
        loop = self._loop(tuple(order), tuple(numbers), tuple(kept), tuple(summed))
        return _Plan(loop, order, numbers, kept, summed, reduced, size, -(-size // formula.BLOCK), len(shape) != 1)

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

    def _loop(
        self, order: tuple[int, ...], numbers: tuple[int, ...], kept: tuple[int, ...], summed: tuple[int, ...]
    ) -> Loop:
        loop = self._loops.get((order, summed))
        if loop is None:
            names = [self.arguments[k] for k in (*order, *numbers)]
            function = self._function(names, [*kept, *summed], self.program.name)
            loop = self._loops[order, summed] = formula.loop(
                function, self.program.name, bool(summed), vectorized=not has_loop(unrolled(self.program))
            )
        return loop


class _Plan(NamedTuple):
    """How a call with arguments and results of given shapes goes: which arguments are arrays, in the loop's ``order``,
    which ``numbers``; which results are ``kept`` element by element, ``summed`` in the loop, ``reduced`` after it.
    """

    loop: Loop
    order: list[int]
    numbers: list[int]
    kept: list[int]
    summed: list[int]
    reduced: list[int]
    size: int
    blocks: int
    reshaped: bool


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer, which range(...) takes, got {type(value).__name__} {value!r}")
    return int(value)


def _reduced(gradient: np.ndarray[Any, Any], shape: tuple[int, ...]) -> Any:
    """The sum over the axes along which an argument of this shape was broadcast."""
    lead = gradient.ndim - len(shape)
    axes = (*range(lead), *(lead + k for k, n in enumerate(shape) if n == 1 and gradient.shape[lead + k] != 1))
    return np.asarray(add_up(gradient, axes, keepdims=False)).reshape(shape)
