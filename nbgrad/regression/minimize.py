"""The minimum of a `Problem`, by scipy.optimize: L-BFGS, or Newton's method by conjugate gradients in a trust region.

A pass is one reading of X. L-BFGS makes one for each value with its gradient; Newton-CG one for that and one for
each Hessian-vector product.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.base import ConvergenceWarning

__all__ = ["SOLVERS", "Minimum", "minimize"]

SOLVERS = ("lbfgs", "newton-cg")
# L-BFGS also stops where a step changes the value by no more than its rounding; scikit-learn's number. (Newton-CG stops
# where no improvement can be predicted any more.)
FTOL = 64 * float(np.finfo(np.float64).eps)


class Objective(Protocol):
    """What a minimizer needs; `nbgrad.regression.problem.Problem` is one, sums over distributed blocks another."""

    def value_and_grad(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]: ...

    def hessian(self, params: NDArray[np.float64]) -> Any: ...


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

    run = _Run(problem, start, tol, verbose)
    options: dict[str, Any]
    if solver == "lbfgs":
        # maxls: 20 by default, too few where the first gradient is far from the scale of the parameters
        options = {"maxiter": max_iter, "maxls": 50, "gtol": tol, "ftol": FTOL}
        result = optimize.minimize(
            run.value_and_grad, start.ravel(), jac=True, method="L-BFGS-B", callback=run.report, options=options
        )
        failed, message = result.status != 0, str(result.message).strip(" :")
    elif run.at_minimum(start.ravel()) or max_iter == 0 or not np.isfinite(run.gradient).all():
        result = optimize.OptimizeResult(x=start.ravel(), fun=run.value, nit=0)
        failed, message = not run.done, "the gradient is not finite" if max_iter else "no iteration was allowed"
    else:
        options = {"maxiter": max_iter, "gtol": 0.0}
        result = optimize.minimize(
            run.value_and_grad, start.ravel(), jac=True, hessp=run.product, method="trust-ncg",
            callback=run.newton_step, options=options,
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
    return Minimum(result.x.reshape(start.shape), float(result.fun), n_iter, run.passes, not failed)


class _Run:
    """Calls of one minimization: passes counted, the last value and products kept."""

    def __init__(self, problem: Objective, start: NDArray[np.float64], tol: float, verbose: int) -> None:
        self.problem, self.shape, self.tol, self.verbose = problem, start.shape, tol, verbose
        self.passes = self.iteration = 0
        self.params = np.full(start.size, np.nan)
        self.value, self.gradient = np.nan, np.zeros(start.size)
        self.done = False
        self.products: list[tuple[NDArray[np.float64], NDArray[np.float64], float]] = []
        self.at = self.params
        self.hessian: Any = None

    def value_and_grad(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        if not np.array_equal(params, self.params):
            self.passes += 1
            self.value, gradient = self.problem.value_and_grad(params.reshape(self.shape))
            self.params, self.gradient = params.copy(), gradient.ravel()
        return self.value, self.gradient.copy()

    def at_minimum(self, params: NDArray[np.float64]) -> bool:
        """SciPy takes another norm of the gradient; the largest entry is L-BFGS's and scikit-learn's."""
        _, gradient = self.value_and_grad(params)
        self.done = bool(np.abs(gradient).max(initial=0) <= self.tol)
        return self.done

    def product(self, params: NDArray[np.float64], direction: NDArray[np.float64]) -> NDArray[np.float64]:
        """Hessian·direction."""
        if self.hessian is None or not np.array_equal(params, self.at):
            self.at, self.hessian, self.products = params.copy(), self.problem.hessian(params.reshape(self.shape)), []
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
        image = np.asarray(self.hessian @ direction)
        curvature = float(np.vdot(direction, image))
        if curvature > 0:
            self.products.append((direction.copy(), image, curvature))
        return image

    def report(self, intermediate_result: Any) -> None:
        """After each iteration."""
        self.iteration += 1
        if self.verbose:
            steepest = np.abs(self.gradient).max(initial=0)
            print(
                f"iteration {self.iteration}: objective {intermediate_result.fun:.9g}, max |gradient| {steepest:.2e}, "
                f"{self.passes} passes"
            )

    def newton_step(self, intermediate_result: Any) -> None:
        self.report(intermediate_result)
        accepted = np.array_equal(intermediate_result.x, self.params)
        self.done = accepted and bool(np.abs(self.gradient).max(initial=0) <= self.tol)
        if self.done:
            raise StopIteration
