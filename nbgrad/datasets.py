"""Real handwriting as NumPy arrays: the IDX file format, the digits that ship with nbgrad, and MNIST."""

import gzip
import hashlib
import math
import os
import sys
import tempfile
import zlib
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nbgrad.arrays import check_mask

__all__ = ["Dataset", "cache_folder", "load_digits", "load_mnist", "read_idx", "write_idx"]

_Path = str | os.PathLike[str]

# The IDX format: two zero bytes, a type code, the number of dimensions, each dimension as big-endian uint32,
# then the elements, big-endian, in C order.
_DTYPE_OF_CODE: dict[int, np.dtype] = {
    0x08: np.dtype("u1"),
    0x09: np.dtype("i1"),
    0x0B: np.dtype(">i2"),
    0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"),
    0x0E: np.dtype(">f8"),
}
_CODE_OF_DTYPE = {dtype: code for code, dtype in _DTYPE_OF_CODE.items()}
_MAX_DIMENSIONS = 64  # NumPy's own limit
_GZIP_MAGIC = b"\x1f\x8b"
_MAX_INFLATION = 1032  # the most bytes that deflate makes of one: a match of 258 bytes costs at least 2 bits
_CHUNK = 1 << 20  # bytes read at once: GzipFile.readinto allocates a second buffer of that size

MNIST_SHA256 = {  # of the uncompressed files: compressed anew they are still the same data
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
MNIST_MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)


class Dataset(NamedTuple):
    """Labelled grey-scale images, divided into a training and a test set.

    Images are uint8 arrays of shape (n, height, width) with values 0..max_value, where 0 is the background;
    labels are uint8 arrays of shape (n,) with values 0..9.

    >>> digits = load_digits()
    >>> digits.name, digits.max_value, digits.test_images.shape
    ('digits', 16, (359, 8, 8))
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    name: str
    max_value: int


def load_digits() -> Dataset:
    """The 1797 handwritten 8×8 digits that ship with nbgrad, pixels 0..16; no network is needed.

    They are the test part of UCI's "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak,
    1998, https://doi.org/10.24432/C50P49, CC BY 4.0), in the order of scikit-learn's ``load_digits``.

    The split is fixed and stratified: for each digit 0..9 in turn its indices are permuted by one generator,
    ``numpy.random.default_rng(0)``, and the first fifth of them (rounded to the nearest whole number) is for
    the test. That makes 1438 training and 359 test images; both sets keep the order of the file.

    >>> digits = load_digits()
    >>> digits.train_images.shape, digits.train_labels.shape, digits.train_images.dtype
    ((1438, 8, 8), (1438,), dtype('uint8'))
    """
    folder = _digits_folder()
    images = read_idx(folder / "digits-images-idx3-ubyte.gz")
    labels = read_idx(folder / "digits-labels-idx1-ubyte.gz")
    _check("digits", images, labels, 16)
    test = _stratified_fifth(labels)
    return Dataset(images[~test], labels[~test], images[test], labels[test], "digits", 16)


def load_mnist(root: _Path | None = None) -> Dataset:
    """MNIST: 60 000 training and 10 000 test images of 28×28 pixels 0..255 (Y. LeCun, C. Cortes, C. Burges).

    The four IDX files, gzip-compressed or not, are looked for in ``root``; without it in the folder named by
    the environment variable NBGRAD_DATA; without that in ``cache_folder()/mnist``, and what is missing there
    is downloaded from the first mirror that has it. The *uncompressed* SHA-256 is verified every time.

    Raises FileNotFoundError where ``root`` or NBGRAD_DATA is given and lacks a file (nothing is downloaded
    then), ValueError where a file there is damaged or is not MNIST's, ConnectionError where no mirror has it.

    >>> load_mnist("no/such/folder")
    Traceback (most recent call last):
        ...
    FileNotFoundError: root: expected train-images-idx3-ubyte or the same .gz in no/such/folder, got neither
    """
    argument, folder = "root", root
    if root is None:
        argument, folder = "NBGRAD_DATA", os.environ.get("NBGRAD_DATA") or None
    arrays = []
    for name, sha256 in MNIST_SHA256.items():
        if folder is None:
            arrays.append(_load_cached(name, sha256))
            continue
        path = _find(Path(folder).expanduser(), name)
        if path is None:
            raise FileNotFoundError(f"{argument}: expected {name} or the same .gz in {folder}, got neither")
        arrays.append(read_idx(path, sha256=sha256))
    train_images, train_labels, test_images, test_labels = arrays
    _check("mnist", train_images, train_labels, 255)
    _check("mnist", test_images, test_labels, 255)
    return Dataset(train_images, train_labels, test_images, test_labels, "mnist", 255)


def cache_folder() -> Path:
    """The user's cache folder of nbgrad, as the operating system has it (for example ``~/.cache/nbgrad``).

    >>> cache_folder().name
    'nbgrad'
    """
    import pooch

    return Path(pooch.os_cache("nbgrad"))


def read_idx(path: _Path, *, sha256: str | None = None) -> np.ndarray:
    """Read an array from an IDX file, the format of MNIST; dtypes as for write_idx, in native byte order.

    A gzip-compressed file is recognised by its content, whatever its name. With ``sha256`` the uncompressed
    bytes must have that checksum (64 hexadecimal digits).

    Raises ValueError, naming the file, where it is not exactly one whole IDX file: a wrong magic number, an
    unknown type code, a header or data cut off, bytes after the data, a gzip stream cut off or corrupt, a
    wrong checksum. The header's size is compared with the file's before memory is allocated, and of a gzip
    stream no more is unpacked than the header announces.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_idx(folder + "/labels.gz", np.array([7, 2, 1], dtype=np.uint8))
    ...     read_idx(folder + "/labels.gz")
    array([7, 2, 1], dtype=uint8)
    """
    with open(path, "rb") as file:
        compressed = file.read(2) == _GZIP_MAGIC
        file.seek(0)
        limit = os.fstat(file.fileno()).st_size * (_MAX_INFLATION if compressed else 1)
        if not compressed:
            return _read_stream(file, path, limit, sha256)
        try:
            with gzip.GzipFile(fileobj=file) as stream:
                return _read_stream(stream, path, limit, sha256)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise ValueError(f"{path}: expected a whole gzip file, got a damaged one ({error})") from error


def write_idx(path: _Path, array: np.ndarray) -> None:
    """Write an array as an IDX file, gzip-compressed where the name ends in ``.gz``.

    ``array`` has dtype uint8, int8, int16, int32, float32 or float64 in any byte order and memory layout, and
    any shape (0-d and empty too) with dimensions below 2³². The same array gives the same bytes at any time:
    the gzip header bears no time and no name.

    Raises TypeError for another dtype and ValueError for a dimension that is too large.

    >>> write_idx("labels", np.array([7, 2, 1]))
    Traceback (most recent call last):
        ...
    TypeError: array: expected dtype uint8, int8, int16, int32, float32 or float64, got int64
    """
    check_mask(array, "array")
    array = np.asarray(array)
    big_endian = array.dtype.newbyteorder(">")
    if big_endian not in _CODE_OF_DTYPE:
        expected = "uint8, int8, int16, int32, float32 or float64"
        raise TypeError(f"array: expected dtype {expected}, got {array.dtype}")
    if any(length >= 2**32 for length in array.shape):
        raise ValueError(f"array: expected every dimension below 2**32, got shape {array.shape}")
    lengths = np.array(array.shape, dtype=">u4").tobytes()
    header = bytes([0, 0, _CODE_OF_DTYPE[big_endian], array.ndim]) + lengths
    data = header + array.astype(big_endian, copy=False).tobytes()
    with open(path, "wb") as file:
        if os.fspath(path).endswith(".gz"):
            with gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as stream:
                stream.write(data)
        else:
            file.write(data)


def _read_stream(stream: BufferedIOBase, path: _Path, limit: int, sha256: str | None) -> np.ndarray:
    """The array in an uncompressed stream that can hold at most ``limit`` bytes."""
    magic = _read_exactly(stream, path, 4, "the magic number")
    if magic[0] or magic[1]:
        raise ValueError(f"{path}: expected two zero bytes at its beginning, got {magic[:2].tobytes()!r}")
    code, ndim = int(magic[2]), int(magic[3])
    if code not in _DTYPE_OF_CODE:
        raise ValueError(f"{path}: expected an IDX type code of 8, 9, 11, 12, 13 or 14, got {code}")
    if ndim > _MAX_DIMENSIONS:
        raise ValueError(f"{path}: expected at most {_MAX_DIMENSIONS} dimensions, got {ndim}")
    lengths = _read_exactly(stream, path, 4 * ndim, "the dimensions")
    dtype, shape = _DTYPE_OF_CODE[code], tuple(lengths.view(">u4").tolist())
    size = math.prod(shape) * dtype.itemsize
    # An empty array may have other dimensions whose product overflows, which NumPy refuses to make.
    if size > limit or math.prod(max(length, 1) for length in shape) * dtype.itemsize > sys.maxsize:
        raise ValueError(f"{path}: expected {dtype.name} data of shape {shape}, got fewer bytes")
    data = _read_exactly(stream, path, size, "data")
    if stream.read(1):  # at the end of a gzip stream this also verifies its checksum
        raise ValueError(f"{path}: expected nothing after the {size} bytes of data, got trailing bytes")
    if sha256 is not None:
        digest = hashlib.sha256(magic.data)
        digest.update(lengths.data)
        digest.update(data.data)
        if digest.hexdigest() != sha256:
            raise ValueError(f"{path}: expected the uncompressed SHA-256 {sha256}, got {digest.hexdigest()}")
    return data.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _read_exactly(stream: BufferedIOBase, path: _Path, size: int, what: str) -> np.ndarray:
    """The next ``size`` bytes; memory that np.empty reserves costs nothing until bytes arrive to fill it."""
    buffer = np.empty(size, dtype=np.uint8)
    done = 0
    while done < size:
        count = stream.readinto(buffer.data[done : done + _CHUNK])
        if not count:
            raise ValueError(f"{path}: expected {size} bytes of {what}, got {done}")
        done += count
    return buffer


def _digits_folder() -> Path:
    """The folder of the digits: inside the package where nbgrad is installed, beside it in a checkout.

    importlib.resources finds the first alone, not an editable install's and not a plain checkout's.
    """
    package = Path(__file__).parent
    folders = [package / "data", package.parent / "data"]
    for folder in folders:
        if (folder / "digits-images-idx3-ubyte.gz").is_file():
            return folder
    raise FileNotFoundError(f"digits: expected the IDX files in {folders[0]} or {folders[1]}, got neither")


def _stratified_fifth(labels: np.ndarray) -> np.ndarray:
    """The mask of the test images, as load_digits describes it."""
    rng = np.random.default_rng(0)
    test = np.zeros(labels.shape, dtype=bool)
    for digit in range(10):
        indices = rng.permutation(np.flatnonzero(labels == digit))
        test[indices[: round(len(indices) / 5)]] = True
    return test


def _check(name: str, images: np.ndarray, labels: np.ndarray, max_value: int) -> None:
    """Refuse what is not as Dataset promises: a foreign label would index foreign memory."""
    for kind, array, ndim, most in (("images", images, 3, max_value), ("labels", labels, 1, 9)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            got = f"shape {array.shape} of {array.dtype}"
            raise ValueError(f"{name}: expected {kind} of {ndim} dimensions of uint8, got {got}")
        if array.max(initial=0) > most:
            raise ValueError(f"{name}: expected {kind} with values in 0..{most}, got {array.max()}")
    if len(images) != len(labels):
        raise ValueError(f"{name}: expected a label for each of {len(images)} images, got {len(labels)}")


def _find(folder: Path, name: str) -> Path | None:
    """The file of that name in the folder, compressed or not."""
    return next((path for path in (folder / f"{name}.gz", folder / name) if path.is_file()), None)


def _load_cached(name: str, sha256: str) -> np.ndarray:
    folder = cache_folder() / "mnist"
    path = _find(folder, name)
    if path is not None:
        with suppress(ValueError):  # a damaged file in the cache is fetched anew
            return read_idx(path, sha256=sha256)
    return _download(folder, name, sha256)


def _download(folder: Path, name: str, sha256: str) -> np.ndarray:
    """Fetch a file of MNIST into the folder: it bears its name there only after it was verified.

    Not by pooch.retrieve, which verifies the compressed bytes, and those differ from mirror to mirror.
    """
    import pooch
    from tqdm import tqdm

    folder.mkdir(parents=True, exist_ok=True)
    refusals = []
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder) as temporary:  # one for each process
        partial = Path(temporary, f"{name}.gz")
        for mirror in MNIST_MIRRORS:
            try:
                # pooch sets the total; before that it asks for the bar's truth, which without one is an error
                with tqdm(desc=name, total=1, unit="B", unit_scale=True) as progress:
                    download = pooch.HTTPDownloader(progressbar=progress, chunk_size=1 << 16, timeout=30)
                    download(mirror + partial.name, str(partial), None)
                array = read_idx(partial, sha256=sha256)
            except (OSError, ValueError) as error:
                refusals.append(f"{mirror}: {error}")
                continue
            os.replace(partial, folder / partial.name)
            return array
    raise ConnectionError(f"mnist: expected {name} from a mirror, got " + "; ".join(refusals))
