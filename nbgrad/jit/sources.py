"""A hash of the sources of nbgrad's compiled code, which becomes a part of each loop's name in the disk cache.

Numba itself looks only at the file that defines the loop: after an edit of a formula in another file it would run the
old machine code. What a loop elsewhere leads to, a user's formula too, is in its own key (`nbgrad.jit.cache`).
"""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

__all__ = ["COMPILED_SOURCES", "is_hashed", "source_hash"]

#: The folders of which every file is hashed: Numba finds what they define (overloads, intrinsics) without a name in the
#: code that could be followed.
COMPILED_SOURCES = ("jit", "elementary", "formulas", "cpu", "cuda")

_ROOT = Path(__file__).parent.parent
_INSIDE = tuple(str(_ROOT / entry) + os.sep for entry in COMPILED_SOURCES)


@functools.cache
def source_hash() -> str:
    """A hash of every file in the folders of `COMPILED_SOURCES`."""
    digest = hashlib.sha256()
    for entry in COMPILED_SOURCES:
        for file in sorted((_ROOT / entry).rglob("*.py")):
            digest.update(file.relative_to(_ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def is_hashed(file: str) -> bool:
    """Whether `source_hash` is over this file, too."""
    return file.startswith(_INSIDE)


source_hash()  # now, not at the first compilation: a file may be edited while the process runs the old code
