"""Where the tests' arrays lie. A test that takes the fixture ``device`` runs on each: in an ordinary process on ``cpu`` and, marked so,
on ``gpu``; on ``cudasim``, Numba's simulator, where ``NUMBA_ENABLE_CUDASIM=1`` chose it for the whole process (``pytest -m cudasim``).

Here stands, too, what the simulator is spared: it runs each thread of a kernel in Python, a thousand times slower than the CPU.
"""

import ctypes
import sys

import numpy as np
import pytest
from numba import config
from strategies import INPUT_LAYOUTS, LAYOUTS, lay, same_bits

import nbgrad

SIMULATED = bool(config.ENABLE_CUDASIM)
DTYPES = (np.float32, np.float64)

if SIMULATED:
    # A simulated thread waits for the others by asking again and again. Left at 5 ms the tests take 5 times as long.
    sys.setswitchinterval(1e-4)


def unless_simulated(*cases):
    """Cases too large for the simulator."""
    return () if SIMULATED else cases


def on_a_gpu(*cases, names=1):
    """Cases that a GPU takes in many blocks; of several ``names`` each is a tuple of values. The CPU is spared them."""
    return () if SIMULATED else tuple(pytest.param(*(case if names > 1 else (case,)), marks=pytest.mark.gpu) for case in cases)


def few(many, less):
    """What the simulator makes do with, of cases or sizes: the second."""
    return less if SIMULATED else many


class Device:
    """The CPU, or with ``extra`` units in the last place between its results and the CPU's, a device of CUDA's.

    ``tensors`` is what Tensors call it, ``layouts`` and ``out_layouts`` are how arrays may lie there.
    """

    def __init__(self, name, extra=0):
        self.name, self.extra = name, extra
        self.cpu = extra == 0
        self.tensors = "cpu" if self.cpu else "cuda"
        there = ("contiguous", "offset", "strided", "backwards", "fortran", "transposed")
        self.layouts, self.out_layouts = (tuple(sorted(INPUT_LAYOUTS)), tuple(sorted(LAYOUTS))) if self.cpu else (there, there)

    def __repr__(self):
        return self.name

    # ---- arrays there and back

    def array(self, array):
        """A copy on the device."""
        array = np.asarray(array)
        if self.name == "cudasim":
            from numba import cuda

            return cuda.to_device(np.ascontiguousarray(array).reshape(array.shape))
        if self.name == "gpu":
            import cupy

            return cupy.asarray(array)
        return array.copy()

    def arrays(self, values):
        """A dict, list or tuple of arguments, its arrays on the device; others are what they are."""
        if isinstance(values, dict):
            return {name: self.arrays(value) for name, value in values.items()}
        if isinstance(values, (list, tuple)):
            return type(values)(map(self.arrays, values))
        return self.array(values) if isinstance(values, np.ndarray) else values

    def numpy(self, array):
        """What it holds. (An answer of another kind than the device's fails.)"""
        if self.name == "cudasim":
            return array.copy_to_host()
        if self.name == "gpu":
            import cupy

            assert isinstance(array, cupy.ndarray)
            return cupy.asnumpy(array)
        assert isinstance(array, (np.ndarray, np.generic))
        return np.asarray(array)

    def lay(self, array, layout):
        """A copy that lies so: `strategies.lay`, on the device."""
        laid = lay(np.asarray(array), layout)
        if self.name == "cudasim":
            from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

            return FakeCUDAArray(laid)
        if self.name == "gpu" and laid.size:
            import cupy

            low, high = np.lib.array_utils.byte_bounds(laid)
            memory = cupy.asarray(np.frombuffer((ctypes.c_ubyte * (high - low)).from_address(low), np.uint8))
            start = memory.data + (laid.ctypes.data - low)
            return cupy.ndarray(laid.shape, laid.dtype, start, laid.strides)
        return self.array(laid) if self.name == "gpu" else laid

    def tensor(self, data, dtype=None, requires_grad=False):
        return nbgrad.tensor(data, dtype, requires_grad=requires_grad, device=self.tensors)

    # ---- how near results must be

    def ulps(self, on_cpu):
        """Units in the last place from the truth, of a function of which the CPU's result is within ``on_cpu`` of it."""
        return on_cpu + self.extra

    def slack(self, dtype):
        """The same, relative."""
        return self.extra * float(np.finfo(dtype).eps)

    def near(self, got, want, terms=0.0, ulps=0.0):
        """``got`` (on the device) is ``want`` to ``ulps`` of the larger of it and ``terms``, the size of what cancelled in it;
        and to what the device may differ.
        """
        got, want = self.numpy(got), np.asarray(want)
        assert got.shape == want.shape and got.dtype == want.dtype
        with np.errstate(all="ignore"):
            unit = np.spacing(np.maximum(np.abs(want), np.abs(terms)).astype(want.dtype))
            good = np.abs(got - want) <= self.ulps(ulps) * unit
        good |= (got == want) | (np.isnan(got) & np.isnan(want))
        assert good.all(), (got[~good], want[~good])

    def same(self, got, want):
        """The same bits, but for the sign of zero."""
        got, want = self.numpy(got), np.asarray(want)
        assert got.shape == want.shape and got.dtype == want.dtype
        assert np.array_equal(got, want, equal_nan=want.dtype.kind == "f"), (got, want)

    def alike(self, got, want, terms=0.0, ulps=0.0):
        """``got`` (on the device), of a function that gives ``want``: on the CPU the same bits, the sign of zero among them."""
        if self.cpu:
            same_bits(got, want)
        else:
            self.near(got, want, terms, ulps)


CPU = Device("cpu")
#: In the simulator formulas are plain Python on NumPy's numbers, where sums and products are not put right (e^−100 of a rounded 100 is
#: off by 50 ulp): the arithmetic is tested in compiled code (``kernels/test_cuda_scalars.py``).
CUDA = Device("cudasim", extra=256) if SIMULATED else Device("gpu", extra=4)
ALL = (CUDA,) if SIMULATED else (CPU, CUDA)
ULPS = CUDA.extra
put, get, near, same = CUDA.array, CUDA.numpy, CUDA.near, CUDA.same
