"""What cross_entropy and nll_loss refuse: labels, shapes, keywords; nothing is read or written out of bounds."""

import re

import numpy as np
import pytest

from nbgrad.kernels import cross_entropy, cross_entropy_value_and_grad, nll_loss, nll_loss_value_and_grad

FUNCTIONS = [cross_entropy, cross_entropy_value_and_grad, nll_loss, nll_loss_value_and_grad]


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 3, 4)], ids=str)
def test_labels_out_of_range_are_refused(function, shape):
    x = np.zeros(shape)
    others = () if len(shape) == 1 else (shape[0], *shape[2:])
    for bad in (-1, -99, 3, 255, 2**31, 2**62, -(2**63), -101):
        labels = np.zeros(others, np.int64)
        labels[(-1,) * labels.ndim] = bad
        message = f"target: expected labels in 0..2 or ignore_index=-100, got {bad} at position {labels.size - 1}"
        with pytest.raises(ValueError, match="^" + re.escape(message)):
            function(x, labels)
    with pytest.raises(ValueError, match="^target: expected labels below"):
        function(x, np.full(others, 2**64 - 1, np.uint64))
    with pytest.raises(ValueError, match="ignore_index=1, got -100"):
        function(x, np.full(others, -100), ignore_index=1)


def test_no_foreign_memory_is_read_or_written():
    """A label one beyond the row's end would name the next row's first entry: refused before anything is written."""
    x = np.zeros((2, 3))
    grad = np.full((2, 3), 7.0)
    for smoothing in (0.0, 0.5):
        with pytest.raises(ValueError, match="got 3 at position 0"):
            cross_entropy_value_and_grad(x, [3, 0], grad_out=grad, label_smoothing=smoothing)
    assert (grad == 7).all()
    with pytest.raises(ValueError, match="got 3 at position 0"):
        nll_loss_value_and_grad(x, [3, 0], grad_out=grad)
    assert (grad == 7).all()


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_labels_that_are_no_integers(function):
    x = np.zeros((2, 3))
    for wrong in (
        [0.0, 1.0],
        [np.nan, 0],
        np.array([True, False]),
        ["a", "b"],
        None,
        [1j, 0],
        np.zeros(2, "M8[s]"),
        np.float16([0, 1]),
    ):
        with pytest.raises(TypeError, match="^target: expected "):
            function(x, wrong)
    with pytest.raises(TypeError, match="^target: expected an array without a mask"):
        function(x, np.ma.array([0, 1], mask=[False, True]))
    with pytest.raises(TypeError, match="^target: expected an array or a number"):
        function(x, [[0], [1, 2]])


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_shapes_that_do_not_match(function):
    name = "logits" if "cross" in function.__name__ else "log_probs"
    for shape, target in (
        ((2, 3), (3,)),
        ((2, 3), ()),
        ((2, 3), (2, 3)),
        ((2, 3), (2, 1)),
        ((3,), (1,)),
        ((2, 3, 4), (2, 3)),
        ((2, 3, 4), (2, 4, 1)),
    ):
        with pytest.raises(
            ValueError,
            match="^" + re.escape(f"target: expected labels of shape {shape[:1] * (len(shape) > 1) + shape[2:]}"),
        ):
            function(np.zeros(shape), np.zeros(target, int))
    for x in (np.float64(1), 5):
        with pytest.raises(ValueError, match=f"^{name}: expected shape "):
            function(x, 0)
    for x, labels in ((np.zeros((2, 0)), [0, 0]), (np.zeros(0), 0)):
        with pytest.raises(ValueError, match=f"^{name}: expected at least one class, got shape"):
            function(x, labels)
    for wrong in (1j, "x", None, np.ma.zeros((2, 3))):
        with pytest.raises(TypeError, match=f"^{name}: expected "):
            function(wrong, [0, 0])


def test_probabilities_of_another_shape():
    with pytest.raises(
        TypeError,
        match="^target: expected integer class labels of shape .* or float class probabilities of shape",
    ):
        cross_entropy(np.zeros((2, 3)), np.zeros((3, 2)))


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)
def test_bad_keywords(function):
    x, labels = np.zeros((2, 3)), [0, 1]
    for weight in (np.ones(2), np.ones((2, 3)), 1.0, []):
        with pytest.raises(ValueError, match=re.escape("weight: expected shape (3,), one for each class, got ")):
            function(x, labels, weight=weight)
    for weight in ("abc", [1j, 1, 1], np.ma.ones(3)):
        with pytest.raises(TypeError, match="^weight: expected "):
            function(x, labels, weight=weight)
    for wrong in (1.0, "1", None, True):
        with pytest.raises(TypeError, match="^ignore_index: expected an integer, got "):
            function(x, labels, ignore_index=wrong)
    for wrong in (2**63, -(2**63) - 1, 10**30):
        with pytest.raises(ValueError, match="^ignore_index: expected an integer of 64 bits"):
            function(x, labels, ignore_index=wrong)
    with pytest.raises(ValueError, match="^reduction: expected one of"):
        function(x, labels, reduction="max")
    if "cross" in function.__name__:
        for wrong in (-0.1, 1.5, np.nan, np.inf):
            with pytest.raises(ValueError, match="^label_smoothing: expected a number in 0..1, got "):
                function(x, labels, label_smoothing=wrong)
        with pytest.raises(TypeError, match="^label_smoothing: expected a real number"):
            function(x, labels, label_smoothing="0.1")
    if "grad" in function.__name__:
        for out, error in (
            (np.zeros((3, 2)), ValueError),
            (np.zeros((2, 3), np.float32), TypeError),
            ([0], TypeError),
        ):
            with pytest.raises(error, match="^grad_out: expected "):
                function(x, labels, grad_out=out)
