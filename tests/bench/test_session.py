"""Measuring: in turn, compared before the clock starts, failures and wrong results left out and named."""

import numpy as np

from bench.limits import Limit
from bench.method import interleaved
from bench.peers.base import Peer
from bench.session import Case, Key, Session, both


def test_candidates_take_turns():
    calls = []
    times = interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=4, at_least=0, pause=0)
    assert "".join(calls)[-16:] == "aabb" * 4  # each warmed up, then timed
    assert [len(t.rounds) for t in times.values()] == [4, 4]


def case(**peers):
    x = np.ones(4)
    calls = {Key("nbgrad", "forward", "out"): lambda: x, Key("nbgrad", "backward", "out"): lambda: 2 * x}
    calls |= {Key(who, d, "out"): call for who, call in peers.items() for d in ("forward", "backward")}
    limit = Limit("copy", x.copy, bytes=64)
    work = {"forward": {"copy": 64}, "both": {"copy": 128}}
    return Case("s", "f", "4", "float64", calls, (limit,), work, size=4, tolerance=1e-6, sums=both("forward", "backward"))


def test_records():
    session = Session(quick=True, threads=1)
    records = session.measure(case())
    assert [(r.who, r.direction) for r in records] == [("nbgrad", d) for d in ("forward", "backward", "both")]
    forward, backward, together = records
    assert forward.limit == together.limit == "copy" and forward.fraction and backward.fraction is None
    assert forward.first is not None and forward.bytes == 64 and forward.details["copy"] > 0
    assert session.measure(case())[0].first is None  # no first call any more


def test_a_wrong_peer_is_not_timed():
    session = Session(quick=True)
    records = session.measure(case(Right=lambda: np.ones(4), Wrong=lambda: np.full(4, 1.1), Shape=lambda: np.ones(3)))
    # Right is right forward only: backward it returns what the function is
    assert {(r.who, r.direction) for r in records if r.who != "nbgrad"} == {("Right", "forward")}
    assert len(session.wrong) == 5 and any("Wrong: f 4 float64 forward: differs" in w for w in session.wrong)
    assert all(r.ratio for r in records if r.who != "nbgrad")


def test_a_peer_of_less_precision_is_timed_where_that_was_looked_into():
    class Rough(Peer):
        title, rough = "Rough", {("f", "forward"): 2e-6}

    session = Session({"rough": Rough()}, quick=True)
    records = session.measure(case(Rough=lambda: np.full(4, 1 + 1.5e-6)))
    assert {(r.who, r.direction) for r in records if r.who != "nbgrad"} == {("Rough", "forward")}
    assert len(session.wrong) == 1 and "Rough: f 4 float64 backward: differs" in session.wrong[0]


def test_a_peer_that_fails_is_named():
    def fail():
        raise RuntimeError("no compiler")

    session = Session(quick=True)
    assert {r.who for r in session.measure(case(Broken=fail))} == {"nbgrad"}
    assert session.missing["Broken: f 4 float64 forward"] == "RuntimeError: no compiler"


def test_nan_is_a_difference():
    session = Session(quick=True)
    session.measure(case(Nan=lambda: np.full(4, np.nan)))
    assert len(session.wrong) == 2
