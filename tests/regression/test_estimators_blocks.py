"""The estimators on blocks of rows and on dask arrays: as in memory, and the same bits each time."""

import warnings

import numpy as np
import pytest
from regression_models import cut

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression
from nbgrad.regression import ConvergenceWarning

SIZES = (70, 0, 30, 90, 10)
rng = np.random.default_rng(0)
X = rng.integers(0, 200, (200, 6)).astype(np.uint8)
CODES = (X[:, :3] + rng.integers(0, 100, (200, 3))).argmax(axis=1)
WEIGHT = rng.integers(0, 4, 200).astype(np.float64)
MODELS = {
    "linear": (LinearRegression(x_scale=0.01), X @ np.arange(6.0) + rng.normal(size=200)),
    "ridge": (LinearRegression(x_scale=0.01, l2=0.2, fit_intercept=False), X @ np.arange(6.0) + rng.normal(size=200)),
    "logistic": (LogisticRegression(x_scale=0.01, tol=1e-9), np.array(["no", "yes"])[CODES % 2]),
    "softmax": (SoftmaxRegression(x_scale=0.01, tol=1e-9, class_weight="balanced"), np.array([3, 5, 8])[CODES]),
    "newton": (
        SoftmaxRegression(x_scale=0.01, tol=1e-9, solver="newton-cg", class_weight={3: 1, 5: 2, 8: 3}),
        np.array([3, 5, 8])[CODES],
    ),
}
every = pytest.mark.parametrize(("model", "y"), MODELS.values(), ids=MODELS)


def fit(model, *data):
    """A fitted copy."""
    return type(model)(**model.get_params()).fit(*data)


def on_dask(*arrays, rows=60):
    da = pytest.importorskip("dask.array")
    return [da.from_array(a, chunks=(rows, *(4,) * (a.ndim - 1))) for a in arrays]


def same(a, b, atol=0.0):
    """The attributes of two fits."""
    names = [name for name in vars(a) if name.endswith("_") and name != "n_iter_"]
    assert {"coef_", "intercept_", "n_features_in_"} <= set(names)
    for name in names:
        x, y = np.asarray(getattr(a, name)), np.asarray(getattr(b, name))
        assert x.dtype == y.dtype and x.shape == y.shape
        if x.dtype.kind == "f":
            np.testing.assert_allclose(x, y, rtol=0, atol=atol)
        else:
            np.testing.assert_array_equal(x, y)


@every
@pytest.mark.parametrize("weight", [(), (WEIGHT,)], ids=["", "weighted"])
def test_blocks_fit_as_memory(model, y, weight):
    wanted = fit(model, X, y, *weight)
    blocks = cut(SIZES, X, y, *weight)
    got = fit(model, blocks)
    same(got, wanted, 1e-6)
    same(fit(model, lambda: iter(blocks)), got)


@every
@pytest.mark.parametrize("weight", [(), (WEIGHT,)], ids=["", "weighted"])
def test_dask_fits_as_memory(model, y, weight):
    arrays = on_dask(X, y, *weight)
    got = fit(model, *arrays)
    same(got, fit(model, X, y, *weight), 1e-6)
    same(fit(model, *arrays), got)
    same(fit(model, cut((60, 60, 60, 20), X, y, *weight)), got)
    same(fit(model, arrays[0], y, *weight), got)  # targets in memory


def test_a_list_of_delayed_blocks():
    dask = pytest.importorskip("dask")
    model, y = MODELS["softmax"]
    blocks = cut(SIZES, X, y)
    same(fit(model, [dask.delayed(block) for block in blocks]), fit(model, blocks))


@every
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_answers_on_dask_are_lazy_and_those_of_memory(model, y, dtype):
    A = X.astype(dtype)
    if not isinstance(model, LinearRegression):
        model = type(model)(x_scale=0.01, tol=1e-3)
    fitted = fit(model, A, y)
    assert fitted.coef_.dtype == fit(model, *on_dask(A, y)).coef_.dtype
    (lazy,) = on_dask(A)
    methods = ("predict", "decision_function", "predict_proba", "predict_log_proba")
    answers = {name: (getattr(fitted, name)(lazy), getattr(fitted, name)(A)) for name in methods if hasattr(fitted, name)}
    assert len(answers) == (1 if isinstance(model, LinearRegression) else 4)
    fitted.fit(A[::-1], y)  # what was asked before is not changed by it
    for asked, wanted in answers.values():
        assert type(asked) is type(lazy) and asked.chunks[0] == lazy.chunks[0]
        assert asked.dtype == wanted.dtype and asked.shape == wanted.shape
        computed = asked.compute()
        assert computed.dtype == wanted.dtype
        if computed.dtype.kind == "f":
            np.testing.assert_allclose(computed, wanted, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)
        else:
            np.testing.assert_array_equal(computed, wanted)


@every
def test_score(model, y):
    fitted = fit(model, X, y)
    lazy = on_dask(X, y, WEIGHT)
    assert fitted.score(*lazy[:2]) == pytest.approx(fitted.score(X, y), rel=1e-12)
    assert fitted.score(*lazy) == pytest.approx(fitted.score(X, y, WEIGHT), rel=1e-12)
    assert fitted.score(lazy[0], y, WEIGHT) == pytest.approx(fitted.score(X, y, WEIGHT), rel=1e-12)
    few = lazy[0][:, 0] < 3  # unknown lengths, some of them 0
    kept = X[:, 0] < 3
    assert 0 < kept.sum() < 10
    assert fitted.score(lazy[0][few], lazy[1][few]) == pytest.approx(fitted.score(X[kept], y[kept]), rel=1e-12)


def test_separated_blocks_without_a_penalty_are_warned_of():
    A, labels = np.arange(8.0)[:, None], np.repeat(["a", "b"], 4)
    for data in ((A, labels), (cut((3, 5), A, labels),), on_dask(A, labels, rows=3)):
        with pytest.warns(ConvergenceWarning, match="The classes are separated without an error"):
            LogisticRegression(C=np.inf).fit(*data)
    labels[2:4] = "b", "a"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LogisticRegression(C=np.inf).fit(cut((3, 5), A, labels))


ROW = np.ones((1, 2))
NAN = np.array([[1.0, np.nan]])
ANY = [LinearRegression(), LogisticRegression(), SoftmaxRegression()]
CLASSIFIERS = ANY[1:]
REFUSED = [
    (ANY, ([(ROW, [0]), (NAN, [1])],), ValueError, "block 1: Input X contains NaN"),
    (ANY, ([(ROW, [0]), (np.ones((1, 3)), [1])],), ValueError, "block 1: X: expected the number of features 2"),
    (ANY, ([(ROW, [0, 1])],), ValueError, r"block 0: y: expected shape \(1,\)"),
    (ANY, ([(ROW, [0], [-1.0])],), ValueError, "block 0: sample_weight: expected finite numbers >= 0, got -1.0"),
    (ANY, ([(ROW, [0], [0.0])],), ValueError, "Sample weights must contain at least one non-zero number"),
    (ANY, ([(ROW[:, :0], [0])],), ValueError, r"Found array with 0 feature\(s\) \(shape=\(1, 0\)\)"),
    (ANY, ([],), ValueError, "X: expected at least one row, got no blocks"),
    (ANY, (iter([(ROW, [0])]),), TypeError, "X: expected blocks that can be read again"),
    (ANY, ([(ROW, [0])], None, [1.0]), TypeError, "sample_weight: expected None, as blocks bring their weights"),
    (ANY, (ROW,), ValueError, "requires y to be passed, but the target y is None"),
    (CLASSIFIERS, ([(ROW, [0]), (ROW, [0])],), ValueError, "This solver needs samples of at least 2 classes"),
    (CLASSIFIERS, ([(ROW, [0.5]), (ROW, [0.25])],), ValueError, "Unknown label type"),
]


@pytest.mark.parametrize(("models", "arguments", "kind", "message"), REFUSED)
def test_errors(models, arguments, kind, message):
    for model in models:
        with pytest.raises(kind, match=message):
            fit(model, *arguments)


@every
def test_errors_of_prediction_come_at_once(model, y):
    (lazy,) = on_dask(X)
    unfitted = type(model)()
    with pytest.raises(ValueError, match="is not fitted yet"):
        unfitted.predict(lazy)
    fitted = fit(model, X, y)
    with pytest.raises(ValueError, match="X has 5 features, but .* is expecting 6 features as input"):
        fitted.predict(lazy[:, :5])
    with pytest.raises(ValueError, match="Expected 2D array, got 1D array instead"):
        fitted.predict(lazy[:, 0])


def test_names_of_columns_are_forgotten_by_a_fit_to_blocks():
    pandas = pytest.importorskip("pandas")
    model, y = MODELS["linear"]
    named = fit(model, pandas.DataFrame(X, columns=list("abcdef")), y)
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        lazy = named.predict(on_dask(X)[0])
    lazy.compute()  # without a warning
    assert not hasattr(named.fit(cut(SIZES, X, y)), "feature_names_in_")
