"""What the elementwise losses refuse."""

import re

import numpy as np
import pytest
from test_losses import first, losses, pair

from nbgrad.kernels import huber_loss


@losses
def test_bad_arguments(name):
    value, fused = pair(name)
    x = np.zeros((2, 3))
    for function in (value, fused):
        for wrong in (1j, "x", None, np.float16(1), np.ma.zeros((2, 3))):
            with pytest.raises(TypeError, match=f"^{first(name)}: expected "):
                function(wrong, 0)
            with pytest.raises(TypeError, match="^target: expected "):
                function(x, wrong)
        for shape in ((4,), (3, 2), (1, 2, 3), (2, 3, 1)):
            with pytest.raises(
                ValueError,
                match=re.escape(f"target: expected a shape that broadcasts to {first(name)}'s (2, 3), got {shape}"),
            ):
                function(x, np.zeros(shape))
        for wrong in ("max", None, 0):
            with pytest.raises(ValueError, match="^reduction: expected one of 'mean', 'sum', 'none', got "):
                function(x, x, reduction=wrong)
    read_only = np.zeros((2, 3))
    read_only.flags.writeable = False
    for reduction in ("mean", "none"):
        for out, error in (
            (np.zeros(6), ValueError),
            (np.zeros((2, 3), np.float32), TypeError),
            ([0], TypeError),
            (read_only, ValueError),
        ):
            with pytest.raises(error, match="^grad_out: expected "):
                fused(x, x, reduction=reduction, grad_out=out)


def test_bad_delta():
    assert huber_loss(1.0, 4.0, delta=np.array(0.5)) == huber_loss(1.0, 4.0, delta=0.5)
    for wrong in (0, -1.0, np.nan, np.float32(0), np.array(0.0)):
        with pytest.raises(ValueError, match="^delta: expected a number > 0, got "):
            huber_loss(1.0, 2.0, delta=wrong)
    for wrong in ("1", None, True, np.ones(2), np.array(True)):
        with pytest.raises(TypeError, match="^delta: expected a real number, got "):
            huber_loss(1.0, 2.0, delta=wrong)
