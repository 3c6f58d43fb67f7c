"""What the row functions refuse."""

import re

import numpy as np
import pytest

from nbgrad.kernels import (
    log_softmax,
    log_softmax_backward,
    logsumexp,
    logsumexp_backward,
    maxout,
    maxout_backward,
    softmax,
    softmax_backward,
)

FORWARD = [softmax, log_softmax]
BACKWARD = [softmax_backward, log_softmax_backward]


@pytest.mark.parametrize("function", [*FORWARD, logsumexp], ids=lambda f: f.__name__)
def test_bad_arguments(function):
    x = np.zeros((2, 3))
    for wrong in (1j, "x", None, np.float16([1]), np.ma.zeros(3)):
        with pytest.raises(TypeError, match="^x: expected "):
            function(wrong)
    with pytest.raises(ValueError, match="^axis: expected -2..1 for 2 dimensions, got 2"):
        function(x, axis=2)
    with pytest.raises(TypeError, match="^axis: expected an integer, got float"):
        function(x, axis=1.0)
    with pytest.raises(ValueError, match="^axis: expected an array of at least 1 dimension"):
        function(5.0)
    for out, error in (
        (np.zeros(7), ValueError),
        (np.zeros((2, 3), np.float32), TypeError),
        ([1], TypeError),
    ):
        with pytest.raises(error, match="^out: expected "):
            function(x, out=out)


@pytest.mark.parametrize("function", [*BACKWARD, logsumexp_backward], ids=lambda f: f.__name__)
def test_bad_arguments_of_backward(function):
    y = np.zeros((2, 3))
    with pytest.raises(ValueError, match="^grad_output: expected .*shape"):
        function(np.zeros(4), y)
    with pytest.raises(ValueError, match="^grad_output: expected .*shape"):
        function(np.zeros((5, 2, 3)), y)
    with pytest.raises(TypeError, match="^grad_output: expected "):
        function("1", y)
    with pytest.raises(TypeError, match="^[xy]: expected "):
        function(1.0, 1j)
    with pytest.raises(ValueError, match="^axis: expected"):
        function(1.0, y, axis=5)
    with pytest.raises(ValueError, match="^out: expected shape"):
        function(1.0, y, out=np.zeros(3))


def test_bad_arguments_of_maxout():
    x = np.zeros((2, 6))
    for wrong in (2.0, "2", None, True):
        with pytest.raises(TypeError, match="^num_pieces: expected an integer, got "):
            maxout(x, wrong)
        with pytest.raises(TypeError, match="^num_pieces: expected an integer, got "):
            maxout_backward(x, np.zeros((2, 6), int), wrong)
    for wrong in (0, -1):
        with pytest.raises(ValueError, match=f"^num_pieces: expected at least 1, got {wrong}"):
            maxout(x, wrong)
    with pytest.raises(ValueError, match="^num_pieces: expected a divisor of the axis' length 6, got 4"):
        maxout(x, 4)
    for index, error, message in (
        (np.full((2, 6), 3), ValueError, "index: expected 0..2, got 3"),
        (np.full((2, 6), -1), ValueError, "index: expected 0..2, got -1"),
        (np.full((2, 6), 2**64 - 1, np.uint64), ValueError, "index: expected 0..2, got "),
        (np.zeros((2, 6)), TypeError, "index: expected integers, got float64"),
        (np.zeros((2, 3), int), ValueError, "index: expected grad_output's shape (2, 6), got (2, 3)"),
        (np.ma.zeros((2, 6), int), TypeError, "index: expected an array without a mask"),
    ):
        with pytest.raises(error, match="^" + re.escape(message)):
            maxout_backward(x, index, 3)
