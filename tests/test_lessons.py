"""The lessons' exercises: the solutions are right, and each wrong answer is refused with the words that its page quotes.

All other cells are run when the site is built (`sphinx-build -W -n docs docs/_build`).
"""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "lessons"
PAGES = sorted(FOLDER.glob("[0-9]*.md"))


def cells(page: Path) -> list[tuple[str, str]]:
    """(tags, code) of each cell."""
    found = re.findall(r"^```\{code-cell\} python\n(?::tags: \[([^]]*)\]\n)?\n?(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL)
    return [(tags, code) for tags, code in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_solutions_are_right_and_wrong_answers_are_refused_as_quoted(page, monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "exercises", raising=False)
    quoted = " ".join(page.read_text().split())
    space: dict[str, object] = {"__name__": page.stem}
    seen = []
    for tags, code in cells(page):
        kind = tags.rpartition(", ")[2]
        if kind in ("setup", "wrong", "solution"):
            said = io.StringIO()
            with contextlib.redirect_stdout(said):
                exec(compile(code, str(page), "exec"), space)
            words = said.getvalue().strip()
            seen.append(kind)
            if kind == "solution":
                assert words.startswith("right: ") and "right: 0 " not in words
            if kind == "wrong":
                assert not words.startswith("right") and f'"{words}"' in quoted
    assert seen[0] == "setup" and seen.count("wrong") == seen.count("solution") >= 1


def test_every_exercise_is_set(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.delitem(sys.modules, "exercises", raising=False)
    from exercises import EXERCISES

    asked = re.findall(r'check\("(\w+)"', "\n".join(page.read_text() for page in PAGES))
    assert set(asked) == set(EXERCISES) and len(PAGES) == 8
