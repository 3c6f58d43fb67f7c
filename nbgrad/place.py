"""The one switch: whose arrays are these, which plug-in answers?

A plug-in is a folder, `nbgrad.cpu`, `nbgrad.cuda`: the same modules with the same names stand above the switch. Their
``place.py`` has the object that checks and converts the arrays of one call and runs its loops. What stands above asks
here, and knows no device.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad import cpu
from nbgrad.arrays import ON_DEVICE, on_device
from nbgrad.cpu.place import CPU

__all__ = ["CPU", "place_of", "plug_in", "plug_in_of"]

_ndarray = np.ndarray


def place_of(**values: Any) -> Any:
    """Where a call with these array arguments is computed (by name; None where one is absent): to be entered, because
    on a GPU that, and the caller's stream, are the current ones within. TypeError where they lie in different places.

    CUDA's plug-in is loaded when its first array comes.
    """
    for value in values.values():
        if type(value) is not _ndarray and value is not None and on_device(value):
            return plug_in_of(*values.values()).place.Place(values)
    return CPU


def plug_in_of(*arrays: Any) -> Any:
    """The plug-in of the first array that brings its own; else CUDA's, loaded when it is first asked for."""
    for array in arrays:
        kind = type(array)
        if (
            kind is not _ndarray
            and kind not in ON_DEVICE
            and (own := getattr(array, "__nbgrad_plug_in__", None)) is not None
        ):
            return own
    return _cuda()


def plug_in(device: str) -> Any:
    """The plug-in for a device by its name, "cpu", "cuda:0" and so on. CUDA's is loaded when it is first asked for."""
    return _cuda() if device.startswith("cuda") else cpu


@functools.cache
def _cuda() -> Any:
    from nbgrad import cuda

    return cuda
