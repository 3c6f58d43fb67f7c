"""How everything here is timed: candidates in turn (A B C A B C ...), and ratios round by round.

A machine's speed drifts while a benchmark runs; what is measured in the same round has seen the same machine,
so ratios keep where times do not.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, TypeVar

from bench.place import Cpu, wall

__all__ = ["Timing", "interleaved"]

#: seconds of a call that needs no warming up, and no second one to know how long it takes
LONG = 0.05
Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class Timing:
    """Seconds a call, one entry a round."""

    rounds: list[float]

    @property
    def median(self) -> float:
        return statistics.median(self.rounds)

    def ratios_to(self, other: Timing) -> list[float]:
        """Other's time by this one's, round by round: above 1, this one is faster."""
        return [b / a for a, b in zip(self.rounds, other.rounds, strict=True)]

    def ratio_to(self, other: Timing) -> float:
        """The median of `ratios_to`."""
        return statistics.median(self.ratios_to(other))


def interleaved(
    candidates: dict[Name, Callable[[], Any]],
    *,
    rounds: int = 15,
    at_least: float = 2e-3,
    budget: float = float("inf"),
    pause: float = Cpu.pause,
    clock: Callable[[Callable[[], Any], int], float] = wall,
) -> dict[Name, Timing]:
    """Time the candidates in turn; a call shorter than ``at_least`` seconds is repeated until it lasts that
    long. Not more than ``budget`` seconds, if 3 rounds fit into them. ``clock``: seconds a call, of so many calls.
    """
    repeats, a_round = {}, 0.0
    for name, call in candidates.items():
        call()
        took = [clock(call, 1)]
        if took[0] <= 0.1:  # else long enough to know from one
            took.append(clock(call, 1))
        shortest = max(min(took), 1e-9)
        repeats[name] = max(1, int(at_least / shortest))
        a_round += pause + (repeats[name] + 1) * shortest
    rounds = max(min(rounds, 3), min(rounds, int(min(budget / a_round, 1e6))))
    times: dict[Name, list[float]] = {name: [] for name in candidates}
    enabled = gc.isenabled()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in candidates.items():
                time.sleep(pause)
                call()
                times[name].append(clock(call, repeats[name]))
    finally:
        if enabled:
            gc.enable()
    return {name: Timing(seconds) for name, seconds in times.items()}
