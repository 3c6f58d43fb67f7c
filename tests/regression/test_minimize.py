"""`minimize`: how often it reads the data, what it certifies, when it warns, what it prints."""

import contextlib
import warnings

import numpy as np
import pytest
from regression_models import example

from nbgrad.regression import ConvergenceWarning, Problem
from nbgrad.regression import minimize as module
from nbgrad.regression.minimize import SOLVERS, minimize
from nbgrad.regression.solvers import smooth

solvers = pytest.mark.parametrize("solver", SOLVERS)


class Counted:
    """A problem whose passes are counted, and whose points are kept."""

    def __init__(self, problem):
        self.problem, self.passes, self.points = problem, 0, []

    def __getattr__(self, name):  # what is no pass
        return getattr(self.problem, name)

    def value_and_grad(self, params):
        self.passes += 1
        self.points.append(params.tobytes())
        return self.problem.value_and_grad(params)

    def second_order(self, params, frame, kind):
        self.passes += 1
        return self.problem.second_order(params, frame, kind)

    def ranges(self):
        self.passes += 1
        return self.problem.ranges()

    def moments(self, frame, share, rare):
        self.passes += 1
        return self.problem.moments(frame, share, rare)

    def hessian(self, params):
        return Operator(self, self.problem.hessian(params))


class Operator:
    def __init__(self, counted, operator):
        self.counted, self.operator = counted, operator

    def __matmul__(self, v):
        self.counted.passes += 1
        return self.operator @ v


def softmax(l2=0.01, n=300):
    params, X, y = example("softmax", n=n)
    return Problem("softmax", X, y, l2=l2), np.zeros(params.shape)


@solvers
@pytest.mark.parametrize("tol", [1e-2, 1e-5, 1e-7])
def test_the_gradient_is_as_small_as_asked(solver, tol):
    problem, start = softmax()
    found = minimize(problem, start, solver=solver, tol=tol)
    assert found.converged and found.params.shape == start.shape and found.error <= tol * (25 if solver == "lbfgs" else 1)
    assert np.abs(problem.value_and_grad(found.params)[1]).max() <= tol
    assert found.value == pytest.approx(problem.value_and_grad(found.params)[0], rel=1e-14)


@pytest.mark.parametrize("solver", [s for s in SOLVERS if s != "lbfgs"])
@pytest.mark.parametrize("tol", [1e-10, 1e-13])
def test_tol_means_the_same_down_to_rounding(solver, tol):
    """(L-BFGS judges a step by the value, whose rounding ends its search at 1e-8 or so: `lbfgs` says that.)"""
    problem, start = softmax()
    found = minimize(problem, start, solver=solver, tol=tol)
    assert found.converged and found.error <= tol
    wanted = minimize(problem, start, solver="newton-cholesky", tol=1e-13).params
    np.testing.assert_allclose(found.params, wanted, atol=200 * tol)


@solvers
def test_every_pass_is_counted_and_none_is_made_twice(solver):
    problem, start = softmax()
    counted = Counted(problem)
    found = minimize(counted, start, solver=solver, tol=1e-6)
    assert found.passes == counted.passes
    assert len(set(counted.points)) == len(counted.points)  # every value at another point
    assert len(counted.points) <= found.n_iter + 4


@solvers
def test_a_start_at_the_minimum_is_the_answer(solver):
    problem, start = softmax()
    found = minimize(problem, minimize(problem, start, tol=1e-12).params, solver=solver, tol=1e-4)
    assert (found.n_iter, found.converged) == (0, True) and found.passes <= (30 if solver == "newton-cg" else 4)


@solvers
@pytest.mark.parametrize("max_iter", [0, 2])
def test_too_few_iterations_warn(solver, max_iter):
    problem, start = softmax()
    with pytest.warns(ConvergenceWarning, match=rf"{solver} failed to converge after {max_iter} iteration\(s\)") as caught:
        found = minimize(problem, start, solver=solver, tol=1e-8, max_iter=max_iter)
    assert found.n_iter == max_iter and not found.converged
    assert caught[0].filename == __file__ and "\n" not in str(caught[0].message)
    assert "scale the data" in str(caught[0].message) and f"max_iter={max_iter}" in str(caught[0].message)


@solvers
def test_a_tolerance_below_rounding_ends_where_rounding_does(solver):
    problem, start = softmax()
    with contextlib.nullcontext() if solver != "lbfgs" else pytest.warns(ConvergenceWarning, match="rounding"):
        found = minimize(problem, start, solver=solver, tol=0.0, max_iter=1000)
    assert found.n_iter < 100 and found.converged == (solver != "lbfgs")
    assert np.abs(problem.value_and_grad(found.params)[1]).max() < 1e-7


def test_the_solvers_find_one_minimum():
    problem, start = softmax()
    a, *others = (minimize(problem, start, solver=solver, tol=1e-7).params for solver in SOLVERS)
    for b in others:
        np.testing.assert_allclose(a, b, atol=1e-5)


@solvers
def test_verbose_prints_a_line_for_each_iteration(solver, capsys):
    problem, start = softmax()
    found = minimize(problem, start, solver=solver, verbose=1)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == found.n_iter and lines[0].startswith("iteration 1: objective ")
    assert last == f"{solver}: converged after {found.n_iter} iterations, {found.passes} passes"


@solvers
def test_nan_ends_with_a_warning(solver):
    class Bad(Counted):
        def second_order(self, params, frame, kind):
            return [a * np.nan for a in self.problem.second_order(params, frame, kind)]

        def value_and_grad(self, params):
            return np.nan, np.full(params.shape, np.nan)

        def hessian(self, params):
            return np.eye(params.size) * np.nan

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.warns(ConvergenceWarning):
            assert not minimize(Bad(softmax()[0]), np.zeros((3, 6)), solver=solver, max_iter=5).converged


def test_a_solver_that_stops_early_is_found_out(monkeypatch):
    """The certificate is of the answer, not of what the solver says of itself."""
    problem, start = softmax()
    monkeypatch.setattr(module, "newton", lambda at, step_at, begin, **more: (begin, 0, ""))
    with pytest.warns(ConvergenceWarning, match=r"rounding lets it come no nearer, the answer's error, in no units, is \d"):
        found = minimize(problem, start, solver="newton-cholesky")
    assert not found.converged and found.error > 0.1
    monkeypatch.undo()
    monkeypatch.setattr(module._Run, "lbfgs", lambda self, start: (start, ""))
    with pytest.warns(ConvergenceWarning, match='Use solver="auto"'):
        assert not minimize(problem, start, solver="lbfgs").converged
    monkeypatch.setattr(module._Run, "scaled", lambda self, begin, lbfgs: (begin, ""))
    assert minimize(problem, start, solver="scaled-lbfgs").converged  # Newton's method does what was left out
    monkeypatch.setattr(smooth, "PARAMS", 0)
    with pytest.warns(ConvergenceWarning, match="the answer's error"):
        found = minimize(problem, start, solver="auto")
    assert not found.converged and found.step is None
