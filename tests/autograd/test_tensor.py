"""Tensors: dtypes, conversions, comparisons, changes in place. Gradients: test_operators.py."""

import copy
import operator
import pickle

import numpy as np
import pytest

from nbgrad.autograd.combine import cat, maximum, where
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor

# ---- dtypes and numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float_dtypes_stay(dtype):
    x = Tensor(np.array([1.0, 2.0], dtype), requires_grad=True)
    results = (
        x + 1, 1.5 * x, x / 3, 2 - x, x**2, 2**x, x**0.5, x.exp(), x.mean(), x.sum(), x.max(), x @ x,
        x * True, x.clip(0, 1.5), where(x > 1, x, 0.0), maximum(x, 1.5), cat([x, x]),
    )  # fmt: skip
    for y in results:
        assert y.dtype == dtype
        x.grad = None
        y.sum().backward()
        assert x.grad.dtype == dtype and x.grad.shape == (2,)


def test_mixed_floats_give_each_its_own_dtype_back():
    x, y = Tensor(np.ones(2, np.float32), requires_grad=True), Tensor(np.ones((3, 1)), requires_grad=True)
    z = (x * y).sum()
    assert z.dtype == np.float64
    z.backward()
    assert (x.grad.dtype, x.grad.tolist()) == (np.float32, [3, 3])
    assert (y.grad.dtype, y.grad.tolist()) == (np.float64, [[2], [2], [2]])


def test_what_tensor_makes_of_data():
    for data, dtype in (
        (1.0, np.float32), ([1, 2.5], np.float32), ([[]], np.float32), (3, np.int64), ([True, False], bool),
        (np.float64(1), np.float64), ([np.float64(1)], np.float64), (np.arange(2, dtype=np.uint8), np.uint8),
        (np.ones(2), np.float64), (np.ones(2, ">f4"), np.float32), ([np.ones(2), np.ones(2)], np.float64),
        ([tensor(1.0), tensor(2.0)], np.float32), (tensor([1, 2]), np.int64),
    ):  # fmt: skip
        for made in (tensor(data), Tensor(data)):
            assert made.dtype == dtype and made.dtype.isnative and made.shape == np.shape(data), data
    assert tensor([1, 2], np.float64).dtype == tensor([1.0], dtype="float64").dtype == np.float64
    array = np.zeros(2)
    copied, shared = tensor(array), Tensor(array)
    array[0] = 5
    assert copied.tolist() == [0, 0] and shared.tolist() == [5, 0] and np.shares_memory(shared.numpy(), array)


@pytest.mark.parametrize(
    "data",
    ["text", None, {}, [1j], np.ones(2, np.float16), np.ones(2, np.longdouble), [None],
     np.array(["a"]), np.array([1], object), np.ma.masked_array([1.0, 2.0], [True, False])],
)  # fmt: skip
def test_other_data_is_refused(data):
    with pytest.raises(TypeError, match="^data: expected"):
        tensor(data)
    with pytest.raises(TypeError, match="^data: expected"):
        Tensor(data)


def test_wrong_arguments():
    x = tensor([1.0, 2.0])
    with pytest.raises(ValueError, match="data: expected numbers in a regular shape"):
        tensor([[1], [1, 2]])
    with pytest.raises(TypeError, match="requires_grad: expected a float32 or float64 tensor, got int64"):
        tensor([1], requires_grad=True)
    with pytest.raises(ValueError, match=r"matmul: expected shapes .* got \(2,\) and \(3,\)"):
        x @ np.ones(3)
    with pytest.raises(ValueError, match="broadcast"):
        x + tensor([1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="axis: give axis or dim"):
        x.sum(axis=0, dim=0)
    with pytest.raises(TypeError, match="condition: expected bools"):
        where(x, x, x)
    with pytest.raises(TypeError, match="min: expected a number"):
        x.clip(x, 2)
    with pytest.raises(ValueError, match="axes: expected an order of the 1 axes"):
        x.permute(0, 0)
    with pytest.raises(TypeError, match="tensors: expected a list or tuple"):
        cat(x)
    for wrong, error, message in (
        ((0, 1), TypeError, r"axis: expected one axis \(an integer\) or None, got \(0, 1\)"),
        (1.5, TypeError, "axis: expected an integer"),
        (3, ValueError, "axis 3 is out of bounds"),
    ):
        for empty in (tensor([[1.0]]), Tensor(np.zeros((0, 3)))):
            for method in (empty.max, empty.min, empty.argmax):
                with pytest.raises(error, match=message):
                    method(axis=wrong)
                if not empty.numel():
                    for axis in (None, 0, -2):
                        with pytest.raises(ValueError, match=r"axis: expected an element .* of shape \(0, 3\)"):
                            method(axis=axis)
                    assert len(np.atleast_1d(method(axis=1))) in (0, 2)
    for at in (1, -2):
        with pytest.raises(IndexError, match=f"start_dim: expected an axis of a tensor of shape .*, got {at}"):
            tensor(2.0).flatten(at)
        with pytest.raises(IndexError, match=f"end_dim: expected an axis of a tensor of shape .*, got {at}"):
            tensor(2.0).flatten(0, at)
    assert tensor(2.0).flatten().shape == (1,)
    for wrong in (1j, None, "a", b"a", [1, 2], (1, 2)):
        message = "other: expected a number, an array or a Tensor, got" if hasattr(wrong, "__len__") else "unsupported"
        with pytest.raises(TypeError, match=message):
            x + wrong
        with pytest.raises(TypeError, match=message):
            wrong * x  # Python would repeat a list, and ask a number of the tensor
    assert [1, 2] * tensor(2) == [1, 2, 1, 2]
    with pytest.raises(TypeError, match="operand: expected dtype"):
        x + np.ones(2, np.float16)


def test_arrays_and_tensors_meet_as_tensors():
    array, x = np.array([[1.0, 2.0], [3.0, 4.0]]), tensor([1.0, 2.0], requires_grad=True)
    for result in (
        array + x,
        array * x,
        array @ x,
        array - x,
        array / x,
        array**x,
        np.float64(2) * x,
        array > x,
    ):
        assert type(result) is Tensor
    np.testing.assert_array_equal((array - x).detach().numpy(), array - [1, 2])
    with pytest.raises(RuntimeError, match=r"\.numpy\(\)"):
        np.dot(array, x)  # it would cut the graph unseen
    with no_grad():
        np.testing.assert_array_equal(np.dot(array, x), array @ [1, 2])
        for reduction in (np.sum, np.mean, np.max, np.min):  # they hand NumPy's arguments to the tensor's method
            name = reduction.__name__.removeprefix("a")
            with pytest.raises(TypeError, match=rf"numpy.{name}: expected an array, got a Tensor; use its own {name}\(\)"):
                reduction(x)


def test_comparisons_masks_and_labels():
    x = tensor([1.0, 2.0, 3.0], requires_grad=True)
    assert (x > 1).dtype == bool and (x > 1).tolist() == [False, True, True]
    assert (x <= 2).tolist() == [True, True, False] and (x == [1]) is False
    assert (x == 2).tolist() == [False, True, False] and (x != tensor(2)).tolist() == [True, False, True]
    assert ((x > 1) & (x < 3) | (x == 3)).tolist() == [False, True, True]
    assert (~(x > 1)).tolist() == [True, False, False] and ((x > 1) ^ True).tolist() == [True, False, False]
    assert not (x > 1).requires_grad and x in {x} and hash(x) == hash(x)
    assert x.argmax().item() == 2 and x.max(0).indices.dtype == np.intp and not x.max(0).indices.requires_grad
    assert (tensor([7, 8]) / 2).dtype == np.float64 and (tensor([7, 8]) * 2).dtype == np.int64


def test_the_mean_of_nothing_is_nan():
    assert np.isnan(tensor([]).mean().item())
    assert np.isnan(tensor(np.ones((0, 2))).mean(axis=0).numpy()).all()
    assert tensor(np.ones((0, 2))).mean(axis=1).shape == (0,)


# ---- conversions


def test_conversions():
    x = tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    assert (x.shape, x.ndim, len(x), x.device, x.numel()) == ((2, 2), 2, 2, "cpu", 4)
    assert [row.tolist() for row in x] == x.tolist() == [[1, 2], [3, 4]]
    assert x.is_leaf and x.grad_fn is None and not (x * 2).is_leaf
    assert repr(x[0, 0]) == "tensor(1., grad_fn=<GetItemBackward>)" and f"{x[0, 0]:.2f}" == "1.00"
    assert repr(tensor([1.0], dtype=np.float64)) == "tensor([1.], dtype=float64)"
    scalar = tensor(2.0)
    assert (scalar.item(), float(scalar), int(scalar), bool(scalar)) == (2.0, 2.0, 2, True)
    assert [10, 20, 30][tensor(1)] == 20
    with pytest.raises(TypeError, match="0-d integer"):
        [10, 20][scalar]
    for error, wrong in ((TypeError, len), (TypeError, iter)):
        with pytest.raises(error, match="0-d"):
            wrong(scalar)
    for wrong in (float, bool, int):
        with pytest.raises(ValueError, match=r"\(2, 2\)"):
            wrong(x)


def test_the_array_protocol():
    x = tensor([1.0, 2.0])
    assert np.shares_memory(np.asarray(x), x.numpy()) and np.shares_memory(np.array(x, copy=None), x.numpy())
    assert not np.shares_memory(np.array(x), x.numpy()) and np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(ValueError, match="copy"):
        np.array(x, dtype=np.float64, copy=False)
    scalar = tensor(1.0)
    scalar.numpy()[...] = 5
    assert scalar.item() == 5 and scalar.detach().numpy() is scalar.numpy()


def test_devices_and_dtypes():
    x = tensor([1.0], requires_grad=True)
    assert x.to("cpu") is x.cpu() is x.to(device="cpu:0") is x.to(np.float32) is x
    assert x.to(np.float64).requires_grad and not x.to(np.int64).requires_grad
    for move in (x.cuda, lambda: x.to("cuda"), lambda: x.to("cuda:1"), lambda: tensor(1.0, device="cuda")):
        with pytest.raises(RuntimeError, match="^device: cuda.* is not available"):
            move()
    with pytest.raises(ValueError, match="device: expected cpu or cuda"):
        tensor(1.0, device="tpu")


def test_leaves_can_be_pickled_and_copied():
    x = tensor([1.0, 2.0], requires_grad=True)
    (x * x).sum().backward()
    for twin in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), pickle.loads(pickle.dumps(tensor(3)))):
        assert twin is not x and twin.dtype in (np.float32, np.int64)
    twin = copy.deepcopy(x)
    assert twin.requires_grad and twin.grad.tolist() == [2, 4] and not np.shares_memory(twin.numpy(), x.numpy())
    for copying in (copy.deepcopy, pickle.dumps):
        with pytest.raises(RuntimeError, match="only a leaf"):
            copying(x * 2)


# ---- changes in place


def test_a_leaf_that_requires_a_gradient_is_not_written():
    w = tensor([1.0, 2.0], requires_grad=True)
    for change in (lambda: w.__setitem__(0, 5.0), lambda: operator.iadd(w, 1), w.zero_):
        with pytest.raises(RuntimeError, match="leaf"):
            change()
    assert w.tolist() == [1, 2]
    with no_grad():
        same, memory = w, w.numpy()
        w -= 0.5
        w *= 2
    assert w is same and w.is_leaf and w.requires_grad and memory.tolist() == [1, 3]


@pytest.mark.parametrize("function", [lambda x: x.exp(), lambda x: x.sqrt(), lambda x: x**2 * x])
def test_a_change_of_what_the_gradient_needs_is_noticed(function):
    x = tensor([1.0, 2.0], requires_grad=True)
    h = x * 1
    y = function(h)
    (h if y.grad_fn.name() == "MulBackward" else y)[0] = 9.0
    with pytest.raises(RuntimeError, match="changed in place"):
        y.sum().backward()
    assert x.grad is None


def test_changes_through_views_and_detached_tensors_are_noticed():
    data = tensor([[1.0, 2.0], [3.0, 4.0]])
    w = tensor([1.0, 2.0], requires_grad=True)
    for change in (
        lambda: data.__setitem__(0, 0.0), lambda: data[1].__setitem__(0, 0.0), lambda: data.T.zero_(),
        lambda: data.detach().__setitem__((0, 0), 1.0), lambda: data.reshape(-1).__setitem__(slice(1), 2.0),
    ):  # fmt: skip
        y = (w * data).sum()
        change()
        with pytest.raises(RuntimeError, match="MulBackward: a tensor of shape .* changed in place"):
            y.backward()
    (w * data).sum().backward()  # used after the change: right
    np.testing.assert_array_equal(w.grad.numpy(), data.numpy().sum(0))


def test_what_is_not_needed_may_be_changed():
    x, buffer = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 4.0])
    y = x + buffer
    buffer.zero_()
    y += 1  # y itself is not kept by the addition
    y[0] = 7.0
    y.sum().backward()
    assert y.tolist() == [7, 7] and x.grad.tolist() == [0, 1]


def test_products_in_place():
    x, f = tensor([1.0, 2.0], requires_grad=True), tensor([3.0, 4.0], requires_grad=True)
    y = x * 1
    memory = y.numpy()
    y *= f
    y /= 2
    assert memory.tolist() == [1.5, 4] and y.tolist() == [1.5, 4]
    y.sum().backward()
    assert x.grad.tolist() == [1.5, 2] and f.grad.tolist() == [0.5, 1]


def test_a_buffer_becomes_part_of_the_graph():
    w = tensor(3.0, requires_grad=True)
    buffer = tensor([0.0, 0.0])
    buffer[1] = w * w
    assert buffer.requires_grad and buffer.tolist() == [0, 9]
    buffer.sum().backward()
    assert w.grad.item() == 6


def test_the_result_in_place_must_fit():
    for change, other in ((operator.iadd, np.ones((2, 3))), (operator.itruediv, 2)):
        with pytest.raises(ValueError, match="in place: expected a result of int64"):
            change(tensor([1, 2, 3]), other)
    with pytest.raises(ValueError, match="read-only"):
        Tensor(np.broadcast_to(np.float32(1), 3))[0] = 2.0
