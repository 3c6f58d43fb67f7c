"""The minimum of a `Problem`, whatever the units of its columns, with a certificate: `minimize`.

| solver | what it does |
|---|---|
| "newton-cholesky" | Newton's method with the exact Hessian: a pass for each step, and few of them |
| "scaled-lbfgs" | L-BFGS in the variables of `nbgrad.regression.scaling`, then Newton's method where it is not enough |
| "auto" | the first where the parameters are few, else the second |
| "newton-cg" | Newton's method by conjugate gradients, in the variables of `nbgrad.regression.scaling` |
| "lbfgs" | L-BFGS in the parameters as they are, with the steps and the stopping test of scikit-learn's |

A pass is one reading of X: for a value with its gradient (and Hessian), for each Hessian-vector product of Newton-CG,
for what the columns show, and for the certificate.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.scaling import Scaling, scaling
from nbgrad.regression.scikit.base import ConvergenceWarning
from nbgrad.regression.solvers.newton import conjugate_gradients, newton
from nbgrad.regression.solvers.proximal import Proximal
from nbgrad.regression.solvers.separation import separation
from nbgrad.regression.solvers.smooth import Certificate, Point, Smooth, newton_step

__all__ = ["SOLVERS", "Minimum", "minimize"]

SOLVERS = ("auto", "lbfgs", "newton-cg", "newton-cholesky", "scaled-lbfgs")
# L-BFGS also stops where a step changes the value by no more than its rounding; scikit-learn's number.
FTOL = 64 * float(np.finfo(np.float64).eps)
# In scaled variables steps shorten faster, and a coefficient of small curvature is still on its way where a step
# changes 64 ulp: the digits' probabilities were 3e-6 from the minimum's, 2e-6 with 8 ulp, 3e-7 with one.
FTOL_SCALED = float(np.finfo(np.float64).eps)
#: Below this a certificate says nothing but rounding.
SMALLEST_TOL = 1e-13
# scikit-learn's test of L-BFGS knows nothing of curvatures: on iris, wine and breast_cancer, all of them standardised,
# it leaves an error of 7 to 21 times tol. It may leave so much; units or few positives leave hundreds.
LBFGS_LEAVES = 25
#: Products with the Hessian for one step of Newton-CG.
PRODUCTS = 200


class Objective(Protocol):
    """What a minimizer needs; `nbgrad.regression.problem.Problem` is one, sums over distributed blocks another."""

    n_features: int
    fit_intercept: bool
    l2: Any

    @property
    def rows(self) -> int: ...

    @property
    def sparse(self) -> bool: ...

    @property
    def weight_sum(self) -> Any: ...

    def value_and_grad(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]: ...

    def ranges(self) -> Any: ...

    def second_order(self, params: NDArray[np.float64], frame: Any, kind: str) -> tuple[Any, ...]: ...

    def hessian(self, params: NDArray[np.float64]) -> Any: ...  # by newton-cg

    def moments(self, frame: Any, share: float, rare: Any) -> Any: ...  # by scaled-lbfgs and newton-cg


@dataclass(frozen=True)
class Minimum:
    """Where a minimizer stopped. ``error``: that of the certificate; ``step``: Newton's from there, in the
    coordinates of ``smooth``, where the Hessian is known.
    """

    params: NDArray[np.float64]
    value: float
    n_iter: int
    passes: int
    converged: bool
    error: float
    smooth: Any
    step: NDArray[np.float64] | None


def minimize(
    problem: Any,
    start: NDArray[np.float64],
    *,
    solver: str = "auto",
    l1: float = 0.0,
    tol: float = 1e-4,
    max_iter: int = 100,
    verbose: int = 0,
    stacklevel: int = 2,
) -> Minimum:
    """Minimize ``problem`` from ``start`` until the certificate's error (`nbgrad.regression.solvers.smooth`) is at most
    ``tol`` (1e-13 at least); "lbfgs": until max |gradient| ≤ ``tol``. With ``l1``, which multiplies ‖w‖₁, the solver is
    that of `nbgrad.regression.solvers.proximal`.

    The certificate is computed of the answer alone, by a pass of its own. Where it is not met ``ConvergenceWarning``
    says so, whatever the solver says. ``verbose`` prints a line for each iteration.

    Source: J. Nocedal, S. J. Wright, Numerical optimization, 2nd ed. (Springer, 2006): algorithms 7.5 (L-BFGS), 7.1
    (Newton-CG).
    """
    smooth = Smooth(problem, start.shape)
    run = _Run(smooth, tol, max_iter, verbose)
    exact = solver == "newton-cholesky" or (solver in ("auto", "sag", "saga") and smooth.small)
    judge: Smooth | Proximal = smooth
    if l1:
        judge = Proximal(smooth, l1)
        exact = True
        inner, why = judge.minimize(smooth.inner(start), tol=run.tol, max_iter=max_iter, report=run.report)
        params = smooth.outer(inner)
        if smooth.classes > 1 and problem.fit_intercept:  # what all classes have in common is for nothing
            params[:, -1] -= params[:, -1].mean()
    elif solver == "lbfgs":
        params, why = run.lbfgs(start)
    else:
        begin = smooth.without_common_part(smooth.inner(start))
        params, why = run.newton(begin) if exact else run.scaled(begin, solver != "newton-cg")
        params = smooth.outer(params)
    found = judge.certificate(smooth.inner(params))
    allowed = max(tol, SMALLEST_TOL) * (LBFGS_LEAVES if solver == "lbfgs" else 1)
    if not exact and solver != "lbfgs" and not found.error <= allowed and run.n_iter < max_iter:
        # What is left to do for Newton's method: L-BFGS judges a step by its value, whose digits end first.
        inner, why = run.newton(smooth.inner(params)) if smooth.small else run.scaled(smooth.inner(params), False)
        again = smooth.certificate(inner)
        if not again.error > found.error:
            params, found = smooth.outer(inner), again
    converged = found.error <= allowed and not (solver == "lbfgs" and run.n_iter >= max_iter and why)
    text = f"{solver} failed to converge after {run.n_iter} iteration(s): "
    text = "" if converged else text + _advice(solver, why, found, tol, max_iter, run.n_iter)
    if not l1 and (apart := separation(smooth, smooth.inner(params), found.step)):
        converged = False
        text = (
            f"{apart}, and without a penalty (C=inf) there are no best coefficients: they grow for ever. Kept are "
            f"those after {run.n_iter} iteration(s). Use a finite C."
        )
    if verbose:
        state = "converged" if converged else "stopped"
        print(f"{solver}: {state} after {run.n_iter} iterations, {smooth.passes} passes")
    if text:
        warnings.warn(text, ConvergenceWarning, stacklevel=stacklevel)
    return Minimum(params, found.value, run.n_iter, smooth.passes, converged, found.error, smooth, found.step)


def _advice(solver: str, why: str, found: Certificate, tol: float, max_iter: int, n_iter: int) -> str:
    scale = "scale the data as shown in https://scikit-learn.org/stable/modules/preprocessing.html"
    left = f"the answer's error, in no units, is {found.error:.1e} (tol={tol:g})"
    if not np.isfinite(found.error):
        return f"value or derivatives are not finite. Change the units of the data: {scale}"
    if n_iter >= max_iter:
        reason = "the maximum number of iterations was reached" if max_iter else "no iteration was allowed"
        other = f', or use solver="auto", or {scale}' if solver == "lbfgs" else f" or {scale}"
        return f"{reason}, {left}. Increase the number of iterations (max_iter={max_iter}){other}"
    if solver == "lbfgs":
        reason = why or "the gradient is as small as tol asks, but not in the data's units"
        return f'{reason}, {left}. Use solver="auto", or {scale}'
    return f"rounding lets it come no nearer, {left}. Use float64 for X if it is float32, a greater tol, or {scale}"


class _Run:
    """The minimizers of one problem; iterations and passes counted."""

    def __init__(self, smooth: Smooth, tol: float, max_iter: int, verbose: int) -> None:
        self.smooth, self.problem, self.verbose, self.max_iter = smooth, smooth.problem, verbose, max_iter
        self.tol, self.plain_tol, self.n_iter = max(tol, SMALLEST_TOL), tol, 0
        self.change: Scaling | None = None

    def report(self, value: float, label: str, size: float) -> None:
        self.n_iter += 1
        if self.verbose:
            passes = self.smooth.passes
            print(f"iteration {self.n_iter}: objective {value:.9g}, {label} {size:.2e}, {passes} passes")

    def value_and_grad(self, params: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """In the problem's own parameters."""
        self.smooth.passes += 1
        return self.problem.value_and_grad(params)

    def newton(self, begin: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
        """With the exact Hessian, in the frame."""

        def step(point: Point) -> NDArray[np.float64]:
            assert point.second is not None
            return newton_step(point.second, point.gradient)

        params, _, why = newton(
            self.smooth.at, step, begin, tol=self.tol, max_iter=self.max_iter - self.n_iter,
            report=lambda point, error: self.report(point.value, "error", error),
        )  # fmt: skip
        return params, why

    def lbfgs(self, start: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
        """In the parameters, until no entry of the gradient is above tol."""

        def far(gradient: NDArray[np.float64]) -> float:
            return float(np.abs(gradient).max(initial=0.0))

        def point(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
            value, gradient = self.value_and_grad(u.reshape(start.shape))
            return value, gradient.ravel(), far(gradient)

        u, why = self._by_scipy(point, start.ravel(), self.plain_tol, FTOL)
        return u.reshape(start.shape), why

    def scaled(self, begin: NDArray[np.float64], lbfgs: bool) -> tuple[NDArray[np.float64], str]:
        """In scaled variables, by L-BFGS or by Newton-CG."""
        if self.change is None:
            self.smooth.passes += 1
            self.change = scaling(self.smooth)
        change, smooth = self.change, self.smooth

        def point(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            value, gradient = self.value_and_grad(smooth.outer(change.params(u.reshape(begin.shape))))
            return value, change.gradient(smooth.gradient(gradient))

        if lbfgs:
            # The Hessian in u is about 1: a root of the sum of squares is about the decrement.
            def flat(u: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
                value, gradient = point(u)
                return value, gradient.ravel(), float(np.linalg.norm(gradient))

            u, why = self._by_scipy(flat, change.variables(begin).ravel(), self.tol / 2, FTOL_SCALED)
            return change.params(u.reshape(begin.shape)), why

        def step(point: Point) -> NDArray[np.float64]:
            hessian = self.problem.hessian(smooth.outer(change.params(point.params)))

            def product(v: NDArray[np.float64]) -> NDArray[np.float64]:
                smooth.passes += 1
                image = np.asarray(hessian @ smooth.outer(change.params(v)).ravel()).reshape(smooth.shape)
                return apart(change.gradient(smooth.gradient(image)))

            return conjugate_gradients(product, apart(point.gradient), PRODUCTS)

        def apart(rows: NDArray[np.float64]) -> NDArray[np.float64]:
            """Without what all classes of softmax have in common, along which there is nothing but rounding."""
            return rows - rows.mean(axis=0) if len(rows) > 1 else rows

        u, _, why = newton(
            lambda u: Point(u, *point(u)), step, change.variables(begin), tol=self.tol / 2,
            max_iter=self.max_iter - self.n_iter,
            report=lambda point, error: self.report(point.value, "error", error),
        )  # fmt: skip
        return change.params(u), why

    def _by_scipy(self, point: Any, begin: NDArray[np.float64], tol: float, ftol: float) -> Any:
        """L-BFGS until ``point``'s third answer is at most ``tol``: (u, why it ended)."""
        from scipy import optimize

        last: Any = None

        def known(u: NDArray[np.float64]) -> Any:
            nonlocal last
            if last is None or not np.array_equal(u, last[0]):
                last = (u.copy(), *point(u))
            return last

        def step(intermediate_result: Any) -> None:
            x = intermediate_result.x
            accepted = np.array_equal(x, last[0])
            self.report(float(intermediate_result.fun), "max |gradient|", last[3])
            if accepted and last[3] <= tol:
                raise StopIteration

        _, value, gradient, size = known(begin)
        if size <= tol:
            return begin, ""
        if not (np.isfinite(value) and np.isfinite(gradient).all()):
            return begin, "value or gradient are not finite"
        if self.max_iter == 0:
            return begin, "no iteration was allowed"
        with np.errstate(all="ignore"):
            # maxls: 20 by default, too few where the first gradient is far from the scale of the parameters
            result = optimize.minimize(
                lambda u: (known(u)[1], known(u)[2].copy()), begin, jac=True, method="L-BFGS-B", callback=step,
                options={"maxiter": self.max_iter, "maxls": 50, "gtol": 0.0, "ftol": ftol},
            )  # fmt: skip
        self.n_iter = min(int(result.nit), self.max_iter)
        done = np.array_equal(result.x, last[0]) and last[3] <= tol
        words = {0: "a step changes the value by no more than its rounding", 1: "the iterations did not suffice"}
        return result.x, "" if done else words.get(result.status, "its line search found no smaller value")
