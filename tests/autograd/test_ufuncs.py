"""NumPy's ufuncs, and the operators beside an array or a number."""

import operator

import numpy as np
import pytest
import scipy.special
from strategies import check_tensors

from nbgrad import functional
from nbgrad.autograd.combine import maximum, minimum
from nbgrad.autograd.tensor import Tensor, tensor

X = np.array([[0.5, -1.25, 2.0], [3.5, 0.75, -0.5]])
Y = np.array([1.5, 0.25, -0.75])


@pytest.mark.parametrize("ufunc", [np.negative, np.positive, np.absolute, np.abs, np.exp, np.log, np.sqrt, np.square, np.tanh, scipy.special.expit,
                                   scipy.special.log_expit], ids=lambda u: u.__name__)  # fmt: skip
def test_ufuncs_of_one_operand(ufunc):
    x = abs(X) if ufunc in (np.log, np.sqrt) else X
    y = ufunc(Tensor(x, requires_grad=True))
    assert type(y) is Tensor and (y.requires_grad or ufunc is np.positive)
    np.testing.assert_allclose(y.detach().numpy(), ufunc(x), rtol=1e-15)
    check_tensors(ufunc, x)
    assert ufunc(tensor(1.0)).shape == ()


BINARY = [np.add, np.subtract, np.multiply, np.divide, np.true_divide, np.power, np.floor_divide, np.remainder, np.mod, np.maximum, np.minimum]


@pytest.mark.parametrize("ufunc", BINARY, ids=lambda u: u.__name__)
def test_ufuncs_of_two_operands(ufunc):
    x, y = (abs(X), abs(Y)) if ufunc is np.power else (X, Y)
    expected = ufunc(x, y)
    for a, b in ((Tensor(x), Tensor(y)), (Tensor(x), y), (x, Tensor(y))):
        z = ufunc(a, b)
        assert type(z) is Tensor
        np.testing.assert_array_equal(z.numpy(), expected)
    check_tensors(ufunc, x, y)
    check_tensors(lambda t: ufunc(x, t), y)
    check_tensors(lambda t: ufunc(t, y), x)
    check_tensors(lambda t: ufunc(t, 2.5) + ufunc(np.float64(1.5), t) + ufunc(3, t), x)
    assert ufunc(Tensor(x, requires_grad=True), y).requires_grad


def test_matmul():
    check_tensors(np.matmul, X, Y)
    check_tensors(lambda t: np.matmul(X, t), Y)
    check_tensors(lambda t: np.matmul(t, Y), X)


@pytest.mark.parametrize("ufunc", [np.equal, np.not_equal, np.less, np.less_equal, np.greater, np.greater_equal], ids=lambda u: u.__name__)
def test_comparisons(ufunc):
    for a, b in ((X, Y), (X, 0.5), (np.float64(0.75), X)):
        expected = ufunc(a, b).tolist()
        for z in (ufunc(Tensor(np.asarray(a), requires_grad=True), b), ufunc(a, Tensor(np.asarray(b)))):
            assert type(z) is Tensor and z.tolist() == expected and not z.requires_grad


def test_logic_beside_numbers_and_arrays():
    t, array = tensor([True, False]), np.array([True, True])
    for name in ("and_", "or_", "xor"):
        function, ufunc = getattr(operator, name), getattr(np, f"bitwise_{name.strip('_')}")
        for other in (True, False, np.bool_(True), array, np.bool_(False)):
            expected = function(other, t.numpy()).tolist()
            for z in (function(other, t), function(t, other), ufunc(other, t), ufunc(t, other)):
                assert type(z) is Tensor and z.tolist() == expected
    assert (5 & tensor([4, 3])).tolist() == [4, 1] and (1 | tensor([4])).tolist() == [5] and (1 ^ tensor([1])).tolist() == [0]
    assert np.invert(t).tolist() == [False, True] and (array ^ t).tolist() == [False, True]
    for wrong in (lambda: [True] & t, lambda: "a" | t, lambda: None ^ t, lambda: True & tensor([1.0])):
        with pytest.raises(TypeError):
            wrong()


@pytest.mark.parametrize("function", [operator.floordiv, operator.mod])
def test_floor_division(function):
    for x, y in ((X, Y), (X, 0.75), (2.0, X), (np.float32(2), X), (-7, X)):
        a, b = (Tensor(v) if isinstance(v, np.ndarray) else v for v in (x, y))
        np.testing.assert_array_equal(function(a, b).numpy(), function(x, y))
    check_tensors(function, X, Y)
    check_tensors(lambda t: function(t, 0.75) + function(7.0, t), X)
    check_tensors(lambda t: function(t, t * 2 + 5), X)
    assert function(tensor([7, -7]), 2).tolist() == function(np.array([7, -7]), 2).tolist()
    assert function(tensor([7, -7]), 2).dtype == np.int64 and function(7, tensor([2], np.uint8)).dtype == np.uint8
    x = Tensor(X, requires_grad=True)
    function(x, 1.0).sum().backward()
    assert x.grad.numpy().tolist() == np.full(X.shape, float(function is operator.mod)).tolist()
    t = x * 1
    t %= 2.0
    assert t.detach().numpy().tolist() == (X % 2).tolist()
    assert f"{tensor(2.0) // 1:.1f}" == "2.0" and operator.mod("%s", tensor(1)) == "tensor(1)"


def test_operators_of_arrays_and_numbers_come_to_the_tensor():
    t = Tensor(Y, requires_grad=True)
    for other in (X, X.astype(np.float32), np.float64(0.5), np.int64(3), np.arange(1, 4)):
        for function in (operator.add, operator.sub, operator.mul, operator.truediv, operator.floordiv, operator.mod):
            z = function(other, t)
            assert type(z) is Tensor and z.requires_grad
            np.testing.assert_array_equal(z.detach().numpy(), function(other, Y))
    array = np.ones(3)
    array += Tensor(Y)
    np.testing.assert_array_equal(array, 1 + Y)
    with pytest.raises(RuntimeError, match=r"numpy.add: a result that requires a gradient .* write array = array \+ tensor"):
        array += t
    np.testing.assert_array_equal(array, 1 + Y)
    number = np.float64(1)
    number += t
    assert number.requires_grad


def test_out():
    t, out = Tensor(Y), np.empty(3)
    assert np.exp(t, out=out) is out and np.array_equal(out, np.exp(Y))
    assert np.multiply(t, 2, out) is out and np.array_equal(out, 2 * Y)
    w = Tensor(Y, requires_grad=True)
    y = w * 1
    assert np.add(y, w, out=y) is y
    np.add(out, 1.0, out=out)
    y.sum().backward()
    assert w.grad.tolist() == [2, 2, 2]
    check_tensors(lambda a: np.add(a * 1, 3.0, out=a * 2), Y)
    with pytest.raises(RuntimeError, match="leaf"):
        np.add(y, 1.0, out=w)
    with pytest.raises(TypeError):
        np.add(t, 0.5, out=np.empty(3, int))
    with pytest.raises(TypeError, match="expected a Tensor among the operands"):
        np.add(Y, 1.0, out=t)
    with pytest.raises(ValueError):
        np.add(t, 0.5, out=np.empty(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: np.sin(t), "numpy.sin: a Tensor has no such operation"), (lambda t: np.hypot(t, 1.0), "numpy.hypot: a Tensor has no"),
        (lambda t: np.divmod(t, 2), "numpy.divmod: a Tensor has no"), (lambda t: np.add.reduce(t), "numpy.add.reduce: a Tensor has no"),
        (lambda t: np.multiply.outer(t, t), "numpy.multiply.outer: a"), (lambda t: np.add.at(t, [0], 1), "numpy.add.at: a"),
        (lambda t: np.prod(t), "numpy.multiply.reduce: a"), (lambda t: np.exp(t, where=np.ones(3, bool)), "numpy.exp: expected no where="),
        (lambda t: np.add(t, 1, dtype=np.float32), "numpy.add: expected no dtype="), (lambda t: np.add(t, "a"), "numpy.add: expected|other: exp"),
        (lambda t: np.add(t, None), "numpy.add: expected tensors, arrays or numbers, got Tensor and NoneType"),
        (lambda t: np.exp(t, casting="no"), "numpy.exp: expected no casting="), (lambda t: scipy.special.erf(t), "erf: a Tensor has no such"),
        (lambda t: np.frompyfunc(abs, 1, 1)(t), "a Tensor has no such operation"), (lambda t: np.isnan(t), "numpy.isnan: a Tensor has no"),
        (lambda t: np.add(t, [1, 2, 3]), "other: expected a number, an array or a Tensor, got list"),
        (lambda t: np.add(np.ones(3, np.float16), t), "operand: expected dtype"),
    ],
)  # fmt: skip
def test_what_is_no_operation_of_a_tensor_is_named(call, message):
    for requires_grad in (False, True):
        with pytest.raises(TypeError, match=message):
            call(Tensor(Y, requires_grad=requires_grad))


def test_they_are_what_the_tensor_itself_computes():
    t, u = Tensor(X), Tensor(Y)
    for same, other in (
        (np.exp(t), t.exp()), (np.tanh(t), functional.tanh(t)), (np.maximum(t, u), maximum(t, u)), (np.minimum(t, u), minimum(t, u)),
        (scipy.special.expit(t), functional.sigmoid(t)), (np.abs(t), abs(t)),
    ):  # fmt: skip
        np.testing.assert_array_equal(same.numpy(), other.numpy())


def test_formats():
    for t, number in ((tensor(1.25), 1.25), (tensor([1.25]), 1.25), (tensor([[7]]), 7), (Tensor(np.array(2.5), requires_grad=True), 2.5), (tensor(True), True)):
        for spec in (".2f", "8.1f", "+.3e", "g", "<9", ",.1f"):
            assert f"{t:{spec}}" == format(number, spec)
        assert f"{t}" == repr(t) and f"{t!s}" == str(t)
    pair = tensor([1.0, 2.0])
    assert f"{pair}" == "tensor([1., 2.])" and f"{pair:>20}" == "    tensor([1., 2.])"
    for t in (pair, tensor([]), Tensor(X)):
        with pytest.raises(TypeError, match=r"format: expected a tensor of one number for '.2f', got shape \("):
            f"{t:.2f}"
