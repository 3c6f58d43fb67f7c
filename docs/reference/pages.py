"""The reference's pages: of each public name its docstring, of each activation a picture and its worst error, too."""

from __future__ import annotations

import inspect
import itertools
import json
import re
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

import nbgrad
from nbgrad import datasets, elementary, functional, kernels, nn, optim, regression, testing
from nbgrad.derived import differentiable as derived
from nbgrad.formulas.table import OPS, PUBLIC_LOSSES, ROW_FUNCTIONS

RESULTS = Path(__file__).parents[2] / "bench" / "results" / "exhaustive.json"
BLUE, ORANGE = "#0072B2", "#D55E00"  # Okabe and Ito's, told apart by everybody


def write(folder: Path) -> None:
    """All pages, anew."""
    folder.mkdir(exist_ok=True)
    models = [n for n in regression.__all__ if n[0].isupper()]
    methods = [n for n in regression.__all__ if n not in models]
    names = {*PUBLIC_LOSSES, "cross_entropy", "nll_loss"}
    losses = [n for n in kernels.__all__ if n.removesuffix("_value_and_grad") in names]
    pages = {
        "nbgrad": titled("nbgrad", text(nbgrad)),
        "rows": page("Rows: softmax and its kin", kernels, [*both(ROW_FUNCTIONS), *both(["logsumexp", "maxout"])]),
        "losses": page("Losses", kernels, losses),
        "elementary": page("nbgrad.elementary", elementary, elementary.__all__, text(elementary)),
        "tensors": page("Tensors and automatic differentiation", nbgrad, tensors()),
        "functional": page("nbgrad.functional", functional, functional.__all__, text(functional)),
        "nn": page("nbgrad.nn", nn, [n for n in nn.__all__ if n != "utils"], text(nn))
        + members(nn.utils, nn.utils.__all__),
        "optim": page("nbgrad.optim", optim, optim.__all__, text(optim)),
        "regression": page("Regression: objectives", regression, ["Problem", *methods], text(regression)),
        "estimators": page("Regression: estimators", regression, [n for n in models if n != "Problem"]),
        "differentiable": page("nbgrad.differentiable", nbgrad, ["differentiable"]) + member(derived, "Differentiable"),
        "testing": page("nbgrad.testing", testing, [n for n in testing.__all__ if n != "strategies"], text(testing)),
        "datasets": page("nbgrad.datasets", datasets, datasets.__all__, text(datasets)),
        "threads": page("nbgrad.jit", nbgrad.jit, ["serial_loops", "is_serial"]),
        "command": command(),
    }
    errors = worst_errors()
    for name in OPS:
        draw(name).savefig(folder / f"{name}.png", dpi=110)
        pages[name] = activation(name, errors)
    pages["activations"] = titled(
        "Activations", text(kernels.activations), ".. toctree::\n   :maxdepth: 1\n\n" + indented("\n".join(OPS), 3)
    )
    for name, content in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text("utf-8") != content:  # an old page is not read again
            path.write_text(content, "utf-8")


def titled(title: str, *parts: str) -> str:
    return "\n\n".join([f"{title}\n{'=' * len(title)}", *(p for p in parts if p)]) + "\n"


def indented(text: str, by: int) -> str:
    return textwrap.indent(text, " " * by)


def text(module: Any) -> str:
    return "\n".join(plain((inspect.getdoc(module) or "").splitlines()))


def plain(lines: list[str]) -> list[str]:
    """Bars, as in |x|, pairs of stars and a plus at the beginning are no markup in our docstrings."""
    found, example = [], False
    for line in lines:
        example = line.lstrip().startswith(">>>") or (example and bool(line.strip()))
        parts = re.split(r"(``.*?``)", re.sub(r"^( *)\+ ", r"\1\\+ ", line))  # a sum that goes on is no list
        escaped = [p if i % 2 else p.replace("|", r"\|").replace("**", r"\*\*") for i, p in enumerate(parts)]
        found.append(line if example else "".join(escaped))
    return found


def without_markup(*given: Any) -> None:
    """`plain` for Sphinx's event ``autodoc-process-docstring``, which wants the list itself changed."""
    given[-1][:] = plain(given[-1])


def both(names: Iterable[str]) -> list[str]:
    return [n + ending for n in names for ending in ("", "_backward")]


def tensors() -> list[str]:
    """What `nbgrad` itself has and no other page shows."""
    return [
        n for n in nbgrad.__all__
        if not inspect.ismodule(getattr(nbgrad, n)) and not n.endswith("Regression") and n != "differentiable"
    ]  # fmt: skip


def page(title: str, module: Any, names: Iterable[str], *parts: str) -> str:
    return titled(title, *parts, members(module, names))


def members(module: Any, names: Iterable[str]) -> str:
    return "\n".join(member(module, n) for n in names)


def member(module: Any, name: str) -> str:
    value, full = getattr(module, name), f"{module.__name__}.{name}"
    if not inspect.isclass(value):
        return f".. autofunction:: {full}\n"
    lines = [f".. autoclass:: {full}\n"]
    for n in dir(value):
        attribute = inspect.getattr_static(value, n)
        if not n.startswith("_") and ours(attribute) and inspect.getdoc(getattr(value, n)):
            kind = "autoproperty" if isinstance(attribute, property) else "automethod"
            lines.append(f"   .. {kind}:: {full}.{n}\n")
    return "\n".join(lines)


def ours(attribute: Any) -> bool:
    """Whether a method is nbgrad's, not inherited from another library."""
    function: Callable[..., Any] | None = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
    return callable(function) and str(getattr(function, "__module__", "")).startswith("nbgrad")


def command() -> str:
    """What `nbgrad --help` and the help of each command say."""
    import argparse

    from nbgrad.cli import _parser

    parser = _parser()
    commands = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices
    helps = [parser.format_help(), *(c.format_help() for c in commands.values())]
    return titled("The command line", *("::\n\n" + indented(h, 3) for h in helps))


def worst_errors() -> dict[tuple[str, str], str]:
    """{(function, "value" or "gradient"): nbgrad's worst error over all float32 inputs, in words}"""
    found = {}
    for r in json.loads(RESULTS.read_text("utf-8"))["records"]:
        if r["suite"] == "accuracy" and r["who"] == "nbgrad" and r["dtype"] == "float32":
            worst, at = r["value"][0], float(r["details"].get("at", "nan"))
            zero = " (of a derivative below ½ an error of 2⁻²³ counts as none)" * ("crosses zero" in r["details"])
            found[r["name"], r["direction"]] = f"{worst:.3g} ulp at x = {at:.5g}{zero}" if worst else "none: exact"
    return found


def activation(name: str, errors: dict[tuple[str, str], str]) -> str:
    op = OPS[name]
    kinks = ", ".join(str(k) if isinstance(k, str) else f"{k:g}" for k in op.kinks)
    rows = {
        "definition": f"``{op.textbook}``",
        "parameters": ", ".join(f"``{k}={v:g}``" for k, v in op.parameters.items()) or "none",
        "derivative": text(op.derivative),
        "kinks": f"x = {kinks}; the derivative there is as the line above says" if kinks else "none: smooth",
        "worst error of the value": errors.get((name, "value"), "not measured"),
        "worst error of the derivative": errors.get((name, "gradient"), "not measured"),
    }
    table = ".. list-table::\n   :widths: 30 70\n\n" + "\n".join(
        f"   * - {k}\n     - " + indented(v, 7).strip() for k, v in rows.items()
    )
    picture = f".. image:: {name}.png\n   :alt: {name} and its derivative; right, the derivative's size in the tails"
    note = "Errors are over all 2³² float32 inputs, from ``bench/results/exhaustive.json``."
    return titled(name, picture, table, note, members(kernels, both([name])))


def draw(name: str) -> Figure:
    """Left the function and its derivative, a gap at each jump; right the derivative's size over the whole range."""
    op = OPS[name]
    figure = Figure((9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, (low, high) in ((left, (-6.0, 6.0)), (right, (-100.0, 100.0))):
        ends = [low, *(k for k in op.kinks_at() if low < k < high), high]
        pieces = [
            np.append(np.linspace(np.nextafter(a, b), np.nextafter(b, a), 600), np.nan)
            for a, b in itertools.pairwise(np.float32(ends))
        ]
        x = np.concatenate(pieces).astype(np.float32)
        slope = getattr(kernels, f"{name}_backward")(np.ones_like(x), x)
        if axes is left:
            axes.plot(x, getattr(kernels, name)(x), color=BLUE, label=name)
            axes.plot(x, slope, "--", color=ORANGE, label="derivative")
            axes.legend()
        else:
            size = np.abs(slope)
            axes.plot(x, np.where(size > 0, size, np.nan), "--", color=ORANGE)
            axes.set(yscale="log", ylabel="|derivative|", title="the tails, float32")
        axes.grid(alpha=0.3)
        axes.set(xlabel="x", xlim=(low, high))
    return figure
