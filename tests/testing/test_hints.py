"""Hints: each is given where it is meant, and none for a near miss; a check that confirmed nothing says so, and why."""

import warnings

import numpy as np
import pytest

from nbgrad import kernels
from nbgrad.testing import (
    GradientError,
    GradientWarning,
    array,
    check_gradient,
    check_hessp,
    check_objective,
    gradient_test,
)

X = np.array([1.0, 2.0, -1.5])


def failure(*arguments, **keywords):
    with pytest.raises(GradientError) as caught:
        check_gradient(*arguments, **keywords)
    return str(caught.value).partition("Reproduce it")[0]


FACTORS = {
    -1.0: "backward is -1 times the slope: a sign",
    2.0: "backward is 2 times the slope: a factor of 2\n",
    0.5: "backward is 1/2 of the slope: a factor of 2\n",
    3.0: "backward is 3 times the slope: the number of elements of args",
    1 / 3: "backward is 1/3 of the slope: the number of elements of args",
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("factor", FACTORS)
def test_factors(factor, dtype):
    for forward, right in ((np.sin, np.cos), (lambda x: np.sin(x).sum(), np.cos)):
        said = failure(forward, lambda g, x, right=right: (g * factor * right(x)).astype(dtype), X.astype(dtype))
        assert FACTORS[factor] in said and said.count("hint") == 1


@pytest.mark.parametrize("factor", [-1.01, 1.99, 2.001, 2.0001, 0.501, 2.99, 0.333, 1.5, -2.0, 4.0, 0.25, 1.001, 0.0, np.nan])
def test_a_near_miss_gets_none(factor):
    assert "hint" not in failure(np.sin, lambda g, x: g * factor * np.cos(x), X)


def test_only_what_all_wrong_elements_share_is_a_hint():
    assert "hint" not in failure(np.sin, lambda g, x: g * np.cos(x) * np.array([2, 3, 2.5]), X)
    assert "2 times" in failure(np.sin, lambda g, x: g * np.cos(x) * np.array([2, 1, 2]), X)
    assert "hint" not in failure(lambda x: x**2, lambda g, x: g * x**2, np.array([1.0, 3.0]))  # half of it at 1 only


def test_lengths():
    x = np.linspace(0.1, 2, 15).reshape(5, 3)
    for n, what in ((5, "the length of axis 0 of args[0]"), (3, "the length of axis 1 of args[0]"), (15, "the number of elements of args[0]")):
        said = failure(lambda x: np.sin(x).sum(), lambda g, x, n=n: g * n * np.cos(x), x)
        assert f"{n} times the slope: {what}" in said
        assert f"1/{n} of the slope: {what}" in failure(lambda x: np.sin(x).sum(), lambda g, x, n=n: g * np.cos(x) / n, x)
    said = failure(lambda x: np.sin(x).sum(), lambda g, x: g * 2 * np.cos(x), x[:2])
    assert "a factor of 2, or the length of axis 0 of args[0]" in said


def test_grad_output():
    for forward in (np.sin, lambda x: np.sin(x).sum()):
        said = failure(forward, lambda g, x: np.cos(x), X)
        assert "backward gives the same for another grad_output: it does not use it" in said
        said = failure(forward, lambda g, x: g * g * np.cos(x), X)
        assert "grad_output times the slope: it is multiplied in twice" in said
        assert "hint" not in failure(forward, lambda g, x: np.clip(g, -1, 1) * np.cos(x) * 1.1, X)


def test_objectives_are_hinted_at_by_their_names():
    with pytest.raises(GradientError, match="gradient is -1 times the slope: a sign"):
        check_objective(lambda x: (x @ x, -2 * x), X)
    with pytest.raises(GradientError, match="jac is 1/2 of the slope"):
        check_objective(lambda x: x @ x, X, jac=lambda x: x)
    with pytest.raises(GradientError, match="hessp gives the same"):
        check_hessp(lambda x: 2 * x, lambda x, v: 2 * np.ones(3), X)


def test_symmetric_matrices():
    def lower(a):
        return (np.tril(a) + np.tril(a, -1).T) ** 3

    a = np.array([[1.0, 2.0], [2.0, -1.5]])
    assert "args[0] is a symmetric matrix" in failure(lambda a: lower(a).sum(), lambda g, a: 3 * g * a**2, a)
    assert check_gradient(lambda a: lower(a).sum(), lambda g, a: 3 * g * a**2, a, symmetric=0).confirmed == 4
    assert "symmetric" not in failure(lambda a: (a**3).sum(), lambda g, a: -3 * g * a**2, a)
    assert "symmetric" not in failure(lambda a: lower(a).sum(), lambda g, a: -3 * g * a**2, a, symmetric=0).replace("symmetric=0", "")


class Layer:
    def forward(self, x):
        self.x = x
        return np.sin(x)

    def backward(self, g):
        return g * np.cos(self.x)

    def backward_of_two(self, g, x):
        return g * np.cos(self.x)


@pytest.mark.parametrize("wrapped", ["backward(grad_output)", "backward(grad_output, *args)"])
def test_a_layer_that_keeps_state_is_shown_its_wrapping(wrapped):
    layer = Layer()
    backward = layer.backward if wrapped.endswith("(grad_output)") else layer.backward_of_two
    said = failure(layer.forward, backward, X)
    assert "keeps state between calls" in said and f"return {wrapped}" in said
    code = "\n".join(line[15:] for line in said.splitlines() if line.startswith(" " * 15))
    names = {"forward": layer.forward, "backward": backward}
    exec(code, names)
    assert check_gradient(layer.forward, names["gradient"], X).confirmed == 3


def test_no_state_no_hint():
    kept = {}
    assert "keeps state" not in failure(np.sin, lambda g, x: g * kept.setdefault("x", np.cos(x)), X)
    assert "keeps state" not in failure(np.sin, lambda g, x: g * np.cos(x) * np.random.default_rng().uniform(), X)
    assert "keeps state" not in failure(np.sin, lambda: 0, X)
    assert "keeps state" not in failure(np.sin, lambda g, x, y: 0, X)


def test_a_function_with_a_cache_beside_its_result():
    assert "takes the first of them alone" in failure(lambda x: (np.sin(x), {"x": x}), lambda g, x: g, X)


def contiguous_only(x):
    if not x.flags.c_contiguous:
        raise TypeError("expected contiguous arrays")
    return np.sin(x)


def test_kernels_of_contiguous_arrays_are_told_how_to_say_so():
    assert "layouts=False says" in failure(contiguous_only, lambda g, x: g * np.cos(x), X)
    assert check_gradient(contiguous_only, lambda g, x: g * np.cos(x), X, layouts=False).confirmed == 3
    assert "layouts" not in failure(contiguous_only, lambda g, x: g * np.sin(x), X)


NOTHING = {
    "args[0] itself is nan at (1,)": (np.sin, lambda g, x: g * np.cos(x), np.array([np.inf, np.nan])),
    "forward itself is nan at (0,)": (np.log, lambda g, x: g / x, np.array([-1.0, -2.0])),
    "forward itself is nan at ()": (lambda x: np.log(x).sum(), lambda g, x: g / x, np.array([-1.0, 2.0])),
    "forward itself is inf at (0,)": (np.exp, lambda g, x: g * np.exp(x), np.array([1e5])),
    "as where it is saturated": (kernels.sigmoid, kernels.sigmoid_backward, np.array([40.0])),
}


@pytest.mark.parametrize("why", NOTHING)
def test_nothing_confirmed(why):
    with pytest.warns(GradientWarning) as told:
        report = check_gradient(*NOTHING[why])
    assert report.nothing and len(told) == 1 and why in str(told[0].message) and told[0].filename == __file__
    with pytest.raises(GradientError) as caught:
        check_gradient(*NOTHING[why], strict=True)
    assert caught.value.verdict == "unconfirmed" and why in str(caught.value)


def test_nothing_confirmed_in_many_examples():
    test = gradient_test(lambda x: x * np.nan, lambda g, x: g * x, array())
    with pytest.warns(GradientWarning, match="forward itself is nan"):
        test()
    with pytest.raises(GradientError, match="unconfirmed"):
        gradient_test(lambda x: x * np.nan, lambda g, x: g * x, array(), strict=True)()


def test_something_confirmed_is_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert check_gradient(np.sin, lambda g, x: g * np.cos(x), np.array([np.nan, 1.0])).confirmed == 1
        assert check_gradient(np.sin, lambda g, x: g * np.cos(x), np.zeros(0)).elements == 0
        assert check_gradient(np.abs, lambda g, x: g * np.sign(x), np.array([0.0])).kinks == 1


def test_a_nan_of_forward_is_named_beside_an_error():
    assert "forward itself is nan at (1,)" in failure(np.log, lambda g, x: 2.5 * g / x, np.array([2.0, -1.0]))
