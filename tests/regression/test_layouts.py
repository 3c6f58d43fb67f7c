"""The same numbers give the same bits, however they lie in memory: objectives, Hessians, fits, on blocks and on Dask."""

import pickle
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from regression_models import example, models, sums, value_and_grad
from scipy import sparse
from strategies import INPUT_LAYOUTS, lay

from nbgrad import LinearRegression, LogisticRegression, SoftmaxRegression, regression
from nbgrad.regression import Problem
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.passes import one_pass
from nbgrad.regression.passes.second_order import Frame

ROWS, FEATURES = 600, 5


@pytest.fixture(autouse=True)
def ranges_and_pieces(monkeypatch):
    """As many as large data have."""
    monkeypatch.setattr(one_pass, "RANGE_WORK", 500)
    monkeypatch.setattr(one_pass, "PIECE_BYTES", 4000)
    monkeypatch.setattr(one_pass, "SCORES_PIECE_BYTES", 4000)


def at(array, offset):
    """A copy whose first byte lies ``offset`` bytes behind a cache line's."""
    memory = np.empty(array.nbytes + 64, np.uint8)
    copy = np.ndarray(array.shape, array.dtype, memory, (offset - memory.ctypes.data) % 64)
    copy[...] = array
    return copy


def bits(results):
    return [np.asarray(r).astype(np.asarray(r).dtype.newbyteorder("="), copy=False).tobytes() for r in results]


anywhere = st.one_of(
    st.integers(0, 63).map(lambda offset: lambda a: at(a, offset)),
    st.integers(0, 63).map(lambda offset: lambda a: at(np.ascontiguousarray(a.T), offset).T),
    st.sampled_from(sorted(INPUT_LAYOUTS)).map(lambda name: lambda a: lay(a, name)),
)


def everything(model, params, X, y, weight):
    problem = Problem(model, X, y, sample_weight=weight, x_scale=1 / 7)
    options = {"sample_weight": weight, "l2": 0.1}
    return bits(
        [
            *value_and_grad(model)(params, X, y, **options),
            *sums(model)(params, X, y, sample_weight=weight),
            getattr(regression, model + "_hessp")(params, params, X, y, **options),
            getattr(regression, model + "_hessian")(params, X, y, **options),
            *problem.value_and_grad(params),
            problem.hessian(params) @ np.ones(params.size),
            *problem.moments(Frame(np.ones(problem.n_features)), 0.5),
            problem.ranges().squares,
        ]
    )


@models
@pytest.mark.parametrize("x_dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@settings(max_examples=15)
@given(data=st.data())
def test_objectives_and_hessians(model, x_dtype, dtype, data):
    params, X, y = example(model, ROWS, FEATURES, dtype=dtype)
    X, weight = (20 * np.abs(X)).astype(x_dtype), np.random.default_rng(5).random(ROWS)
    arrays = [params, X, y, weight]
    moved = [data.draw(anywhere)(a) for a in arrays]
    assert everything(model, *moved) == everything(model, *arrays)


@models
def test_of_pixels_and_of_their_numbers_in_float64(model):
    """A conversion within the products changes no bit."""
    params, X, y = example(model, ROWS, FEATURES)
    X, weight = (20 * np.abs(X)).astype(np.uint8), np.random.default_rng(5).integers(0, 9, ROWS, np.uint8)
    true = everything(model, params, X, y, weight)
    for dtype in (np.float64, np.int16, np.uint64, ">i4"):
        labels = y.astype(dtype) if y.dtype.kind == "i" and dtype != np.float64 else y
        assert everything(model, params, X.astype(dtype), labels, weight.astype(dtype)) == true


ESTIMATORS = [
    LinearRegression(x_scale=0.3),
    LogisticRegression(max_iter=5),
    SoftmaxRegression(max_iter=3, solver="newton-cg"),
    SoftmaxRegression(max_iter=3, solver="scaled-lbfgs", class_weight="balanced"),
]


def fitted(estimator, *data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        estimator.fit(*data)
    return bits([estimator.coef_, estimator.intercept_])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@settings(max_examples=8)
@given(data=st.data())
def test_fits(estimator, dtype, data):
    _, X, y = example("logistic", ROWS, FEATURES)
    X, weight = (20 * np.abs(X)).astype(dtype), np.random.default_rng(5).random(ROWS)
    moved = [data.draw(anywhere)(a) for a in (X, y, weight)]
    assert fitted(estimator, *moved) == fitted(estimator, X, y, weight)

    def blocks(*arrays):
        return [tuple(a[start : start + 250] for a in arrays) for start in range(0, ROWS, 250)]

    assert fitted(estimator, blocks(*moved)) == fitted(estimator, blocks(X, y, weight))


@pytest.mark.parametrize("layout", INPUT_LAYOUTS)
def test_sparse_rows(layout):
    params, X, y = example("softmax", ROWS, FEATURES)
    S = sparse.csr_array(X * (X > 0))
    for dtype in (np.float32, np.float64):
        numbers = S.data.astype(dtype)
        true, moved = (sparse.csr_array((n, S.indices, S.indptr), shape=S.shape) for n in (numbers, lay(numbers, layout)))
        of_true, of_moved = (bits(value_and_grad("softmax")(params, m, y)) for m in (true, moved))
        assert of_true == of_moved
        for estimator in ESTIMATORS[:2]:
            assert fitted(estimator, moved, y % 2) == fitted(estimator, true, y % 2)


def test_blocks_of_either_byte_order_are_of_one_dtype():
    _, X, y = example("logistic", 100, 3, dtype=np.float32)
    blocks = [(X[:50], y[:50]), (X[50:].astype(">f4"), y[50:])]
    assert regression.blocks.scan(Blocks(blocks), classify=True).dtype == np.float32
    assert fitted(LogisticRegression(), blocks) == fitted(LogisticRegression(), [(X[:50], y[:50]), (X[50:], y[50:])])


def sent(array):
    """As a worker holds what was sent to it: in a message's bytes, behind its head."""
    buffers = []
    message = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    received = b"head of 13 by" + b"".join(bytes(b.raw()) for b in buffers)
    return pickle.loads(message, buffers=[memoryview(received)[13:]])


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_two_fits_of_the_same_chunks_on_dask(estimator):
    dask, da = pytest.importorskip("dask"), pytest.importorskip("dask.array")
    _, X, y = example("logistic", ROWS, FEATURES)
    arrived = sent(X), sent(y)
    assert not any(a.flags.aligned for a in arrived)

    def on_dask(X, y):
        starts = range(0, ROWS, 200)
        chunks = [(dask.delayed(X[i : i + 200]), dask.delayed(y[i : i + 200])) for i in starts]
        return (
            da.concatenate([da.from_delayed(x, (200, FEATURES), X.dtype) for x, _ in chunks]),
            da.concatenate([da.from_delayed(t, (200,), y.dtype) for _, t in chunks]),
        )

    with dask.config.set(scheduler="threads"):
        of_arrived, of_made = (fitted(estimator, *on_dask(*data)) for data in (arrived, (X, y)))
    assert of_arrived == of_made
    assert of_made == fitted(estimator, [(X[i : i + 200], y[i : i + 200]) for i in range(0, ROWS, 200)])


def predictions(model, X, y, weight):
    asked = [model.predict(X), model.score(X, y, weight)]
    if not isinstance(model, LinearRegression):
        asked += [model.decision_function(X), model.predict_proba(X), model.predict_log_proba(X)]
    return bits(asked)


@pytest.mark.parametrize("features", [5, 37, 600])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("estimator", ESTIMATORS[:3], ids=lambda e: type(e).__name__)
def test_predictions(estimator, dtype, features):
    """Also of blocks of rows: what a row is predicted does not depend on the rows beside it."""
    _, X, y = example("logistic", ROWS, features)
    X, weight = (20 * np.abs(X)).astype(dtype), np.random.default_rng(5).random(ROWS)
    fitted(estimator, X, y)
    true = predictions(estimator, X, y, weight)
    places = [lambda a, offset=offset: at(a, offset) for offset in range(64)]
    places += [lambda a, offset=offset: at(np.ascontiguousarray(a.T), offset).T for offset in range(0, 64, 7)]
    places += [lambda a, name=name: lay(a, name) for name in INPUT_LAYOUTS]
    for place in places:
        assert predictions(estimator, place(X), place(y), place(weight)) == true
    for rows in (1, 7, 77):
        starts = range(0, ROWS, rows)
        assert bits([np.concatenate([estimator.predict(X[i : i + rows]) for i in starts])]) == true[:1]
    if dtype == np.uint8:
        assert predictions(estimator, X.astype(np.float64), y, weight) == true
        assert predictions(estimator, X.astype(">i2"), y, weight) == true


def test_predictions_of_chunks_on_dask():
    da = pytest.importorskip("dask.array")
    _, X, y = example("logistic", ROWS, 37)
    for estimator in ESTIMATORS[1:3]:
        fitted(estimator, X, y)
        lazy = estimator.predict_proba(da.from_array(sent(X), chunks=(77, 20)))
        assert bits([lazy.compute(scheduler="threads")]) == bits([estimator.predict_proba(X)])


@pytest.mark.parametrize("classes", [1, 2, 5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_the_product(dtype, classes):
    rng = np.random.default_rng(3)
    for n, features in ((1, 1), (3, 31), (65, 513), (130, 1030)):
        X, w = (rng.standard_normal(shape).astype(dtype) for shape in ((n, features), (classes, features)))
        found = one_pass.scores(np.asfortranarray(X), w, 0.25)
        wide = X.astype(np.longdouble) @ w.T.astype(np.longdouble) + np.longdouble(0.25)
        bound = features * np.finfo(dtype).eps * (np.abs(X.astype(float)) @ np.abs(w.T.astype(float)) + 1)
        assert (found.shape, found.dtype) == ((n, classes), dtype) and (np.abs(found - wide) <= bound).all()
    with pytest.raises(ValueError, match="X: expected 3 features, a coefficient for each, got 2"):
        one_pass.scores(np.ones((4, 2), dtype), np.ones((classes, 3), dtype), 0)
