"""THE one place that imports Numba's CUDA target, and mends what stands in the way of it there.

Imported when the first CUDA array comes, never by ``import nbgrad``.
"""

from __future__ import annotations

import importlib.util
import warnings
from typing import Any

import numpy as np

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


cuda = _imported()
