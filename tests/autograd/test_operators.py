"""Every operator and method of a Tensor that is differentiated, against finite differences."""

import operator

import devices
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import check_tensors, grid

from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
from nbgrad.autograd.operators.apply import apply, binary
from nbgrad.autograd.operators.elementwise import RULES, UFUNCS, elementwise
from nbgrad.autograd.tensor import Tensor, tensor

few = settings(max_examples=devices.few(15, 4))
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
def test_unary_gradient(name, device, data, rng):
    function, low = UNARY[name]
    x = data.draw(grid(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3), low=low))
    check_tensors(function, x, rng=rng, device=device)


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
def test_binary_gradient_with_broadcasting(name, device, data, rng):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=2, min_dims=0, max_dims=3, min_side=0, max_side=3))
    x, y = (data.draw(grid(shape, offset)) for offset, shape in enumerate(shapes.input_shapes))
    check_tensors(BINARY[name], x, y, rng=rng, device=device)
    # an operand that is an array, on either side, is a constant
    there_x, there_y = device.arrays((x, y))
    check_tensors(lambda a: BINARY[name](a, there_y), x, rng=rng, device=device)
    if name == "pow" or device.name == "cudasim":  # the simulator's arrays have operators of their own
        there_x = Tensor(there_x)
    check_tensors(lambda b: BINARY[name](there_x, b), y, rng=rng, device=device)


@few
@given(data=st.data(), rng=seeds)
def test_where_gradient(device, data, rng):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(num_shapes=3, min_dims=0, max_dims=3, min_side=0, max_side=3))
    condition = data.draw(hnp.arrays(bool, shapes.input_shapes[0]))
    x, y = (data.draw(grid(shape)) for shape in shapes.input_shapes[1:])
    check_tensors(lambda a, b: where(device.array(condition), a, b), x, y, rng=rng, device=device)
    check_tensors(lambda a: where(device.tensor(condition), a, 1.0), x, rng=rng, device=device)


@few
@given(data=st.data(), rng=seeds)
def test_matmul_gradient(device, data, rng):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(signature=np.matmul.signature, min_side=0, max_side=3, min_dims=0, max_dims=2))
    x, y = (data.draw(grid(shape)) for shape in shapes.input_shapes)
    check_tensors(operator.matmul, x, y, rng=rng, device=device)
    there = device.array(x)
    check_tensors(lambda b: there @ b, y, rng=rng, device=device)


@pytest.mark.parametrize("shapes", [((4,), (4,)), ((4,), (4, 2)), ((3, 4), (4,)), ((2, 3, 4), (4, 2)), ((4,), (2, 4, 3))])
def test_matmul_gradient_with_vectors_and_matrices(shapes, device):
    rng = np.random.default_rng(1)
    check_tensors(operator.matmul, *(rng.normal(size=shape) for shape in shapes), rng=rng, device=device)


arrays3 = hnp.array_shapes(min_dims=1, max_dims=3, min_side=1, max_side=3)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min"])
@few
@given(data=st.data(), rng=seeds)
def test_reduction_gradient(name, device, data, rng):
    x = data.draw(grid(arrays3, unique=True))
    axis = data.draw(st.none() | st.integers(-x.ndim, x.ndim - 1))
    keep = data.draw(st.booleans())

    def reduced(t, *args, **kwargs):
        out = getattr(t, name)(*args, **kwargs)
        return out[0] if isinstance(out, tuple) else out

    assert reduced(Tensor(x), axis, keep).shape == getattr(np, name)(x, axis=axis, keepdims=keep).shape
    np.testing.assert_allclose(reduced(Tensor(x), axis, keep).numpy(), getattr(np, name)(x, axis=axis, keepdims=keep))
    check_tensors(lambda t: reduced(t, axis, keep), x, rng=rng, device=device)
    check_tensors(lambda t: reduced(t, dim=axis, keepdim=keep), x, rng=rng, device=device)
    if name in ("sum", "mean"):
        axes = tuple(range(0, x.ndim, 2))
        check_tensors(lambda t: reduced(t, axis=axes), x, rng=rng, device=device)


@few
@given(data=st.data(), rng=seeds)
def test_shape_gradients(device, data, rng):
    x = data.draw(grid(arrays3))
    order = data.draw(st.permutations(range(x.ndim)))
    check_tensors(lambda t: t.permute(*order), x, rng=rng, device=device)
    assert Tensor(x).permute(dims=order).shape == x.transpose(order).shape
    check_tensors(lambda t: t.transpose(0, -1) * 1, x, rng=rng, device=device)
    check_tensors(lambda t: t.T, x, rng=rng, device=device)
    check_tensors(lambda t: t.reshape(-1), x, rng=rng, device=device)
    check_tensors(lambda t: t.reshape((1, *x.shape)) * 2, x, rng=rng, device=device)
    check_tensors(lambda t: t.flatten(), x, rng=rng, device=device)


def _keys(shape):
    integers = hnp.integer_array_indices(shape, result_shape=hnp.array_shapes(max_dims=2, max_side=4))
    return hnp.basic_indices(shape, allow_newaxis=True) | integers | hnp.arrays(bool, shape)


@settings(max_examples=devices.few(60, 15))
@given(data=st.data(), rng=seeds)
def test_indexing_gradient(device, data, rng):
    x = data.draw(grid(arrays3))
    key = data.draw(_keys(x.shape))
    np.testing.assert_array_equal(Tensor(x)[key].numpy(), x[key])
    check_tensors(lambda t: t[key], x, rng=rng, device=device)


@settings(max_examples=devices.few(40, 15))
@given(data=st.data(), rng=seeds)
def test_writing_is_differentiated(device, data, rng):
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
    check_tensors(written, x, value, rng=rng, device=device)
    there = device.array(value)
    check_tensors(lambda t: written(t, there), x, rng=rng, device=device)


def test_repeated_indices_accumulate_and_the_key_is_copied(device):
    x = device.tensor([1.0, 2.0, 3.0], requires_grad=True)
    key = np.array([0, 2, 2, 2])
    y = x[key]
    key[:] = 1
    y.sum().backward()
    assert x.grad.tolist() == [1, 0, 3]


@few
@given(data=st.data(), rng=seeds)
def test_joining_gradients(device, data, rng):
    shape = data.draw(arrays3)
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    longer = list(shape)
    longer[axis] += 1
    x, y = data.draw(grid(shape)), data.draw(grid(tuple(longer)))
    check_tensors(lambda a, b: cat([a, b, a], axis), x, y, rng=rng, device=device)
    check_tensors(lambda a, b: stack((a, b), axis=axis), x, x + 1, rng=rng, device=device)
    check_tensors(lambda a: cat([a, device.array(y)], dim=axis) + stack([a, a], dim=0).sum(), x, rng=rng, device=device)


def test_values_at_the_kinks(device):
    def gradient(function, *values):
        leaves = [device.tensor(value, requires_grad=True) for value in values]
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


def test_every_row_of_the_table():
    """Each that takes operands only (the others are methods and functions, and above), where it is a number."""
    tried = []
    for name, rule in RULES.items():
        if not {*rule.arguments} <= {"x", "y"}:
            continue
        compute = (lambda *xs, rule=rule: binary(rule, *xs)) if len(rule.arguments) == 2 else lambda x, rule=rule: apply(rule(), (x,))
        for x in (np.array([[-2.5, 1.25, 0.75], [-0.25, 3.0, 1.5]]), np.array([[0.25, 0.75, 0.5]]), np.array([[1.25, 4.0, 2.5]])):
            arrays = (x, np.array([1.5, -0.25, 0.75]))[: len(rule.arguments)]
            with np.errstate(all="ignore"):
                finite = np.isfinite(compute(*map(tensor, arrays)).numpy()).all()
            if finite:
                check_tensors(compute, *arrays)
                tried.append(name)
    assert (
        {"Add", "Sub", "Mul", "Pow", "Neg", "Exp", "Log", "Sqrt", "Abs", "FloorDiv"}
        <= {*tried}
        == {name for name, rule in RULES.items() if {*rule.arguments} <= {"x", "y"}}
    )


@pytest.fixture
def hypot():
    yield elementwise("Hypot", np.hypot, lambda g, x, z: g * (x / z), lambda g, y, z: g * (y / z))
    del RULES["Hypot"], UFUNCS[np.hypot]


def test_a_row_keeps_what_its_partials_name(hypot):
    a, b = (tensor([[3.0, 5.0]], requires_grad=True) for _ in range(2))
    z = binary(hypot, a, b)
    assert [x is not None for x in z._node._saved] == [True, True, True]
    z = binary(hypot, a, 4.0)
    assert [x is not None for x in z._node._saved] == [True, False, True] and z._node.vjp(z._data)[1] is None
    assert repr(z) == "tensor([[5.       , 6.4031243]], grad_fn=<HypotBackward>)"
    z.sum().backward()
    np.testing.assert_allclose(a.grad.numpy(), [[3 / 5, 5 / 41**0.5]], rtol=1e-6)
    assert not hasattr(binary(RULES["Add"], a, b)._node, "_saved")


def test_a_row_is_a_ufunc_of_tensors(hypot):
    x, y = np.array([[3.0, 5.0]]), np.array([[4.0], [12.0]])
    check_tensors(np.hypot, x, y)
    assert np.hypot(tensor(x), y).tolist() == np.hypot(x, y).tolist()
    small = tensor(np.array([3], np.int8))
    assert np.hypot(small, tensor(np.array([4], np.uint8))).dtype == np.float64  # NumPy: float16
    assert np.hypot(small, 4).dtype == np.float64 and np.hypot(small, tensor([4.0])).dtype == np.float32
    assert np.exp(small).dtype == np.float64 and np.maximum(small, small).dtype == np.int8


def test_a_partial_may_return_the_gradient_itself():
    """The leaf's gradient is not the array that another branch of the graph has."""
    shift = elementwise("Shift", lambda x, by: x + by, lambda g: g)
    try:
        x, w = tensor([1.0, 2.0], requires_grad=True), tensor([1.0, 1.0], requires_grad=True)
        y = apply(shift(), (x,), 3.0)
        y.retain_grad()
        seed = tensor([2.0, 4.0])
        (y + w).backward(seed)
        x.grad.zero_()
        assert y.grad.tolist() == w.grad.tolist() == seed.tolist() == [2.0, 4.0]
    finally:
        del RULES["Shift"]


@pytest.mark.parametrize("partial", [lambda x, g: g * x, lambda g, y: g * y, lambda g, w: g, lambda: 0.0])
def test_partials_of_something_else_are_refused(partial):
    with pytest.raises(TypeError, match="^Wrong: expected partials of g and any of x, z, got one of"):
        elementwise("Wrong", np.sinh, partial)
    assert "Wrong" not in RULES and np.sinh not in UFUNCS


@pytest.mark.parametrize("taken", ["self", "g", "x", "y", "z"])
def test_names_that_are_taken_are_refused(taken):
    with pytest.raises(TypeError, match=f"^Wrong: expected names of their own beside the operands, got {taken}$"):
        elementwise("Wrong", eval(f"lambda p, q, {taken}: p + q"), lambda g: g, lambda g: g)


def test_what_an_operator_takes_beside_its_operands():
    """Whatever its name is: a is no edge."""
    mix = elementwise("Mix", lambda x, y, a: x + a * (y - x), lambda g, a: g * (1 - a), lambda g, a: g * a)
    try:
        assert binary(mix, tensor([1.0]), 3.0, 0.25).tolist() == [1.5]
        check_tensors(lambda x, y: binary(mix, x, y, 0.25), np.array([1.0, 2.0]), np.array([[3.0], [0.5]]))
    finally:
        del RULES["Mix"]


@pytest.mark.parametrize("count", [0, 3])
def test_a_row_has_one_or_two_operands(count):
    with pytest.raises(TypeError, match=f"^Wrong: expected a partial for each of one or two operands, got {count} partials$"):
        elementwise("Wrong", lambda *xs: sum(xs), *[lambda g: g] * count)
