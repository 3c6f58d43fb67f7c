"""`bench.tools.defects` with functions of its own: what is told apart, and how it is shown. PyTorch and JAX are not needed."""

import json

import mpmath
import numpy as np
import pytest

from bench.tools import defects
from bench.tools.defects import CASES, Case, look, table


def test_the_right_value_needs_no_derivative():
    case = Case("m.f", "float64", ([0.5, 2.0], 3.0), lambda x, y: x[0] * x[1] ** 2 * mpmath.exp(y), place=1)
    arrays = [np.array(a) for a in case.arguments]
    assert defects._right(case, arrays) == pytest.approx(0.5 * 4 * np.exp(3.0), rel=1e-15)
    tiny = Case("m.f", "float32", (3e-23,), mpmath.log)
    assert defects._right(tiny, [np.float32(3e-23)]) == pytest.approx(1 / float(np.float32(3e-23)), rel=1e-15)
    at_zero = Case("m.f", "float64", (0.0,), mpmath.sin)
    assert defects._right(at_zero, [np.array(0.0)]) == 1


@pytest.mark.parametrize("theirs, wrong", [(2.0, False), (2.0 + 1e-9, False), (2.0 + 1e-6, True), (np.nan, True), (0.0, True)])
def test_wrong_is_beyond_the_root_of_eps(monkeypatch, theirs, wrong):
    monkeypatch.setattr(defects, "_theirs", lambda *given: theirs)
    monkeypatch.setattr(defects, "_verdict", lambda *given: "wrong")
    row = look(Case("numpy.square", "float64", (1.0,), lambda x: x * x))
    assert row["reproduces"] is wrong and row["right"] == "2.0"
    (shown,) = table({"versions": {"NumPy": "9"}, "rows": [row]}).rows
    assert shown[0] == "`numpy.square(1)`" and shown[-1] == ("wrong" if wrong else "does not reproduce")


def test_enough_digits_are_shown_to_tell_them_apart():
    assert defects._pair(1.0, 0.5) == ("1", "0.5")
    assert defects._pair(0.16666667163, 1 / 6) == ("0.1666666716", "0.1666666667")
    assert defects._pair(2.0, 2.0) == ("2", "2")


def test_another_library_is_refused():
    with pytest.raises(ValueError, match="function: expected one of torch or jax"):
        defects._theirs(Case("numpy.sin", "float64", (1.0,), mpmath.sin), np.sin, [np.array(1.0)])


def test_the_committed_table_is_of_these_cases_and_found():
    rows = json.loads(defects.FILE.read_text(encoding="utf-8"))["rows"]
    assert [(r["function"], r["dtype"]) for r in rows] == [(c.shown, c.dtype) for c in CASES]
    for row, case in zip(rows, CASES, strict=True):
        right = defects._right(case, [np.array(a, case.dtype) for a in case.arguments])
        assert float(row["right"]) == right, row
        assert not row["reproduces"] or row["verdict"] == "wrong", row
