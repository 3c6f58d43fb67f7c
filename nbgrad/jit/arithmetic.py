"""The state of a thread's floating-point arithmetic. The processor keeps it for each thread, and other libraries change
it: `torch.set_flush_denormal`, and every library compiled with -ffast-math, in the thread that loads it.
"""

from __future__ import annotations

__all__ = ["arithmetic"]

# Variables, so that it is not Python's compiler that computes with them.
_SMALLEST_NORMAL, _HALF_ULP = 2.0**-1022, 2.0**-53


def arithmetic() -> str:
    """What is not the default in this thread: that subnormal numbers are kept, and results rounded to the nearest
    number. Empty where all is. (Python's own floats tell it, in 0.05 µs.)

    >>> arithmetic()
    ''
    """
    if _SMALLEST_NORMAL * 0.5 == 0.0:
        return "subnormal numbers are flushed to 0"
    return "" if 1.0 + _HALF_ULP == 1.0 == 1.0 - 0.5 * _HALF_ULP else "results are not rounded to the nearest number"
