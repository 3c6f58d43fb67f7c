"""Least squares whose coefficients are not below 0."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["nonnegative"]

#: Steps of the active-set method, at most, for each column.
STEPS = 30


def nonnegative(R: NDArray[np.float64], Z: NDArray[np.float64]) -> NDArray[np.float64]:
    """The W >= 0 (features, targets) that minimizes ‖R·W − Z‖.

    Source: C. L. Lawson, R. J. Hanson, Solving least squares problems (Prentice-Hall, 1974), chapter 23, as SciPy has
    it. The columns that it finds to be above 0 are solved for once more by QR: it multiplies the normal equations.

    >>> nonnegative(np.array([[1.0, 0.5], [0.0, 1.0]]), np.array([[1.0], [-1.0]])).tolist()
    [[1.0], [0.0]]
    """
    from scipy.linalg import lstsq
    from scipy.optimize import nnls

    length = np.linalg.norm(R, axis=0)
    scaled = R / np.where(length > 0, length, 1.0)
    W = np.zeros((R.shape[1], Z.shape[1]))
    for w, z in zip(W.T, Z.T, strict=True):
        if not (scaled.size and z.any()):
            continue
        size = np.abs(z).max()
        w[:] = nnls(scaled, z / size, maxiter=STEPS * len(w))[0] * size
        above = np.flatnonzero(w > 0)
        exact = lstsq(scaled[:, above], z, check_finite=False)[0] if len(above) else w[above]
        if (exact >= 0).all():
            w[above] = exact
    return W / np.where(length > 0, length, 1.0)[:, np.newaxis]
