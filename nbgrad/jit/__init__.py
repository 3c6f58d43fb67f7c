"""Everything that touches Numba or LLVM on the CPU; what is private to them is touched in this room only.

`nbgrad.jit.options`: how functions are compiled; `nbgrad.jit.loop`: loops over arrays; `nbgrad.jit.modes`: serial ones.
Names that Numba does not document are looked for in `nbgrad.jit.options`, `nbgrad.jit.parts`, `nbgrad.jit.start`,
`nbgrad.jit.cache` and `nbgrad.jit.locks`, each with what is missing upstream beside it. Where a version of Numba lacks
one, it compiles plainly, with its own cache. (Intrinsics are written with llvmlite.ir and what Numba hands them, its
low-level interface for extensions.)
"""

from nbgrad.jit.loop import Loop
from nbgrad.jit.modes import is_serial, serial_loops
from nbgrad.jit.options import array_overload, outlined, overload_scalar, reassociating, scalar
from nbgrad.jit.sources import source_hash

__all__ = [
    "Loop", "array_overload", "is_serial", "outlined", "overload_scalar", "reassociating", "scalar", "serial_loops",
    "source_hash",
]  # fmt: skip
