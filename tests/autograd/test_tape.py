"""The tape, the backward pass, no_grad."""

import copy
import gc
import threading
import tracemalloc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import check_tensors, grid

from nbgrad.autograd.combine import cat
from nbgrad.autograd.tape import enable_grad, is_grad_enabled, no_grad
from nbgrad.autograd.tensor import Tensor, tensor


def leaf(*values, dtype=np.float64):
    return tensor(values[0] if len(values) == 1 else list(values), dtype, requires_grad=True)


@pytest.fixture
def slides():
    """The slides' graph: a, w1..w4 = 2, 3, 5, 7, 11, so b = 6, c = 10, d = 152, L = -142."""
    a, w1, w2, w3, w4 = (tensor(value, requires_grad=True) for value in (2.0, 3.0, 5.0, 7.0, 11.0))
    b = w1 * a
    c = w2 * a
    d = w3 * b + w4 * c
    return {"a": a, "w1": w1, "w2": w2, "w3": w3, "w4": w4, "b": b, "c": c, "d": d, "L": 10 - d}


def test_the_slides_graph(slides):
    slides["L"].backward()
    # the chain rule by hand: dL/dd = -1, dd/dw3 = b, dd/dw1 = w3 a, and so on; a is reached on two ways
    expected = {"w4": -10, "w3": -6, "w2": -11 * 2, "w1": -7 * 2, "a": -(7 * 3 + 11 * 5)}
    assert {name: slides[name].grad.item() for name in expected} == expected
    assert slides["L"].item() == -142 and slides["w1"].grad.dtype == np.float32
    assert slides["b"].grad is None


def test_the_graph_can_be_walked_by_hand_as_on_the_slides(slides):
    def walk(function, incoming):
        for (following, _), gradient in zip(function.next_functions, function.backward(incoming), strict=True):
            if following is not None:
                walk(following, gradient)

    L = slides["L"]
    assert L.grad_fn.name() == "SubBackward" and repr(L.grad_fn) == "<SubBackward>"
    (ten, _), (d, number) = L.grad_fn.next_functions
    assert ten is None and d is slides["d"].grad_fn and number == 0 and d.name() == "AddBackward"
    b = slides["b"].grad_fn
    w1, a = (function for function, _ in b.next_functions)
    assert w1.name() == "AccumulateGrad" and w1.variable is slides["w1"] and a.next_functions == ()
    assert [g.item() for g in b(tensor(10.0))] == [20, 30]  # calling it is the same
    walk(L.grad_fn, tensor(1.0))
    assert [slides[name].grad.item() for name in ("w1", "w2", "w3", "w4", "a")] == [-14, -22, -6, -10, -76]
    with pytest.raises(TypeError, match="grad_output: expected a Tensor, got float"):
        b.backward(1.0)
    with pytest.raises(ValueError, match=r"grad_output: expected shape \(\), got \(2,\)"):
        b.backward(tensor([1.0, 2.0]))
    with pytest.raises(TypeError, match="expected 1 gradients"):
        b.backward()
    L.backward()
    with pytest.raises(RuntimeError, match="freed"):
        b.backward(tensor(1.0))
    with pytest.raises(RuntimeError, match="freed"):
        b.next_functions  # noqa: B018


def test_by_hand_a_broadcast_gradient_is_reduced():
    x, y = leaf(1.0, 2.0), tensor(np.ones((3, 1), np.float32), requires_grad=True)
    gx, gy = (x * y).grad_fn.backward(Tensor(np.ones((3, 2))))
    assert gx.shape == (2,) and gx.dtype == np.float64 and gy.shape == (3, 1) and gy.dtype == np.float32


@settings(max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from("+-*")), min_size=1, max_size=12),
    grid(3),
)
def test_random_graphs(steps, values):
    """Diamonds, nodes used many times, dead branches: each step combines two earlier values."""

    def build(*leaves):
        made = list(leaves)
        for i, j, operation in steps:
            x, y = made[i % len(made)], made[j % len(made)]
            made.append({"+": x + y, "-": x - 0.5 * y, "*": x * y * 0.25}[operation])
        return made[-1] + sum(leaves) * 1.0

    check_tensors(build, *(np.array(value) for value in values))


def test_gradients_accumulate_over_passes_and_into_the_same_array():
    w = leaf(1.0, 2.0)
    (w * 3).sum().backward()
    first = w.grad
    (w * w).sum().backward()
    assert w.grad is first and first.tolist() == [5, 7]
    w.grad = None
    (w * w).sum().backward()
    assert w.grad.tolist() == [2, 4] and first.tolist() == [5, 7]


@pytest.mark.parametrize(
    "function",
    [lambda x, y: x + y, lambda x, y: x.T - y, lambda x, y: cat([x, y]), lambda x, y: (x + y)[:],
     lambda x, y: x.reshape(2, 1) + y.reshape(2, 1), lambda x, y: x.permute(0) + y.clone()],
)  # fmt: skip
def test_no_two_gradients_share_memory(function):
    """Rules that hand on the gradient they got must not give two leaves, or leaf and caller, one array."""
    x, y = leaf(1.0, 2.0), leaf(3.0, 4.0)
    z = function(x, y)
    mine = Tensor(np.ones(z.shape))
    z.retain_grad()
    z.backward(mine)
    arrays = [t.numpy() for t in (x.grad, y.grad, z.grad, mine)]
    assert not any(np.shares_memory(p, q) for i, p in enumerate(arrays) for q in arrays[:i])
    for once_more in (x.backward, (y * 1).grad_fn.next_functions[0][0].backward):
        x.grad = y.grad = None
        ones = Tensor(np.ones(2))
        once_more(ones)
        once_more(ones)
        assert ones.tolist() == [1, 1]


def test_retain_grad(slides):
    slides["b"].retain_grad()
    slides["L"].retain_grad()
    slides["L"].backward(retain_graph=True)
    assert slides["b"].grad.item() == -7 and slides["L"].grad.item() == 1 and slides["c"].grad is None
    slides["L"].backward()
    assert slides["b"].grad.item() == -14
    slides["a"].retain_grad()  # of a leaf: nothing to do
    with pytest.raises(RuntimeError, match="retain_grad"):
        tensor(1.0).retain_grad()


@pytest.mark.parametrize("change", ["+=", "-=", "*=", "/=", "[0] =", "zero_"])
def test_retain_grad_before_a_change_in_place(change):
    """It is the tensor's gradient that is kept, whatever operation made it last."""
    w = leaf(3.0, 5.0)
    y = w * 1.0
    y.retain_grad()
    if change == "[0] =":
        y[0] = 7.0
    elif change == "zero_":
        y.zero_()
    else:
        exec(f"y {change} 2.0")
    (y * leaf(10.0, 20.0)).sum().backward()
    assert y.grad.tolist() == [10, 20]
    factors = {"+=": (1, 1), "-=": (1, 1), "*=": (2, 2), "/=": (0.5, 0.5), "[0] =": (0, 1), "zero_": (0, 0)}[change]
    assert w.grad.tolist() == [10 * factors[0], 20 * factors[1]]


def test_retain_grad_keeps_what_came_before_a_change_in_place():
    w = leaf(3.0)
    y = w * 2
    y.retain_grad()
    y.backward(retain_graph=True)
    kept = y.grad
    y += 1
    y += w
    assert y.grad is kept
    (y * 5).backward()
    assert y.grad is kept and kept.item() == 6 and w.grad.item() == 2 + 15
    z = w * 1  # one that does not ask for it gets none
    z += 1
    z.backward()
    assert z.grad is None


def test_second_backward(slides):
    L = slides["L"]
    L.backward(retain_graph=True)
    L.backward()
    assert slides["w1"].grad.item() == -28
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        L.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):  # a part of the graph is gone, too
        (slides["b"] * 2).backward()
    assert slides["w1"].grad.item() == -28  # nothing changed


def test_bad_calls_of_backward():
    w = leaf(1.0, 2.0)
    with pytest.raises(RuntimeError, match=r"gradient: expected one, as the tensor has shape \(2,\)"):
        (w * 2).backward()
    with pytest.raises(RuntimeError, match="does not require a gradient"):
        tensor(1.0).backward()
    for wrong in (tensor([1.0]), 1.0, np.ones((2, 2))):
        with pytest.raises(ValueError, match=r"gradient: expected shape \(2,\)"):
            (w * 2).backward(wrong)
    for wrong in ([1j, 1j], ["a", "b"], np.ones(2, np.float16)):
        with pytest.raises(TypeError, match="gradient: expected dtype"):
            (w * 2).backward(wrong)
    assert w.grad is None
    (w * 2).backward([1, 3])  # numbers, integers too, are taken in the tensor's dtype
    assert w.grad.tolist() == [2, 6] and w.grad.dtype == np.float64


def test_grad_is_checked_when_set():
    w = leaf(1.0, 2.0)
    with pytest.raises(TypeError, match="grad: expected a Tensor or None, got ndarray"):
        w.grad = np.ones(2)
    for wrong in (tensor([1.0, 2.0]), Tensor(np.ones(3))):
        with pytest.raises(ValueError, match=r"grad: expected float64 \(2,\)"):
            w.grad = wrong
    with pytest.raises(RuntimeError, match="grad"):
        tensor(1.0).grad = tensor(1.0)
    w.grad = Tensor(np.ones(2))
    w.sum().backward()
    assert w.grad.tolist() == [2, 2]


def test_requires_grad():
    w = tensor([1.0])
    assert not w.requires_grad and w.requires_grad_() is w and w.requires_grad
    y = w * 2
    with pytest.raises(RuntimeError, match="detach"):
        y.requires_grad = False
    w.requires_grad_(False)
    assert not w.requires_grad and not (w * 2).requires_grad and not y.detach().requires_grad


def test_a_gradient_on_its_way_arrives_where_requires_grad_is_on_again():
    w, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    y = (w * v).sum()
    w.requires_grad_(False).requires_grad_(True)
    v.requires_grad = False
    y.backward(retain_graph=True)  # as PyTorch: what requires no gradient at that moment gets none
    assert w.grad.tolist() == [3, 4] and v.grad is None
    kept = w.grad
    w.requires_grad_(False)
    assert w.grad is kept and w.is_leaf and not (w * 2).requires_grad
    y.grad_fn.backward(tensor(1.0, np.float64))
    y.backward(retain_graph=True)
    v.requires_grad_(False).requires_grad_()
    w.requires_grad = True
    w.requires_grad = True
    y.backward()
    assert w.grad is kept and kept.tolist() == [6, 8] and v.grad.tolist() == [1, 2]
    w.requires_grad = False
    again = copy.deepcopy(w)
    assert again.grad.tolist() == [6, 8] and not again.requires_grad
    w.grad = None
    assert w.requires_grad_().grad is None
    for values in ([True], [False], [False, True, False]):  # of one that never took part in a graph
        x = tensor([1.0])
        for value in values:
            x.requires_grad = value
        assert x.requires_grad is values[-1] and x.grad is None


DEPTH = 100_000


@pytest.mark.parametrize("shape", [(), (2,)])
def test_a_deep_chain(shape):
    def chain():
        x = Tensor(np.ones(shape), requires_grad=True)
        y = x
        for _ in range(DEPTH // 2):
            y = -(y + 1.0)
        return x, y

    x, y = chain()
    y.sum().backward()
    assert (x.grad.numpy() == (-1) ** (DEPTH // 2)).all()
    x, y = chain()
    del y  # dropped with no backward pass
    x, y = chain()
    y.sum().backward(retain_graph=True)
    del y


@pytest.fixture
def no_garbage_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_a_pass_frees_the_graph(no_garbage_collector):
    w = Tensor(np.ones(1000), requires_grad=True)
    h = w * 2
    kept = weakref.ref(h.numpy())
    product = h * h  # keeps its factors, and stays
    del h
    product.sum().backward(retain_graph=True)
    assert kept() is not None
    product.sum().backward()
    assert kept() is None


def test_a_dropped_graph_is_freed_at_once(no_garbage_collector):
    w = Tensor(np.ones(1000), requires_grad=True)
    h = w * 2
    kept = weakref.ref(h.numpy())
    loss = (h * h).sum()
    del h
    assert kept() is not None
    del loss
    assert kept() is None


def test_a_sum_does_not_keep_large_intermediate_arrays():
    x = Tensor(np.ones(10_000), requires_grad=True)
    y = x
    tracemalloc.start()
    try:
        for _ in range(100):
            y = (y + 1.0) * 0.5
        used = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert used < 5 * 80_000


def test_no_grad_and_enable_grad():
    w = leaf(1.0)

    @no_grad()
    def without():
        assert not is_grad_enabled()
        with enable_grad():
            assert (w * 2).requires_grad
        return w * 2

    assert not without().requires_grad and is_grad_enabled()
    with pytest.raises(KeyError), no_grad():
        raise KeyError
    assert is_grad_enabled() and (w * 2).requires_grad
    seen = []
    with no_grad():
        thread = threading.Thread(target=lambda: seen.append(is_grad_enabled()))
        thread.start()
        thread.join()
    assert seen == [True]  # each thread has its own
