"""The one switch: whose arrays are these, which plug-in answers?

A plug-in is a folder with a ``place.py``, whose object checks and converts the arrays of one call and runs its loops:
`nbgrad.cpu.place`, `nbgrad.cuda.place`, with the same methods. What stands above asks for it and knows no device.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.arrays import on_device
from nbgrad.cpu.place import CPU

__all__ = ["CPU", "place_of"]

_ndarray = np.ndarray


def place_of(**values: Any) -> Any:
    """Where a call with these array arguments is computed (by name; None where one is absent): to be entered, because
    on a GPU that, and the caller's stream, are the current ones within. TypeError where they lie in different places.

    CUDA's plug-in is loaded when its first array comes.
    """
    for value in values.values():
        if type(value) is not _ndarray and value is not None and on_device(value):
            from nbgrad.cuda.place import Place

            return Place(values)
    return CPU
