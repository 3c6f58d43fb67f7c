"""Reading images from files of several kinds, for a trained model that wants one size of them."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from nbgrad.datasets import read_idx

__all__ = ["read_images"]


def read_images(
    path: str | os.PathLike[str], height: int, width: int, max_value: int
) -> tuple[np.ndarray, int]:
    """The images in a file as (uint8 array of shape (n, height, width), value of a white pixel).

    The kind of file is told by its content, not by its name: IDX (also gzip-compressed) and `.npy` hold one
    image (height, width) or many (n, height, width) of integers 0..max_value; PNG holds one of at most 8 bits
    a channel, where white is 255 whatever `max_value` is: colours become grey, transparent pixels black. As
    in MNIST the digit is white on black. Nothing is resized.

    Raises OSError where the file cannot be read, ValueError, naming it, where it is not such a file or the
    size is another.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(folder + "/a.npy", np.zeros((8, 8), dtype=np.uint8))
    ...     images, white = read_images(folder + "/a.npy", 8, 8, 16)
    >>> images.shape, white
    ((1, 8, 8), 16)
    """
    with open(path, "rb") as file:
        magic = file.read(8)
    if magic == b"\x89PNG\r\n\x1a\n":
        return _read_png(path, height, width)[np.newaxis], 255
    if magic.startswith(b"\x93NUMPY"):
        images = _read_npy(path)
    elif magic.startswith((b"\x1f\x8b", b"\0\0")):
        images = read_idx(path)
    else:
        raise ValueError(f"{path}: expected an IDX, PNG or .npy file, got something else")
    if images.dtype.kind not in "iu":
        raise ValueError(f"{path}: expected integers 0..{max_value}, got {images.dtype}")
    if images.shape[-2:] != (height, width) or images.ndim > 3:
        raise ValueError(f"{path}: expected images of {height}x{width} pixels, got shape {images.shape}")
    if not images.size:
        raise ValueError(f"{path}: expected at least one image, got none")
    if images.min() < 0 or images.max() > max_value:
        raise ValueError(f"{path}: expected pixels 0..{max_value}, got {images.min()}..{images.max()}")
    return images.astype(np.uint8, copy=False).reshape(-1, height, width), max_value


def _read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    try:  # mapped, so that a header which claims a terabyte is found out instead of believed
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # NumPy parses the header as Python: tokenize.TokenError, SyntaxError, ...
        why = str(error).partition("\n")[0]
        raise ValueError(f"{path}: expected a .npy file, got a damaged one ({why})") from None


def _read_png(path: str | os.PathLike[str], height: int, width: int) -> np.ndarray:
    from PIL import Image  # matplotlib brings it

    pixels = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=["PNG"]) as image:
                size, mode = image.size, image.mode
                # Asked before the pixels are unpacked; and 16 bits are refused: convert would clip them.
                if size == (width, height) and mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
                    black = Image.new("RGBA", size, (0, 0, 0, 255))
                    pixels = np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("L"))
    except Exception as error:  # PIL's are OSError, SyntaxError, ValueError, DecompressionBombError, ...
        raise ValueError(f"{path}: expected a PNG file, got a damaged one ({error})") from None
    if size != (width, height):
        raise ValueError(f"{path}: expected an image of {height}x{width} pixels, got {size[1]}x{size[0]}")
    if pixels is None:
        raise ValueError(f"{path}: expected 8 bits a channel, got a PNG of mode {mode}")
    return pixels


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
