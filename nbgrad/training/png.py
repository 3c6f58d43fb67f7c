"""PNG files of one size, from strangers: bounded, whole, and as grey pixels."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterator

import numpy as np

from nbgrad.datasets.files import Source, reason

__all__ = ["SIGNATURE", "read_png"]

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_OTHER_CHUNKS = 1 << 16  # bytes for what is in the file beside the pixels: a colour profile, texts
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # by the header's type of colour


def read_png(source: Source, height: int, width: int) -> np.ndarray:
    """The picture as a uint8 array: colours become grey, transparent pixels black. See `predict.read_images`."""
    most = 2 * height * (4 * width + 1) + _OTHER_CHUNKS
    data = source.read(most + 1)
    if len(data) > most:
        size = int.from_bytes(data[20:24], "big"), int.from_bytes(data[16:20], "big")
        if data[12:16] == b"IHDR" and size != (height, width):
            raise _wrong_size(source, height, width, *size)
        raise ValueError(f"{source.path}: expected a PNG file of at most {most} bytes, got a larger one")
    return _decode(data, source, height, width)


def _wrong_size(source: Source, height: int, width: int, *got: int) -> ValueError:
    return ValueError(f"{source.path}: expected an image of {height}x{width} pixels, got {got[0]}x{got[1]}")


def _decode(data: bytes, source: Source, height: int, width: int) -> np.ndarray:
    from PIL import Image  # matplotlib brings it

    pixels = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
                size, mode = image.size, image.mode
                # Asked before the pixels are unpacked; and 16 bits are refused: convert would clip them.
                if size == (width, height) and mode in ("1", "L", "LA", "P", "RGB", "RGBA"):
                    black = Image.new("RGBA", size, (0, 0, 0, 255))
                    pixels = np.asarray(Image.alpha_composite(black, image.convert("RGBA")).convert("L"))
                    _check_whole(data)
    except Exception as error:  # PIL's are OSError, SyntaxError, ValueError, DecompressionBombError, ...
        raise ValueError(f"{source.path}: expected a PNG file, got a damaged one ({reason(error)})") from None
    if size != (width, height):
        raise _wrong_size(source, height, width, size[1], size[0])
    if pixels is None:
        raise ValueError(f"{source.path}: expected 8 bits a channel, got a PNG of mode {mode}")
    return pixels


def _check_whole(data: bytes) -> None:
    """ValueError where there are fewer pixels than the header says: PIL makes black ones of those that are missing."""
    header = data[16:29]
    width, height = int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")
    bits = header[8] * _CHANNELS[header[9]]
    expected = sum(rows * (1 + -(-columns * bits // 8)) for rows, columns in _passes(height, width, header[12]))
    packed = zlib.decompressobj()
    pixels = packed.decompress(b"".join(_pixel_chunks(data)), expected)
    if len(pixels) < expected:
        raise ValueError(f"{expected} bytes of pixels expected, {len(pixels)} there")


def _passes(height: int, width: int, interlaced: int) -> Iterator[tuple[int, int]]:
    """Rows and columns of the pictures that lie one behind the other: one, or the seven of Adam7."""
    if not interlaced:
        yield height, width
        return
    for y, x, down, right in (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1),
    ):  # fmt: skip
        rows, columns = len(range(y, height, down)), len(range(x, width, right))
        if rows and columns:
            yield rows, columns


def _pixel_chunks(data: bytes) -> Iterator[bytes]:
    at = len(SIGNATURE)
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + size]
        at += size + 12
