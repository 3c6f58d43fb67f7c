"""Loops of derived functions over arrays of which some are broadcast: chains of elementwise operations in one pass.

The loop is written as text, because how many arrays of which kind come is a part of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import prange

from nbgrad.cpu.elementwise import BLOCK
from nbgrad.jit import Loop, scalar
from nbgrad.jit.memory import unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = ["chain"]

_ROWS = """
def chain({arguments}):
    for k in prange(n):
        at = k * length
        vector_map(f, ({views}{rows}), 0, length, ({outs}), 0, ({numbers}))
"""
_FLAT = """
def chain({arguments}):
    for k in prange((n + BLOCK - 1) // BLOCK):
        at = k * BLOCK
        count = min(BLOCK, n - at)
        vector_map(f, ({views}), at, count, ({outs}), at, ({numbers}))
"""


def chain(f: Callable[..., Any], name: str, kinds: str, outs: int) -> Loop:
    """``loop(work, n, length, *inputs, *outs)``: outs of n·length numbers = f(*inputs), element by element.

    ``kinds``: of each input a letter: x: n·length numbers, r: a row of ``length``, c: one number for each of n rows, o:
    one number; in this order, and contiguous. Without r and c n is the size.
    """
    names = [f"{kind}{k}" for k, kind in enumerate(kinds)]
    made = [f"y{k}" for k in range(outs)]
    by_rows = bool({*kinds} & {"r", "c"})
    whole = "unchecked_view({}, at, length), " if by_rows else "{}, "
    source = (_ROWS if by_rows else _FLAT).format(
        arguments=", ".join(["n", "length", *names, *made]),
        views="".join(whole.format(name) for name in names if name[0] == "x"),
        rows="".join(f"{name}, " for name in names if name[0] == "r"),
        outs="".join(whole.format(name) for name in made),
        numbers="".join(f"{name}[{'k' if name[0] == 'c' else 0}], " for name in names if name[0] in "co"),
    )
    scope = {
        "prange": prange, "vector_map": vector_map, "unchecked_view": unchecked_view, "BLOCK": BLOCK, "f": scalar(f),
        "__name__": __name__,
    }  # fmt: skip
    # in a function around it, so that f is a part of the loop's key in the disk cache
    lines = "\n".join("    " + line for line in source.splitlines())
    exec(compile(f"def made(f):\n{lines}\n    return chain\n", __file__, "exec"), scope)
    return Loop(scope["made"](f), name=name)
