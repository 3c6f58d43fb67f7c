"""Tables of text from records."""

from bench.record import Record, Result, Spread
from bench.show import as_markdown
from bench.tables import first_calls, markdown, of_suite


def own(name, direction="forward", memory="out", seconds=1e-3, **more):
    return Record("s", name, "10", "float32", direction, "nbgrad", Spread.of([seconds]), memory=memory, **more)


def peer(name, ratio, who="PyTorch", memory="out", direction="forward"):
    return Record("s", name, "10", "float32", direction, who, Spread.of([1.0]), memory=memory, ratio=Spread(ratio, ratio * 0.9, ratio * 1.1))


def test_losses_are_shown_as_wins_are():
    (table,) = of_suite([own("a", fraction=Spread.of([0.5])), peer("a", 0.5), own("b"), peer("b", 12.3)])
    assert table.header == ["", "nbgrad", "limit", "PyTorch", "±"]
    assert table.rows == [["a 10 forward", "1.00 ms", "50 %", "0.50", "10 %"], ["b 10 forward", "1.00 ms", "", "12.3", "10 %"]]
    assert table.ratios == {3}
    text = markdown(table).splitlines()
    assert len(text) == 4 and len({len(line) for line in text}) == 1


def test_a_peer_with_few_functions_gets_a_line():
    records = [r for name in "abcdef" for r in (own(name), peer(name, 2.0))] + [peer("a", 3.0, who="SciPy")]
    (table,) = of_suite(records)
    assert "SciPy" not in table.header and table.notes == ["SciPy: a forward 3.00"]


def test_out_is_shown_before_allocating():
    records = [own("a", memory="new", seconds=9.0), own("a"), peer("a", 5.0, memory="new"), peer("a", 2.0)]
    (table,) = of_suite(records)
    assert table.rows[0][1:3] == ["1.00 ms", "2.00"]


def test_without_peers_and_limits_directions_are_columns():
    (table,) = of_suite([own("a", "compiled"), own("a", "from disk", seconds=2e-3)])
    assert table.header == ["", "compiled", "from disk"] and table.rows == [["a 10", "1.00 ms", "2.00 ms"]]


def test_errors_have_their_places():
    def error(who, value, at):
        return Record("accuracy", "f", "", "float32", "value", who, Spread.of([value]), unit="ulp", details={"at": at})

    (table,) = of_suite([error("nbgrad", 0.0, "0.0"), error("PyTorch", float("inf"), "nan")])
    assert table.rows == [["f value", "exact", "inf at nan"]]


def test_first_calls():
    table = first_calls([own("a", first=2.0, first_from="compiled"), own("b", first=1.0, first_from="compiled")])
    assert table.rows == [["nbgrad, compiled", "2", "1.50 s", "2.00 s", "3.00 s"]]
    assert first_calls([own("a")]) is None


def test_the_page_says_what_is_missing():
    machine = {
        "cpu": "C",
        "vectors": "",
        "cores": 2,
        "load": 0.1,
        "threads": 2,
        "python": "3",
        "versions": {},
        "clean": False,
        "commit": "abc",
        "date": "d",
        "command": "python -m bench x",
    }
    page = as_markdown(Result(machine, [own("a"), peer("a", 2.0)], {"gpu": "no GPU"}))
    assert "- not measured: gpu: no GPU" in page and "Commit abc with changes" in page and "| a 10 forward |" in page
