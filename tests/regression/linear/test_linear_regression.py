"""`LinearRegression`: several targets, coefficients not below 0, large sparse X, scikit-learn's parameters."""

import tracemalloc

import numpy as np
import pytest
from scipy import optimize, sparse

from nbgrad import LinearRegression
from nbgrad.regression import ConvergenceWarning
from nbgrad.regression.linear import linear_regression
from nbgrad.regression.linear import sparse as module
from nbgrad.regression.linear.least_squares import least_squares

da = pytest.importorskip("dask.array")
linear_model = pytest.importorskip("sklearn.linear_model")


def example(n=60, features=4, targets=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)) + 2
    return X, X @ rng.normal(size=(features, targets)) + rng.normal(size=(n, targets)), rng.integers(0, 3, n).astype(float)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("parameters", [{}, {"l2": 0.1}, {"positive": True}, {"positive": True, "l2": 0.1}], ids=str)
def test_each_target_is_fitted_for_itself(fit_intercept, parameters):
    X, Y, weight = example()
    model = LinearRegression(fit_intercept=fit_intercept, **parameters).fit(X, Y, weight)
    ones = [LinearRegression(fit_intercept=fit_intercept, **parameters).fit(X, y, weight) for y in Y.T]
    np.testing.assert_allclose(model.coef_, [one.coef_ for one in ones], rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(model.intercept_ + np.zeros(3), [one.intercept_ for one in ones], rtol=1e-10)
    np.testing.assert_allclose(model.predict(X), np.column_stack([one.predict(X) for one in ones]), rtol=1e-10)
    assert model.score(X, Y) == pytest.approx(np.mean([one.score(X, y) for one, y in zip(ones, Y.T, strict=True)]))


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("shape", [(60,), (60, 1), (60, 3)], ids=str)
def test_shapes_are_scikit_learns(shape, fit_intercept):
    X, Y, _ = example()
    y = Y[:, 0] if len(shape) == 1 else Y[:, : shape[1]]
    ours = LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    theirs = linear_model.LinearRegression(fit_intercept=fit_intercept).fit(X, y)
    assert ours.coef_.shape == theirs.coef_.shape and np.shape(ours.intercept_) == np.shape(theirs.intercept_)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-10)
    np.testing.assert_allclose(ours.predict(X), theirs.predict(X), rtol=1e-10)
    assert ours.predict(X).shape == y.shape


def test_several_targets_in_blocks_and_on_dask():
    X, Y, weight = example()
    wanted = LinearRegression().fit(X, Y, weight)
    blocks = LinearRegression().fit([(X[:20], Y[:20], weight[:20]), (X[20:], Y[20:], weight[20:])])
    there = LinearRegression().fit(da.from_array(X, (25, 2)), da.from_array(Y, (30, 2)), da.from_array(weight, 10))
    for got in (blocks, there):
        np.testing.assert_allclose(got.coef_, wanted.coef_, rtol=1e-10)
        np.testing.assert_allclose(got.intercept_, wanted.intercept_, rtol=1e-10)
    np.testing.assert_allclose(there.predict(da.from_array(X, (25, 4))).compute(), wanted.predict(X), rtol=1e-10)
    with pytest.raises(ValueError, match=r"block 1: y: expected the shape of a row's targets \(3,\) as in block 0, got \(2,\)"):
        LinearRegression().fit([(X, Y), (X, Y[:, :2])])
    with pytest.raises(ValueError, match="y: expected a target or more"):
        LinearRegression().fit([(X, Y[:, :0])])


def test_digits_of_several_targets_where_they_are_refined():
    x = np.arange(21.0)
    X = x[:, np.newaxis] ** np.arange(1, 6)
    smooth = 1 + X.sum(axis=1)
    Y = np.column_stack([smooth, smooth + 1e5 * np.where(np.arange(21) % 2, -1, 1), -smooth])
    coef, intercept, _ = least_squares(X, Y)
    for y, w, b in zip(Y.T, coef, intercept, strict=True):
        alone, beside, _ = least_squares(X, y)
        np.testing.assert_allclose(w, alone, rtol=1e-9)
        assert b == pytest.approx(beside, rel=1e-7)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_coefficients_not_below_0(fit_intercept, seed):
    X, Y, weight = example(40, 6, seed=seed)
    weight += 0.5
    model = LinearRegression(fit_intercept=fit_intercept, positive=True).fit(X, Y, weight)
    A, B, root = X, Y, np.sqrt(weight)[:, None]
    if fit_intercept:
        A, B = X - np.average(X, axis=0, weights=weight), Y - np.average(Y, axis=0, weights=weight)
    wanted = np.array([optimize.nnls(root * A, (root * B)[:, k])[0] for k in range(3)])
    np.testing.assert_allclose(model.coef_, wanted, rtol=1e-9, atol=1e-12)
    assert ((model.coef_ == 0) == (wanted == 0)).all() and (wanted == 0).any()


@pytest.mark.parametrize("unit", [1e-200, 1e-9, 1e155])
def test_positive_in_any_units(unit):
    X, Y, _ = example(40, 6)
    wanted = LinearRegression(positive=True).fit(X, Y)
    units = np.array([1, unit, 1, unit, 1, 1])
    got = LinearRegression(positive=True).fit(X * units + [0, 0, 1e9, 0, 0, 0], Y)
    np.testing.assert_allclose(got.coef_ * units, wanted.coef_, rtol=1e-6, atol=1e-9)
    flipped = LinearRegression(positive=True, x_scale=-2.0).fit(-X, Y)
    np.testing.assert_allclose(flipped.coef_ * 2, wanted.coef_, rtol=1e-9, atol=1e-12)


@pytest.fixture
def large(monkeypatch):
    monkeypatch.setattr(module, "LARGE", 5)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("targets", [(), (2,)], ids=str)
def test_large_sparse_is_as_small(large, fit_intercept, l2, targets):
    rng = np.random.default_rng(0)
    X = sparse.random_array((200, 12), density=0.2, format="csr", rng=rng).toarray()
    X[:, 3] = 7.0  # constant
    X[:, 4] = 1e8 + rng.normal(size=200)  # without a 0, far from it
    X[:, 5] *= 1e-200
    X[:, 6] *= 1e150
    X[:, 7] = 0
    if not fit_intercept:
        X = X[:, [0, 1, 2, 5, 6, 8, 9, 10]]
    y, weight = rng.normal(size=(200, *targets)), rng.integers(0, 3, 200).astype(float)
    model = LinearRegression(fit_intercept=fit_intercept, l2=l2, x_scale=0.5, tol=1e-14)
    got = model.fit(sparse.csr_matrix(X), y, weight)
    assert not hasattr(got, "rank_")
    coef, intercept = got.coef_, got.intercept_
    wanted = LinearRegression(fit_intercept=fit_intercept, l2=l2, x_scale=0.5).fit(X, y, weight)
    np.testing.assert_allclose(coef, wanted.coef_, rtol=1e-7, atol=1e-90 if l2 else 0)  # a penalised 1e-200: 0
    np.testing.assert_allclose(intercept, wanted.intercept_, rtol=1e-6)


def test_large_sparse_makes_nothing_dense():
    rng = np.random.default_rng(0)
    X = sparse.random_array((3000, 1000), density=0.01, format="csr", rng=rng)
    y = X @ rng.normal(size=1000) + 3
    X.toarray = None
    model = LinearRegression(tol=1e-12).fit(X, y)
    np.testing.assert_allclose(model.predict(X), y, atol=1e-8)
    with pytest.warns(ConvergenceWarning, match="LSMR has not reached tol") as caught:
        near = sparse.csr_matrix(np.vander(np.linspace(0, 1, 600), 600))
        LinearRegression(tol=0.0).fit(near, np.arange(600.0) % 7)
    assert caught[0].filename == __file__


@pytest.mark.parametrize("weighted", [False, True])
def test_large_sparse_is_not_copied(weighted):
    """Memory is for vectors: the numbers of X, their squares and quotients took four times as much as X."""
    rng = np.random.default_rng(0)
    X = sparse.random_array((30_000, 2000), density=0.03, format="csr", rng=rng)
    y, weight = X @ rng.normal(size=2000), rng.uniform(1, 2, 30_000) if weighted else None
    LinearRegression().fit(X[:2000, :600], y[:2000])
    tracemalloc.start()
    model = LinearRegression(tol=1e-4).fit(X, y, weight)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert model.score(X, y) > 0.999 and peak < X.data.nbytes / 3


@pytest.mark.parametrize("power", [-450, 450])
@pytest.mark.parametrize("full", [False, True])
def test_large_sparse_in_any_units(power, full):
    rng = np.random.default_rng(1)
    X = sparse.random_array((900, 600), density=0.02, format="csr", rng=rng)
    if full:
        X = sparse.hstack([X, sparse.csr_array(1e9 + rng.normal(size=(900, 1)))], format="csr")
    y = X @ rng.normal(size=X.shape[1]) + 1
    want = LinearRegression(tol=1e-13).fit(X, y)
    got = LinearRegression(tol=1e-13).fit(X * 2.0**power, y)
    np.testing.assert_allclose(np.ldexp(got.coef_, power), want.coef_, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(got.predict(X * 2.0**power), want.predict(X), rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize(
    ("parameter", "value", "expected"),
    [
        ("copy_X", 1, "an instance of 'bool'"),
        ("n_jobs", 1.5, "None or an instance of 'int'"),
        ("positive", "yes", "an instance of 'bool'"),
        ("tol", -1.0, "a float in the range [0.0, inf)"),
    ],
)
def test_parameters_are_refused_as_there(parameter, value, expected):
    with pytest.raises(ValueError) as error:
        LinearRegression(**{parameter: value}).fit([[0.0], [1.0]], [0, 1])
    assert str(error.value) == f"The {parameter!r} parameter of LinearRegression must be {expected}. Got {value!r} instead."
    with pytest.raises(ValueError, match=f"The {parameter!r} parameter of LinearRegression must be"):
        linear_model.LinearRegression(**{parameter: value}).fit([[0.0], [1.0]], [0, 1])


def test_parameters_without_a_use_change_nothing():
    X, Y, _ = example()
    plain = LinearRegression().fit(X, Y)
    before = X.copy()
    other = LinearRegression(copy_X=False, n_jobs=-1, tol=1.0).fit(X, Y)
    np.testing.assert_array_equal(plain.coef_, other.coef_)
    np.testing.assert_array_equal(X, before)
    theirs = linear_model.LinearRegression().get_params()
    assert theirs == {name: value for name, value in LinearRegression().get_params().items() if name in theirs}


def test_sparse_targets_and_a_sparse_x_beside_positive_are_refused():
    X, Y, _ = example()
    with pytest.raises(TypeError, match="Sparse data was passed for X, but dense data is required"):
        LinearRegression(positive=True).fit(sparse.csr_matrix(X), Y)
    with pytest.raises(TypeError, match="y: expected a dense array"):
        LinearRegression().fit(X, sparse.csr_matrix(Y))
    assert linear_regression.is_large(sparse.csr_matrix((600, 600))) and not linear_regression.is_large(X)
