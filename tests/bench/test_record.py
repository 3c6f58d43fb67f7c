"""Records and their JSON."""

import doctest
import math

import pytest

from bench import record, tables
from bench.record import Record, Result, Spread


def test_docstrings():
    for module in (record, tables):
        assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_json_keeps_everything(tmp_path):
    records = [
        Record(
            "s",
            "a",
            "10",
            "float32",
            "forward",
            "nbgrad",
            Spread(1e-3, 9e-4, 2e-3),
            memory="out",
            rounds=5,
            threads=2,
            fraction=Spread(0.5, 0.4, 0.6),
            limit="copy",
            first=1.5,
            first_from="compiled",
            size=10,
            bytes=80,
            flops=30,
            details={"copy": 1e9},
        ),
        Record("s", "a", "10", "float32", "forward", "PyTorch", Spread(2e-3, 2e-3, 2e-3), ratio=Spread(2.0, 1.9, 2.1)),
        Record("accuracy", "ä", "", "float32", "value", "PyTorch", Spread(math.inf, math.inf, math.inf), unit="ulp"),
    ]
    result = Result({"cpu": "x", "commit": None}, records, {"jax": "not installed"})
    result.save(tmp_path / "r.json")
    again = Result.load(tmp_path / "r.json")
    assert (again.machine, again.records, again.missing) == (result.machine, records, result.missing)
    assert (tmp_path / "r.json").read_text().count("\n") > len(records)  # a line a record


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": 0}', '{"version": 1, "machine": {}, "missing": {}, "records": [{"no": 1}]}'])
def test_what_is_no_result_is_named(tmp_path, text):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"bad\.json: expected a result of version 1, got"):
        Result.load(path)


def test_joined_takes_the_later_record():
    def one(value):
        return Record("s", "a", "10", "float32", "forward", "nbgrad", Spread.of([value]))

    joined = Result.joined([Result({"cpu": "first"}, [one(1.0)]), Result({"cpu": "second"}, [one(2.0)])])
    assert joined.machine == {"cpu": "first"} and [r.value.median for r in joined] == [2.0]


def test_spread_is_the_quartiles():
    assert Spread.of([3.0]) == Spread(3.0, 3.0, 3.0)
    assert Spread.of([5.0, 1.0, 2.0, 3.0, 4.0]) == Spread(3.0, 2.0, 4.0)
