"""`nbgrad.differentiable` as a user has it: numbers, arrays, Tensors, compiled code, sums."""

import math

import numba
import numpy as np
import pytest
import scipy.integrate
import scipy.optimize
from scipy.special import expit

import nbgrad
from nbgrad import differentiable, kernels
from nbgrad.testing import check_gradient

SCALE = 2.0


@differentiable
def nll(w, b, x, y):
    """Negative log-likelihood of a Bernoulli variable with score w·x + b."""
    z = w * x + b
    return kernels.softplus(z) - y * z


@differentiable
def gate(w, x, b=0.25):
    return np.tanh(w * x + b) * kernels.sigmoid(x)


@differentiable
def logistic_map(r, x, n):
    for _ in range(n):
        x = r * x * (1 - x)
    return x


@differentiable
def scaled(x):
    return SCALE * gate(x, x) if x > -1 else kernels.elu(x, alpha=0.5)


def arrays(dtype, *shapes):
    rng = np.random.default_rng(3)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def by_hand(w, b, x, y):
    z = w * x + b
    return np.logaddexp(0, z) - y * z, (expit(z) - y) * x, expit(z) - y, (expit(z) - y) * w, -z


@differentiable
def huber(x, y):
    """Named as the function of the table that it calls."""
    return kernels.huber_loss(x, y)


def test_names_of_functions_do_not_meet():
    assert huber(3.0, 0.5) == 2.0 and huber.value_and_grad(3.0, 0.5) == (2.0, (1.0, -1.0))


def test_it_is_the_function_to_look_at():
    assert nll.__name__ == "nll" and "Bernoulli" in nll.__doc__ and nll.__module__ == __name__
    assert repr(nll) == "<differentiable nll(w, b, x, y)>"


def test_numbers():
    value, grads = nll.value_and_grad(1.0, 2.0, 0.5, 1.0)
    assert type(nll(1.0, 2.0, 0.5, 1.0)) is float and value == nll(1.0, 2.0, 0.5, 1.0) == nll(w=1, b=2, x=0.5, y=1)
    np.testing.assert_allclose([value, *grads], by_hand(1.0, 2.0, 0.5, 1.0), rtol=1e-14)
    assert type(nll(*map(np.float32, (1, 2, 0.5, 1)))) is np.float32
    assert nll.backward(2.0, 1.0, 2.0, 0.5, 1.0) == tuple(2 * g for g in grads)
    assert scaled(0.5) == 2 * gate(0.5, 0.5) and scaled(-2.0) == 0.5 * math.expm1(-2)
    assert gate(1.0, 0.5) == gate(1.0, 0.5, 0.25)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(7,), (5000,), (40_000,), (3, 5), (0,), (1,), (2, 0, 3)], ids=str)
def test_arrays(dtype, shape):
    w, b, x, y = arrays(dtype, *[shape] * 4)
    value, grads = nll.value_and_grad(w, b, x, y)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for found, expected in zip((value, *grads), by_hand(w, b, x, y), strict=True):
        assert found.dtype == dtype and found.shape == shape
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_array_equal(nll(w, b, x, y), value)
    out = np.empty(shape, dtype)
    assert nll(w, b, x, y, out=out) is out
    np.testing.assert_array_equal(out, value)
    again = x.copy()
    assert nll(w, b, again, y, out=again) is again
    np.testing.assert_array_equal(again, value)


def test_shapes_broadcast_and_gradients_have_the_arguments_shapes():
    w, b, x, y = arrays(np.float64, (3, 1), (), (4,), (2, 3, 4))
    g = arrays(np.float64, (2, 3, 4))[0]
    b = float(b)
    expected = by_hand(w, b, x, y)
    np.testing.assert_allclose(nll(w, b, x, y), expected[0])
    full = [np.broadcast_to(e, g.shape) * g for e in expected[1:]]
    grads = nll.backward(g, w, b, x, y)
    assert [np.shape(d) for d in grads] == [(3, 1), (), (4,), (2, 3, 4)]
    for found, whole, axes in zip(grads, full, [(0, 2), (0, 1, 2), (0, 1), ()], strict=True):
        np.testing.assert_allclose(found, whole.sum(axes).reshape(np.shape(found)), rtol=1e-12, atol=1e-12)
    value, grads = nll.sum.value_and_grad(w, b, x, y)
    np.testing.assert_allclose(value, expected[0].sum())
    assert [np.shape(d) for d in grads] == [(3, 1), (), (4,), (2, 3, 4)]


@pytest.mark.parametrize(
    "x",
    [
        np.arange(12.0).reshape(3, 4).T, np.arange(24.0)[::2], np.arange(12.0)[::-1], np.broadcast_to(1.5, (4,)),
        np.arange(5, dtype=">f8"), np.frombuffer(bytearray(1 + 8 * 5), np.uint8)[1:].view(np.float64), [0.5, 1.5],
        np.arange(3), np.array([True, False]),
    ],
    ids=["F", "strided", "backwards", "broadcast", "byte order", "unaligned", "list", "integers", "bools"],
)  # fmt: skip
def test_layouts(x):
    if isinstance(x, np.ndarray) and x.dtype != bool and x.dtype.kind == "f" and not x.flags.writeable:
        x.flags.writeable = False
    plain = np.array(x, float)
    np.testing.assert_array_equal(nll(0.5, 0.25, x, 1.0), nll(0.5, 0.25, plain, 1.0))
    for found, expected in zip(nll.sum.value_and_grad(0.5, 0.25, x, 1.0, wrt=("w", "b", "x"))[1],
                               nll.sum.value_and_grad(0.5, 0.25, plain, 1.0, wrt=("w", "b", "x"))[1], strict=True):  # fmt: skip
        np.testing.assert_array_equal(found, expected)


def test_numbers_adapt_to_the_arrays_precision():
    x = np.ones(3, np.float32)
    assert nll(1.0, 2, x, np.float64(1)).dtype == np.float32
    assert nll(1.0, 2, x, np.ones(3, np.int64)).dtype == np.float32
    assert nll(1.0, 2, x, np.ones(3)).dtype == np.float64
    assert nll(1.0, 2, np.ones(3, int), 1).dtype == np.float64


def test_what_is_differentiated_by():
    x, y = np.ones(3), np.ones(3, int)
    assert len(nll.value_and_grad(1.0, 2.0, x, y)[1]) == 3
    assert len(nll.value_and_grad(1.0, 2, x, y, wrt="b")[1]) == 1
    assert len(nll.value_and_grad(1.0, 2.0, x, y, wrt=(0, "y"))[1]) == 2
    assert nll.value_and_grad(1, 2, 3, 4)[1] == ()
    for wrt in ("q", 4, -1, 1.5, None.__class__):
        with pytest.raises(ValueError, match="wrt: expected names or numbers of arguments"):
            nll.value_and_grad(1.0, 2.0, x, y, wrt=wrt)


def test_tangents_and_second_derivatives():
    w, b, x, y = arrays(np.float64, *[(6,)] * 4)
    value, change = nll.jvp((w, b, x, y), (x, None, 2.0, None))
    expected = by_hand(w, b, x, y)
    np.testing.assert_allclose(value, expected[0])
    np.testing.assert_allclose(change, expected[1] * x + 2 * expected[3])
    first, second = nll.grad_hess(w, b, x, y, wrt="w")
    z = w * x + b
    np.testing.assert_allclose(first, expected[1])
    np.testing.assert_allclose(second, expit(z) * expit(-z) * x * x)
    assert nll.grad_hess(1.0, 2.0, 0.5, 1.0)[1] == pytest.approx(expit(2.5) * expit(-2.5) * 0.25)
    with pytest.raises(TypeError, match="tangents: expected 4"):
        nll.jvp((w, b, x, y), (1.0,))


def test_loops_with_a_number_of_turns():
    x = np.linspace(0.1, 0.9, 5)
    expected = x.copy()
    for _ in range(6):
        expected = 3.1 * expected * (1 - expected)
    np.testing.assert_allclose(logistic_map(3.1, x, 6), expected)
    np.testing.assert_allclose(logistic_map(3.1, x, np.full(5, 6)), expected)
    assert logistic_map(3.1, 0.3, 0) == 0.3
    for wrong in (2.0, True, np.float64(3)):
        with pytest.raises(TypeError, match="n: expected an integer"):
            logistic_map(3.1, 0.3, wrong)
    check_gradient(lambda x: logistic_map(3.1, x, 4), lambda g, x: logistic_map.backward(g, 3.1, x, 4, wrt="x")[0], x)


def test_sums_and_means():
    w, b = 0.75, -0.5
    x, y, weight = arrays(np.float64, *[(10_000,)] * 3)
    weight = np.abs(weight)
    value, dw, db, dx, _ = by_hand(w, b, x, y)
    total, (gw, gb, gx) = nll.sum.value_and_grad(w, b, x, y, wrt=("w", "b", "x"))
    np.testing.assert_allclose([total, gw, gb], [value.sum(), dw.sum(), db.sum()], rtol=1e-12)
    np.testing.assert_allclose(gx, dx)
    assert nll.sum(w, b, x, y) == total and type(total) is np.float64
    mean, (gw, gx) = nll.mean.value_and_grad(w, b, x, y, wrt=("w", "x"))
    np.testing.assert_allclose([mean, gw], [value.mean(), dw.mean()], rtol=1e-12)
    np.testing.assert_allclose(gx, dx / x.size)
    mean, (gw,) = nll.mean.value_and_grad(w, b, x, y, wrt="w", weight=weight)
    np.testing.assert_allclose([mean, gw], [np.average(v, weights=weight) for v in (value, dw)], rtol=1e-12)
    s = expit(w * x + b) * expit(-w * x - b)
    products = nll.mean.hessp((1.0, 2.0), w, b, x, y, wrt=("w", "b"))
    np.testing.assert_allclose(products, [(s * x * (x + 2)).mean(), (s * (x + 2)).mean()], rtol=1e-12)
    assert math.isnan(nll.mean(1.0, 1.0, np.empty(0), 1.0)) and nll.sum(1.0, 1.0, np.empty(0), 1.0) == 0
    assert nll.sum(1.0, 2.0, 0.5, 1.0) == nll(1.0, 2.0, 0.5, 1.0)


def test_the_bits_do_not_depend_on_threads():
    x, y = arrays(np.float32, (100_003,), (100_003,))
    whole = nll.sum.value_and_grad(0.5, 0.25, x, y)
    with nbgrad.jit.serial_loops():
        again = nll.sum.value_and_grad(0.5, 0.25, x, y)
    assert whole[0] == again[0]
    for a, b in zip(whole[1], again[1], strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_objective_for_scipy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(2000)
    y = (rng.random(2000) < expit(1.5 * x - 0.5)).astype(float)
    objective = nll.mean.objective(args=(x, y))
    fit = scipy.optimize.minimize(objective, np.zeros(2), jac=True, hessp=objective.hessp, method="Newton-CG")
    assert fit.success and np.abs(objective(fit.x)[1]).max() < 1e-4
    assert scipy.optimize.check_grad(lambda t: objective(t)[0], lambda t: objective(t)[1], [0.3, 0.2]) < 1e-6
    with pytest.raises(ValueError, match="theta: expected a vector of 2 numbers"):
        objective(np.zeros(3))


def test_tensors():
    x, y = arrays(np.float64, (50,), (50,))
    w, b = (nbgrad.tensor(v, requires_grad=True) for v in (0.5, 0.25))
    out = nll(w, b, x, y)
    assert out.grad_fn.name() == "NllBackward"
    out.sum().backward()
    _, (gw, gb) = nll.sum.value_and_grad(0.5, 0.25, x, y, wrt=("w", "b"))
    np.testing.assert_allclose([w.grad.item(), b.grad.item()], [gw, gb])
    w.grad = None
    nll.mean(w, 0.25, x, y).backward()
    np.testing.assert_allclose(w.grad.item(), gw / 50)
    with nbgrad.no_grad():
        assert not nll(w, b, x, y).requires_grad


def test_inside_compiled_code():
    @numba.njit
    def use(w, b, x, y):
        return nll(w, b, x, y), nll.value_and_grad(w, b, x, y), nll.grad_hess(w, b, x, y)

    @numba.njit
    def sums(w, b, x, y):
        return nll.sum(w, b, x, y), nll.mean.value_and_grad(w, b, x, y)

    @numba.njit
    def turns(r, x):
        return logistic_map(r, x, 5), gate(r, x)

    numbers = (0.5, 0.25, 1.5, 1.0)
    value, both, (_, second) = use(*numbers)
    assert (value, both, second) == (nll(*numbers), nll.value_and_grad(*numbers), nll.grad_hess(*numbers)[1])
    x, y = arrays(np.float32, (2, 5), (5,))
    value, (_, grads), _ = use(0.5, 0.25, x, y)
    assert value.dtype == np.float32 and value.shape == (2, 5)
    for found, expected in zip(grads, nll.value_and_grad(0.5, 0.25, x, y)[1], strict=True):
        np.testing.assert_array_equal(found, expected)
    z = x[0].copy()
    total, (mean, grads) = sums(0.5, 0.25, z, y)
    np.testing.assert_allclose(total, nll.sum(0.5, 0.25, z, y), rtol=1e-6)
    expected = nll.mean.value_and_grad(0.5, 0.25, z, y)
    np.testing.assert_allclose(mean, expected[0], rtol=1e-6)
    for a, b in zip(grads, expected[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert turns(3.1, 0.3) == (logistic_map(3.1, 0.3, 5), gate(3.1, 0.3))
    with pytest.raises(ValueError, match="broadcasts"):
        use(0.5, 0.25, np.ones(3), np.ones(4))


def test_a_function_for_c():
    c = gate.cfunc("float64(float64, float64, float64)")
    assert c.ctypes(1.0, 0.5, 0.25) == gate(1.0, 0.5)
    square = differentiable(_square)
    low = scipy.LowLevelCallable(square.cfunc("float64(float64)").ctypes)
    assert scipy.integrate.quad(low, 0, 1)[0] == pytest.approx(1 / 3)


def _square(x):
    return x * x


def test_source():
    assert nll.source.startswith("def nll(w, b, x, y):\n    z = w * x + b\n    return softplus(z) - y * z\n")
    assert "d_z = d_softplus(z) - y" in nll.source


def test_errors_of_calls():
    with pytest.raises(TypeError, match="nll: the argument y is missing"):
        nll(1.0, 2.0, 3.0)
    with pytest.raises(TypeError, match="nll: expected 4 arguments"):
        nll(1.0, 2.0, 3.0, 4.0, 5.0)
    with pytest.raises(TypeError, match="nll: expected arguments w, b, x, y, got q"):
        nll(1.0, 2.0, 3.0, q=4.0)
    with pytest.raises(TypeError, match="nll: got w twice"):
        nll(1.0, 2.0, 3.0, w=4.0)
    with pytest.raises(ValueError, match="w: expected shapes that broadcast together"):
        nll(np.ones(3), 1.0, np.ones(4), 1.0)
    with pytest.raises(TypeError, match="^x: "):
        nll(1.0, 2.0, "a", 1.0)
    with pytest.raises(ValueError, match="out"):
        nll(1.0, 2.0, np.ones(3), 1.0, out=np.empty(4))
    with pytest.raises(TypeError, match="grad_output"):
        nll.backward("a", 1.0, 2.0, np.ones(3), 1.0)


@differentiable
def sign(x, y):
    return np.sign(x)


@differentiable
def larger(x, y):
    return np.fmax(x, y)


@differentiable
def smaller(x, y):
    return np.fmin(x, y)


@differentiable
def clipped(x, y):
    return np.clip(x, -1, y)


@differentiable
def ordered(x, y):
    return np.maximum(x, y) - 2 * np.minimum(x, y)


@differentiable
def log_sum(x, y):
    total = -math.inf
    for term in range(2):
        total = np.logaddexp(total, x if term == 0 else y)
    return total


def test_functions_of_numpy_with_nan_and_inf():
    values = [-math.inf, -2.0, -0.0, 0.0, 0.5, 2.0, math.inf, math.nan]
    x, y = (a.ravel() for a in np.meshgrid(values, values))
    with np.errstate(all="ignore"):
        for f in (sign, larger, smaller, clipped, ordered):
            np.testing.assert_array_equal(f(x, y), f.__wrapped__(x, y), f.__name__)
        np.testing.assert_allclose(log_sum(x, y), np.logaddexp(x, y), rtol=1e-15)
    x, y = np.array([-1e6, 3e4, -800.0, 1e-3]), np.array([0.1234, -2.0, -801.5, 1e-3])
    np.testing.assert_allclose(log_sum(x, y), np.logaddexp(x, y), rtol=1e-15)
    _, (dx, dy) = log_sum.value_and_grad(x, y)
    np.testing.assert_allclose(dx, expit(x - y), rtol=1e-14)
    np.testing.assert_allclose(dy, expit(y - x), rtol=1e-14)
    assert log_sum.grad_hess(1e-3, 1e-3)[1] == 0.25


def test_arguments_of_objective_and_cfunc():
    with pytest.raises(ValueError, match="^args: expected fewer than the formula's arguments"):
        nll.mean.objective(args=(1.0, 2.0, 3.0, 4.0))
    with pytest.raises(TypeError, match="^objective: expected args, shapes and weight, got q"):
        nll.mean.objective(args=(1.0, 2.0), q=1)
    with pytest.raises(TypeError, match=r"^signature: expected 3 arguments \(w, x, b\), got"):
        gate.cfunc("float64(float64, float64)")
