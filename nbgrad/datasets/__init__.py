"""Real handwriting as NumPy arrays: the IDX file format, the digits that ship with nbgrad, and MNIST."""

import os
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nbgrad.datasets.idx import read_idx, write_idx

__all__ = ["Dataset", "cache_folder", "load_digits", "load_mnist", "read_idx", "write_idx"]

_Path = str | os.PathLike[str]

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

    Returns
    -------
    Dataset

    Examples
    --------
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

    Returns
    -------
    Dataset

    Examples
    --------
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

    Returns
    -------
    pathlib.Path

    Examples
    --------
    >>> cache_folder().name
    'nbgrad'
    """
    import pooch

    return Path(pooch.os_cache("nbgrad"))


def _digits_folder() -> Path:
    """The folder of the digits: inside the package where nbgrad is installed, beside it in a checkout.

    importlib.resources finds the first alone, not an editable install's and not a plain checkout's.
    """
    package = Path(__file__).parents[1]
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
