"""Arrays on the device: in the simulator Numba's stand-in, on a GPU CuPy's. How near results must be."""

import numpy as np
from numba import config

SIMULATED = bool(config.ENABLE_CUDASIM)
DTYPES = (np.float32, np.float64)
#: Units in the last place between GPU and CPU. In the simulator formulas are plain Python on NumPy's numbers, where sums and products
#: are not put right (e^−100 of a rounded 100 is off by 50 ulp): the arithmetic is tested in compiled code (``test_cuda_scalars.py``).
ULPS = 256 if SIMULATED else 4


def put(array):
    """An array on the device."""
    array = np.asarray(array)
    if SIMULATED:
        from numba import cuda

        return cuda.to_device(np.ascontiguousarray(array).reshape(array.shape))
    import cupy

    return cupy.asarray(array)


def get(array):
    """What it holds."""
    if SIMULATED:
        return array.copy_to_host()
    import cupy

    assert isinstance(array, cupy.ndarray)
    return cupy.asnumpy(array)


def near(got, want, terms=0.0, ulps=ULPS):
    """``got`` (on the device) is ``want`` to ``ulps`` of the larger of it and ``terms``, the size of what cancelled in it."""
    got, want = get(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    with np.errstate(all="ignore"):
        unit = np.spacing(np.maximum(np.abs(want), np.abs(terms)).astype(want.dtype))
        good = np.abs(got - want) <= ulps * unit
    good |= (got == want) | (np.isnan(got) & np.isnan(want))
    assert good.all(), (got[~good], want[~good])


def same(got, want):
    """The same bits."""
    got, want = get(got), np.asarray(want)
    assert got.shape == want.shape and got.dtype == want.dtype
    assert np.array_equal(got, want, equal_nan=want.dtype.kind == "f"), (got, want)
