"""What the machine can do at best, measured in the same rounds as the kernels: copying memory, reading it, multiplying
matrices. No kernel that moves so many bytes can be faster than their copy, none with so many multiplications faster
than BLAS's product.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
from numba import njit, prange

from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import Elementwise
from nbgrad.jit import scalar
from nbgrad.jit.thread_map import thread_map

__all__ = ["Limit", "copying", "products", "reading"]


@dataclass(frozen=True)
class Limit:
    """``call`` moves ``bytes`` or does ``flops``."""

    name: str
    call: Callable[[], Any]
    bytes: int = 0
    flops: int = 0


@njit(parallel=True, fastmath={"reassoc", "contract", "nsz"})
def _sum(x):
    total = np.float32(0)
    for i in prange(x.size):
        total += x[i]
    return total


@njit(parallel=True)
def _copy(x, out):
    for i in prange(x.size):
        out[i] = x[i]


@scalar
def _same(x):
    return x


# nbgrad's own loop around no function at all. Where it writes past the cache nothing else here is as fast: with the
# other ways alone relu on 16 million elements reached 115 % of "the limit".
_past_the_cache = cpu.forward(Elementwise(_same, _same, {}))


def _best(calls: list[Callable[[], Any]]) -> Callable[[], Any]:
    """The fastest of several ways: more threads need not be faster."""

    def seconds(call: Callable[[], Any]) -> float:
        call()
        took = []
        for _ in range(5):
            start = time.perf_counter()
            call()
            took.append(time.perf_counter() - start)
        return min(took)

    return min(calls, key=seconds)


# As few as fit beside the largest arrays; most cases of a suite have the same size.
@functools.lru_cache(maxsize=2)
def copying(nbytes: int) -> Limit:
    """Copying an array of so many bytes: as many are read as are written."""
    x, out = (np.ones(max(1, nbytes // 4), np.float32) for _ in range(2))
    ways: list[Callable[[], Any]] = [lambda: np.copyto(out, x)]
    if nbytes >= 1 << 14:
        pieces = numba.get_num_threads()
        parts = list(zip(np.array_split(x, pieces), np.array_split(out, pieces), strict=True))
        ways += [lambda: thread_map(lambda k: np.copyto(parts[k][1], parts[k][0]), pieces), lambda: _copy(x, out)]
        ways.append(lambda: _past_the_cache(x.size, x, out))
    return Limit("copy", _best(ways), bytes=2 * x.nbytes)


@functools.lru_cache(maxsize=2)
def reading(nbytes: int) -> Limit:
    """Adding up an array of so many bytes."""
    x = np.ones(max(1, nbytes // 4), np.float32)
    return Limit("read", _best([lambda: _sum(x), x.sum]), bytes=x.nbytes)


@functools.lru_cache(maxsize=1)
def products(dtype: Any = np.float32, n: int = 1024) -> Limit:
    """BLAS's product of two n×n matrices."""
    a, b, out = (np.ones((n, n), dtype) for _ in range(3))
    return Limit("products", lambda: np.matmul(a, b, out=out), flops=2 * n**3)
