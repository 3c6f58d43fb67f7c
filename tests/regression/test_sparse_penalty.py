"""Penalties with a part l1: beside scikit-learn's saga and liblinear at a tight tol, zeros and all; on arrays, CSR, blocks,
Dask; the conditions of the minimum by long double; paths.
"""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from nbgrad import LogisticRegression, SoftmaxRegression
from nbgrad.regression import C_path, ConvergenceWarning
from nbgrad.regression.solvers import proximal
from nbgrad.regression.solvers.coordinates import coordinate_descent


def drawn(classes, n=200, features=8, seed=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features)) @ (np.eye(features) + 0.3 * rng.normal(size=(features, features)))
    truth = rng.normal(size=(features, classes)) * (rng.random((features, 1)) < 0.5)
    return X, (X @ truth + rng.gumbel(size=(n, classes))).argmax(axis=1)


def residual(model, X, y, C, ratio):
    """The largest part of a subgradient that no choice of signs at 0 makes vanish, in long double."""
    X = np.asarray(X, np.longdouble)
    W, b = model.coef_.astype(np.longdouble), model.intercept_.astype(np.longdouble)
    scores = X @ W.T + b
    if len(W) == 1:
        R = 1 / (1 + np.exp(-scores)) - (y == model.classes_[1])[:, None]
    else:
        e = np.exp(scores - scores.max(axis=1, keepdims=True))
        R = e / e.sum(axis=1, keepdims=True) - (y[:, None] == model.classes_)
    n, strength = len(y), 1 / (np.longdouble(C) * len(y))
    g, l1 = R.T @ X / n + strength * (1 - ratio) * W, strength * ratio
    slack = np.where(W != 0, np.abs(g + l1 * np.sign(W)), np.maximum(np.abs(g) - l1, 0))
    return float(max(slack.max(), np.abs(R.mean(axis=0)).max() if model.fit_intercept else 0))


@given(
    st.sampled_from([2, 3]), st.floats(-3, 2), st.sampled_from([0.01, 0.5, 0.9, 1.0]), st.booleans(),
    st.lists(st.integers(-3, 3), min_size=8, max_size=8), st.integers(0, 5),
)  # fmt: skip
def test_the_conditions_of_the_minimum(classes, log_C, ratio, fit_intercept, units, seed):
    X, y = drawn(classes, seed=seed)
    X = X * 10.0 ** np.array(units)
    model = LogisticRegression(C=10.0**log_C, l1_ratio=ratio, fit_intercept=fit_intercept, tol=1e-10, max_iter=500).fit(X, y)
    assert residual(model, X, y, 10.0**log_C, ratio) < 1e-9 * 10.0 ** max(units)


@pytest.mark.parametrize("penalty", ["l1", "elasticnet", "l2"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("C", [0.03, 0.3])
def test_coefficients_and_zeros_are_sagas(penalty, classes, C):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = drawn(classes)
    ratio = {"l1": 1.0, "elasticnet": 0.6, "l2": 0.0}[penalty]
    weight = 1.0 + np.arange(len(y)) % 3
    ours = LogisticRegression(penalty, C=C, l1_ratio=ratio, tol=1e-10).fit(X, y, weight)
    theirs = linear_model.LogisticRegression(C=C, l1_ratio=ratio, solver="saga", tol=1e-12, max_iter=20_000, random_state=0).fit(X, y, weight)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)
    assert penalty == "l2" or (ours.coef_ == 0).any()


@pytest.mark.parametrize("C", [0.05, 1.0])
def test_coefficients_and_zeros_are_liblinears(C):
    """Which penalises an intercept: without one."""
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = drawn(2)
    ours = LogisticRegression("l1", C=C, fit_intercept=False, tol=1e-10).fit(X, y)
    theirs = linear_model.LogisticRegression(C=C, l1_ratio=1, solver="liblinear", fit_intercept=False, tol=1e-12, max_iter=100_000, random_state=0).fit(X, y)
    np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
    np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)


def blocks(X, y):
    return ([(X[k::3], y[k::3]) for k in range(3)],)


def dask_arrays(X, y):
    array = pytest.importorskip("dask.array")
    return array.from_array(X, chunks=(70, 8)), array.from_array(y, chunks=70)


FORMS = {
    "CSR": lambda X, y: (sparse.csr_matrix(X), y),
    "Fortran's order": lambda X, y: (np.asfortranarray(X), y),
    "blocks": blocks,
    "sparse blocks": lambda X, y: ([(sparse.csr_matrix(X[:90]), y[:90]), (sparse.csr_matrix(X[90:]), y[90:])],),
    "dask": dask_arrays,
    "float32": lambda X, y: (X.astype(np.float32), y),
    "uint8": lambda X, y: (X.astype(np.uint8), y),
}


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("form", FORMS.values(), ids=list(FORMS))
@pytest.mark.parametrize("classes", [2, 3])
def test_every_form_gives_the_same(form, classes, large, monkeypatch):
    X, y = drawn(classes)
    X = np.clip(np.rint(8 * X + 100), 0, 255)
    if large:  # the ways of problems of many features
        monkeypatch.setattr(proximal, "PARAMS", 0)
    parameters = {"l1_ratio": 0.8, "C": 0.5, "x_scale": 1 / 8, "tol": 1e-9}
    wanted = SoftmaxRegression(**parameters).fit(X, y)
    found = SoftmaxRegression(**parameters).fit(*form(X, y))
    np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-6)
    assert (wanted.coef_ == 0).any() and ((found.coef_ == 0) == (wanted.coef_ == 0)).all()


@pytest.mark.parametrize("working", [0, 6, 1000])
@pytest.mark.parametrize("classes", [2, 3])
def test_working_sets_and_accelerated_gradients_find_the_same(working, classes, monkeypatch):
    X, y = drawn(classes)
    wanted = LogisticRegression("l1", C=0.3, tol=1e-9).fit(X, y)
    monkeypatch.setattr(proximal, "PARAMS", 0)
    monkeypatch.setattr(proximal, "WORKING", working)
    found = LogisticRegression("l1", C=0.3, tol=1e-8, max_iter=1000).fit(X, y)
    np.testing.assert_allclose(found.coef_, wanted.coef_, atol=1e-5)
    assert ((found.coef_ == 0) == (wanted.coef_ == 0)).all()


def test_more_features_than_rows_and_more_than_a_working_set():
    rng = np.random.default_rng(4)
    X = sparse.random(500, 3000, 0.01, "csr", random_state=rng, data_rvs=lambda k: rng.normal(size=k))
    y = (X @ (rng.normal(size=3000) * (rng.random(3000) < 0.02)) + 0.1 * rng.normal(size=500) > 0).astype(int)
    for C in (1.0, 1000.0):
        model = LogisticRegression("l1", C=C, tol=1e-6, max_iter=1000).fit(X, y)
        assert residual(model, X.toarray(), y, C, 1.0) < 1e-6
    assert 0 < (model.coef_ != 0).sum() < 3000


def large_sparse(seed=0, n=400, features=600):
    """More columns than a Hessian has, numbers twice in a place, a column of zeros, one that is full."""
    rng = np.random.default_rng(seed)
    X = sparse.random(n, features, 0.03, "csr", random_state=rng, data_rvs=lambda k: rng.normal(size=k)).tolil()
    X[:, 3], X[:, 4] = 0, rng.normal(size=(n, 1)) + 2
    X = X.tocsr()
    y = (X @ (rng.normal(size=features) * (rng.random(features) < 0.1)) + rng.gumbel(size=n) > 1).astype(int)
    twice = sparse.csr_matrix((np.repeat(X.data / 2, 2), np.repeat(X.indices, 2), 2 * X.indptr), shape=X.shape)
    return X, twice, y


@pytest.mark.parametrize("C", [0.1, 1.0, 20.0])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
@pytest.mark.parametrize("fit_intercept", [False, True])
def test_columns_of_a_sparse_matrix(C, ratio, fit_intercept, monkeypatch):
    """The minimum's conditions, without the help of Hessians; weights, units and rows of weight 0."""
    X, twice, y = large_sparse()
    monkeypatch.setattr(proximal.Proximal, "_chosen", None)  # an error where it is asked
    model = LogisticRegression(C=C, l1_ratio=ratio, fit_intercept=fit_intercept, tol=1e-9, max_iter=500)
    model.fit(X, y)
    assert residual(model, X.toarray(), y, C, ratio) < 1e-9
    assert (model.coef_ == 0).any() and model.coef_[0, 3] == 0
    again = LogisticRegression(**{**model.get_params(), "x_scale": 1 / 8}).fit(8 * twice, y)
    np.testing.assert_allclose(again.coef_, model.coef_, atol=1e-8)
    weight = np.arange(400) % 3
    weighted = LogisticRegression(**model.get_params()).fit(X, y, weight)
    several = np.repeat(np.arange(400), weight)
    copied = LogisticRegression(**model.get_params()).fit(X[several], y[several])
    np.testing.assert_allclose(weighted.coef_, copied.coef_, atol=1e-8)
    np.testing.assert_array_equal(weighted.coef_ == 0, copied.coef_ == 0)


@pytest.mark.parametrize("C", [0.2, 0.8])
def test_coefficients_and_zeros_of_a_sparse_matrix_are_liblinears(C):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, _, y = large_sparse(1)
    theirs = linear_model.LogisticRegression(C=C, l1_ratio=1, solver="liblinear", fit_intercept=False, tol=1e-8, max_iter=500, random_state=0).fit(X, y)
    for dtype in (np.float64, np.float32):
        ours = LogisticRegression("l1", C=C, fit_intercept=False, tol=1e-10).fit(X.astype(dtype), y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-6)
        np.testing.assert_array_equal(ours.coef_ == 0, theirs.coef_ == 0)


def test_a_strong_penalty_leaves_the_intercept():
    X, y = drawn(2)
    model = LogisticRegression("l1", C=1e-6).fit(X, y)
    assert (model.coef_ == 0).all() and model.predict_proba(X)[0, 1] == pytest.approx(y.mean(), rel=1e-6)


def test_an_answer_that_is_none_warns(monkeypatch):
    X, y = drawn(2)
    monkeypatch.setattr(proximal.Proximal, "minimize", lambda self, begin, **more: (begin, ""))
    with pytest.warns(ConvergenceWarning, match="the answer's error"):
        LogisticRegression("l1").fit(X, y)


def test_coordinate_descent_against_all_sign_patterns():
    rng = np.random.default_rng(5)
    A = rng.normal(size=(6, 4))
    H, g, v, t = A.T @ A, 3 * rng.normal(size=4), rng.normal(size=4), np.array([0.5, 1.0, 2.0, 0.0])

    def value(z):
        return g @ (z - v) + 0.5 * (z - v) @ H @ (z - v) + t @ np.abs(z)

    z = coordinate_descent(H, g, v, t, 1e-14)
    for _ in range(2000):
        other = z + rng.normal(size=4) * 10.0 ** rng.uniform(-8, 0) * (rng.random(4) < 0.6)
        assert value(other) >= value(z) - 1e-12


def test_paths():
    X, y = drawn(3)
    Cs, coefs, intercepts, n_iter = C_path(X, y, [0.01, 0.1, 1.0], l1_ratio=1.0, tol=1e-9)
    assert coefs.shape == (3, 3, 8) and intercepts.shape == (3, 3) and n_iter.shape == (3,) and Cs.tolist() == [0.01, 0.1, 1.0]
    for C, coef in zip(Cs, coefs, strict=True):
        np.testing.assert_allclose(coef, LogisticRegression("l1", C=C, tol=1e-9).fit(X, y).coef_, atol=1e-6)
    again = C_path(X, y, [1.0, 1.0], tol=1e-9)
    assert again[3][1] == 0 < again[3][0]  # warm
    with pytest.raises(ValueError, match=r"Cs: expected shape \(n,\), at least one number, got \(\)"):
        C_path(X, y, 1.0)
    with pytest.raises(ValueError, match="Cs: expected numbers, got 'abc'"):
        C_path(X, y, "abc")
    with pytest.raises(TypeError, match="warm_start: expected none, as C_path sets it"):
        C_path(X, y, [1.0], warm_start=False)
