"""What finds a mutant of the losses of a score that are sums of terms, and of their derivatives: mpmath, and their limits."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
from mutant_checks import Checks

sys.path.append(str(Path(__file__).parent.parent))
from score_reference import SUMS, excesses, wrong_limits  # noqa: E402

__all__ = ["SCORES"]


def _find(name: str, space: dict[str, Any], touched: set[str]) -> str:
    if any(next(excesses(name, space[name], dtype), None) for dtype in (np.float32, np.float64)):
        return "2 ulp"
    return "limits" if wrong_limits(name, space[name]) else ""


SCORES = [Checks(frozenset({name}), functools.partial(_find, name)) for name in SUMS]
