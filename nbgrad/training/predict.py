"""Reading images from files of several kinds, for a trained model that wants one size of them."""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nbgrad.datasets.files import GZIP_MAGIC, MOST_UNPACKED, Source, read_exactly, reason
from nbgrad.datasets.idx import read_idx_from
from nbgrad.training.png import SIGNATURE, read_png

__all__ = ["read_images"]


def read_images(path: str | os.PathLike[str], height: int, width: int, max_value: int) -> tuple[np.ndarray, int]:
    """The images in a file as (uint8 array of shape (n, height, width), value of a white pixel).

    The kind of file is told by its content, not by its name: IDX (also gzip-compressed) and `.npy` hold one
    image (height, width) or many (n, height, width) of integers 0..max_value; PNG holds one of at most 8 bits
    a channel, where white is 255 whatever `max_value` is: colours become grey, transparent pixels black. As
    in MNIST the digit is white on black. Nothing is resized.

    A pipe will do as well. Kind, size and shape are looked at before the pixels are read; compressed or from a pipe
    they may be 256 MiB, and a PNG file may have twice as many bytes as its pixels and 64 KiB.

    Raises OSError where the file cannot be read, ValueError, naming it, where it is not such a file or the
    size is another.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/a.npy", np.zeros((8, 8), dtype=np.uint8))
    ...     images, white = read_images(folder + "/a.npy", 8, 8, 16)
    >>> images.shape, white
    ((1, 8, 8), 16)
    """

    def check(dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        if dtype.kind not in "iu":
            raise ValueError(f"{path}: expected integers 0..{max_value}, got {dtype}")
        if shape[-2:] != (height, width) or len(shape) > 3:
            raise ValueError(f"{path}: expected images of {height}x{width} pixels, got shape {shape}")
        if 0 in shape:
            raise ValueError(f"{path}: expected at least one image, got none")

    with Source(path) as source:
        magic = source.peek(8)
        if magic == SIGNATURE:
            return read_png(source, height, width)[np.newaxis], 255
        if magic.startswith(b"\x93NUMPY"):
            images = _read_npy(source, check)
        elif magic.startswith((GZIP_MAGIC, b"\0\0")):
            images = read_idx_from(source, check=check, most=MOST_UNPACKED)
        else:
            raise ValueError(f"{path}: expected an IDX, PNG or .npy file, got something else")
    if images.min() < 0 or images.max() > max_value:
        raise ValueError(f"{path}: expected pixels 0..{max_value}, got {images.min()}..{images.max()}")
    return images.astype(np.uint8, copy=False).reshape(-1, height, width), max_value


_MOST_HEADER = 10_000  # bytes of a .npy file's header, as NumPy's own limit


def _read_npy(source: Source, check: Callable[[np.dtype[Any], tuple[int, ...]], None]) -> np.ndarray:
    """The array of a .npy file. Not mapped: of a file that is cut meanwhile the mapped pages are gone, and the process
    is killed.
    """
    path = source.path
    try:  # NumPy parses the header as Python: tokenize.TokenError, SyntaxError, ...
        major = source.peek(7)[6]
        length_size = 2 if major == 1 else 4
        start = source.read(8 + length_size)
        length = int.from_bytes(start[8:], "little")
        if length > _MOST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        file = io.BytesIO(start[8:] + source.read(length))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about headers of Python 2
            parse = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
            shape, fortran, dtype = parse(file)
        if major > 3 or min(shape, default=0) < 0 or dtype.hasobject:
            raise ValueError(f"version {major}, shape {shape}, {dtype}")
    except Exception as error:
        raise ValueError(f"{path}: expected a .npy file, got a damaged one ({reason(error)})") from None
    check(dtype, shape)
    size = math.prod(shape) * dtype.itemsize
    if source.size is None and size > MOST_UNPACKED:
        raise ValueError(f"{path}: expected at most {MOST_UNPACKED} bytes from a pipe, got {size}")
    if source.size is not None and size > source.size:
        raise ValueError(f"{path}: expected {dtype} data of shape {shape}, got fewer bytes")
    data = read_exactly(source.read, path, size, "data").view(dtype)
    return data.reshape(shape[::-1]).T if fortran else data.reshape(shape)


def mostly_white(images: np.ndarray, white: int) -> bool:
    """Whether the images look like black digits on white: of MNIST's none is brighter than half.

    >>> mostly_white(np.full((1, 8, 8), 200), 255)
    True
    """
    return float(np.mean(images)) > 0.5 * white


def name_of(path: str | os.PathLike[str], index: int, count: int) -> str:
    """What an image is called in the output: its file, and its number where the file holds several.

    >>> name_of("a/b.npy", 3, 10)
    'a/b.npy[3]'
    """
    return f"{Path(path)}[{index}]" if count > 1 else str(Path(path))
