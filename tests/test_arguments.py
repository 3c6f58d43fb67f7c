"""Arguments that are no arrays: which numbers, axes and choices pass, and which errors the others get."""

import numpy as np
import pytest
from strategies import DTYPES

from nbgrad import arguments as a


@pytest.mark.parametrize(
    "value",
    [
        2,
        2.5,
        np.float32(2.5),
        np.float64(2.5),
        np.int8(2),
        np.inf,
        -np.inf,
        np.nan,
        np.array(2.5),
        np.array(2.5, ">f4"),
        np.array(2, np.uint8),
        np.broadcast_to(np.float32(2.5), ()),
    ],
)
def test_parameters(value):
    for dtype in DTYPES:
        got = a.check_number(value, "alpha", np.dtype(dtype))
        assert type(got) is dtype and (got == value or np.isnan(value))


@pytest.mark.parametrize("value", [0.0, 1e-300, -1e-40, 1e-30, 3.3e-31, 0.1, 1e30, -1.1e30, 3e38])
def test_parameters_under_the_callers_errstate(value):
    """Also those that become subnormal or 0 in the precision."""
    for dtype in DTYPES:
        with np.errstate(all="ignore"):
            expected = dtype(value)
        with np.errstate(all="raise"):
            assert a.check_number(value, "alpha", np.dtype(dtype)) == expected


@pytest.mark.parametrize(
    "value",
    [
        True,
        np.bool_(False),
        "1",
        None,
        1j,
        [1.0],
        np.array([1.0]),
        np.array(True),
        np.array("1"),
        np.array(1j),
        np.array(None),
        np.ma.array(1.0),
        np.ma.array(1.0, mask=True),
    ],
    ids=repr,
)
def test_parameters_that_are_no_numbers(value):
    with pytest.raises(TypeError, match="^alpha: expected a real number, got "):
        a.check_number(value, "alpha", np.dtype(np.float64))


@pytest.mark.parametrize(("value", "dtype"), [(10**400, np.float64), (1e300, np.float32), (np.float64(-1e39), np.float32)])
def test_parameters_beyond_the_precision(value, dtype):
    with pytest.raises(ValueError, match=f"^alpha: expected a number in the range of {np.dtype(dtype)}"):
        a.check_number(value, "alpha", np.dtype(dtype))


def test_axis():
    assert [a.normalize_axis(axis, 3) for axis in (-3, -1, 0, 2, np.int64(1))] == [0, 2, 0, 2, 1]
    for axis in (-4, 3, 10**30):
        with pytest.raises(ValueError, match=f"^axis: expected -3..2 for 3 dimensions, got {axis}$"):
            a.normalize_axis(axis, 3)
    for axis in (1.0, None, "0", (0, 1)):
        with pytest.raises(TypeError, match="^axis: expected an integer, got "):
            a.normalize_axis(axis, 3)
    with pytest.raises(ValueError, match="^axis: expected an array of at least 1 dimension"):
        a.normalize_axis(-1, 0)


def test_choices():
    a.check_choice("sum", "reduction", ("mean", "sum"))
    for wrong in ("max", None, 1, [1]):
        with pytest.raises(ValueError, match="^reduction: expected one of 'mean', 'sum', got "):
            a.check_choice(wrong, "reduction", ("mean", "sum"))
