"""Every operator and method of a Tensor that is differentiated, against finite differences."""

import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import check_tensors, grid

from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
from nbgrad.autograd.tensor import Tensor, tensor

few = settings(max_examples=15)
seeds = st.integers(0, 2**32 - 1).map(np.random.default_rng)


UNARY = {
    "neg": (operator.neg, -3),
    "pos": (operator.pos, -3),
    "abs": (abs, -3),
    "exp": (lambda x: x.exp(), -3),
    "log": (lambda x: x.log(), 0),
    "sqrt": (lambda x: x.sqrt(), 0),
    "square": (lambda x: x**2, -3),
    "power": (lambda x: x**2.5, 0),
    "inverse": (lambda x: x**-1, -3),
    "zeroth power": (lambda x: x**0, -3),
    "power of 2": (lambda x: 2**x, -3),
    "with numbers": (lambda x: 10 - (3 * x + 1) / 2 - x * 0.5 - (x - 1), -3),
    "over": (lambda x: 3 / x, -3),
    "clip": (lambda x: x.clip(-1, 2), -3),
    "clip below": (lambda x: x.clip(min=1), -3),
    "clone": (lambda x: x.clone(), -3),
    "cast": (lambda x: x.to(np.float64) * np.float64(2), -3),
    "used twice": (lambda x: x * x + x, -3),
}


@pytest.mark.parametrize("name", UNARY)
@few
@given(data=st.data(), rng=seeds)
def test_unary_gradient(name, data, rng):
    function, low = UNARY[name]
    x = data.draw(grid(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), low=low))
    check_tensors(function, x, rng=rng)


BINARY = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": lambda x, y: abs(x) ** y,
    "maximum": maximum,
    "minimum": minimum,
}


@pytest.mark.parametrize("name", BINARY)
@few
@given(data=st.data(), rng=seeds)
def test_binary_gradient_with_broadcasting(name, data, rng):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, min_side=0, max_side=3)
    )
    x, y = (data.draw(grid(shape, offset)) for offset, shape in enumerate(shapes.input_shapes))
    check_tensors(BINARY[name], x, y, rng=rng)
    # an operand that is an array, on either side, is a constant
    check_tensors(lambda a: BINARY[name](a, y), x, rng=rng)
    check_tensors(lambda b: BINARY[name](x if name != "pow" else tensor(x), b), y, rng=rng)


@few
@given(data=st.data(), rng=seeds)
def test_where_gradient(data, rng):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(num_shapes=3, min_dims=0, max_dims=3, min_side=0, max_side=3)
    )
    condition = data.draw(hnp.arrays(bool, shapes.input_shapes[0]))
    x, y = (data.draw(grid(shape)) for shape in shapes.input_shapes[1:])
    check_tensors(lambda a, b: where(condition, a, b), x, y, rng=rng)
    check_tensors(lambda a: where(tensor(condition), a, 1.0), x, rng=rng)


@few
@given(data=st.data(), rng=seeds)
def test_matmul_gradient(data, rng):
    shapes = data.draw(
        hnp.mutually_broadcastable_shapes(
            signature=np.matmul.signature, min_side=0, max_side=3, min_dims=0, max_dims=2
        )
    )
    x, y = (data.draw(grid(shape)) for shape in shapes.input_shapes)
    check_tensors(operator.matmul, x, y, rng=rng)
    check_tensors(lambda b: x @ b, y, rng=rng)


@pytest.mark.parametrize(
    "shapes", [((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4, 2)), ((4,), (2, 4, 3))]
)
def test_matmul_gradient_with_vectors_and_matrices(shapes):
    rng = np.random.default_rng(1)
    check_tensors(operator.matmul, *(rng.normal(size=shape) for shape in shapes), rng=rng)


arrays3 = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@few
@given(data=st.data(), rng=seeds)
def test_reduction_gradient(name, data, rng):
    x = data.draw(grid(arrays3, unique=True))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    keep = data.draw(st.booleans())

    def reduced(t, *args, **kwargs):
        out = getattr(t, name)(*args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    assert reduced(Tensor(x), axis, keep).shape == getattr(np, name)(x, axis=axis, keepdims=keep).shape
    np.testing.assert_allclose(
        reduced(Tensor(x), axis, keep).numpy(), getattr(np, name)(x, axis=axis, keepdims=keep)
    )
    check_tensors(lambda t: reduced(t, axis, keep), x, rng=rng)
    check_tensors(lambda t: reduced(t, dim=axis, keepdim=keep), x, rng=rng)
    if name in ("sum", "mean"):
        axes = tuple(range(0, x.ndim, 2))
        check_tensors(lambda t: reduced(t, axis=axes), x, rng=rng)


@few
@given(data=st.data(), rng=seeds)
def test_shape_gradients(data, rng):
    x = data.draw(grid(arrays3))
    order = data.draw(st.permutations(range(x.ndim)))
    check_tensors(lambda t: t.permute(*order), x, rng=rng)
    assert Tensor(x).permute(dims=order).shape == x.transpose(order).shape
    check_tensors(lambda t: t.transpose(0, -1) * 1, x, rng=rng)
    check_tensors(lambda t: t.T, x, rng=rng)
    check_tensors(lambda t: t.reshape(-1), x, rng=rng)
    check_tensors(lambda t: t.reshape((1, *x.shape)) * 2, x, rng=rng)
    check_tensors(lambda t: t.flatten(), x, rng=rng)


def _keys(shape):
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
    return hnp.basic_indices(shape, allow_newaxis=True) | integers | hnp.arrays(bool, shape)


@settings(max_examples=60)
@given(data=st.data(), rng=seeds)
def test_indexing_gradient(data, rng):
    x = data.draw(grid(arrays3))
    key = data.draw(_keys(x.shape))
    np.testing.assert_array_equal(Tensor(x)[key].numpy(), x[key])
    check_tensors(lambda t: t[key], x, rng=rng)


@settings(max_examples=40)
@given(data=st.data(), rng=seeds)
def test_writing_is_differentiated(data, rng):
    x = data.draw(grid(arrays3))
    key = data.draw(_keys(x.shape))
    value = data.draw(grid(x[key].shape))

    def written(t, v):
        t = t * 1
        t[key] = v
        return t

    expected = x.copy()
    expected[key] = value
    np.testing.assert_array_equal(written(Tensor(x), Tensor(value)).numpy(), expected)
    check_tensors(written, x, value, rng=rng)
    check_tensors(lambda t: written(t, value), x, rng=rng)


def test_repeated_indices_accumulate_and_the_key_is_copied():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    key = np.array([0, 2, 2, 2])
    y = x[key]
    key[:] = 1
    y.sum().backward()
    assert x.grad.tolist() == [1, 0, 3]


@few
@given(data=st.data(), rng=seeds)
def test_joining_gradients(data, rng):
    shape = data.draw(arrays3)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    longer = list(shape)
    longer[axis] += 1
    x, y = data.draw(grid(shape)), data.draw(grid(tuple(longer)))
    check_tensors(lambda a, b: cat([a, b, a], axis), x, y, rng=rng)
    check_tensors(lambda a, b: stack((a, b), axis=axis), x, x + 1, rng=rng)
    check_tensors(lambda a: cat([a, y], dim=axis) + stack([a, a], dim=0).sum(), x, rng=rng)


def test_values_at_the_kinks():
    def gradient(function, *values):
        leaves = [tensor(value, requires_grad=True) for value in values]
        function(*leaves).sum().backward()
        return [leaf.grad.tolist() for leaf in leaves]

    assert gradient(abs, [0.0, -0.0]) == [[0, 0]]
    assert gradient(lambda x: x.clip(0, 1), [0.0, 1.0, 2.0]) == [[1, 1, 0]]
    assert gradient(maximum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 0], [0.5, 1]]
    assert gradient(minimum, [1.0, 2.0], [1.0, 3.0]) == [[0.5, 1], [0.5, 0]]
    assert gradient(lambda x: x.max(), [2.0, 5.0, 5.0]) == [[0, 1, 0]]
    assert gradient(lambda x: x.max(axis=0).values, [2.0, 5.0, 5.0]) == [[0, 1, 0]]
    assert gradient(lambda x: x.min(axis=0).values, [2.0, 2.0, 5.0]) == [[1, 0, 0]]
    assert gradient(lambda x: x**0, [0.0, 2.0]) == [[0, 0]]
    assert gradient(lambda x: x**1, [0.0]) == [[1]]
    # 0^y: 0 for y > 0 and, by its limit, for y = 0; the base's derivative is 0, 1, 0
    assert gradient(lambda x, y: x**y, [0.0, 0.0, 0.0], [0.0, 1.0, 2.0]) == [[0, 1, 0], [0, 0, 0]]
