"""Every failure ends in a `GradientError` with code that repeats it: each verdict, for functions with one number, an
array of no dimension and an array as result.
"""

import itertools

import numpy as np
import pytest

from nbgrad.testing import GradientError, check_gradient
from nbgrad.testing.report import VERDICTS, Call, literal, name_of

RESULTS = {
    "a number": lambda x: (x * x).sum(),
    "0-d": lambda x: np.array((x * x).sum()),
    "an array": lambda x: x * x,
}
ARGUMENTS = {
    "an array": np.array([1.5, 2.0]),
    "0-d": np.array(1.5),
    "a number": 1.5,
    "float32": np.array([[1.5], [2.0]], np.float32),
    "other bytes": np.array([1.5, 2.0], ">f8"),
}


def keeping_dtype(backward):
    return lambda g, x, **out: np.asarray(backward(g, x, **out)).astype(x.dtype)


def mutating(g, x):
    x *= 2
    return (g * x).astype(x.dtype)


def other_out(g, x, out=None):
    if out is None:
        return (2 * g * x).astype(x.dtype)
    out[...] = 3 * g * x
    return out


def unsteady():
    calls = itertools.count()
    return keeping_dtype(lambda g, x: 2 * g * x * (1 + next(calls) / 1024))


#: verdict: functions that earn it
FAULTS = {
    "wrong": map(keeping_dtype, [lambda g, x: g * x, lambda g, x: 2 * g * x * np.nan, lambda g, x: 0 * g * x]),
    "imprecise": [keeping_dtype(lambda g, x: 2 * g * ((x * x.dtype.type(1.1) + 700).astype(x.dtype) - 700) / x.dtype.type(1.1))],
    "kink": [keeping_dtype(lambda g, x: g * np.where(x == 1.5, 1.5, np.sign(x - 1.5)))],
    "shape": [
        lambda g, x: (2 * g * x)[..., None],
        lambda g, x: (2 * g * x, None),
        lambda g, x: None,
        lambda g, x: [[[1.0], [2.0, 3.0]]],
        lambda g, x: [1.0, 2.0, 3.0],
    ],
    "dtype": [lambda g, x: (2 * g * x).astype(np.float16), lambda g, x: (2 * g * x).astype(int), lambda g, x: (2 * g * x).astype(str)],
    "mutated": [mutating],
    "not repeatable": [unsteady],
    "not linear": [keeping_dtype(lambda g, x: np.where(np.abs(g) > 2, 3, 2) * g * x)],
    "layout": [keeping_dtype(lambda g, x: 2 * g * x * (1 if x.flags.c_contiguous else 3))],
    "out": [other_out],
    "unconfirmed": [keeping_dtype(lambda g, x: 2 * g * x)],
    "raised": [
        lambda x: 2 * x,  # grad_output is missing
        lambda g, x: 1 // 0,
        lambda: 0,
    ],
}  # fmt: skip
FAULTS = {verdict: list(functions) for verdict, functions in FAULTS.items()}
#: What only arrays can earn: numbers are not written to, have no memory order and no out=.
OF_ARRAYS = ("mutated", "layout", "out")


def forwards(verdict):
    if verdict == "kink":
        return {
            "a number": lambda x: np.abs(x - 1.5).sum(),
            "0-d": lambda x: np.array(np.abs(x - 1.5).sum()),
            "an array": lambda x: np.abs(x - 1.5),
        }
    if verdict == "unconfirmed":
        return {n: lambda x, f=f: f(x) * np.nan for n, f in RESULTS.items()}
    return RESULTS


@pytest.mark.parametrize("keywords", [{}, {"kinks": np.array([7.0])}, {"kinks": {0: np.array([])}, "wrt": np.array([0])}], ids=str)
@pytest.mark.parametrize("verdict", FAULTS)
def test_each_verdict_for_each_kind_of_result(verdict, keywords):
    for (result, forward), (argument, x) in itertools.product(forwards(verdict).items(), ARGUMENTS.items()):
        if verdict in OF_ARRAYS and not (isinstance(x, np.ndarray) and x.ndim) or verdict == "layout" and argument == "float32":
            continue
        for backward in FAULTS[verdict]:
            function = backward() if verdict == "not repeatable" else backward
            with pytest.raises(GradientError) as caught:
                check_gradient(forward, function, x.copy() if isinstance(x, np.ndarray) else x, grad_output=None, strict=True, **keywords)
            error = caught.value
            assert error.verdict == verdict, (result, argument, str(error))
            compile(error.reproducer, "reproducer", "exec")
            if verdict in ("wrong", "imprecise", "kink"):
                assert (error.argument, len(error.index)) == (0, np.ndim(x))


def test_all_verdicts_are_driven():
    assert set(FAULTS) == set(VERDICTS)


@pytest.mark.parametrize("result", [len, "text", 1, 1j, [[1.0], [2.0, 3.0]], None, {"a": 1.0}, np.array(["a"])], ids=str)
def test_a_forward_that_returns_something_else(result):
    with pytest.raises(GradientError) as caught:
        check_gradient(lambda x: result, lambda g, x: g * x, np.ones(2))
    assert caught.value.verdict in ("raised", "dtype") and "forward returned" in str(caught.value)


def test_the_reproducer_repeats_numbers_and_arrays_of_every_kind():
    def forward(x, k, y):
        return x**k * y.sum()

    def backward(g, x, k, y):
        return g * x, None, np.zeros(y.shape, y.dtype)

    for x, k, y in ((2.0, 3, np.ones(2)), (np.float32(2), np.int8(2), np.ones((1, 2), ">f4")), (np.float64(2), True, np.array(3.0))):
        with pytest.raises(GradientError) as caught:
            check_gradient(forward, backward, x, k, y, kinks={0: np.array([7.0]), 2: [0.5]}, rtol=np.float32(0.0), wrt=[0, 2])
        with pytest.raises(GradientError) as again:
            exec(caught.value.reproducer, {"forward": forward, "backward": backward})
        assert str(again.value) == str(caught.value)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((0, 3)), np.array(np.nan), np.array([np.inf, -np.inf, np.nan], np.float32), np.array([True]), np.float32(0.1), np.array([1, 2], ">i4"),
        np.array([0.1], ">f8"), (np.array([1.0]), {"a": [np.nan, None]}), (), {}, [], (1,), float("nan"), "nan", "a", np.array([1, 3], np.longdouble) / 3,
    ],
    ids=str,
)  # fmt: skip
def test_literals_are_exact(value):
    again = eval(literal(value), {"np": np})
    assert type(again) is type(value)
    np.testing.assert_equal(again, value)
    if isinstance(value, np.ndarray):
        assert again.dtype == value.dtype and again.shape == value.shape


def test_names_in_the_reproducer():
    class Odd:
        __name__ = 3

        def __call__(self, x):
            return x

    assert name_of(Odd(), "forward") == ("forward", "")
    assert name_of(np.sin, "forward") == ("np.sin", "")
    assert name_of(check_gradient, "f") == ("check_gradient", "from nbgrad.testing.gradient import check_gradient\n")

    def twice(name):
        def f(x):
            return name

        return f

    assert "check_gradient(f, backward, x0)" in Call("check_gradient", {"forward": twice(1), "backward": twice(2)}, [1.0]).code()


def test_an_object_without_a_text_does_not_hide_the_error():
    class Odd:
        def __repr__(self):
            raise RuntimeError

    assert literal((1, Odd())) == "(1, <Odd>)"
