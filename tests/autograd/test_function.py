"""Functions with a derivative of one's own."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import check_tensors, grid

from nbgrad.autograd.function import Function
from nbgrad.autograd.tape import enable_grad, is_grad_enabled, no_grad
from nbgrad.autograd.tensor import Tensor, tensor


def leaf(*values):
    return tensor(list(values), np.float64, requires_grad=True)


class Product(Function):
    @staticmethod
    def forward(ctx, x, y, factor):
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        ctx.shape = "the user's own"
        return x * y * factor

    @staticmethod
    def backward(ctx, grad_output):
        x, y = ctx.saved_tensors
        assert not is_grad_enabled() and not x.requires_grad and ctx.shape == "the user's own"
        gx = grad_output * y * ctx.factor if ctx.needs_input_grad[0] else None
        return gx, grad_output * x * ctx.factor, None


class Both(Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x, x.exp(), x.argmax()

    @staticmethod
    def backward(ctx, g_square, g_exp, g_index):
        (x,) = ctx.saved_tensors
        assert g_index.tolist() == 0
        return 2 * x * g_square + x.exp() * g_exp


@settings(max_examples=15)
@given(grid((2, 3)), grid((2, 3), 1))
def test_functions_of_ones_own(x, y):
    check_tensors(lambda a, b: Product.apply(a, b, 3.0), x, y)
    check_tensors(lambda b: Product.apply(Tensor(x), b, 3.0), y)
    check_tensors(lambda a: Both.apply(a)[0], x)  # the other outputs are not used
    check_tensors(lambda a: Both.apply(a)[0] * Both.apply(a)[1], x)

    def several(a):
        square, exp, _ = Both.apply(a * 2)
        return square * exp + exp + square.sum()

    check_tensors(several, x)


def test_the_graph_of_a_function():
    x = leaf(1.0, 2.0)
    y = Product.apply(x, x, 2.0)
    assert y.grad_fn.name() == "ProductBackward" and repr(y).endswith("grad_fn=<ProductBackward>)")
    square, exp, index = Both.apply(x)
    assert not index.requires_grad and square.grad_fn is exp.grad_fn and square.grad_fn.name() == "BothBackward"
    assert (exp * 2).grad_fn.next_functions[0] == (exp.grad_fn, 1)
    square.retain_grad()
    g = square.grad_fn.backward(Tensor(np.ones(2)), Tensor(np.zeros(2)), tensor(0))
    assert g[0].tolist() == [2, 4]
    (square * 3).sum().backward()
    assert square.grad.tolist() == [3, 3] and x.grad.tolist() == [6, 12]
    with no_grad():
        assert not Product.apply(x, x, 2.0).requires_grad
        assert not any(t.requires_grad for t in Both.apply(x))
    assert not Product.apply(Tensor(np.ones(2)), Tensor(np.ones(2)), 2.0).requires_grad


def test_a_function_that_returns_its_argument():
    class Identity(Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g

    x = leaf(1.0, 2.0)
    h = x * 2
    y = Identity.apply(h)
    assert y is not h and not np.shares_memory(y.numpy(), h.numpy())
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]


def _with(forward=lambda ctx, x, y: x * y, backward=lambda ctx, g: (g, g)):
    return type("Wrong", (Function,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (_with(backward=lambda ctx, g: g), ValueError, "backward: expected 2 gradients, one per argument"),
        (_with(backward=lambda ctx, g: (g, g, g)), ValueError, "backward: expected 2 gradients"),
        (_with(backward=lambda ctx, g: (g, g.sum())), ValueError,
         r"backward: gradient 1: expected shape \(2,\), as the argument has, got \(\)"),
        (_with(backward=lambda ctx, g: (1.0, g)), TypeError, "backward: gradient 0: expected a Tensor"),
        (_with(forward=lambda ctx, x, y: 3.0), TypeError, "forward: expected it to return tensors, got fl"),
        (_with(forward=lambda ctx, x, y: ()), ValueError, "forward: expected it to return a tensor, got"),
    ],
)  # fmt: skip
def test_functions_that_return_the_wrong_thing_are_named(function, error, message):
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with pytest.raises(error, match="^Wrong." + message):
        function.apply(x, y).sum().backward()
    assert x.grad is None and y.grad is None


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            _with(forward=lambda ctx, x, y: ctx.save_for_backward(3)),
            TypeError,
            "save_for_backward: expected tensors",
        ),
        (type("Wrong", (Function,), {}), NotImplementedError, "static method forward"),
        (_with(backward=lambda ctx, g: (g.zero_(), g)), ValueError, "read-only"),
    ],
)
def test_wrong_functions(function, error, message):
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    with pytest.raises(error, match=message):
        function.apply(x, y).sum().backward()
    assert x.grad is None and y.grad is None


def test_a_function_needs_a_tensor_and_notices_changes():
    with pytest.raises(TypeError, match="Product: expected a tensor"):
        Product.apply(1.0, 2.0, 3.0)
    x, y = leaf(1.0, 2.0), Tensor(np.ones(2))
    z = Product.apply(x, y, 2.0)
    y[0] = 5.0
    with pytest.raises(RuntimeError, match="ProductBackward: .* changed in place"):
        z.sum().backward()


def test_a_function_may_run_a_pass_of_its_own():
    class Outer(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx, g):
            inner = ctx.saved_tensors[0].requires_grad_()
            with enable_grad():
                (inner**3).sum().backward()
            return g * inner.grad

    check_tensors(lambda x: Outer.apply(x) * 2, np.array([1.0, 2.0]))
