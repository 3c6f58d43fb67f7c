"""Pictures of a result: ratios to PyTorch, all peers, throughput over size, the roofline, errors over x, training.

Which of them a result has is decided by its records (`available`); each is drawn by one function. Colours are Okabe's
and Ito's, which colour-blind people can tell apart, and every library has a marker of its own besides.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import curve, roofline
from bench.record import OWN, Record, Result

__all__ = ["STYLE", "available", "draw", "run"]

#: colour and marker of each library
STYLE = {
    OWN: ("#0072B2", "o"),
    "PyTorch": ("#D55E00", "s"),
    "compile": ("#E69F00", "D"),
    "JAX": ("#009E73", "^"),
    "NumPy": ("#666666", "v"),
    "numexpr": ("#CC79A7", "P"),
    "Numba": ("#000000", "x"),
    "SciPy": ("#56B4E9", "*"),
    "sklearn": ("#CC79A7", "X"),
    "autograd": ("#56B4E9", "h"),
}
_RC = {
    "font.size": 9, "axes.titlesize": 10, "axes.titlelocation": "left", "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": "#dddddd", "grid.linewidth": 0.6, "legend.frameon": False,
    "figure.constrained_layout.use": True, "savefig.dpi": 130, "svg.fonttype": "none",
}  # fmt: skip


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("result", metavar="RESULT.json")
    parser.add_argument("--out", default="pictures", metavar="FOLDER")


def _elementwise(result: Result) -> list[Record]:
    return [r for r in result if r.suite == "elementwise" and r.dtype == "float32" and r.direction != "both"]


def _compared(result: Result, who: str | None = None) -> list[Record]:
    return [r for r in _elementwise(result) if r.ratio and (who is None or r.who == who)]


def _swept(result: Result) -> list[Record]:
    return [r for r in result if r.suite == "sizes"]


def _curves(result: Result) -> list[Record]:
    return [r for r in result if r.suite == "accuracy" and "curve" in r.details]


def _epochs(result: Result) -> list[Record]:
    return [r for r in result if r.suite == "training" and r.direction == "epoch"]


def available(result: Result) -> dict[str, str]:
    """Name and text of each picture that the result has the records for."""
    found = {
        "ratios": ("PyTorch's time divided by nbgrad's, each activation", bool(_compared(result, "PyTorch"))),
        "peers": ("each library's time divided by nbgrad's", bool(_compared(result))),
        "sizes": ("elements a second over the size of the array", bool(_swept(result))),
        "roofline": (
            "operations a second over operations a byte, with the machine's limits",
            bool(roofline.kernels(result)),
        ),
        "ulps": ("the error in units in the last place over x", bool(_curves(result))),
        "training": ("losses and test accuracies of the same training by each library", bool(_epochs(result))),
    }
    return {name: text for name, (text, there) in found.items() if there}


def _by_name(records: list[Record], **fields: Any) -> dict[str, Record]:
    """Of the records with these fields one a function: into given memory if it was measured both ways."""
    of = [r for r in records if all(getattr(r, name) == value for name, value in fields.items())]
    return {r.name: r for r in sorted(of, key=lambda r: r.memory == "out")}


def _sizes(records: list[Record]) -> list[int]:
    return sorted({r.size for r in records})


def _powers(axis: Any) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high / low < 300 else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axis.set_minor_formatter(NullFormatter())


def _ratios(plt: Any, result: Result) -> Any:
    """Bars of PyTorch's ratios with their quartiles, forward and backward, a bar a size."""
    records = _compared(result, "PyTorch")
    names = list(dict.fromkeys(r.name for r in records))
    sizes = _sizes(records)
    colors = ["#56B4E9", "#0072B2", "#E69F00", "#009E73", "#CC79A7"]
    figure, axes = plt.subplots(1, 2, figsize=(9, 1.2 + 0.33 * len(names)), sharex=True, sharey=True)
    height = 0.8 / len(sizes)
    for axis, direction in zip(axes, ("forward", "backward"), strict=True):
        for k, size in enumerate(sizes):
            of = _by_name(records, size=size, direction=direction)
            ys = [i + (k - (len(sizes) - 1) / 2) * height for i, n in enumerate(names) if n in of]
            medians = [of[n].ratio.median for n in names if n in of]  # type: ignore[union-attr]
            # bars begin at 1: to the right nbgrad is faster, to the left PyTorch
            axis.barh(
                ys, [m - 1 for m in medians], height, left=1, color=colors[k % len(colors)], label=f"{size:,} elements"
            )
            low = [of[n].ratio.low for n in names if n in of]  # type: ignore[union-attr]
            high = [of[n].ratio.high for n in names if n in of]  # type: ignore[union-attr]
            axis.hlines(ys, low, high, color="#333333", linewidth=0.8)
        axis.set_xscale("log")
        axis.axvline(1, color="black", linewidth=1)
        axis.set_title(direction)
        axis.set_xlabel("PyTorch's time / nbgrad's (log scale)\n← PyTorch is faster · nbgrad is faster →")
        axis.grid(axis="y", visible=False)
    _powers(axes[0].xaxis)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(sizes))
    return figure


def _peers(plt: Any, result: Result) -> Any:
    """Every peer's ratio, at the size that most of them have."""
    records = _compared(result)
    counts = {s: sum(r.size == s for r in records) for s in _sizes(records)}
    size = 1 << 16 if 1 << 16 in counts else max(counts, key=lambda s: counts[s])
    records = [r for r in records if r.size == size]
    names, whos = (list(dict.fromkeys(getattr(r, f) for r in records)) for f in ("name", "who"))
    figure, axes = plt.subplots(1, 2, figsize=(9, 1.2 + 0.26 * len(names)), sharex=True, sharey=True)
    for axis, direction in zip(axes, ("forward", "backward"), strict=True):
        for who in whos:
            of = _by_name(records, who=who, direction=direction)
            color, marker = STYLE.get(who, ("#000000", "."))
            ratios = [of[n].ratio.median for n in names if n in of]  # type: ignore[union-attr]
            axis.plot(
                ratios, [i for i, n in enumerate(names) if n in of], marker, color=color, label=who, ms=6, alpha=0.9
            )
        axis.set_xscale("log")
        axis.axvline(1, color="black", linewidth=1)
        axis.set_title(f"{direction}, {size:,} elements, float32")
        axis.set_xlabel("its time / nbgrad's (log scale)\n← it is faster · nbgrad is faster →")
    _powers(axes[0].xaxis)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.4, -0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


def _over_size(plt: Any, result: Result) -> Any:
    records = _swept(result)
    names = list(dict.fromkeys(r.name for r in records))
    figure, axes = plt.subplots(1, len(names), figsize=(9, 4.2), sharey=True, squeeze=False)
    for axis, name in zip(axes[0], names, strict=True):
        of = [r for r in records if r.name == name]
        limit = sorted((r.size, r.details["copy"] / 8) for r in of if r.who == OWN and "copy" in r.details)
        axis.plot(*zip(*dict(limit).items(), strict=True), ":", color="#333333", label="copying (limit)")
        for who in dict.fromkeys(r.who for r in of):
            # one line a library: into given memory where that was measured
            mine = {
                r.size: r.size / r.value.median for r in sorted(of, key=lambda r: r.memory == "out") if r.who == who
            }
            color, marker = STYLE.get(who, ("#000000", "."))
            axis.plot(*zip(*sorted(mine.items()), strict=True), marker=marker, color=color, label=who, ms=5, lw=1.4)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_title(f"{name}, forward, float32")
        axis.set_xlabel("elements of the array")
    axes[0, 0].set_ylabel("elements a second")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 9), columnspacing=1)
    return figure


def _ulps(plt: Any, result: Result) -> Any:
    """Of the table's functions the first six where a peer is far off."""
    import numpy as np

    records = _curves(result)
    keys = list(dict.fromkeys((r.name, r.direction) for r in records))
    far = [k for k in keys if any(max(r.details["curve"]) > 1000 for r in records if (r.name, r.direction) == k)]
    keys = (far or keys)[:6]
    edges = curve.edges()
    middle = (edges[1:] + edges[:-1]) / 2
    rows = -(-len(keys) // 2)
    figure, axes = plt.subplots(rows, 2, figsize=(9, 0.7 + 2.2 * rows), sharex=True, sharey=True, squeeze=False)
    for axis, key in zip(axes.flat, keys, strict=False):
        of = [r for r in records if (r.name, r.direction) == key]
        for k, r in enumerate(sorted(of, key=lambda r: r.who == OWN)):  # nbgrad's on top
            errors = np.maximum(np.array(r.details["curve"]), 0.01)
            # where two lie on each other the lower one is the wider one
            width = 1.8 if r.who == OWN else max(1.2, 3.6 - 1.1 * k)
            axis.plot(middle, errors, color=STYLE.get(r.who, ("#000000", ""))[0], label=r.who, lw=width)
        axis.axhline(2, color="black", lw=0.8, ls=":")
        axis.set_xscale("symlog", linthresh=1, linscale=0.7)
        axis.set_yscale("log")
        axis.set_title(f"{key[0]}, {key[1]}")
        axis.set_xlim(-curve.REACH[1], curve.REACH[1])
        axis.set_xticks([-100, -10, -1, 0, 1, 10, 100], ["−100", "−10", "−1", "0", "1", "10", "100"])
    for axis in axes.flat[max(0, len(keys) - 2) : len(keys)]:  # the lowest of each column
        axis.set_xlabel("x")
        axis.tick_params(labelbottom=True)
    for axis in axes[:, 0]:
        axis.set_ylabel("error, ulp")
    for axis in axes.flat[len(keys) :]:
        axis.set_visible(False)
    handles = {t: h for a in axes.flat for h, t in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside upper right", ncols=len(handles))
    text = "largest error in float32 around x; dotted: 2 ulp; 10⁷: no digit is right; 0.01: exact"
    figure.suptitle(text, fontsize=9, x=0.01, ha="left")
    return figure


def _training(plt: Any, result: Result) -> Any:
    records = _epochs(result)
    names = list(dict.fromkeys(r.name for r in records))
    figure, axes = plt.subplots(len(names), 2, figsize=(9, 0.6 + 2.7 * len(names)), squeeze=False)
    for (left, right), name in zip(axes, names, strict=True):
        of = [r for r in records if r.name == name]
        for k, r in enumerate(of):
            color, marker = STYLE.get(r.who, ("#000000", "."))
            epochs = range(1, len(r.details["loss"]) + 1)
            # the curves lie on each other: the first is drawn wide, the next ones narrower
            left.plot(epochs, r.details["loss"], color=color, marker=marker, ms=7 - 2 * k, lw=5 - 1.8 * k, label=r.who)
            seconds = [r.value.median * e for e in epochs]
            right.plot(seconds, r.details["accuracy"], color=color, marker=marker, ms=4, lw=1.4, label=r.who)
        right.axhline(of[0].details["target"], color="black", lw=0.8, ls=":")
        worst = max(r.details["difference"] for r in of)
        left.set_title(f"{name} on {of[0].shape}: largest difference {100 * worst:.2g} %")
        left.set_xlabel("epoch")
        left.set_ylabel("training loss")
        left.set_yscale("log")
        right.set_xlabel("seconds of training (epochs of median length)")
        right.set_ylabel("test accuracy, %")
        left.xaxis.get_major_locator().set_params(integer=True)
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels))
    return figure


_DRAW: dict[str, Callable[[Any, Result], Any]] = {
    "ratios": _ratios, "peers": _peers, "sizes": _over_size, "roofline": roofline.draw, "ulps": _ulps,
    "training": _training,
}  # fmt: skip


def draw(result: Result, folder: str | Path) -> list[Path]:
    """All pictures that the result has, as PNG files in the folder."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    with plt.rc_context(_RC):
        for name in available(result):
            figure = _DRAW[name](plt, result)
            path = folder / f"{name}.png"
            figure.savefig(path, metadata={"Software": None})
            plt.close(figure)
            paths.append(path)
    return paths


def run(arguments: argparse.Namespace) -> None:
    for path in draw(Result.load(arguments.result), arguments.out):
        print(path)
