"""What a classifier's ``penalty``, ``C`` and ``l1_ratio`` mean, with scikit-learn's words about those that do not go
together.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

__all__ = ["check_penalty", "penalties"]


def _ratio(estimator: Any) -> float:
    """The share of l1 in the penalty."""
    chosen = {"l2": 0.0, "l1": 1.0, None: 0.0}
    return float(chosen.get(estimator.penalty, estimator.l1_ratio or 0.0))


def check_penalty(estimator: Any) -> None:
    """Errors and warnings of parameters that exclude each other, each of which may be what it is."""
    penalty, ratio, solver, C = estimator.penalty, estimator.l1_ratio, estimator.solver, estimator.C
    if penalty == "elasticnet" and ratio is None:
        raise ValueError("l1_ratio must be specified when penalty is elasticnet.")
    if _ratio(estimator) and solver not in ("auto", "saga") and not np.isinf(C):
        name = penalty if penalty != "deprecated" else "l1" if ratio == 1 else "elasticnet"
        raise ValueError(f"Solver {solver} supports only 'l2' or None penalties, got {name} penalty.")
    if estimator.dual:
        raise ValueError(f"Solver {solver} supports only dual=False, got dual={estimator.dual}")
    if penalty is None and C != 1.0:
        warnings.warn("Setting penalty=None will ignore the C and l1_ratio parameters", UserWarning, stacklevel=3)
    if penalty in ("l1", "l2") and ratio and ratio != _ratio(estimator):
        warnings.warn(
            f"Inconsistent values: penalty={penalty} with l1_ratio={ratio}. The l1_ratio parameter is only used when "
            f"penalty is 'elasticnet'. Got (penalty={penalty}). Please use l1_ratio only.", UserWarning, stacklevel=3,
        )  # fmt: skip
    if estimator.n_jobs is not None:
        warnings.warn(
            "'n_jobs' has no effect since 1.8 and will be removed in 1.10. You provided "
            f"'n_jobs={estimator.n_jobs}', please leave it unspecified.", FutureWarning, stacklevel=3,
        )  # fmt: skip


def penalties(estimator: Any, weight: Any) -> tuple[float, float]:
    """(l2, l1), which multiply ½‖coef‖² and ‖coef‖₁ beside the mean loss."""
    if estimator.penalty is None or np.isinf(estimator.C):
        return 0.0, 0.0
    strength = min(1 / (float(estimator.C) * float(weight)), 1e300) if float(estimator.C) * float(weight) else 1e300
    ratio = _ratio(estimator)
    return strength * (1 - ratio), strength * ratio
