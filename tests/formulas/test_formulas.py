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
from nbgrad.formulas.table import LOSSES, OPS
from nbgrad.kernels.losses import target_slopes

TABLE = {**OPS, **LOSSES}
OF = [(op, formula) for op in TABLE.values() for formula in (op.forward, op.derivative)]
FORMULAS = [formula for _, formula in OF]


@functools.cache
def together(dtype):
    """All formulas, with their default parameters, as one compiled function of (x, target): one compilation instead of fifty."""
    namespace = {f"f{k}": formula for k, formula in enumerate(FORMULAS)}
    calls = []
    for k, (op, _) in enumerate(OF):
        names = [f"p{k}_{name}" for name in op.parameters]
        namespace |= {name: dtype(value) for name, value in zip(names, op.parameters.values(), strict=True)}
        calls.append(f"f{k}({', '.join(['x'] + ['target'] * (op.name in LOSSES) + names)})")
    exec(f"def together(x, target): return ({', '.join(calls)})", namespace)
    return njit(namespace["together"], error_model="numpy")


def compiled(formula, x, target=0.0):
    """The value of a formula in compiled code."""
    return together(type(x))(x, type(x)(target))[FORMULAS.index(formula)]


# Textbook definitions, none of them computed the way nbgrad does it: from the table.
NAMES = {name: getattr(mpmath, name) for name in ("exp", "log", "sqrt", "erfc", "tanh", "pi")}
DEFINITIONS = {
    op.forward: eval(
        f"lambda {', '.join(['x', *['target'] * (op.name in LOSSES), *op.parameters])}: {op.textbook}", {**NAMES}
    )
    for op in TABLE.values()
}  # fmt: skip


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
    if "> 0" in TABLE[formula.__name__].ranges.values() and others[0] == 0 or formula in (f.softplus, f.celu) and abs(others[0]) < 2e-3:
        return  # a parameter > 0; a division by beta or alpha, and the reference's exp ends at e^±100000 (x is up to 200)
    with mpmath.workdps(450):
        true = DEFINITIONS[formula](x, *others)
        # 25 digits: constants such as √(2/π) have 32. Beyond every float a tail may end.
        assert abs(exact(formula)(x, *others) - true) <= abs(true) * mpf(10) ** -25 + mpf(10) ** -340


@pytest.mark.parametrize("op", LOSSES.values(), ids=LOSSES)
@given(x=st.floats(-200, 200), data=st.data())
def test_derivative_in_the_target(op, x, data):
    """None in the table is that of a function of x − target."""
    low, high = op.targets
    t = data.draw(st.floats(max(low, -200), min(high, 200)))
    others = [mpf(data.draw(st.floats(0.5, 4))) for _ in op.parameters]
    if x - t in map(float, op.kinks_at(*others)):
        return
    slope, sign = (op.target_derivative, 1) if op.target_derivative else (op.derivative, -1)
    with mpmath.workdps(450):
        true = derivative(lambda t, x: exact(op.forward)(x, t, *others), mpf(t), mpf(x))
        assert abs(sign * exact(slope)(mpf(x), mpf(t), *others) - true) <= abs(true) * mpf(10) ** -25 + mpf(10) ** -100
    if op.target_derivative:
        for dtype in DTYPES:
            assert type(slope(*map(dtype, (x, t, *map(float, others))))) is dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_target_derivative_keeps_its_digits(dtype):
    """p·ln(1 + e^−x) − ln(1 + e^x) has none left near 0 where p is 1."""
    op, eps = LOSSES["binary_cross_entropy_with_logits"], float(np.finfo(dtype).eps)
    x = np.array([1e-30, -1e-9, 3e-4, -0.1, 0.7, -5, 17.5, -60, 200, -np.inf, np.inf], dtype)
    np.testing.assert_array_equal(target_slopes(op, x, x, {"pos_weight": None}), -x)
    for weight in (1.0, 0.0, 2.5):
        got = target_slopes(op, x, x, {"pos_weight": weight})
        np.testing.assert_array_equal(target_slopes(op, x, x, {"pos_weight": np.full(x.shape, weight)}), got)
        with mpmath.workdps(60):
            for v, value in zip(x[:-2], got, strict=False):
                positive, negative = (mpmath.log1p(mpmath.exp(mpf(float(s * v)))) for s in (-1, 1))
                room = 4 * eps * (abs(weight - 1) * min(positive, negative) + abs(mpf(float(v))))
                assert abs(mpf(float(value)) - (weight * positive - negative)) <= room


@given(st.floats(-300, 300))
def test_tanh_is_a_sigmoid(x):
    sigmoid, tanh = exact(f.sigmoid), exact(f.tanh)
    with mpmath.workdps(450):
        x = mpf(x)
        assert abs(tanh(x) - (2 * sigmoid(2 * x) - 1)) <= mpf(10) ** -400
        assert abs(derivative(tanh, x) - (1 - tanh(x) ** 2)) <= abs(1 - tanh(x) ** 2) * mpf(10) ** -60


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_formula_keeps_its_arguments_type(dtype):
    for op, formula in OF:
        arguments = [dtype(0.5)] * (1 + (op.name in LOSSES))
        plain = formula(*arguments, *map(dtype, op.parameters.values()))
        assert type(plain) is dtype, f"{formula.__name__} in plain Python"
        assert plain == pytest.approx(compiled(formula, *arguments), rel=8 * float(np.finfo(dtype).eps))
    (signature,) = together(dtype).nopython_signatures
    kinds = {f.__name__: str(kind) for f, kind in zip(FORMULAS, signature.return_type, strict=True)}
    assert {name: kind for name, kind in kinds.items() if kind != dtype.__name__} == {}


@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_gives_nan(dtype):
    for op, formula in OF:
        for other in (0.0, 0.25, -3.0, 1.0, np.inf, -np.inf):
            assert np.isnan(compiled(formula, dtype(np.nan), other)), (formula.__name__, other)
            if op.name in LOSSES:
                assert np.isnan(compiled(formula, dtype(other), np.nan)), (formula.__name__, other)


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinity_gives_the_limit(dtype):
    for op in OPS.values():
        forward = exact(op.forward)
        parameters = [mpf(float(dtype(v))) for v in op.parameters.values()]
        with mpmath.workdps(450):
            for sign in (1, -1):
                far = sign * mpf(10) ** 1000
                for formula, true in (
                    (op.forward, forward(far, *parameters)), (op.derivative, derivative(forward, far, *parameters)),
                ):  # fmt: skip
                    limit = dtype(float(true) if abs(true) < 1e300 else sign * np.inf)
                    assert compiled(formula, dtype(sign * np.inf)) == limit, (formula.__name__, sign)


@pytest.mark.parametrize("op", [op for op in TABLE.values() if op.kinks], ids=lambda op: op.name)
@given(st.data())
def test_a_kinks_value_lies_between_the_slopes_at_its_sides(op, data):
    between = {"": (-4, 4), "> 0": (0.125, 4), "in 0..1": (0, 1)}
    parameters = [data.draw(st.floats(*between[op.ranges.get(name, "")])) for name in op.parameters]
    target = [0.0] if op.name in LOSSES else []
    forward = exact(op.forward)
    with mpmath.workdps(150):
        numbers = [mpf(v) for v in target + parameters]
        for kink in op.kinks_at(*parameters):
            h = mpf(10) ** -50
            left, right = ((forward(mpf(kink) + s * h, *numbers) - forward(mpf(kink), *numbers)) / (s * h) for s in (-1, 1))
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
    rel = 2 * float(np.finfo(dtype).eps)
    with mpmath.workdps(60):
        # the kernels' arguments as they are after rounding to the precision
        deep, left, low = (mpf(float(dtype(x))) for x in (22.18, -14.56, -88.7))
        assert compiled(f.d_sigmoid, dtype(22.18)) == pytest.approx(float(mpmath.exp(-deep) / (1 + mpmath.exp(-deep)) ** 2), rel=rel)
        assert compiled(f.d_tanh, dtype(-14.56)) == pytest.approx(float(1 / mpmath.cosh(left) ** 2), rel=rel)
        true = float(1 / (1 + mpmath.exp(-low)))
    value = compiled(f.sigmoid, dtype(-88.7))
    assert value == pytest.approx(true, rel=rel, abs=float(np.finfo(dtype).smallest_subnormal))
    assert 0 < value < np.finfo(np.float32).smallest_normal


@pytest.mark.parametrize("dtype", DTYPES)
def test_zero_keeps_its_sign(dtype):
    for formula in (f.tanh, f.leaky_relu, f.elu):
        value = compiled(formula, dtype(-0.0))
        assert value == 0 and np.signbit(value), formula.__name__


def test_the_exact_arithmetic_knows_every_elementary_function():
    from nbgrad import elementary

    assert all(name in MPMATH and name in LIBM for name in elementary.__all__)
