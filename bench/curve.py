"""The inputs over which errors are kept for the picture: intervals from −200 to 200, logarithmic on both sides."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["REACH", "edges"]

REACH = (1e-4, 200.0)
COUNT = 200


def edges() -> Any:
    """The ends of the intervals, 0 among them."""
    positive = np.geomspace(*REACH, COUNT)
    return np.concatenate([-positive[::-1], [0.0], positive])
