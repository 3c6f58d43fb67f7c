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
from nbgrad.regression.passes.second_order import Frame
from nbgrad.regression.scaling import LEFT, ROWS, Scaling, moments, sample, scaling
from nbgrad.regression.solvers import smooth as smooth_module
from nbgrad.regression.solvers.smooth import Smooth


def badly_scaled(n=3000, features=12, seed=0):
    """Correlated features with units from 1e-3 to 1e3 and means far from 0; two classes that overlap."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(n, features)) @ rng.normal(size=(features, features)) + 5
    y = (mixed[:, 0] - mixed[:, 0].mean() + rng.normal(size=n) > 0).astype(np.int64)
    return mixed * np.logspace(-3, 3, features), y


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_moments_are_those_of_a_random_share_in_the_frame(fit_intercept, weighted):
    rng = np.random.default_rng(1)
    X, weight = rng.integers(0, 255, (20, 4)).astype(np.uint8), rng.integers(0, 3, 20).astype(float)
    frame = Frame(np.array([1.0, 2.0, 0.5, 4.0]), np.arange(4.0) if fit_intercept else None)
    chosen = sample(20, 0.35)
    assert len(set(chosen)) == 7 and len(set(np.diff(chosen))) > 1  # no step
    rows = (X[chosen] * 0.5 - (np.arange(4.0) if fit_intercept else 0)) * frame.unit
    if fit_intercept:
        rows = np.column_stack([rows, np.ones(len(rows))])
    w = weight[chosen] if weighted else np.ones(len(rows))
    wanted = np.einsum("n,ni,nj->ij", w, rows, rows)
    for form in (X, sparse.csr_matrix(X), np.asfortranarray(X)):
        found, total = moments(form, weight if weighted else None, frame, share=0.35, x_scale=0.5, fit_intercept=fit_intercept)
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
        assert total == w.sum()


def test_the_ways_back_and_forth():
    rng = np.random.default_rng(2)
    L = np.tril(rng.normal(size=(4, 4))) + 3 * np.eye(4)
    params, gradient, direction = rng.normal(size=(3, 2, 4))
    for change in (Scaling(np.arange(1.0, 5.0), L), Scaling(np.arange(1.0, 5.0))):
        np.testing.assert_allclose(change.params(change.variables(params)), params, rtol=1e-12)
        # a step of u changes the value as the step of params does
        np.testing.assert_allclose(np.vdot(change.gradient(gradient), direction), np.vdot(gradient, change.params(direction)), rtol=1e-12)


def test_the_hessian_becomes_round():
    X, y = badly_scaled()
    problem = Problem("logistic", X, y, l2=1e-6)
    smooth = Smooth(problem, (13,))
    change = scaling(smooth)
    assert np.linalg.cond(problem.hessian(np.zeros(13)) @ np.eye(13)) > 1e9
    H = smooth.at(np.zeros((1, 13))).second[0, :, 0]
    in_u = np.array([change.gradient(column) for column in H])
    in_u = np.array([change.gradient(column) for column in in_u.T])
    eigenvalues = np.linalg.eigvalsh(in_u)
    # where the penalty rules, that is 1, where the data do, their ¼ in place of f
    assert 0.99 < eigenvalues.min() and eigenvalues.max() < 0.25 / (LEFT / 2) * 1.01


@pytest.mark.parametrize("model", ["logistic", "softmax"])
def test_fewer_passes_whatever_the_units(model):
    X, y = badly_scaled()
    shape = (13,) if model == "logistic" else (2, 13)
    problem = Problem(model, X, y, l2=1e-6)
    found = minimize(problem, np.zeros(shape), solver="scaled-lbfgs", tol=1e-5)
    with pytest.warns(UserWarning, match="failed to converge"):
        plain = minimize(problem, np.zeros(shape), solver="lbfgs", tol=1e-5)
    assert found.passes < 40 and found.value < plain.value and found.error <= 1e-5 < plain.error


def test_blocks_have_the_moments_of_the_whole():
    params, X, y = example("softmax", n=300)
    weight = np.random.default_rng(3).uniform(0.5, 2, len(y))
    whole = Problem("softmax", X, y, sample_weight=weight, l2=0.1)
    parts = BlockProblem("softmax", Blocks([(X[:100], y[:100], weight[:100]), (X[100:], y[100:], weight[100:])]), num_classes=len(params), l2=0.1)
    frame = Frame.of(whole.ranges(), 0.1, True)
    np.testing.assert_array_equal(frame.unit, Frame.of(parts.ranges(), 0.1, True).unit)
    for a, b in zip(whole.moments(frame, 1.0), parts.moments(frame, 1.0), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)
    options = {"solver": "scaled-lbfgs", "tol": 1e-9}
    found, wanted = (minimize(p, np.zeros(params.shape), **options).params for p in (parts, whole))
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_many_features_and_few_rows_get_the_diagonal():
    X = np.random.default_rng(4).normal(size=(50, 400)) * np.arange(1, 401)
    smooth = Smooth(Problem("logistic", X, np.arange(50) % 2, l2=0.01), (401,))
    change = scaling(smooth)
    assert change.L is None
    scale = change.scale[:400] * smooth.frame.unit
    assert scale[0] > 10 * scale[399]


def test_sparse_rows_never_lie_in_memory_as_an_array():
    """20 000 rows of 50 000 features, which would be 8 GB."""
    rng = np.random.default_rng(7)
    X = sparse.csr_matrix((rng.normal(size=20_000), (np.arange(20_000), rng.integers(0, 50_000, 20_000))), (20_000, 50_000))
    y = np.arange(20_000) % 2
    tracemalloc.start()
    smooth = Smooth(Problem("logistic", X, y, l2=0.1), (50_001,))
    change = scaling(smooth)
    smooth.certificate(np.zeros((1, 50_001)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert change.L is None and smooth.frame.centre is None and peak < 64e6


def test_a_sample_is_worked_on_in_pieces():
    X = np.random.default_rng(6).normal(size=(6000, 300)).astype(np.float32)
    tracemalloc.start()
    found, _ = moments(X, None, Frame(np.ones(300)), share=1.0, x_scale=1.0, fit_intercept=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    rows = np.column_stack([X, np.ones(6000)]).astype(np.float64)
    np.testing.assert_allclose(found, rows.T @ rows, rtol=1e-10, atol=1e-9)
    assert peak < rows.nbytes  # 14.4 MB; pieces of 4 MB, a few of them at once


def test_a_feature_of_zeros():
    X, y = np.random.default_rng(5).normal(size=(200, 3)), np.arange(200) % 2
    X[:, 1] = 0.0
    problem = Problem("logistic", X, y)
    change = scaling(Smooth(problem, (4,)))
    assert change.scale[1] == 1 and change.L is not None
    found = minimize(problem, np.zeros(4), solver="scaled-lbfgs")
    assert found.converged and found.params[1] == 0


@pytest.mark.parametrize("period", [5, 25, 1000])
@pytest.mark.parametrize("fraction", ["rare", "frequent"])
def test_a_feature_with_a_period_or_of_few_rows_is_seen(period, fraction, monkeypatch):
    """Every 25th row, as many as a sample has, would all have it, or none."""
    rng = np.random.default_rng(6)
    X = rng.normal(size=(25 * ROWS, 3))
    there = np.arange(len(X)) % period == 0
    X[:, 1] *= 1e6 * (there if fraction == "rare" else ~there)
    y = (rng.random(len(X)) < 1 / (1 + np.exp(-X[:, 0] - 1e-6 * X[:, 1]))).astype(np.int64)
    problem = Problem("logistic", X, y, l2=1 / len(X))
    smooth = Smooth(problem, (4,))
    change = scaling(smooth)
    H = smooth.at(np.zeros((1, 4))).second[0, :, 0]
    in_u = np.array([change.gradient(column) for column in np.array([change.gradient(column) for column in H]).T])
    eigenvalues = np.linalg.eigvalsh(in_u)
    assert eigenvalues.max() < 30 * eigenvalues.min()
    monkeypatch.setattr(smooth_module, "PARAMS", 0)
    found = minimize(problem, np.zeros(4), solver="scaled-lbfgs", tol=1e-6)
    assert found.passes < 40
    wanted = minimize(problem, np.zeros(4), solver="newton-cholesky", tol=1e-12)
    units = np.array([1, 1e6, 1, 1])
    np.testing.assert_allclose(found.params * units, wanted.params * units, rtol=1e-3, atol=1e-4)


def rare_pair(n, form=np.asarray):
    """Two columns that 5 of n rows have, both nearly the same; others; float64."""
    rng = np.random.default_rng(8)
    X = rng.normal(size=(n, 20))
    X[:, :2] = 0
    there = rng.choice(n, 5, replace=False)
    X[there, 0], X[there, 1] = 1e3, 1e3 + 100 * rng.normal(size=5)
    y = (X[:, 2] + rng.logistic(size=n) > 0).astype(np.int64)
    return X, y


@pytest.mark.parametrize("form", ["array", "CSR", "blocks", "integers"])
def test_the_sample_has_what_few_rows_show(form):
    """A feature that 5 of 100 000 rows have, a random sample of 4096 misses."""
    X, y = rare_pair(100_000)
    if form == "blocks":
        problem = BlockProblem("logistic", Blocks([(X[:30_000], y[:30_000]), (X[30_000:], y[30_000:])]), l2=1e-9)
    else:
        X = {"array": X, "CSR": sparse.csr_array(X), "integers": np.asfortranarray(np.rint(X).astype(np.int64))}[form]
        problem = Problem("logistic", X, y, l2=1e-9)
    smooth = Smooth(problem, (21,))
    change = scaling(smooth)
    H = smooth.at(np.zeros((1, 21))).second[0, :, 0]
    half = np.array([change.gradient(column) for column in H])
    eigenvalues = np.linalg.eigvalsh(np.array([change.gradient(column) for column in half.T]))
    assert eigenvalues.max() / eigenvalues.min() < 10


def test_strata_weigh_what_they_are():
    X, _ = rare_pair(20_000)
    problem = Problem("logistic", X, np.arange(20_000) % 2)
    frame = Frame.of(problem.ranges(), 0.0, True)
    whole, total = problem.moments(frame, 1.0)
    found, weight = problem.moments(frame, 0.2, (np.array([0, 1]), np.array([0.1, 0.1])))
    np.testing.assert_allclose((found / weight)[:2, :2], (whole / total)[:2, :2], rtol=0.02)
    np.testing.assert_allclose(np.diagonal(found / weight), np.diagonal(whole / total), rtol=0.1)
    assert abs(weight / total / 0.2 - 1) < 0.01
