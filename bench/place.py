"""Where arrays lie and how time is taken there: the CPU's memory and the wall clock, or a GPU's and CUDA's events.

The suites ask their session's place for arrays and limits; so the same cases are measured on both.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import limits
from bench.limits import Limit

__all__ = ["Cpu", "Gpu", "wall"]


def wall(call: Callable[[], Any], repeats: int) -> float:
    """Seconds a call."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return (time.perf_counter() - start) / repeats


class Cpu:
    device = "cpu"
    #: until the threads of the one before have stopped spinning for work: two pools of as many threads as there are
    #: cores would wait for each other
    pause = 5e-3
    clock = staticmethod(wall)
    copying = staticmethod(limits.copying)
    reading = staticmethod(limits.reading)
    products = staticmethod(limits.products)
    empty_like = staticmethod(np.empty_like)

    def put(self, array: Any) -> Any:
        return array

    def normal(self, shape: Any, dtype: str, seed: int = 0) -> Any:
        """Normally distributed numbers; of many a million drawn ones again and again: 10⁸ would take longer to draw
        than to measure.
        """
        size = int(np.prod(shape))
        some = np.random.default_rng(seed).standard_normal(min(size, (1 << 20) - 3), np.float32)
        return np.resize(some, shape).astype(dtype, copy=False)


class Gpu:
    """The current CUDA device. Everybody works in the same stream, the default one, where the events are recorded."""

    pause = 0.0

    def __init__(self) -> None:
        import cupy

        self.cupy = cupy
        self.device = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode()

    def put(self, array: Any) -> Any:
        return self.cupy.asarray(array)

    def empty_like(self, array: Any) -> Any:
        return self.cupy.empty_like(array)

    def normal(self, shape: Any, dtype: str, seed: int = 0) -> Any:
        return self.cupy.random.default_rng(seed).standard_normal(shape, np.float32).astype(dtype, copy=False)

    def clock(self, call: Callable[[], Any], repeats: int) -> float:
        """Seconds a call of the device's time: between two events around them all."""
        start, end = self.cupy.cuda.Event(), self.cupy.cuda.Event()
        start.record()
        for _ in range(repeats):
            call()
        end.record()
        end.synchronize()
        return float(self.cupy.cuda.get_elapsed_time(start, end)) / 1e3 / repeats

    def copying(self, nbytes: int) -> Limit:
        """A device-to-device copy."""
        x = self.cupy.ones(max(1, nbytes // 4), np.float32)
        out = self.cupy.empty_like(x)
        return Limit("copy", lambda: out.data.copy_from_device_async(x.data, x.nbytes), bytes=2 * x.nbytes)

    def reading(self, nbytes: int) -> Limit:
        x = self.cupy.ones(max(1, nbytes // 4), np.float32)
        return Limit("read", x.sum, bytes=x.nbytes)

    def products(self, dtype: Any = np.float32, n: int = 4096) -> Limit:
        a, b, out = (self.cupy.ones((n, n), dtype) for _ in range(3))
        return Limit("products", lambda: self.cupy.matmul(a, b, out=out), flops=2 * n**3)
