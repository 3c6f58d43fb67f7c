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
from nbgrad.regression import Problem, one_pass
from nbgrad.regression.blocks import Blocks

ROWS, FEATURES = 600, 5


@pytest.fixture(autouse=True)
def ranges_and_pieces(monkeypatch):
    """As many as large data have."""
    monkeypatch.setattr(one_pass, "RANGE_WORK", 500)
    monkeypatch.setattr(one_pass, "PIECE_BYTES", 4000)


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
            *problem.moments(2, True),
            *problem.moments(2, False),
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
        true, moved = (
            sparse.csr_array((n, S.indices, S.indptr), shape=S.shape) for n in (numbers, lay(numbers, layout))
        )
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
