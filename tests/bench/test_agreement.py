"""The benchmark's table of agreement: no answer of ours is wrong in silence."""

import pytest

pytest.importorskip("sklearn")

from bench.suites import agreement  # noqa: E402


def test_no_answer_is_wrong_in_silence(monkeypatch):
    monkeypatch.setattr(agreement, "SCIKIT", ("lbfgs",))
    found = list(agreement.rows())
    found = [row for row in found if row["who"] != "statsmodels"]  # where it is installed
    assert len(found) == 10 * (3 * (len(agreement.SOLVERS) + 1) + 2)
    ours = [row for row in found if row["who"] == "nbgrad"]
    assert all(row["off"] <= 1e-3 or row["warned"] for row in ours)
    assert all(row["off"] <= 1e-4 and not row["warned"] for row in ours if row["solver"] in ("auto", "QR"))
    assert any(row["off"] > 1e-2 and not row["warned"] for row in found if row["who"] == "sklearn")


def test_certified_digits():
    digits = {row["data"]: row["digits"] for row in agreement.certified() if row["who"] == "nbgrad"}
    assert len(digits) == 10 and min(digits.values()) > 6.5 and digits["Longley"] > 12
