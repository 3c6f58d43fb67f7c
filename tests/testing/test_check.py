"""`check_gradient`: what passes, what is refused and how, and what the message says."""

import functools
import subprocess
import sys

import numpy as np
import pytest
from mpmath import mpf  # noqa: F401

from nbgrad import kernels, testing
from nbgrad.testing import GradientError, GradientReport, GradientWarning, check_gradient

SIGMOID_AT = np.array([0.5, 22.18, -3.0], np.float32)


def stable_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def d_sigmoid(g, x):
    e = np.exp(-np.abs(x))
    return g * e / (1 + e) ** 2


def y_one_minus_y(g, x):
    y = stable_sigmoid(x)
    return g * y * (1 - y)


def test_the_tails():
    report = check_gradient(stable_sigmoid, d_sigmoid, SIGMOID_AT)
    assert isinstance(report, GradientReport) and (report.elements, report.confirmed, report.undecided) == (3, 3, 0)
    with pytest.raises(GradientError, match="wrong: the gradient of args.0. at .1,.") as caught:
        check_gradient(stable_sigmoid, y_one_minus_y, SIGMOID_AT, grad_output=np.ones(3))
    error = caught.value
    assert (error.verdict, error.argument, error.index, error.value) == ("wrong", 0, (1,), 0)
    assert error.reference == pytest.approx(2.33e-10, rel=1e-3) and error.error < 1e-3 * error.reference and error.ulps > 1e6
    assert "22.18 = 0x1.62e148p+4 (float32)" in str(error)


@pytest.mark.parametrize("at", [22.18, 45.0, 300.0])
def test_float64_tails_of_plain_numpy_are_decided_by_mpmath(at):
    assert check_gradient(stable_sigmoid, d_sigmoid, np.array([at])).undecided == 0
    with pytest.raises(GradientError, match="wrong"):
        check_gradient(stable_sigmoid, y_one_minus_y, np.array([at]))


def test_undecided_is_counted_and_a_reference_decides():
    from reference import exact

    from nbgrad.formulas.table import OPS

    x = np.array([40.0])
    with pytest.warns(GradientWarning, match="no element of the gradient could be confirmed"):
        assert check_gradient(kernels.sigmoid, kernels.sigmoid_backward, x).undecided == 1
    reference = np.frompyfunc(exact(OPS["sigmoid"].forward), 1, 1)
    assert check_gradient(kernels.sigmoid, kernels.sigmoid_backward, x, reference=reference).confirmed == 1
    with pytest.raises(GradientError):
        check_gradient(kernels.sigmoid, lambda g, x: g * 0, x, reference=reference)
    with pytest.raises(ValueError, match="reference: expected forward's values"):
        check_gradient(kernels.sigmoid, lambda g, x: g * 0, x, reference=lambda x: 2 * x)


def test_the_reproducer_runs_and_raises_the_same():
    with pytest.raises(GradientError) as caught:
        check_gradient(stable_sigmoid, y_one_minus_y, SIGMOID_AT, rng=np.random.default_rng(5), kinks=(1.0,), rtol=1e-5)
    code = caught.value.reproducer
    names = {"stable_sigmoid": stable_sigmoid, "y_one_minus_y": y_one_minus_y}
    with pytest.raises(GradientError) as again:
        exec("\n".join(line for line in code.splitlines() if "test_check" not in line), names)
    assert str(again.value) == str(caught.value)


def test_steps_are_small_where_numbers_are_large():
    for x in (np.array([2.0**135, 1e200, -1e300, 3.0]), np.array([2.0**80, 1e38], np.float32)):
        assert check_gradient(np.sin, lambda g, x: g * np.cos(x), x).kinks == 0


def test_kinks_may_be_declared_or_not():
    for kinks in ((), (0.0,), {0: (0.0,)}):
        for slope in (0.0, 0.5, 1.0):
            x = np.array([0.0, -0.0, 2.0])
            report = check_gradient(lambda x: np.maximum(x, 0), lambda g, x, s=slope: g * np.where(x == 0, s, x > 0), x, kinks=kinks)
            assert (report.kinks, report.confirmed) == (2, 1)
    for slope in (-0.01, 1.01):
        with pytest.raises(GradientError, match="kink"):
            check_gradient(lambda x: np.maximum(x, 0), lambda g, x, s=slope: g * np.where(x == 0, s, x > 0), x)


def test_an_elementwise_look_alike_is_not_taken_for_one():
    """Shapes agree and most elements do not touch each other: the sum over the others must not be lost."""

    def forward(x):
        return x + np.where(np.arange(x.size) == 7, x[3], 0)

    def backward(g, x):
        return g + np.where(np.arange(x.size) == 3, g[7], 0)

    x = np.linspace(-2, 2, 20)
    for seed in range(8):
        check_gradient(forward, backward, x, rng=seed)
        with pytest.raises(GradientError):
            check_gradient(forward, lambda g, x: g * 1, x, rng=seed)


def test_no_element_escapes():
    """One wrong element of 1000 of a function that is not elementwise: the drawn direction sees it."""
    a = np.random.default_rng(0).normal(size=(5, 1000))
    for place in (0, 500, 999):
        with pytest.raises(GradientError):
            check_gradient(lambda x: a @ x, lambda g, x, p=place: g @ a * (np.arange(1000) != p), np.ones(1000))
    check_gradient(lambda x: a @ x, lambda g, x: g @ a, np.ones(1000))


def test_another_order_of_a_sum_is_no_fault():
    """NumPy adds up strided arrays in another order: other last bits, the same gradient."""
    x = np.random.default_rng(0).normal(size=(40, 50))[::-2, ::3]
    check_gradient(lambda x: x.sum() ** 2, lambda g, x: np.full(x.shape, 2 * g * x.sum()), x)


def test_values_that_are_not_finite_are_undecided():
    x = np.array([1000.0, 1.0, np.nan, np.inf])
    report = check_gradient(np.exp, lambda g, x: g * np.exp(x), x)
    assert report.undecided >= 3 and report.confirmed >= 1 and report.elements == 4


def test_empty_and_scalar_arguments():
    assert check_gradient(np.sin, lambda g, x: g * np.cos(x), np.zeros((0, 3))).elements == 0
    assert check_gradient(np.multiply, lambda g, a, b: (g * b, (g * a).sum()), np.zeros(0), np.float64(2)).confirmed == 1
    with pytest.raises(GradientError, match="is empty"):
        check_gradient(np.multiply, lambda g, a, b: (g * b, np.float64(1)), np.zeros(0), np.float64(2))
    assert check_gradient(np.sin, lambda g, x: g * np.cos(x), 0.5).confirmed == 1
    assert check_gradient(np.sin, lambda g, x: g * np.cos(x), np.float32(0.5)).confirmed == 1


def test_wrong_arguments_are_refused():
    call = functools.partial(check_gradient, np.sin, lambda g, x: g * np.cos(x))
    x = np.ones(2)
    cases = [
        (TypeError, r"args\[0\]: expected a NumPy array or a number, got list", lambda: call([1.0])),
        (TypeError, r"args\[0\]: expected floats, integers or bools, got complex128", lambda: call(x * 1j)),
        (TypeError, "args: expected at least one array of floats", lambda: call(np.arange(3))),
        (TypeError, "forward: expected a function, got int", lambda: check_gradient(3, np.sin, x)),
        (TypeError, "wrt: expected an argument's number", lambda: call(x, wrt=1.5)),
        (ValueError, r"wrt: expected numbers in 0\.\.0, got 1", lambda: call(x, wrt=1)),
        (TypeError, "kinks: expected numbers", lambda: call(x, kinks=3)),
        (ValueError, "kinks: expected finite numbers", lambda: call(x, kinks=(np.nan,))),
        (ValueError, "rtol: expected a finite number >= 0, got -1", lambda: call(x, rtol=-1)),
        (TypeError, "rng: expected", lambda: call(x, rng="seed")),
        (ValueError, r"grad_output: expected the shape of forward's result \(2,\), got \(3,\)", lambda: call(x, grad_output=np.ones(3))),
        (TypeError, "reference: expected a function", lambda: call(x, reference=1)),
    ]  # fmt: skip
    for kind, message, bad in cases:
        with pytest.raises(kind, match=message):
            bad()


def test_importing_nbgrad_brings_neither_it_nor_hypothesis():
    code = "import sys, nbgrad; print([m for m in sys.modules if m in ('nbgrad.testing', 'hypothesis', 'mpmath')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_without_hypothesis_and_mpmath():
    code = """
import sys
sys.modules["hypothesis"] = sys.modules["mpmath"] = None
import numpy as np
from nbgrad import testing
print(testing.check_gradient(np.sin, lambda g, x: g * np.cos(x), np.ones(2)).confirmed)
for ask in (testing.array, lambda: testing.gradient_test(np.sin, np.cos), lambda: testing.strategies):
    try:
        ask()
    except ImportError as error:
        print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["2"] + ["specs and gradient_test need hypothesis: pip install nbgrad[testing]"] * 3, done


def test_masks_are_refused():
    masked = np.ma.masked_array([1.0, 2.0], [True, False])
    for call in (
        lambda: testing.check_gradient(np.square, lambda g, x: 2 * g * x, masked),
        lambda: testing.check_gradient(np.square, lambda g, x: 2 * g * x, np.ones(2), grad_output=masked),
        lambda: testing.check_gradient(np.multiply, lambda g, x, y: (g * y, g * x), np.ones(2), masked),
    ):
        with pytest.raises(TypeError, match=r"(args\[[01]\]|grad_output): expected an array without a mask"):
            call()


def test_public_names():
    for name in testing.__all__:
        assert getattr(testing, name).__doc__
    with pytest.raises(AttributeError):
        testing.nothing  # noqa: B018


def test_out_is_held_against_the_same_arrays():
    """NumPy's loops over strided arrays have other last bits, which is no fault of out=."""

    def written(y, x, out):
        out = np.empty_like(y) if out is None else out
        out[...] = y if x.flags.c_contiguous else np.nextafter(y, 2)
        return out

    def sine(x, out=None):
        return written(np.sin(x), x, out)

    def backward(g, x, out=None):
        return written(g * np.cos(x), x, out)

    x = np.linspace(0.1, 1, 12)[::2]
    assert check_gradient(sine, backward, x).confirmed == 6
