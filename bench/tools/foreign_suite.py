"""scikit-learn's own tests of its estimators, run on ours by substitution.

The test modules come with the package. Before one is imported, `sklearn.linear_model` is given our classes under the
names that it asks for. A test counts where it makes or fits one of ours. What fails and is listed in
`foreign_reasons.py` does not apply, for the reason there; what fails and is not listed is a failure, and so is a line
of the list that no failing test needs: the exit code is 1 then.
"""

from __future__ import annotations

import argparse
import contextlib
import fnmatch
import functools
import io
import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.tables import Table, markdown
from bench.tools.foreign_reasons import REASONS

__all__ = ["MODULES", "Outcome", "add_arguments", "judged", "outcomes", "run", "substituted"]

#: The files of tests in sklearn/linear_model, and the classes in them that are ours.
MODULES = {
    "tests/test_base.py": ("LinearRegression",),
    "tests/test_logistic.py": ("LogisticRegression",),
    "tests/test_huber.py": ("HuberRegressor",),
    "_glm/tests/test_glm.py": ("PoissonRegressor", "GammaRegressor"),
}


@dataclass
class Outcome:
    """Of one test: "passed", "failed" or "skipped"; whether it uses one of our classes; what its error says."""

    test: str
    result: str
    ours: bool
    error: str = ""


@contextlib.contextmanager
def substituted(names: tuple[str, ...], seen: list[str]) -> Iterator[None]:
    """`sklearn.linear_model` with our classes of these names, which note in ``seen`` when they are made or fitted."""
    from sklearn import linear_model

    import nbgrad.regression

    with contextlib.ExitStack() as undo:
        for name in names:
            ours = getattr(nbgrad.regression, name)
            undo.callback(setattr, linear_model, name, getattr(linear_model, name))
            setattr(linear_model, name, ours)
            for method in ("__init__", "fit"):
                own = vars(ours).get(method)
                undo.callback(*((setattr, ours, method, own) if own else (delattr, ours, method)))
                setattr(ours, method, _noting(getattr(ours, method), name, seen))
        yield


def _noting(method: Callable[..., Any], name: str, seen: list[str]) -> Callable[..., Any]:
    @functools.wraps(method)  # for those who read its signature
    def noting(*args: Any, **kwargs: Any) -> Any:
        seen.append(name)
        return method(*args, **kwargs)

    return noting


@dataclass
class _Recorder:
    """A plugin of pytest."""

    seen: list[str]
    found: dict[str, Outcome] = field(default_factory=dict)

    def pytest_runtest_setup(self, item: Any) -> None:
        self.seen.clear()

    def pytest_runtest_logreport(self, report: Any) -> None:
        test = report.nodeid.rpartition("/")[2]
        if report.when != "call" and report.passed:
            return
        outcome = self.found.setdefault(test, Outcome(test, report.outcome, bool(self.seen)))
        if report.failed:
            lines = [line for line in str(report.longrepr).splitlines() if line.startswith("E ")]
            outcome.result, outcome.error = "failed", lines[0][2:].strip() if lines else str(report.longrepr)[-200:]


def outcomes(module: str, select: str | None = None) -> list[Outcome]:
    """Of the tests of a file of `MODULES`, or those that ``select`` (pytest's -k) names."""
    import pytest
    import sklearn

    seen: list[str] = []
    recorder = _Recorder(seen)
    folder = Path(sklearn.__file__).parent
    words = [str(folder / "linear_model" / module), f"--rootdir={folder}", "-c", os.devnull, "-p", "no:cacheprovider"]
    with substituted(MODULES[module], seen), contextlib.redirect_stdout(io.StringIO()) as said:
        code = pytest.main([*words, *(["-k", select] if select else [])], plugins=[recorder])
    if code not in (0, 1) and not (code == 5 and select):
        raise RuntimeError(f"{module}: expected pytest to run, got exit code {code}:\n{said.getvalue()[-2000:]}")
    return list(recorder.found.values())


def judged(found: list[Outcome], reasons: dict[str, str]) -> tuple[Counter[str], list[Outcome], list[str]]:
    """(how many passed, failed, do not apply or are not about ours; the failures; the lines of ``reasons`` that are not
    needed).
    """
    count: Counter[str] = Counter()
    failures, needed = [], set()
    for one in found:
        listed = [pattern for pattern in reasons if fnmatch.fnmatchcase(one.test, pattern.replace("[", "[[]"))]
        if one.result == "failed" and listed:
            needed.update(listed)
            count["not applicable"] += 1
        elif one.result == "failed" and one.ours:
            failures.append(one)
            count["failed"] += 1
        else:
            count["passed" if one.ours and one.result == "passed" else "not ours"] += 1
    return count, failures, [pattern for pattern in reasons if pattern not in needed]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="CLASS", help="of " + ", ".join(sum(MODULES.values(), ())))
    parser.add_argument("-k", dest="select", help="only tests that this expression of pytest's -k names")


def run(given: argparse.Namespace) -> int:
    import nbgrad.regression

    rows, wrong = [], 0
    for module, classes in MODULES.items():
        if given.names and not set(given.names) & set(classes):
            continue
        if missing := [name for name in classes if name not in nbgrad.regression.__all__]:
            print(f"{module}: left out, there is no {', '.join(missing)} of ours")
            continue
        count, failures, unneeded = judged(outcomes(module, given.select), REASONS.get(module, {}))
        rows.append([", ".join(classes), *(str(count[k]) for k in ("passed", "failed", "not applicable", "not ours"))])
        for one in failures:
            print(f"FAILED {one.test}: {one.error[:200]}")
        if not given.select:
            for pattern in unneeded:
                print(f"NOT NEEDED in bench/foreign_reasons.py: {module} {pattern}")
            wrong += len(unneeded)
        wrong += len(failures)
    header = ["scikit-learn's tests of", "passed", "failed", "not applicable", "not about ours, or skipped there"]
    print(markdown(Table("", header, rows)) if rows else "nothing was run")
    return int(wrong > 0)
