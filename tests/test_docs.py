"""The how-to pages' code runs: each page's blocks in order, in a process of their own, warnings as errors."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path.read_text("utf-8") for path in sorted((ROOT / "docs" / "how-to").glob("*.md")) if path.stem != "index"}
FOREIGN = ("iminuit", "jax", "lightgbm", "torch", "xgboost")
#: The pages' own checks draw few examples here; which random ones is not the pages' point.
FIRST = "import hypothesis\nhypothesis.settings.register_profile('few', max_examples=10, derandomize=True)\nhypothesis.settings.load_profile('few')\n"


def blocks(page):
    return re.findall(r"^```python\n(.*?)^```", PAGES[page], re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES)
def test_code_runs(page, tmp_path):
    code = "\n".join(blocks(page))
    for name in FOREIGN:
        if re.search(rf"^(import|from) {name}\b", code, re.MULTILINE) and importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: the page's code is read, not run")
    script = tmp_path / f"page_{page.replace('-', '_')}.py"  # a file: formulas are read from their source
    script.write_text(FIRST + code)
    environment = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"}
    done = subprocess.run(
        [sys.executable, "-W", "error", script], cwd=tmp_path, capture_output=True, text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES)
def test_code_is_python(page):
    """Of pages that are not run here, too."""
    for block in blocks(page):
        compile(block, page, "exec")


def test_a_page_that_is_wrong_is_seen(tmp_path, monkeypatch):
    for wrong in ("assert 1 + 1 == 3", "import warnings\nwarnings.warn('now')"):
        monkeypatch.setitem(PAGES, "wrong", f"```python\n{wrong}\n```\n")
        with pytest.raises(AssertionError):
            test_code_runs("wrong", tmp_path)
