"""The pictures of a training run and of the activations, as matplotlib Figures.

Nothing here touches `matplotlib.pyplot`: a Figure draws itself into a PNG without a display, a window or
global state. Colours are Okabe and Ito's, which stay apart for colour-blind eyes; line styles differ as well,
for grey printers.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # importing matplotlib costs 0.3 s, more than `import nbgrad` may
    from matplotlib.figure import Figure

BLUE, ORANGE = "#0072B2", "#D55E00"
MOST_MISTAKES = 40  # drawn by `misclassified`: five rows that one can still see


def to_bytes(figure: Figure, format: str = "png") -> bytes:
    """The figure as the content of a file: "png", "svg", "pdf" or what else matplotlib writes.

    >>> to_bytes(confusion(np.eye(3, dtype=int)))[:4]
    b'\\x89PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=format, dpi=120)
    return buffer.getvalue()


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def curves(history: Sequence[Mapping[str, Any]], title: str = "") -> Figure:
    """Loss and accuracy over the epochs.

    `history` has an entry an epoch with `epoch, batch_loss, batch_accuracy, test_loss, test_accuracy`, as in
    `metrics.json`. The training curves are of the batches as they were trained on (with dropout, while the
    weights moved), so at first they lie on the wrong side of the test curves.

    >>> entry = dict(epoch=1, batch_loss=0.5, batch_accuracy=0.8, test_loss=0.4, test_accuracy=0.9)
    >>> [axes.get_ylabel() for axes in curves([entry]).axes]
    ['loss', 'accuracy (%)']
    """
    from matplotlib.ticker import MaxNLocator

    figure = _figure(8, 3.4)
    epochs = [entry["epoch"] for entry in history]
    for axes, what, label, unit in zip(
        figure.subplots(1, 2), ("loss", "accuracy"), ("loss", "accuracy (%)"), (1, 100), strict=True
    ):
        for part, name, colour, line in (
            ("batch", "training batches", BLUE, "--"),
            ("test", "test set", ORANGE, "-"),
        ):
            values = [unit * entry[f"{part}_{what}"] for entry in history]
            marker = "o" if len(history) <= 25 else None
            axes.plot(epochs, values, line, color=colour, marker=marker, markersize=3, label=name)
        axes.set(xlabel="epoch", ylabel=label)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    figure.suptitle(title)
    return figure


def weights(images: np.ndarray, title: str = "") -> Figure:
    """Each class's weights (num_classes, height, width) as an image: red speaks for the class, blue against.

    The colours are symmetric about 0 and the same for all classes; 1 % of the weights lie beyond their end.

    >>> [text.get_text() for text in weights(np.zeros((3, 8, 8))).axes[0].texts]
    ['0', '1', '2']
    """
    # Not the largest: a few pixels at the border that hardly ever have ink would leave the others pale.
    limit = float(np.quantile(np.abs(images), 0.99)) or 1.0
    columns = min(5, len(images))
    figure = _figure(1.5 * columns + 1.2, 1.8 * -(-len(images) // columns) + 0.3)
    axes = figure.subplots()
    drawn = _mosaic(axes, images, [str(label) for label in range(len(images))], columns, cmap="RdBu_r")
    drawn.set_clim(-limit, limit)
    figure.colorbar(drawn, ax=axes, extend="both", label="weight of a pixel scaled to 0…1", shrink=0.9)
    figure.suptitle(title)
    return figure


def _mosaic(axes: Any, images: np.ndarray, titles: Sequence[str], columns: int, **options: Any) -> Any:
    """Images in rows of `columns`, each with its title above, as one image: 40 subplots take 0.8 s."""
    _, height, width = images.shape
    across, down = width + -(-width // 8), height + -(-2 * height // 5)
    rows = -(-len(images) // columns)
    whole = np.full((rows * down, columns * across), np.nan)  # nan is drawn as nothing
    for number, (image, title) in enumerate(zip(images, titles, strict=True)):
        top, left = (number // columns + 1) * down - height, number % columns * across
        whole[top : top + height, left : left + width] = image
        axes.text(left + (width - 1) / 2, top - 0.7, title, ha="center", va="bottom", fontsize=9)
    axes.set_axis_off()
    return axes.imshow(whole, interpolation="nearest", **options)


def confusion(counts: np.ndarray, title: str = "") -> Figure:
    """The confusion matrix: `counts[t, p]` images of the class t were taken for p.

    Colour is the share of the row, raised to a small power: without it the rare mistakes are as white as the
    zeros.

    >>> len(confusion(np.eye(3, dtype=int)).axes[0].texts)  # zeros are left blank
    3
    """
    classes = len(counts)
    figure = _figure(0.55 * classes + 1.2, 0.5 * classes + 1.3)
    axes = figure.subplots()
    shade = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)) ** 0.35
    axes.imshow(shade, cmap="Blues", vmin=0, vmax=1.15)
    for (row, column), count in np.ndenumerate(counts):
        if count:
            axes.text(
                column, row, str(count), ha="center", va="center", fontsize=9, weight="bold" if row == column
                else "normal", color="white" if shade[row, column] > 0.6 else "black",
            )  # fmt: skip
    axes.set(xticks=range(classes), yticks=range(classes), xlabel="predicted class", ylabel="true class")
    axes.set_title(title, fontsize=11)
    return figure


def misclassified(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, probabilities: np.ndarray, title: str = ""
) -> Figure:
    """The wrongly classified among `images` (n, height, width), surest mistakes first, at most MOST_MISTAKES.

    Over each stand its true class, the predicted one and the probability that the model gave to that.
    `labels` are the true classes, `predicted` the model's (n,), `probabilities` what it gave the predicted
    class.

    >>> right = misclassified(np.zeros((2, 8, 8)), np.array([1, 2]), np.array([1, 2]), np.ones(2))
    >>> right.texts[0].get_text()
    'no mistakes'
    """
    wrong = np.flatnonzero(labels != predicted)
    wrong = wrong[np.argsort(-probabilities[wrong], kind="stable")][:MOST_MISTAKES]
    columns = 8 if len(wrong) > 10 else 5
    figure = _figure(1.15 * columns, 1.5 * max(1, -(-len(wrong) // columns)) + 0.4)
    if len(wrong):
        titles = [f"{labels[at]} as {predicted[at]}\n{100 * probabilities[at]:.0f} %" for at in wrong]
        _mosaic(figure.subplots(), images[wrong], titles, columns, cmap="gray", vmin=0, vmax=images.max())
    else:
        figure.text(0.5, 0.4, "no mistakes", ha="center", va="center", fontsize=14)
    figure.suptitle(title)
    return figure


def activations() -> Figure:
    """Each activation of the operators' table with its derivative, where each jumps a gap instead of a line.

    >>> [axes.get_title() for axes in activations().axes][:2]
    ['sigmoid', 'tanh']
    """
    from nbgrad import kernels
    from nbgrad.formulas import table as ops

    columns = min(4, len(ops.OPS))
    rows = -(-len(ops.OPS) // columns)
    figure = _figure(3.2 * columns, 2.7 * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(ops.OPS) :]:
        axes.set_axis_off()
    for axes, (name, op) in zip(grid.flat, ops.OPS.items(), strict=False):
        # Two points at each kink, the last before and the first after it, with a NaN between that breaks the
        # line (it would be drawn as a vertical one, a value that the derivative does not have).
        ends = [-4.0, *(k for k in op.kinks_at() if abs(k) < 4), 4.0]
        pieces = [
            np.append(np.linspace(np.nextafter(a, b), np.nextafter(b, a), 400), np.nan)
            for a, b in itertools.pairwise(ends)
        ]
        x = np.concatenate(pieces)
        y = getattr(kernels, name)(x)
        slope = getattr(kernels, f"{name}_backward")(np.ones_like(x), x)
        axes.axhline(0, color="0.8", linewidth=0.8)
        axes.axvline(0, color="0.8", linewidth=0.8)
        axes.plot(x, y, color=BLUE, label="value")
        axes.plot(x, slope, "--", color=ORANGE, label="derivative")
        parameters = ", ".join(f"{key}={value:g}" for key, value in op.parameters.items())
        axes.set(title=f"{name}({parameters})" if parameters else name, xlabel="x")
        axes.legend(loc="upper left", fontsize=8)
    return figure
