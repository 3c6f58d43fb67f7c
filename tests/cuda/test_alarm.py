"""Labels out of range on CUDA: nothing is read, the row is nan, and the next call raises, or the call itself where it is told to wait."""

import numpy as np
import pytest
from devices import get, put

from nbgrad import kernels


def test_a_label_out_of_range_reads_nothing_and_raises(monkeypatch, dtype):
    """At once where errors are to come in time, else at the next call; the row is nan meanwhile."""
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    x, g = put(np.ones((3, 4), dtype)), put(np.ones((3, 4), dtype))
    for bad in (4, -1, -(2**63), 2**62):
        labels = put(np.array([0, bad, 1]))
        for options in ({}, {"label_smoothing": 0.1}):
            with pytest.raises(ValueError, match=r"target: expected labels in 0..3 or ignore_index=-100, got .* position 1"):
                kernels.cross_entropy_value_and_grad(x, labels, **options)
        with pytest.raises(ValueError, match="target: expected labels in 0..3"):
            kernels.nll_loss_value_and_grad(x, labels)
    index = put(np.array([[0, 1, 2, 0]]))
    with pytest.raises(ValueError, match=r"index: expected 0..1, got .* position 2"):
        kernels.maxout_backward(g[:1], index, 2)
    kernels.cross_entropy(x, put(np.array([0, 1, 2])))  # and all is well again


def test_without_waiting_the_next_call_raises(monkeypatch):
    from nbgrad.cuda import device as cuda_target

    monkeypatch.setattr(cuda_target, "blocking", lambda: False)
    x, bad, good = put(np.ones((2, 3))), put(np.array([0, 3])), put(np.array([0, 1]))
    value, grad = kernels.cross_entropy_value_and_grad(x, bad)
    assert np.isnan(get(value)) and np.isnan(get(grad)[1]).all() and np.isfinite(get(grad)[0]).all()
    with pytest.raises(ValueError, match="target: expected labels in 0..2 .* in an earlier call"):
        kernels.cross_entropy(x, good)
    assert np.isfinite(get(kernels.cross_entropy(x, good)))
