"""What is printed: tables by rich on a terminal, as Markdown where the output is piped or rich is not installed."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from bench.machine import line
from bench.record import Result
from bench.tables import Table, markdown, of_result

__all__ = ["LEGEND", "as_markdown", "show", "show_missing"]

LEGEND = (
    "A column of a peer: its time divided by nbgrad's, median over the rounds; above 1 nbgrad is faster. ±: half the "
    "distance of the quartiles, the widest in the row. limit: of what memory or BLAS's products reached in the same "
    "rounds. A peer that allocates its results is compared with nbgrad allocating them."
)


def _rich(table: Table) -> bool:
    """Print by rich; False where it is not there."""
    if not sys.stdout.isatty():
        return False
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table as RichTable
        from rich.text import Text
    except ImportError:
        return False
    shown = RichTable(
        title=table.title,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        title_style="bold",
        padding=(0, 1),
        pad_edge=False,
        collapse_padding=True,
        show_edge=False,
    )
    for i, title in enumerate(table.header):
        shown.add_column(title, justify="left" if i == 0 else "right", no_wrap=i > 0)
    for row in table.rows:
        cells = []
        for i, cell in enumerate(row):
            # blue and orange are told apart by everybody
            style = "" if i not in table.ratios or not cell else "orange3" if float(cell) < 1 else "dodger_blue1"
            cells.append(Text(cell, style))
        shown.add_row(*cells)
    console = Console()
    console.print(shown)
    for note in table.notes:
        console.print(note, style="dim", highlight=False, markup=False)
    console.print()
    return True


def show(tables: Iterable[Table]) -> None:
    for table in tables:
        if not _rich(table):
            print(f"\n{table.title}\n\n{markdown(table)}", *table.notes, sep="\n", flush=True)


def show_missing(missing: Mapping[str, str], wrong: Iterable[str] = ()) -> None:
    """What was not measured, and why; and what is wrong."""
    for name, why in missing.items():
        print(f"not measured: {name}: {why}")
    for text in wrong:
        print(f"WRONG: {text}")


def as_markdown(result: Result) -> str:
    """A whole run as a page."""
    machine = result.machine
    state = "" if machine["clean"] else " with changes" if machine["clean"] is not None else ""
    parts = [
        f"# {machine['command']}",
        f"{line(machine)}. Commit {machine['commit']}{state}, {machine['date']}.",
        LEGEND,
        *(f"- not measured: {name}: {why}" for name, why in result.missing.items()),
    ]
    for table in of_result(result):
        parts += [f"## {table.title}", markdown(table), *table.notes]
    return "\n\n".join(parts) + "\n"
