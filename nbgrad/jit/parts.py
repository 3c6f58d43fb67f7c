"""Functions that are compiled into those that call them, and nowhere else.

Numba makes a library of each function that it compiles: optimised, with machine code. What calls the function takes the
library's instructions in, optimises them once more, and has no use for its machine code; where helpers call helpers,
LLVM went over the same loops four times. A part's library is its instructions alone, of which the whole is made: the
first cross_entropy of a cold cache takes two thirds of the time so, and its loops are no slower (those over long rows
15 % faster: they are optimised once, where all is known).

And while Numba compiles, Python collects no garbage: it would look through all that there is to find next to nothing.
"""

from __future__ import annotations

import gc
from typing import Any

# Private to Numba.
try:
    from numba.core.codegen import JITCodeLibrary, JITCPUCodegen
    from numba.core.compiler import Compiler
except ImportError:
    JITCodeLibrary = JITCPUCodegen = Compiler = object

__all__ = ["PART", "WHOLE"]


class _Part(JITCodeLibrary):
    """Instructions, as they are before any optimisation across functions."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        self._ensure_finalized()
        return 0

    # Numba writes to a function's machine code where its Python objects are. A part has neither.

    @property
    def codegen(self) -> Any:
        return self

    def set_env(self, name: str, env: Any) -> None:
        pass


class _Whole(Compiler):
    def _compile_core(self) -> Any:
        if not gc.isenabled():
            return super()._compile_core()
        gc.disable()
        try:
            return super()._compile_core()
        finally:
            gc.enable()


class _PartCompiler(_Whole):
    def define_pipelines(self) -> Any:
        if self.state.library is None:
            self.state.library = _Part(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


_NEEDED = ("_optimize_final_module", "_finalize_final_module", "_finalize_dynamic_globals", "codegen")
_known = all(hasattr(JITCodeLibrary, name) for name in _NEEDED) and hasattr(JITCPUCodegen, "set_env")

#: Options of compilation, beside others: of functions that compiled code calls, and of those that Python calls. A
#: version of Numba that has these names otherwise compiles the one like the other.
PART: dict[str, Any] = {"pipeline_class": _PartCompiler} if _known else {}
WHOLE: dict[str, Any] = {"pipeline_class": _Whole} if Compiler is not object else {}
