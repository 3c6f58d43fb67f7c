"""`gradient_test`, the specs and the strategies."""

import inspect
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgrad import functional, kernels
from nbgrad.testing import (
    GradientError,
    array,
    check_autograd,
    check_hessp,
    check_jvp,
    check_objective,
    gradient_test,
    labels,
    simplex,
    strategies,
    symmetric,
)
from nbgrad.testing.examples import search

few = hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)

test_a_property_is_collected = gradient_test(kernels.tanh, kernels.tanh_backward, array(3, np.float32), settings=few)


def test_it_has_no_arguments_and_a_name():
    assert all(p.default is None for p in inspect.signature(test_a_property_is_collected).parameters.values())
    assert test_a_property_is_collected.__name__ == "gradient_test_of_tanh" and test_a_property_is_collected.__doc__


def test_a_failure_is_minimal(monkeypatch):
    monkeypatch.setattr(search, "SHRINKING", 100)  # however busy the machine is
    find = gradient_test(lambda x: x * x, lambda g, x: g * 2 * x * (x < 3), array(domain=(-100, 100)), settings=few)
    with pytest.raises(GradientError) as caught:
        find()
    (x,) = caught.value.arguments
    assert x.tolist() == [3.0]


def test_a_function_that_is_not_repeatable_is_a_gradient_error():
    rng = np.random.default_rng(0)
    find = gradient_test(np.sin, lambda g, x: g * np.cos(x) * rng.choice([1, 1 + 1e-15]), array(3, domain=(-3, 3)), settings=few)
    with pytest.raises(GradientError, match="not repeatable"):
        find()


class TestInAClass:
    test_it_is_a_method = gradient_test(kernels.tanh, kernels.tanh_backward, array(3, np.float32), settings=few)

    def test_its_report_is_there(self):
        assert self.test_it_is_a_method.report.confirmed


def test_pytest_collects_it_in_modules_and_classes(tmp_path):
    (tmp_path / "test_it.py").write_text("""
import unittest
import numpy as np
from nbgrad.testing import array, gradient_test

test_function = gradient_test(np.sin, lambda g, x: g * np.cos(x), array(2, domain=(-9, 9)))

class TestPlain:
    test_right = gradient_test(np.sin, lambda g, x: g * np.cos(x), array(2, domain=(-9, 9)))
    test_wrong = gradient_test(np.sin, lambda g, x: g * np.sin(x), array(2, domain=(-9, 9)))

class TestUnittest(unittest.TestCase):
    test_right = gradient_test(np.sin, lambda g, x: g * np.cos(x), array(2, domain=(-9, 9)))
""")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "--hypothesis-seed=0", "."]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *sys.path])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert "1 failed, 3 passed" in done.stdout, done.stdout
    assert "wrong: the gradient of args[0]" in done.stdout and "Falsifying" not in done.stdout


def test_other_checks_are_driven():
    def objective(x, a):
        return a * np.sum(x * x), 2 * a * x

    some = array(3, domain=(-100, 100))
    for test in (
        gradient_test(objective, some, check=check_objective, args=(3.0,), settings=few),
        gradient_test(lambda x: objective(x, 2)[0], some, check=check_objective, jac=lambda x: 4 * x, settings=few),
        gradient_test(lambda x: x**3, lambda x, v: 3 * x * x * v, some, check=check_hessp, settings=few),
        gradient_test(np.multiply, lambda x, y, dx, dy: dx * y + x * dy, some, some, check=check_jvp, settings=few),
        gradient_test(lambda x: functional.sigmoid(x), array(3, np.float32), check=check_autograd, framework="nbgrad", settings=few),
        gradient_test(
            lambda p, x: (p["w"] * x).sum() + p["b"][0], {"w": some, "b": (array((), domain=(-2, 2)),)}, some, check=check_autograd,
            framework="nbgrad", settings=few,
        ),
    ):  # fmt: skip
        test()
        assert test.report.confirmed > 10
    for test, match in (
        (gradient_test(lambda x: (x @ x, x), some, check=check_objective, settings=few), "check_objective.f, x0"),
        (gradient_test(lambda x: x @ x, some, check=check_objective, jac=lambda x: x, settings=few), "jac=jac"),
        (gradient_test(lambda x: x**3, lambda x, v: x * x * v, some, check=check_hessp, settings=few), "v = np.array"),
        (gradient_test(np.sin, lambda x, v: np.sin(x) * v, some, check=check_jvp, settings=few), "check_jvp.np.sin, jvp, x0"),
        (gradient_test(lambda x: x * x.detach(), some, check=check_autograd, framework="nbgrad", settings=few), "check_autograd.f, x0"),
        (
            gradient_test(lambda p: p["w"] * p["w"].detach(), {"w": some}, check=check_autograd, framework="nbgrad", settings=few),
            r"args.0...w.. at .*\n(.*\n)*.*check_autograd.f, ..w.: x0.",
        ),
    ):  # fmt: skip
        with pytest.raises(GradientError, match=match):
            test()


def test_objectives_are_checked_in_their_own_numbers():
    with pytest.raises(GradientError) as caught:
        gradient_test(lambda x: (x @ x, 3 * x), array(3, domain=(-100, 100)), check=check_objective, settings=few)()
    (x,) = caught.value.arguments
    assert caught.value.value == 3 * x[caught.value.index]


def test_symmetric_matrices():
    def d_inv(g, a):
        inverse = np.linalg.inv(a)
        return -inverse.T @ g @ inverse.T

    definite = symmetric(3, positive_definite=True)
    gradient_test(np.linalg.det, lambda g, a: g * np.linalg.det(a) * np.linalg.inv(a), definite, settings=few, rtol=1e-10)()
    gradient_test(np.linalg.inv, d_inv, definite, settings=few, rtol=1e-9)()
    # Reads one triangle, and gives the symmetric gradient: right, though each element alone has another slope.
    lower = lambda a: np.tril(a) + np.tril(a, -1).T  # noqa: E731
    gradient_test(lambda a: (lower(a) ** 2).sum(), lambda g, a: 2 * g * a, symmetric(st.integers(1, 3)), settings=few)()
    gradient_test(lambda a: (a**2).sum(), lambda g, a: 4 * g * np.tril(a) - 2 * g * np.diag(np.diag(a)), symmetric(3), settings=few)()
    with pytest.raises(GradientError, match="symmetric=.0,."):
        gradient_test(lambda a: (a**2).sum(), lambda g, a: 2 * g * np.tril(a), symmetric(3), settings=few)()


@given(strategies.symmetric(st.integers(1, 4), np.float32), strategies.symmetric(3, positive_definite=True))
def test_symmetric_matrices_are_drawn(a, b):
    assert a.dtype == np.float32 and (a == a.T).all() and a.ndim == 2
    assert (b == b.T).all() and np.linalg.eigvalsh(b).min() > 0 and np.linalg.cond(b) < 1e5


def test_kernels_of_contiguous_arrays():
    def need(*arrays):
        for a in arrays:
            if not (a.flags.c_contiguous and a.flags.writeable):
                raise TypeError("expected contiguous, writeable arrays")

    def forward(x):
        need(x)
        return np.sin(x)

    def backward(g, x):
        need(g, x)
        return g * np.cos(x)

    gradient_test(forward, backward, array((3, 2), domain=(-9, 9)), layouts=False, settings=few)()
    with pytest.raises(GradientError, match="expected contiguous"):
        gradient_test(forward, backward, array((3, 2)), settings=few)()


def test_numbers_are_drawn():
    def forward(x, k):
        assert isinstance(x, float) and isinstance(k, int)
        return math.sin(x) * k

    gradient_test(forward, lambda g, x, k: (g * k * math.cos(x), None), st.floats(-3, 3), st.integers(1, 3), settings=few)()


SLEEP, slept = 0.002, []


def slow_and_wrong(x):
    slept.append(SLEEP)
    time.sleep(SLEEP)
    return np.sin(x)


@pytest.mark.parametrize("shape", [3, (5, 8)])
def test_a_failure_takes_less_than_five_seconds(shape):
    find = gradient_test(slow_and_wrong, lambda g, x: g * np.cos(x) * np.where(x > 0.25, 1 + 1e-7, 1), array(shape, domain=(-9, 9)))
    slept.clear()
    start = time.process_time()
    with pytest.raises(GradientError):
        find()
    # what it takes where no other process takes its turn: its own work, and its function's
    assert time.process_time() - start + sum(slept) < 5


def test_the_lines_that_explain_a_failure_are_the_callers():
    def backward(g, x):
        if x.sum() > 3:
            return g * np.cos(x) * 2  # a wrong branch
        return g * np.cos(x)

    with pytest.raises(GradientError) as caught:
        gradient_test(np.sin, backward, array(domain=(-5, 5)), settings=hypothesis.settings(few, max_examples=60))()
    (note,) = caught.value.__notes__
    assert note.count("\n") == 1 and "# a wrong branch" in note and "test_property.py" in note


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("domain", [(-math.inf, math.inf), (0.0, math.inf), (-1.0, 0.1), (1e-3, 2e-3), (-math.inf, -5.0)])
@given(data=st.data())
def test_arrays_lie_in_the_domain(dtype, domain, data):
    x = data.draw(strategies.arrays(None, dtype, domain, kinks=[k for k in (0.0, 1.0) if domain[0] <= k <= domain[1]]))
    assert x.dtype == dtype and np.isfinite(x).all() and 1 <= x.ndim <= 2
    assert (x >= np.float64(domain[0])).all() and (x <= np.float64(domain[1])).all()


def found(strategy, condition):
    settings = hypothesis.settings(max_examples=2000, database=None, derandomize=True)
    return hypothesis.find(strategy, condition, settings=settings)


def test_what_breaks_derivatives_is_drawn():
    whole = strategies.arrays(4, np.float32, kinks=(1.0,))
    above, below = np.nextafter(np.float32(1), np.float32([2, 0]))
    for condition in (
        lambda x: (x == 1).any(), lambda x: (x == above).any(), lambda x: (x == below).any(), lambda x: (np.signbit(x) & (x == 0)).any(),
        lambda x: ((np.abs(x) < 1e-40) & (x != 0)).any(), lambda x: (np.abs(x) > 1e37).any(), lambda x: ((x > 20) & (x < 100)).any(),
        lambda x: len(set(x.tolist())) < 4, lambda x: not x.flags.writeable, lambda x: not x.flags.c_contiguous,
    ):  # fmt: skip
        found(whole, condition)
    found(strategies.arrays((3, 2)), lambda x: (x[0] == x[1]).all() and x.any())
    found(strategies.arrays(), lambda x: x.size == 1)
    found(strategies.arrays(100), lambda x: len(set(x.tolist())) == 100)
    found(strategies.simplex((2, 3)), lambda q: (q == 1).any())


@given(strategies.grad_outputs((3, 4), np.float32))
def test_grad_outputs_are_moderate_and_never_all_ones(g):
    assert g.dtype == np.float32 and (np.abs(g) >= 0.5).all() and (np.abs(g) <= 2).all() and len(set(g.ravel().tolist())) > 3


@given(strategies.labels((5,), 3), strategies.simplex((2, 4)))
def test_labels_and_probabilities(label, q):
    assert label.dtype == np.int64 and label.min() >= 0 and label.max() <= 2
    assert (q >= 0).all() and np.abs(q.sum(axis=1) - 1).max() < 1e-12


def test_shapes_may_be_strategies_that_fit_together():
    sides = st.shared(st.integers(1, 3), key="rows")
    gradient_test(np.add, lambda g, a, b: (g * 1, g.sum(0)), array(st.tuples(sides, st.just(2)), domain=(-5, 5)), array(2, domain=(-5, 5)), settings=few)()


def test_wrong_specs_are_refused():
    backward = kernels.tanh_backward
    for kind, message, bad in (
        (TypeError, "specs: expected one for each argument", lambda: gradient_test(np.tanh, backward)),
        (TypeError, r"specs\[0\]: expected array", lambda: gradient_test(np.tanh, backward, np.ones(3))),
        (TypeError, "settings: expected hypothesis.settings", lambda: gradient_test(np.tanh, backward, array(), settings=3)),
        (TypeError, "forward: expected a function", lambda: gradient_test(None, backward, array())),
        (TypeError, "shape: expected an integer", lambda: array("3")),
        (ValueError, "shape: expected positive lengths", lambda: array((2, 0))),
        (TypeError, "dtype: expected float16", lambda: array(3, np.int64)),
        (ValueError, "domain: expected low < high", lambda: array(3, domain=(1, 0))),
        (ValueError, "kinks: expected numbers in the domain", lambda: array(3, domain=(0, 1), kinks=(2,))),
        (ValueError, "num_classes: expected at least 1", lambda: labels(3, 0)),
        (TypeError, "dtype", lambda: simplex(3, np.int32)),
        (TypeError, "n: expected an integer", lambda: symmetric((2, 3))),
        (ValueError, "n: expected positive", lambda: symmetric(0)),
        (TypeError, "positive_definite: expected True or False", lambda: symmetric(2, positive_definite=1)),
        (TypeError, "check: expected one of check_gradient, check_autograd", lambda: gradient_test(np.tanh, array(), check=np.sin)),
        (TypeError, "check_gradient with specs has no keyword 'grad_output'", lambda: gradient_test(np.tanh, backward, array(), grad_output=1)),
        (TypeError, "check_objective with specs has no keyword 'wrt'", lambda: gradient_test(np.tanh, array(), check=check_objective, wrt=0)),
        (TypeError, r"specs.0...w..: expected array", lambda: gradient_test(np.tanh, {"w": 3}, check=check_autograd)),
        (TypeError, "jvp: expected a function, got Spec", lambda: gradient_test(np.tanh, array(), check=check_jvp)),
    ):
        with pytest.raises(kind, match=message):
            bad()
