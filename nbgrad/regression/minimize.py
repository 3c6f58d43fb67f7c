"""The minimum of a `Problem`, by scipy.optimize: L-BFGS, also in the variables of `nbgrad.regression.scaling`, or
Newton's method by conjugate gradients in a trust region.

A pass is one reading of X. L-BFGS makes one for each value with its gradient; Newton-CG one for that and one for
each Hessian-vector product.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.scaling import Scaling, scaling
from nbgrad.regression.scikit.base import ConvergenceWarning

__all__ = ["SOLVERS", "Minimum", "minimize"]

SOLVERS = ("lbfgs", "newton-cg", "scaled-lbfgs")
# L-BFGS also stops where a step changes the value by no more than its rounding; scikit-learn's number. (Newton-CG stops
# where no improvement can be predicted any more.)
FTOL = 64 * float(np.finfo(np.float64).eps)
# In scaled variables steps shorten faster, and a coefficient of small curvature is still on its way where a step
# changes 64 ulp: the digits' probabilities were 3e-6 from the minimum's, 2e-6 with 8 ulp, 3e-7 with one.
FTOL_SCALED = float(np.finfo(np.float64).eps)


class Objective(Protocol):
    """What a minimizer needs; `nbgrad.regression.problem.Problem` is one, sums over distributed blocks another."""

    def value_and_grad(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]: ...

    def hessian(self, params: NDArray[np.float64]) -> Any: ...  # asked for by newton-cg alone

    def moments(self, step: int, full: bool) -> Any: ...  # by scaled-lbfgs alone, with rows, n_features and l2


@dataclass(frozen=True)
class Minimum:
    """Where a minimizer stopped."""

    params: NDArray[np.float64]
    value: float
    n_iter: int
    passes: int
    converged: bool


def minimize(
    problem: Objective,
    start: NDArray[np.float64],
    *,
    solver: str = "lbfgs",
    tol: float = 1e-4,
    max_iter: int = 100,
    verbose: int = 0,
    stacklevel: int = 2,
) -> Minimum:
    """Minimize ``problem`` from ``start`` until max |gradient| ≤ ``tol``.

    ``ConvergenceWarning`` where ``max_iter`` iterations do not suffice or the line search of L-BFGS fails.
    ``verbose`` prints a line for each iteration.

    Source: J. Nocedal, S. J. Wright, Numerical optimization, 2nd ed. (Springer, 2006): algorithms 7.5 (L-BFGS),
    4.1 and 7.2 (trust region and Steihaug's conjugate gradients).
    """
    from scipy import optimize

    change = scaling(problem, start.shape) if solver == "scaled-lbfgs" else Scaling(np.ones(start.shape[-1:]))
    run = _Run(problem, start.shape, change, tol, verbose)
    begin = run.scaling.variables(start).ravel()
    options: dict[str, Any]
    if run.at_minimum(begin) or max_iter == 0 or not np.isfinite(run.gradient).all():
        result = optimize.OptimizeResult(x=begin, fun=run.value, nit=0)
        failed, message = not run.done, "the gradient is not finite" if max_iter else "no iteration was allowed"
    elif solver != "newton-cg":
        # maxls: 20 by default, too few where the first gradient is far from the scale of the parameters
        options = {"maxiter": max_iter, "maxls": 50, "gtol": 0.0}
        options["ftol"] = FTOL if solver == "lbfgs" else FTOL_SCALED
        result = optimize.minimize(
            run.value_and_grad, begin, jac=True, method="L-BFGS-B", callback=run.step, options=options
        )
        failed, message = result.status != 0 and not run.done, str(result.message).strip(" :")
    else:
        options = {"maxiter": max_iter, "gtol": 0.0}
        result = optimize.minimize(
            run.value_and_grad, begin, jac=True, hessp=run.product, method="trust-ncg",
            callback=run.step, options=options,
        )  # fmt: skip
        # status 2: no improvement can be predicted any more. The Hessian is positive: the value has no digits left.
        failed, message = result.status == 1 and not run.done, "the maximum number of iterations was reached"
    n_iter = min(int(result.nit), max_iter)
    if verbose:
        print(f"{solver}: {'stopped' if failed else 'converged'} after {n_iter} iterations, {run.passes} passes")
    if failed:
        advice = "Scale the data"
        if n_iter >= max_iter:
            advice = f"Increase the number of iterations (max_iter={max_iter}) or scale the data"
        warnings.warn(
            f"{solver} failed to converge after {n_iter} iteration(s): {message}. {advice} as shown in "
            "https://scikit-learn.org/stable/modules/preprocessing.html",
            ConvergenceWarning,
            stacklevel=stacklevel,
        )
    params = run.scaling.params(result.x.reshape(start.shape))
    return Minimum(params, float(result.fun), n_iter, run.passes, not failed)


class _Run:
    """Calls of one minimization, in the variables u: passes counted, the last value and products kept."""

    def __init__(
        self, problem: Objective, shape: tuple[int, ...], change: Scaling, tol: float, verbose: int
    ) -> None:
        self.problem, self.shape, self.scaling, self.tol, self.verbose = problem, shape, change, tol, verbose
        self.passes = self.iteration = 0
        self.u: NDArray[np.float64] = np.empty(0)
        self.value, self.gradient, self.steepest = np.nan, np.empty(0), np.inf
        self.done = False
        self.products: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = []
        self.at: NDArray[np.float64] = np.empty(0)
        self.hessian: Any = None

    def params(self, u: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.scaling.params(u.reshape(self.shape))

    def value_and_grad(self, u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if not np.array_equal(u, self.u):
            self.passes += 1
            self.value, gradient = self.problem.value_and_grad(self.params(u))
            self.steepest = float(np.abs(gradient).max(initial=0))
            self.u, self.gradient = u.copy(), self.scaling.gradient(gradient).ravel()
        return self.value, self.gradient.copy()

    def at_minimum(self, u: NDArray[np.float64]) -> bool:
        """By the largest entry of the gradient in params, as scikit-learn judges; SciPy knows that in u only."""
        self.value_and_grad(u)
        self.done = self.steepest <= self.tol
        return self.done

    def product(self, u: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hessian·direction."""
        if self.hessian is None or not np.array_equal(u, self.at):
            self.at, self.hessian, self.products = u.copy(), self.problem.hessian(self.params(u)), []
        # SciPy asks for the product with the step itself, to predict its value. It is a sum of the directions so far,
        # which are conjugate: no pass is needed.
        rest, answer = direction.copy(), np.zeros_like(direction)
        for d, image, curvature in self.products:
            share = np.vdot(rest, image) / curvature
            rest -= share * d
            answer += share * image
        if self.products and np.linalg.norm(rest) <= 1e-6 * np.linalg.norm(direction):
            return answer
        self.passes += 1
        product = np.asarray(self.hessian @ self.params(direction).ravel())
        image = self.scaling.gradient(product.reshape(self.shape)).ravel()
        curvature = float(np.vdot(direction, image))
        if curvature > 0:
            self.products.append((direction.copy(), image, curvature))
        return image

    def step(self, intermediate_result: Any) -> None:
        """After each iteration."""
        self.iteration += 1
        if self.verbose:
            print(
                f"iteration {self.iteration}: objective {intermediate_result.fun:.9g}, "
                f"max |gradient| {self.steepest:.2e}, {self.passes} passes"
            )
        accepted = np.array_equal(intermediate_result.x, self.u)
        self.done = accepted and self.steepest <= self.tol
        if self.done:
            raise StopIteration
