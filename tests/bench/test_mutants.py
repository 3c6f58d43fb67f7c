"""The mutants' checks mean something: they refuse no right function."""

import argparse

import pytest

from bench.tools import mutants, mutants_derivation
from bench.tools.mutants import FILES, Checks, false_alarms, run

ARGUMENTS = argparse.Namespace(only="relu", verbose=False)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_right_functions_are_not_refused(path):
    assert list(false_alarms(path)) == []


@pytest.fixture
def relu(monkeypatch):
    """The checks of relu alone, in the one file that has it, and nothing of the derivation."""
    monkeypatch.setattr(mutants_derivation, "false_alarms", list)
    monkeypatch.setattr(mutants_derivation, "mutants", lambda: iter(()))
    monkeypatch.setattr(mutants, "FILES", [path for path in FILES if path.stem == "classic"])
    checks = [check for check in mutants.ELEMENTWISE if "relu" in check.functions]
    monkeypatch.setattr(mutants, "ELEMENTWISE", checks)
    return checks


def test_a_check_that_refuses_right_functions_is_an_error(relu, capsys):
    relu.append(Checks(frozenset({"d_sigmoid"}), lambda space, touched: "2 ulp"))
    with pytest.raises(SystemExit) as stop:
        run(ARGUMENTS)
    assert stop.value.code == 1
    assert capsys.readouterr().out == ("classic.py: right functions are refused (2 ulp) where these change: d_sigmoid\n")


def test_mutants_are_found_and_survivors_are_an_error(relu, capsys):
    with pytest.raises(SystemExit) as stop:  # those of leaky_relu: nothing checks it here
        run(ARGUMENTS)
    assert stop.value.code == 1
    out = capsys.readouterr().out
    assert "SURVIVES: leaky_relu" in out
    assert "SURVIVES: relu" not in out and "SURVIVES: d_relu" not in out


def test_the_derivation():
    """All of the rules' mutants are found or explained, and a few of the code that applies them."""
    derivation = mutants_derivation
    assert derivation.false_alarms() == []
    few = [mutant for mutant in derivation.mutants() if mutant[1].startswith("rules.py") or mutant[0] in ("loop", "way")]
    assert len(few) > 400
    assert [] == [text for function, text, verdict, reason in few if not verdict() and not reason(function, text.split(": ", 1)[1])]
