"""Indices of every kind that NumPy takes, changes in place and views. More on indexing: test_operators.py."""

import array
import collections
import copy
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from strategies import check_tensors, grid

from nbgrad import functional, nn
from nbgrad.autograd.combine import where
from nbgrad.autograd.function import Function
from nbgrad.autograd.tape import no_grad
from nbgrad.autograd.tensor import Tensor, tensor


def leaf(*values):
    return tensor(list(values), np.float64, requires_grad=True)


# ---- indices


class Two:
    def __index__(self):
        return 2

    def __repr__(self):  # the test's name, the same in every process
        return "Two()"


@pytest.mark.parametrize(
    "key",
    [
        ((0, 0, 1),), ([0, 0, 1],), (range(2),), (collections.deque([1, 1]),), (array.array("q", [2, 2, -1]),),
        (((0, 0), (1, 2)),), ([(0,), (0,)], (0, 0, 1)), (tensor([1, 1, 0]),), ([tensor(1), tensor(1)],), (np.array(1),),
        (tensor(1),), (np.int8(1), (0, 0)), (np.uint8(1), np.int64(-1)), (Two(),), (Two(), [0, 0]), (..., (0, 0)), (None, (1, 1)),
        ((1, 1), None, slice(np.int64(1), np.array(3))), (np.array(1), (0, 0, 2)), (np.array([[0, 0]]).view(np.matrix),), (slice(None), (2, 2)),
        (np.array([0, 0]).view(type("Mine", (np.ndarray,), {})),), ((True, False, True),), ([True, False, True], (0, 0)), (np.bool_(True),), (True,),
        (False, ...), ((),), ([],), (np.ones((3, 3), bool),), (tensor(np.eye(3) > 0),), (np.array([2, 2], ">i4"),), ((0, 0), (1, 1)),
        (np.array([0, 0], np.uint8), slice(None, None, -1)), (slice(tensor(1), None), [0, 0, 0]),
    ],
    ids=repr,
)  # fmt: skip
def test_indices_of_every_kind_that_numpy_takes(key):
    x = np.arange(9.0).reshape(3, 3)
    plain = tuple(part.numpy() if isinstance(part, Tensor) else part for part in key)
    expected = x[plain]
    for used in (key, *(key if len(key) == 1 and not isinstance(key[0], tuple) else ())):
        np.testing.assert_array_equal(Tensor(x)[used].numpy(), expected)
        check_tensors(lambda t, used=used: t[used], x)
    value = np.arange(np.size(expected), dtype=float).reshape(np.shape(expected)) + 0.5

    def written(t, v):
        t = t * 1
        t[key] = v
        return t

    changed = x.copy()
    changed[plain] = value
    np.testing.assert_array_equal(written(Tensor(x), Tensor(value)).numpy(), changed)
    check_tensors(written, x, value)


def test_a_tuple_that_picks_twice_adds_up():
    x = leaf(1.0, 2.0, 3.0)
    x[(0, 0, 1),].sum().backward()
    assert x.grad.tolist() == [2, 1, 0]


@pytest.mark.parametrize("key", ["a", 1.0, np.float64(1), [1.0], np.array([]), {0}, [[0], [0, 1]], (slice(1.5),), 3, (0, 0)])
def test_what_numpy_takes_for_no_index_is_refused(key):
    x = leaf(1.0, 2.0, 3.0)
    with pytest.raises((IndexError, TypeError, ValueError)):
        np.arange(3.0)[key]
    with pytest.raises((IndexError, TypeError, ValueError)):
        x[key]


def test_masked_indices_are_refused():
    with pytest.raises(TypeError, match="index: expected an array without a mask"):
        leaf(1.0, 2.0)[np.ma.masked_array([0, 1], [True, False])]


def test_in():
    t = tensor([[1.0, 2.0], [3.0, 4.0]])
    assert 1.0 in t and 5 not in t and np.float32(2) in t and tensor(4) in t and np.array([1.0, 9.0]) in t
    assert True not in tensor([]) and 1.0 in tensor(1.0) and 1.0 not in tensor(2.0)
    for wrong in ("a", None, [1.0, 2.0]):
        with pytest.raises(TypeError, match="in: expected a number"):
            wrong in t  # noqa: B015


# ---- changes in place where nobody has a view


def test_the_output_of_a_layer_is_changed_in_place():
    net, x = nn.Linear(3, 8, rng=np.random.default_rng(0), dtype=np.float64), np.arange(6.0).reshape(2, 3)
    y = net(Tensor(x))
    y[:, :7] = 0
    y[0] += 1
    y[1, 7] *= 3
    y.sum().backward()
    assert net.bias.grad.tolist() == [0] * 7 + [4] and y.detach()[0, :7].tolist() == [1] * 7
    np.testing.assert_array_equal(net.weight.grad.numpy(), [[0] * 3] * 7 + [x[0] + 3 * x[1]])


def in_c_order(y):
    return y if y.detach().numpy().flags.c_contiguous else y.reshape(-1).reshape(y.shape)


@pytest.mark.parametrize(
    "change",
    [
        lambda y: operator.setitem(y, 0, 5.0), lambda y: operator.setitem(y, (0, 1), y[1, 0]),
        lambda y: operator.setitem(y, 0, y[1]), lambda y: operator.setitem(y[0], 1, 7.0),
        lambda y: operator.setitem(y[0][1:], 0, y[1, 1] * 2), lambda y: operator.setitem(y.T, 0, 0.0),
        lambda y: operator.setitem(y.reshape(-1), slice(3), 2.0), lambda y: operator.iadd(y.T[0].reshape(1, 2), 3.0),
        lambda y: operator.imul(y.T, y.T.clone()), lambda y: operator.setitem(y, y > 1, 0.0),
        lambda y: operator.setitem(y, ((0, 0), (1, 1)), y[1, :2] * 2), lambda y: y[1].zero_(),
        lambda y: operator.setitem(y, slice(None), np.ones(3)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("make", [lambda w: w * 2, lambda w: (w * 2).reshape(3, 2).reshape(2, 3), lambda w: (w.T * 2).T,
                                  lambda w: functional.linear(w, np.eye(3)), lambda w: where(w > 0, w, 1.0)])  # fmt: skip
def test_changes_in_place_are_differentiated(make, change):
    x = np.array([[0.5, 1.5, -0.25], [1.25, -0.75, 2.0]])

    def function(w):
        y = in_c_order(make(w))  # else reshape would copy where w lies otherwise
        change(y)
        return y * y

    check_tensors(function, x)


def test_augmented_assignment_of_parts():
    def function(w):
        y = w * 2
        y[0] += 1
        y[1] *= 1 * y[0]
        y[:, 1] -= w[:, 0]
        y[0, 1] /= 2
        y[(0, 0, 1),] += 1
        y[1][2:] += 4
        y.T[0] *= 3
        y[...] **= 2
        y[1] %= 2.0
        y %= 7 + 1 * y[:, :1]
        y[1, 2] //= 2.0
        return y

    w = np.array([[0.5, 1.5, -0.25], [1.25, -0.75, 2.0]])
    check_tensors(function, w)
    np.testing.assert_array_equal(function(Tensor(w)).numpy(), function(w.copy()))
    np.testing.assert_array_equal(function(Tensor(w, requires_grad=True)).detach().numpy(), function(w.copy()))


keys = hnp.basic_indices((2, 3), allow_newaxis=True) | st.sampled_from([(0,), (slice(None), 1), ([0, 0],), ((1, 0), (1, 1))])
step = st.tuples(
    st.lists(keys | st.sampled_from(["T", "flat"]), max_size=2), keys,
    st.sampled_from(["set", "set v", "iadd", "imul", "isub"]), st.booleans(),
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(step, min_size=1, max_size=5), grid((2, 3)), grid((), 1))
def test_random_changes_are_right_or_refused(steps, x, v):
    """Views of views are made, kept or dropped, and written into; whatever was refused is left out."""

    def run(w, v, wanted=None):
        y, kept, done = in_c_order(w * 2), [], []
        for number, (path, key, kind, keep) in enumerate(steps):
            if wanted is not None and number not in wanted:
                continue
            at = y
            try:
                for part in path:
                    at = at.T if part == "T" else at.reshape(-1) if part == "flat" else at[part]
                if kind.startswith("set"):
                    at[key] = v * 3 if kind == "set v" else 0.75
                else:
                    at[key] = getattr(operator, kind)(at[key], v if kind == "iadd" else 1.5)
            except IndexError:
                continue
            except RuntimeError as error:
                assert "view" in str(error)
                continue
            if keep:
                kept.append(at)
            done.append(number)
        # what the kept views say of themselves must still be true; and there is always something to confirm
        return sum((k.sum() for k in kept), (y * y).sum() + (w * v).sum()), done

    wanted = run(Tensor(x, requires_grad=True), Tensor(v, requires_grad=True))[1]
    again = run(Tensor(x, requires_grad=True), Tensor(v, requires_grad=True), wanted)[1]
    assert again == wanted
    check_tensors(lambda w, u: run(w, u, wanted)[0], x, v)


def test_writing_where_another_tensor_would_lose_its_history_is_refused():
    w = leaf(1.0, 2.0, 3.0)
    y = w * 2
    view = y[:2]
    with pytest.raises(RuntimeError, match="view"):
        y[0] = 0.0
    y[2] = 0.0  # not in the view
    view[0] = 0.0  # y follows
    (y * view[1]).sum().backward()  # (w·2)² of the second
    assert w.grad.tolist() == [0, 16, 0]
    array = np.zeros(3)
    for first, second in (
        (Tensor(array), Tensor(array)), (Tensor(array), Tensor(array[1:])), (Tensor(array[:2]), Tensor(array[1:])),
        ((z := w * 2), Tensor(z.numpy())), (tensor([0.0, 0.0, 0.0])[:], z.detach()[:]),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="view"):
            first[...] = w[: len(first)]
            second[...] = w[: len(second)]
            assert not np.shares_memory(first.detach().numpy(), second.detach().numpy())
            raise RuntimeError("no view")


def test_a_detached_tensor_that_would_take_the_graph_from_under_another_is_refused():
    w = leaf(1.0, 2.0)
    y = w * 2
    detached = y.detach()
    with pytest.raises(RuntimeError, match="view"):
        detached[0] = w[0]
    with pytest.raises(RuntimeError, match="view"):
        copy.copy(tensor([1.0, 2.0]).requires_grad_()).detach()[0] = w[0] if False else y[0]
        detached[1] = y[0]
    y[0] = 5.0  # the detached one is outside the graph: it has no history to lose
    assert detached.tolist() == [5, 4]
    y.sum().backward()
    assert w.grad.tolist() == [0, 2]


def test_views_of_leaves_are_not_written():
    w = leaf(1.0, 2.0)
    for change in (
        lambda: operator.setitem(w[:1], 0, 3.0), lambda: operator.iadd(w.reshape(2, 1), 1), lambda: w[:1].zero_(),
        lambda: operator.setitem(w, slice(1), w[:1]),
    ):  # fmt: skip
        with pytest.raises(RuntimeError, match="leaf"):
            change()
    with no_grad():
        w[:1] += 1
        w[1][...] = 3.0  # a number: no view
    assert w.tolist() == [2, 2] and w.is_leaf


def test_a_function_that_returns_a_view_of_its_argument():
    class First(Function):
        @staticmethod
        def forward(ctx, x):
            return x[:1]

        @staticmethod
        def backward(ctx, g):
            return tensor([1.0, 0.0]) * g

    x = leaf(1.0, 2.0)
    h = x * 2
    first = First.apply(h)
    first[0] = 7.0
    assert h.tolist() == [2, 4]
    h.sum().backward()
    assert x.grad.tolist() == [2, 2]


def test_views_that_are_gone_do_not_matter_and_a_view_keeps_no_graph_without_one():
    w = leaf(1.0, 2.0)
    y = w * 2
    for _ in range(3):
        assert y[:1].tolist() == [2]
    y[0] = 1.0
    z = w.exp()
    with no_grad():
        part = z[:1]
    assert part._view_of is None
    with pytest.raises(RuntimeError, match="view"):
        z[0] = 1.0


def test_integers_take_no_part_in_the_graph():
    v = tensor(3.0, requires_grad=True)
    for y in (tensor([1, 2]), tensor([True, False]), tensor([1, 2], np.uint8)):
        for change in (
            lambda y=y: operator.setitem(y, 0, v), lambda y=y: operator.setitem(y, [True, False], v),
            lambda y=y: operator.setitem(y[:1], 0, v), lambda y=y: operator.setitem(y, ..., v * 2),
        ):  # fmt: skip
            with pytest.raises(TypeError, match="value: expected one that requires no gradient"):
                change()
        assert y.tolist()[1] in (2, False) and not y.requires_grad
    with no_grad():
        y[0] = v
    assert y.tolist() == [3, 2]
    y[1] = v.detach()
    assert y.tolist() == [3, 3]


# ---- what is written


def test_numbers_that_do_not_fit_are_not_written():
    for dtype, wrong in (
        (np.uint8, 300), (np.uint8, -1), (np.uint8, np.int64(300)), (np.int8, np.array([128, 0])), (np.uint8, [256, 1]),
        (np.int64, 2**63), (np.int64, np.uint64(2**63)), (np.int64, np.inf), (np.int64, np.array(1e30)), (np.int16, tensor([40000, 1])),
        (np.uint64, -1), (np.uint64, tensor(-1)), (np.int32, np.float32(2**31)), (np.uint8, np.array([-1.0, 0.0])),
    ):  # fmt: skip
        t = tensor([1, 1], dtype)
        with pytest.raises(OverflowError):
            t[:] = wrong
        with pytest.raises(OverflowError):
            t[np.shape(wrong) and slice(None)] = wrong
        assert t.tolist() == [1, 1]
    for nan in (np.nan, np.array([np.nan, 1.0]), tensor(np.nan)):
        with pytest.raises(ValueError):
            t[:] = nan
    t[:] = np.array([255.9, -0.9])  # towards zero, as NumPy
    assert t.tolist() == [255, 0]
    t += np.array([0, 255])
    with pytest.raises(OverflowError, match="value: expected numbers in the range of uint8, got 256"):
        t += np.array([0, 1])
    x = tensor([0.0, 0.0], np.float64)
    x[0], x[1] = 0.1, np.float32(0.5)
    assert x.tolist() == [0.1, 0.5]
    x[:] = [0.1, 0.2]
    assert x.tolist() == [0.1, 0.2]


def test_arrays_of_every_class_are_written(tmp_path):
    memory = np.memmap(tmp_path / "numbers", np.float32, "w+", shape=(2,))
    memory[:] = [3.0, 4.0]
    mine = np.array([3.0, 4.0]).view(type("Mine", (np.ndarray,), {}))
    records = np.rec.array([(3.0,), (4.0,)], dtype=[("x", "f4")]).x
    w = tensor([1.0, 2.0], requires_grad=True)
    for value in (memory, mine, records, memory.view(np.recarray), [3, 4], (3.0, 4.0), range(3, 5), tensor([3, 4])):
        for t in (tensor([1.0, 2.0]), w * 1, tensor([1, 2])):
            t[:] = value
            assert t.tolist() == [3, 4]
            t[[1, 0]] = value
            assert t.tolist() == [4, 3]
    for t in (tensor([1.0, 2.0]), w * 1):
        with pytest.raises(TypeError, match="value: expected an array without a mask"):
            t[:] = np.ma.masked_array([1.0, 2.0], [True, False])
        with pytest.raises(TypeError, match="value: expected an array without a mask"):
            t[0] = np.ma.masked
        with pytest.raises(RuntimeError, match="value: expected values outside the graph"):
            t[:] = [w[0], w[1]]
        for wrong in (None, "a", 1j, [1j, 2]):
            with pytest.raises(TypeError, match="value: expected"):
                t[0] = wrong
