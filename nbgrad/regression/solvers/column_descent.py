"""Proximal Newton steps on a large sparse matrix: each minimizes the loss's quadratic with its penalty by coordinate
descent on the columns, whatever their number; no Hessian is made.

Source: G.-X. Yuan, C.-H. Ho, C.-J. Lin, An improved GLMNET for l1-regularized logistic regression, J. Mach. Learn. Res.
13 (2012) 1999. Their shrinking is a working set here: the columns in use and those that the slope at 0 lets go.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["column_descent"]

#: Sweeps for one quadratic, at most; and of the error what it may leave. On 100 000 × 50 000, 5 million numbers, at
#: C = 1, down to 1e-8 of the minimum: 31 sweeps and 7 quadratics, each sweep in an order of its own; in the columns'
#: order it takes 115.
SWEEPS, LEAVES = 50, 0.15
#: Halvings of a step.
TRIALS = 40
#: Quadratics without progress, after which others go on.
IDLE = 3


def column_descent(
    problem: Any, columns: Any, begin: NDArray[np.float64], penalty: tuple[NDArray[np.float64], NDArray[np.float64]], *,
    tol: float, max_iter: int, report: Callable[[float, str, float], None],
) -> tuple[NDArray[np.float64], int, bool]:  # fmt: skip
    """(parameters (1, columns), quadratics, whether the error is at most ``tol``), from ``begin`` on: the error is that
    of `nbgrad.regression.solvers.proximal`. ``penalty``: l1 and l2 of each column.
    """
    features = columns.features
    l1, l2 = penalty[0][:features], penalty[1][:features]
    weight = float(problem.weight_sum)
    v, b = begin[0, :features].copy(), float(begin[0, features]) if problem.fit_intercept else 0.0
    scores = columns.times(v) + b
    best, idle, iteration = math.inf, 0, 0

    def cost(v: NDArray[np.float64]) -> float:
        return float((l1 * np.abs(v) + 0.5 * l2 * v * v).sum())  # no BLAS, whose threads would go on spinning

    loss, slope, D = problem.of_scores(scores)
    while True:
        loss, slope, D = loss / weight, slope / weight, D / weight
        value = loss + cost(v)
        g, square, cross = columns.curvatures(slope, D)
        own, along = (float(D.sum()), float(slope.sum())) if problem.fit_intercept else (0.0, 0.0)
        fall = g + l2 * v
        slack = np.where(v != 0, fall + l1 * np.sign(v), np.maximum(np.abs(fall) - l1, 0.0))
        found = np.where(slack == 0, 0.0, np.abs(slack) / np.sqrt(square + l2))
        error = max(float(found.max(initial=0.0)), abs(along) / math.sqrt(own) if own > 0 else 0.0)
        if iteration:
            report(value, "error", error)
        idle, best = (idle + 1 if error > 0.9 * best else 0), min(best, error)
        if not tol < error < math.inf or idle >= IDLE or iteration == max_iter:
            break
        # the intercept's own step, then the columns that want to move
        offset = -along / own if own > 0 else 0.0
        chosen = np.flatnonzero((v != 0) | (np.abs(fall + offset * cross) > l1))
        z = v.copy()
        _, offset = columns.descend(
            chosen, z, slope, D, (square, cross, own), (l1, l2, False), offset=offset,
            exact=max(1e-16, LEAVES * error), most=SWEEPS, seed=iteration + 1,
        )  # fmt: skip
        step, moved = z - v, columns.times(z - v) + offset
        fall_along = float((g * step).sum()) + along * offset + cost(z) - cost(v)
        t = 1.0
        for _ in range(TRIALS):
            other = z if t == 1 else v + t * step
            loss, slope, D = problem.of_scores(scores + t * moved)
            after = loss / weight + cost(other)
            if after <= value + 1e-4 * t * fall_along or abs(t * fall_along) <= 1e-13 * abs(value) >= after - value:
                break
            t /= 2
        else:
            break
        v, b, scores, iteration = other, b + t * offset, scores + t * moved, iteration + 1
    answer = begin.copy()
    answer[0, :features] = v
    if problem.fit_intercept:
        answer[0, features] = b
    return answer, iteration, error <= tol
