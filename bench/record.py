"""What a benchmark returns: one `Record` a line of a table, for every suite; and the JSON file they are kept in."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["OWN", "Record", "Result", "Spread"]

#: ``who`` of nbgrad's records
OWN = "nbgrad"
VERSION = 1


@dataclass(frozen=True)
class Spread:
    """The median of what was measured, between its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Of one entry a round; a single one is its own quartiles.

        >>> Spread.of([1.0, 2.0, 3.0, 4.0, 100.0])
        Spread(median=3.0, low=2.0, high=4.0)
        """
        several = sorted(values)
        if len(several) == 1:
            return cls(several[0], several[0], several[0])
        low, median, high = statistics.quantiles(several, n=4, method="inclusive")
        return cls(median, low, high)


@dataclass(frozen=True)
class Record:
    """One measurement of one candidate.

    ``value`` is in ``unit``: "s" for a call, "ulp" for an error, "%" for an accuracy, "MB" for what is installed.
    ``ratio`` is the peer's time by nbgrad's, round by round: above 1 nbgrad is faster. ``fraction``: what part of the
    physical limit named ``limit`` ("copy", "read", "products") was reached, measured in the same rounds. ``first`` is
    the first call's time, which compiles, where it was the first of its kind in the process; ``first_from`` says
    whether nbgrad's was "compiled" or came "from disk". ``memory``: "out" if the results are written where the caller
    says, "new" if they are allocated; a peer is compared with nbgrad of the same kind.
    """

    suite: str
    name: str
    shape: str
    dtype: str
    direction: str
    who: str
    value: Spread
    unit: str = "s"
    memory: str = ""
    rounds: int = 1
    threads: int = 1
    device: str = "cpu"
    ratio: Spread | None = None
    fraction: Spread | None = None
    limit: str = ""
    first: float | None = None
    first_from: str = ""
    size: int = 0
    bytes: int = 0
    flops: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def case(self) -> tuple[Any, ...]:
        """What was measured, whoever did it."""
        return (self.suite, self.name, self.shape, self.dtype, self.direction, self.unit, self.threads, self.device)

    @property
    def key(self) -> tuple[Any, ...]:
        """What no second record of a run has."""
        return (*self.case, self.who, self.memory)


_DEFAULTS = {f.name: f.default for f in dataclasses.fields(Record) if f.default is not dataclasses.MISSING}


def _number(value: float) -> float | str:
    """As precise as a clock, and half as long; inf and nan, which JSON has not, as text."""
    return float(f"{value:.6g}") if math.isfinite(value) else repr(float(value))


def _plain(record: Record) -> dict[str, Any]:
    """The record's fields without those that say nothing; a `Spread` is three numbers."""
    found = {}
    for name in (f.name for f in dataclasses.fields(record)):
        value = getattr(record, name)
        if (name in _DEFAULTS and value == _DEFAULTS[name]) or (name == "details" and not value):
            continue
        if isinstance(value, Spread):
            value = [_number(v) for v in dataclasses.astuple(value)]
        found[name] = _number(value) if isinstance(value, float) else value
    return found


def _record(fields: dict[str, Any]) -> Record:
    spreads = {n: Spread(*map(float, fields[n])) for n in ("value", "ratio", "fraction") if fields.get(n) is not None}
    return Record(**{**fields, **spreads})


@dataclass
class Result:
    """A run: what machine, what versions, when; its records; what could not be measured, and why."""

    machine: dict[str, Any]
    records: list[Record] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def save(self, path: str | Path) -> None:
        """JSON, a line a record: the difference of two runs can be read."""
        head = json.dumps({"version": VERSION, "machine": self.machine, "missing": self.missing}, indent=1)
        lines = ",\n".join(json.dumps(_plain(r), ensure_ascii=False, allow_nan=False) for r in self.records)
        Path(path).write_text(f'{head[:-2]},\n "records": [\n{lines}\n]}}\n', encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """ValueError for what is no result of this version, named with its file."""
        try:
            read = json.loads(Path(path).read_text(encoding="utf-8"))
            if read["version"] != VERSION:
                raise ValueError(f"version {read['version']}")
            return cls(read["machine"], [_record(r) for r in read["records"]], read["missing"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}: expected a result of version {VERSION}, got {error!r}") from None

    @classmethod
    def joined(cls, results: Sequence[Result]) -> Result:
        """Several runs as one: of two records with the same key the later counts; the machine is the first run's."""
        records = {r.key: r for result in results for r in result.records}
        missing = {k: v for result in results for k, v in result.missing.items()}
        return cls(results[0].machine, list(records.values()), missing)
