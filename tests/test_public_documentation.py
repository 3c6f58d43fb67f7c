"""Every public name says what it takes, what it returns, and shows it in an example (which pytest runs as a doctest)."""

import importlib
import inspect
import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from nbgrad.formulas.table import OPS

MODULES = ["nbgrad", *(f"nbgrad.{m}" for m in (
    "datasets", "elementary", "functional", "kernels", "nn", "nn.utils", "optim", "regression", "testing"))]  # fmt: skip


def public() -> list:
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for member in module.__all__:
            if not inspect.ismodule(value := getattr(module, member)):
                found.append(pytest.param(value, id=f"{name}.{member}"))
    return found


@pytest.mark.parametrize("value", public())
def test_every_public_name_has_sections_and_an_example(value):
    text = inspect.getdoc(value) or ""
    headings = re.findall(r"^([A-Z][A-Za-z ]+)\n(-+)$", text, re.MULTILINE)
    sections = [title for title, line in headings]
    assert [len(line) for _, line in headings] == [len(title) for title in sections]
    if inspect.isclass(value) and issubclass(value, Warning) and not value.__module__.startswith("nbgrad"):
        return  # scikit-learn's, where that is installed
    assert ">>> " in text
    assert inspect.isclass(value) or "Returns" in sections
    if sections:  # an example outside a section of its own would be taken for a part of the one above
        assert text.index("Examples\n--------") < text.index(">>> ")


def test_the_reference_has_every_public_name(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "docs" / "reference"))
    pages = importlib.import_module("pages")
    monkeypatch.setattr(pages, "draw", lambda name: SimpleNamespace(savefig=lambda path, dpi: path.touch()))
    pages.write(tmp_path)
    shown = set(re.findall(r"auto(?:class|function):: ([\w.]+)", "".join(p.read_text("utf-8") for p in tmp_path.glob("*.rst"))))
    elsewhere = {f"nbgrad.regression.{n}" for n in ("LinearRegression", "LogisticRegression", "SoftmaxRegression")}
    for parameter in public():
        name = parameter.id
        assert name in shown or name.replace("nbgrad.", "nbgrad.regression.") in shown & elsewhere, name
    for name in OPS:
        text = (tmp_path / f"{name}.rst").read_text("utf-8")
        assert f"{name}.png" in text and text.count(" ulp at x = ") + text.count("none: exact") == 2
