"""A new row of the operators' table is measured beside its peers without a word in bench/; the command writes its files."""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import mpmath
import numpy as np
import pytest
from reference import exact

from bench.peers import find, textbook
from bench.record import Result
from bench.session import Session
from bench.suites import elementwise, losses
from bench.tools import pictures
from nbgrad import kernels
from nbgrad.formulas.table import LOSSES, OPS, Elementwise

ROOT = Path(__file__).parent.parent.parent
X = np.array([-4.0, -2.5, -1.0, -0.5, 0.0, 0.3, 1.0, 2.0, 5.0, 7.0])


def brand_new(x, slope):
    return slope * x if x < 0 else x


def d_brand_new(x, slope):
    return slope if x < 0 else 1.0


@pytest.fixture
def row(monkeypatch):
    op = Elementwise(brand_new, d_brand_new, {"slope": 0.25}, textbook="slope * x if x < 0 else max(x, 0)")
    monkeypatch.setitem(OPS, op.name, op)
    monkeypatch.setattr(kernels, "brand_new", lambda x, *, out=None: np.where(x < 0, np.float32(0.25) * x, x), raising=False)
    monkeypatch.setattr(kernels, "brand_new_backward", lambda g, x, *, out=None: np.where(x < 0, np.float32(0.25) * g, g), raising=False)
    return op


def test_a_new_row_is_measured(row):
    parser = argparse.ArgumentParser()
    elementwise.add_arguments(parser)
    labels = [job.label for job in elementwise.jobs(Session(), parser.parse_args(["--only", "brand_new"]))]
    assert {"brand_new float32 1,024", "brand_new float64 65,536", "brand_new 100,000,000"} <= set(labels)
    peers, _ = find(["numpy", "numba"], 1)
    session = Session(peers, quick=True)
    records = session.measure(elementwise.case(session, row, 100, "float32"))
    assert {(r.who, r.direction) for r in records if r.ratio} == {("NumPy", "forward"), ("Numba", "forward")}
    assert not session.wrong and not session.missing


def test_every_row_is_a_job():
    for suite, table in ((elementwise, OPS), (losses, LOSSES)):
        parser = argparse.ArgumentParser()
        suite.add_arguments(parser)
        for quick in (True, False):
            labels = [job.label for job in suite.jobs(Session(quick=quick), parser.parse_args([]))]
            assert all(any(label.startswith(name + " float32") for label in labels) for name in table)


@pytest.mark.parametrize("op", [*OPS.values(), *LOSSES.values()], ids=lambda op: op.name)
def test_textbook_definitions(op):
    """What NumPy, numexpr and Numba compute is the function."""
    target = 0.25
    arguments = ([target] if op.name in LOSSES else []) + list(op.parameters.values())
    expected = [float(exact(op.forward)(mpmath.mpf(x), *map(mpmath.mpf, arguments))) for x in X]
    scalar = textbook.for_numba(textbook.formula(op))
    np.testing.assert_allclose([scalar(x, target, float) for x in X], expected, rtol=1e-13, atol=1e-15)
    arrays = textbook.for_numpy(textbook.formula(op))
    if arrays is not None:
        np.testing.assert_allclose(arrays(X, target), expected, rtol=1e-13, atol=1e-15)
    else:
        assert "erf" in op.textbook
    for_numexpr = textbook.for_numexpr(textbook.formula(op), np.float32)
    assert (for_numexpr is None) == (arrays is None)


def test_peers_that_are_missing_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numexpr", None)
    found, missing = find(["numpy", "numexpr"], 1)
    assert list(found) == ["numpy"] and missing == {"numexpr": "not installed (numexpr)"}


def test_the_command(tmp_path):
    command = [sys.executable, "-W", "error", "-m", "bench", "elementwise", "--quick", "--peers", "numpy", "--threads", "1", "--no-sweep"]
    command += ["--only", "relu", "--sizes", "100", "--save", str(tmp_path / "r.json"), "--pictures", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "| relu 100 forward " in done.stdout and "1 threads for everybody" in done.stdout
    assert json.loads((tmp_path / "r.json").read_text())["machine"]["threads"] == 1
    result = Result.load(tmp_path / "r.json")
    assert {(r.who, r.direction) for r in result} == {("nbgrad", "forward"), ("nbgrad", "backward"), ("nbgrad", "both"), ("NumPy", "forward")}
    assert "| relu 100 forward " in (tmp_path / "r.md").read_text()
    assert list(pictures.available(result)) == ["peers"] and f"pictures: {tmp_path / 'peers.png'}" in done.stdout
    assert (tmp_path / "peers.png").stat().st_size > 10_000
