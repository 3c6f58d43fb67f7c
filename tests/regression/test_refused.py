"""What `fit` and `predict` refuse, in words that name the argument, and that a model that was refused is as before."""

import datetime

import numpy as np
import pytest
from scipy import sparse

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 3)), np.arange(40) % 2
classifiers = pytest.mark.parametrize("estimator", [LogisticRegression, SoftmaxRegression])


def arrays(X, y):
    return X, y


def blocks(X, y):
    return ([(X[:20], y[:20]), (X[20:], y[20:])],)


def dask_arrays(X, y):
    array = pytest.importorskip("dask.array")
    return array.from_array(X, chunks=20), array.from_array(y, chunks=20)


forms = pytest.mark.parametrize("form", [arrays, blocks, dask_arrays])


@pytest.mark.parametrize("kind", ["coo", "csc", "lil", "dok", "bsr", "dia", "csr"])
@pytest.mark.parametrize("make", [sparse.csr_matrix, sparse.csr_array])
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
def test_sparse_blocks_of_any_format(estimator, make, kind):
    whole = estimator().fit(X, Y)
    found = estimator().fit([(make(X[:25]).asformat(kind), Y[:25]), (make(X[25:]).asformat(kind), Y[25:])])
    np.testing.assert_allclose(found.coef_, whole.coef_, atol=1e-3)


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
def test_a_source_that_is_read_out(estimator):
    once = iter([(X, Y)])
    with pytest.raises(ValueError, match="X: expected the blocks of the first pass again, got none"):
        estimator().fit(lambda: once)
    with pytest.raises(ValueError, match="X: expected at least one row, got no blocks"):
        estimator().fit(lambda: iter([]))


LABELS = {
    "nan": (np.array([0.0, 1.0]), np.nan, "NaN"),
    "NaT": (np.array(["2020-01-01", "2021-01-01"], "M8[D]"), np.datetime64("NaT"), "NaT"),
    "no time": (np.array([1, 2], "m8[s]"), np.timedelta64("NaT"), "NaT"),
    "None among names": (np.array(["a", "b"], object), None, "None"),
    "nan among names": (np.array(["a", "b"], object), np.nan, "NaN"),
    "nan among objects": (np.array([0, 1], object), np.nan, "NaN"),
}


@classifiers
@forms
@pytest.mark.parametrize(("labels", "missing", "word"), LABELS.values(), ids=list(LABELS))
def test_labels_that_are_missing(estimator, form, labels, missing, word):
    y = labels[Y].copy()
    y[23] = missing
    with pytest.raises(ValueError, match=rf"contains {word}"):
        estimator().fit(*form(X, y))


@forms
def test_labels_of_several_kinds(form):
    y = np.array(["a", datetime.date(2020, 1, 1)], object)[Y]
    with pytest.raises((TypeError, ValueError), match=r"labels of one kind|[Uu]nknown label type"):
        LogisticRegression().fit(*form(X, y))


def test_dates_are_labels():
    dates = np.array(["2020-01-01", "2021-01-01"], "M8[D]")
    assert set(LogisticRegression().fit(X, dates[Y]).predict(X)) <= set(dates)


def test_masked_arrays():
    model = LogisticRegression().fit(X, Y)
    masked = np.ma.masked_array(X, X > 1)
    for call in (
        lambda: model.fit(masked, Y), lambda: model.fit([(masked, Y)]), lambda: model.predict(masked),
        lambda: model.fit(X, np.ma.masked_array(Y, Y > 0)), lambda: model.fit(X, Y, np.ma.masked_array(np.ones(40), Y > 0)),
    ):  # fmt: skip
        with pytest.raises(TypeError, match="expected an array without a mask"):
            call()


@classifiers
@forms
@pytest.mark.parametrize("weight", [-1, -1e-300, np.nan, np.inf, None, "1", True])
def test_weights_of_classes(estimator, form, weight):
    with pytest.raises(ValueError, match="class_weight: expected finite numbers >= 0, got .* for the class 0"):
        estimator(class_weight={0: weight, 1: 1.0}).fit(*form(X, Y))


@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
@pytest.mark.parametrize("source", [[(X, Y)], lambda: iter([(X, Y)]), iter([(X, Y)])], ids=["list", "function", "iterator"])
def test_predict_of_blocks(estimator, source):
    model = estimator().fit(X, Y)
    for name in ("predict", "predict_proba", "decision_function", "score"):
        if hasattr(model, name):
            with pytest.raises(TypeError, match=r"X: expected an array.*Blocks answer one by one: \[model.predict"):
                getattr(model, name)(source, *([Y] if name == "score" else []))
    assert len(model.predict([(0.0, 1.0, 2.0), (1.0, 1.0, 1.0)])) == 2  # rows of numbers


REFUSED = {
    "one class": (X[:, :2], np.zeros(40)), "nan": (X[:, :2], np.where(Y, np.nan, 0.0)), "weights": (X[:, :2], Y, -np.ones(40)),
    "blocks": ([(X[:, :1], np.zeros(40)), (X[:, :2], np.zeros(40))],), "lengths": (X[:, :2], Y[:7]),
}  # fmt: skip


@pytest.mark.parametrize("arguments", REFUSED.values(), ids=list(REFUSED))
@pytest.mark.parametrize("estimator", [LinearRegression, LogisticRegression, SoftmaxRegression])
def test_a_model_that_is_refused_is_as_before(estimator, arguments):
    if estimator is LinearRegression and arguments is REFUSED["one class"]:
        return
    model = estimator()
    for _ in range(2):
        before = dict(vars(model))
        with pytest.raises(ValueError):
            model.fit(*arguments)
        assert vars(model).keys() == before.keys() and all(vars(model)[k] is v for k, v in before.items())
        model.fit(X, Y)
    assert model.predict(X).shape == (40,)
