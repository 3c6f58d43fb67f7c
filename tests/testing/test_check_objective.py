"""`check_objective` and `check_hessp`: scipy.optimize's forms, and errors in the caller's own numbers."""

import numpy as np
import pytest
from scipy import optimize

from nbgrad.testing import GradientError, check_hessp, check_objective

A = np.array([[3.0, 1.0], [1.0, 2.0]])
B = np.array([1.0, -1.0])
X = np.array([0.5, -1.0])


def value(x, a=A, b=B):
    return x @ a @ x / 2 - b @ x


def slope(x, a=A, b=B):
    return a @ x - b


def both(x, a=A, b=B):
    return value(x, a, b), slope(x, a, b)


@pytest.mark.parametrize("x", [X, X.tolist(), [2, -1], X.astype(np.longdouble), tuple(X)], ids=str)
@pytest.mark.parametrize("args", [(), (2 * A,), (2 * A, 3 * B)], ids=len)
def test_the_forms_of_scipy(x, args):
    assert check_objective(both, x, args=args).confirmed == 2
    assert check_objective(value, x, args=args, jac=slope).confirmed == 2
    assert check_hessp(slope, lambda x, v, a=A, b=B: a @ v, x, args=args).confirmed == 2
    assert check_hessp(both, lambda x, v, a=A, b=B: a @ v, x, args=args).confirmed == 2


def test_an_argument_that_is_no_tuple():
    for args in (3.0, (3.0,)):
        assert check_objective(lambda x, k: (k * x @ x, 2 * k * x), X, args=args).confirmed == 2
        assert check_hessp(lambda x, k: 2 * k * x, lambda x, v, k: 2 * k * v, X, args=args).confirmed == 2


def test_what_scipy_ships():
    for f, jac, hessp in ((optimize.rosen, optimize.rosen_der, optimize.rosen_hess_prod),):
        assert check_objective(f, [1.5, -1.0, 2.0], jac=jac).confirmed == 3
        assert check_hessp(jac, hessp, [1.5, -1.0, 2.0]).confirmed == 3


def test_a_value_of_one_element_and_a_number_as_parameter():
    assert check_objective(lambda x: (np.array([x @ x]), 2 * x), X).confirmed == 2
    assert check_objective(lambda x: (x * x, 2 * x), 3.0).confirmed == 1
    assert check_objective(lambda x: (x * x, 2 * x), 3).confirmed == 1


def test_the_numbers_of_an_error_are_the_functions_own():
    for check in (
        lambda: check_objective(lambda x: (value(x), 3 * slope(x)), X),
        lambda: check_objective(value, X, jac=lambda x: 3 * slope(x)),
    ):
        with pytest.raises(GradientError) as caught:
            check()
        error = caught.value
        assert error.value == 3 * slope(X)[error.index] and error.reference == pytest.approx(slope(X)[error.index])
        assert "grad_output" not in str(error)
    with pytest.raises(GradientError) as caught:
        check_hessp(slope, lambda x, v: 3 * A @ v, X, v=[1.0, 2.0])
    error = caught.value
    assert error.value == (3 * A @ [1, 2])[error.index] and "v = np.array([1.0, 2.0]" in error.reproducer
    with pytest.raises(GradientError) as caught:
        check_hessp(slope, lambda x, v: 3 * A @ v, X)
    space = {"gradient": slope, "slope": slope, "hessp": lambda x, v: 3 * A @ v}
    with pytest.raises(GradientError) as again:
        exec("\n".join(line for line in caught.value.reproducer.splitlines() if "test_objectives" not in line), space)
    assert str(again.value) == str(caught.value)


def test_the_reproducer_has_args_and_jac():
    with pytest.raises(GradientError) as caught:
        check_objective(value, X, args=(A, B), jac=lambda x, a, b: a @ x)
    code = caught.value.reproducer
    assert "jac=jac" in code and "args=(np.array(" in code
    with pytest.raises(GradientError) as again:
        exec(code.replace(f"from {value.__module__} import value", ""), {"value": value, "jac": lambda x, a, b: a @ x})
    assert str(again.value) == str(caught.value)


def test_wrong_functions_are_gradient_errors():
    for verdict, match, check in (
        ("raised", "f raised TypeError: f: expected it to return .value, gradient.", lambda: check_objective(lambda x: x.sum(), X)),
        ("raised", "f raised ValueError: f: expected one number", lambda: check_objective(lambda x: (x, x), X)),
        ("raised", "jac raised", lambda: check_objective(value, X, jac=lambda: 0)),
        ("shape", "gradient", lambda: check_objective(lambda x: (x @ x, x[0]), X)),
        ("mutated", "args", lambda: check_objective(lambda x: (x @ x, np.multiply(x, 2, out=x)), X)),
        ("wrong", "check_hessp", lambda: check_hessp(slope, lambda x, v: np.triu(A) @ v, X)),
        ("wrong", "check_objective", lambda: check_objective(lambda x: (value(x), np.triu(A) @ x), X)),
    ):
        with pytest.raises(GradientError, match=match) as caught:
            check()
        assert caught.value.verdict == verdict, caught.value


def test_wrong_arguments_are_refused():
    for match, check in (
        ("f: expected a function", lambda: check_objective(3, X)),
        ("jac: expected True", lambda: check_objective(value, X, jac="2-point")),
        ("jac: expected True", lambda: check_objective(value, X, jac=False)),
        ("hessp: expected a function", lambda: check_hessp(slope, None, X)),
        ("x: expected an array of floats, got complex", lambda: check_objective(both, X * 1j)),
        ("x: expected an array of floats, got <U1", lambda: check_objective(both, ["a"])),
    ):
        with pytest.raises(TypeError, match=match):
            check()
