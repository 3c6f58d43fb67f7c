"""Gradients of functions of Tensors, held against central differences in float64.

The tolerance is no constant: it comes from the differences' own error, which two extrapolations of different
order and the rounding of the function show. `grid` draws inputs that keep a distance from 0 and from each
other, so that no difference reaches over a kink.
"""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbgrad.autograd.tensor import Tensor

#: distance that `grid` keeps from 0, and the elements of arrays with different `offset` from each other
GAP = 1 / 32
_STEP = GAP / 4


def grid(shape, offset=0, low=-3, unique=False):
    """float64 arrays of multiples of 1/8 in [low, 3], moved by 1/16 + offset/32; `unique`: no two equal."""
    numbers = st.integers(8 * low, 23).map(lambda i: i / 8 + 1 / 16 + offset * GAP)
    return hnp.arrays(np.float64, shape, elements=numbers, unique=unique)


def check_gradient(function, *arrays, rng=None, elements=8):
    """Assert that the gradients of ``function`` (Tensors to a Tensor) are those of central differences.

    The gradient of the result is drawn. Of each argument at most ``elements`` elements, drawn too, are
    differentiated.
    """
    rng = np.random.default_rng(0) if rng is None else rng
    leaves = [Tensor(array.copy(), requires_grad=True) for array in arrays]
    result = function(*leaves)
    grad_output = rng.normal(size=result.shape)
    assert result.dtype == np.float64
    if not result.requires_grad:
        assert not any(array.size for array in arrays), "nothing was recorded"
        return
    result.backward(Tensor(grad_output))
    size = np.abs(grad_output * result.numpy()).sum() + np.abs(grad_output).sum()

    def value(position, index, step):
        moved = [array.copy() for array in arrays]
        moved[position][index] += step
        return np.sum(grad_output * function(*map(Tensor, moved)).numpy())

    for position, (array, leaf) in enumerate(zip(arrays, leaves, strict=True)):
        assert leaf.grad is not None, f"argument {position} has no gradient"
        assert leaf.grad.shape == array.shape and leaf.grad.dtype == array.dtype
        every = list(np.ndindex(array.shape))
        for number in rng.permutation(len(every))[:elements]:
            index = every[number]
            d = [
                (value(position, index, h) - value(position, index, -h)) / (2 * h)
                for h in (_STEP, _STEP / 2, _STEP / 4)
            ]
            coarse, fine = (4 * d[1] - d[0]) / 3, (4 * d[2] - d[1]) / 3
            reference = (16 * fine - coarse) / 15
            tolerance = abs(fine - coarse) + 64 * np.finfo(float).eps * size / _STEP
            error = abs(leaf.grad.numpy()[index] - reference)
            assert error <= tolerance, (position, index, leaf.grad.numpy()[index], reference, tolerance)
