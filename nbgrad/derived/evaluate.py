"""Derived programs on the arrays and numbers of one call.

Where an argument has the result's shape it goes into the loop as an array, where it is one number as a number; rows
and columns of a table are read where they lie, and what broadcasts otherwise is broadcast first. A result that has one
number for many elements (the gradient in a number, a row, a column, a sum) is added up within the same pass.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from nbgrad.arrays import FLOAT32, FLOAT64, contiguous, quietly
from nbgrad.cpu.derived import loops as formula
from nbgrad.cpu.derived.rows import RowFormula
from nbgrad.cpu.sums.add_up import add_up
from nbgrad.derive import write
from nbgrad.derive.program import Program
from nbgrad.derive.unroll import has_loop, unrolled
from nbgrad.derived.arguments import as_table, checked, precision
from nbgrad.jit.locks import lazy
from nbgrad.place import CPU, place_of

__all__ = ["Derived", "number"]


class Derived:
    """A program, compiled for the kinds of calls that come."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.arguments = list(program.arguments)
        self.integers = [node.kind == "integer" for node in program.arguments.values()]
        self.results = [name for name, _ in program.results]
        self._formulas: dict[Any, Any] = {}
        self._plans: dict[Any, _Plan] = {}

    def _function(self, order: list[str], results: list[int]) -> Callable[..., Any]:
        chosen = Program(self.program.name, self.program.builder, [self.program.results[k] for k in results])
        return write.function(unrolled(chosen), self.program.name, order)

    @lazy
    def number(self) -> Callable[..., Any]:
        """The results for numbers: one, or a tuple."""
        function = self._function(self.arguments, [*range(len(self.results))])
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
        self, values: Sequence[Any], targets: tuple[tuple[int, ...] | None, ...], outs: list[Any] | None = None,
        scale: float = 1.0,
    ) -> list[Any]:  # fmt: skip
        """The results for arrays and numbers, by the program's arguments. ``targets``: the shape of each result, None:
        one for each element. ``outs``: memory for them. ``scale``: the first one, a sum, is times it.
        """
        named = dict(zip(self.arguments, values, strict=True))
        place = place_of(**named | {"out" if not k else f"out {k}": o for k, o in enumerate(outs or ())})
        with place:
            return self._run(place, *checked(place, named, self.integers), targets, outs, scale)

    def _run(
        self, place: Any, arrays: list[Any], dtype: Any, shape: tuple[int, ...], targets: tuple[Any, ...], outs: Any,
        scale: float,
    ) -> list[Any]:  # fmt: skip
        key = (type(place), shape, targets, *[getattr(a, "shape", type(a)) for a in arrays])
        plan = self._plans.get(key)
        if plan is None:
            if len(self._plans) > 256:  # many shapes: nothing is lost but time
                self._plans.clear()
            plan = self._plans[key] = self._plan(place, arrays, targets, shape)
        if place is CPU and plan.table is None:
            arrays = [contiguous(a, shape) if hasattr(a, "shape") else a for a in arrays]
        inputs = [arrays[k].reshape(-1) for k in plan.order]
        outs = _outs(place, outs or [None] * len(targets), [shape if t is None else t for t in targets], dtype)
        results: list[Any] = [None] * len(targets)
        for k in plan.kept:
            results[k] = _memory(place, None if k in plan.reduced else outs[k], shape, dtype, inputs)
        flat = [results[k].reshape(-1) for k in plan.kept]
        parameters = tuple([arrays[k] for k in plan.numbers])
        sums: Any
        if plan.table is None:
            sums = plan.formula(math.prod(shape), inputs, flat, parameters)
        else:
            wide = len(plan.order) - plan.columns
            *long, sums = plan.formula(plan.table, inputs[:wide], inputs[wide:], flat, parameters)
            for k, value in zip(plan.reduced, [v for several in long for v in several], strict=True):
                results[k] = quietly(value.astype, dtype)
        for k, value in zip(plan.summed, sums, strict=True):
            results[k] = _shaped(value if k or scale == 1 else value * scale, targets[k], dtype)
        for k in plan.reduced:
            results[k] = results[k].reshape(targets[k]) if plan.table else _reduced(place, results[k], targets[k])
        return [place.result(r, out) for r, out in zip(results, outs, strict=True)]

    def _plan(self, place: Any, arrays: list[Any], targets: tuple[Any, ...], shape: tuple[int, ...]) -> _Plan:
        order = [k for k, a in enumerate(arrays) if hasattr(a, "shape")]
        order.sort(key=lambda k: self.integers[k])  # the first one's precision is that of all
        numbers = [k for k in range(len(arrays)) if k not in order]
        summed = [
            k for k, target in enumerate(targets)
            if target is not None and target != shape and all(n == 1 for n in target)
        ]  # fmt: skip
        rest = [k for k in range(len(targets)) if k not in summed]
        several = {arrays[k].shape for k in order} | {targets[k] for k in rest if targets[k] is not None}
        table = as_table(shape, several) if place is CPU and not any(self.integers[k] for k in order) else None
        if table is not None:
            m, n, kinds = table
            columns = [k for k in order if kinds[arrays[k].shape] == "column"]
            inputs = [k for k in order if k not in columns]
            of = {k: "full" if targets[k] is None else kinds[targets[k]] for k in rest}
            kept, row_sums, column_sums = ([k for k in rest if of[k] == kind] for kind in ("full", "row", "column"))
            if inputs and not any(targets[k] not in (None, shape) for k in kept):
                rows = tuple(kinds[arrays[k].shape] == "row" for k in inputs)
                found = self._row_formula(rows, inputs, columns, numbers, kept, row_sums, column_sums, summed)
                reduced = [*row_sums, *column_sums]
                return _Plan(found, [*inputs, *columns], numbers, kept, summed, reduced, len(columns), (m, n))
        reduced = [k for k in rest if targets[k] is not None and targets[k] != shape]
        return _Plan(self.formula(place, order, numbers, rest, summed), order, numbers, rest, summed, reduced)

    def _row_formula(self, rows: tuple[bool, ...], *parts: list[int]) -> Any:
        """The loop over a table: its inputs, columns, numbers; results kept, summed over rows, columns, both."""
        key = (rows, *map(tuple, parts))
        found = self._formulas.get(key)
        if found is None:
            inputs, columns, numbers, *results = parts
            names = [self.arguments[k] for k in (*inputs, *columns, *numbers)]
            function = self._function(names, [k for several in results for k in several])
            counts = len(columns), tuple(map(len, results)), len(numbers)
            found = self._formulas[key] = RowFormula(
                function, self.program.name, rows, *counts, not has_loop(unrolled(self.program))
            )
        return found

    def formula(self, place: Any, order: list[int], numbers: list[int], kept: list[int], summed: list[int]) -> Any:
        """The loop whose arrays are the arguments ``order``, whose results are ``kept``, ``summed``."""
        key = (type(place), *order, None, *summed)
        found = self._formulas.get(key)
        if found is None:
            names = [self.arguments[k] for k in (*order, *numbers)]
            function = self._function(names, [*kept, *summed])
            found = self._formulas[key] = place.formula(
                function, self.program.name, len(order), len(kept), len(summed), len(numbers),
                not has_loop(unrolled(self.program)),
            )  # fmt: skip
        return found


class _Plan(NamedTuple):
    """How a call with arguments and results of given shapes goes: which arguments are arrays, in the loop's ``order``,
    the last ones ``columns`` of a ``table`` where there is one; which are ``numbers``; which results are ``kept``
    element by element, ``summed``, ``reduced`` along axes: within the loop over a table, else after it.
    """

    formula: Any
    order: list[int]
    numbers: list[int]
    kept: list[int]
    summed: list[int]
    reduced: list[int]
    columns: int = 0
    table: tuple[int, int] | None = None


def _outs(place: Any, outs: list[Any], shapes: list[tuple[int, ...]], dtype: Any) -> list[Any]:
    """Where the caller wants the results, checked."""
    found = [place.out(out, shape, dtype) for out, shape in zip(outs, shapes, strict=True)]
    given = [out for out in found if out is not None]
    if any(place.overlap(a, b) for k, a in enumerate(given) for b in given[:k]):
        raise ValueError("out: expected memory of its own for each result, got arrays that overlap")
    return found


def _memory(place: Any, out: Any, shape: tuple[int, ...], dtype: Any, inputs: list[Any]) -> Any:
    """Where the loop writes: ``out`` if it lies as loops want it and overlaps no input (other than element by element,
    where that is asked quickly), else fresh memory.
    """
    if out is not None and out.shape == shape and (out.flags.carray if place is CPU else out.flags.c_contiguous):
        if not any(place.overlap(out, a) and not (place is CPU and _same(out, a)) for a in inputs):
            return out
    return place.xp.empty(shape, dtype)


def _same(a: Any, b: Any) -> bool:
    return a.ctypes.data == b.ctypes.data and a.nbytes == b.nbytes  # type: ignore[no-any-return]


def _shaped(value: Any, target: tuple[int, ...], dtype: Any) -> Any:
    """A sum in its argument's shape."""
    if type(value) is not float:
        return value.reshape(target)
    rounded = number(value, dtype)
    return np.full(target, rounded, dtype) if target else rounded


_LARGEST = float(np.finfo(np.float32).max)


def number(value: float, dtype: Any) -> Any:
    """A sum in this precision. (NumPy would warn of those beyond it, which are infinite.)"""
    if dtype is FLOAT64 or -_LARGEST <= value <= _LARGEST:
        return dtype.type(value)
    return quietly(dtype.type, value)


def _integer(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise TypeError(f"{name}: expected an integer, which range(...) takes, got {type(value).__name__} {value!r}")
    return int(value)


def _reduced(place: Any, gradient: Any, shape: tuple[int, ...]) -> Any:
    """The sum over the axes along which an argument of this shape was broadcast."""
    lead = gradient.ndim - len(shape)
    axes = (*range(lead), *(lead + k for k, n in enumerate(shape) if n == 1 and gradient.shape[lead + k] != 1))
    whole = add_up(gradient, axes) if place is CPU else gradient.sum(axis=axes)
    return place.xp.asarray(whole).reshape(shape)
