"""Derived functions of numbers over tables: of arrays (m, n), rows (n,) and columns (m, 1), which are read where they
lie, and whose gradients are added up in the same pass.

A task takes so many rows of the table and at most `BLOCK` of its columns, whatever the number of threads: sums have the
same bits. Each piece of a row goes through the loop of `nbgrad.cpu.derived.loops`'s kind, a column's number as a
parameter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cpu.derived.loops import listed, made, of_sums
from nbgrad.cpu.elementwise import BLOCK
from nbgrad.jit import Loop, scalar
from nbgrad.jit.memory import stack_array, unchecked_view
from nbgrad.jit.vector_map import plain_map, vector_map

__all__ = ["RowFormula"]

#: Sums of rows that are kept at most beside each other, to be added.
_CHUNKS = 64


class RowFormula:
    """``formula(shape, inputs, columns, outs, parameters)``: outs[k] is the k-th number that f returns for each
    element. Beyond those come numbers that are added up over the rows, over the columns, over both; ``results``: how
    many of each. f takes the inputs (of which ``rows`` says whether it is a row), the columns, the parameters.
    """

    def __init__(
        self, f: Callable[..., Any], name: str, rows: tuple[bool, ...], columns: int, results: tuple[int, ...],
        parameters: int, vectorized: bool,
    ) -> None:  # fmt: skip
        self.sums = results[1:]
        mapped = vector_map if vectorized else plain_map
        loop = _written(scalar(f), mapped, rows, columns, results, parameters)
        self.loop = Loop(loop, name=name + "_rows")

    def __call__(
        self, shape: tuple[int, int], inputs: Any, columns: Any, outs: Any, parameters: tuple[Any, ...]
    ) -> tuple[list[Any], list[Any], Any]:
        """(sums over the rows, over the columns, over both), in float64."""
        (m, n), (row_sums, column_sums, sums) = shape, self.sums
        parts = -(-n // BLOCK)
        height = -(-BLOCK // n)
        if row_sums:  # few: each is as long as a row
            height = max(height, -(-m // max(1, _CHUNKS // parts)))
        tasks = -(-m // height)
        over_rows = [np.zeros((tasks, n)) for _ in range(row_sums)]
        over_columns = [np.empty((parts, m)) for _ in range(column_sums)]
        flat = [a.reshape(-1) for a in (*over_rows, *over_columns)]
        partials = [np.empty((tasks * parts, sums))] if sums else []
        totals = self.loop(m * n, *inputs, *columns, *outs, *flat, *partials, *parameters, m, n, height)
        return [a.sum(axis=0) for a in over_rows], [a.sum(axis=0) for a in over_columns], totals or ()


_TEMPLATE = """
def block({arrays}{numbers}m, n, height, task):
    parts = -(-n // BLOCK)
    chunk, part = task // parts, task % parts
    left, right = part * BLOCK, min((part + 1) * BLOCK, n)
    {zeros}
    {buffers}
    for i in range(chunk * height, min((chunk + 1) * height, m)):
        {column_zeros}
        start = left
        while start < right:
            count = min(ROOM, right - start)
            found = mapped(f, ({inputs}), 0, count, ({outs}), 0, ({parameters}))
            {add_rows}
            {add_columns}
            {add}
            start += count
        {keep_columns}
    return {sums}

block = outlined(block)

def loop({arrays}{partials}{numbers}m, n, height):
    for k in prange(-(-m // height) * -(-n // BLOCK)):
        found = block({arrays}{numbers}m, n, height, k)
        {keep}
    return {totals}
"""


@scalar
def _add(total, x):
    return total + np.float64(x)


def _written(
    f: Callable[..., Any], mapped: Any, rows: tuple[bool, ...], columns: int, results: tuple[int, ...], parameters: int
) -> Any:
    kept, row_sums, column_sums, sums = results
    a, c, o, r, d, p = (
        [f"{letter}{k}" for k in range(count)]
        for letter, count in zip("acordp", (len(rows), columns, kept, row_sums, column_sums, parameters), strict=True)
    )

    def lines(several: list[str], indent: int) -> str:
        return ("\n" + indent * " ").join(several or ["pass"])

    def piece(array: str, first: str) -> str:
        return f"view({array}, {first}start, count)"

    over = [piece(name, "chunk * n + ") for name in r]
    of = of_sums(sums)
    of["add"] = lines([f"s{k} += found[{column_sums + k}]" for k in range(sums)], 12)
    source = _TEMPLATE.format(
        arrays=listed(a + c + o + r + d), numbers=listed(p),
        inputs=listed(piece(name, "" if row else "i * n + ") for name, row in zip(a, rows, strict=True)),
        outs=listed([*(piece(name, "i * n + ") for name in o), *(f"b{k}" for k in range(row_sums))]),
        parameters=listed([*(f"{name}[i]" for name in c), *p]),
        buffers=lines([f"b{k} = stack_array({a[0]}.dtype, ROOM)" for k in range(row_sums)], 4),
        column_zeros=lines([f"t{k} = 0.0" for k in range(column_sums)], 8),
        add_rows=lines([f"plain(add, ({v}, b{k}), 0, count, ({v},), 0, ())" for k, v in enumerate(over)], 12),
        add_columns=lines([f"t{k} += found[{k}]" for k in range(column_sums)], 12),
        keep_columns=lines([f"d{k}[part * m + i] = t{k}" for k in range(column_sums)], 8),
        **of,
    )  # fmt: skip
    scope = {
        "f": f,
        "mapped": mapped,
        "plain": vector_map,
        "add": _add,
        "view": unchecked_view,
        "stack_array": stack_array,
    }
    return made(source, scope, __file__)
