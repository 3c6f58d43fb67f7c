"""Each formula is the function that its name promises, for numbers of both precisions, in compiled and in plain Python."""

import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mpf
from numba import njit
from reference import LIBM, MPMATH, derivative, exact
from strategies import DTYPES

from nbgrad import formulas as f
from nbgrad.ops import LOSSES, OPS

TABLE = {**OPS, **LOSSES}
OF = [(op, formula) for op in TABLE.values() for formula in (op.forward, op.derivative)]
IDS = [formula.__name__ for _, formula in OF]


@functools.cache
def compiled(formula):
    """One compilation of a formula for all tests."""
    return njit(formula, error_model="numpy")


# Textbook definitions, none of them computed the way nbgrad does it: the activations' from the table.
NAMES = {name: getattr(mpmath, name) for name in ("exp", "log", "sqrt", "erfc", "tanh", "pi")}
DEFINITIONS = {
    op.forward: eval(f"lambda x, {', '.join(op.parameters)}: {op.textbook}", {**NAMES}) for op in OPS.values()
} | {
    f.squared_error: lambda x, t: (x - t) ** 2,
    f.absolute_error: lambda x, t: max(x - t, t - x),
    f.huber: lambda x, t, delta: (
        (x - t) ** 2 / 2 if abs(x - t) <= delta else delta * (abs(x - t) - delta / 2)
    ),
    f.binary_cross_entropy_with_logits: lambda x, t, p: (
        -p * t * mpmath.log(1 / (1 + mpmath.exp(-x))) - (1 - t) * mpmath.log(1 / (1 + mpmath.exp(x)))
    ),
}


@pytest.mark.parametrize("formula", DEFINITIONS, ids=lambda formula: formula.__name__)
@given(st.data())
def test_definition(formula, data):
    numbers = st.floats(-200, 200).map(mpf)
    x = data.draw(numbers)
    count = formula.__code__.co_argcount - 1
    if formula.__name__ in LOSSES:
        others = [mpf(data.draw(st.floats(0, 1)))] * count
    else:
        others = [data.draw(numbers) for _ in range(count)]
    if formula is f.huber and others[0] == 0 or formula in (f.softplus, f.celu) and abs(others[0]) < 1e-3:
        return  # delta > 0; a division by beta or alpha
    with mpmath.workdps(450):
        true = DEFINITIONS[formula](x, *others)
        # 25 digits: constants such as √(2/π) have 32. Beyond every float a tail may end.
        assert abs(exact(formula)(x, *others) - true) <= abs(true) * mpf(10) ** -25 + mpf(10) ** -340


@given(st.floats(-300, 300))
def test_tanh_is_a_sigmoid(x):
    sigmoid, tanh = exact(f.sigmoid), exact(f.tanh)
    with mpmath.workdps(450):
        x = mpf(x)
        assert abs(tanh(x) - (2 * sigmoid(2 * x) - 1)) <= mpf(10) ** -400
        assert abs(derivative(tanh, x) - (1 - tanh(x) ** 2)) <= abs(1 - tanh(x) ** 2) * mpf(10) ** -60


@pytest.mark.parametrize(("op", "formula"), OF, ids=IDS)
def test_a_formula_keeps_its_arguments_type(op, formula):
    function = compiled(formula)
    count = formula.__code__.co_argcount
    for dtype in DTYPES:
        arguments = [dtype(0.5)] * count
        value = function(*arguments)
        plain = formula(*arguments)
        assert type(plain) is dtype, "in plain Python"
        assert plain == pytest.approx(value, rel=8 * float(np.finfo(dtype).eps))
    assert sorted(str(s.return_type) for s in function.nopython_signatures) == ["float32", "float64"]


@pytest.mark.parametrize(("op", "formula"), OF, ids=IDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_gives_nan(op, formula, dtype):
    function = compiled(formula)
    parameters = [dtype(v) for v in op.parameters.values()]
    numbers = formula.__code__.co_argcount - len(parameters)
    values = [dtype(v) for v in (0.0, 0.25, -3.0, 1.0, np.inf, -np.inf)]
    for place in range(numbers):
        for other in values:
            arguments = [dtype(np.nan) if i == place else other for i in range(numbers)]
            assert np.isnan(function(*arguments, *parameters)), arguments


@pytest.mark.parametrize(
    ("op", "formula"),
    [(op, g) for op, g in OF if op in OPS.values()],
    ids=lambda v: getattr(v, "__name__", ""),
)
@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_gives_the_limit(op, formula, dtype):
    function = compiled(formula)
    parameters = [dtype(v) for v in op.parameters.values()]
    forward = exact(op.forward)
    exactly = forward if formula is op.forward else lambda x, *p: derivative(forward, x, *p)
    with mpmath.workdps(450):
        for sign in (1, -1):
            far = exactly(sign * mpf(10) ** 1000, *(mpf(float(p)) for p in parameters))
            limit = dtype(float(far) if abs(far) < 1e300 else sign * np.inf)
            assert function(dtype(sign * np.inf), *parameters) == limit


@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.kinks], ids=lambda op: op.name)
@given(st.data())
def test_a_kinks_value_lies_between_the_slopes_at_its_sides(op, data):
    parameters = [data.draw(st.floats(-4, 4)) for _ in op.parameters]
    target = [0.0] if op.name in LOSSES else []
    forward = exact(op.forward)
    with mpmath.workdps(150):
        numbers = [mpf(v) for v in target + parameters]
        for kink in op.kinks_at(*parameters):
            h = mpf(10) ** -50
            left, right = (
                (forward(mpf(kink) + s * h, *numbers) - forward(mpf(kink), *numbers)) / (s * h)
                for s in (-1, 1)
            )
            for zero in (0.0, -0.0):
                value = op.derivative(np.float64(kink) + zero, *map(np.float64, target + parameters))
                assert min(left, right) - mpf(10) ** -20 <= value <= max(left, right) + mpf(10) ** -20


def test_the_documented_values_at_the_kinks():
    for zero in (np.float32(0.0), np.float32(-0.0)):
        assert f.d_relu(zero) == 0
        assert f.d_leaky_relu(zero, np.float32(0.25)) == 0.25
        assert f.d_elu(zero, np.float32(-3)) == -3
        assert f.d_absolute_error(zero, np.float32(0)) == 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_known_values(dtype):
    sigmoid, d_sigmoid, d_tanh = compiled(f.sigmoid), compiled(f.d_sigmoid), compiled(f.d_tanh)
    rel = 2 * float(np.finfo(dtype).eps)
    with mpmath.workdps(60):
        # the kernels' arguments as they are after rounding to the precision
        deep, left, low = (mpf(float(dtype(x))) for x in (22.18, -14.56, -88.7))
        assert d_sigmoid(dtype(22.18)) == pytest.approx(
            float(mpmath.exp(-deep) / (1 + mpmath.exp(-deep)) ** 2), rel=rel
        )
        assert d_tanh(dtype(-14.56)) == pytest.approx(float(1 / mpmath.cosh(left) ** 2), rel=rel)
        true = float(1 / (1 + mpmath.exp(-low)))
    value = sigmoid(dtype(-88.7))
    assert value == pytest.approx(true, rel=rel, abs=float(np.finfo(dtype).smallest_subnormal))
    assert 0 < value < np.finfo(np.float32).smallest_normal


@pytest.mark.parametrize("name", ["tanh", "leaky_relu", "elu"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_keeps_its_sign(name, dtype):
    op = OPS[name]
    value = compiled(op.forward)(dtype(-0.0), *(dtype(v) for v in op.parameters.values()))
    assert value == 0 and np.signbit(value)


def test_the_exact_arithmetic_knows_every_elementary_function():
    from nbgrad import elementary

    assert all(name in MPMATH and name in LIBM for name in elementary.__all__)
