"""Random numbers on the CPU for dropout: NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["kept"]


def kept(rng: np.random.Generator, p: float, scale: float, like: NDArray[Any]) -> NDArray[Any]:
    """An array like ``like``: 0 with probability p, else ``scale``."""
    return np.multiply(rng.random(like.shape, dtype=np.float32) >= p, scale, dtype=like.dtype)
