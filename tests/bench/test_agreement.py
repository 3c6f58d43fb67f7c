"""The benchmark's table of agreement: no answer of ours is wrong in silence."""

import pytest

pytest.importorskip("sklearn")

from bench.suites import agreement  # noqa: E402


def test_no_answer_is_wrong_in_silence(monkeypatch):
    monkeypatch.setattr(agreement, "SCIKIT", ("lbfgs",))
    found = list(agreement.rows())
    assert len(found) == 2 * 10 * (len(agreement.SOLVERS) + 1)
    ours = [row for row in found if row["who"] == "nbgrad"]
    assert all(row["off"] <= 1e-3 or row["warned"] for row in ours)
    assert all(row["off"] <= 1e-4 and not row["warned"] for row in ours if row["solver"] == "auto")
    assert any(row["off"] > 1e-2 and not row["warned"] for row in found if row["who"] == "sklearn")
