"""How everything here is timed and shown: candidates in turn (A B C A B C ...), medians, and the ratio round
by round.

A machine's speed drifts while a benchmark runs; what is measured in the same round has seen the same machine,
so ratios keep where times do not.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one entry a round."""

    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def ratio_to(self, other: Timing) -> float:
        """Median over the rounds of other's time by this one's: above 1, this one is faster."""
        return statistics.median(b / a for a, b in zip(self.rounds, other.rounds, strict=True))


def interleaved(
    candidates: dict[str, Callable[[], Any]], *, rounds: int = 15, at_least: float = 2e-3
) -> dict[str, Timing]:
    """Time the candidates in turn; a call shorter than ``at_least`` seconds is repeated until it lasts that
    long.
    """
    repeats = {}
    for name, call in candidates.items():
        call()
        call()
        start = time.perf_counter()
        call()
        repeats[name] = max(1, int(at_least / max(time.perf_counter() - start, 1e-9)))
    times: dict[str, list[float]] = {name: [] for name in candidates}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in candidates.items():
                # until the threads of the one before have stopped spinning for work: two pools of as many threads as
                # there are cores would wait for each other
                time.sleep(0.005)
                call()
                start = time.perf_counter()
                for _ in range(repeats[name]):
                    call()
                times[name].append((time.perf_counter() - start) / repeats[name])
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(rounds) for name, rounds in times.items()}


def optional(name: str) -> Any:
    """A peer's module, or None where it is not installed."""
    try:
        return __import__(name)
    except ImportError:
        print(f"{name}: not installed, not measured")
        return None


def machine() -> str:
    """One line for a table's heading."""
    import numba
    import numpy

    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        with open("/proc/cpuinfo") as lines:
            model = next(
                (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), model
            )
    versions = f"Python {platform.python_version()}, NumPy {numpy.__version__}, Numba {numba.__version__}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """A Markdown table with aligned columns, readable in a terminal too."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = (
        "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    )
    return "\n".join([line(header), rule, *map(line, rows)])
