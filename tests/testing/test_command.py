"""`nbgrad check`: verdicts, exit codes, and one line for whatever cannot be checked."""

import contextlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nbgrad.cli import main

SOURCE = """
import math
import numpy as np
import helper

def swish(x):
    return x / (1 + np.exp(-x))

def swish_backward(grad_output, x):
    y = 1 / (1 + np.exp(-x))
    return grad_output * (y + x * y * (1 / (1 + np.exp(x))))

def bad(x):
    return x * x

def bad_backward(g, x):
    return g * x

def number(x, k=2):
    if x > 0:
        return x * k
    return x * 3

def number_backward(g, x):
    return g * (2.0 if x > 0 else 3.0)

def affine(x, w, b):
    return x @ w + b

def affine_backward(g, x, w, b):
    return g @ w.T, x.T @ g, g.sum(0)

def total(x):
    return x @ x

def total_backward(g, x):
    return 2 * g * x

def columns(x):
    return x[:, 0] * 2

def columns_backward(g, x):
    grad = np.zeros_like(x)
    grad[:, 0] = 2 * g
    return grad

def trace(a):
    return np.trace(a @ np.eye(len(a)) + a.T)

def trace_backward(g, a):
    return 2 * g * np.eye(*a.shape, dtype=a.dtype)

def saturated(x):
    return np.where(np.isnan(x), x, np.nan)

def saturated_backward(g, x):
    return g * x

class Layer:
    @staticmethod
    def forward(x):
        return np.sin(x)

    @staticmethod
    def gradient(g, x):
        return g * np.cos(x)

constant = 3

def whole(x):
    return np.round(x).astype(int)

whole_backward = bad_backward
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "kernels_of_mine").mkdir()
    (tmp_path / "kernels_of_mine" / "file_of_mine.py").write_text(SOURCE)
    (tmp_path / "kernels_of_mine" / "helper.py").write_text("")
    (tmp_path / "broken_of_mine.py").write_text("import math\nx = undefined\n")
    (tmp_path / "syntax_of_mine.py").write_text("def f(x:\n")
    (tmp_path / "leaving_of_mine.py").write_text("raise SystemExit(3)\n")
    (tmp_path / "needing_of_mine.py").write_text("import nothing_of_that_name\n")
    (tmp_path / "json.py").write_text("import numpy as np\nf = np.sin\nf_backward = lambda g, x: g * np.cos(x)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - set(before):
        if "of_mine" in name or name == "helper":
            del sys.modules[name]


FILE = "kernels_of_mine/file_of_mine.py:"

RIGHT = {
    f"{FILE}swish --domain -300 300": "arrays of small shapes, float64 from -300 to 300",
    f"{FILE}swish --dtype float32 --domain -8e1 80 --shape 3": r"\(3,\), float32 from -80 to 80",
    f"{FILE}swish {FILE}swish_backward --domain 0 5": "from 0 to 5",
    f"{FILE}swish swish_backward --domain 0 5": "from 0 to 5",
    f"{FILE}number": "numbers, float64 from -inf to inf",
    f"{FILE}number --shape number --domain -inf 3": "number, float64 from -inf to 3",
    f"{FILE}affine --shape 3,2 --shape 2,4 --shape 4 --domain -3 3": r"\(3, 2\), \(2, 4\), \(4,\)",
    f"{FILE}total --domain -5 5": "arrays of one axis",
    f"{FILE}columns --domain -5 5": "arrays of two axes",
    f"{FILE}trace --domain -5 5": "square matrices",
    f"{FILE}Layer.forward {FILE}Layer.gradient --domain -5 5": "gradient is the gradient of forward",
    "json.py:f --domain -5 5": "is the gradient of",
}  # fmt: skip


@pytest.mark.parametrize("line", RIGHT)
def test_right(line, folder, capsys):
    assert main(["check", *line.split(), "--examples", "10", "--strict"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("right: ") and re.search(RIGHT[line], told.out) and not told.err
    assert all(len(row) <= 80 for row in told.out.splitlines()) and os.listdir(folder).count(".hypothesis") == 0


def test_wrong_with_code_that_repeats_it(folder, capsys):
    assert main(["check", f"{FILE}bad"]) == 1
    told = capsys.readouterr()
    assert told.out.startswith("wrong: the gradient of args[0] at") and not told.err
    code = "\n".join(line[4:] for line in told.out.partition("Reproduce it:\n")[2].splitlines() if line.startswith("    "))
    (folder / "json.py").unlink()  # which python -c would take for the standard library's
    path = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert "GradientError: wrong: the gradient of args[0] at" in done.stderr, done.stderr


def test_an_importable_module_of_the_current_folder(folder, capsys):
    (folder / "kernels_of_mine" / "plain_of_mine.py").write_text(SOURCE.replace("import helper", ""))
    assert main(["check", "kernels_of_mine.plain_of_mine:bad"]) == 1
    assert "from kernels_of_mine.plain_of_mine import bad\n" in capsys.readouterr().out


def test_nothing_confirmed_is_not_right(folder, capsys):
    assert main(["check", f"{FILE}saturated", "--examples", "5"]) == 1
    assert "right" not in capsys.readouterr().out


ERRORS = {
    f"{FILE}swich": "kernels_of_mine/file_of_mine.py has no 'swich'; it has 'swish'",
    f"{FILE}nowhere": "kernels_of_mine/file_of_mine.py has no 'nowhere'",
    f"{FILE}swish_backward": "has no 'swish_backward_backward'.*; name the gradient's function behind",
    f"{FILE}constant": "constant: expected a function, got int",
    f"{FILE}swish {FILE}constant": "constant: expected a function, got int",
    f"{FILE}whole": "forward does not take .*returns int",
    f"{FILE}swish --domain 3 1": "--domain: expected A < B, got 3.0 1.0",
    f"{FILE}swish --domain nan 1": "--domain: expected A < B",
    f"{FILE}swish --shape 0": "--shape: expected positive lengths",
    f"{FILE}swish --shape a": "--shape: expected positive lengths",
    f"{FILE}swish --shape 2 --shape 3": "--shape: expected it once, or for each of 1 arguments, got it 2 times",
    f"{FILE}affine --shape 2,3": "forward does not take what is drawn for it: ValueError",
    f"{FILE}swish --dtype int32": "--dtype: invalid choice: 'int32'",
    f"{FILE}swish --examples 0": "--examples: expected at least 1, got 0",
    "kernels_of_mine/nothing.py:f": "kernels_of_mine/nothing.py: no such file",
    "kernels_of_mine/:f": "kernels_of_mine/: no such file",
    "nothing_of_mine:f": "there is no module 'nothing_of_mine'",
    "kernels_of_mine.nothing:f": "there is no module 'kernels_of_mine.nothing'",
    "kernels_of_mine/file_of_mine.py": "expected MODULE:FUNCTION",
    ":f": "expected MODULE:FUNCTION",
    "numpy:": "expected MODULE:FUNCTION",
    "broken_of_mine:f": "broken_of_mine: NameError: name 'undefined' is not defined .broken_of_mine.py, line 2.",
    "broken_of_mine.py:f": "broken_of_mine.py: NameError",
    "syntax_of_mine.py:f": "syntax_of_mine.py: .*line 1",
    "leaving_of_mine:f": "leaving_of_mine: it ends Python when it is imported",
    "needing_of_mine:f": "needing_of_mine: it imports 'nothing_of_that_name', which is not there",
    "": "the following arguments are required",
}


@pytest.mark.parametrize("line", ERRORS)
def test_errors_are_one_line(line, folder, capsys):
    assert main(["check", *line.split()]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.count("\n") == 1 and told.err.startswith("nbgrad: error: ")
    assert re.search(ERRORS[line], told.err), told.err


def test_without_hypothesis(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    for name in [n for n in sys.modules if n.startswith("nbgrad.testing.examples.strategies")]:
        monkeypatch.delitem(sys.modules, name)
    with contextlib.suppress(AttributeError):
        monkeypatch.delattr("nbgrad.testing.examples.strategies")
    assert main(["check", f"{FILE}swish"]) == 2
    assert "pip install nbgrad[testing]" in capsys.readouterr().err
