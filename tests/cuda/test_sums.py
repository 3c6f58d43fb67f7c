"""The arithmetic of a row's sums, compiled for the CPU, one thread after the other: as exact as float64 sums are, float32 alone too."""

from types import FunctionType

import numpy as np
import pytest
from numba import njit

from nbgrad.cuda import reduce as cuda_groups
from nbgrad.jit import scalar

if np.finfo(np.longdouble).eps > 1e-18:
    pytest.skip("long double is no wider than double here", allow_module_level=True)


def compiled(dtype, ahead, whole):
    """``sums(x, lane, width, largest) → others`` of one thread's entries; ``whole``: by lines of 16 bytes."""
    words = {
        "group_largest": scalar(lambda value, width, room: room[0]),
        "group_sum": scalar(lambda high, low, width, room: (high, low)),
    }
    sums = cuda_groups.exp_sums(np.dtype(dtype), ahead, whole)
    alone = scalar(FunctionType(sums.__code__, {**sums.__globals__, **words}, "sums", None, sums.__closure__))

    @njit
    def run(x, lane, width, largest):
        return alone(x, (0, x.size, lane, width), largest)[1]

    return run


def check(x, others):
    wide, eps = x.astype(np.longdouble), np.finfo(x.dtype).eps
    distances = wide.max() - wide
    terms = np.exp(-distances)
    exact = np.sort(terms)[:-1].sum()
    rounded = (distances * terms).sum() * eps  # each distance is rounded once or twice, to half an ulp
    assert abs(np.longdouble(others) - exact) <= 1.5 * eps * exact + rounded


@pytest.fixture(params=[(1, False), (1, True), (2, False), (4, True), (8, True)], ids=str)
def sums(request, dtype):
    return compiled(dtype, *request.param)


def test_one_thread_loses_nothing(sums, dtype):
    for size, spread in ((4, 1), (8, 20), (1000, 3), (20_000, 1e-3), (20_000, 3)):
        x = np.random.default_rng(size).standard_normal(size) * spread
        above = x.copy()
        above[size // 2] = x.max() + 12
        for row in (x, np.sort(x)[::-1], np.round(x), above):
            row = row.astype(dtype)
            check(row, sums(row, 0, 1, row.max(keepdims=True)))


@pytest.mark.parametrize("spread", [1e-3, 1])
def test_a_block_loses_nothing_where_each_entry_is_a_new_maximum(sums, spread, dtype):
    """The sums are scaled anew 200 times."""
    x = np.sort(np.random.default_rng(0).standard_normal(100_000) * spread).astype(dtype)
    width = 512  # the simulator's blocks are small
    parts = [sums(x, lane, width, x[-1:]) for lane in range(width)]
    check(x, np.sum(np.array(parts, np.longdouble) + 1) - 1)
