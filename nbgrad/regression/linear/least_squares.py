"""Linear least squares by QR, a block of rows at a time: `triangle` reads X once, `solve` solves, `refine` puts digits
right in a second pass where that is worth it.

uint8, memory-mapped and CSR data of any length need memory for one block and for a triangle, 8·(n_features + 2)² bytes.
Normal equations would be half the work, and lose the digits of a squared condition: NIST's Wampler sets have none left.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.blocks import Blocks
from nbgrad.regression.linear.centred import centred
from nbgrad.regression.linear.nonnegative import nonnegative
from nbgrad.regression.linear.refine import refinement
from nbgrad.regression.linear.solve import plain, ridge

__all__ = ["least_squares"]

REFINE = 1e-11  # a relative error that is worth a second pass over X


def least_squares(
    X: Any,
    y: NDArray[Any] | None = None,
    *,
    sample_weight: NDArray[Any] | None = None,
    l2: float = 0.0,
    fit_intercept: bool = True,
    x_scale: float = 1.0,
    positive: bool = False,
) -> tuple[NDArray[Any], Any, int]:
    """(coef, intercept, rank) that minimize Σ weight·½(x·coef + intercept − y)² / Σ weight + ½·l2·‖coef‖².

    ``X``: an array or CSR; or `Blocks`, `DaskBlocks` or `Measured` (on a GPU), which hold targets and weights. ``y``
    (rows,), or (rows, targets): ``coef`` is (targets, n_features) then, ``intercept`` (targets,). Where the data leave
    a choice (rank below n_features), ``coef`` is the shortest of the solutions, as `numpy.linalg.lstsq` has it. Units
    and offsets do not count: a column depends on others where what is left of it is within rounding of its own length.
    ``positive``: the best of the coefficients that are not below 0.

    Source: Å. Björck, Numerical methods for least squares problems (SIAM, 1996), sections 2.4, 2.7 and 6.2; of blocks:
    J. Demmel, L. Grigori, M. Hoemmen, J. Langou, Communication-optimal parallel and sequential QR and LU
    factorizations, SIAM J. Sci. Comput. 34 (2012) A206.

    >>> import numpy as np
    >>> coef, intercept, rank = least_squares(np.array([[0.0], [1.0], [2.0]]), np.array([1.0, 3.0, 5.0]))
    >>> print(coef.round(12), round(intercept, 12), rank)
    [2.] 1.0 1
    """
    blocks = X if y is None else Blocks([(X, y, sample_weight)])
    problem, triangle, flat = centred(blocks, fit_intercept)
    targets = problem.Z.shape[1]
    doubt, more = np.zeros(targets), None
    if not x_scale:
        W, rank = np.zeros((problem.features, targets)), 0
    elif l2:
        penalty = np.sqrt(l2) * problem.root / abs(x_scale) / problem.unit[: problem.features]
        penalty = np.clip(penalty, 1e-150, 1e150)
        W, rank = ridge(problem.R, problem.Z, penalty), problem.features
    else:
        W, rank, doubt = plain(problem.R, problem.Z, problem.row, replace(triangle, rest=problem.rest))
    if positive and x_scale:
        R, Z, sign = problem.R, problem.Z, np.sign(x_scale)
        if l2:
            R, Z = np.concatenate([R, np.diag(penalty)]), np.concatenate([Z, np.zeros((len(penalty), targets))])
        W = sign * nonnegative(sign * R, Z)
    elif (doubt > REFINE).any():
        params = problem.params(W)
        more = refinement(params, triangle.R[:, : len(params)], triangle, blocks)
    coef, intercept = problem.given(W, x_scale, more)
    return (coef[0], float(intercept[0]), rank) if flat else (coef, intercept, rank)
