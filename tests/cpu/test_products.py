"""The skinny products against NumPy in float64: any number of rows, features and classes, rows apart, nothing read behind."""

import numpy as np
import pytest
from numba import njit

from nbgrad.cpu.lanes import LANES
from nbgrad.cpu.regression import products
from nbgrad.cpu.regression.products import TILE_VECTORS, padded
from nbgrad.jit.vectors import VECTOR_BYTES


@njit
def compiled(x, at, step, count, features, w, w_step, classes, s, r, g):
    if classes == 1:
        products.dot_rows(x, at, step, count, features, w, s, 0)
        products.add_rows(x, at, step, count, features, r, g, 0)
    else:
        products.dot_matrix(x, at, step, count, features, w, w_step, classes, s)
        products.add_matrix(x, at, step, count, features, r, g, w_step, classes, 0)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("features", [1, 3, 8, 31, 32, 100, 784, 1100])
@pytest.mark.parametrize("classes", [1, 2, 3, 4, 5, 10])
def test_scores_and_gradient(dtype, features, classes):
    rng = np.random.default_rng(features)
    step, at = features + 3, 2
    for count in (1, 5, 8, 41, LANES):
        # nan between the rows, before them and behind: it would come through
        x = np.full(at + count * step, np.nan, dtype)
        rows = np.lib.stride_tricks.as_strided(x[at:], (count, features), (step * x.itemsize, x.itemsize))
        rows[...] = rng.normal(size=(count, features))
        w = np.zeros((classes, padded(features, x.itemsize)), dtype)
        w[:, :features] = rng.normal(size=(classes, features))
        s, r, g = np.zeros((classes, LANES), dtype), np.zeros((classes, LANES), dtype), np.ones_like(w)
        r[:, :count] = rng.normal(size=(classes, count))
        last = at + (count - 1) * step + features
        compiled(x[:last], at, step, count, features, w.ravel(), w.shape[1], classes, s.ravel(), r.ravel(), g.ravel())
        wide, eps = rows.astype(float), np.finfo(dtype).eps
        magnitude = np.abs(w[:, :features]).astype(float) @ np.abs(wide).T
        assert (np.abs(s[:, :count] - w[:, :features].astype(float) @ wide.T) <= 8 * eps * magnitude).all()
        magnitude = 1 + np.abs(r[:, :count]).astype(float) @ np.abs(wide)
        assert (np.abs(g[:, :features] - 1 - r[:, :count].astype(float) @ wide) <= 8 * eps * magnitude).all()
        assert (g[:, features:] == 1).all()


@pytest.mark.parametrize("itemsize", [4, 8])
def test_rows_of_coefficients_do_not_compete_for_the_cache(itemsize):
    for features in range(0, 3000):
        step = padded(features, itemsize)
        tile = TILE_VECTORS * VECTOR_BYTES  # an odd number of them: not at distances of 4096 bytes
        assert step >= features and step * itemsize % (2 * tile) == tile
