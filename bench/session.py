"""One run: what peers there are, how long it may take; the one place where a case is checked, timed and recorded."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numba.core import event

from bench.limits import Limit
from bench.method import Timing, interleaved
from bench.peers.base import Peer, as_arrays
from bench.place import Cpu, Gpu
from bench.record import OWN, Record, Spread

__all__ = ["Call", "Case", "Differs", "Job", "Key", "Session", "both"]

Call = Callable[[], Any]


class Key(NamedTuple):
    """A candidate: who does what, and into whose memory ("out" or "new")."""

    who: str
    direction: str
    memory: str = ""


@dataclass
class Case:
    """What is measured side by side: every candidate's call does the same as nbgrad's of the same direction.

    ``work`` is what each direction must do at least, by the limit's name: bytes to "copy" or "read", operations of
    "products". ``flops``: operations of kernels that memory limits, for the roofline. ``tolerance``: relative to the
    largest entry of nbgrad's result; None: nothing is compared.
    """

    suite: str
    name: str
    shape: str
    dtype: str
    calls: dict[Key, Call]
    limits: tuple[Limit, ...] = ()
    work: dict[str, dict[str, int]] = field(default_factory=dict)
    flops: dict[str, int] = field(default_factory=dict)
    size: int = 0
    tolerance: float | None = 1e-4
    sums: dict[str, tuple[str, ...]] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)


def both(first: str, second: str) -> dict[str, tuple[str, ...]]:
    """``sums`` for a case whose two directions are also shown together, round by round."""
    return {"both": (first, second)}


class Job(NamedTuple):
    """A part of a suite: its name, for the progress bar, and what returns its records."""

    label: str
    run: Callable[[], list[Record]]


class Differs(Exception):
    """A peer's result is not nbgrad's: it was called wrongly."""


@dataclass
class Session:
    """How a run measures. ``missing``: who could not be measured, and why; ``wrong``: whose results differ."""

    peers: dict[str, Peer] = field(default_factory=dict)
    threads: int = 1
    quick: bool = False
    rounds: int | None = None
    missing: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    place: Cpu | Gpu = field(default_factory=Cpu)
    _met: set[tuple[str, ...]] = field(default_factory=set)

    @property
    def _rough(self) -> dict[tuple[str, str, str], float]:
        return {(peer.title, *of): most for peer in self.peers.values() for of, most in peer.rough.items()}

    def measure(self, case: Case, *, rounds: int = 11, budget: float = 1.5) -> list[Record]:
        """First calls, comparison with nbgrad's results, rounds; a record a candidate."""
        first = self._first_calls(case)
        calls: dict[Any, Call] = {key: case.calls[key] for key in first}
        calls |= {limit.name: limit.call for limit in case.limits}
        rounds = self.rounds or rounds
        if self.quick:
            pause, budget = min(self.place.pause, 2e-3), min(budget, 0.25)
            times = interleaved(
                calls, rounds=min(rounds, 5), at_least=5e-4, budget=budget, pause=pause, clock=self.place.clock
            )
        else:
            times = interleaved(calls, rounds=rounds, budget=budget, pause=self.place.pause, clock=self.place.clock)
        limits = [(limit, times.pop(limit.name)) for limit in case.limits]
        for key in list(times):
            for name, parts in case.sums.items():
                if key.direction == parts[0] and all(key._replace(direction=p) in times for p in parts):
                    several = [times[key._replace(direction=p)].rounds for p in parts]
                    times[key._replace(direction=name)] = Timing([sum(t) for t in zip(*several, strict=True)])
        return [self._record(case, key, times, limits, first.get(key)) for key in times]

    def _first_calls(self, case: Case) -> dict[Key, tuple[float, str] | None]:
        """Call each candidate once and compare. What fails is left out."""
        found: dict[Key, tuple[float, str] | None] = {}
        own: dict[str, list[Any]] = {}
        for key in sorted(case.calls, key=lambda k: k.who != OWN):
            label = f"{key.who}: {case.name} {case.shape} {case.dtype} {key.direction}"
            with event.install_recorder("numba:compile") as compiled:
                start = time.perf_counter()
                try:
                    result = case.calls[key]()
                except Exception as error:  # a peer may lack a compiler, a precision, a layout
                    if key.who == OWN:
                        raise
                    text = str(error).strip().splitlines()
                    self.missing[label] = f"{type(error).__name__}: {text[0] if text else ''}"[:200]
                    continue
                took = time.perf_counter() - start
            if case.tolerance is not None:
                arrays = as_arrays(result)
                if key.who == OWN:
                    own.setdefault(key.direction, arrays)
                try:
                    rough = self._rough.get((key.who, case.name, key.direction), 0.0)
                    _compare(arrays, own[key.direction], max(case.tolerance, rough), label)
                except Differs as error:
                    self.wrong.append(str(error))
                    continue
            kind = (case.suite, case.name, case.dtype, key.direction, key.who, key.memory)
            found[key] = None if kind in self._met else (took, _origin(key.who, bool(compiled.buffer)))
            self._met.add(kind)
        return found

    def _record(
        self, case: Case, key: Key, times: dict[Any, Timing], limits: list[tuple[Limit, Timing]], first: Any
    ) -> Record:
        own, work = times.get(key._replace(who=OWN)), case.work.get(key.direction, {})
        fraction, limit = _fraction(times[key], limits, work)
        return Record(
            case.suite, case.name, case.shape, case.dtype, key.direction, key.who,
            Spread.of(times[key].rounds), memory=key.memory, rounds=len(times[key].rounds),
            threads=self.threads, device=self.place.device,
            ratio=Spread.of(own.ratios_to(times[key])) if own and key.who != OWN else None,
            fraction=fraction, limit=limit, first=first and first[0], first_from=first[1] if first else "",
            size=case.size, bytes=work.get("copy", 0) + work.get("read", 0),
            flops=case.flops.get(key.direction, work.get("products", 0)),
            details={**case.details, **_limit_values(limits)} if key.who == OWN else {},
        )  # fmt: skip


def _origin(who: str, compiled: bool) -> str:
    return ("compiled" if compiled else "from disk") if who == OWN else ""


def _limit_values(limits: list[tuple[Limit, Timing]]) -> dict[str, float]:
    """What the machine did in these rounds: bytes a second, operations a second."""
    return {limit.name: float(f"{(limit.bytes or limit.flops) / t.median:.4g}") for limit, t in limits}


def _fraction(own: Timing, limits: list[tuple[Limit, Timing]], work: dict[str, int]) -> tuple[Spread | None, str]:
    """The time that the work takes at the machine's limit (of several the slowest) by what was taken, round by round,
    and that limit's name.
    """
    needed = {}
    for limit, timing in limits:
        if limit.name in work:
            share = work[limit.name] / (limit.bytes or limit.flops)
            needed[limit.name] = [share * t for t in timing.rounds]
    if not needed:
        return None, ""
    name = max(needed, key=lambda n: Timing(needed[n]).median)
    return Spread.of(n / t for n, t in zip(needed[name], own.rounds, strict=True)), name


def _compare(results: list[Any], own: list[Any], tolerance: float, label: str) -> None:
    if len(results) != len(own):
        raise Differs(f"{label}: {len(results)} results, nbgrad's are {len(own)}")
    for result, mine in zip(results, own, strict=True):
        if result.shape != mine.shape:
            raise Differs(f"{label}: shape {result.shape}, nbgrad's is {mine.shape}")
        scale = float(np.abs(mine[np.isfinite(mine)]).max(initial=0.0)) or 1.0
        worst = float(np.max(np.abs(result - mine), initial=0.0))
        if not worst <= tolerance * scale:
            raise Differs(f"{label}: differs from nbgrad's by {worst:.2g}, of {scale:.2g} at most")
