"""THE one place that imports Numba's CUDA target, and mends what stands in the way of it there.

Imported when the first CUDA array comes, never by ``import nbgrad``.
"""

from __future__ import annotations

import importlib.util
import sys
import warnings
from typing import Any

import numpy as np
from numba import config

__all__ = ["cuda"]


def _imported() -> Any:
    """``numba.cuda``, whose sources are older than NumPy 2.5: they name ``np.row_stack``, which is gone there (lent to
    them for the import), and warn of timedelta's generic unit.
    """
    lent = not hasattr(np, "row_stack")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        if lent:
            np.row_stack = np.vstack  # type: ignore[attr-defined]  # noqa: NPY201
        try:
            from numba import cuda

            if importlib.util.find_spec("numba.cuda.np"):  # numba-cuda's, not Numba's own target nor the simulator
                importlib.import_module("numba.cuda.np.arrayobj")
        finally:
            if lent:
                del np.row_stack  # type: ignore[attr-defined]  # noqa: NPY201
    return cuda


def _race_free() -> None:
    """Mend the simulator's ``cuda.shared.array``, which asks whether there is an array for the line that called it, and
    then makes it: two of its threads that ask at once get two, and read memory that nobody has written. (One test of
    sixty failed where six such processes ran side by side.)
    """
    from numba.core.types import Type
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    dynamic = FakeCUDAShared.array

    def array(self: Any, shape: Any, dtype: Any) -> Any:
        if shape == 0:
            return dynamic(self, shape, dtype)
        caller = sys._getframe(1)
        made = np.empty(shape, as_dtype(dtype) if isinstance(dtype, Type) else dtype)
        return self._allocations.setdefault((caller.f_code, caller.f_lineno), made)

    FakeCUDAShared.array = array


cuda = _imported()
if config.ENABLE_CUDASIM:
    _race_free()
