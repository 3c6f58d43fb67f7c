"""Regression on CUDA arrays, where it is CUDA's own: bytes, parameters there, the flush of sums, errors of mixed arrays, PyTorch. (Values,
gradients, products, fits: ``regression/test_problem.py``, ``regression/test_fits_on_devices.py``.)
"""

import sys
from pathlib import Path

import devices
import numpy as np
import pytest
from devices import get, put

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression, regression
from nbgrad.regression import Problem

sys.path.insert(0, str(Path(__file__).parent.parent / "regression"))
from regression_models import example, models

TOLERANCE = {np.float32: 1e-5, np.float64: 1e-12}  # relative to the sums' magnitude, the contract of the CPU


def close(got, want, dtype, largest=None):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    assert got.shape == want.shape
    unit = TOLERANCE[dtype] * max(1.0, np.abs(want).max(initial=0) if largest is None else largest)
    assert (np.abs(got - want) <= unit).all() or (np.isnan(got) & np.isnan(want)).all(), (got, want)


def on_gpu(model, X, y, sample_weight=None, **others):
    weight = None if sample_weight is None else put(sample_weight)
    return Problem(model, put(X), put(y), sample_weight=weight, **others)


@pytest.mark.parametrize(("model", "parameters"), [("huber", {"delta": 0.3}), ("quantile", {"q": 0.9, "smoothing": 2.0})])
@pytest.mark.parametrize("features", [3, 9000])  # in registers, and by two products
def test_a_models_own_parameters(model, parameters, features):
    params, X, y = example(model, 5, features)
    params, v = params / np.sqrt(features), np.ones_like(params)
    there, here = (make(model, X, y, **parameters) for make in (on_gpu, Problem))
    for got, want in zip(there.value_and_grad(params), here.value_and_grad(params), strict=True):
        close(got, want, np.float64)
    close(there.hessp(params, v), here.hessp(params, v), np.float64, 100.0)
    assert abs(here.value_and_grad(params)[0] - Problem(model, X, y).value_and_grad(params)[0]) > 1e-3


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


@pytest.fixture
def in_registers(monkeypatch):
    """Rows that would have room in shared memory are taken as those that have not."""
    from nbgrad.cuda.regression import one_pass, staged

    monkeypatch.setattr(staged, "ROOM", 0)
    monkeypatch.setattr(one_pass, "tile_of", one_pass.tile_of.__wrapped__)


@models
def test_rows_in_registers(model, dtype, in_registers):
    params, X, y = example(model, 23, 4, 3, dtype=dtype)
    there, here = (make(model, X, y, sample_weight=np.arange(23.0) % 3) for make in (on_gpu, Problem))
    for got, want in zip(there.value_and_grad(params), here.value_and_grad(params), strict=True):
        close(got, want, dtype)
    close(there.hessp(params, params / 2), here.hessp(params, params / 2), dtype, 10.0)


@pytest.mark.parametrize("place", ["shared memory", "registers"])
def test_sums_of_many_rows_are_passed_on(dtype, monkeypatch, place, request):
    from nbgrad.cuda.regression import one_pass as cuda_regression

    if place == "registers":
        request.getfixturevalue("in_registers")
    monkeypatch.setattr(cuda_regression, "FLUSH", 8)
    monkeypatch.setattr(cuda_regression, "TILES", 1000)  # one block takes all rows
    cuda_regression.pass_kernel.cache_clear()
    params, X, y = example("logistic", 300, 3, dtype=dtype)
    value, grad = on_gpu("logistic", X, y).value_and_grad(params.astype(np.float64))
    cuda_regression.pass_kernel.cache_clear()
    want, want_grad = Problem("logistic", X, y).value_and_grad(params.astype(np.float64))
    close(value, want, dtype)
    close(grad, want_grad, dtype)


@pytest.mark.parametrize("place", [4, 2])
def test_wrong_targets_of_parameters_on_the_gpu(place):
    if not devices.SIMULATED:  # where there is nothing to wait for the call itself raises
        pytest.skip("the next call raises")
    params, X, y = example("softmax", 6, 3, 3)
    y[place] = 3
    with pytest.raises(ValueError, match=f"y: expected .*, got another at position {place}"):
        on_gpu("softmax", X, y).value_and_grad(put(params))


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
