"""Classes that a hyperplane separates: without a penalty there is no minimum then."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.solvers.smooth import newton_step

__all__ = ["separation"]

#: Newton's steps that quasi-separation must outlast: 20 more of a margin; a row of 1e9 has its minimum before.
STEPS = 20


def separation(smooth: Any, params: NDArray[np.float64], step: NDArray[np.float64] | None) -> str:
    """What to say of an answer without a penalty (parameters of the frame, Newton's step from there if it is known): ""
    where the classes overlap in every direction, as far as one looks.

    The loss falls for ever along a direction in which no row's margin shrinks and some grow. Such a direction is the
    answer itself if all labels are predicted (complete separation). It is that of a column in which a class has no
    number between the others'; and where the Hessian is known, that of Newton's step when all else is settled: there it
    adds 1 to the margins of the separated rows, and 0 to the others, again and again.
    """
    problem = smooth.problem
    if problem.model not in ("logistic", "softmax") or problem.l2 or not np.isfinite(params).all():
        return ""
    some = "Some rows are separated from the other classes, no row on the wrong side (quasi-separation)"

    def margins(step: NDArray[np.float64]) -> Any:
        smooth.passes += 1
        return problem.margins(np.array([params, step if np.isfinite(step).all() else 0 * step]), smooth.frame)

    found = margins(0 * params if step is None else step)
    if found.low[0] > 0:
        return "The classes are separated without an error"
    smooth.passes += 1
    if _by_a_column(problem.class_extents(max(2, smooth.classes)), problem.fit_intercept):
        return some
    if step is None:
        return ""
    for _ in range(STEPS):
        if not (found.high[1] > 0.3 and found.low[1] > -0.01 * found.high[1]):
            return ""
        params = params + step
        point = smooth.at(params)
        step = newton_step(point.second, point.gradient)
        found = margins(step)
    return some


def _by_a_column(found: Any, fit_intercept: bool) -> bool:
    """Whether a class lies on one side of the others in a column: of 0, where there is no intercept."""
    there = np.flatnonzero((found.low <= found.high).any(axis=1))
    for k in there:
        others = there[there != k]
        if not len(others):
            return False
        low, high = found.low[others].min(axis=0), found.high[others].max(axis=0)
        for below, above, end in ((found.high[k], low, found.low[k] < high), (high, found.low[k], low < found.high[k])):
            apart = (below <= above) & end
            if (apart if fit_intercept else apart & (below <= 0) & (above >= 0)).any():
                return True
    return False
