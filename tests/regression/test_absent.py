"""Rows and classes that weigh nothing, and classes that a hyperplane separates: arrays, CSR, blocks, Dask."""

import warnings

import numpy as np
import pytest
from scipy import sparse

from nbgrad import LogisticRegression, SoftmaxRegression
from nbgrad.regression import ConvergenceWarning
from nbgrad.regression.minimize import SOLVERS


def drawn(classes, n=240):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(n, 3))
    y = (X @ rng.normal(size=(3, classes)) + rng.gumbel(size=(n, classes))).argmax(axis=1)
    return X, y


FORMS = {
    "array": lambda X, y, w: (X, y, w),
    "float32": lambda X, y, w: (X.astype(np.float32), y, w),
    "CSR": lambda X, y, w: (sparse.csr_matrix(X), y, w),
    "blocks": lambda X, y, w: ([(X[k::3], y[k::3], w[k::3]) for k in range(3)],),
}


def dask_form(X, y, w):
    array = pytest.importorskip("dask.array")
    return tuple(array.from_array(a, chunks=80) for a in (X, y, w))


forms = pytest.mark.parametrize("form", [*FORMS.values(), dask_form], ids=[*FORMS, "dask"])


@forms
@pytest.mark.parametrize("kept", [2, 3])
@pytest.mark.parametrize("by", ["sample_weight", "class_weight"])
@pytest.mark.parametrize("balanced", [False, True])
def test_a_class_without_weight_is_as_if_removed(form, kept, by, balanced):
    X, y = drawn(kept + 1)
    X[y == 1] *= 1e250  # whatever is written there
    if form is FORMS["float32"]:
        X = np.clip(X, -1e30, 1e30)
    weight = np.where(y == 1, 0.0, 1 + np.arange(len(y)) % 2)
    there = y != 1
    names = np.array(["d", "b", "c", "a"])[y]
    class_weight = "balanced" if balanced else None
    if by == "class_weight":
        weight, class_weight, balanced = np.where(weight, weight, 1.0), {n: float(n != "b") for n in set(names)}, False
    estimator = SoftmaxRegression if kept == 3 else LogisticRegression
    model = estimator(tol=1e-9, class_weight=class_weight).fit(*form(X, names, weight))
    alone = estimator(tol=1e-9, class_weight="balanced" if balanced else None).fit(X[there], names[there], weight[there])
    assert model.classes_.tolist() == alone.classes_.tolist() and "b" not in model.classes_
    atol = 1e-5 if form is FORMS["float32"] else 1e-7
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=atol)
    np.testing.assert_allclose(model.intercept_, alone.intercept_, atol=atol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_rows_without_weight_are_as_if_removed(solver):
    X, y = drawn(2)
    X *= 0.5
    weight = (np.arange(len(y)) % 3 > 0).astype(float)
    X[weight == 0] *= 1e6
    here = weight > 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        a = LogisticRegression(solver=solver, tol=1e-8).fit(X, y, weight)
        b = LogisticRegression(solver=solver, tol=1e-8).fit(X[here], y[here])
    np.testing.assert_allclose(a.coef_, b.coef_, atol=1e-6)


@forms
def test_one_class_that_weighs_something_is_too_few(form):
    X, y = drawn(2)
    with pytest.raises(ValueError, match="only one class"):
        LogisticRegression().fit(*form(X, y, (y == 0).astype(float)))


@forms
@pytest.mark.parametrize("estimator", [LogisticRegression, SoftmaxRegression])
def test_separation_without_a_penalty_is_said(form, estimator):
    X, _ = drawn(2)
    weight = np.ones(len(X))
    y = (X[:, 0] + X[:, 1] > 0.1).astype(int)
    with pytest.warns(ConvergenceWarning, match="The classes are separated without an error.*C=inf") as caught:
        model = estimator(C=np.inf).fit(*form(X, y, weight))
    assert len(caught) == 1 and np.isfinite(model.coef_).all()


@forms
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("offset", [0.0, 2000.0])
def test_quasi_separation_is_said(form, classes, offset):
    """A feature that only rows of one class have: its coefficient grows for ever, the others' do not."""
    X, y = drawn(classes)
    rare = (np.arange(len(y)) % 5 == 0) & (y == 0)
    X = np.column_stack([X + offset, rare.astype(float)])
    estimator = LogisticRegression if classes == 2 else SoftmaxRegression
    with pytest.warns(ConvergenceWarning, match="quasi-separation.*C=inf"):
        model = estimator(C=np.inf).fit(*form(X, y, np.ones(len(y))))
    assert np.isfinite(model.coef_).all()
    estimator(C=10.0).fit(*form(X, y, np.ones(len(y))))  # says nothing


@forms
@pytest.mark.parametrize("solver", ["auto"])
@pytest.mark.parametrize("classes", [2, 3])
def test_quasi_separation_among_many_columns_is_said(form, solver, classes):
    """There are too many for the Hessian: the columns themselves say so."""
    rng = np.random.default_rng(3)
    X, y = drawn(classes, 1500)
    X = np.column_stack([X, rng.normal(size=(1500, 260)), np.zeros(1500)])
    estimator = LogisticRegression(C=np.inf, solver=solver, max_iter=400, tol=1e-3)
    if form is not FORMS["float32"]:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            estimator.fit(*form(X, y, np.ones(len(y))))
    X[np.flatnonzero(y == 1)[:6], -1] = 1
    with pytest.warns(ConvergenceWarning, match="quasi-separation.*C=inf"):
        estimator.fit(*form(X, y, np.ones(len(y))))


@forms
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("far", [1e6, 1e9])
def test_a_row_far_away_is_no_separation(form, classes, far):
    """Its margin is 30, in the end: until then it grows as if for ever."""
    X, y = drawn(classes)
    X[7, 0] = far
    estimator = LogisticRegression if classes == 2 else SoftmaxRegression
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        estimator(C=np.inf, max_iter=300).fit(*form(X, y, np.ones(len(y))))


@pytest.mark.parametrize(("threshold", "fit_intercept"), [(0.0, True), (0.0, False), (3.0, True), (3.0, False)])
def test_a_threshold_separates_with_an_intercept_or_at_0(threshold, fit_intercept):
    """Half of each class lies on the threshold itself."""
    X, y = drawn(2)
    side = np.where(np.arange(len(y)) % 2, 0.0, np.abs(X[:, 1]) * np.where(y == 1, 1, -1))
    X[:, 1] = threshold + side
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        LogisticRegression(C=np.inf, fit_intercept=fit_intercept).fit(X, y)
    assert any("quasi-separation" in str(c.message) for c in caught) == (fit_intercept or threshold == 0)


@forms
@pytest.mark.parametrize("classes", [2, 3])
def test_classes_that_overlap_are_no_reason_to_warn(form, classes):
    X, y = drawn(classes)
    (LogisticRegression if classes == 2 else SoftmaxRegression)(C=np.inf).fit(*form(X, y, np.ones(len(y))))
