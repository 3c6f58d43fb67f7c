"""A quadratic with a penalty l1, minimized coordinate by coordinate."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.jit import Loop

__all__ = ["coordinate_descent"]

#: Sweeps over all coordinates, and over those that are not 0 between two of them.
SWEEPS, INNER = 1000, 20


@functools.cache
def _descent() -> Loop:
    def descent(H, q, z, threshold, tol, sweeps, inner):
        """``z`` moves to the minimum, ``q`` is the gradient there."""
        for _ in range(sweeps):
            largest = 0.0
            for turn in range(inner + 1):
                largest = 0.0
                for j in range(z.size):
                    h = H[j, j]
                    if h > 0.0 and (turn == inner or z[j] != 0.0):
                        at, t = z[j] - q[j] / h, threshold[j] / h
                        new = at - t if at > t else at + t if at < -t else 0.0
                        change = new - z[j]
                        if change != 0.0:
                            z[j] = new
                            for i in range(z.size):
                                q[i] += change * H[j, i]
                            largest = max(largest, abs(change) * math.sqrt(h))
                if largest <= tol and turn < inner:
                    continue
            if largest <= tol:
                return

    return Loop(descent, name="coordinate_descent")


def coordinate_descent(
    H: NDArray[np.float64],
    gradient: NDArray[np.float64],
    v: NDArray[np.float64],
    threshold: NDArray[np.float64],
    tol: float,
) -> NDArray[Any]:
    """The z that minimizes gradient·(z − v) + ½(z − v)·H·(z − v) + Σ threshold·|z|, until no coordinate alone gains
    more than ½·tol².

    Source: J. Friedman, T. Hastie, R. Tibshirani, Regularization paths for generalized linear models via coordinate
    descent, J. Stat. Softw. 33 (2010) 1.

    >>> coordinate_descent(np.diag([1.0, 2.0]), np.array([-3.0, 0.5]), np.zeros(2), np.ones(2), 1e-12)
    array([2., 0.])
    """
    z = v.copy()
    _descent().serial(np.ascontiguousarray(H), gradient.copy(), z, threshold, tol, SWEEPS, INNER)
    return z
