"""What Numba imports when it is first used, without the half of it that nothing here needs."""

from __future__ import annotations

import importlib.util

__all__ = ["start"]


def start() -> None:
    """To be called, under the compiler's lock, before anything is compiled or loaded.

    Numba asks whether there is a BLAS by importing SciPy's, and with it scipy.linalg: 0.13 of the 0.27 s of a process's
    first call. What needs a BLAS (``np.dot`` in compiled code) asks once more, when it is compiled.
    """
    try:
        from numba.np import linalg

        ensure_blas = linalg.ensure_blas
    except (ImportError, AttributeError):  # private to Numba
        return
    linalg.ensure_blas = _scipy_is_there
    try:
        from numba.np import arraymath

        arraymath.ensure_blas = ensure_blas
    except ImportError:
        pass
    finally:
        linalg.ensure_blas = ensure_blas


def _scipy_is_there() -> None:
    if importlib.util.find_spec("scipy") is None:
        raise ImportError("scipy")
