"""exp, expm1, log, log1p: at most 1 ulp (erf, erfc: 2) wherever they are called, for every kind of number."""

import numpy as np
import pytest
from numba import njit, prange
from reference import LIBM, MPMATH, float32_inputs, float_inputs, worst_ulps, worst_ulps_float32
from scipy import special
from strategies import DTYPES, same_bits

from nbgrad import elementary

NAMES = elementary.__all__
BOUND = {name: 2 if name in ("erf", "erfc") else 1 for name in NAMES}
NUMPY = {name: getattr(special if name in ("erf", "erfc") else np, name) for name in NAMES}
# A caller's flags must not reach the functions: reassoc would cancel the rounding trick of exp.
FLAGS = {"contract", "reassoc", "nsz", "arcp", "afn"}


def loop(function, **options):
    @njit(error_model="numpy", **options)
    def over(x, out):
        for i in prange(x.size):
            out[i] = function(x[i])
        return out

    return lambda x: over(x, np.empty_like(x))


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def compiled(name):
    return loop(getattr(elementary, name))


def test_float32_within_its_bound(name, compiled):
    x = float32_inputs()
    with np.errstate(all="ignore"):
        true = loop(LIBM[name])(x.astype(np.float64))
    error, where = worst_ulps_float32(compiled(x), true, x)
    assert error <= BOUND[name], f"{error:.3f} ulp at {where!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_within_its_bound_of_mpmath(name, compiled, dtype):
    x = float_inputs(dtype, 3000)
    if name in ("log", "log1p"):
        x = np.where(x <= (0 if name == "log" else -1), np.abs(x), x)
    if dtype is np.float64 and name in ("exp", "expm1"):
        x = np.append(
            x,
            [
                709.78271289338397,
                709.782712893384,
                -708.3964185322641,
                -745.1332191019411,
                -745.13321910194122,
            ],
        )
    error, where = worst_ulps(compiled(x), x, MPMATH[name])
    assert error <= BOUND[name], f"{error:.3f} ulp at {where!r}"


@pytest.mark.parametrize("dtype", DTYPES)
def test_limits(name, compiled, dtype):
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.0, -2.0, -np.finfo(dtype).max, np.finfo(dtype).max], dtype)
    with np.errstate(all="ignore"):
        true = NUMPY[name](x.astype(np.float64)).astype(dtype)
    special = np.isnan(true) | np.isinf(true) | (true == 0)  # the C library's are exact there, -0 included
    same_bits(compiled(x)[special], true[special])


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_callers_fastmath_and_threads_change_nothing(compiled, name, dtype):
    x = float_inputs(dtype, 3000)
    expected = compiled(x)
    same_bits(loop(getattr(elementary, name), fastmath=FLAGS)(x), expected)
    if dtype is np.float32:
        same_bits(loop(getattr(elementary, name), fastmath=FLAGS, parallel=True)(x), expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_elements_place_changes_nothing(compiled, dtype):
    x = float_inputs(dtype, 300)
    whole = compiled(x)
    for length in (1, 2, 3, 7, 17, 31, 33):
        for start in (0, 1, 5):
            same_bits(compiled(x[start : start + length].copy()), whole[start : start + length])


def test_results_keep_the_type(name):
    function = getattr(elementary, name)

    @njit
    def call(x):
        return function(x)

    for dtype in DTYPES:
        call(dtype(0.5))
    assert [str(s.return_type) for s in call.nopython_signatures] == ["float32", "float64"]
    for number in (1, np.int8(1), np.uint64(1), True):
        assert call(number) == pytest.approx(NUMPY[name](1.0), rel=1e-15, abs=0)


def test_called_from_python_they_are_numpys_and_scipys(name, recwarn):
    x = np.array([-2.0, -1.0, 0.0, 0.5, 1000.0, np.nan])
    with np.errstate(all="ignore"):
        expected = NUMPY[name](x)
    same_bits(getattr(elementary, name)(x), expected)
    assert not recwarn


def test_numbers_other_than_real_ones_are_refused(name):
    function = getattr(elementary, name)

    @njit
    def call(x):
        return function(x)

    with pytest.raises(Exception, match=name):
        call(1j)
