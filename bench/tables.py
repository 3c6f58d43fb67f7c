"""Records become tables of text, the same for the terminal, for Markdown and for the README."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.record import OWN, Record, Result

__all__ = ["Table", "first_calls", "markdown", "number", "of_result", "of_suite", "ratio", "seconds", "timed"]


@dataclass
class Table:
    """Cells of text; ``ratios`` are the columns where below 1 is a loss. The first column is a label."""

    title: str
    header: list[str]
    rows: list[list[str]]
    ratios: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)


def markdown(table: Table) -> str:
    """With aligned columns, readable in a terminal too."""
    several = [table.header, *table.rows]
    widths = [max(len(row[i]) for row in several) for i in range(len(table.header))]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(cells, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    rule = "|" + "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
    return "\n".join([line(table.header), rule, *map(line, table.rows)])


def number(value: float) -> str:
    """Three digits, without an exponent where it is not needed.

    >>> number(0.12345), number(12.345), number(1234.5), number(16777216.0)
    ('0.123', '12.3', '1234', '1.7e+07')
    """
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if abs(value) >= 99_999.5:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}" if abs(value) >= 1e-4 else f"{value:.2g}"


def ratio(value: float) -> str:
    """
    >>> ratio(0.0123), ratio(0.9996), ratio(12.34), ratio(1234.5)
    ('0.012', '1.00', '12.3', '1234')
    """
    return f"{value:.{3 if value < 0.0995 else 2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def seconds(value: float) -> str:
    """
    >>> seconds(1.5e-6), seconds(0.0123), seconds(75.0)
    ('1.50 µs', '12.3 ms', '75.0 s')
    """
    for unit, scale in (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3)):
        if value < 999.5 * scale:
            return f"{number(value / scale)} {unit}"
    return f"{number(value)} s"


def _amount(record: Record) -> str:
    value = record.value.median
    return seconds(value) if record.unit == "s" else f"{number(value)} {record.unit}"


def _ordered(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _label(record: Record, with_shape: bool) -> str:
    parts = [record.name, record.shape if with_shape else "", record.direction.replace("_", " ")]
    return " ".join(p for p in parts if p)


def _own(records: Sequence[Record]) -> Record | None:
    """nbgrad's record of a case: into given memory if that was measured."""
    own = [r for r in records if r.who == OWN]
    return next((r for r in own if r.memory == "out"), own[0] if own else None)


def _cases(records: Iterable[Record]) -> list[list[Record]]:
    found: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        found.setdefault(record.case, []).append(record)
    return list(found.values())


def _peers(case: list[Record]) -> dict[str, Record]:
    """A peer's record by its name; into given memory if it has both."""
    return {r.who: r for r in sorted(case, key=lambda r: r.memory == "out") if r.who != OWN and r.ratio}


def _percent(part: float) -> str:
    return f"{100 * part:.0f} %" if part < 9.995 else ">999 %"


def timed(title: str, cases: list[list[Record]], with_shape: bool) -> Table:
    """nbgrad's time, the machine's limit, and each peer's time divided by nbgrad's; a row a case."""
    whos = _ordered(r.who for case in cases for r in case if r.who != OWN and r.ratio)
    # a peer that has hardly any of these functions gets a line, not a column
    few = [w for w in whos if len(cases) > 4 and sum(w in _peers(c) for c in cases) * 4 < len(cases)]
    columns = [w for w in whos if w not in few]
    limited = any((own := _own(case)) and own.fraction for case in cases)
    rows, notes = [], []
    apart: dict[str, list[str]] = {w: [] for w in few}
    for case in cases:
        own, peers = _own(case), _peers(case)
        if own is None:
            continue
        row = [_label(own, with_shape), _amount(own)]
        if limited:
            row.append(f"{100 * own.fraction.median:.0f} %" if own.fraction else "")
        ratios = [peers[w].ratio for w in columns if w in peers]
        row += [ratio(peers[w].ratio.median) if w in peers else "" for w in columns]  # type: ignore[union-attr]
        if columns:
            spreads = [(r.high - r.low) / 2 / r.median for r in ratios if r]
            row.append(_percent(max(spreads)) if spreads else "")
        rows.append(row)
        for w in few:
            if w in peers:
                apart[w].append(f"{_label(own, with_shape)} {ratio(peers[w].ratio.median)}")  # type: ignore[union-attr]
    header = ["", OWN, *(["limit"] if limited else []), *columns, *(["±"] if columns else [])]
    first = 2 + limited
    notes += [f"{w}: {', '.join(several)}" for w, several in apart.items()]
    return Table(title, header, rows, frozenset(range(first, first + len(columns))), notes)


def _pivoted(title: str, cases: list[list[Record]], with_shape: bool) -> Table:
    """One row a function, a column a direction: for what has neither a peer nor a limit."""
    directions = _ordered(case[0].direction for case in cases)
    values: dict[str, dict[str, str]] = {}
    for case in cases:
        record = case[0]
        label = " ".join(p for p in (record.name, record.shape if with_shape else "") if p)
        values.setdefault(label, {})[record.direction] = seconds(record.value.median)
    rows = [[label, *(row.get(d, "") for d in directions)] for label, row in values.items()]
    return Table(title, ["", *directions], rows)


def _errors(title: str, cases: list[list[Record]]) -> Table:
    whos = _ordered(r.who for case in cases for r in case)
    rows = []
    for case in cases:
        by = {r.who: r for r in case}
        label = f"{case[0].name} {case[0].direction}" + (
            " *" if any(r.details.get("crosses zero") for r in case) else ""
        )
        rows.append([label, *(_error(by[w]) if w in by else "" for w in whos)])
    notes = (
        ["* an error of eps where the derivative is below ½ counts as none"] if any("*" in r[0] for r in rows) else []
    )
    return Table(title, ["", *whos], rows, notes=notes)


def _error(record: Record) -> str:
    value = record.value.median
    return f"{number(value)} at {float(record.details['at']):.4g}" if value else "exact"


def _scores(title: str, cases: list[list[Record]]) -> Table:
    rows = [
        [
            f"{r.shape} {r.name}",
            f"{r.value.median:.2f}",
            ", ".join(f"{a:.2f}" for a in r.details["seeds"]),
            f"{r.details['target']:.1f}",
        ]
        for case in cases
        for r in case
    ]
    return Table(title, ["", "median, %", "each seed", "to reach"], rows)


def _losses(records: list[Record]) -> list[str]:
    """How far the peers' loss curves lie from nbgrad's."""
    return [
        f"{r.name} on {r.shape}: {r.who}'s losses are within {number(100 * r.details['difference'])} % of nbgrad's in"
        f" all {r.rounds} epochs; after the last {r.details['accuracy'][-1]:.2f} % of the test set are right"
        for r in records
        if r.direction == "epoch" and r.who != OWN and "difference" in r.details
    ]


def _passes(records: list[Record]) -> list[str]:
    """How often the fits read X."""
    several = [f"{_label(r, True)} {r.details['passes']}" for r in records if "passes" in r.details]
    return ["passes over X: " + ", ".join(several)] if several else []


def of_suite(records: Sequence[Record]) -> list[Table]:
    """The tables of one suite: a group for each precision, and for each shape that many functions share."""
    names: dict[tuple[str, str], set[str]] = {}
    for r in records:
        names.setdefault((r.dtype, r.shape), set()).add(r.name)
    groups: dict[tuple[str, ...], list[Record]] = {}
    for r in records:
        shared = len(names[r.dtype, r.shape]) >= 4 and bool(r.shape)
        groups.setdefault((r.unit, r.dtype, r.shape if shared else ""), []).append(r)
    tables = []
    for (unit, dtype, shape), several in groups.items():
        suite = several[0].suite
        title = ", ".join(p for p in (suite, dtype, shape) if p)
        cases = _cases(several)
        if unit == "ulp":
            tables.append(_errors(f"{title}: worst error in units in the last place, and where", cases))
        elif unit == "%":
            tables.append(_scores(f"{title}: test accuracy", cases))
        else:
            plain = [c for c in cases if not _peers(c) and not any(r.fraction for r in c)]
            compared = [c for c in cases if c not in plain]
            if compared:
                tables.append(timed(title, compared, not shape))
            if plain:
                tables.append(_pivoted(title, plain, not shape))
    notes = _losses(list(records)) + _passes(list(records))
    if notes and tables:
        tables[-1].notes += notes
    return tables


def first_calls(records: Sequence[Record]) -> Table | None:
    """What the first call of a function took, which compiles it."""
    found: dict[str, list[float]] = {}
    for r in records:
        if r.first is not None:
            found.setdefault(r.who + (f", {r.first_from}" if r.first_from else ""), []).append(r.first)
    if not found:
        return None
    rows = [
        [who, str(len(times)), seconds(statistics.median(times)), seconds(max(times)), seconds(sum(times))]
        for who, times in found.items()
    ]
    return Table("first calls", ["", "functions", "median", "longest", "all"], rows)


def of_result(result: Result) -> list[Table]:
    """All tables of a run, suite by suite."""
    tables = []
    for suite in _ordered(r.suite for r in result):
        tables += of_suite([r for r in result if r.suite == suite])
    first = first_calls(result.records)
    return [*tables, *([first] if first else [])]
