"""What the regression objectives take (dtypes, layouts, sparse matrices, nothing) and what they refuse."""

import tracemalloc
import warnings

import numpy as np
import pytest
from regression_models import example, losses, models, same, sums, value_and_grad
from scipy import sparse
from strategies import INPUT_LAYOUTS, lay

from nbgrad import regression


@models
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.bool_, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_other_dtypes_of_x_are_its_numbers(model, dtype, order):
    params, _, y = example(model, 300, 20)
    X = np.random.default_rng(1).integers(0, 256 if dtype != np.bool_ else 2, (300, 20)).astype(dtype, order=order)
    got = value_and_grad(model)(params, X, y, x_scale=1 / 255)
    same(got, value_and_grad(model)(params, X.astype(np.float64), y, x_scale=1 / 255), 1e-14)
    same(got, value_and_grad(model)(params, X.astype(np.float64) / 255, y), 1e-13)


@models
@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_sparse_is_dense(model, kind):
    for dtype in (np.float32, np.float64, np.uint8):
        params, X, y = example(model, 3000, 30)
        X = np.abs(10 * X).astype(dtype) * (np.random.default_rng(2).random(X.shape) < 0.2)
        X[7:20] = 0
        got = value_and_grad(model)(params, kind(X), y, l2=0.1, x_scale=0.1)
        same(got, value_and_grad(model)(params, X.astype(np.float64), y, l2=0.1, x_scale=0.1), 1e-13)
        value, grad = value_and_grad(model)(params.astype(np.float32), kind(X), y)
        assert type(value) is np.float32 and grad.dtype == np.float32


@models
@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_layouts(model, layout, dtype):
    params, X, y = example(model, 100, 7, dtype=dtype)
    weight = np.random.default_rng(3).random(100)
    true = value_and_grad(model)(params, X, y, sample_weight=weight)
    laid = [lay(a, layout) for a in (params, X, y)]
    copies = [a.copy() for a in laid]
    got = value_and_grad(model)(*laid, sample_weight=lay(weight, layout))
    same(got, true, 1e-5 if dtype == np.float32 else 1e-13)
    assert got[1].dtype == dtype and got[1].dtype.isnative
    for before, after in zip(copies, laid, strict=True):
        np.testing.assert_array_equal(before, after)


def test_memory_mapped_and_lists(tmp_path):
    params, X, y = example("softmax")
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    true = regression.softmax_value_and_grad(params, X, y)
    same(regression.softmax_value_and_grad(params, mapped, y), true, 0)
    same(regression.softmax_value_and_grad(params.tolist(), X.tolist(), y.tolist()), true, 0)


@pytest.mark.parametrize("model", ["logistic", "softmax"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_x_is_never_copied(model, order):
    rng = np.random.default_rng(0)
    X = np.asarray(rng.integers(0, 256, (20_000, 400), np.uint8), order=order)
    y = rng.integers(0, 2, len(X))
    params = np.zeros((10, 401) if model == "softmax" else 401, np.float32)
    value_and_grad(model)(params, X[:100], y[:100])  # compiles
    tracemalloc.start()
    try:
        value_and_grad(model)(params, X, y, x_scale=1 / 255)
        assert tracemalloc.get_traced_memory()[1] < 0.3 * X.nbytes
    finally:
        tracemalloc.stop()


@models
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("where", ["X", "sparse X", "params"])
def test_nan_and_inf_come_back(model, bad, where):
    params, X, y = example(model)
    if where == "params":
        params[..., 1] = bad
    else:
        X[3, 1] = bad
    X = sparse.csr_array(X) if where == "sparse X" else X
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value, grad = value_and_grad(model)(params, X, y)
    if bad is np.nan:
        assert np.isnan(value)
    assert not np.isfinite(grad).all() or where == "params"


@models
def test_nothing(model):
    params, X, y = example(model)
    loss, grad, weight = sums(model)(params, X[:0], y[:0])
    assert loss == 0 and (grad == 0).all() and weight == 0
    for arguments in ((X[:0], y[:0], None), (X, y, np.zeros(len(y)))):
        value, grad = value_and_grad(model)(params, *arguments[:2], sample_weight=arguments[2])
        assert np.isnan(value) and np.isnan(grad).all()
    value, grad = value_and_grad(model)(params[..., -1:], X[:, :0], y)  # the intercept alone
    assert value == pytest.approx(float(losses(model, params[..., -1:], X[:, :0], y).mean()), rel=1e-12)


def _with(array, at, value):
    array = array.copy()
    array[at] = value
    return array


P, X, Y = example("softmax", 6, 2)
W, _, B = example("logistic", 6, 2)
R = np.zeros(6)
BAD_INDICES, BAD_ENDS = sparse.csr_array(np.eye(6, 2)), sparse.csr_array(np.eye(6, 2))
BAD_INDICES.indices[0] = 5
BAD_ENDS.indptr[3] = 9

# one argument is wrong, in linear regression unless another model is named
WRONG_X = [
    (X[0], ValueError, r"expected shape \(rows, features\), got \(2,\)"),
    (X + 1j, TypeError, "expected float32, .* got complex128"),
    (X.astype(np.float16), TypeError, "expected float32, .* got float16"),
    (np.array([["a", "b"]] * 6), TypeError, "expected float32, .* got <U1"),
    (np.ma.masked_array(X), TypeError, "expected an array without a mask"),
    (sparse.csr_array(X * 1j), TypeError, "expected float32, .* got complex128"),
    (sparse.coo_array(X), TypeError, "expected an array or SciPy's CSR format, got COO"),
    (BAD_INDICES, ValueError, r"expected valid CSR indices, got invalid ones in rows 0\.\.5"),
    (BAD_ENDS, ValueError, r"expected valid CSR indices, got invalid ones in rows 0\.\.5"),
]
WRONG_PARAMS = [
    ("linear", W[:2], ValueError, r"expected shape \(3,\) for 2 features and an intercept, got \(2,\)"),
    ("logistic", P, ValueError, r"expected shape \(3,\) for .*, got \(3, 3\)"),
    ("linear", W * 1j, TypeError, "expected float32, .* got complex128"),
    ("softmax", P[:, :2], ValueError, r"expected shape \(num_classes, 3\), .*, got \(3, 2\)"),
    ("softmax", P.ravel()[:-1], ValueError, r"expected shape \(num_classes, 3\), .*, got \(8,\)"),
    ("softmax", P[:0], ValueError, r"expected shape \(num_classes, 3\), .*, got \(0, 3\)"),
]
WRONG_Y = [
    ("linear", R[:5], ValueError, r"expected shape \(6,\), .*, got \(5,\)"),
    ("linear", R[:, None], ValueError, r"expected shape \(6,\), .*, got \(6, 1\)"),
    ("linear", _with(R, 2, np.nan), ValueError, "expected finite numbers .*, got nan at position 2"),
    ("linear", R * 1j, TypeError, "expected float32, .* got complex128"),
    ("logistic", _with(B, 4, 2), ValueError, r"expected labels 0 or 1, got 2\.0 at position 4"),
    ("logistic_mse", _with(B, 4, -1), ValueError, r"expected labels 0 or 1, got -1\.0 at position 4"),
    ("logistic", _with(R, 1, np.nan), ValueError, "expected labels 0 or 1, got nan at position 1"),
    ("logistic_mse", _with(R, 1, 0.5), ValueError, "expected labels 0 or 1, got 0.5 at position 1"),
    ("softmax", _with(Y, 5, 3), ValueError, r"expected labels in 0\.\.2, got 3 at position 5"),
    ("softmax", _with(Y, 0, -1), ValueError, r"expected labels in 0\.\.2, got -1 at position 0"),
    ("softmax", np.full(6, 2**63, np.uint64), ValueError, "expected labels below 2"),
    ("softmax", Y * np.nan, TypeError, "expected integer class labels, got float64"),
]
WRONG_OPTIONS = [
    ("sample_weight", R[:2], ValueError, r"expected shape \(6,\), .*, got \(2,\)"),
    ("sample_weight", 2.0, ValueError, r"expected shape \(6,\), .*, got \(\)"),
    ("sample_weight", R - 1, ValueError, "expected finite numbers >= 0, got -1.0"),
    ("sample_weight", _with(R, 3, np.nan), ValueError, "expected finite numbers >= 0, got nan"),
    ("sample_weight", _with(R, 3, np.inf), ValueError, "expected finite numbers >= 0, got inf"),
    ("sample_weight", R * 1j, TypeError, "expected float32, .* got complex128"),
    ("l2", -1, ValueError, "expected a finite number >= 0, got -1"),
    ("l2", np.nan, ValueError, "expected a finite number >= 0, got nan"),
    ("l2", "1", TypeError, "expected a real number, got str"),
    ("x_scale", np.inf, ValueError, "expected a finite number, got inf"),
    ("x_scale", 1j, TypeError, "expected a real number, got complex"),
    ("fit_intercept", 1, TypeError, "expected a bool, got int"),
]
ERRORS = [
    *(("linear", (W, x, R), {}, kind, "X: " + message) for x, kind, message in WRONG_X),
    *((m, (p, X, Y if m == "softmax" else B), {}, kind, "params: " + text) for m, p, kind, text in WRONG_PARAMS),
    *((m, (P if m == "softmax" else W, X, y), {}, kind, "y: " + text) for m, y, kind, text in WRONG_Y),
    (
        "linear",
        (np.float32(W), X, _with(R, 2, 1e300)),
        {},
        ValueError,
        "y: expected finite numbers .*float32.* 2",
    ),
    *(("linear", (W, X, R), {name: value}, kind, f"{name}: {text}") for name, value, kind, text in WRONG_OPTIONS),
    (
        "linear",
        (W, X, R),
        {"fit_intercept": False},
        ValueError,
        r"params: expected shape \(2,\) .*no intercept",
    ),
]


@pytest.mark.parametrize(("model", "arguments", "options", "kind", "message"), ERRORS)
def test_errors_name_the_argument(model, arguments, options, kind, message):
    with pytest.raises(kind, match="^" + message) as raised:
        value_and_grad(model)(*arguments, **options)
    assert "\n" not in str(raised.value)


def _masked(array):
    return np.ma.masked_array(array, np.arange(np.size(array)).reshape(np.shape(array)) % 2)


@pytest.mark.parametrize("kind", ["LinearRegression", "LogisticRegression", "SoftmaxRegression"])
def test_estimators_refuse_masks_in_every_place(kind):
    model = getattr(regression, kind)
    y, weight = (R if kind == "LinearRegression" else B).copy(), np.ones(6)
    y[0] = 1
    fitted = model().fit(X, y)
    calls = [
        lambda: model().fit(_masked(X), y), lambda: model().fit(list(_masked(X)), y), lambda: model().fit(X, _masked(y)),
        lambda: model().fit(X, y, sample_weight=_masked(weight)), lambda: fitted.predict(_masked(X)), lambda: fitted.score(_masked(X), y),
        lambda: fitted.score(X, _masked(y)), lambda: fitted.score(X, y, sample_weight=_masked(weight)), lambda: model().fit([(_masked(X), y)]),
        lambda: model().fit([(X, _masked(y))]), lambda: model().fit([(X, y, _masked(weight))]),
    ]  # fmt: skip
    calls += [lambda name=name: getattr(fitted, name)(_masked(X)) for name in ("predict_proba", "decision_function") if hasattr(fitted, name)]
    for call in calls:
        with pytest.raises(TypeError, match="(X|y|sample_weight): expected an array without a mask, got a masked array"):
            call()


@models
@pytest.mark.parametrize("at", ["params", "X", "y", "sample_weight"])
def test_objectives_refuse_masks_in_every_place(model, at):
    params = np.zeros((3, 3)) if model == "softmax" else np.zeros(3)
    given = {"params": params, "X": X, "y": {"softmax": Y, "linear": R}.get(model, B), "sample_weight": np.ones(6)}
    given[at] = _masked(given[at])
    for name in (model + "_value_and_grad", model + "_sums", model + "_hessian"):
        with pytest.raises(TypeError, match=f"{at}: expected an array without a mask"):
            getattr(regression, name)(**given)
