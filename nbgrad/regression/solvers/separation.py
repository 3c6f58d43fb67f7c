"""Classes that a hyperplane separates: without a penalty there is no minimum then."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["separation"]


def separation(smooth: Any, params: NDArray[np.float64], step: NDArray[np.float64] | None) -> str:
    """What to say of an answer without a penalty (parameters of the frame, Newton's step from there if it is known): ""
    where the classes overlap in every direction.

    The loss falls for ever along a direction in which no row's margin shrinks and some grow. Such a direction is the
    answer itself if all labels are predicted (complete separation); else it is where Newton's step leads when all else
    is settled: there it adds 1 to the margins of the separated rows, and 0 to the others (quasi-separation).
    """
    problem = smooth.problem
    if problem.model not in ("logistic", "softmax") or problem.l2 or not np.isfinite(params).all():
        return ""
    directions = [params] if step is None or not np.isfinite(step).all() else [params, step]
    smooth.passes += 1
    found = problem.margins(np.array(directions), smooth.frame)
    if found.low[0] > 0:
        return "The classes are separated without an error"
    if len(directions) == 2 and found.high[1] > 0.3 and found.low[1] > -0.01 * found.high[1]:
        return "Some rows are separated from the other classes, no row on the wrong side (quasi-separation)"
    return ""
