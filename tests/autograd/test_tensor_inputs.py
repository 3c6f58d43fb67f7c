"""What tensors are made of and meet: numbers that fit, arrays of every class, nothing that falls out of the graph unseen."""

import array
import collections
import copy
import enum
import itertools
import operator
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import check_tensors

from nbgrad import functional, nn
from nbgrad.autograd.combine import cat, maximum, minimum, stack, where
from nbgrad.autograd.function import Function
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor
from nbgrad.autograd.transforms import grad, value_and_grad

# ---- numbers that do not fit


@pytest.mark.parametrize(
    ("data", "dtype"),
    [
        (300, np.uint8), (-1, np.uint8), ([1, 256], np.uint8), (128, "int8"), (np.int64(300), np.uint8), (np.array([70000]), np.int16),
        (2**63, np.int64), (2**64, np.uint64), (2**70, np.int64), (-1, np.uint64), (np.uint64(2**63), np.int64), (2**63, int),
        (1e10, np.int32), (300.5, np.uint8), (-1.0, np.uint8), (np.inf, np.int64), (-np.inf, np.uint8), (np.float32(2**63), np.int64),
        (np.array([0.0, 2.0**64]), np.uint64), ([0.0, -129.0], np.int8), (tensor([300]), np.uint8), ([tensor(300)], np.uint8),
        ([np.uint64(2**63), -1], np.uint64), (2**40, np.int32), (-(2**40), np.int32),
    ],
)  # fmt: skip
def test_numbers_out_of_the_dtypes_range_are_refused(data, dtype):
    with pytest.raises(OverflowError, match="^data: expected numbers in the range of "):
        tensor(data, dtype=dtype)
    if not isinstance(data, list | int | float):
        with pytest.raises(OverflowError, match="^to: expected numbers in the range of "):
            Tensor(data).to(dtype)


@given(st.lists(st.floats(allow_nan=False) | st.integers(-(2**65), 2**65), min_size=1, max_size=3), st.sampled_from("bBhHiIlL"))
def test_what_fits_is_taken_and_nothing_else(numbers, dtype):
    limits = np.iinfo(dtype)
    fits = all(limits.min <= int(x) <= limits.max for x in numbers if abs(x) != np.inf) and np.inf not in map(abs, numbers)
    # beside a float every number is one
    rounded = [float(x) for x in numbers] if any(isinstance(x, float) for x in numbers) else numbers
    fits = fits and all(limits.min <= int(x) <= limits.max for x in rounded)
    for made in (lambda: tensor(numbers, dtype=dtype), lambda: tensor([np.asarray(x) for x in rounded], dtype=dtype)):
        if fits:
            assert made().tolist() == [int(x) for x in rounded] and made().dtype == np.dtype(dtype)
        elif not any(isinstance(x, int) and abs(x) >= 2**63 for x in rounded):  # NumPy makes objects of those
            with pytest.raises(OverflowError):
                made()
    if not fits:
        with pytest.raises(OverflowError):
            tensor(numbers, dtype=dtype)


@pytest.mark.parametrize("nan", [np.nan, [1.0, np.nan], np.float32(np.nan), np.array([np.nan])])
def test_nan_is_no_integer(nan):
    with pytest.raises(ValueError, match="data: expected numbers that int64 holds, got NaN"):
        tensor(nan, dtype=np.int64)
    assert tensor(nan, dtype=bool).numpy().all()


def test_integers_that_no_dtype_holds_in_common_are_refused():
    for wrong in ([2**63, -1], [-1, 2**63], 2**64, [2**70], [np.uint64(2**63), -1], [np.array([2**63]), np.array([-1])], [[2**63], [-5]],
                  (2**63, tensor(-1)), [True, 2**65]):  # fmt: skip
        for make in (tensor, Tensor):
            with pytest.raises(OverflowError, match="data: expected integers that int64 or uint64 holds in common, got"):
                make(wrong)
    for right, dtype in (
        ([2**63, 1], np.uint64), ([2**63 - 1, -1], np.int64), ([np.uint64(5), 3], np.int64), ([np.uint64(5), np.int64(-3)], np.int64),
        ([np.array([2**63]), [True]], np.uint64), ([149, np.True_, 2**63 + 1], np.uint64), ([np.False_, -(2**63)], np.int64), (2**63, np.uint64), (-(2**63), np.int64),
    ):  # fmt: skip
        for make in (tensor, Tensor):
            assert make(right).dtype == dtype
            assert make(right).tolist() == np.array(right, object).tolist()
    assert tensor([2**63, -1], dtype=np.float64).tolist() == [2.0**63, -1] and tensor(2**70, dtype=np.float32).item() == 2.0**70
    assert tensor([2**70, 0.5]).tolist() == [2.0**70, 0.5]
    u, i = tensor([2**63]), tensor([-1])
    for join in (cat, stack):
        with pytest.raises(OverflowError, match="tensors: expected integers"):
            join([u, i])
        assert join([u - u, i]).dtype == np.int64 and join([u, i * i]).dtype == np.uint64


def test_numpys_precision_stays_in_any_order():
    tenth = np.float64(0.1)
    for data in itertools.permutations([1.0, tenth, 2, True]):
        assert tensor(list(data)).dtype == np.float64 and tenth in tensor(list(data)).tolist()
    for data in ([1.0, np.float32(0.1)], [np.float32(0.1), 1.0], [0.5, tensor(0.5)], [0.5, np.int8(1)], [0.5, True], [0.5, np.bool_(True)]):
        assert tensor(data).dtype == tensor(data[::-1]).dtype == np.float32
    for data in ([[1.0], [tenth]], [[tenth], [1.0]], [(1.0, 2.0), np.ones(2)], [0.5, np.int64(2**40 + 1)], [np.float32(1), tenth],
                 [tensor(1.0), np.ones(())], [0.5, tensor(1, dtype=np.float64)]):  # fmt: skip
        assert tensor(data).dtype == tensor(data[::-1]).dtype == np.float64
    assert tensor([0.1], dtype=np.float64).item() == 0.1 == tensor(0.1, dtype=float).item()  # no way through float32
    for swapped in (">f4", ">f8", ">i4"):
        assert tensor([1.0], dtype=swapped).dtype.isnative and tensor([1.0]).to(swapped).dtype.isnative


def test_every_sequence_of_numbers():
    for data, dtype in (
        (range(3), np.int64), (collections.deque([0.5, 1.0]), np.float32), (array.array("d", [0.5]), np.float64), ((), np.float32),
        (collections.UserList([1, 2.5]), np.float32), (array.array("f", [0.5]), np.float32), (memoryview(np.ones(2)), np.float64),
        ([range(2), (3, 4)], np.int64), ([collections.deque([1])], np.int64), (enum.IntEnum("E", "a b").b, np.int64),
        (np.ones(2).view(np.recarray), np.float64),
    ):  # fmt: skip
        for make in (tensor, Tensor):
            assert make(data).dtype == dtype, data
            np.testing.assert_array_equal(make(data).numpy(), np.array(data))
    for wrong in ({1, 2}, (x for x in [1.0]), {"a": 1.0}.values(), b"ab", "ab", ["ab"], [1.0, "a"], [1j], object()):
        with pytest.raises(TypeError, match="^data: expected"):
            tensor(wrong)


def test_numbers_beside_small_integers():
    x = tensor([1, 2], np.uint8)
    for operation in (
        lambda: where(tensor([True, False]), x, 300), lambda: where(tensor([False, False]), 300, x), lambda: maximum(x, 300), lambda: x + 300,
        lambda: 300 - x, lambda: minimum(x, -1), lambda: x & 300, lambda: x // 300, lambda: x**300,
    ):  # fmt: skip
        with pytest.raises(OverflowError):
            operation()
    for big in (2**70, -(2**70), 300, 10**400):
        assert (x < big).tolist() == [big > 0] * 2 and (x == big).tolist() == [False] * 2 and big not in x
        assert (big >= tensor([1])).tolist() == [big > 0]
    assert where(x > 1, x, 7).dtype == np.uint8 and where(x > 1, x, 0.5).dtype == np.float64 and x.clip(0, 300).tolist() == [1, 2]
    for function in (Tensor.exp, Tensor.log, Tensor.sqrt, np.exp, np.tanh):
        assert function(x).dtype == np.float64  # NumPy: float16
    assert (x > 0).exp().dtype == np.float64 and tensor([12], np.uint8).exp().item() == np.exp(12.0)


# ---- arrays of every class are on the CPU; masked ones are refused


class Mine(np.ndarray):
    pass


def kinds(values, tmp_path):
    plain = np.array(values)
    memory = np.memmap(tmp_path / "numbers", plain.dtype, "w+", shape=plain.shape)
    memory[...] = plain
    return [memory, plain.view(Mine), plain.view(np.recarray), *([plain.view(np.matrix)] if plain.ndim == 2 else [])]


def test_subclasses_are_taken_as_arrays(tmp_path):
    values = np.array([[1.0, 2.0], [3.0, 0.5]])
    x = np.array([[0.5, -1.0], [2.0, 1.5]])
    binary = [operator.add, operator.sub, operator.mul, operator.truediv, operator.matmul, operator.floordiv, operator.mod, operator.lt,
              operator.eq, maximum, minimum, np.add, np.multiply, np.matmul, np.greater]  # fmt: skip
    for other in kinds(values, tmp_path):
        t = Tensor(x)
        assert type(Tensor(other).numpy()) is np.ndarray and type(tensor(other).numpy()) is np.ndarray
        assert np.shares_memory(Tensor(other).numpy(), other)
        for function in binary:
            for result, expected in ((function(t, other), function(t, values)), (function(other, t), function(values, t))):
                assert type(result) is Tensor and type(result._data) is np.ndarray and result.device == "cpu"
                np.testing.assert_array_equal(result.numpy(), expected.numpy())
        np.testing.assert_array_equal((abs(t) ** other).numpy(), abs(x) ** values)
        check_tensors(lambda a, other=other: a * other + other / a - where(other > 1, a, other), x)
        assert cat([t, other]).tolist() == [*t.tolist(), *values.tolist()] and stack([other, t])[0].tolist() == values.tolist()
        for loss in (functional.mse_loss, functional.huber_loss, functional.binary_cross_entropy_with_logits):
            assert loss(t, other).item() == loss(t, values).item() and loss(other, t).item() == loss(values, t).item()
        assert functional.softmax(other).tolist() == functional.softmax(values).tolist()
        assert grad(lambda a: (a * a).sum())(other).tolist() == (2 * values).tolist()
        (s := tensor(1.0, np.float64, requires_grad=True) * values).backward(other)
        assert s.dtype == np.float64
    assert where(np.array([True, False]).view(Mine), x[0], 0.0).tolist() == [0.5, 0]


class Double(Function):
    @staticmethod
    def forward(ctx, x, other=None):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 2, None


MASKED = np.ma.masked_array([0.25, 0.5], [True, False])


@pytest.mark.parametrize(
    "use",
    [
        tensor, Tensor, lambda m: tensor([m, m]), lambda m: Tensor([[1.0, 2.0], m]), lambda m: tensor(np.ma.masked), lambda m: tensor([np.ma.masked]),
        *(lambda m, f=f: f(tensor([1.0, 2.0]), m) for f in (
            operator.add, operator.mul, operator.pow, operator.matmul, operator.floordiv, operator.mod, operator.lt, operator.eq, maximum, np.add,
            np.maximum, np.power, functional.mse_loss, functional.l1_loss, functional.huber_loss, functional.binary_cross_entropy_with_logits,
            functional.cross_entropy, functional.nll_loss)),
        *(lambda m, f=f: f(m, tensor([1.0, 2.0])) for f in (
            operator.add, operator.sub, operator.mul, operator.truediv, operator.pow, minimum, np.add, np.divide, functional.mse_loss)),
        lambda m: cat([m, m]), lambda m: stack([tensor([1.0, 2.0]), m]), lambda m: where(m, 1.0, 2.0), lambda m: where([True, False], m, 1.0),
        lambda m: where(m > 0.3, tensor([1.0, 2.0]), 1.0), lambda m: tensor([1.0, 2.0]).clip(np.ma.masked, 2), lambda m: np.ma.masked + tensor(1.0),
        functional.relu, functional.softmax, functional.logsumexp, functional.dropout, functional.gelu, lambda m: functional.maxout(m, 2),
        lambda m: functional.linear(m, np.ones((1, 2))), lambda m: functional.linear(np.ones(2), [m, m]),
        lambda m: functional.binary_cross_entropy_with_logits(np.ones(2), np.ones(2), pos_weight=m),
        lambda m: functional.cross_entropy(np.ones(2), 0, weight=m), lambda m: Double.apply(m), lambda m: Double.apply(tensor(1.0), m),
        lambda m: grad(lambda x: x.sum())(m), lambda m: value_and_grad(lambda p: p["w"].sum())({"w": m}),
        lambda m: (tensor([1.0, 2.0], requires_grad=True) * 1).backward(m),
    ],
)  # fmt: skip
def test_masks_are_refused_everywhere(use):
    with pytest.raises(TypeError, match="expected an array without a mask, got a masked array"):
        use(MASKED)


@pytest.mark.parametrize("number", [0.1, [0.1], (0.1,), [[0.1]]])
def test_pythons_floats_lose_no_digits_beside_float64(number):
    x = Tensor(np.array([[1.0]]))
    array = np.array(number)
    assert number is not None and tensor(number).dtype == np.float32
    for loss in (functional.mse_loss, functional.l1_loss, functional.huber_loss, functional.binary_cross_entropy_with_logits):
        assert loss(x, number).item() == loss(x, array).item() and loss(x, number).dtype == np.float64
    assert functional.l1_loss([[0.1]], x).item() == 0.9
    assert functional.linear(x, [[0.1]], [0.2]).tolist() == [[0.1 + 0.2]]
    assert cat([x, [[0.1]]]).tolist() == [[1.0], [0.1]] and stack([[[0.1]], x])[0].item() == 0.1
    assert functional.mse_loss(tensor([[1.0]]), number).dtype == np.float32
    assert functional.cross_entropy(np.zeros((1, 2)), [1]).item() == functional.cross_entropy(np.zeros((1, 2)), np.array([1])).item()
    for p in (np.float32(0.5), np.float64(0.5), 0.5, np.array(0.5)):
        assert functional.dropout(np.ones(4, np.float32), p, rng=np.random.default_rng(0)).tolist() == [2, 2, 2, 0]
    for wrong in ("a", None, tensor(0.5), True):
        with pytest.raises(TypeError, match="p: expected a real number"):
            functional.dropout(x, wrong)


def test_an_array_of_no_dimension_is_the_number_it_is_in_forward():
    x = tensor([-2.0, 3.0], requires_grad=True)
    for loss_of in (lambda p: functional.leaky_relu(x, p).sum(), lambda p: functional.huber_loss(x, np.zeros(2), delta=p)):
        x.grad, p = None, np.array(0.5)
        loss = loss_of(p)
        p[...] = 7
        loss.backward()
        got, x.grad = x.grad.tolist(), None
        loss_of(0.5).backward()
        assert got == x.grad.tolist()


# ---- nothing falls out of the graph unseen


def scalars():
    return tensor(0.5, requires_grad=True), tensor(0.25, requires_grad=True)


def holding(t):
    module = nn.Module()
    module.weight = t
    return module


@pytest.mark.parametrize(
    "use",
    [
        lambda w, v: tensor([w, w]), lambda w, v: Tensor([w, 1.0]), lambda w, v: tensor([[1.0], (v,)]), lambda w, v: tensor(w), lambda w, v: Tensor(w * 2),
        lambda w, v: tensor([w, v], dtype=np.float64), lambda w, v: functional.softmax([w, v]), lambda w, v: functional.relu((w, v)),
        lambda w, v: functional.mse_loss(np.ones(2), [w, v]), lambda w, v: functional.linear([1.0, 2.0], [[w, v]]), lambda w, v: cat([[w], [v]]),
        lambda w, v: stack([[w], [v]]), lambda w, v: where([True, False], [w, v], 1.0), lambda w, v: np.array([w, v]), lambda w, v: np.asarray(w),
        lambda w, v: np.stack([w, v]), lambda w, v: functional.binary_cross_entropy_with_logits(np.ones(2), np.ones(2), weight=[w, v]),
        lambda w, v: functional.cross_entropy(np.ones(2), 0, weight=[w, v]), lambda w, v: w * np.array([v, v]), lambda w, v: tensor(collections.deque([w])),
        lambda w, v: (tensor([1.0, 2.0], requires_grad=True) * 1).backward([w, v]),
        *(lambda w, v, hold=hold: Double.apply(w, hold(v)) for hold in (
            lambda t: [t], lambda t: (t, 1.0), lambda t: {"a": t}, lambda t: [[t]], lambda t: {"a": [1, {"b": (t,)}]}, lambda t: {t},
            lambda t: collections.deque([t]), lambda t: {"a": t}.values(), holding, lambda t: [holding(t)])),
        lambda w, v: w.clip(v, 1.0),
    ],
)  # fmt: skip
def test_a_tensor_within_something_is_refused_where_it_would_leave_the_graph(use):
    with pytest.raises((RuntimeError, TypeError), match="graph|require|expected a number"):
        use(*scalars())
    w, v = (t.detach() for t in scalars())
    use(w.requires_grad_(False), v)


def test_outside_the_graph_they_are_numbers():
    w, v = scalars()
    with no_grad():
        assert tensor([w, v]).tolist() == Tensor([w, v]).tolist() == [0.5, 0.25] and tensor(w).is_leaf
        assert functional.relu([w, v]).tolist() == [0.5, 0.25] and np.array([w, v]).tolist() == [0.5, 0.25]
        assert Double.apply(w, [v]).item() == 1
    assert functional.softmax([tensor(1.0), tensor(1.0)]).tolist() == [0.5, 0.5]
    (functional.softmax(stack([w, v]))[0] * 2).backward()
    np.testing.assert_allclose(w.grad.item(), -v.grad.item(), rtol=1e-6)


def test_grad_takes_no_tensor_that_is_not_a_gradient():
    w = tensor([1.0, 2.0], requires_grad=True)
    for wrong, error in (
        (w, RuntimeError), (w * 2, RuntimeError), (tensor([1.0, 2.0], requires_grad=True), RuntimeError), (w.detach(), RuntimeError),
        (Tensor(w.numpy()[::-1]), RuntimeError), (tensor([1.0, 2.0], np.float64), ValueError), (tensor([1, 2]), ValueError), (tensor(1.0), ValueError),
        (tensor([[1.0, 2.0]]), ValueError), (np.ones(2, np.float32), TypeError), ([1.0, 2.0], TypeError), (1.0, TypeError),
    ):  # fmt: skip
        with pytest.raises(error, match="^grad: expected"):
            w.grad = wrong
    assert w.grad is None
    right = tensor([1.0, 2.0])
    w.grad = right
    w.grad = w.grad
    assert w.grad is right


def test_functions_may_return_lists():
    class Both(Function):
        @staticmethod
        def forward(ctx, x, y):
            ctx.save_for_backward(x, y)
            return [x * y, x + y]

        @staticmethod
        def backward(ctx, g, h):
            x, y = ctx.saved_tensors
            return [g * y + h, g * x + h]

    check_tensors(lambda x, y: operator.mul(*Both.apply(x, y)), np.array([1.0, 2.0]), np.array([3.0, 0.5]))


# ---- numbers and sequences of numbers as parameters


sequences = st.sampled_from([tuple, list, np.array, lambda x: np.array(x, np.int8), lambda x: tensor(list(x)), collections.deque])


@settings(max_examples=40)
@given(st.data())
def test_axes_and_shapes_of_any_kind(data):
    x = np.arange(24.0).reshape(2, 3, 4) % 7 + 0.25
    integer = data.draw(st.sampled_from([int, np.int8, np.int64, np.array, lambda i: tensor(i)]))
    kind = data.draw(sequences)
    axis = data.draw(st.integers(-3, 2))
    axes = tuple(data.draw(st.lists(st.integers(0, 2), unique=True)))
    order = data.draw(st.permutations(range(3)))
    shape = data.draw(st.sampled_from([(4, 6), (24,), (2, -1, 2), (2, 1, 12)]))
    t = Tensor(x)
    for name in ("sum", "mean"):
        np.testing.assert_allclose(getattr(t, name)(axis=integer(axis)).numpy(), getattr(x, name)(axis=axis))
        if axes:
            np.testing.assert_allclose(getattr(t, name)(dim=kind(axes)).numpy(), getattr(x, name)(axis=axes))
            check_tensors(lambda a, name=name: getattr(a, name)(kind(axes), True), x)
        check_tensors(lambda a, name=name: getattr(a, name)(integer(axis)), x)
    np.testing.assert_array_equal(t.max(integer(axis)).values.numpy(), x.max(axis))
    assert t.argmax(dim=integer(axis)).tolist() == x.argmax(axis).tolist()
    np.testing.assert_array_equal(t.permute(kind(order)).numpy(), x.transpose(order))
    np.testing.assert_array_equal(t.permute(*map(integer, order)).numpy(), x.transpose(order))
    np.testing.assert_array_equal(t.reshape(kind(shape)).numpy(), x.reshape(shape))
    np.testing.assert_array_equal(t.reshape(*map(integer, shape)).numpy(), x.reshape(shape))
    np.testing.assert_array_equal(t.transpose(integer(axis), np.uint8(1)).numpy(), x.swapaxes(axis, 1))
    assert t.flatten(integer(0), integer(1)).shape == (6, 4)
    for join, same in ((cat, np.concatenate), (stack, np.stack)):
        np.testing.assert_array_equal(join(collections.deque([t, x]), integer(axis)).numpy(), same([x, x], axis))
        check_tensors(lambda a, join=join: join((a, x), integer(axis)), x)
    assert functional.softmax(t, integer(axis)).tolist() == functional.softmax(t, axis).tolist()


def test_axes_that_are_none():
    t = tensor(np.ones((2, 3)))
    for wrong in (1.0, "a", [0.5], True, None, (0, 5), [[0]]):
        for method in (t.permute, lambda a: t.transpose(0, a), lambda a: cat([t], a), lambda a: t.flatten(a)):
            if wrong is True and method != t.permute:
                continue
            with pytest.raises((TypeError, ValueError, IndexError), match="ax[ei]s|start_dim"):
                method(wrong)
        if wrong is not None:
            with pytest.raises((TypeError, ValueError, IndexError), match="ax[ei]s"):
                t.sum(axis=wrong)
    for first, second, named in ((0, 5, "axis1"), (-3, 0, "axis0"), (2, 2, "axis0")):
        with pytest.raises(IndexError, match=rf"{named}: expected an axis of a tensor of shape \(2, 3\), got "):
            t.transpose(first, second)
    with pytest.raises(TypeError, match="shape: expected an integer or a sequence of integers"):
        t.reshape(2.0, 3)
    with pytest.raises(TypeError, match="axis: expected an integer"):
        cat([t, t], (0, 1))
    for wrong in (t, "ab", 1.0, None, [], iter(())):
        with pytest.raises(TypeError, match="tensors: expected a list or tuple"):
            cat(wrong)
    assert cat(iter([t, t])).shape == (4, 3)


@pytest.mark.parametrize("exponent", [np.bool_(True), np.bool_(False), True, False, np.uint8(2), np.int8(0), np.float32(2), np.array(2), np.array(True),
                                      np.array([True, False]), np.array([0, 3], np.uint8), tensor(True), tensor([2, 0]), enum.IntEnum("E", "a b").b])  # fmt: skip
def test_exponents_of_every_kind(exponent):
    x = np.array([0.5, -1.5])
    plain = exponent.numpy() if isinstance(exponent, Tensor) else exponent
    np.testing.assert_allclose((Tensor(x) ** exponent).numpy(), x ** np.asarray(plain).astype(float))
    check_tensors(lambda t: t**exponent, x)
    base = abs(np.asarray(plain).astype(float)) + 0.5
    check_tensors(lambda t: Tensor(base) ** t, x)


@pytest.mark.parametrize("base", [np.bool_(True), True, np.uint8(2), np.array([1, 3], np.uint8), np.array([True, True]), 2, np.float32(0.5)])
def test_bases_of_every_kind(base):
    check_tensors(lambda t: base**t, np.array([0.5, -1.5]))


def test_argnums_of_every_kind():
    def f(x, y, z):
        return x * y * y + z

    for argnums in ([0, 1], (0, 1), np.array([0, 1]), range(2), tensor([0, 1]), collections.deque([0, -2])):
        gradients = grad(f, argnums)(2.0, 3.0, 1.0)
        assert isinstance(gradients, tuple) and [g.item() for g in gradients] == [9, 12]
    for argnums in (1, np.int8(1), np.array(-2), tensor(1)):
        assert grad(f, argnums)(2.0, 3.0, 1.0).item() == 12
    assert grad(lambda x: tensor(x), [])(2.0) == ()
    for wrong in (1.0, "a", None, [0.5], [[0]]):
        with pytest.raises(TypeError, match="argnums: expected an integer or a sequence of integers"):
            grad(f, wrong)
    for wrong in (3, [0, 3], -4):
        with pytest.raises(ValueError, match="argnums"):
            grad(f, wrong)(2.0, 3.0, 1.0)


def test_bounds_of_every_kind():
    x = tensor([-1.0, 0.5, 3.0])
    for low in (0, np.int8(0), np.array(0), tensor(0), np.bool_(False), False, np.float64(0)):
        assert x.clip(low, np.array(2)).tolist() == [0, 0.5, 2]
    for wrong in ("a", [0], np.array([0]), x, 1j, np.str_("a")):
        with pytest.raises(TypeError, match="^(min|operand): expected"):
            x.clip(wrong, 2)


# ---- subclasses of Tensor


class Named(Tensor):
    __slots__ = ("__dict__", "unit")

    def __init__(self, name, values, unit):
        super().__init__(np.array(values))
        self.name, self.unit = name, unit
        self.requires_grad = True


class Counted(Tensor):
    pass


def test_what_subclasses_add_survives_copies():
    named = Named("w", [1.0, 2.0], ["m"])
    named.itself, named.grad = named, Tensor(np.ones(2))
    counted = Counted(np.arange(2))
    counted.count = 3
    for copied in (copy.deepcopy, copy.copy, lambda t: pickle.loads(pickle.dumps(t))):
        twin = copied(named)
        assert type(twin) is Named and (twin.name, twin.unit) == ("w", ["m"]) and twin.tolist() == [1, 2]
        assert twin.requires_grad and twin.grad.tolist() == [1, 1] and twin is not named
        assert twin.itself is (named if copied is copy.copy else twin)
        assert np.shares_memory(twin.numpy(), named.numpy()) is (copied is copy.copy)
        assert (twin.unit is named.unit) is (copied is copy.copy)
        other = copied(counted)
        assert type(other) is Counted and other.count == 3 and not other.requires_grad
    assert type(named * 2) is Named and type(np.exp(named)) is Named
