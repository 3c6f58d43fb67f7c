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
from nbgrad.regression.linear.nonnegative import nonnegative
from nbgrad.regression.linear.refine import dot, refinement
from nbgrad.regression.linear.solve import plain, ridge
from nbgrad.regression.linear.triangle import Triangle, add_triangles, triangle_of

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
    triangle, flat = blocks.reduce("qr", _triangle, _add, fit_intercept)
    features = len(triangle.shift) - len(triangle.rest)
    unit = np.ldexp(1.0, np.frexp(np.abs(triangle.R).max(initial=0.0))[1] - 1)
    R = triangle.R / unit
    inner, Z = np.split(R[fit_intercept:, fit_intercept:], [features], axis=1)
    size = np.frexp(triangle.unit)[1]  # of x and y
    first, means, row = 1.0, np.zeros(len(triangle.shift)), np.zeros(features)
    if fit_intercept and len(R):
        first, means = R[0, 0], R[0, 1:] / R[0, 0]
        row = first * (means + triangle.shift / triangle.unit)[:features]
    doubt = np.zeros(len(triangle.rest))
    if not x_scale:
        W, rank = np.zeros((features, len(triangle.rest))), 0
    elif l2:
        penalty = np.sqrt(l2) * (triangle.root / unit) / abs(x_scale) / triangle.unit[:features]
        penalty = np.clip(penalty, 1e-150, 1e150)
        W, rank = ridge(inner, Z, penalty), features
        if positive:
            inner = np.concatenate([inner, np.diag(penalty)])
            Z = np.concatenate([Z, np.zeros((features, Z.shape[1]))])
    else:
        W, rank, doubt = plain(inner, Z, row, replace(triangle, rest=triangle.rest / unit))
    if positive and x_scale:
        W, doubt = np.sign(x_scale) * nonnegative(np.sign(x_scale) * inner, Z), 0 * doubt
    params = np.concatenate([(means[features:] - means[:features] @ W)[np.newaxis], W])[not fit_intercept :]
    more = np.zeros_like(params)
    if (doubt > REFINE).any():
        more = refinement(params, triangle.R[:, : len(params)], triangle, blocks)
    to_given = size[features:] - size[:features, np.newaxis]
    parts = np.ldexp(W, to_given), np.ldexp(more[fit_intercept:], to_given)
    coef = parts[0] + parts[1]
    if x_scale:
        coef /= x_scale
    intercept = np.zeros(len(triangle.rest))
    if fit_intercept:
        shift, level = np.split(triangle.shift, [features])
        terms = np.array([level, *(part[0] * triangle.unit[features:] for part in (params, more))])
        intercept = dot(terms, np.concatenate([shift, shift]), np.concatenate(parts))
    coef = np.ascontiguousarray(coef.T)
    return (coef[0], float(intercept[0]), rank) if flat else (coef, intercept, rank)


def _triangle(i: int, block: tuple[Any, Any, Any], fit_intercept: bool) -> tuple[Triangle, bool]:
    """And whether y has one dimension."""
    return triangle_of(i, block, fit_intercept), block[1].ndim == 1


def _add(*parts: tuple[Triangle, bool]) -> tuple[Triangle, bool]:
    return add_triangles(*(triangle for triangle, _ in parts)), parts[0][1]
