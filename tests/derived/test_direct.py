"""The shortest way of a call answers what the general way does, and leaves to it what it does not know."""

import math

import numpy as np
import pytest

import nbgrad
from nbgrad import differentiable, kernels


@differentiable
def gate(w, x, b=0.25):
    return np.tanh(w * x + b) * kernels.sigmoid(x)


@differentiable
def powers(x, n):
    total = 0.0
    for _ in range(n):
        total = total * x + 1
    return total


@differentiable
def square(x):
    return x * x


def general(call, *args, **kwargs):
    """The same call with arrays that are not contiguous, which the direct way does not take."""
    spread = [np.repeat(a, 2, axis=-1)[..., ::2] if isinstance(a, np.ndarray) else a for a in args]
    return call(*spread, **kwargs)


def flat(found):
    return [f for part in found for f in flat(part)] if isinstance(found, tuple) else [found]


CALLS = {
    "value": lambda w, x, b: gate(w, x, b),
    "default": lambda w, x, b: gate.value_and_grad(w, x),
    "value_and_grad": lambda w, x, b: gate.value_and_grad(w, x, b),
    "by name": lambda w, x, b: gate.value_and_grad(x=x, w=w, b=b, wrt=["b", 0]),
    "backward": lambda w, x, b: gate.backward(x, w, x, b),
    "grad_hess": lambda w, x, b: gate.grad_hess(w, x, b, wrt=1),
    "jvp": lambda w, x, b: gate.jvp((w, x, b), (x, None, 2.0)),
    "sum": lambda w, x, b: gate.sum(w, x, b),
    "sum and gradients": lambda w, x, b: gate.sum.value_and_grad(w, x, b),
    "mean": lambda w, x, b: gate.mean.value_and_grad(w, x, b, wrt=("x", "b")),
    "weighted": lambda w, x, b: gate.sum.value_and_grad(w, x, b, weight=x),
    "weighted mean": lambda w, x, b: gate.mean.value_and_grad(w, x, b, weight=np.abs(x)),
    "hessp": lambda w, x, b: gate.mean.hessp((x, 2.0), w, x, b, wrt=("x", "b")),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_the_same_bits_on_both_ways(name):
    rng = np.random.default_rng(1)
    for shape in ((9,), (3, 1700), (40_001,))[: 3 if name == "sum and gradients" else 2]:
        w, x, b = (rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(3))
        for several in ((w, x, b), (w, x, 2 if name == "mean" else 0.5))[: 1 if len(x) > 9 else 2]:
            here, there = flat(CALLS[name](*several)), flat(general(CALLS[name], *several))
            assert len(here) == len(there)
            for one, other in zip(here, there, strict=True):
                assert type(one) is type(other) and one.dtype == other.dtype == np.float32
                np.testing.assert_array_equal(one, other, strict=True)


def test_a_call_is_no_precedent_for_others():
    """What was written for one call's types is not taken for arrays of another dtype, shape or layout."""
    x, whole = np.linspace(-1, 1, 6), np.arange(6)
    assert len(gate.sum.value_and_grad(whole, whole, x)[1]) == 1  # by floats alone
    assert len(gate.sum.value_and_grad(x, x, x)[1]) == 3
    assert len(gate.sum.value_and_grad(whole, x, x)[1]) == 2
    assert gate.value_and_grad(x, x.astype(np.float32), x)[0].dtype == np.float64
    assert gate(x, x[:1], x).shape == (6,) and gate.sum.value_and_grad(x, x[:1], x)[1][1].shape == (1,)
    with pytest.raises(ValueError, match="w: expected shapes that broadcast together"):
        gate.sum.value_and_grad(x, x[:4], x)
    with pytest.raises(TypeError, match="x: expected float32, float64"):
        gate(x, x.astype(complex), x)
    for wrong in (True, 1.0, {}, x):  # True == 1.0 == 1 as keys
        gate.value_and_grad(x, x, x, wrt=1)
        with pytest.raises(ValueError, match="wrt: expected names or numbers"):
            gate.value_and_grad(x, x, x, wrt=wrong)
    assert gate(x, x, 10**400 % 7) is not None
    with pytest.raises((OverflowError, TypeError, ValueError)):
        gate(x, x, 10**400)
    assert gate(np.ones(()), 1.0, 1.0).shape == () and gate(x[:0], x[:0], x[:0]).size == 0
    assert math.isnan(gate.mean(x[:0], x[:0], x[:0])) and gate.sum(x[:0], x[:0], x[:0]) == 0


def test_turns_are_integers_on_the_direct_way():
    x = np.linspace(-1, 1, 6)
    np.testing.assert_allclose(powers(x, 3), 1 + x + x * x)
    np.testing.assert_allclose(powers.sum.value_and_grad(x, 3)[1][0], 1 + 2 * x)
    for wrong in (3.0, True):
        with pytest.raises(TypeError, match="^n: expected "):
            powers(x, wrong)


@pytest.mark.parametrize("size", [100, 5000])
def test_sums_beyond_the_range(size):
    """inf and nan are results like others, without a warning, whatever the number of blocks."""
    x = np.full(size, 4e18, np.float32)
    assert square.sum(x) == np.inf and square.sum.value_and_grad(x)[1][0][0] == np.float32(8e18)
    assert square.sum(np.full(size, 1e200)) == np.inf
    x[size // 2] = np.nan
    assert np.isnan(square.sum(x)) and np.isnan(square.mean(x))


def test_sums_keep_the_rounding_errors_of_blocks():
    @differentiable
    def itself(x):
        return 1.0 * x

    x = np.zeros(40_960)
    x[0], x[20_480], x[40_000] = 1e16, 1.0, -1e16
    for many in (x, np.repeat(x, 2)):
        assert itself.sum(many) == many.size // 40_960
        with nbgrad.jit.serial_loops():
            assert itself.sum(many) == many.size // 40_960


TABLES = {
    "row and column": ((70, 500), (500,), (70, 1)),
    "row, full, number": ((9, 1, 130), (5, 130), 0.5),
    "rows and a column": ((600,), (90, 1), (1, 600)),
    "longer than a block": ((3, 9000), (9000,), (3, 1)),
    "neither row nor column": ((3, 1, 80), (3, 40, 1), (40, 80)),
    "narrow": ((900, 3), (3,), (900, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_rows_and_columns(name):
    """Against the same call on arrays of the joint shape, whose gradients NumPy adds up."""
    rng = np.random.default_rng(4)
    given = [rng.uniform(-1, 1, s).astype(np.float32) if isinstance(s, tuple) else s for s in TABLES[name]]
    joint = np.broadcast_shapes(*map(np.shape, given))
    wide = [np.broadcast_to(np.float32(a), joint).copy() for a in given]
    g = rng.uniform(-1, 1, joint).astype(np.float32)
    whole, slopes = gate.value_and_grad(*wide)
    value, grads = gate.sum.value_and_grad(*given)
    np.testing.assert_allclose(value, whole.sum(dtype=float), rtol=1e-6)
    several = [(grads, 1)]
    if name == "row, full, number":
        several.append((gate.backward(g, *given), g.astype(float)))
        for one, other in zip(gate.value_and_grad(*given)[1], slopes, strict=True):
            np.testing.assert_array_equal(one, other)
    for found, weights in several:
        for a, one, slope in zip(given, found, slopes, strict=True):
            own = (1,) * (len(joint) - np.ndim(a)) + np.shape(a)
            axes = tuple(k for k, n in enumerate(own) if n != joint[k])
            expected = (slope * weights).sum(axis=axes).reshape(np.shape(a))
            assert one.dtype == np.float32 and np.shape(one) == np.shape(a)
            np.testing.assert_allclose(one, expected, rtol=1e-5, atol=1e-5 * np.abs(slope).max())


def test_the_bits_of_a_table_depend_on_nothing_else():
    """Neither on the number of threads nor on where the arrays lie."""
    rng = np.random.default_rng(5)
    given = [rng.uniform(-1, 1, s).astype(np.float32) for s in ((701, 90), (90,), (701, 1))]
    value, grads = gate.sum.value_and_grad(*given)
    elsewhere = []
    for a in given:
        memory = np.empty(a.size + 3, np.float32)[3:].reshape(a.shape)
        memory[...] = a
        elsewhere.append(memory)
    for several in (given, elsewhere):
        with nbgrad.jit.serial_loops():
            again, others = gate.sum.value_and_grad(*several)
        assert again == value and gate.sum.value_and_grad(*several)[0] == value
        for one, other in zip(grads, others, strict=True):
            np.testing.assert_array_equal(one, other)


def test_a_table_of_numbers_out_of_range():
    """A gradient beyond float32 is inf, without a warning; no rows, no columns."""
    table, row = np.full((300, 100), 3e19, np.float32), np.full(100, 3e19, np.float32)

    @differentiable
    def product(x, y):
        return x * x * y

    value, (d_table, d_row) = product.sum.value_and_grad(table, row * 1e-19)
    assert np.isposinf(d_row).all() and d_table.shape == (300, 100) and d_row.shape == (100,)
    for m, n in ((0, 100), (3, 0)):
        value, (d_table, d_row) = product.sum.value_and_grad(np.ones((m, n)), np.ones(n))
        assert value == 0 and d_table.shape == (m, n) and d_row.shape == (n,) and not d_row.any()


def test_results_in_memory_of_the_callers():
    rng = np.random.default_rng(6)
    w, x, row = (rng.uniform(-1, 1, s).astype(np.float32) for s in ((3, 70), (3, 70), (70,)))
    value, (d_w, d_row) = gate.value_and_grad(w, row, 0.5, wrt=(0, 1))
    outs = np.empty_like(w), (None, np.empty((3, 140), np.float32)[:, ::2])
    found = gate.value_and_grad(w, row, 0.5, wrt=(0, 1), out=outs)
    assert found[0] is outs[0] and found[1][1] is outs[1][1]
    for one, other in zip((found[0], *found[1]), (value, d_w, d_row), strict=True):
        np.testing.assert_array_equal(one, other)
    calls = [
        (lambda **k: gate.backward(x, w, row, 0.5, **k), (3, 70), (70,)),
        (lambda **k: gate.jvp((w, row, 0.5), (x, None, None), **k), (3, 70), (3, 70)),
        (lambda **k: gate.grad_hess(w, row, 0.5, **k), (3, 70), (3, 70)),
        (lambda **k: gate.mean.hessp((x, row), w, row, 0.5, wrt=(0, 1), **k), (3, 70), (70,)),
    ]
    for call, *shapes in calls:
        memory = [np.full(s, np.nan, np.float32) for s in shapes] + [np.full((), np.nan, np.float32)]
        expected = call()
        memory = memory[: len(expected)]
        found = call(out=memory)
        for one, other, own in zip(found, expected, memory, strict=True):
            assert one is own
            np.testing.assert_array_equal(one, other)
    total, grads = gate.sum.value_and_grad(w, row, 0.5)
    mine = np.empty_like(w), np.empty_like(row), None
    found = gate.sum.value_and_grad(w, row, 0.5, out=(None, mine))
    assert found[0] == total and found[1][0] is mine[0] and found[1][1] is mine[1] and found[1][2] == grads[2]
    for one, other in zip(mine[:2], grads, strict=False):
        np.testing.assert_array_equal(one, other)
    flat, own = np.ascontiguousarray(w[0]), np.empty(70, np.float32)
    expected = gate.sum.value_and_grad(flat, row, 0.5)
    found = gate.sum.value_and_grad(flat, row, 0.5, out=(None, (own, None, None)))
    assert found[0] == expected[0] and found[1][0] is own and found[1][2] == expected[1][2]
    for one, other in zip(found[1], expected[1], strict=True):
        np.testing.assert_array_equal(one, other)
    number = np.empty((), np.float32)
    assert gate.sum.value_and_grad(flat, row, 0.5, out=(None, (None, None, number)))[1][2] is number
    assert number == expected[1][2]
    shared = np.concatenate([flat, flat[:1]])
    gate.sum.value_and_grad(shared[:70], row, 0.5, out=(None, (shared[1:], None, None)))
    np.testing.assert_array_equal(shared[1:], expected[1][0])
    with pytest.raises(ValueError, match="^out: expected memory of its own"):
        gate.sum.value_and_grad(flat, row, 0.5, out=(None, (own, own, None)))
    again = w.copy()  # over an argument, element by element, and beside its place
    gate.sum.value_and_grad(again, row, 0.5, out=(None, (again, None, None)))
    np.testing.assert_array_equal(again, grads[0])
    memory = np.empty(9, np.float32)
    memory[:8] = w.ravel()[:8]
    expected = gate.value_and_grad(memory[:8].copy(), 0.5, 0.5, wrt=0)[1][0]
    gate.value_and_grad(memory[:8], 0.5, 0.5, wrt=0, out=(None, (memory[1:],)))
    np.testing.assert_array_equal(memory[1:], expected)
    for wrong in ((None, (again,)), np.empty(3), (None, None), (again,), {}):
        with pytest.raises(ValueError, match="^out: expected arrays or None in the form of"):
            gate.value_and_grad(w, row, 0.5, out=wrong)
    with pytest.raises(ValueError, match="^out: expected memory of its own"):
        gate.value_and_grad(w, row, 0.5, wrt=(0, 1), out=(None, (again, again)))
    with pytest.raises(ValueError, match="^out: expected shape"):
        gate.sum.value_and_grad(w, row, 0.5, wrt=1, out=(None, (np.empty((1, 70), np.float32),)))
    with pytest.raises(TypeError, match="^out: expected dtype float32"):
        gate.sum.value_and_grad(w, row, 0.5, wrt=1, out=(None, (np.empty(70),)))
