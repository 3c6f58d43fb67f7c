"""What got slower is named; noise and one faster peer are not."""

import pytest

from bench.__main__ import main
from bench.record import Record, Result, Spread
from bench.tools.compare import changes


def result(torch=(2.0, 0.05), limit=(0.5, 0.01), jax=(5.0, 0.1), seconds=1e-3, rounds=15):
    def spread(pair):
        return Spread(pair[0], pair[0] - pair[1], pair[0] + pair[1])

    def record(who, value, **more):
        return Record("s", "f", "10", "float32", "forward", who, Spread.of([value]), memory="out", rounds=rounds, **more)

    own = record("nbgrad", seconds, fraction=spread(limit) if limit else None)
    peers = [record(w, 1.0, ratio=spread(r)) for w, r in (("PyTorch", torch), ("JAX", jax)) if r]
    return Result({}, [own, *peers])


@pytest.mark.parametrize(
    ("new", "factors"),
    [
        (result(), []),
        (result(torch=(1.0, 0.05), limit=(0.25, 0.01), jax=(2.5, 0.1)), [2.0]),
        (result(torch=(4.0, 0.05), limit=(1.0, 0.01), jax=(10.0, 0.1)), [0.5]),
        (result(torch=(1.0, 0.05)), []),  # PyTorch became faster
        (result(torch=(1.0, 1.5), limit=(0.25, 0.3), jax=(2.5, 3.0)), []),  # beyond nothing: noise
        (result(torch=(1.9, 0.001), limit=(0.475, 0.001), jax=(4.75, 0.01)), []),  # less than a tenth
        (result(torch=None, jax=None, limit=(0.25, 0.01)), [2.0]),  # the peers are not installed
    ],
)
def test_changes(new, factors):
    assert [round(c.factor, 2) for c in changes(result(), new)] == factors


def test_without_peers_and_limits_times_are_compared():
    bare = {"torch": None, "jax": None, "limit": None}
    assert [c.factor for c in changes(result(**bare), result(**bare, seconds=3e-3))] == [pytest.approx(3.0)]


def test_few_rounds_say_nothing_of_the_noise():
    bare = {"torch": None, "jax": None, "limit": None, "rounds": 1}
    assert not list(changes(result(**bare), result(**bare, seconds=1.8e-3)))
    assert list(changes(result(**bare), result(**bare, seconds=2.2e-3)))


def test_an_error_that_grew_is_named():
    def error(value):
        return Result({}, [Record("accuracy", "f", "", "float32", "value", "nbgrad", Spread.of([value]), unit="ulp")])

    assert [c.factor for c in changes(error(1.0), error(2.0))] == [2.0]


def test_exit_code(tmp_path, capsys):
    paths = [tmp_path / name for name in ("old.json", "new.json")]
    for path, r in zip(paths, (result(), result(torch=(1.0, 0.05), limit=(0.25, 0.01), jax=(2.5, 0.1))), strict=True):
        r.save(path)
    assert main(["compare", *map(str, paths)]) == 1
    assert "s f 10 float32 forward" in capsys.readouterr().out
    assert main(["compare", *map(str, paths[::-1])]) == 0
    assert main(["compare", str(paths[0]), str(paths[0])]) == 0
