"""The checks and conversions that every kernel shares: which arguments pass, unchanged, and which errors the others get."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import DTYPES, INPUT_LAYOUTS, LAYOUTS, arrays, dtypes, lay, layouts, same_bits, shapes

from nbgrad import arrays as a
from nbgrad import kernels

FOREIGN = [
    np.float16(1),
    np.longdouble(1),
    1j,
    np.complex64(1),
    object(),
    None,
    "1",
    b"1",
    [1, "a"],
    10**400,
    np.datetime64("2020-01-01"),
    np.timedelta64(1, "s"),
    np.zeros(2, [("value", "f4")]),
    np.array([1.0, None], object),
    [[1.0], [1.0, 2.0]],
    np.ma.array([1.0], mask=[True]),
    {"a": 1},
]


def names(name):
    """The message names the argument first."""
    return "^" + re.escape(name) + ": expected "


@given(st.data())
def test_floats_keep_precision_and_values(data):
    dtype = data.draw(dtypes)
    array = data.draw(arrays(dtype, data.draw(shapes())))
    for layout in INPUT_LAYOUTS:
        got = a.as_float(lay(array, layout), "x")
        assert got.dtype == np.dtype(dtype) and got.dtype.isnative
        same_bits(np.array(got), array)
    with np.errstate(invalid="ignore"):  # a signaling nan warns when it is converted
        same_bits(a.as_float(array.tolist(), "x").reshape(array.shape), array.astype(np.float64))


@pytest.mark.parametrize("dtype", ["?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i4", ">u2"])
def test_integers_and_bools_become_float64(dtype):
    got = a.as_float(np.array([0, 1, 1], dtype), "x")
    same_bits(got, np.array([0.0, 1.0, 1.0]))


@pytest.mark.parametrize("number", [2, 2.0, True, np.float32(2), np.int8(2), np.bool_(True)], ids=lambda v: type(v).__name__)
def test_numbers(number):
    got = a.as_float(number, "x")
    assert got.shape == () and got == number
    assert got.dtype == (np.float32 if isinstance(number, np.float32) else np.float64)


@pytest.mark.parametrize("value", FOREIGN, ids=lambda v: f"{type(v).__name__}")
def test_everything_else_is_refused(value):
    with pytest.raises(TypeError, match=names("grad_output")):
        a.as_float(value, "grad_output")
    if not isinstance(value, np.ma.MaskedArray):
        with pytest.raises(TypeError, match=names("target")):
            a.as_labels(value, "target")


def test_a_mask_is_never_dropped():
    for check in (a.as_array, a.as_float, a.as_labels):
        with pytest.raises(TypeError, match="t: expected an array without a mask, got a masked array"):
            check(np.ma.array([1, 2], mask=[False, True]), "t")


def test_memory_of_another_device_is_refused():
    class Elsewhere:
        __cuda_array_interface__ = {"shape": (1,), "typestr": "<f4", "data": (1, False), "version": 3}

    with pytest.raises(TypeError, match="x: expected an array in the CPU's memory, got a CUDA array"):
        a.as_float(Elsewhere(), "x")


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ((np.float32(1), 2.0), np.float32),
        ((2, np.ones(2, np.float32)), np.float32),
        ((True, np.ones(2, np.float32)), np.float32),
        ((1.0, 2.0), np.float64),
        ((np.float32(1), np.float32(2)), np.float32),
        ((np.float32(1), np.float64(2)), np.float64),
        ((np.ones(2, ">f4"), 1.0), np.float32),
        ((np.float32(1), np.int8(2)), np.float64),
        ((np.float32(1), [2.0]), np.float64),
    ],
)
def test_the_wider_precision_wins_and_pythons_numbers_adapt(values, dtype):
    for pair in (values, values[::-1]):
        got, common = a.as_floats({"x": pair[0], "y": pair[1]})
        assert common == dtype and all(array.dtype == dtype for array in got)


@pytest.mark.parametrize("ndim", [32, 33, 64])
def test_broadcast_in_as_many_dimensions_as_there_are(ndim):
    """NumPy's own function takes 32 of the 64."""
    first, second = np.zeros((1,) * (ndim - 1) + (3,)), np.zeros((2,) + (1,) * (ndim - 1))
    assert a.broadcast({"x": first, "y": second, "z": np.zeros(3)}) == (2, *(1,) * (ndim - 2), 3)
    with pytest.raises(ValueError, match=r"x: expected shapes that broadcast together, got x \(1, .*, y \(4,\)"):
        a.broadcast({"x": first, "y": np.zeros(4)})
    assert kernels.sigmoid_backward(first, second).shape == (2, *(1,) * (ndim - 2), 3)


@given(st.data())
def test_broadcast_is_numpys(data):
    first, second = data.draw(shapes()), data.draw(shapes())
    pair = {"grad_output": np.zeros(first), "x": np.zeros(second)}
    try:
        expected = np.broadcast_shapes(first, second)
    except ValueError:
        with pytest.raises(ValueError, match=names("grad_output")) as error:
            a.broadcast(pair)
        assert str(first) in str(error.value) and str(second) in str(error.value)
    else:
        assert a.broadcast(pair) == expected


@given(st.data())
def test_contiguous(data):
    dtype, layout = data.draw(dtypes), data.draw(layouts)
    array = data.draw(arrays(dtype, data.draw(shapes())))
    laid = a.as_float(lay(array, layout), "x")
    got = a.contiguous(laid)
    assert got.flags.c_contiguous and got.flags.aligned and got.flags.writeable
    same_bits(got, array)
    if laid.flags.c_contiguous and laid.flags.aligned and laid.size:
        assert np.shares_memory(got, laid), "no copy where none is needed"
    wide = a.contiguous(laid, (2, *array.shape))
    same_bits(wide, np.broadcast_to(array, (2, *array.shape)))
    assert wide.flags.c_contiguous


def test_contiguous_keeps_the_memory_alive():
    views = []
    for i in range(50):
        array = np.full(10_000, float(i))
        array.flags.writeable = False
        views.append(a.contiguous(array))
        del array
    assert all((view == i).all() for i, view in enumerate(views))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_outputs_of_every_layout_pass(layout):
    for dtype in DTYPES:
        a.output(lay(np.zeros((2, 3), dtype), layout), (2, 3), np.dtype(dtype))


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ([0.0, 0.0], TypeError, "out: expected a numpy.ndarray, got list"),
        (np.float64(0), TypeError, "out: expected a numpy.ndarray, got float64"),
        (np.ma.zeros(2), TypeError, "out: expected a numpy.ndarray, got MaskedArray"),
        (np.zeros(2, np.float32), TypeError, "out: expected dtype float64, got float32"),
        (np.zeros(2, np.int64), TypeError, "out: expected dtype float64, got int64"),
        (np.zeros(3), ValueError, "out: expected shape (2,), got (3,)"),
        (np.zeros((1, 2)), ValueError, "out: expected shape (2,), got (1, 2)"),
        (np.zeros(()), ValueError, "out: expected shape (2,), got ()"),
        (np.frombuffer(bytes(16)), ValueError, "out: expected a writeable array, got a read-only one"),
        (
            np.lib.stride_tricks.as_strided(np.zeros(1), (2,), (0,)),
            ValueError,
            "out: expected memory for each element, got a broadcast view",
        ),
    ],
)
def test_bad_outputs(out, error, message):
    with pytest.raises(error, match="^" + re.escape(message)):
        a.output(out, (2,), np.dtype(np.float64))


def test_store():
    scalar = a.store(np.array(1.5, np.float32), None)
    assert type(scalar) is np.float32
    out = np.zeros(())
    assert a.store(np.array(1.5), out) is out and out == 1.5


@pytest.mark.parametrize("dtype", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", ">i8", ">u2", ">u8"])
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
def test_labels_of_every_layout(dtype, layout):
    labels = np.array([[0, 1, 2], [3, 4, 127]], dtype)
    got = a.as_labels(lay(labels, layout), "target")
    assert got.dtype == np.int64 and got.dtype.isnative and got.flags.c_contiguous and got.flags.aligned
    assert (got == labels).all()


def test_labels_that_are_none():
    assert a.as_labels([1, 2], "target").tolist() == [1, 2]
    for wrong in ([1.0], np.float32(1), [True], ["a"], [np.nan]):
        with pytest.raises(TypeError, match="^target: expected integer class labels, got "):
            a.as_labels(wrong, "target")
    for dtype in ("<u8", ">u8"):
        with pytest.raises(ValueError, match=r"^target: expected labels below 2\*\*63, got 18446744073709551615"):
            a.as_labels(np.array([0, 2**64 - 1], dtype), "target")
