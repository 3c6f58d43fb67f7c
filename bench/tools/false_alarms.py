"""Right functions that `nbgrad.testing` must pass: every kernel, row function, loss and objective, the right versions
of the planted faults, and foreign functions, written the ways users write them, where their libraries are installed.

Prints a line for each, and exits with 1 if one is refused.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "tests" / "testing"))
from foreign import FOREIGN  # noqa: E402
from right import RIGHT  # noqa: E402

__all__ = ["add_arguments", "run"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--examples", type=int, default=10_000, help="in all, over the functions")
    parser.add_argument("--only", default="", help="functions whose name has this in it")


def run(arguments: argparse.Namespace) -> None:
    import hypothesis

    from nbgrad.testing import GradientError, GradientReport, GradientWarning

    warnings.simplefilter("ignore", GradientWarning)  # the reports count them

    every = RIGHT | {f"foreign: {name}": test for name, test in FOREIGN.items()}
    chosen = {name: test for name, test in every.items() if arguments.only in name}
    each = -(-arguments.examples // len(chosen))
    settings = hypothesis.settings(
        max_examples=each, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )  # fmt: skip
    columns = "function", "elements", "confirmed", "at kinks", "undecided", "imprecise", "worst, ulps", "s"
    print(f"| {' | '.join(columns)} |\n|---|{'--:|' * 7}")
    total, alarms, start = GradientReport(), 0, time.perf_counter()
    for name, make in chosen.items():
        begin = time.perf_counter()
        try:
            test = make(settings=settings)
            test()
        except GradientError as error:
            alarms += 1
            print(f"| {name} | FALSE ALARM |\n\n{error}\n")
            continue
        report = test.report
        total += report
        took = time.perf_counter() - begin
        counts = f"{report.elements} | {report.confirmed} | {report.kinks} | {report.undecided} | {report.imprecise}"
        print(f"| {name} | {counts} | {report.worst_ulps:.3g} | {took:.1f} |", flush=True)
    took = time.perf_counter() - start
    print(f"\n{len(chosen)} functions, {each} examples of each, {took:.0f} s: {alarms} false alarms")
    print(total)
    if alarms:
        sys.exit(1)
