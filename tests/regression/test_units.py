"""The estimators' answers know no units: default fits beside a reference in long double, whatever the columns' units and
offsets, and a warning where a named solver stops short of them.
"""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgrad import LogisticRegression, SoftmaxRegression
from nbgrad.regression import ConvergenceWarning
from nbgrad.regression.minimize import SOLVERS


def newton(X, y, l2, classes):
    """Probabilities at the minimum by Newton's method in long double, of a matrix whose columns are of size 1 (classes
    of reference: none; a ridge of nothing keeps softmax's Hessian regular).
    """
    X, n = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble), len(y)
    k, p = (1, X.shape[1]) if classes == 2 else (classes, X.shape[1])
    W = np.zeros((k, p), np.longdouble)
    keep = np.ones(p, np.longdouble)
    keep[-1] = 0
    for _ in range(60):
        s = X @ W.T
        if k == 1:
            P = 1 / (1 + np.exp(-s))
            R = P - y[:, None]
            D = (P * (1 - P))[:, :, None]
        else:
            e = np.exp(s - s.max(axis=1, keepdims=True))
            P = e / e.sum(axis=1, keepdims=True)
            R = P - np.eye(k)[y]
            D = np.einsum("nk,km->nkm", P, np.eye(k)) - P[:, :, None] * P[:, None, :]
        g = R.T @ X / n + l2 * keep * W
        H = np.einsum("nkm,ni,nj->kimj", D, X, X).reshape(k * p, k * p) / n + l2 * np.kron(np.eye(k), np.diag(keep))
        H += 1e-9 * np.kron(np.ones((k, k)), np.eye(p)) if k > 1 else 0
        W = W - np.linalg.solve(H.astype(float), g.ravel().astype(float)).reshape(k, p)
    return P if k > 1 else np.column_stack([1 - P, P])


def drawn(classes, seed=0, n=300, features=3):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(n, features))
    scores = Z @ rng.normal(size=(features, classes)) * 1.5
    y = (scores + rng.gumbel(size=scores.shape)).argmax(axis=1)
    return Z, y


@given(
    st.lists(st.tuples(st.floats(-8, 8), st.floats(-3, 6), st.booleans()), min_size=3, max_size=3),
    st.sampled_from([2, 3]),
    st.sampled_from(SOLVERS),
)
def test_units_and_offsets_change_nothing(columns, classes, solver):
    """Without a penalty the probabilities are those of the columns as they were drawn; named solvers may warn."""
    Z, y = drawn(classes)
    X = np.column_stack([(z + 10.0**offset * moved) * 10.0**unit for z, (unit, offset, moved) in zip(Z.T, columns, strict=True)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = (LogisticRegression if classes == 2 else SoftmaxRegression)(C=np.inf, solver=solver, tol=1e-6).fit(X, y)
    told = [w for w in caught if issubclass(w.category, ConvergenceWarning)]
    right = np.abs(model.predict_proba(X) - newton(Z, y, 0.0, classes)).max() < 1e-4
    assert right or told
    assert not told or solver != "auto"


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("classes", [2, 3])
def test_years(solver, classes):
    """A column about 2000 ± 5: scikit-learn's lbfgs stops 0.25 off in probability."""
    Z, y = drawn(classes, n=1000)
    X = 2000 + 5 * Z
    wanted = newton(Z, y, 1 / (len(y) * 25), classes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = (LogisticRegression if classes == 2 else SoftmaxRegression)(solver=solver).fit(X, y)
    off = np.abs(model.predict_proba(X) - wanted).max()
    assert off < 5e-4 or (solver == "lbfgs" and caught)
    assert solver == "lbfgs" or not caught


@pytest.mark.parametrize("solver", SOLVERS)
def test_small_units_without_a_penalty(solver):
    """The first gradient is below tol: the coefficients were 0 after 0 iterations."""
    Z, y = drawn(2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=np.inf, solver=solver).fit(1e-4 * Z, y)
    right = np.abs(model.predict_proba(1e-4 * Z) - newton(Z, y, 0.0, 2)).max() < 1e-3
    assert (right and not caught) if solver != "lbfgs" else caught


@pytest.mark.parametrize("solver", SOLVERS)
def test_twenty_of_two_hundred_thousand(solver):
    """The model expects as many positives as there are: 33 where the gradient alone is asked."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(200_000, 2)), np.zeros(200_000, int)
    y[:20] = 1
    X[:20] += 0.5
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(solver=solver).fit(X, y)
    expected = model.predict_proba(X)[:, 1].sum()
    assert abs(expected - 20) < 0.1 or (solver == "lbfgs" and caught)
    assert solver == "lbfgs" or not caught


@pytest.mark.parametrize("C", [1e-300, 1e-20, 1e20, 1e300])
@pytest.mark.parametrize("unit", [1e-200, 1.0, 1e155])
@pytest.mark.parametrize("estimator", [LogisticRegression, SoftmaxRegression])
def test_any_penalty_in_any_unit(estimator, C, unit):
    Z, y = drawn(2)
    model = estimator(C=C).fit(unit * Z, y)
    assert np.isfinite(model.coef_).all()
    assert model.predict_proba(unit * Z)[:, 1].sum() == pytest.approx(y.sum(), rel=1e-3)


@pytest.mark.parametrize("C", [1e10, 1e300])
def test_separated_classes_with_a_tiny_penalty(C):
    X = np.arange(-10.0, 11.0)[:, None]
    model = LogisticRegression(C=C).fit(X, (X[:, 0] > 0.5).astype(int))
    assert np.isfinite(model.coef_).all() and model.score(X, X[:, 0] > 0.5) == 1


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("constant", [1.0, 1.7e9, 1e-9])
def test_a_constant_column_changes_nothing(solver, constant):
    """Its slope, which the intercept's cancels, would be rounding."""
    Z, y = drawn(2)
    X = np.column_stack([Z, np.full(len(Z), constant)])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = LogisticRegression(C=np.inf, solver=solver, tol=1e-6).fit(X, y)
    right = np.abs(model.predict_proba(X) - newton(Z, y, 0.0, 2)).max() < 1e-4
    assert right or (solver == "lbfgs" and caught)
