"""`Problem` on every device: shapes of every kind, against the definitions; what is not finite; wrong targets."""

import itertools

import numpy as np
import pytest
from devices import CPU, DTYPES, few, on_a_gpu
from reference import differences
from regression_models import example, models, reference

from nbgrad.regression import Problem

precisions = pytest.mark.parametrize("dtype", DTYPES)
TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}  # relative to the sums' magnitude
# (rows, features, classes): one of each; odd; on CUDA 16-byte lines, a last tile that is not full; several blocks; a group of
# several warps, with lines and without; too wide for registers; too many classes; none
# (in the simulator each in one precision)
SHAPES = [
    (1, 1, 1), (7, 5, 3), (9, 8, 2), (70, 2, 2), (5, 80, 3), (3, 83, 3), (3, 1100, 3), (0, 2, 2), *few(((1000, 100, 10),), ((4, 3, 5),)),
]  # fmt: skip
CASES = [(shape, dtype) for k, shape in enumerate(SHAPES) for dtype in few(DTYPES, DTYPES[k % 2 :][:1])]
LARGE = [(3001, 784, 10), (100, 785, 10), (500, 33, 33), (700, 5000, 2), (300, 9000, 3)]


def close(got, want, dtype, largest=None):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    unit = TOLERANCE[dtype] * max(1.0, np.abs(want).max(initial=0) if largest is None else largest)
    assert (np.abs(got - want) <= unit).all() or (np.isnan(got) & np.isnan(want)).all(), (got, want)


def options(rows, seed=0):
    """Weights with an absent row, and the rest."""
    weight = np.random.default_rng(seed).uniform(0, 3, rows)
    weight[rows // 2 :][:1] = 0
    return {"sample_weight": weight if rows > 1 else None, "l2": 0.3, "x_scale": 0.5}


def on(device, model, X, y, sample_weight=None, **others):
    return Problem(model, *device.arrays((X, y)), sample_weight=device.arrays(sample_weight), **others)


@models
@pytest.mark.parametrize(("shape", "dtype"), [*CASES, *on_a_gpu(*itertools.product(LARGE, DTYPES), names=2)])
def test_shapes_of_every_kind(model, shape, dtype, device):
    """The value, the gradient's and the Hessian's part along a direction are the definition's; on CUDA all of them the CPU's."""
    params, X, y = example(model, *shape, dtype=dtype)
    params = params.astype(np.float64) / np.sqrt(shape[1])
    # as params: along a longer step of a thousand parameters the differences are off by 3e-7, what they leave out
    v = np.random.default_rng(1).normal(size=params.shape) / np.sqrt(shape[1])
    there, here = (on(d, model, X, y, **options(shape[0])) for d in (device, CPU))
    value, grad = there.value_and_grad(params)
    product = there.hessp(params, v)
    assert type(value) is float and type(grad) is np.ndarray and grad.dtype == np.float64
    want, want_grad = here.value_and_grad(params)
    close(value, want, dtype)
    close(grad, want_grad, dtype)
    close(product, here.hessp(params, v), dtype, 10.0)
    # float64 sums of up to some thousand numbers, each device's in an order of its own
    assert abs(there.weight_sum - here.weight_sum) <= 2.0**-49 * here.weight_sum
    if not shape[0]:
        return
    weight = options(shape[0])
    close(value, reference(model, params, X, y, **weight), dtype)

    def along(s):
        return reference(model, params.astype(np.longdouble) + s * v, X, y, **weight)

    tolerance = 1e-4 if dtype is np.float32 else 1e-8
    # so near that no row's residual passes a corner of Huber's derivative on the way, or hardly any
    slope = float(differences(lambda s: along(s[0]), np.zeros(1), 2.0**-20)[0])
    np.testing.assert_allclose((grad * v).sum(), slope, rtol=tolerance, atol=tolerance * np.abs(grad * v).sum())
    if model != "huber":  # whose second derivative jumps
        h = np.longdouble(2) ** -11
        bends = [(along(s * h) - 2 * along(0 * h) + along(-s * h)) / (s * h) ** 2 for s in (1, 2)]
        np.testing.assert_allclose((product * v).sum(), float((4 * bends[0] - bends[1]) / 3), rtol=1e-4, atol=1e-4)


@models
@precisions
def test_without_intercept_and_flat(model, dtype, device):
    params, X, y = example(model, 6, 4, 2, dtype=dtype)
    params = params[..., :4]
    value, grad = on(device, model, X, y, fit_intercept=False).value_and_grad(params.ravel())
    close(value, reference(model, params, X, y, fit_intercept=False), dtype)
    want = differences(lambda p: reference(model, p, X, y, fit_intercept=False), params)
    np.testing.assert_allclose(grad, want.astype(np.float64).ravel(), rtol=1e-5 if dtype is np.float32 else 1e-8, atol=1e-5 if dtype is np.float32 else 1e-8)


@precisions
def test_sure_labels_keep_their_digits(dtype, device):
    """A slope of 1e-9 is 1e-9, and so is the curvature."""
    X, y = np.array([[20.0], [-20.0]], dtype), np.array([1, 0])
    e = np.exp(-20.0)
    for model, params in (("logistic", np.array([1.0, 0.0])), ("softmax", np.array([[0.0, 0.0], [1.0, 0.0]]))):
        problem = on(device, model, X, y)
        value, grad = problem.value_and_grad(params)
        np.testing.assert_allclose(value, np.log1p(e), rtol=1e-5)
        np.testing.assert_allclose(grad.ravel()[-2], -20 * e / (1 + e), rtol=1e-5)
        np.testing.assert_allclose(problem.hessp(params, params).ravel()[-2], 400 * e / (1 + e) ** 2, rtol=1e-5)


def test_the_same_bits_on_every_run(device):
    params, X, y = example("softmax", few(100_000, 150), 2, 2, dtype=np.float32)
    problem = on(device, "softmax", X, y)
    first, second = (problem.value_and_grad(params.astype(np.float64)) for _ in range(2))
    assert first[0] == second[0] and np.array_equal(first[1], second[1])


def test_not_finite_comes_back(device):
    X, y = np.array([[1.0, np.nan], [2.0, 3.0]]), np.array([0, 1])
    value, grad = on(device, "logistic", X, y).value_and_grad(np.ones(3))
    assert np.isnan(value) and np.isnan(grad[1])
    value, grad = on(device, "logistic", X[1:], y[1:]).value_and_grad(np.array([-np.inf, 0.0, 0.0]))
    assert value == np.inf
    # a row of weight 0 is absent, even where its loss is not finite
    far = np.array([[1e300, 0.0], [2.0, 3.0]])
    value, _ = on(device, "logistic", far, y, np.array([0.0, 1.0])).value_and_grad(np.array([1e300, 0.0, 0.0]))
    assert value == 0


@pytest.mark.parametrize(("shape", "place"), [((6, 3, 3), 4), ((3, 1100, 3), 2)])
def test_wrong_targets(shape, place, device):
    for model, wrong, text in (
        ("softmax", 3, r"y: expected labels in 0..2, got 3 at position"),
        ("logistic", 2, r"y: expected labels 0 or 1, got 2.0 at position"),
        ("linear", np.nan, r"y: expected finite numbers \(in float64\), got nan at position"),
    ):
        params, X, y = example(model, *shape)
        y = y.astype(np.float64) if model == "linear" else y
        y[place] = wrong
        with pytest.raises(ValueError, match=f"{text} {place}"):
            on(device, model, X, y).value_and_grad(params)
        again, X, y = example(model, *shape)
        assert np.isfinite(on(device, model, X, y).value_and_grad(again)[0])
