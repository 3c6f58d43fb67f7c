"""`gradient_test`, the specs and the strategies."""

import inspect
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbgrad import kernels
from nbgrad.testing import GradientError, array, gradient_test, labels, simplex, strategies

few = hypothesis.settings(max_examples=12, deadline=None, derandomize=True, database=None)

test_a_property_is_collected = gradient_test(kernels.tanh, kernels.tanh_backward, array(3, np.float32), settings=few)


def test_it_has_no_arguments_and_a_name():
    assert not inspect.signature(test_a_property_is_collected).parameters
    assert test_a_property_is_collected.__name__ == "gradient_test_of_tanh" and test_a_property_is_collected.__doc__


def test_a_failure_is_minimal():
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
    gradient_test(
        np.add, lambda g, a, b: (g * 1, g.sum(0)), array(st.tuples(sides, st.just(2)), domain=(-5, 5)), array(2, domain=(-5, 5)), settings=few
    )()


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
    ):
        with pytest.raises(kind, match=message):
            bad()
