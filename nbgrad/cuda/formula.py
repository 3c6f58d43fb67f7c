"""Derived functions of numbers on CUDA arrays of one size: results element by element, and sums in one pass.

A block takes a tile of fixed size, whatever the GPU, and adds up in two parts (`nbgrad.cuda.reduce`); one block more
adds up the tiles: the same bits on every run. Straight code goes line by line of 16 bytes, as `nbgrad.cuda.elementwise`
does; with a loop in it, which takes longer than memory does, element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbgrad.cuda.device import BLOCK, WARP, cuda, kernel, launch, module
from nbgrad.cuda.device.intrinsics import block, block_size, load, store, thread
from nbgrad.cuda.device.lines import size_of
from nbgrad.cuda.elementwise import lead_of, numbers
from nbgrad.cuda.losses import finished, no_divisor
from nbgrad.cuda.reduce import add, group_sum
from nbgrad.jit import scalar

__all__ = ["Formula"]

#: Lines of a tile for each thread.
PER_THREAD = 2


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
        results = [f"y{k}" for k in range(self.kept + self.sums)]
        loads = [f"x{k}" for k in range(self.inputs)]

        def added(terms: list[str]) -> list[str]:
            """Those for each sum are added to its two parts."""
            return [f"            h{k}, l{k} = add(h{k}, l{k}, {term}, T(0))" for k, term in enumerate(terms)]

        def each(result: str) -> list[str]:
            return [f"{result}_{lane}" for lane in range(width)]

        by_lines = [
            "    for k in range(PER_THREAD):",
            "        i = (block() * PER_THREAD + k) * threads + thread()",
            "        if i < lines:",
            "            i = lead + i * WIDTH",
            *(f"            {x} = load({a}, i)" for x, a in zip(loads, inputs, strict=True)),
            *(
                f"            {', '.join(f'{y}_{lane}' for y in results)} = "
                f"f({', '.join(f'{x}[{lane}]' for x in loads)}, *parameters)"
                for lane in range(width)
            ),
            *(f"            store({o}, i, ({', '.join(each(y))}))" for o, y in zip(outs, results, strict=False)),
            *added([f"({') + ('.join(' + '.join(each(y)[j : j + 2]) for j in range(0, width, 2))})"
                    for y in results[self.kept :]]),
        ]  # fmt: skip
        lines = [
            f"def run({', '.join([*inputs, *outs, *partials, 'lead', 'parameters'])}):",
            *(["    room = cuda.shared.array(WARP, T)"] if self.sums else []),
            *(f"    h{k}, l{k} = T(0), T(0)" for k in range(self.sums)),
            "    lines, threads = (a0.size - lead) // WIDTH, block_size()",
            *(by_lines if self.vectorized else []),
            "    for k in range(PER_THREAD * WIDTH):",  # what is in no line, at most so much for each thread
            "        i = (block() * PER_THREAD * WIDTH + k) * threads + thread()",
            "        if i < a0.size - lines * WIDTH:",
            "            i = i if i < lead else i + lines * WIDTH",
            f"            {', '.join(results)} = f({', '.join(f'{a}[i]' for a in inputs)}, *parameters)",
            *(f"            {o}[i] = {y}" for o, y in zip(outs, results, strict=False)),
            *added(results[self.kept :]),
        ]
        for k in range(self.sums):
            lines += [
                f"    h{k}, l{k} = group_sum(h{k}, l{k}, threads, room)",
                "    if thread() == 0:",
                f"        p{k}[2 * block()], p{k}[2 * block() + 1] = h{k}, l{k}",
            ]
        scope = {
            "f": self.f, "T": dtype.type, "PER_THREAD": PER_THREAD, "WIDTH": width, "WARP": WARP, "cuda": cuda,
            "block": block, "block_size": block_size, "thread": thread, "load": load, "store": store, "add": add,
            "group_sum": group_sum,
        }  # fmt: skip
        exec(compile("\n".join(lines), f"<kernel of {self.name}>", "exec"), scope)
        return kernel(scope["run"])
