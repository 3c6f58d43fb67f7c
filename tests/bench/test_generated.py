"""README.md and bench/results/full.md say what the committed results say: they are written anew and compared."""

import re
from pathlib import Path

import pytest

from bench.tools import pictures
from bench.tools.readme import ACCURACY, BEGIN, END, PAGE, SPEED, page, replaced, results, short

ROOT = Path(__file__).parent.parent.parent
README = ROOT / "README.md"


def test_the_readme_is_what_the_results_say():
    text = README.read_text(encoding="utf-8")
    assert replaced(text, short(results())) == text, "python -m bench readme writes it anew"
    assert PAGE.read_text(encoding="utf-8") == page(results()), "python -m bench readme writes it anew"


def test_its_tables_are_short_and_show_losses():
    tables = [part.splitlines() for part in short(results()).split("\n\n") if part.startswith("|")]
    assert [len(rows) - 2 for rows in tables] == [len(SPEED), len(ACCURACY)] and max(len(SPEED), len(ACCURACY)) <= 15
    assert sum(re.search(r"\| +0\.\d\d", row) is not None for row in tables[0]) >= 3


def test_pictures_are_there():
    links = re.findall(r"\]\((pictures/\w+\.png)\)", PAGE.read_text(encoding="utf-8"))
    assert {Path(p).stem for p in links} == set(pictures.available(results()))
    assert all((PAGE.parent / p).is_file() for p in links)
    (one,) = re.findall(r"\]\(([\w/]+\.png)\)", README.read_text(encoding="utf-8"))
    assert (ROOT / one).is_file()


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_markers_are_needed(text):
    with pytest.raises(ValueError, match="README: expected"):
        replaced(text, "new")


def test_only_what_is_between_the_markers_changes():
    assert replaced(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\n\nnew\n\n{END} b"
