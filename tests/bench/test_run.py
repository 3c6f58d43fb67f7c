"""A run of suites: what fails is named, and what was measured before and after it is kept."""

import argparse
import types

from bench import run
from bench.record import Record, Spread
from bench.session import Job, Session


def test_a_job_that_fails_takes_no_other_with_it(monkeypatch):
    def measured(name):
        return [Record("s", name, "", "", "forward", "nbgrad", Spread.of([1.0]))]

    def fails():
        raise RuntimeError("out of memory\nand a long story")

    jobs = [Job("a", lambda: measured("a")), Job("b", fails), Job("c", lambda: measured("c"))]
    suite = types.SimpleNamespace(add_arguments=lambda parser: None, jobs=lambda session, arguments: jobs)
    monkeypatch.setattr(run.importlib, "import_module", lambda name: suite)
    session, kept = Session(), []
    records = run.run_suite(session, "s", argparse.Namespace(), kept.append)
    assert [r.name for r in records] == ["a", "c"] and [r.name for part in kept for r in part] == ["a", "c"]
    assert session.wrong == ["s: b: RuntimeError: out of memory"]


def test_peers_of_the_gpu_suite():
    given = argparse.Namespace(peers=None, quick=False)
    assert run._peers(given, ["gpu"]) == ["torch"]
    assert "sklearn" in run._peers(given, ["elementwise", "gpu"])
