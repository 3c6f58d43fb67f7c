"""Launches every elementwise kernel on numbers inside ``@cuda.jit``, in the simulator or on a GPU, and compares with the CPU.

Run by ``test_cuda_scalars.py`` in a process of its own, because the simulator is chosen when Numba is imported.
"""

import numpy as np
from numba import config, cuda

from nbgrad import elementary, kernels
from nbgrad.ops import OPS

SIMULATED = bool(config.ENABLE_CUDASIM)


def one_argument(function):
    @cuda.jit
    def launched(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = function(x[i])

    return launched


def two_arguments(function):
    @cuda.jit
    def launched(g, x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = function(g[i], x[i])

    return launched


def compare(launched, ulps, expected, *inputs):
    y = np.full_like(expected, 7)
    threads = 8
    launched[-(-expected.size // threads), threads](*inputs, y)
    with np.errstate(all="ignore"):
        near = np.abs(y - expected) <= ulps * np.spacing(np.abs(expected))
    assert (near | (y == expected) | (np.isnan(y) & np.isnan(expected))).all(), (inputs[-1], y, expected)


def main():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x = np.append(rng.normal(size=4) * 10, [0, -0.0, 1e-40, 700, -700, np.inf, -np.inf, np.nan]).astype(
            dtype
        )
        g = rng.normal(size=x.size).astype(dtype)
        for name in elementary.__all__:
            function = getattr(elementary, name)
            compare(one_argument(function), 2, function(x), x)
        ulps = 0 if SIMULATED else 2  # a GPU may fuse products with sums
        for name in OPS:
            forward, backward = getattr(kernels, name), getattr(kernels, name + "_backward")
            compare(one_argument(forward), ulps, forward(x), x)
            compare(two_arguments(backward), ulps, backward(g, x), g, x)
    print("simulated" if SIMULATED else "on a GPU")


if __name__ == "__main__":  # pytest imports it, looking for doctests
    main()
