"""Where limits decide: infinities, nan, zeros of both signs, numbers too small or too large on the way; parameters at their limits."""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from numba import njit
from strategies import DTYPES, same_bits

from nbgrad import kernels
from nbgrad.formulas.table import OPS
from nbgrad.kernels import (
    binary_cross_entropy_with_logits_value_and_grad,
    cross_entropy,
    gelu,
    gelu_backward,
    huber_loss,
    log_softmax,
    logsumexp,
    logsumexp_backward,
    softmax,
    softmax_backward,
)

INF, NAN = np.inf, np.nan
ODD = (
    "tanh", "relu", "leaky_relu", "elu", "silu", "gelu", "gelu_tanh", "mish", "softsign", "selu", "celu", "hardtanh",
    "relu6", "hardswish",
)  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ODD)
def test_zero_keeps_its_sign(name, dtype):
    """Through the vectors of an array and as a number."""
    function = getattr(kernels, name)
    x = np.tile(np.array([0.0, -0.0], dtype), 40)
    same_bits(function(x), x)
    same_bits(function(dtype(-0.0)), dtype(-0.0))


def test_what_dies_out_below_keeps_the_sign():
    for name in ("silu", "gelu", "gelu_tanh", "mish"):
        for x in (-INF, -1e30, -2000.0):
            assert np.signbit(getattr(kernels, name)(x)) and getattr(kernels, name)(x) == 0, (name, x)


@pytest.mark.parametrize("repeat", [1, 100], ids=["short", "long"])
@pytest.mark.parametrize(
    ("row", "value", "slopes"),
    [
        ([0, INF], INF, [0, 1]),
        ([INF, INF, 0], INF, [0.5, 0.5, 0]),
        ([INF, -INF], INF, [1, 0]),
        ([NAN, INF], NAN, [NAN, NAN]),
        ([INF, NAN, 0], NAN, [NAN] * 3),
        ([-INF, NAN], NAN, [NAN, NAN]),
        ([-INF, -INF], -INF, [NAN, NAN]),
        ([-INF, 3], 3, [0, 1]),
    ],
    ids=str,
)
def test_logsumexp_of_infinities(row, value, slopes, repeat, device):
    """Alone, and followed by −inf to the length of a long row; beside an ordinary row, along either axis."""
    for dtype in DTYPES:
        x = np.full((2, repeat + len(row)), -INF, dtype)
        x[0, : len(row)], x[1, 0] = row, 7
        expected = np.zeros_like(x)
        expected[0, : len(row)], expected[1, 0] = slopes, 1
        if np.isnan(slopes[0]):
            expected[0] = NAN
        for axis, turn in ((1, lambda a: a), (0, lambda a: np.ascontiguousarray(a.T))):
            there = device.array(turn(x))
            device.alike(logsumexp(there, axis=axis), np.array([value, 7], dtype))
            device.alike(logsumexp_backward(dtype(1), there, axis=axis), turn(expected))
        if np.isinf(max(row)) or np.isnan(value):  # a softmax has no limit there
            for f in (softmax, log_softmax):
                nans = np.isnan(device.numpy(f(device.array(x))))
                assert nans[0].any() and not nans[1].any()
            loss = cross_entropy(*device.arrays((x, np.array([0, 0]))), reduction="none")
            assert np.isnan(device.numpy(loss)[0])


AXES = [None, (0, 1), (0, 2), (2, 0), (1,), [0, 1], (), (0, 1, 2), (-1, 0), 1, np.int64(2), np.array(0)]


@pytest.mark.parametrize("axis", AXES, ids=repr)
def test_several_axes(axis):
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    g = np.random.default_rng(1).normal(size=x.shape)
    numpys = tuple(axis) if isinstance(axis, list) else axis
    e = np.exp(x)
    total = e.sum(axis=numpys, keepdims=True)
    y = softmax(x, axis=axis)
    np.testing.assert_allclose(y, e / total, rtol=1e-13)
    np.testing.assert_allclose(log_softmax(x, axis=axis), x - np.log(total), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(softmax_backward(g, y, axis=axis), y * (g - (g * y).sum(axis=numpys, keepdims=True)), rtol=1e-10, atol=1e-14)
    for keepdims in (False, True):
        value = logsumexp(x, axis=axis, keepdims=keepdims)
        assert value.shape == e.sum(axis=numpys, keepdims=keepdims).shape
        np.testing.assert_allclose(value, np.log(e.sum(axis=numpys, keepdims=keepdims)), rtol=1e-13, atol=1e-14)
        grad = np.asarray(np.cos(value))
        expected = np.cos(np.log(total)) * e / total
        np.testing.assert_allclose(logsumexp_backward(grad, x, axis=axis, keepdims=keepdims), expected, rtol=1e-11)
    for f in (softmax, log_softmax):
        out = np.empty(x.shape, order="F")
        assert f(x, axis=axis, out=out) is out
        same_bits(out, f(x, axis=axis))
        line = np.concatenate([x.ravel(), [0.0]])  # out overlaps x
        out = line[1:].reshape(x.shape)
        same_bits(f(line[:-1].reshape(x.shape), axis=axis, out=out), f(x, axis=axis))


def test_axes_of_a_number_and_bad_ones():
    assert softmax(5.0, axis=None) == 1 and logsumexp(5.0, axis=()) == 5 and log_softmax(np.float32(5), axis=None) == 0
    x = np.zeros((2, 3))
    for f in (softmax, log_softmax, logsumexp):
        with pytest.raises(ValueError, match=r"^axis: expected different axes, got \(0, -2\)"):
            f(x, axis=(0, -2))
        with pytest.raises(ValueError, match="^axis: expected -2..1 for 2 dimensions, got 2"):
            f(x, axis=(0, 2))
        for wrong in (1.0, "0", True, np.bool_(True), np.array([1]), (0, 1.0), (True,), 1j):
            with pytest.raises(TypeError, match="^axis: expected an integer, got "):
                f(x, axis=wrong)
    for wrong in (1, "yes", None):
        with pytest.raises(TypeError, match="^keepdims: expected a bool, got "):
            logsumexp(x, keepdims=wrong)
    with pytest.raises(ValueError, match=r"^grad_output: expected shape \(2, 1\)"):
        logsumexp_backward(np.zeros((2, 3)), x, keepdims=True)
    assert logsumexp(np.zeros((0, 3)), axis=None) == -INF and logsumexp(np.zeros((0, 3)), axis=(1,)).shape == (0,)


def test_gelu_by_name():
    x = np.linspace(-4, 4, 37)
    same_bits(gelu(x, approximate="tanh"), kernels.gelu_tanh(x))
    same_bits(gelu(x, approximate="none"), gelu(x))
    same_bits(gelu_backward(x, x, approximate="tanh"), kernels.gelu_tanh_backward(x, x))
    for wrong in ("erf", None, True, ["tanh"]):
        with pytest.raises(ValueError, match="^approximate: expected one of 'none', 'tanh', got "):
            gelu(x, approximate=wrong)
        with pytest.raises(ValueError, match="^approximate: expected one of 'none', 'tanh', got "):
            gelu_backward(x, x, approximate=wrong)


def _exp(x):
    return mpmath.exp(max(min(x, mpf(10) ** 5), -(mpf(10) ** 5)))


#: (function, derivative) of x and the parameter, in exact arithmetic, both for infinite parameters too
LIMITS = {
    "leaky_relu": (lambda x, p: x if x > 0 or not x else p * x, lambda x, p: 1 if x > 0 else p),
    "elu": (lambda x, p: x if x >= 0 else p * mpmath.expm1(max(x, -1000)), lambda x, p: 1 if x > 0 else p * _exp(x)),
    "celu": (
        lambda x, p: x if x >= 0 or mpmath.isinf(p) else p * mpmath.expm1(max(x / p, -mpf(10) ** 5)) if p else mpf(0),
        lambda x, p: 1 if x >= 0 or mpmath.isinf(p) else _exp(x / p) if p else mpf(0),
    ),
    "softplus": (
        lambda x, p: max(x, 0) + (mpmath.log1p(_exp(-abs(p * x))) / p if x and not mpmath.isinf(p) else mpmath.log(2) / p),
        lambda x, p: 1 / (1 + _exp(-p * x)) if x else mpf(0.5),
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LIMITS)
def test_parameters_at_their_limits(name, dtype):
    info = np.finfo(dtype)
    low = {"leaky_relu": 0.0, "elu": 0.0, "celu": 0.0, "softplus": float(info.tiny)}[name]
    parameters = [low, float(info.tiny), 1e-20, 0.7, 3e7, 1e30, 0.9 * float(info.max), float(info.max), INF]
    sizes = [0.0, float(info.smallest_subnormal), float(info.tiny) / 3, float(info.tiny) * 8, 1e-30, 1e-5, 0.4, 1.0, 20.0, 91.0, 121.0, 600.0, 1e30]
    x = np.array([s * v for v in sizes for s in (-1, 1)], dtype)
    function, derivative = LIMITS[name]
    for p in parameters:
        keyword = {next(iter(OPS[name].parameters)): p}
        got = getattr(kernels, name)(x, **keyword), getattr(kernels, name + "_backward")(dtype(1), x, **keyword)
        for formula, values in zip((function, derivative), got, strict=True):
            for v, y in zip(x, values, strict=True):
                with mpmath.workdps(400):
                    exact = formula(mpf(float(v)), mpf(float(dtype(p))))
                    with np.errstate(over="ignore"):
                        nearest = dtype(float(exact)) if abs(exact) <= mpf(float(info.max)) else dtype(INF) * dtype(int(mpmath.sign(exact)))
                    if not np.isfinite(nearest) or nearest == 0 or y == nearest:
                        assert y == nearest or (nearest == 0 and abs(y) <= info.smallest_subnormal), (p, v, y, nearest)
                        continue
                    steep = 4 + (abs(float(dtype(p)) * float(v)) if name == "softplus" else abs(float(v) / p) if name == "celu" else 0)
                    assert abs(mpf(float(y)) - exact) <= steep * mpf(float(np.spacing(abs(nearest)))), (p, v, y, nearest)


def test_an_infinite_alpha_of_celu_is_the_identity():
    x = np.array([-INF, -1e30, -1.0, -1e-320, -0.0, 0.0, 1.0, INF, NAN])
    same_bits(kernels.celu(x, alpha=INF), x)
    same_bits(kernels.celu_backward(1.0, x, alpha=INF), np.where(np.isnan(x), x, 1.0))


@pytest.mark.parametrize(
    "delta", [-1, 0, -0.0, np.int64(-1), np.int8(0), np.float32(-1), np.float16(-2), np.longdouble(-1), NAN, np.float32(NAN), -INF], ids=repr
)
def test_huber_refuses_a_delta_of_any_type(delta):
    with pytest.raises(ValueError, match="^delta: expected a number > 0, got "):
        huber_loss(np.ones(3), 0.0, delta=delta)


@pytest.mark.parametrize("value", [np.int64(-1), np.float32(-0.5), 1.5, np.int8(2), NAN, np.float16(NAN)], ids=repr)
def test_label_smoothing_of_any_type(value):
    with pytest.raises(ValueError, match="^label_smoothing: expected a number in 0..1, got "):
        cross_entropy(np.zeros((2, 3)), [0, 1], label_smoothing=value)


def test_good_parameters_of_any_type():
    x = np.linspace(-2, 2, 9)
    for delta in (2, np.int64(2), np.uint8(2), np.float32(2), np.float16(2), np.longdouble(2)):
        assert huber_loss(x, 0.0, delta=delta) == huber_loss(x, 0.0, delta=2.0)
    assert huber_loss(x, 0.0, delta=INF) == kernels.mse_loss(x, 0.0) / 2


def test_binary_cross_entropy_at_infinite_logits_and_weights():
    """A term with factor 0 is absent: a target of 0 or 1, a pos_weight of 0 or inf."""
    for p, x, t, value, slope in (
        (0.0, -INF, 1.0, 0.0, 0.0), (0.0, -INF, 0.5, 0.0, 0.0), (INF, 3.0, 0.0, np.log1p(np.exp(3.0)), 1 / (1 + np.exp(-3.0))),
        (INF, INF, 0.0, INF, 1.0), (INF, -3.0, 1.0, INF, -INF), (2.0, INF, 1.0, 0.0, 0.0),
    ):  # fmt: skip
        loss, gradient = binary_cross_entropy_with_logits_value_and_grad(np.array([x]), np.array([t]), pos_weight=p)
        np.testing.assert_allclose([loss, gradient[0]], [value, slope], rtol=1e-14, atol=0)


def test_edges_inside_compiled_functions():
    """The formulas are the same; here the ways to them."""

    @njit
    def f(x, zeros):
        return kernels.logsumexp(x), kernels.logsumexp_backward(1.0, x), kernels.relu(zeros), kernels.gelu(zeros), kernels.selu(zeros)

    zeros = np.array([0.0, -0.0])
    for row in ([0, INF], [NAN, INF], [INF, INF, 0], [-INF, -INF]):
        x = np.array(row, float)
        value, slopes, *signed = f(x, zeros)
        same_bits(value, logsumexp(x))
        same_bits(slopes, logsumexp_backward(1.0, x))
        for y in signed:
            same_bits(y, zeros)
