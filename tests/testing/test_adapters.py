"""`check_autograd`: nbgrad's Tensors here; PyTorch and JAX where they are installed."""

import numpy as np
import pytest

from nbgrad import functional, tensor
from nbgrad.autograd.tensor import Tensor
from nbgrad.testing import GradientError, check_autograd


def test_nbgrad():
    x = Tensor(np.array([[0.5, 22.18], [-3.0, 1.0]], np.float32))
    assert check_autograd(functional.sigmoid, x).confirmed == 4
    assert check_autograd(lambda x, w: x @ w, x, np.eye(2, dtype=np.float32), wrt=0, framework="nbgrad").elements == 4

    def broken(x):
        return functional.sigmoid(x) * Tensor(functional.sigmoid(x).numpy())  # the second factor is cut off

    with pytest.raises(GradientError, match="check_autograd.*framework='nbgrad'"):
        check_autograd(broken, x)


def test_unused_arguments_have_gradient_0():
    x, y = tensor([1.0, 2.0]), tensor([3.0])
    report = check_autograd(lambda x, y: x * x, x, y)
    assert report.confirmed + report.undecided == 3


def test_torch_loses_the_tails():
    torch = pytest.importorskip("torch")
    for function, at in ((torch.sigmoid, 22.18), (torch.tanh, -14.56)):
        with pytest.raises(GradientError, match="wrong"):
            check_autograd(function, torch.tensor([at]))
    assert check_autograd(torch.nn.functional.softplus, torch.tensor([-3.0, 0.5, 4.0])).confirmed == 3


def test_jax():
    jax = pytest.importorskip("jax")
    assert check_autograd(jax.numpy.sin, jax.numpy.ones(3)).confirmed == 3
    broken = jax.custom_jvp(lambda x: x * x)
    broken.defjvp(lambda primals, tangents: (primals[0] ** 2, tangents[0] * primals[0]))
    with pytest.raises(GradientError, match="wrong"):
        check_autograd(broken, np.ones(3), framework="jax")


def test_a_framework_is_needed():
    with pytest.raises(TypeError, match="framework="):
        check_autograd(np.sin, np.ones(3))
    with pytest.raises(ValueError, match="framework: expected one of"):
        check_autograd(np.sin, np.ones(3), framework="theano")
