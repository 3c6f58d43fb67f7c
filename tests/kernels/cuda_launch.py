"""Launches every elementwise kernel on numbers inside ``@cuda.jit``, in the simulator or on a GPU, and compares with what is
compiled for the CPU.

The simulator runs a kernel as plain Python, in which a public function calls the compiled loop with which it would be
compared: there the formulas are launched. Run by ``test_cuda_scalars.py`` in a process of its own, because the simulator is chosen when Numba is imported.
"""

import numpy as np
from numba import config, cuda, njit

from nbgrad import elementary, kernels
from nbgrad.formulas.table import OPS

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


def on_cpu(function, x):
    """A function of one number, compiled for the CPU: in plain Python it is NumPy's."""
    compiled = njit(lambda v: function(v))
    return np.array([compiled(v) for v in x], x.dtype)


def launchable(name):
    """The forward and the backward function of an operator, to be called inside a kernel."""
    if not SIMULATED:
        return getattr(kernels, name), getattr(kernels, name + "_backward")
    op = OPS[name]

    def parameters(x):
        return [type(x)(p) for p in op.parameters.values()]

    return lambda x: op.forward(x, *parameters(x)), lambda g, x: g * op.derivative(x, *parameters(x))


def compare(launched, expected, *inputs, room=0.0):
    """Both sides are within 2 units in the last place of the truth, g·f' within another half, and where a derivative crosses
    zero within eps (``room``: twice that, times g).
    """
    y = np.full_like(expected, 7)
    threads = 8
    launched[-(-expected.size // threads), threads](*inputs, y)
    with np.errstate(all="ignore"):
        near = np.abs(y - expected) <= (4 if len(inputs) == 1 else 5) * np.spacing(np.abs(expected)) + room
    assert (near | (y == expected) | (np.isnan(y) & np.isnan(expected))).all(), (inputs[-1], y, expected)


def main():
    rng = np.random.default_rng(0)
    for dtype in (np.float32, np.float64):
        x = np.append(rng.normal(size=4) * 10, [0, -0.0, 1e-40, 700, -700, np.inf, -np.inf, np.nan]).astype(dtype)
        g = rng.normal(size=x.size).astype(dtype)
        for name in elementary.__all__:
            function = getattr(elementary, name)
            compare(one_argument(function), on_cpu(function, x), x)
        for name in OPS:
            forward, backward = launchable(name)
            compare(one_argument(forward), getattr(kernels, name)(x), x)
            room = 2 * np.finfo(dtype).eps * np.abs(g) if OPS[name].crosses_zero else 0.0
            compare(two_arguments(backward), getattr(kernels, name + "_backward")(g, x), g, x, room=room)
    print("simulated" if SIMULATED else "on a GPU")


if __name__ == "__main__":  # pytest imports it, looking for doctests
    main()
