"""README.md says what the committed results say: its section is written anew from them and compared."""

import re
from pathlib import Path

import pytest

from bench.tools import pictures
from bench.tools.readme import BEGIN, DEFECTS, END, found_defects, replaced, results, section

ROOT = Path(__file__).parent.parent.parent


def test_the_readme_is_what_the_results_say():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert replaced(text, section(results())) == text, "python -m bench readme writes it anew"
    assert replaced(text, found_defects(), DEFECTS) == text, "python -m bench readme writes it anew"


def test_its_pictures_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((bench/results/pictures/\w+\.png)\)", text)
    assert {Path(p).stem for p in links} == set(pictures.available(results()))
    assert all((ROOT / p).is_file() for p in links)


@pytest.mark.parametrize("text", ["", BEGIN, END + BEGIN, f"{BEGIN}{END}{BEGIN}{END}"])
def test_markers_are_needed(text):
    with pytest.raises(ValueError, match="README: expected"):
        replaced(text, "new")


def test_only_what_is_between_the_markers_changes():
    assert replaced(f"a {BEGIN} old {END} b", "new") == f"a {BEGIN}\n\nnew\n\n{END} b"
