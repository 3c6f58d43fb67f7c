"""`scaling`: the change of variables, its moments, and that it does what it is for: fewer passes."""

import tracemalloc

import numpy as np
import pytest
from regression_models import example
from scipy import sparse

from nbgrad.regression import Problem
from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.minimize import minimize
from nbgrad.regression.scaling import LEFT, Scaling, moments, scaling


def badly_scaled(n=3000, features=12, seed=0):
    """Correlated features with units from 1e-3 to 1e3 and means far from 0; two classes that overlap."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, features)) @ rng.normal(size=(features, features)) + 5
    y = (mixed[:, 0] - mixed[:, 0].mean() + rng.normal(size=n) > 0).astype(np.int64)
    return mixed * np.logspace(-3, 3, features), y


@pytest.mark.parametrize("full", [True, False])
@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_moments_are_those_of_every_third_row(full, fit_intercept, weighted):
    rng = np.random.default_rng(1)
    X, weight = rng.integers(0, 255, (20, 4)).astype(np.uint8), rng.integers(0, 3, 20).astype(float)
    rows = X[::3] * 0.5
    if fit_intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    w = weight[::3] if weighted else np.ones(len(rows))
    wanted = np.einsum("n,ni,nj->ij", w, rows, rows)
    for form in (X, sparse.csr_matrix(X), np.asfortranarray(X)):
        found, total = moments(
            form, weight if weighted else None, step=3, x_scale=0.5, fit_intercept=fit_intercept, full=full
        )
        np.testing.assert_allclose(found, wanted if full else wanted.diagonal(), rtol=1e-12)
        assert total == w.sum()


def test_the_ways_back_and_forth():
    rng = np.random.default_rng(2)
    L = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    params, gradient, direction = rng.normal(size=(3, 2, 4))
    for change in (Scaling(np.arange(1.0, 5.0), L), Scaling(np.arange(1.0, 5.0))):
        np.testing.assert_allclose(change.params(change.variables(params)), params, rtol=1e-12)
        # a step of u changes the value as the step of params does
        np.testing.assert_allclose(
            np.vdot(change.gradient(gradient), direction), np.vdot(gradient, change.params(direction)), rtol=1e-12
        )


def test_the_hessian_becomes_round():
    X, y = badly_scaled()
    problem = Problem("logistic", X, y, l2=1e-6)
    change = scaling(problem, (13,))
    H = problem.hessian(np.zeros(13)) @ np.eye(13)
    in_u = np.array([change.gradient(column) for column in H])
    in_u = np.array([change.gradient(column) for column in in_u.T])
    eigenvalues = np.linalg.eigvalsh(in_u)
    assert np.linalg.cond(H) > 1e9  # where the penalty rules, that is 1, where the data do, their ¼ in place of f
    assert 0.99 < eigenvalues.min() and eigenvalues.max() < 0.25 / (LEFT / 2) * 1.01


@pytest.mark.parametrize("model", ["logistic", "softmax"])
def test_fewer_passes_whatever_the_units(model):
    X, y = badly_scaled()
    shape = (13,) if model == "logistic" else (2, 13)
    problem = Problem(model, X, y, l2=1e-6)
    found = minimize(problem, np.zeros(shape), solver="scaled-lbfgs", tol=1e-5)
    with pytest.warns(UserWarning, match="failed to converge"):
        plain = minimize(problem, np.zeros(shape), solver="lbfgs", tol=1e-5)
    assert found.passes < 30 and found.value < plain.value
    assert np.abs(problem.value_and_grad(found.params)[1]).max() <= 1e-5


def test_blocks_have_the_moments_of_the_whole():
    params, X, y = example("softmax", n=300)
    weight = np.random.default_rng(3).uniform(0.5, 2, len(y))
    whole = Problem("softmax", X, y, sample_weight=weight, l2=0.1)
    parts = BlockProblem(
        "softmax", Blocks([(X[:100], y[:100], weight[:100]), (X[100:], y[100:], weight[100:])]), num_classes=len(params), l2=0.1
    )
    for full in (True, False):
        for a, b in zip(whole.moments(1, full), parts.moments(1, full), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)
    options = {"solver": "scaled-lbfgs", "tol": 1e-9}
    found, wanted = (minimize(p, np.zeros(params.shape), **options).params for p in (parts, whole))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_many_features_and_few_rows_get_the_diagonal():
    X = np.random.default_rng(4).normal(size=(50, 400)) * np.arange(1, 401)
    change = scaling(Problem("logistic", X, np.arange(50) % 2, l2=0.01), (401,))
    assert change.L is None and change.scale[0] > 100 * change.scale[399]


def test_sparse_rows_never_lie_in_memory_as_an_array():
    """20 000 rows of 50 000 features, which would be 8 GB."""
    rng = np.random.default_rng(7)
    X = sparse.csr_matrix((rng.normal(size=20_000), (np.arange(20_000), rng.integers(0, 50_000, 20_000))), (20_000, 50_000))
    y = np.arange(20_000) % 2
    tracemalloc.start()
    change = scaling(Problem("logistic", X, y, l2=0.1), (50_001,))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert change.L is None and peak < 32e6


def test_a_sample_is_worked_on_in_pieces():
    X = np.random.default_rng(6).normal(size=(6000, 300)).astype(np.float32)
    tracemalloc.start()
    found, _ = moments(X, None, step=1, x_scale=1.0, fit_intercept=True, full=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = np.column_stack([X, np.ones(6000)]).astype(np.float64)
    np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-10, atol=1e-9)
    assert peak < rows.nbytes  # 14.4 MB; pieces of 4 MB, a few of them at once


@pytest.mark.parametrize("what", ["overflow", "no weight", "a feature of zeros"])
def test_where_nothing_is_known_nothing_is_scaled(what):
    X, y = np.random.default_rng(5).normal(size=(200, 3)), np.arange(200) % 2
    X *= 1e200 if what == "overflow" else 1.0
    X[:, 1] *= what != "a feature of zeros"
    weight = np.zeros(200) if what == "no weight" else None
    change = scaling(Problem("logistic", X, y, sample_weight=weight), (4,))
    if what == "a feature of zeros":
        assert change.scale[1] == 1 and change.L is not None
        assert minimize(Problem("logistic", X, y), np.zeros(4), solver="scaled-lbfgs").converged
    else:
        np.testing.assert_array_equal(change.scale, 1)
        assert change.L is None
