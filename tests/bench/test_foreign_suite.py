"""`python -m bench foreign-suite`: what it makes of outcomes, and a few of scikit-learn's tests in a process of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("sklearn")

from bench.tools.foreign_suite import Outcome, judged, substituted  # noqa: E402


def test_outcomes_are_judged():
    found = [
        Outcome("test_base.py::a[1-x]", "failed", True, "E"), Outcome("test_base.py::a[2-x]", "passed", True),
        Outcome("test_base.py::b", "failed", True), Outcome("test_base.py::c", "failed", False),
    ]  # fmt: skip
    count, failures, unneeded = judged(found, {"*::a[1-*]": "why", "*::gone": "why"})
    assert count == {"passed": 1, "failed": 1, "not applicable": 1, "not ours": 1}
    assert failures == [found[2]] and unneeded == ["*::gone"]


def test_classes_are_ours_inside_and_theirs_after():
    from sklearn import linear_model
    from sklearn.base import clone

    import nbgrad

    theirs, fit = linear_model.LinearRegression, nbgrad.LinearRegression.fit
    seen = []
    with substituted(("LinearRegression",), seen):
        assert linear_model.LinearRegression is nbgrad.LinearRegression
        clone(linear_model.LinearRegression(fit_intercept=False)).fit([[1.0]], [1.0])
        assert "LinearRegression" in seen
    assert linear_model.LinearRegression is theirs and nbgrad.LinearRegression.fit is fit


def test_some_of_theirs():
    words = [sys.executable, "-m", "bench", "foreign-suite", "LinearRegression", "-k", "test_linear_regression_sparse_equal_dense"]
    done = subprocess.run(words, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| LinearRegression        |      4 |      0 |" in done.stdout
