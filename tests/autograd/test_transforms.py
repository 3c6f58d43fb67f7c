"""grad and value_and_grad."""

import numpy as np
import pytest

from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.autograd.transforms import grad, value_and_grad


def test_value_and_grad_keep_the_form_of_the_argument():
    def loss(params, x):
        return (params["w"] * x + params["b"][0]).sum() ** 2

    params = {"w": np.array([1.0, 2.0]), "b": [Tensor(np.array(3.0)), np.float32(1)]}
    value, gradient = value_and_grad(loss)(params, np.array([1.0, 1.0]))
    assert value.item() == 81 and not value.requires_grad
    assert gradient["w"].tolist() == [18, 18] and gradient["b"][0].item() == 36
    assert gradient["b"][1].item() == 0 and gradient["b"][1].dtype == np.float32  # not used
    assert params["b"][0].grad is None and not params["b"][0].requires_grad


def test_argnums():
    def f(x, y, scale=1.0):
        return x * y * y * scale

    assert grad(f)(2.0, 3.0).item() == 9 and grad(f, argnums=1)(2.0, 3.0).item() == 12
    assert [g.item() for g in grad(f, (0, -1))(2.0, 3.0, scale=2.0)] == [18, 24]
    assert grad(f).__name__ == "f"


def test_grad_touches_no_other_gradient_and_works_under_no_grad():
    w = tensor([1.0, 2.0], requires_grad=True)
    outer = w * 2
    with no_grad():
        assert grad(lambda x: (x * outer).sum())(w.numpy()).tolist() == [2, 4]
    assert w.grad is None
    outer.sum().backward()  # its graph is still there
    assert w.grad.tolist() == [2, 2]


def test_wrong_uses_of_grad():
    def cube(x):
        return (x * x * x).sum()

    for function in (
        grad(grad(cube)),
        grad(lambda x: grad(lambda y: y * x)(3.0) * 1.0),
        grad(lambda x: grad(cube)(x * 2)),
    ):
        with pytest.raises(RuntimeError, match="no second derivatives"):
            function(2.0)
    seen = []
    with pytest.raises(TypeError):
        grad(seen.append)(2.0)
    assert grad(cube)(seen[0]).item() == 12  # the call that failed is over
    for wrong in (3, "a", None, np.arange(3), tensor(3), True):
        with pytest.raises(TypeError, match="argument 0: expected floats"):
            grad(cube)(wrong)
    with pytest.raises(TypeError, match="f: expected it to return a Tensor, got float"):
        grad(lambda x: 3.0)(2.0)
    with pytest.raises(ValueError, match=r"f: expected it to return one number, got a tensor of shape \(2,\)"):
        grad(lambda x: x)(np.ones(2))
    with pytest.raises(ValueError, match="argnums"):
        grad(cube, 1)(2.0)
