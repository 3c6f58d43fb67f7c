"""A run of suites: their jobs one after the other, with a progress bar, tables as they come, and the result kept."""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tqdm import tqdm

from bench import tables
from bench.machine import describe, line, set_threads
from bench.peers import NAMES, find
from bench.record import Record, Result
from bench.session import Job, Session
from bench.show import LEGEND, as_markdown, show, show_missing
from bench.suites.elementwise import summary

__all__ = ["run", "run_suite"]


#: peers that compile each function for seconds
SLOW = {"compile": "torch.compile", "numba": "plain Numba"}


def _peers(given: argparse.Namespace, suites: list[str]) -> list[str]:
    if given.peers is None and suites == ["gpu"]:
        return ["torch"]  # nobody else is measured there, and to start JAX and torch.compile takes half a minute
    if given.peers is None:
        return [n for n in NAMES if not (given.quick and n in SLOW)]
    return [n for n in given.peers if n != "none"]


def run_suite(
    session: Session, name: str, given: argparse.Namespace, keep: Callable[[list[Record]], None] = lambda records: None
) -> list[Record]:
    """All records of a suite. ``given`` may lack the suite's own arguments, which have defaults. ``keep`` is handed
    those of each job as it ends; a job that fails is named in ``session.wrong``, and the others go on.
    """
    try:
        module = importlib.import_module(f"bench.suites.{name}")
    except ModuleNotFoundError as error:  # accuracy: mpmath
        session.missing[name] = f"{error.name} is not installed"
        return []
    parser = argparse.ArgumentParser()
    module.add_arguments(parser)
    arguments = argparse.Namespace(**{**vars(parser.parse_args([])), **vars(given)})
    jobs: list[Job] = list(module.jobs(session, arguments))
    records: list[Record] = []
    # on a terminal a bar; where stderr is a file, a line a suite
    with tqdm(jobs, desc=name, disable=None, leave=False, file=sys.stderr, unit="case") as bar:
        for job in bar:
            bar.set_postfix_str(job.label)
            try:
                found = job.run()
            except Exception as error:
                text = str(error).strip().splitlines()
                session.wrong.append(f"{name}: {job.label}: {type(error).__name__}: {text[0] if text else ''}"[:300])
                continue
            keep(found)
            records += found
    return records


def run(words: list[str], given: argparse.Namespace, suites: list[str], threads: int) -> int:
    """Measure, print, keep; 1 if a peer's results differ from nbgrad's or a case failed."""
    # Peers first: with Numba's OpenMP threads started before PyTorch is imported, torch.tanh on 65536 elements takes
    # 4 ms instead of 0.17.
    peers, missing = find(_peers(given, suites), threads)
    stated = set_threads(threads)
    if given.peers is None and given.quick:
        missing |= {title: f"--quick leaves it out (--peers {name})" for name, title in SLOW.items()}
    session = Session(peers, threads, given.quick, given.rounds, missing)
    measured = [w for i, w in enumerate(words) if "--pictures" not in (w, words[i - 1] if i else "")]
    result = Result(describe(threads, " ".join(["python -m bench", *measured])), missing=session.missing)
    print(f"{line(result.machine)}\n{stated} for everybody\n{LEGEND}")
    show_missing(session.missing)
    known = len(session.missing)

    def keep(records: list[Record]) -> None:
        """After each job: what comes later may be interrupted."""
        result.records += records
        if given.save:
            result.save(given.save)

    for name in suites:
        start = time.perf_counter()
        records = run_suite(session, name, given, keep)
        for suite in dict.fromkeys(r.suite for r in records):
            show(tables.of_suite([r for r in records if r.suite == suite]))
        if name == "elementwise":
            print(*summary(records, getattr(given, "check", False)), sep="\n")
        if given.save:
            Path(given.save).with_suffix(".md").write_text(as_markdown(result), encoding="utf-8")
        print(f"{name}: {len(records)} records, {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    first = tables.first_calls(result.records)
    show([first] if first else [])
    if given.pictures:
        from bench.tools.pictures import draw

        print(f"pictures: {', '.join(map(str, draw(result, given.pictures))) or 'none of these records'}")
    show_missing(dict(list(session.missing.items())[known:]), session.wrong)
    return 1 if session.wrong else 0
