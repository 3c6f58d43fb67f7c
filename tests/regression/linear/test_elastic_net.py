"""`Lasso` and `ElasticNet`: scikit-learn's coefficients and zeros, the conditions of a minimum, any units, all kinds of data."""

import numpy as np
import pytest
from hypothesis import example as case
from hypothesis import given
from hypothesis import strategies as st
from regression_models import cut
from scipy import sparse

from nbgrad.regression import ConvergenceWarning, ElasticNet, Lasso, LinearRegression
from nbgrad.regression.linear import elastic_net
from nbgrad.regression.linear import sparse as module

da = pytest.importorskip("dask.array")
linear_model = pytest.importorskip("sklearn.linear_model")
from sklearn import datasets  # noqa: E402

TIGHT = {"tol": 1e-13, "max_iter": 100_000}


def example(n=80, features=12, seed=0, density=0.4):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)) * (rng.random((n, features)) < density)
    y = X[:, :4] @ [1.0, -2.0, 3.0, 0.5] + rng.normal(size=n) + 7
    return X, y, rng.integers(0, 4, n).astype(float)


def check_minimum(model, X, y, weight=None, rtol=1e-8):
    """In long double: the slope of the squares is the penalty's, or within it at 0."""
    X, y = np.asarray(X, np.longdouble) * np.longdouble(model.x_scale), np.asarray(y, np.longdouble)
    share = np.ones(len(y)) if weight is None else np.asarray(weight)
    share = share.astype(np.longdouble) / share.sum()
    coef = np.asarray(model.coef_, np.longdouble)
    r = y - X @ coef - (share @ (y - X @ coef) if model.fit_intercept else 0)
    falling = X.T @ (share * r)
    ratio = getattr(model, "l1_ratio", 1.0)
    l1, l2 = model.alpha * ratio, model.alpha * (1 - ratio)
    scale = rtol * np.sqrt((share[:, None] * X**2).sum(axis=0) * (share * (y - share @ y) ** 2).sum()) + rtol * l1
    on = coef != 0
    assert (np.abs(falling - l1 * np.sign(coef) - l2 * coef)[on] <= scale[on]).all()
    assert ((falling if model.positive else np.abs(falling))[~on] <= l1 + scale[~on]).all()
    assert not (model.positive and (coef < 0).any())


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 0.7, 0.05])
@pytest.mark.parametrize("alpha", [0.003, 0.1, 1.0])
def test_coefficients_and_zeros_are_scikit_learns(alpha, ratio, fit_intercept, positive):
    for X, y, weight in ((*datasets.load_diabetes(return_X_y=True), None), example()):
        parameters = {"alpha": alpha, "l1_ratio": ratio, "fit_intercept": fit_intercept, "positive": positive}
        theirs = linear_model.ElasticNet(**parameters, **TIGHT).fit(X, y, weight)
        ours = ElasticNet(**parameters, tol=1e-12).fit(X, y, weight)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
        assert ours.intercept_ == pytest.approx(theirs.intercept_, rel=1e-8, abs=1e-9)
        check_minimum(ours, X, y, weight)
        if ratio == 1:
            one = Lasso(alpha, fit_intercept=fit_intercept, positive=positive, tol=1e-12).fit(X, y, weight)
            np.testing.assert_array_equal(one.coef_, ours.coef_)


@case(2, 17, 1e-4, 0.0, False, False, False, 0)  # squares alone: an exact step may cross 0
@given(
    st.integers(2, 30), st.integers(1, 40), st.sampled_from([1e-4, 0.01, 0.3, 5.0]), st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(), st.booleans(), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_what_is_found_is_the_minimum(n, features, alpha, ratio, fit_intercept, positive, weighted, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(n, features)) + 1, rng.normal(size=n)
    weight = rng.integers(1, 4, n).astype(float) if weighted else None
    model = ElasticNet(alpha, l1_ratio=ratio, fit_intercept=fit_intercept, positive=positive, tol=1e-12, max_iter=100_000)
    check_minimum(model.fit(X, y, weight), X, y, weight, rtol=1e-5)


def test_residuals_that_point_away_from_the_targets_end_nothing():
    """On the way r·z may be below 0: a gap of θ = c·r with c < 0 and bounds for c > 0 was below 0, and the fit ended."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2, 3)) + 1, rng.normal(size=2)
    model = ElasticNet(1e-4, l1_ratio=0.3, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(X, y)
    check_minimum(model, X, y)
    assert model.dual_gap_ > -1e-12


@pytest.mark.parametrize("size", ["small", "triangle", "large"])
@pytest.mark.parametrize("form", ["C", "F", "float32", "uint8", "csr", "csc", "blocks", "dask"])
def test_all_kinds_of_data(form, size, monkeypatch):
    monkeypatch.setattr(module, "LARGE", 5 if size == "large" else 512)
    monkeypatch.setattr(elastic_net, "SMALL", 2**25 if size == "small" else 0)
    rng = np.random.default_rng(0)
    X, _, weight = example()
    X = np.round(np.abs(X) * 40)
    y = X[:, :3] @ [1.0, -1.0, 0.5] + rng.normal(size=80)
    wanted = Lasso(5.0, tol=1e-13, x_scale=0.5).fit(X, y, weight)
    check_minimum(wanted, X, y, weight)
    data = {
        "F": np.asfortranarray(X), "float32": X.astype(np.float32), "uint8": X.astype(np.uint8),
        "csr": sparse.csr_matrix(X), "csc": sparse.csc_array(X), "dask": da.from_array(X, (30, 5)),
    }  # fmt: skip
    model = Lasso(5.0, tol=1e-13, x_scale=0.5)
    if form == "blocks":
        model.fit(cut([20, 0, 60], X, y, weight))
    elif form == "dask":
        model.fit(data["dask"], da.from_array(y, 80), da.from_array(weight, 30))
    else:
        model.fit(data.get(form, X), y, weight)
    np.testing.assert_allclose(model.coef_, wanted.coef_, rtol=1e-6 if form == "float32" else 1e-9)
    assert model.intercept_ == pytest.approx(wanted.intercept_, rel=1e-5 if form == "float32" else 1e-9)
    assert model.dual_gap_ <= 1e-12 * np.average((y - y.mean()) ** 2) and model.n_iter_ >= 1
    np.testing.assert_allclose(model.predict(X), wanted.predict(X), rtol=1e-5)


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("unit", [1e-200, 1e-9, 1e155])
def test_units_and_constants(unit, large, monkeypatch):
    """Columns in other units with penalties to match; constants get nothing."""
    monkeypatch.setattr(module, "LARGE", 5 if large else 512)
    X, y, _ = example()
    X = np.column_stack([X, np.full(80, 1.7e9), np.zeros(80)])
    wanted = ElasticNet(0.1, tol=1e-13).fit(X, y)
    assert not wanted.coef_[12:].any() and (wanted.coef_ == 0).sum() > 4
    as_given = sparse.csr_matrix if large else np.asarray
    got = Lasso(0.1 * unit, tol=1e-13).fit(as_given(X * unit), y)
    lasso = Lasso(0.1, tol=1e-13).fit(X, y)
    np.testing.assert_allclose(got.coef_ * unit, lasso.coef_, rtol=1e-9)
    small = unit if unit < 1 else 1 / unit
    got = Lasso(0.1 * small, tol=1e-13).fit(as_given(X), y * small)
    np.testing.assert_allclose(got.coef_ / small, lasso.coef_, rtol=1e-9)
    got = Lasso(0.1, tol=1e-13, x_scale=-1.0).fit(as_given(-X), y)
    np.testing.assert_allclose(got.coef_, lasso.coef_, rtol=1e-9)
    got = Lasso(0.1, tol=1e-13, x_scale=-1.0, positive=True).fit(as_given(-X), y)
    np.testing.assert_allclose(got.coef_, Lasso(0.1, tol=1e-13, positive=True).fit(X, y).coef_, rtol=1e-9)


def test_a_large_sparse_problem():
    rng = np.random.default_rng(0)
    X = sparse.random_array((2000, 3000), density=0.005, format="csr", rng=rng)
    y = X[:, :50] @ rng.normal(size=50) + 0.1 * rng.normal(size=2000)
    theirs = linear_model.Lasso(1e-3, **TIGHT).fit(X, y)
    X.toarray = None
    ours = Lasso(1e-3, tol=1e-12).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert ours.sparse_coef_.nnz == np.count_nonzero(ours.coef_) < 500


def test_several_targets_and_shapes():
    X, y, weight = example()
    Y = np.column_stack([y, -y, 2 * y + X[:, 0]])
    model, theirs = ElasticNet(0.2, tol=1e-12).fit(X, Y, weight), linear_model.ElasticNet(0.2).fit(X, Y, weight)
    for t in range(3):
        one = ElasticNet(0.2, tol=1e-12).fit(X, Y[:, t], weight)
        np.testing.assert_allclose(model.coef_[t], one.coef_, rtol=1e-12)
        assert model.dual_gap_[t] == pytest.approx(one.dual_gap_, abs=1e-10)
    assert model.predict(X).shape == (80, 3) and len(model.n_iter_) == 3
    for name in ("coef_", "intercept_", "dual_gap_"):
        assert np.shape(getattr(model, name)) == np.shape(getattr(theirs, name))
    column, theirs = ElasticNet(0.2).fit(X, Y[:, :1]), linear_model.ElasticNet(0.2).fit(X, Y[:, :1])
    for name in ("coef_", "intercept_", "dual_gap_", "n_iter_"):
        assert np.shape(getattr(column, name)) == np.shape(getattr(theirs, name))
    assert column.predict(X).shape == theirs.predict(X).shape


def test_warm_start_selection_and_equal_columns():
    X, y, _ = example()
    cold = Lasso(0.05, tol=1e-10).fit(X, y)
    warm = Lasso(0.06, warm_start=True, tol=1e-10).fit(X, y)
    warm.set_params(alpha=0.05).fit(X, y)
    np.testing.assert_allclose(warm.coef_, cold.coef_, rtol=1e-7)
    again = warm.fit(X, y)
    assert again.n_iter_ == 1
    for seed in (0, np.random.RandomState(1)):
        other = Lasso(0.05, tol=1e-12, selection="random", random_state=seed).fit(X, y)
        np.testing.assert_allclose(other.coef_, cold.coef_, rtol=1e-7)
    twice = np.hstack([X, X])
    ours, theirs = Lasso(0.05, tol=1e-12).fit(twice, y), linear_model.Lasso(0.05, **TIGHT).fit(twice, y)
    np.testing.assert_allclose(ours.predict(twice), theirs.predict(twice), rtol=1e-8)


def test_no_penalty_is_linear_regression():
    X, y, weight = example()
    for positive in (False, True):
        plain = LinearRegression(positive=positive).fit(X, y, weight)
        model = Lasso(0.0, positive=positive).fit(X, y, weight)
        np.testing.assert_array_equal(model.coef_, plain.coef_)
        assert model.n_iter_ == 1 and model.n_features_in_ == 12


@pytest.mark.parametrize("alpha", [1e-320, 1e-100, 1e-20, 1e-12])
def test_next_to_no_penalty(alpha):
    X, y, weight = example()
    plain = LinearRegression().fit(X, y, weight)
    for model in (Lasso(alpha), ElasticNet(alpha, tol=1e-12)):
        np.testing.assert_allclose(model.fit(X, y, weight).coef_, plain.coef_, rtol=1e-9)


def test_too_few_sweeps_warn():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 200))
    y = rng.normal(size=60)
    with pytest.warns(ConvergenceWarning, match="The duality gap of the mean is .* after 1 sweeps") as caught:
        model = Lasso(0.001, max_iter=1, tol=1e-10).fit(X, y)
    assert caught[0].filename == __file__ and model.n_iter_ == 1


@pytest.mark.parametrize(
    ("parameter", "value"),
    [("alpha", -1.0), ("l1_ratio", 1.5), ("max_iter", 0), ("max_iter", 2.5), ("selection", "all"), ("precompute", "auto"), ("tol", -1.0), ("warm_start", 1)],
)
def test_parameters_are_refused_as_there(parameter, value):
    errors = []
    for kind in (ElasticNet, linear_model.ElasticNet):
        with pytest.raises(ValueError, match=f"The '{parameter}' parameter of ElasticNet must be") as error:
            kind(**{parameter: value}).fit([[0.0], [1.0]], [0, 1])
        errors.append(str(error.value))
    if parameter not in ("selection", "warm_start"):  # whose choices have no order; bools of NumPy are bools here
        assert errors[0] == errors[1]
    ElasticNet(max_iter=None, precompute=True).fit([[0.0], [1.0]], [0, 1])


@pytest.mark.parametrize("kind", ["Lasso", "ElasticNet"])
def test_parameters_are_scikit_learns(kind):
    ours, theirs = getattr(elastic_net, kind)(), getattr(linear_model, kind)()
    assert {**ours.get_params(), **theirs.get_params()} == {**theirs.get_params(), "x_scale": 1.0}
