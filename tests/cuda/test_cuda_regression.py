"""Regression models on CUDA arrays against the CPU's: values, gradients, Hessians' products; estimators."""

import sys
from pathlib import Path

import devices
import numpy as np
import pytest
from devices import get, put, same

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression, regression
from nbgrad.regression import Problem

sys.path.insert(0, str(Path(__file__).parent.parent / "regression"))
from regression_models import example, models

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}  # relative to the sums' magnitude, the contract of the CPU
# (rows, features, classes): one of each; odd; 16-byte lines, a last tile that is not full; several blocks; a group of
# several warps, with lines and without; too wide for registers; too many classes; none
SHAPES = [(1, 1, 1), (7, 5, 3), (9, 8, 2), (70, 2, 2), (5, 80, 3), (3, 83, 3), (3, 1100, 3), (4, 3, 5), (0, 2, 2)]
if not devices.SIMULATED:
    SHAPES += [(1000, 100, 10), (3001, 784, 10), (100, 785, 10), (500, 33, 33), (700, 5000, 2), (300, 9000, 3)]
# In the simulator half of them, for the time.
CASES = [(s, t) for k, s in enumerate(SHAPES) for t in (devices.DTYPES[k % 2 :][:1] if devices.SIMULATED else devices.DTYPES)]


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


def on_gpu(model, X, y, sample_weight=None, **others):
    weight = None if sample_weight is None else put(sample_weight)
    return Problem(model, put(X), put(y), sample_weight=weight, **others)


@models
@pytest.mark.parametrize(("shape", "dtype"), CASES)
def test_as_on_the_cpu(model, shape, dtype):
    if shape == (5, 80, 3) and model != "softmax":
        return  # one warp: as before
    params, X, y = example(model, *shape, dtype=dtype)
    params = params.astype(np.float64) / np.sqrt(shape[1])
    v = np.random.default_rng(1).normal(size=params.shape)
    there, here = (make(model, X, y, **options(shape[0])) for make in (on_gpu, Problem))
    value, grad = there.value_and_grad(params)
    want, want_grad = here.value_and_grad(params)
    assert type(value) is float and type(grad) is np.ndarray and grad.dtype == np.float64
    close(value, want, dtype)
    close(grad, want_grad, dtype)
    close(there.hessp(params, v), here.hessp(params, v), dtype, 10.0)
    assert there.weight_sum == here.weight_sum


@models
def test_without_intercept_and_flat(model, dtype):
    params, X, y = example(model, 6, 4, 2, dtype=dtype)
    params = params[..., :4].ravel()
    there, here = (make(model, X, y, fit_intercept=False) for make in (on_gpu, Problem))
    value, grad = there.value_and_grad(params)
    close(value, here.value_and_grad(params)[0], dtype)
    close(grad, here.value_and_grad(params)[1], dtype)


def test_bytes_and_what_is_converted(dtype):
    X = np.random.default_rng(0).integers(0, 255, (6, 8), dtype=np.uint8)
    y = np.array([0, 1, 1, 0, 1, 0])
    params = np.random.default_rng(1).normal(size=9).astype(dtype)
    want, want_grad = regression.logistic_value_and_grad(params, X, y, x_scale=1 / 255)
    for data in (X, X[:, :7], X.astype(np.int32), X.astype(np.float64), X.astype(np.float32)):
        at = np.delete(params, 7) if data.shape[1] == 7 else params
        if data.shape[1] == 7:
            want, want_grad = regression.logistic_value_and_grad(at, data, y, x_scale=1 / 255)
        else:
            want, want_grad = regression.logistic_value_and_grad(at, X, y, x_scale=1 / 255)
        value, grad = regression.logistic_value_and_grad(at, put(data), put(y), x_scale=1 / 255)
        assert type(value) is dtype and grad.dtype == dtype
        close(value, want, dtype)
        close(grad, want_grad, dtype)
    if not devices.SIMULATED:
        import cupy

        there = Problem("logistic", cupy.asfortranarray(put(X)), put(y), x_scale=1 / 255, dtype=dtype)
        close(there.value_and_grad(params)[1], want_grad, dtype)


@pytest.mark.parametrize("model", ["logistic", "softmax"])
def test_params_on_the_gpu_stay_there(model, dtype):
    params, X, y = example(model, 6, 3, 2, dtype=dtype)
    v = params[::-1].copy()
    X_there, y_there, there, v_there = map(put, (X, y, params, v))
    of = {name: getattr(regression, f"{model}_{name}") for name in ("value_and_grad", "sums", "hessp")}
    value, grad = of["value_and_grad"](there, X_there, y_there, l2=0.5)
    want, want_grad = of["value_and_grad"](params, X, y, l2=0.5)
    assert get(value).shape == () and get(value).dtype == get(grad).dtype == dtype
    close(get(value), want, dtype)
    close(get(grad), want_grad, dtype)
    close(get(of["hessp"](there, v_there, X_there, y_there)), of["hessp"](params, v, X, y), dtype)
    loss, slopes, total = of["sums"](there, X_there, y_there)
    want = of["sums"](params, X, y)
    assert get(slopes).dtype == np.float64 and total == want[2]
    close(get(loss), want[0], dtype)
    close(get(slopes), want[1], dtype)
    close(of["sums"](params, X_there, y_there)[1], want[1], dtype)


def test_sure_labels_keep_their_digits(dtype):
    """A slope of 1e-9 is 1e-9, and so is the curvature."""
    X, y = np.array([[20.0], [-20.0]], dtype), np.array([1, 0])
    for model, params in (("logistic", np.array([1.0, 0.0])), ("softmax", np.array([[0.0, 0.0], [1.0, 0.0]]))):
        there, here = (make(model, X, y) for make in (on_gpu, Problem))
        for got, want in (
            (there.value_and_grad(params)[0], here.value_and_grad(params)[0]),
            (there.value_and_grad(params)[1].ravel()[-2], here.value_and_grad(params)[1].ravel()[-2]),
            (there.hessp(params, params).ravel()[-2], here.hessp(params, params).ravel()[-2]),
        ):
            assert abs(got / want - 1) <= 1e-5 and 0 < abs(want) < 1e-6


def test_the_same_bits_on_every_run():
    params, X, y = example("softmax", 150 if devices.SIMULATED else 100_000, 2, 2, dtype=np.float32)
    problem = on_gpu("softmax", X, y)
    first, second = (problem.value_and_grad(params.astype(np.float64)) for _ in range(2))
    assert first[0] == second[0] and np.array_equal(first[1], second[1])


def test_sums_of_many_rows_are_passed_on(dtype, monkeypatch):
    from nbgrad.cuda.regression import one_pass as cuda_regression

    monkeypatch.setattr(cuda_regression, "FLUSH", 8)
    cuda_regression.pass_kernel.cache_clear()
    params, X, y = example("logistic", 300, 3, dtype=dtype)
    value, grad = on_gpu("logistic", X, y).value_and_grad(params.astype(np.float64))
    cuda_regression.pass_kernel.cache_clear()
    want, want_grad = Problem("logistic", X, y).value_and_grad(params.astype(np.float64))
    close(value, want, dtype)
    close(grad, want_grad, dtype)


def test_not_finite_comes_back():
    X, y = np.array([[1.0, np.nan], [2.0, 3.0]]), np.array([0, 1])
    value, grad = on_gpu("logistic", X, y).value_and_grad(np.ones(3))
    assert np.isnan(value) and np.isnan(grad[1])
    value, grad = on_gpu("logistic", X[1:], y[1:]).value_and_grad(np.array([-np.inf, 0.0, 0.0]))
    assert value == np.inf
    # a row of weight 0 is absent, even where its loss is not finite
    far = np.array([[1e300, 0.0], [2.0, 3.0]])
    value, _ = on_gpu("logistic", far, y, np.array([0.0, 1.0])).value_and_grad(np.array([1e300, 0.0, 0.0]))
    assert value == 0


@pytest.mark.parametrize(("shape", "place"), [((6, 3, 3), 4), ((3, 1100, 3), 2)])
def test_wrong_targets(shape, place):
    for model, wrong, text in (
        ("softmax", 3, r"y: expected labels in 0..2, got 3 at position"),
        ("logistic", 2, r"y: expected labels 0 or 1, got 2.0 at position"),
        ("linear", np.nan, r"y: expected finite numbers \(in float64\), got nan at position"),
    ):
        params, X, y = example(model, *shape)
        y = y.astype(np.float64) if model == "linear" else y
        y[place] = wrong
        problem = on_gpu(model, X, y)
        with pytest.raises(ValueError, match=f"{text} {place}"):
            problem.value_and_grad(params)
        again, X, y = example(model, *shape)
        assert np.isfinite(on_gpu(model, X, y).value_and_grad(again)[0])
        if devices.SIMULATED:  # where there is nothing to wait for the call itself raises
            with pytest.raises(ValueError, match=f"y: expected .*, got another at position {place}"):
                problem.value_and_grad(put(params))


def test_errors():
    params, X, y = example("logistic", 5, 3)
    there = put(X), put(y)
    with pytest.raises(TypeError, match=r"y: expected a CUDA array as X is, got a numpy.ndarray"):
        Problem("logistic", there[0], y)
    with pytest.raises(TypeError, match="sample_weight: expected a CUDA array as X is"):
        Problem("logistic", *there, sample_weight=np.ones(5))
    with pytest.raises(TypeError, match="y: expected an array in the CPU's memory, got a CUDA array"):
        Problem("logistic", X, there[1])
    with pytest.raises(TypeError, match="params: expected an array in the CPU's memory, got a CUDA array"):
        regression.logistic_value_and_grad(put(params), X, y)
    with pytest.raises(ValueError, match=r"X: expected shape \(rows, features\), got \(5,\)"):
        Problem("logistic", there[1], there[1])
    with pytest.raises(ValueError, match=r"y: expected shape \(5,\), a target for each row of X, got \(4,\)"):
        Problem("logistic", there[0], put(y[:4]))
    with pytest.raises(ValueError, match=r"sample_weight: expected finite numbers >= 0, got -1"):
        Problem("logistic", *there, sample_weight=put(np.array([1.0, 2, -1, 0, 1])))
    with pytest.raises(ValueError, match=r"sample_weight: expected shape \(5,\)"):
        Problem("logistic", *there, sample_weight=put(np.ones(4)))
    with pytest.raises(TypeError, match="y: expected integer class labels, got float64"):
        Problem("softmax", there[0], put(y.astype(np.float64)))
    with pytest.raises(ValueError, match=r"params: expected shape \(4,\)"):
        Problem("logistic", *there).value_and_grad(np.ones(3))
    with pytest.raises(ValueError, match=r"v: expected params' shape \(4,\), got \(3,\)"):
        Problem("logistic", *there).hessp(put(params), put(np.ones(3)))
    with pytest.raises(TypeError, match="v: expected a CUDA array as X is"):
        Problem("logistic", *there).hessp(put(params), params)
    with pytest.raises(TypeError, match="X: expected float32, float64, integers or bools, got float16"):
        Problem("logistic", put(X.astype(np.float16)), there[1])
    with pytest.raises(TypeError, match="y: expected a CUDA array as X is"):
        LinearRegression().fit(there[0], y)
    with pytest.raises(ValueError, match="Input y contains NaN"):
        LinearRegression().fit(there[0], put(np.full(5, np.nan)))
    with pytest.raises(ValueError, match=r"Input X contains NaN.\nLogisticRegression does not accept"):
        LogisticRegression().fit(put(np.where(X > 1, np.nan, X)), there[1])
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[5, 4\]"):
        LogisticRegression().fit(there[0], put(y[:4]))
    with pytest.raises(ValueError, match="the data contains only one class: "):
        LogisticRegression().fit(there[0], put(np.zeros(5, int)))
    with pytest.raises(TypeError, match="y: expected a CUDA array as X is"):
        LogisticRegression().fit(there[0], y)


def hard(classes, rows=14):
    rng = np.random.default_rng(3)
    return rng.normal(size=(rows, 3)), rng.integers(0, classes, rows) * 2 + 3


@pytest.mark.parametrize(
    ("estimator", "weighted"),
    [
        (LogisticRegression(), False),
        (LogisticRegression(solver="scaled-lbfgs", class_weight="balanced", fit_intercept=False), True),
        (SoftmaxRegression(solver="scaled-lbfgs", class_weight={3: 2.0}), False),
        (SoftmaxRegression(solver="newton-cg", x_scale=0.5, max_iter=2), True),
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:newton-cg failed to converge")
def test_estimators(estimator, weighted):
    X, y = hard(2 if isinstance(estimator, LogisticRegression) else 3)
    weight = np.linspace(0, 2, len(y)) if weighted else None
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(put(X), put(y), None if weight is None else put(weight))
    assert type(there.coef_) is np.ndarray and there.n_iter_ == here.n_iter_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(there.classes_, here.classes_)
    same(here.predict(put(X)), here.predict(X))
    for name in ("decision_function", "predict_proba", "predict_log_proba"):
        np.testing.assert_allclose(get(getattr(here, name)(put(X))), getattr(here, name)(X), rtol=1e-12)
    assert here.score(put(X), put(y)) == here.score(X, y)


@pytest.mark.parametrize(
    ("estimator", "weighted"),
    [(LinearRegression(), False), (LinearRegression(l2=0.1, fit_intercept=False), True), (LinearRegression(x_scale=0.5), True)],
    ids=str,
)
def test_linear_regression(estimator, weighted, dtype):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(9000, 3)).astype(dtype)  # several blocks
    y = X @ np.array([1.0, -2.0, 3.0]) + rng.normal(size=len(X))
    weight = rng.uniform(size=len(X)) if weighted else None
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(put(X), put(y), None if weight is None else put(weight))
    assert type(there.coef_) is np.ndarray and there.coef_.dtype == here.coef_.dtype and there.rank_ == here.rank_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-12 if dtype == np.float64 else 1e-6)
    np.testing.assert_allclose(there.intercept_, here.intercept_, rtol=1e-10 if dtype == np.float64 else 1e-5)
    assert there.score(put(X), put(y)) == pytest.approx(here.score(X, y), rel=1e-9)


@pytest.mark.parametrize("estimator", [regression.PoissonRegressor(), regression.GammaRegressor(alpha=0.1), regression.HuberRegressor()], ids=str)
def test_other_losses(estimator):
    rng = np.random.default_rng(3)
    X, weight = rng.normal(size=(40, 3)), rng.integers(0, 3, 40).astype(float)
    y = np.exp(X @ [0.5, -0.3, 0.2] + rng.normal(size=40) / 4)
    here = type(estimator)(**estimator.get_params()).fit(X, y, weight)
    there = estimator.fit(put(X), put(y), put(weight))
    assert type(there.coef_) is np.ndarray and there.n_iter_ == here.n_iter_
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
    np.testing.assert_allclose(get(here.predict(put(X))), here.predict(X), rtol=1e-12)
    assert here.score(put(X), put(y)) == pytest.approx(here.score(X, y), rel=1e-12)


def test_linear_regression_of_a_high_condition_is_refined():
    x = np.arange(21.0)
    X = x[:, np.newaxis] ** np.arange(1, 6)  # NIST's Wampler5
    y = 1 + X.sum(axis=1) + 1e4 * np.where(np.arange(21) % 2, -1, 1) * np.sin(x)
    here, there = LinearRegression().fit(X, y), LinearRegression().fit(put(X), put(y))
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-11)


@pytest.mark.parametrize("unit", [1e-200, 1e-6, 1.0, 1e155])
def test_linear_regression_in_any_units(unit):
    rng = np.random.default_rng(4)
    levels, z, weight = np.eye(3)[np.arange(90) % 3], rng.normal(size=90), rng.integers(0, 3, 90).astype(float)
    X = np.column_stack([levels, np.full(90, 1.7e9), unit * z, unit * z])
    X[weight == 0] = 1e300  # as if removed
    y = levels @ [1.0, 2.0, 3.0] + 4 * z + 1e6
    there = LinearRegression().fit(put(X), put(y), put(weight))
    assert there.rank_ == 3
    np.testing.assert_allclose(there.coef_ * [1, 1, 1, 1, unit, unit], [-1, 0, 1, 0, 2, 2], atol=1e-8)


@pytest.mark.parametrize("positive", [False, True])
def test_linear_regression_of_several_targets(positive):
    rng = np.random.default_rng(5)
    X, Y = rng.normal(size=(50, 4)), rng.normal(size=(50, 2))
    here = LinearRegression(positive=positive).fit(X, Y)
    there = LinearRegression(positive=positive).fit(put(X), put(Y))
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
    np.testing.assert_allclose(get(there.predict(put(X))), here.predict(X), rtol=1e-9)
    assert there.score(put(X), put(Y)) == pytest.approx(here.score(X, Y), rel=1e-9)


def test_elastic_net():
    rng = np.random.default_rng(6)
    X, weight = rng.normal(size=(60, 8)), rng.integers(0, 3, 60).astype(float)
    y = X[:, 0] - 2 * X[:, 1] + rng.normal(size=60)
    for model in (regression.Lasso(0.2, tol=1e-12), regression.ElasticNet(0.2, tol=1e-12, x_scale=2.0)):
        here = type(model)(**model.get_params()).fit(X, y, weight)
        there = model.fit(put(X), put(y), put(weight))
        np.testing.assert_allclose(there.coef_, here.coef_, rtol=1e-9)
        assert type(there.coef_) is np.ndarray and (there.coef_ == 0).any()
        np.testing.assert_allclose(get(there.predict(put(X))), here.predict(X), rtol=1e-9)


def test_a_model_of_the_cpu_answers_on_the_gpu(dtype):
    X = np.random.default_rng(0).normal(size=(6, 2)).astype(dtype)
    model = LinearRegression().fit(X, X @ [1, 2])
    np.testing.assert_allclose(get(model.predict(put(X))), model.predict(X), rtol=1e-5)
    bytes_ = np.arange(12, dtype=np.uint8).reshape(6, 2)
    np.testing.assert_allclose(get(model.predict(put(bytes_))), model.predict(bytes_), rtol=1e-5)
    with pytest.raises(ValueError, match="X has 1 features, but LinearRegression is expecting 2"):
        model.predict(put(X[:, :1]))



@pytest.mark.gpu
def test_pytorch():
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    params, X, y = example("softmax", 50, 8, 3, dtype=np.float32)
    there = [torch.from_numpy(a).cuda() for a in (params, X, y)]
    value, grad = regression.softmax_value_and_grad(there[0].requires_grad_(), *there[1:])
    want = regression.softmax_value_and_grad(params, X, y)
    assert isinstance(grad, torch.Tensor) and grad.is_cuda and grad.dtype == torch.float32 and value.shape == ()
    close(value.cpu().numpy(), want[0], np.float32)
    close(grad.cpu().numpy(), want[1], np.float32)
    model = SoftmaxRegression().fit(*there[1:])
    assert isinstance(model.predict_proba(there[1]), torch.Tensor) and model.score(*there[1:]) > 0.4
    labels = model.predict(there[1])
    np.testing.assert_array_equal(labels.cpu().numpy(), model.predict(X))


@pytest.mark.gpu
def test_nobody_waits_where_params_are_on_the_gpu():
    cupy = pytest.importorskip("cupy")
    params, X, y = example("logistic", 1000, 8, dtype=np.float32)
    problem, there = Problem("logistic", put(X), put(y)), put(params)
    problem.value_and_grad(there)  # compiled
    big = cupy.ones((5000, 5000), np.float32)
    done = cupy.cuda.Event()
    for _ in range(40):
        big = big @ big * np.float32(1 / 5000)
    done.record()
    problem.value_and_grad(there)
    waited = done.done
    done.synchronize()
    assert not waited


@pytest.mark.gpu
@models
def test_many_rows_lose_no_digits(model):
    """The float32 sums over a million rows, against float64's, relative to the sums of magnitudes."""
    classes = 10
    params, X, y = example(model, 1_000_000, 20, classes, dtype=np.float32)
    params = params.astype(np.float64) / 4
    value, grad = on_gpu(model, X, y).value_and_grad(params)
    want, want_grad = on_gpu(model, X, y, dtype=np.float64).value_and_grad(params)
    assert abs(value - want) <= 1e-5 * want
    # |residual|·|x| is about 1 in the mean, and no row's score is better known than to 1e-6
    assert np.abs(grad - want_grad).max() <= 1e-5 * np.abs(X).mean()
