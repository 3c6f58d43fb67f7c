"""Derived functions of numbers on CUDA arrays of one size: results element by element, and sums in one pass.

A block takes a tile of fixed size, whatever the GPU, and adds up in two parts (`nbgrad.cuda.reduce`); one block more
adds up the tiles: the same bits on every run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nbgrad.cuda.device import BLOCK, WARP, cuda, kernel, launch, module
from nbgrad.cuda.device.intrinsics import block, block_size, thread
from nbgrad.cuda.elementwise import numbers
from nbgrad.cuda.losses import finished, no_divisor
from nbgrad.cuda.reduce import add, group_sum
from nbgrad.jit import scalar

__all__ = ["Formula"]

#: Elements of a tile for each thread.
PER_THREAD = 8


class Formula:
    """``formula(size, inputs, outs, parameters)``: outs[k][i] = the k-th number that f(inputs[0][i], ..., *parameters)
    returns; of those beyond ``kept`` the sums are returned, arrays of no dimension.
    """

    def __init__(self, f: Callable[..., Any], name: str, inputs: int, kept: int, sums: int, vectorized: bool) -> None:
        self.f, self.name, self.inputs, self.kept, self.sums = scalar(f), name, inputs, kept, sums
        self._kernels: dict[Any, Any] = {}

    def __call__(self, size: int, inputs: Any, outs: Any, parameters: tuple[Any, ...]) -> list[Any]:
        dtype = inputs[0].dtype
        compiled = self._kernels.get((dtype, len(parameters)))
        if compiled is None:
            compiled = self._kernels[dtype, len(parameters)] = self._kernel(dtype)
        tiles = -(-size // (BLOCK * PER_THREAD))
        partials = [module().zeros(2 * tiles, dtype) for _ in range(self.sums)]
        given = tuple(p if isinstance(p, int) else numbers((p,), dtype)[0] for p in parameters)
        launch(compiled, tiles, BLOCK, *inputs, *outs, *partials, size, given)
        return [finished(p, 2, 1.0, no_divisor(dtype)) for p in partials]

    def _kernel(self, dtype: Any) -> Any:
        """Written out for so many arrays: each launch asks Python for the types of what a tuple holds."""
        inputs = [f"a{k}" for k in range(self.inputs)]
        outs = [f"o{k}" for k in range(self.kept)]
        partials = [f"p{k}" for k in range(self.sums)]
        results = [*(f"{out}[i]" for out in outs), *(f"r{k}" for k in range(self.sums))]
        room = ["    room = cuda.shared.array(WARP, T)"] if self.sums else []
        lines = [
            f"def run({', '.join([*inputs, *outs, *partials, 'size', 'parameters'])}):",
            *room,
            *(f"    h{k}, l{k} = T(0), T(0)" for k in range(self.sums)),
            "    i = block() * PER_THREAD * block_size() + thread()",
            "    for _ in range(PER_THREAD):",
            "        if i < size:",
            f"            {', '.join(results)} = f({', '.join(f'{a}[i]' for a in inputs)}, *parameters)",
            *(f"            h{k}, l{k} = add(h{k}, l{k}, r{k}, T(0))" for k in range(self.sums)),
            "        i += block_size()",
        ]
        for k in range(self.sums):
            lines += [
                f"    h{k}, l{k} = group_sum(h{k}, l{k}, block_size(), room)",
                "    if thread() == 0:",
                f"        p{k}[2 * block()], p{k}[2 * block() + 1] = h{k}, l{k}",
            ]
        scope = {
            "f": self.f, "T": dtype.type, "PER_THREAD": PER_THREAD, "WARP": WARP, "cuda": cuda,
            "block": block, "block_size": block_size, "thread": thread, "add": add, "group_sum": group_sum,
        }  # fmt: skip
        exec(compile("\n".join(lines), f"<kernel of {self.name}>", "exec"), scope)
        return kernel(scope["run"])
