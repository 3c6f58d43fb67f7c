"""Rebuild this folder's two files of digits from scikit-learn's copy of them.

In the checkout's top folder: python -m data.make_digits [FOLDER]
"""

import sys
from pathlib import Path

import numpy as np

from nbgrad.datasets import write_idx


def main(folder: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    for name, array in (("images-idx3", digits.images), ("labels-idx1", digits.target)):
        exact = array.astype(np.uint8)
        if not np.array_equal(exact, array):
            raise ValueError(f"{name}: expected whole numbers in 0..255, got {array.min()}..{array.max()}")
        write_idx(folder / f"digits-{name}-ubyte.gz", exact)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent)
