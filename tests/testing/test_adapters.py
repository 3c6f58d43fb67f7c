"""`check_autograd`: nbgrad's Tensors here; PyTorch, JAX and autograd where they are installed."""

import numpy as np
import pytest

from nbgrad import functional, tensor
from nbgrad.autograd.tensor import Tensor
from nbgrad.testing import GradientError, array, check_autograd, gradient_test


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


def test_torch_functions_that_differentiate_inside():
    torch = pytest.importorskip("torch")
    w = torch.tensor([[0.3, -1.2], [0.7, 0.4]], dtype=torch.float64)

    def energy(x):
        return (torch.tanh(x @ w) ** 2).sum()

    def forces(x):
        return -torch.autograd.grad(energy(x), x, create_graph=True)[0]

    x = torch.tensor([[0.5, -0.3], [1.1, 0.2]], dtype=torch.float64)
    assert check_autograd(forces, x).confirmed == 4
    with pytest.raises(GradientError):  # the inner graph is lost
        check_autograd(lambda x: torch.autograd.grad(energy(x), x)[0] * x, x)

    def residual(params, x):
        """u'' + u of a small network at the points x."""
        u = torch.tanh(x * params["w"] + params["b"]) @ params["v"]
        (slope,) = torch.autograd.grad(u.sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return {"residual": bend + u[:, None], "u": u, "n": 3}

    params = {"w": w[:1], "b": w[0], "v": w[1]}
    for wrt in (None, 0, 1, (0, 1)):
        report = check_autograd(residual, params, x[:, :1], wrt=wrt)
        assert report.confirmed == report.elements == {None: 8, 0: 6, 1: 2, (0, 1): 8}[wrt]


@pytest.mark.parametrize("framework", ["torch", "jax", "autograd", "nbgrad"])
def test_tuples_and_dicts(framework):
    # The folder of tests named autograd is importable, too.
    pytest.importorskip("autograd.numpy" if framework == "autograd" else framework)
    args = {"w": np.array([1.0, 2.0]), "more": (np.array(3.0), [np.array([[4.0]])])}, np.array([0.5, -1.0])

    def forward(p, x):
        return {"y": p["w"] * x, "s": (p["more"][0] * x, [p["more"][1][0]])}

    assert check_autograd(forward, *args, framework=framework).confirmed == 6
    assert check_autograd(forward, *args, framework=framework, wrt=0, kinks={0: (7.0,)}).confirmed == 4
    with pytest.raises(GradientError, match=r"args\[0\]\['more'\]\[0\] at \(\)") as caught:
        check_autograd(lambda p, x: (p["w"] * x, 0 * p["more"][0] + float(np.asarray(value(p["more"][0]))) * x), *args, framework="nbgrad")
    assert "{'w': x0, 'more': (x1, [x2])}, x3" in caught.value.reproducer


def value(t):
    return t.detach().numpy() if isinstance(t, Tensor) else t


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_bfloat16(framework):
    library = pytest.importorskip(framework)
    if framework == "torch":
        x, made = library.linspace(-3, 3, 7, dtype=library.bfloat16), "dtype=torch.bfloat16"
        sin, tanh, cut = library.sin, library.tanh, lambda t: t.detach()
    else:
        x, made = library.numpy.linspace(-3, 3, 7, dtype=library.numpy.bfloat16), "jnp.bfloat16"
        sin, tanh, cut = library.numpy.sin, library.numpy.tanh, library.lax.stop_gradient
    for f in (sin, lambda x: tanh(x) * x, lambda x: (x * x).sum(), lambda x: {"a": sin(x), "b": x[:2]}):
        assert check_autograd(f, x).confirmed >= 4
    for f in (lambda x: sin(x) + cut(sin(x)), lambda x: x * cut(x), lambda x: sin(x) + 0.25 * cut(x)):
        with pytest.raises(GradientError, match="wrong") as caught:
            check_autograd(f, x)
    names = {"f": lambda x: sin(x) + 0.25 * cut(x)}
    with pytest.raises(GradientError) as again:
        exec(caught.value.reproducer, names)
    assert str(again.value) == str(caught.value) and made in caught.value.reproducer


def test_only_results_of_floats_count():
    torch = pytest.importorskip("torch")
    assert check_autograd(lambda x: x.max(0), torch.tensor([[1.0, 2.0], [3.0, 1.0]])).elements == 4
    assert check_autograd(lambda x: (x * 2, "text", None, torch.arange(3)), torch.ones(2)).confirmed == 2
    for result in (3.0, (), "text", torch.arange(3), None):
        with pytest.raises(GradientError, match="expected tensors of floats"):
            check_autograd(lambda x, r=result: r, torch.ones(2))
    with pytest.raises(GradientError, match="expected tensors of floats"):
        check_autograd(lambda x: "text", tensor([1.0]))


def test_jax():
    jax = pytest.importorskip("jax")
    assert check_autograd(jax.numpy.sin, jax.numpy.ones(3)).confirmed == 3
    broken = jax.custom_jvp(lambda x: x * x)
    broken.defjvp(lambda primals, tangents: (primals[0] ** 2, tangents[0] * primals[0]))
    with pytest.raises(GradientError, match="wrong"):
        check_autograd(broken, np.ones(3), framework="jax")


def test_jax_functions_are_traced_once_for_each_dtype():
    jax = pytest.importorskip("jax")
    calls = []

    def f(x):
        calls.append(x.dtype)
        return jax.numpy.tanh(x) * x.sum()

    check_autograd(f, jax.numpy.linspace(-1, 1, 5))
    assert len(calls) <= 6

    def looks_at_values(x):
        return jax.numpy.sin(x) if x.sum() > -1e30 else x

    assert check_autograd(looks_at_values, jax.numpy.ones(2)).confirmed == 2
    with pytest.raises(GradientError, match="raised: forward raised ZeroDivisionError"):
        check_autograd(lambda x: x * (1 // 0), jax.numpy.ones(2))


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_framework_is_driven_by_specs(framework):
    library = pytest.importorskip(framework)
    sin = library.sin if framework == "torch" else library.numpy.sin
    test = gradient_test(
        lambda p: sin(p["x"]) * p["k"], {"x": array(3, domain=(-3, 3)), "k": array((), domain=(-3, 3))}, check=check_autograd, framework=framework
    )
    test()
    assert test.report.confirmed > 100


def test_a_target_that_torch_does_not_differentiate_by():
    torch = pytest.importorskip("torch")
    loss = torch.nn.functional.soft_margin_loss
    assert check_autograd(loss, torch.tensor([0.5, -1.0]), torch.tensor([1.0, -1.0]), wrt=0).confirmed == 2
    with pytest.raises(GradientError, match="wrong"):  # it is nan
        check_autograd(loss, torch.tensor([-100.0]), torch.tensor([1.0]), wrt=0)


def test_a_framework_is_needed():
    with pytest.raises(TypeError, match="framework="):
        check_autograd(np.sin, np.ones(3))
    with pytest.raises(ValueError, match="framework: expected one of"):
        check_autograd(np.sin, np.ones(3), framework="theano")
    with pytest.raises(ValueError, match="wrt: expected numbers in 0..0, got 1"):
        check_autograd(lambda p: p["w"], {"w": tensor([1.0]), "b": tensor([1.0])}, wrt=1)
    with pytest.raises(TypeError, match="wrt: expected an argument's number"):
        check_autograd(lambda x: x, tensor([1.0]), wrt="x")
