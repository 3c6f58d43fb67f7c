"""Derived functions of numbers on CUDA arrays of one size: results element by element, and sums in one pass.

A block takes a tile of fixed size, whatever the GPU, and adds up in two parts (`nbgrad.cuda.reduce`); one block more
adds up the tiles: the same bits on every run. Straight code goes line by line of 16 bytes, as `nbgrad.cuda.elementwise`
does; with a loop in it, which takes longer than memory does, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbgrad.cuda.device import BLOCK, WARP, cuda, kernel, launch, module
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, load, store, thread
from nbgrad.cuda.device.lines import least, size_of, tree
from nbgrad.cuda.elementwise import lead_of, numbers
from nbgrad.cuda.losses import finished, no_divisor
from nbgrad.cuda.reduce import add, group_sum
from nbgrad.jit import scalar

__all__ = ["Formula"]

#: Lines of a tile for each thread.
PER_THREAD = 8


def in_flight(f: Callable[..., Any], inputs: int, width: int) -> int:
    """How many lines of ``width`` numbers of each input a thread has in flight: two, which keeps memory busy, and one
    where two would take the registers of a multiprocessor's second block: of many inputs, or of a formula of many
    values (what it uses more than once has a name). The other inputs keep memory busy then, or arithmetic hides it.
    """
    return 2 if f.__code__.co_nlocals + 2 * inputs * width <= 80 else 1


class Formula:
    """``formula(size, inputs, outs, parameters)``: outs[k][i] = the k-th number that f(inputs[0][i], ..., *parameters)
    returns; of those beyond ``kept`` the sums are returned, arrays of no dimension. ``vectorized``: f has no loop, and
    so no arguments that are integers.
    """

    def __init__(
        self, f: Callable[..., Any], name: str, inputs: int, kept: int, sums: int, parameters: int, vectorized: bool
    ) -> None:
        self.f, self.name, self.inputs, self.kept, self.sums = scalar(f), name, inputs, kept, sums
        self.vectorized = vectorized
        self._kernels: dict[Any, Any] = {}

    def __call__(self, size: int, inputs: Any, outs: Any, parameters: tuple[Any, ...]) -> list[Any]:
        dtype = inputs[0].dtype
        compiled = self._kernels.get((dtype, len(parameters)))
        if compiled is None:
            compiled = self._kernels[dtype, len(parameters)] = self._kernel(dtype)
        tiles = -(-size // (BLOCK * PER_THREAD * size_of(dtype)))
        partials = [module().zeros(2 * tiles, dtype) for _ in range(self.sums)]
        given = tuple(p if isinstance(p, int) else numbers((p,), dtype)[0] for p in parameters)
        lead = lead_of(*inputs, *outs) if self.vectorized else size
        launch(compiled, tiles, BLOCK, *inputs, *outs, *partials, lead, given)
        return [finished(p, 2, 1.0, no_divisor(dtype)) for p in partials]

    def _kernel(self, dtype: Any) -> Any:
        """``kernel(*inputs, *outs, *partials, lead, parameters)``: written out for so many arrays, as each launch asks
        Python for the types of what a tuple holds.
        """
        inputs = [f"a{k}" for k in range(self.inputs)]
        outs = [f"o{k}" for k in range(self.kept)]
        partials = [f"p{k}" for k in range(self.sums)]
        width = size_of(dtype)
        ahead = in_flight(self.f, self.inputs, width)
        results = [f"y{k}" for k in range(self.kept + self.sums)]

        def added(terms: list[str]) -> list[str]:
            """Those for each sum are added to its two parts."""
            return [f"h{k}, l{k} = add(h{k}, l{k}, {term}, T(0))" for k, term in enumerate(terms)]

        def each(result: str) -> list[str]:
            return [f"{result}_{lane}" for lane in range(width)]

        def of_line(k: int) -> list[str]:
            """What is made of the line that is k·threads behind line i."""
            loaded = [[f"x{a}_{k}[{lane}]" for a in range(self.inputs)] for lane in range(width)]
            return [
                f"        if i + {k} * threads < lines:",
                *(f"            {line}" for line in (
                    *(f"{', '.join(f'{y}_{lane}' for y in results)} = f({', '.join(x)}, *parameters)"
                      for lane, x in enumerate(loaded)),
                    *(f"store({o}, lead + (i + {k} * threads) * WIDTH, ({', '.join(each(y))}))"
                      for o, y in zip(outs, results, strict=False)),
                    *added([tree(each(y)) for y in results[self.kept :]]),
                )),
            ]  # fmt: skip

        by_lines = [
            f"    for turn in range({PER_THREAD // ahead}):",
            f"        i = (block() * {PER_THREAD} + turn * {ahead}) * threads + thread()",
            "        if i >= lines:",
            "            break",
            *(f"        x{a}_{k} = load({name}, lead + least(i + {k} * threads, lines - 1) * WIDTH)"
              for k in range(ahead) for a, name in enumerate(inputs)),
            *(line for k in range(ahead) for line in of_line(k)),
        ]  # fmt: skip
        lines = [
            f"def run({', '.join([*inputs, *outs, *partials, 'lead', 'parameters'])}):",
            *(["    room = cuda.shared.array(WARP, T)"] if self.sums else []),
            *(f"    h{k}, l{k} = T(0), T(0)" for k in range(self.sums)),
            "    lines, threads = (a0.size - lead) // WIDTH, block_size()",
            *(by_lines if self.vectorized else []),
            "    k = block() * threads + thread()",  # what is in no line
            "    while k < a0.size - lines * WIDTH:",
            "        i = k if k < lead else k + lines * WIDTH",
            f"        {', '.join(results)} = f({', '.join(f'{a}[i]' for a in inputs)}, *parameters)",
            *(f"        {o}[i] = {y}" for o, y in zip(outs, results, strict=False)),
            *(f"        {line}" for line in added(results[self.kept :])),
            "        k += blocks() * threads",
        ]
        for k in range(self.sums):
            lines += [
                f"    h{k}, l{k} = group_sum(h{k}, l{k}, threads, room)",
                "    if thread() == 0:",
                f"        p{k}[2 * block()], p{k}[2 * block() + 1] = h{k}, l{k}",
            ]
        scope = {
            "f": self.f, "T": dtype.type, "WIDTH": width, "WARP": WARP, "cuda": cuda, "block": block, "blocks": blocks,
            "block_size": block_size, "thread": thread, "load": load, "store": store, "least": least, "add": add,
            "group_sum": group_sum,
        }  # fmt: skip
        exec(compile("\n".join(lines), f"<kernel of {self.name}>", "exec"), scope)
        return kernel(scope["run"])
