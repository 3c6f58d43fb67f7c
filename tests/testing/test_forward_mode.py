"""`check_jvp`: every column of the derivative, and that tangents add up."""

import numpy as np
import pytest

from nbgrad.testing import GradientError, check_jvp


def softmax(x):
    e = np.exp(x - x.max())
    return e / e.sum()


def d_softmax(x, v):
    y = softmax(x)
    return y * (v - (y * v).sum())


X = np.array([1.0, 2.0, -1.0])
A = np.arange(6.0).reshape(2, 3)

RIGHT = {
    "elementwise": (np.sin, lambda x, v: np.cos(x) * v, (X,)),
    "float32": (np.sin, lambda x, v: np.cos(x) * v, (X.astype(np.float32),)),
    "a number as result": (lambda x: x @ x, lambda x, v: 2 * x @ v, (X,)),
    "numbers": (lambda x, y: x * y, lambda x, y, dx, dy: dx * y + x * dy, (1.5, 2.5)),
    "softmax": (softmax, d_softmax, (X,)),
    "another shape": (lambda x: A @ x, lambda x, v: A @ v, (X,)),
    "two arguments": (np.matmul, lambda a, b, da, db: da @ b + a @ db, (A[:, :2], A[:2, 1:])),
    "an integer": (lambda x, n: x**n, lambda x, n, v: n * x ** (n - 1) * v, (X, 3)),
    "nothing": (np.sin, lambda x, v: np.cos(x) * v, (np.zeros(0),)),
}


@pytest.mark.parametrize("name", RIGHT)
def test_right(name):
    forward, jvp, args = RIGHT[name]
    report = check_jvp(forward, jvp, *args, strict=True)
    assert report.confirmed == report.elements == sum(np.size(a) for a in args if np.asarray(a).dtype.kind == "f")


def test_wrt():
    assert check_jvp(np.multiply, lambda x, y, dy: x * dy, X, X, wrt=1).elements == 3


WRONG = {
    "sign": (np.sin, lambda x, v: -np.cos(x) * v, "wrong"),
    "a term": (softmax, lambda x, v: softmax(x) * v, "wrong"),
    "not linear": (np.sin, lambda x, v: np.cos(x) * v**2, "not linear"),
    "an element beside its tangent": (np.sin, lambda x, v: np.cos(x) * np.where((v != 0).sum() > 1, 2 * v, v), "not linear"),
    "shape": (np.sin, lambda x, v: (np.cos(x) * v)[:, None], "shape"),
    "shape of the dense one": (np.sin, lambda x, v: (np.cos(x) * v) if (v == 0).any() else v[:1], "shape"),
    "dtype": (np.sin, lambda x, v: (np.cos(x) * v).astype(np.float32), "dtype"),
    "raised": (np.sin, lambda x: np.cos(x), "raised"),
    "raised for the dense one": (np.sin, lambda x, v: (np.cos(x) * v) if (v == 0).any() else 1 // 0, "raised"),
    "mutated": (np.sin, lambda x, v: np.multiply(np.cos(x), v, out=x), "mutated"),
    "kink": (lambda x: np.abs(x - 1), lambda x, v: np.where(x == 1, 2, np.sign(x - 1)) * v, "kink"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong(name):
    forward, jvp, verdict = WRONG[name]
    with pytest.raises(GradientError) as caught:
        check_jvp(forward, jvp, X.copy())
    error = caught.value
    assert error.verdict == verdict, error
    with pytest.raises(GradientError) as again:
        exec(error.reproducer, {"jvp": jvp, "forward": forward})
    assert str(again.value) == str(error)


def test_the_numbers_are_the_functions_own():
    with pytest.raises(GradientError, match=r"jvp .*\n(.*\n)*  output     \(1,\)") as caught:
        check_jvp(softmax, lambda x, v: softmax(x) * v, X)
    assert caught.value.value == softmax(X)[1] and caught.value.reference == pytest.approx(softmax(X)[1] * (1 - softmax(X)[1]))


def test_wrong_arguments():
    for match, bad in (
        ("jvp: expected a function", lambda: check_jvp(np.sin, 3, X)),
        (r"args\[0\]: expected a NumPy array", lambda: check_jvp(np.sin, np.cos, [1.0])),
        ("wrt: expected an argument's number", lambda: check_jvp(np.sin, np.cos, X, wrt="a")),
    ):
        with pytest.raises(TypeError, match=match):
            bad()
