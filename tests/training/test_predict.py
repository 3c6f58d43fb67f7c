import gzip
import zlib

import numpy as np
import pytest

from nbgrad.datasets import write_idx
from nbgrad.training.predict import mostly_white, name_of, read_images

Image = pytest.importorskip("PIL.Image")

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
IMAGES[0, 0, :2] = 0, 255


def read(path):
    return read_images(path, 5, 4, 255)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[1]], ids=["many", "one"])
@pytest.mark.parametrize("name", ["a.idx", "a.gz", "a.npy", "a.int64.npy", "a.fortran.npy"])
def test_arrays_in_every_kind_of_file(tmp_path, images, name):
    path = tmp_path / name
    if name.endswith("npy"):
        array = images.astype(np.int64) if "int64" in name else images
        np.save(path, np.asfortranarray(array) if "fortran" in name else array)
    else:
        write_idx(path, images)
    got, white = read(path)
    assert white == 255 and got.dtype == np.uint8
    np.testing.assert_array_equal(got, images.reshape(-1, 5, 4))


def test_the_kind_of_file_is_told_by_its_content(tmp_path):
    Image.fromarray(IMAGES[0]).save(tmp_path / "a", format="PNG")
    (tmp_path / "a.npy").write_bytes((tmp_path / "a").read_bytes())
    np.testing.assert_array_equal(read(tmp_path / "a.npy")[0][0], IMAGES[0])


def test_png_becomes_grey(tmp_path):
    path = tmp_path / "a.png"
    grey = Image.fromarray(IMAGES[0])
    for mode in ("L", "RGB", "LA", "RGBA"):
        grey.convert(mode).save(path)
        got, white = read_images(path, 5, 4, 16)  # the range of a PNG is its own, not the model's
        assert white == 255
        np.testing.assert_array_equal(got, IMAGES[:1])
    grey.quantize(256).save(path)
    assert np.abs(read(path)[0][0].astype(int) - IMAGES[0]).max() <= 4
    bits = IMAGES[0] > 127
    Image.fromarray(bits).save(path)
    np.testing.assert_array_equal(read(path)[0][0], 255 * bits)


def test_transparent_pixels_of_a_png_are_black(tmp_path):
    pixels = np.full((5, 4, 4), 255, np.uint8)
    pixels[2:, :, 3] = 0  # transparent white
    Image.fromarray(pixels, "RGBA").save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[0][0], [[255] * 4] * 2 + [[0] * 4] * 3)


def bad_files():
    buffer = {
        "text": b"hello",
        "empty": b"",
        "cut.png": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0",
        "cut.npy": b"\x93NUMPY\1\0",
        "odd.npy": b"\x93NUMPY\1\0\6\0{'a':(\n",
        "cut.idx": b"\0\0\x08\x03\0\0",
        "cut.gz": gzip.compress(b"\0\0\x08\x03")[:-3],
        "code.idx": b"\0\0\x07\x01\0\0\0\0",
        "zero": b"\0\0\0\0",
    }
    return list(buffer.items())


@pytest.mark.parametrize(("name", "content"), bad_files(), ids=[name for name, _ in bad_files()])
def test_foreign_files_are_refused_by_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=f"{name}: expected"):
        read(tmp_path / name)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (IMAGES / np.float32(255), "expected integers 0..255, got float32"),
        (IMAGES > 3, "expected integers 0..255, got bool"),
        (np.array([print], dtype=object), "a.npy: expected a .npy file, got a damaged one"),
        (IMAGES[:, :, :3], r"expected images of 5x4 pixels, got shape \(3, 5, 3\)"),
        (IMAGES[None], r"got shape \(1, 3, 5, 4\)"),
        (IMAGES.reshape(3, 20), r"got shape \(3, 20\)"),
        (np.uint8(3), r"got shape \(\)"),
        (IMAGES[:0], "expected at least one image, got none"),
        (IMAGES.astype(int) - 1, "expected pixels 0..255, got -1..254"),
        (IMAGES.astype(int) + 1, "expected pixels 0..255, got 1..256"),
    ],
)
def test_arrays_that_are_no_images_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.npy")


def test_pngs_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGES[0].T.copy()).save(path)
    with pytest.raises(ValueError, match="expected an image of 5x4 pixels, got 4x5"):
        read(path)
    Image.fromarray(IMAGES[0].astype(np.uint16) * 257).save(path)
    with pytest.raises(ValueError, match="expected 8 bits a channel, got a PNG of mode I;16"):
        read(path)
    Image.fromarray(IMAGES[0]).save(path)
    whole = path.read_bytes()
    for length in range(8, len(whole) - 24):  # what follows are checksums and the end mark
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"a\.png: expected"):
            read(path)


def test_a_png_that_claims_to_be_huge_is_not_unpacked(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(IMAGES[0]).save(path)
    whole = path.read_bytes()
    for side, message in ((2_000, "got 2000x2000"), (10_000, "damaged"), (100_000, "damaged")):
        header = b"IHDR" + 2 * side.to_bytes(4, "big") + whole[24:29]
        path.write_bytes(whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:])
        with pytest.raises(ValueError, match=rf"a\.png: expected .*{message}"):
            read(path)


def test_a_header_that_claims_a_terabyte_is_not_believed(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 5, 4), np.uint8))
    data = (tmp_path / "a.npy").read_bytes().replace(b"(1, 5, 4)", b"(99999999999, 5, 4)").replace(b" " * 10, b"", 1)
    (tmp_path / "a.npy").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npy: expected"):
        read(tmp_path / "a.npy")


def test_white_and_names():
    assert not mostly_white(IMAGES // 4, 255) and mostly_white(255 - IMAGES // 4, 255)
    assert name_of("x/a.png", 0, 1) == "x/a.png" and name_of("x/a.gz", 2, 3) == "x/a.gz[2]"
