"""What is written from committed results: ``bench/results/full.md`` with all tables and pictures (`page`), and the
README's two short tables, between markers (`short`).

``python -m bench readme`` takes ``bench/results/full.json`` and the other results beside it, draws their pictures into
``bench/results/pictures`` and writes both; the table of defects comes from ``bench/results/defects.json``,
that of users' formulas from ``bench/results/formulas.json``, which ``python -m bench formulas --save`` wrote.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

from bench.machine import line
from bench.record import OWN, Record, Result
from bench.show import LEGEND, as_markdown
from bench.suites.elementwise import summary
from bench.tables import Table, first_calls, markdown, of_suite, ratio, timed
from bench.tools import defects, pictures

__all__ = ["BEGIN", "END", "PAGE", "page", "replaced", "results", "run", "short"]

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "bench" / "results"
BEGIN, END = "<!-- bench:begin (python -m bench readme writes what is between these lines) -->", "<!-- bench:end -->"
OF_FORMULAS = FOLDER / "formulas.json"
#: Of another machine: ``gpu.md`` beside it is its page.
OF_GPU = FOLDER / "gpu.json"
PEER = "PyTorch"
PAGE = FOLDER / "full.md"
#: The README's rows of speed: of each kind of work one size or two, not the best: (suite, name, beginning of the shape)
SPEED = (
    ("elementwise", "sigmoid", "65,536"), ("elementwise", "tanh", "65,536"), ("elementwise", "relu", "65,536"),
    ("elementwise", "gelu", "65,536"), ("elementwise", "elu", "16,777,216"), ("rows", "softmax", "(4096, 1000)"),
    ("rows", "softmax", "(50000, 256)"), ("losses", "cross_entropy", "(60000, 10)"),
    ("losses", "cross_entropy", "(4096, 1000)"), ("losses", "binary_cross_entropy_with_logits", "65,536"),
    ("regression", "softmax", "60000×784"), ("regression", "softmax", "20000×2000"),
    ("regression", "logistic", "60000×784"), ("autograd", "MLP 784-256-256-10", "batch 1024"),
    ("training", "MLP", "MNIST"),
)  # fmt: skip
#: The README's rows of accuracy, and whose errors it shows.
ACCURACY = (
    "exp value", "sigmoid value", "sigmoid gradient", "tanh value", "tanh gradient", "elu value", "elu gradient",
    "softplus value", "softplus gradient", "log_sigmoid gradient", "silu gradient *", "gelu value", "gelu gradient *",
    "mish gradient *", "softsign gradient",
)  # fmt: skip
WHOLE = ("both", "value_and_grad", "step", "epoch")  # forward and backward


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "results", nargs="*", metavar="RESULT.json", help="default: all in bench/results, full.json first"
    )
    parser.add_argument("--readme", default=str(ROOT / "README.md"))


def results(paths: list[str] | None = None) -> Result:
    """The named results as one, else the committed ones."""
    found: list[Path] = [Path(p) for p in paths or ()] or sorted(
        {*FOLDER.glob("*.json")} - {defects.FILE, OF_FORMULAS, OF_GPU}, key=lambda p: (p.name != "full.json", p)
    )
    if not found:
        raise SystemExit(f"there is no result in {FOLDER}")
    return Result.joined([Result.load(p) for p in found])


def _elementwise(records: list[Record]) -> Table | None:
    """PyTorch's ratios, forward / backward / both, a column a size."""
    of = [r for r in records if r.suite == "elementwise" and r.who == PEER and r.ratio]
    columns = list(dict.fromkeys((r.dtype, r.shape) for r in of))
    names = list(dict.fromkeys(r.name for r in of))
    cells = {(r.name, r.dtype, r.shape, r.direction): r.ratio for r in sorted(of, key=lambda r: r.memory == "out")}

    def cell(name: str, column: tuple[str, str]) -> str:
        several = [cells.get((name, *column, d)) for d in ("forward", "backward", "both")]
        return " / ".join(ratio(s.median) if s else "–" for s in several)

    if not of:
        return None
    rows = [[name, *(cell(name, c) for c in columns)] for name in names]
    return Table(f"{PEER} / nbgrad", ["forward / backward / both", *(f"{d}, {s}" for d, s in columns)], rows)


def _means(records: list[Record]) -> Table | None:
    """The geometric mean of each peer's ratios, for each size and direction."""
    of = [r for r in records if r.suite == "elementwise" and r.who != OWN and r.ratio and r.direction != "both"]
    whos = list(dict.fromkeys(r.who for r in of))
    groups: dict[str, list[Record]] = {}
    for r in of:
        groups.setdefault(f"{r.dtype}, {r.shape}, {r.direction}", []).append(r)

    def cell(several: list[Record], who: str) -> str:
        best = {
            r.name: r.ratio.median for r in sorted(several, key=lambda r: r.memory == "out") if r.who == who and r.ratio
        }
        return f"{ratio(statistics.geometric_mean(best.values()))} ({len(best)})" if best else ""

    rows = [[title, *(cell(several, w) for w in whos)] for title, several in groups.items()]
    return Table("geometric means", ["elements", *whos], rows) if rows else None


def _accuracy(records: list[Record]) -> list[Table]:
    """Of each function the record with the most inputs; nbgrad's beside the peers', where those had fewer."""
    best: dict[tuple[str, ...], Record] = {}
    inputs: dict[str, dict[str, str]] = {}
    for r in records:
        if r.suite == "accuracy":
            key = (r.name, r.dtype, r.direction, r.who)
            best[key] = max(best.get(key, r), r, key=lambda r: r.size)
    for r in best.values():
        inputs.setdefault(r.dtype, {}).setdefault(r.shape, OWN if r.who == OWN else "peers")
    shapes = {
        dtype: ", ".join(f"{who} on {shape}" for shape, who in found.items()) if len(found) > 1 else next(iter(found))
        for dtype, found in inputs.items()
    }
    return of_suite([dataclasses.replace(r, shape=shapes[r.dtype]) for r in best.values()])


def speed(records: list[Record]) -> Table:
    """The README's rows, forward and backward, float32."""
    cases: list[list[Record]] = []
    for suite, name, shape in SPEED:
        of = [
            r for r in records
            if (r.suite, r.name, r.dtype) == (suite, name, "float32") and r.shape.startswith(shape)
            and r.direction in WHOLE and r.who in (OWN, PEER, "compile", "JAX", "sklearn")
        ]  # fmt: skip
        if of:
            cases.append([r for r in of if r.case == of[0].case])
    return timed("", cases, True)


def lost(records: list[Record]) -> str:
    """How many comparisons nbgrad loses."""
    words = []
    for who, name in ((PEER, PEER), ("compile", "torch.compile"), ("JAX", "JAX")):
        of = [r.ratio.median for r in records if r.who == who and r.ratio and r.direction in WHOLE]
        if of:
            words.append(f"{name} is faster in {sum(v < 1 for v in of)} of {len(of)}")
    return ", ".join(words)


def short(result: Result) -> str:
    """Everything between the README's markers."""
    records = list(result)
    parts = ["![PyTorch's time divided by nbgrad's, each activation](bench/results/pictures/ratios.png)"]
    fast = speed(records)
    if fast.rows:
        parts += [
            f"Forward and backward, float32; a peer's time divided by nbgrad's: **below 1 the peer is faster**. "
            f"{line(result.machine)}; {result.machine['date'][:10]}. Of all comparisons {lost(records)}.",
            markdown(fast),
        ]
    for table in _accuracy(records)[:1]:
        keep = [i for i, who in enumerate(table.header) if who in ("", OWN, PEER, "JAX")]
        rows = [[row[i] for i in keep] for row in table.rows if row[0] in ACCURACY]
        if rows:
            title = f"{table.title[0].upper()}{table.title[1:]}:"
            parts += [title, markdown(Table("", [table.header[i] for i in keep], rows)), *table.notes]
    return "\n\n".join(parts)


def page(result: Result) -> str:
    """``bench/results/full.md``: what is worth looking at first, then every table of the run."""
    run, *lines = as_markdown(Result.load(FOLDER / "full.json")).split("\n")
    return "\n\n".join(
        [
            "# The benchmarks' results", section(result),
            "## Your own formulas", found_formulas(),
            "## Wrong gradients found in others",
            "`python -m bench defects`; right: the slope in mpmath's arithmetic.", found_defects(),
            f"## Every table of one run\n\n{run.removeprefix('# ')}\n" + "\n".join(lines).replace("\n## ", "\n### "),
        ]
    )  # fmt: skip


def section(result: Result) -> str:
    """The tables and pictures of a run, suite by suite."""
    records = list(result)
    machine = result.machine

    def suite(name: str, *, dtype: str = "float32", directions: tuple[str, ...] = ()) -> list[Table]:
        chosen = [
            r for r in records
            if r.suite == name and (not dtype or r.dtype == dtype) and (not directions or r.direction in directions)
        ]  # fmt: skip
        return of_suite(chosen)

    def pair(*tables: Table | None) -> list[Table]:
        return [t for t in tables if t]

    quick = " A quick run: few sizes and rounds." if "--quick" in machine["command"] else ""
    parts = [
        f"`{machine['command']}` on {line(machine)}; {machine['date'][:10]}.{quick} {LEGEND}",
        *(
            ["Not measured: " + "; ".join(f"{k} ({v})" for k, v in result.missing.items()) + "."]
            if result.missing
            else []
        ),
    ]
    blocks: list[tuple[str, list[Table], tuple[str, ...], list[str]]] = [
        (
            "Throughput",
            pair(_elementwise(records), _means(records)),
            ("ratios", "peers", "sizes", "roofline"),
            summary(records),
        ),
        (
            "Rows and losses",
            suite("rows", directions=("both",)) + suite("losses", directions=("value_and_grad",)),
            (),
            [],
        ),
        ("Regression", suite("regression", dtype=""), (), []),
        ("Autograd", suite("autograd"), (), []),
        ("Training", suite("training"), ("training",), []),
        ("Start", suite("startup", dtype="") + pair(first_calls(records)), (), []),
        ("Errors beside the peers", _accuracy(records), ("ulps",), []),
    ]
    drawn = pictures.available(result)
    for title, tables, names, notes in blocks:
        if not tables:
            continue
        parts.append(f"## {title}")
        parts += [f"![{drawn[n]}](pictures/{n}.png)" for n in names if n in drawn]
        for table in tables:
            parts += [f"{table.title}:", markdown(table), *table.notes]
        parts += notes
    return "\n\n".join(parts)


def found_formulas() -> str:
    """One formula of the committed run of `bench.suites.formulas`."""
    result = Result.load(OF_FORMULAS)
    cases: dict[tuple[Any, ...], list[Record]] = {}
    for r in result:
        if r.name.startswith("gate") and r.direction == "value_and_grad":
            cases.setdefault((*r.case, r.memory), []).append(r)
    return "\n\n".join(
        [
            "Value and all gradients of `sum(tanh(w*x + b) * sigmoid(x))`, arrays w, x, b, and the same on numbers and "
            "within `@njit`; a peer's time divided by nbgrad's, **below 1 the peer is faster**; by hand: a loop on "
            "nbgrad's formulas; the second row of a size writes into the caller's memory, `out=`. "
            f"{line(result.machine)}; {result.machine['date'][:10]} ([all formulas](formulas.md)).",
            markdown(timed("", list(cases.values()), True)),
        ]
    )  # fmt: skip


def found_defects() -> str:
    """The committed table of `bench.tools.defects`."""
    return markdown(defects.table(json.loads(defects.FILE.read_text(encoding="utf-8"))))


def replaced(text: str, new: str) -> str:
    """The README with another section; ValueError if it has not both markers once, in this order."""
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(f"README: expected {BEGIN!r} and then {END!r}, each once")
    return f"{before}{BEGIN}\n\n{new}\n\n{END}{after}"


def run(arguments: argparse.Namespace) -> None:
    result = results(arguments.results)
    readme = Path(arguments.readme)
    text = replaced(readme.read_text(encoding="utf-8"), short(result))
    pictures.draw(result, FOLDER / "pictures")
    readme.write_text(text, encoding="utf-8")
    PAGE.write_text(page(result), encoding="utf-8")
    print(f"{readme}, {PAGE}: from {len(result.records)} records")
