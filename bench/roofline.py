"""The roofline: what each kernel computes a second over what it computes for a byte, under the machine's limits."""

from __future__ import annotations

import math
from typing import Any

from bench.record import OWN, Record, Result

__all__ = ["draw", "kernels"]


def kernels(result: Result) -> list[Record]:
    """nbgrad's kernels whose operations are known, each at its largest size."""
    best: dict[tuple[str, ...], Record] = {}
    for r in result:
        if r.who == OWN and r.flops and r.bytes and r.dtype == "float32" and r.suite != "sizes":
            key = (r.suite, r.name, r.direction, r.shape if r.suite == "regression" else "")
            if key not in best or (r.size, r.memory == "out") >= (best[key].size, best[key].memory == "out"):
                best[key] = r
    return list(best.values())


_KINDS = (
    ("elementwise", "forward", "activations, forward", "#0072B2", "o"),
    ("elementwise", "backward", "activations, backward", "#D55E00", "s"),
    ("losses", "value", "losses, value", "#009E73", "^"),
    ("losses", "value_and_grad", "losses, value and gradient", "#E69F00", "v"),
    ("regression", "value_and_grad", "regression, value and gradient", "#CC79A7", "D"),
)


def draw(plt: Any, result: Result) -> Any:
    """Every kernel a point with its name."""
    import numpy as np

    records = kernels(result)
    figure, axis = plt.subplots(figsize=(9, 6.5))
    peaks = [r.details["products"] for r in result if r.who == OWN and "products" in r.details]
    copied = [r for r in records if "copy" in r.details]
    copies = [r.details["copy"] for r in copied if r.size == max(c.size for c in copied)]
    reads = [r.details["read"] for r in result if r.who == OWN and "read" in r.details and r.bytes > 1 << 25]
    labels = []
    for suite, direction, title, color, marker in _KINDS:
        of = [r for r in records if r.suite == suite and r.direction == direction]
        points = [(r.flops / r.bytes, r.flops / r.value.median / 1e9) for r in of]
        if points:
            axis.plot(*zip(*points, strict=True), marker, color=color, label=title, ms=6)
            labels += [
                (p, r.name + (f" {r.shape}" if suite == "regression" else ""), color)
                for p, r in zip(points, of, strict=True)
            ]
    axis.set_xscale("log")
    axis.set_yscale("log")
    x = np.geomspace(*axis.get_xlim(), 50)
    top = max(peaks) / 1e9 if peaks else np.inf  # a limit is the best that was reached
    for several, name, style in ((copies, "copying", "-"), (reads, "reading", "--")):
        if several:
            speed = max(several) / 1e9
            axis.plot(
                x,
                np.minimum(speed * x, top),
                style,
                color="black",
                lw=1.2,
                label=f"limit: {name} memory, {speed:.3g} GB/s",
            )
    if peaks:
        axis.axhline(top, color="#777777", lw=1.2, ls="-.", label=f"limit: BLAS's products, {top:.3g} GFLOP/s")
    axis.set_xlabel("operations a byte moved (float32, largest arrays)")
    axis.set_ylabel("10⁹ operations a second")
    axis.set_xlim(right=2 * axis.get_xlim()[1])
    axis.set_ylim(top=3 * max(top if peaks else 0, axis.get_ylim()[1]))  # room for the legend
    axis.legend(loc="upper left", fontsize=8, ncols=2)
    _annotate(figure, axis, labels)
    return figure


def _annotate(figure: Any, axis: Any, labels: list[tuple[tuple[float, float], str, str]]) -> None:
    """Names beside their points, where no other name is."""
    from matplotlib.text import Text

    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    marks = [axis.transData.transform(p) for p, _, _ in labels]
    legend = axis.get_legend()
    taken: list[Any] = [legend.get_window_extent(renderer)] if legend else []
    inside = axis.get_window_extent(renderer)
    turns = [k * math.pi / 8 for k in (0, 8, 4, 12, 2, 10, 14, 6, 1, 9, 15, 7, 3, 11, 13, 5)]
    distances = (7, 14, 22, 31, 41, 52, 64, 77, 91, 106, 122, 140, 160)
    around = [(d * math.cos(t), d * math.sin(t)) for d in distances for t in turns]
    for point, text, color in sorted(labels, key=lambda entry: entry[0]):
        for dx, dy in around:
            note = axis.annotate(
                text, point, (dx, dy), textcoords="offset points", fontsize=6.5, color=color,
                ha="left" if dx > 1 else "right" if dx < -1 else "center", va="center",
                arrowprops={"arrowstyle": "-", "color": color, "lw": 0.4} if math.hypot(dx, dy) > 8 else None,
            )  # fmt: skip
            note.update_positions(renderer)
            box = Text.get_window_extent(note, renderer).padded(1)  # without the line to the point
            free = (
                inside.x0 < box.x0
                and box.x1 < inside.x1
                and not any(box.overlaps(t) for t in taken)
                and not any(box.contains(*m) for m in marks)
            )
            if free or (dx, dy) == around[-1]:
                taken.append(box)
                break
            note.remove()
