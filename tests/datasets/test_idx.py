"""nbgrad.datasets.read_idx and write_idx: every array comes back, nothing but a whole IDX file is read."""

import gzip
import hashlib
import re
import struct
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nbgrad.datasets import read_idx, write_idx

DTYPES = ["u1", "i1", "<i2", ">i2", "<i4", ">i4", "<f4", ">f4", "<f8", ">f8"]
ARRAYS = hnp.arrays(st.sampled_from(DTYPES), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))

# Written down by hand: big-endian int16, two dimensions, 2×3.
BYTES = b"\0\0\x0b\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + b"\0\x01\0\x02\0\x03\xff\xff\x80\0\x7f\xff"
ARRAY = np.array([[1, 2, 3], [-1, -32768, 32767]], dtype=np.int16)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("idx") / "file"


def read(path, content):
    path.write_bytes(content)
    return read_idx(path)


def assert_refused(path, content, message=""):
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"^{re.escape(str(path))}: expected .*{message}"):
        read_idx(path)


def header(code, *shape):
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, code, len(shape), *shape)


def test_the_format_itself(path):
    np.testing.assert_array_equal(read(path, BYTES), ARRAY, strict=True)
    write_idx(path, ARRAY)
    assert path.read_bytes() == BYTES
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    for name, code in codes.items():
        write_idx(path, np.zeros((), dtype=name))
        assert path.read_bytes() == header(code) + bytes(np.dtype(name).itemsize)


@given(ARRAYS, st.booleans())
def test_every_array_comes_back(path, array, compressed):
    target = path.with_suffix(".gz") if compressed else path
    write_idx(target, array)
    assert (target.read_bytes()[:2] == b"\x1f\x8b") == compressed
    again = read_idx(target)
    assert again.dtype == array.dtype.newbyteorder("=") and again.dtype.isnative
    assert again.shape == array.shape
    assert again.tobytes() == array.astype(again.dtype).tobytes()  # NaN's bits and -0.0 too
    assert again.flags.writeable


@pytest.mark.parametrize(
    "view",
    [np.asfortranarray(ARRAY), ARRAY[::-1, ::2], np.broadcast_to(ARRAY, (2, 2, 3)), ARRAY.T, ARRAY.tolist()],
)
def test_any_memory_layout_is_written(path, view):
    view = np.asarray(view, dtype=np.int16)
    write_idx(path, view)
    np.testing.assert_array_equal(read_idx(path), view, strict=True)


def test_compression_is_recognised_by_content_and_repeatable(path, tmp_path):
    write_idx(tmp_path / "one.gz", ARRAY)
    write_idx(tmp_path / "another.gz", ARRAY)
    compressed = (tmp_path / "one.gz").read_bytes()
    assert compressed == (tmp_path / "another.gz").read_bytes()
    assert compressed[4:8] == bytes(4)  # the time in the gzip header
    assert gzip.decompress(compressed) == BYTES
    np.testing.assert_array_equal(read(path, compressed), ARRAY)
    np.testing.assert_array_equal(read(path.with_suffix(".gz"), BYTES), ARRAY)
    np.testing.assert_array_equal(read(path, gzip.compress(BYTES[:5], mtime=0) + gzip.compress(BYTES[5:], mtime=0)), ARRAY)


def test_the_checksum_is_of_the_uncompressed_bytes(path):
    checksum = hashlib.sha256(BYTES).hexdigest()
    for content in (BYTES, gzip.compress(BYTES, mtime=0)):
        path.write_bytes(content)
        np.testing.assert_array_equal(read_idx(path, sha256=checksum), ARRAY)
        with pytest.raises(ValueError, match=f"expected the uncompressed SHA-256 {'0' * 64}, got {checksum}"):
            read_idx(path, sha256="0" * 64)


@given(ARRAYS, st.data())
@settings(max_examples=20)
@example(ARRAY, None)
def test_every_truncation_and_extension_is_refused(path, array, data):
    write_idx(path, array)
    content = path.read_bytes()
    tail = b"\0" if data is None else data.draw(st.binary(min_size=1, max_size=5))
    assert_refused(path, content + tail, "trailing bytes")
    assert_refused(path, gzip.compress(content + tail, mtime=0), "trailing bytes")
    for end in range(len(content)):
        assert_refused(path, content[:end])
        assert_refused(path, gzip.compress(content[:end], mtime=0))
    compressed = gzip.compress(content, mtime=0)
    for end in range(len(compressed)):
        assert_refused(path, compressed[:end])
    assert_refused(path, compressed + b"x" + tail, "damaged")


def test_every_corruption_of_a_header_byte_is_refused_or_seen(path):
    for position in range(12):
        for value in set(range(256)) - {BYTES[position]}:
            path.write_bytes(BYTES[:position] + bytes([value]) + BYTES[position + 1 :])
            try:
                array = read_idx(path)
            except ValueError as error:
                assert str(error).startswith(f"{path}: expected ")
            else:
                assert (array.dtype, array.shape) != (ARRAY.dtype, ARRAY.shape)


def test_every_corruption_of_a_compressed_byte_is_refused_or_harmless(path):
    compressed = gzip.compress(BYTES, mtime=0)
    for position in range(len(compressed)):
        for value in range(0, 256, 3):
            path.write_bytes(compressed[:position] + bytes([value]) + compressed[position + 1 :])
            try:
                array = read_idx(path)
            except ValueError as error:
                assert str(error).startswith(f"{path}: expected ")
            else:  # the gzip header's time, operating system and the like
                np.testing.assert_array_equal(array, ARRAY, strict=True)


@given(st.binary(max_size=64))
def test_foreign_bytes_are_refused(path, content):
    try:
        array = read(path, content)
    except ValueError as error:
        assert str(error).startswith(f"{path}: expected ")
    else:
        write_idx(path, array)
        assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "4 bytes of the magic number, got 0"),
        (b"\x89PNG\r\n", r"two zero bytes at its beginning, got b'\\x89P'"),
        (header(0x0A, 1) + b"\0", "type code of 8, 9, 11, 12, 13 or 14, got 10"),
        (header(8, 2, 3)[:9], "8 bytes of the dimensions, got 5"),
        (header(8, 2, 3) + bytes(5), "6 bytes of data, got 5"),
        (header(8, 200) + bytes(9), r"uint8 data of shape \(200,\), got fewer bytes"),
        (header(8, *[1] * 65) + b"\0", "at most 64 dimensions, got 65"),
        (header(8, *[2**32 - 1] * 2), "got fewer bytes"),
        (header(14, *[2**32 - 1] * 64), "got fewer bytes"),
        (header(8, 0, *[2**32 - 1] * 2), r"shape \(0, 4294967295, 4294967295\)"),
        (gzip.compress(header(8, 2**30), mtime=0), "got fewer bytes"),
        (gzip.compress(header(8, 10) + bytes(10**7), mtime=0), "nothing after the 10 bytes of data"),
        (gzip.compress(bytes(10**7), mtime=0), "type code of 8, 9, 11, 12, 13 or 14, got 0"),
    ],
)
def test_the_message_and_the_memory_of_a_refusal(path, content, message):
    path.write_bytes(content)
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read_idx(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2e6


def test_as_many_dimensions_as_numpy_has(path):
    array = np.full([1] * 64, 7, dtype=np.uint8)
    write_idx(path, array)
    np.testing.assert_array_equal(read_idx(path), array, strict=True)


@pytest.mark.parametrize("dtype", ["?", "u2", "i8", "f2", "g", "c8", "O", "U3", "M8[s]", "u1,u1"])
def test_other_dtypes_are_refused_and_nothing_is_written(tmp_path, dtype):
    array = np.zeros(3, dtype=dtype)
    message = f"array: expected dtype uint8, int8, int16, int32, float32 or float64, got {array.dtype}"
    with pytest.raises(TypeError, match=re.escape(message)):
        write_idx(tmp_path / "file", array)
    assert not list(tmp_path.iterdir())


def test_a_dimension_that_the_header_cannot_hold_is_refused(path):
    message = r"array: expected every dimension below 2\*\*32, got shape \(4294967296,\)"
    with pytest.raises(ValueError, match=message):
        write_idx(path, np.broadcast_to(np.uint8(0), (2**32,)))


def test_a_file_that_is_not_there_is_an_oserror(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nothing")


def test_masks_are_refused(tmp_path):
    with pytest.raises(TypeError, match="array: expected an array without a mask"):
        write_idx(tmp_path / "labels", np.ma.masked_array(np.array([1, 2], np.uint8), [True, False]))
    assert not list(tmp_path.iterdir())
