"""`minimize`: how often it reads the data, when it says that it has converged, what it prints."""

import warnings

import numpy as np
import pytest
from regression_models import example

from nbgrad.regression import ConvergenceWarning, Problem
from nbgrad.regression.minimize import SOLVERS, minimize

solvers = pytest.mark.parametrize("solver", SOLVERS)


class Counted:
    """A problem whose passes are counted, and whose points are kept."""

    def __init__(self, problem):
        self.problem, self.values, self.products, self.points = problem, 0, 0, []

    def __getattr__(self, name):  # what scaling asks for
        return getattr(self.problem, name)

    def value_and_grad(self, params):
        self.values += 1
        self.points.append(params.tobytes())
        return self.problem.value_and_grad(params)

    def hessian(self, params):
        return Operator(self, self.problem.hessian(params))


class Operator:
    def __init__(self, counted, operator):
        self.counted, self.operator = counted, operator

    def __matmul__(self, v):
        self.counted.products += 1
        return self.operator @ v


def softmax(l2=0.01, n=300):
    params, X, y = example("softmax", n=n)
    return Problem("softmax", X, y, l2=l2), np.zeros(params.shape)


@solvers
def test_the_gradient_is_as_small_as_asked(solver):
    """(Both judge a step by the value, whose rounding ends the search at 1e-8 and 1e-9 or so.)"""
    problem, start = softmax()
    for tol in (1e-2, 1e-5, 1e-8 if solver == "newton-cg" else 1e-7):
        found = minimize(problem, start, solver=solver, tol=tol)
        assert found.converged and found.params.shape == start.shape
        assert np.abs(problem.value_and_grad(found.params)[1]).max() <= tol
        assert found.value == problem.value_and_grad(found.params)[0]


@solvers
def test_no_pass_is_made_twice(solver):
    problem, start = softmax()
    counted = Counted(problem)
    found = minimize(counted, start, solver=solver, tol=1e-6)
    assert found.passes == counted.values + counted.products
    assert len(set(counted.points)) == counted.values  # every value at another point
    assert counted.values <= found.n_iter + (1 if solver == "newton-cg" else 4)
    assert (counted.products > 0) == (solver == "newton-cg")


def test_newton_predicts_a_step_without_a_pass():
    """SciPy asks once more for the Hessian times the step: of each iteration's products one would be a repetition."""
    problem, start = softmax()
    counted = Counted(problem)
    found = minimize(counted, start, solver="newton-cg", tol=1e-6)
    asked = 0

    class Asking(Counted):
        def hessian(self, params):
            operator = super().hessian(params)
            operator.operator = Plain(operator.operator)
            return operator

    class Plain:
        def __init__(self, operator):
            self.operator = operator

        def __matmul__(self, v):
            nonlocal asked
            asked += 1
            return self.operator @ v

    from scipy import optimize

    other = Asking(problem)
    result = optimize.minimize(
        lambda p: (lambda v, g: (v, g.ravel()))(*problem.value_and_grad(p.reshape(start.shape))), start.ravel(), jac=True,
        hessp=lambda p, v: other.hessian(p.reshape(start.shape)) @ v, method="trust-ncg", options={"gtol": 1e-6},
    )  # fmt: skip
    assert result.nit >= found.n_iter
    assert counted.products <= asked - found.n_iter
    np.testing.assert_allclose(found.params.ravel(), result.x, atol=1e-4)


@solvers
def test_start_at_the_minimum_costs_one_pass(solver):
    problem, start = softmax()
    found = minimize(problem, minimize(problem, start, solver=solver, tol=1e-8).params, solver=solver, tol=1e-4)
    assert (found.n_iter, found.passes, found.converged) == (0, 1, True)


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
    found = minimize(problem, start, solver=solver, tol=0.0, max_iter=1000)
    assert found.converged and found.n_iter < 100
    assert np.abs(problem.value_and_grad(found.params)[1]).max() < 1e-7


def test_the_solvers_find_one_minimum():
    problem, start = softmax()
    a, *others = (minimize(problem, start, solver=solver, tol=1e-10).params for solver in SOLVERS)
    for b in others:
        np.testing.assert_allclose(a, b, atol=1e-7)


@solvers
def test_verbose_prints_a_line_for_each_iteration(solver, capsys):
    problem, start = softmax()
    found = minimize(problem, start, solver=solver, verbose=1)
    *lines, last = capsys.readouterr().out.splitlines()
    assert len(lines) == found.n_iter and lines[0].startswith("iteration 1: objective ")
    assert last == f"{solver}: converged after {found.n_iter} iterations, {found.passes} passes"


@solvers
def test_nan_ends_with_a_warning(solver):
    class Bad:
        rows, n_features, l2 = 1, 3, 0.0

        def moments(self, step, full):
            return np.full((3, 3) if full else 3, np.nan), 1.0

        def value_and_grad(self, params):
            return np.nan, np.full(params.shape, np.nan)

        def hessian(self, params):
            return np.eye(params.size) * np.nan

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        with pytest.warns(ConvergenceWarning):
            assert not minimize(Bad(), np.zeros(3), solver=solver, max_iter=5).converged
