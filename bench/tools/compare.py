"""What got slower, or less accurate, between two results, beyond noise: exit code 1 then.

The times of two runs are not the same machine's; what nbgrad reached beside others in the same rounds is. A case is
slower where every measure that both runs have of it, the ratio to each peer and the part of the physical limit, got
worse by more than ``--least`` and the quartiles of both runs do not touch. A case without such a measure is compared
by its time. One peer that became faster slows nothing down: all measures must agree. Fewer than three rounds say
nothing of the noise: there only twice the time counts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass

from bench.record import OWN, Record, Result, Spread
from bench.show import show
from bench.tables import Table, ratio

__all__ = ["Change", "changes", "run"]

FEW = 2.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("old", metavar="OLD.json")
    parser.add_argument("new", metavar="NEW.json")
    parser.add_argument("--least", type=float, default=1.1, help="the smallest change that counts (1.1: by a tenth)")


@dataclass(frozen=True)
class Change:
    """``factor``: how many times slower (or less accurate) the new run is, by its mildest measure; below 1 faster."""

    record: Record
    factor: float
    measures: tuple[str, ...]

    @property
    def label(self) -> str:
        r = self.record
        parts = (
            r.suite,
            r.name,
            r.shape,
            r.dtype,
            r.direction.replace("_", " "),
            {"new": "allocating"}.get(r.memory, ""),
        )
        return " ".join(p for p in parts if p)


def _measures(result: Result) -> dict[tuple[object, ...], dict[str, Spread]]:
    """Of each of nbgrad's records what it reached, more being better."""
    own = {r.key: r for r in result if r.who == OWN}
    found: dict[tuple[object, ...], dict[str, Spread]] = {key: {} for key in own}
    for r in result:
        key = (*r.case, OWN, r.memory)
        if key not in own:
            continue
        if r.who == OWN and r.fraction:
            found[key]["limit"] = r.fraction
        elif r.who != OWN and r.ratio and r.unit == "s":
            found[key][r.who] = r.ratio
    for key, measures in found.items():
        if not measures:
            value = own[key].value
            if own[key].unit == "%":
                measures["accuracy"] = value
            elif value.median > 0:  # an error of nothing cannot be compared by its inverse
                name = {"s": "time", "MB": "size"}.get(own[key].unit, "error")
                measures[name] = Spread(1 / value.median, 1 / value.high, 1 / max(value.low, 1e-300))
    return found


def _factor(old: Spread, new: Spread, least: float) -> float:
    """How many times worse; 1 where the quartiles touch or the change is small."""
    if new.high < old.low and old.median > least * new.median:
        return old.median / new.median
    if new.low > old.high and new.median > least * old.median:
        return old.median / new.median
    return 1.0


def changes(old: Result, new: Result, least: float = 1.1) -> Iterator[Change]:
    """Every case of both runs that got slower or faster."""
    before, after = _measures(old), _measures(new)
    older, records = {r.key: r for r in old}, {r.key: r for r in new}
    for key in after:
        shared = [m for m in after[key] if m in before.get(key, {})]
        if not shared:
            continue
        rounds = min(records[key].rounds, older[key].rounds)
        needed = max(least, FEW) if rounds < 3 and records[key].unit == "s" else least
        factors = [_factor(before[key][m], after[key][m], needed) for m in shared]
        if all(f > 1 for f in factors) or all(f < 1 for f in factors):
            yield Change(records[key], min(factors, key=lambda f: abs(f - 1)), tuple(shared))


def _table(title: str, several: list[Change]) -> Table:
    rows = [[c.label, ratio(max(c.factor, 1 / c.factor)), ", ".join(c.measures)] for c in several]
    return Table(title, ["", "times", "measured by"], rows)


def run(arguments: argparse.Namespace) -> int:
    """1 if something got slower."""
    old, new = Result.load(arguments.old), Result.load(arguments.new)
    found = sorted(changes(old, new, arguments.least), key=lambda c: -c.factor)
    slower, faster = [c for c in found if c.factor > 1], [c for c in found if c.factor < 1][::-1]
    for title, several in (("slower or less accurate", slower), ("faster or more accurate", faster)):
        if several:
            show([_table(title, several)])
    compared = len({r.key for r in old if r.who == OWN} & {r.key for r in new if r.who == OWN})
    print(f"\n{compared} of nbgrad's records are in both: {len(slower)} slower, {len(faster)} faster")
    if not compared:
        print("the two results have nothing in common")
    return 1 if slower else 0
