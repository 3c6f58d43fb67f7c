"""What a launch hands to a kernel that Numba has compiled: the numbers of its parameters, without Numba.

Numba's own launch asks for the type of each argument, makes a view of each array and an object of each number: 100 µs
where the driver takes 3. Here the arguments' numbers are packed into memory that stays (with CuPy's `Function`, which
makes an object of each, a kernel of two arrays took 8 µs), and go to the driver through CuPy.
"""

from __future__ import annotations

import struct
import threading
from typing import Any

import numpy as np

__all__ = ["Loaded", "flattened", "signature"]

#: Python's and NumPy's numbers that may be arguments.
NUMBERS = frozenset((bool, int, float, *(np.dtype(letter).type for letter in "?bBhHiIlLqQfd")))


def flattened(arguments: Any, kinds: list[Any], numbers: list[Any]) -> None:
    """Add to ``kinds`` what decides on the arguments' types: of a number its type, of a vector its dtype, of another
    array (dtype, ndim, whether it is in C order), of a tuple those within; to ``numbers`` what the parameters are.

    An array is to Numba (0, 0, size, size of an item, address, *shape, *strides).
    """
    for value in arguments:
        kind = type(value)
        if kind in NUMBERS:
            kinds.append(kind)
            numbers.append(value)
        elif kind is tuple:
            within: list[Any] = []
            flattened(value, within, numbers)
            kinds.append(tuple(within))
        else:
            dtype, size, strides = value.dtype, value.size, value.strides
            item = dtype.itemsize
            if len(strides) == 1 and (strides[0] == item or size < 2):
                kinds.append(dtype)
                numbers += 0, 0, size, item, value.data.ptr, size, item
            else:
                kinds.append((dtype, len(strides), bool(value.flags.c_contiguous)))
                numbers += 0, 0, size, item, value.data.ptr, *value.shape, *strides


def signature(kinds: Any) -> tuple[tuple[Any, ...], str]:
    """Numba's types for these kinds, and for `struct` the letters of their numbers."""
    from numba import types
    from numba.np.numpy_support import from_dtype

    made, letters = [], ""
    for kind in kinds:
        if isinstance(kind, tuple) and not (kind and isinstance(kind[-1], bool)):
            inner, within = signature(kind)
            made.append(types.BaseTuple.from_types(inner))
            letters += within
        elif isinstance(kind, type):
            made.append(from_dtype(np.dtype(kind)))
            letters += np.dtype(kind).char
        else:
            dtype, ndim, in_order = kind if isinstance(kind, tuple) else (kind, 1, True)
            made.append(types.Array(from_dtype(dtype), ndim, "C" if in_order else "A"))
            letters += "q" * (5 + 2 * ndim)
    return tuple(made), letters


class Loaded:
    """A kernel on one GPU: ``function``, CuPy's, whose parameters have these ``letters``."""

    def __init__(self, function: Any, letters: str, launch: Any) -> None:
        self.function, self._pointer, self._launch = function, function.ptr, launch  # the function keeps the code
        self._pack = struct.Struct(letters).pack_into
        self._memory: Any = np.zeros(struct.calcsize(letters) + 8, np.uint8)
        ends = (struct.calcsize(letters[: k + 1]) for k in range(len(letters)))
        places = [end - struct.calcsize(letter) for end, letter in zip(ends, letters, strict=True)]
        self._places = np.array([*places, 0], np.uintp) + np.uintp(self._memory.ctypes.data)
        self._address = self._places.ctypes.data
        self._alone = threading.Lock()

    def __call__(self, blocks: int, threads: int, stream: int, numbers: list[Any]) -> None:
        with self._alone:  # the driver copies them before it returns
            self._pack(self._memory, 0, *numbers)
            self._launch(self._pointer, blocks, 1, 1, threads, 1, 1, 0, stream, self._address, 0)
