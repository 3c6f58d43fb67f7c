import subprocess
import sys

import numpy as np
import pytest

from nbgrad.training import plots


def entry(epoch, accuracy=0.5):
    return {
        "epoch": epoch,
        "batch_loss": 1 / epoch,
        "batch_accuracy": accuracy,
        "test_loss": 2 / epoch,
        "test_accuracy": accuracy / 2,
    }


def size_of(png):
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def test_curves_show_the_history():
    figure = plots.curves([entry(n) for n in (1, 2, 3)], "a title")
    loss, accuracy = figure.axes
    assert [line.get_label() for line in loss.lines] == ["training batches", "test set"]
    np.testing.assert_allclose(loss.lines[0].get_xydata(), [(1, 1), (2, 1 / 2), (3, 1 / 3)])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), [2, 1, 2 / 3])
    np.testing.assert_allclose(accuracy.lines[0].get_ydata(), 50)
    np.testing.assert_allclose(accuracy.lines[1].get_ydata(), 25)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy (%)"]
    assert figure.get_suptitle() == "a title"


@pytest.mark.parametrize("epochs", [1, 400])
def test_curves_of_few_and_many_epochs_are_drawn(epochs):
    width, height = size_of(plots.to_bytes(plots.curves([entry(n + 1) for n in range(epochs)])))
    assert 600 < width < 1200 and 300 < height < 800


def cells(axes, height, width):
    """The (title, image) pairs of a mosaic: each image is the one below its title."""
    (drawn,) = axes.images
    whole = drawn.get_array().filled(np.nan)
    found, covered = [], np.zeros(whole.shape, bool)
    for text in axes.texts:
        x, y = text.get_position()
        top, left = round(y + 0.7), round(x - (width - 1) / 2)
        at = slice(top, top + height), slice(left, left + width)
        assert not covered[at].any()
        covered[at] = True
        found.append((text.get_text(), whole[at]))
    assert np.isnan(whole[~covered]).all()
    return found


def test_weights_are_drawn_symmetric_about_zero():
    images = np.linspace(-3, 1, 10 * 4 * 5).reshape(10, 4, 5)
    axes = plots.weights(images).axes[0]
    low, high = axes.images[0].get_clim()
    assert low == -high and 0 < np.mean(np.abs(images) > high) <= 0.01
    for label, (title, image) in enumerate(cells(axes, 4, 5)):
        assert title == str(label)
        np.testing.assert_array_equal(image, images[label])
    assert label == 9


def test_weights_that_are_all_zero_and_an_odd_number_of_classes():
    plots.to_bytes(plots.weights(np.zeros((7, 3, 3), np.float32)))


def test_confusion_has_a_readable_number_for_each_count():
    counts = np.diag([90, 0, 1000]) + [[0, 3, 0], [0, 0, 0], [0, 0, 0]]
    axes = plots.confusion(counts).axes[0]
    shown = {(text.get_position()[1], text.get_position()[0]): text for text in axes.texts}
    assert {at: int(text.get_text()) for at, text in shown.items()} == {(0, 0): 90, (0, 1): 3, (2, 2): 1000}
    shade = axes.images[0].get_array()
    norm, cmap = axes.images[0].norm, axes.images[0].cmap
    for at, text in shown.items():  # contrast of the number with its cell
        background = np.mean(cmap(norm(shade[at]))[:3])
        assert abs(background - (1.0 if text.get_color() == "white" else 0.0)) > 0.4
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")


def test_misclassified_shows_the_surest_mistakes_first():
    images = np.arange(4)[:, None, None] * np.ones((4, 2, 2))
    labels, predicted = np.array([1, 2, 3, 4]), np.array([1, 7, 8, 9])
    figure = plots.misclassified(images, labels, predicted, np.array([0.9, 0.5, 0.99, 0.7]))
    shown = [(title, image[0, 0]) for title, image in cells(figure.axes[0], 2, 2)]
    assert shown == [("3 as 8\n99 %", 2), ("4 as 9\n70 %", 3), ("2 as 7\n50 %", 1)]


@pytest.mark.parametrize("wrong", [0, 1, 39, 40, 41, 500])
def test_misclassified_draws_any_number_of_mistakes(wrong):
    labels = np.zeros(500, int)
    predicted = (np.arange(500) < wrong).astype(int)
    figure = plots.misclassified(np.ones((500, 2, 2)), labels, predicted, np.linspace(0, 1, 500))
    assert sum(len(axes.texts) for axes in figure.axes) == min(wrong, plots.MOST_MISTAKES)
    assert size_of(plots.to_bytes(figure))[1] < 1100


def test_activations_break_the_derivative_where_it_jumps():
    figure = plots.activations()
    panels = {axes.get_title().partition("(")[0]: axes for axes in figure.axes if axes.lines}
    from nbgrad.formulas.table import OPS

    assert panels.keys() == OPS.keys()
    for name, op in OPS.items():
        x, slope = next(line for line in panels[name].lines if line.get_label() == "derivative").get_data()
        # Without the gaps no two neighbours differ by much: a vertical line would.
        assert np.nanmax(np.abs(np.diff(slope)), initial=0) < 0.05
        for kink in (k for k in op.kinks_at() if abs(k) < 4):  # what the picture shows
            before, gap, after = (np.flatnonzero(np.isnan(x) & (np.roll(x, 1) < kink + 1e-9))[-1] + d for d in (-1, 0, 1))
            assert np.isnan(slope[gap]) and x[before] < kink < x[after]
            assert x[after] - x[before] < 1e-12
    assert plots.to_bytes(figure, "svg").lstrip().startswith(b"<?xml")


def test_nothing_needs_pyplot_or_a_display():
    code = "import sys, numpy as np, nbgrad.training.plots as p; p.to_bytes(p.confusion(np.eye(2))); "
    code += "assert 'matplotlib.pyplot' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"MPLBACKEND": "TkAgg", "HOME": "/tmp"})


def test_matplotlib_is_not_imported_before_a_picture_is_drawn():
    code = "import sys, nbgrad.training.plots, nbgrad.cli; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
