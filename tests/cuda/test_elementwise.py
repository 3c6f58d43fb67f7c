"""The elementwise kernels on CUDA arrays, where they are CUDA's own: lines of 16 bytes, arrays of the CPU beside them. (What they compute:
``test_ops.py``, ``kernels/test_activations.py``.)
"""

import numpy as np
import pytest
from devices import put

from nbgrad import kernels


def test_lines_begin_on_multiples_of_16_bytes(dtype):
    """(The simulator would not notice.)"""
    from nbgrad.cuda import device as cuda_target
    from nbgrad.cuda import elementwise as cuda_elementwise
    from nbgrad.cuda import rows as cuda_rows

    base = cuda_target.unwrap(put(np.zeros(64, dtype)), "x")
    size, item = 16 // base.dtype.itemsize, base.dtype.itemsize
    for start in range(2 * size):
        for count in (1, size, 30):
            x = base[start : start + count]
            lead = cuda_elementwise.lead_of(x, x)
            assert lead == count or (cuda_target.address(x) + lead * item) % 16 == 0
            assert lead < size or lead == count
            other = base[start + 1 : start + 1 + count]
            assert cuda_elementwise.lead_of(x, other) == count
        for length in range(1, 9):
            aligned = (cuda_target.address(base[start:])) % 16 == 0 and length % size == 0
            assert cuda_rows.lines_of(length, base[start:]) == (length // size if aligned else 0)


def test_mixed_arguments_are_refused_by_name():
    x, d = np.ones(3), put(np.ones(3))
    kind = "got a numpy.ndarray"
    with pytest.raises(TypeError, match=f"grad_output: expected a CUDA array as x is, {kind}"):
        kernels.sigmoid_backward(x, d)
    with pytest.raises(TypeError, match=f"x: expected a CUDA array as grad_output is, {kind}"):
        kernels.sigmoid_backward(d, x)
    with pytest.raises(TypeError, match=f"out: expected a CUDA array as x is, {kind}"):
        kernels.sigmoid(d, out=x)
    with pytest.raises(TypeError, match=f"x: expected a CUDA array as out is, {kind}"):
        kernels.sigmoid(x, out=d)
    with pytest.raises(TypeError, match="x: expected a CUDA array as grad_output is, got a list"):
        kernels.sigmoid_backward(d, [1.0])
    with pytest.raises(TypeError, match="y: expected a CUDA array as grad_output is"):
        kernels.softmax_backward(d, x)
