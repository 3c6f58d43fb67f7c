"""Results do not depend on which thread comes first: the simulator's threads are real ones, made to wait at random."""

import random
import time
from types import SimpleNamespace

import devices
import numpy as np
import pytest
from devices import get, near, put, same

from nbgrad import kernels

if not devices.SIMULATED:
    pytest.skip("the order of threads is the simulator's to choose", allow_module_level=True)


@pytest.fixture
def shuffled(monkeypatch):
    """Threads wait at random before and behind each barrier, and while they make shared memory."""
    from numba.cuda.simulator import kernel, kernelapi

    from nbgrad.cuda.device import simulator

    draw = random.Random(0)

    def pause():
        if draw.random() < 0.2:
            time.sleep(draw.random() * 2e-3)

    wait = kernel.BlockThread.syncthreads

    def syncthreads(thread):
        pause()
        wait(thread)
        pause()

    def empty(shape, dtype=float):
        made = np.full(shape, np.nan if np.dtype(dtype).kind == "f" else -1, dtype)  # what nobody has written shows
        time.sleep(draw.random() * 2e-3)
        return made

    slow = SimpleNamespace(**{**vars(np), "empty": empty})
    monkeypatch.setattr(kernel.BlockThread, "syncthreads", syncthreads)
    monkeypatch.setattr(kernelapi, "np", slow)
    monkeypatch.setattr(simulator, "np", slow)


@pytest.mark.parametrize("shape", [(3, 33), (40, 1), (2, 130)])
def test_losses_of_labels(shuffled, shape, dtype):
    rng = np.random.default_rng(0)
    x, labels = (rng.standard_normal(shape) * 4).astype(dtype), rng.integers(0, shape[1], shape[0])
    for reduction in ("mean", "sum"):
        value, grad = kernels.cross_entropy_value_and_grad(put(x), put(labels), reduction=reduction)
        want, want_grad = kernels.cross_entropy_value_and_grad(x, labels, reduction=reduction)
        near(value, np.asarray(want), 1)
        near(grad, want_grad, 1)
        same(kernels.cross_entropy(put(x), put(labels), reduction=reduction), get(value))


def test_sums_and_rows(shuffled, dtype):
    rng = np.random.default_rng(0)
    x, t = rng.standard_normal((3, 70)).astype(dtype), rng.random((3, 70)).astype(dtype)
    near(kernels.mse_loss(put(x), put(t)), np.asarray(kernels.mse_loss(x, t)))
    near(kernels.softmax(put(x)), kernels.softmax(x))
    near(kernels.logsumexp(put(x)), kernels.logsumexp(x))
    near(kernels.softmax_backward(put(t), put(kernels.softmax(x))), kernels.softmax_backward(t, kernels.softmax(x)), 1)


@pytest.mark.parametrize("room", [26_000, 0])  # rows in shared memory, in registers
def test_regression(shuffled, monkeypatch, room, dtype):
    from nbgrad import regression
    from nbgrad.cuda.regression import one_pass, staged

    monkeypatch.setattr(staged, "ROOM", room)
    monkeypatch.setattr(one_pass, "tile_of", one_pass.tile_of.__wrapped__)
    rng = np.random.default_rng(0)
    X, y, params = rng.standard_normal((21, 5)).astype(dtype), rng.integers(0, 3, 21), rng.standard_normal((3, 6)).astype(dtype)
    for ending, given in (("value_and_grad", (params,)), ("hessp", (params, params[::-1].copy()))):
        function = getattr(regression, f"softmax_{ending}")
        got, want = function(*map(put, given), put(X), put(y)), function(*given, X, y)
        for a, b in zip(got, want, strict=True) if ending == "value_and_grad" else [(got, want)]:
            np.testing.assert_allclose(get(a), b, atol=1e-5 if dtype == np.float32 else 1e-12)
