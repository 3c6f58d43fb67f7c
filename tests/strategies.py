"""What hypothesis draws for the kernels: floats by their bits, shapes, and every way an array can lie in memory."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbgrad.formulas.table import OPS
from nbgrad.testing import GradientError, check_autograd

DTYPES = (np.float32, np.float64)
dtypes = st.sampled_from(DTYPES)
#: Operators with 0, 1 and 2 parameters, for what is made of the table in one way for all rows and takes long to compile.
FEW_OPS = {name: OPS[name] for name in ("tanh", "elu", "hardtanh")}


def bits(dtype):
    """Unsigned integers as wide as ``dtype``."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def arrays(dtype, shape):
    """Any float at all, uniform in the bits: log-uniform over all exponents, subnormal numbers, ±0, ±inf and nan among them; or ordinary."""
    return hnp.arrays(bits(dtype), shape).map(lambda a: a.view(dtype)) | ordinary(dtype, shape)


def ordinary(dtype, shape):
    return hnp.arrays(dtype, shape, elements=st.floats(-30, 30, width=np.finfo(dtype).bits))


def shapes(min_dims=0, max_dims=4, min_side=0, max_side=4):
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=min_side, max_side=max_side)


def same_bits(a, b):
    """Equal to the last bit, the sign of zero included; all nan are one."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
    equal = (a == b) & (np.signbit(a) == np.signbit(b)) | (np.isnan(a) & np.isnan(b))
    assert equal.all(), (a[~equal][:5], b[~equal][:5], np.argwhere(~equal)[:5])


def native(array, dtype):
    """In the machine's order of bytes; arrays on CUDA have no other."""
    return array.astype(dtype) if isinstance(array, np.ndarray) else array


def nearly_same(a, b):
    """Of the same dtype and shape, and equal to 8 units in the last place of b's precision."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape, (a.dtype, b.dtype, a.shape, b.shape)
    eps = np.finfo(b.dtype).eps if b.dtype.kind == "f" else 0
    np.testing.assert_allclose(a, b, rtol=8 * eps, atol=0)


def _strided(a, step):
    big = np.full(tuple(2 * n + 1 for n in a.shape), 7, a.dtype)
    view = big[(*(slice(None, None, step) for _ in a.shape), ...)][(*(slice(0, n) for n in a.shape), ...)]
    view[...] = a
    return view


def _fortran(a):
    return np.array(a, order="F")


def _transposed(a):
    return np.array(a.T, order="C").T


def _read_only(a):
    a = a.copy() if a.flags.owndata else a
    a.flags.writeable = False
    return a


def _unaligned(a):
    view = np.empty(a.nbytes + 1, np.uint8)[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


def _packed(a):
    table = np.zeros(a.shape, [("tag", "u1"), ("value", a.dtype), ("more", "u1")])
    table["value"] = a
    return table["value"]


def _swapped(a):
    return a.astype(a.dtype.newbyteorder())


def _offset(a):
    view = np.empty(a.size + 3, a.dtype)[3:].reshape(a.shape)
    view[...] = a
    return view


#: one name a layout: the same values, lying otherwise in memory
LAYOUTS = {
    "contiguous": np.copy,
    "offset": _offset,
    "strided": lambda a: _strided(a, 2),
    "backwards": lambda a: _strided(a, -2),
    "fortran": _fortran,
    "transposed": _transposed,
    "byte-swapped": _swapped,
    "unaligned": _unaligned,
    "packed": _packed,
    "byte-swapped backwards": lambda a: _strided(_swapped(a), -1),
}
READ_ONLY_LAYOUTS = {
    "read-only": _read_only,
    "read-only strided": lambda a: _read_only(_strided(a, 2)),
    "buffer": lambda a: np.frombuffer(b"x" + a.tobytes(), a.dtype, a.size, 1).reshape(a.shape),
}
INPUT_LAYOUTS = LAYOUTS | READ_ONLY_LAYOUTS
layouts = st.sampled_from(sorted(INPUT_LAYOUTS))
out_layouts = st.sampled_from(sorted(LAYOUTS))


def lay(array, layout):
    return INPUT_LAYOUTS[layout](array)


def grid(shape, offset=0, low=-3, unique=False):
    """float64 arrays of multiples of 1/8 in [low, 3], moved by 1/16 + offset/32, so that no two with different offsets are equal and
    none is 0: away from kinks. `unique`: no two elements equal.
    """
    numbers = st.integers(8 * low, 23).map(lambda i: i / 8 + 1 / 16 + offset / 32)
    return hnp.arrays(np.float64, shape, elements=numbers, unique=unique)


def check_tensors(function, *arrays, rng=None, device=None):
    """The gradients of a function of Tensors (on the device) against differences of it. What is drawn may make the function
    constant, where no digit of its slope of 0 can be confirmed: that is no fault.
    """

    def on_device(*tensors):
        return function(*(t.to(device.tensors) for t in tensors)).cpu()

    try:
        check_autograd(on_device if device else function, *arrays, framework="nbgrad", rng=rng, strict=True)
    except GradientError as error:
        if error.verdict != "unconfirmed":
            raise
