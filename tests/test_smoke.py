"""One of each kind, within a minute of a fresh clone: ``pytest -m smoke``. Three operators on both devices, a training, a
fit, a gradient test that refuses a wrong gradient.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import settings

from nbgrad import SoftmaxRegression, functional, kernels
from nbgrad.cli import main
from nbgrad.datasets import load_digits
from nbgrad.testing import GradientError, array, gradient_test

pytestmark = pytest.mark.smoke
X = np.array([[-3.0, -0.5, 0.0], [0.25, 2.0, 30.0]])


def test_three_operators(device):
    x, labels = device.array(X), device.array(np.array([2, 0]))
    slope = np.exp(-np.abs(X)) / (1 + np.exp(-np.abs(X))) ** 2
    np.testing.assert_allclose(device.numpy(kernels.sigmoid(x)), 1 / (1 + np.exp(-X)), rtol=1e-14)
    np.testing.assert_allclose(device.numpy(kernels.sigmoid_backward(device.array(np.ones_like(X)), x)), slope, rtol=1e-14)
    shares = np.exp(X) / np.exp(X).sum(1, keepdims=True)
    np.testing.assert_allclose(device.numpy(kernels.softmax(x)), shares, rtol=1e-14)
    t = device.tensor(x, requires_grad=True)
    loss = functional.cross_entropy(t, labels)
    loss.backward()
    np.testing.assert_allclose(loss.item(), -np.log(shares[[0, 1], [2, 0]]).mean(), rtol=1e-14)
    hits = np.zeros_like(X)
    hits[[0, 1], [2, 0]] = 1
    np.testing.assert_allclose(t.grad.cpu().numpy(), (shares - hits) / 2, rtol=1e-12, atol=1e-15)


@pytest.mark.skipif(os.environ.get("NUMBA_ENABLE_CUDASIM") == "1", reason="this is the simulator")
def test_three_operators_in_the_simulator():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "cudasim", __file__]
    done = subprocess.run(command, env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True)
    assert done.returncode == 0 and "1 passed" in done.stdout, done.stdout


def test_a_training(tmp_path, capsys):
    assert main(["train", "--model", "softmax", "--epochs", "2", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "run").is_dir() and "accuracy" in capsys.readouterr().out


def test_a_fit():
    digits = load_digits()
    model = SoftmaxRegression(x_scale=1 / 16).fit(digits.train_images.reshape(-1, 64), digits.train_labels)
    assert model.score(digits.test_images.reshape(-1, 64), digits.test_labels) > 0.95


def test_a_gradient_test():
    numbers, few = array(3, domain=(-5, 5)), settings(max_examples=5, deadline=None, derandomize=True)
    gradient_test(kernels.silu, kernels.silu_backward, numbers, settings=few)()
    with pytest.raises(GradientError):
        gradient_test(kernels.silu, lambda g, x: g * kernels.sigmoid(x), numbers, settings=few)()
