"""The sharpest oracle's numbers: what NumPy and SciPy make of them, and that it is noticed when they become floats."""

import math

import numpy as np
import pytest
from verdicts import verdict

from nbgrad.testing import check_gradient
from nbgrad.testing.oracle.wide import Wide, wide_numbers

AT = np.array([0.5, -1.25, 3.0, 0.125])
POSITIVE = np.array([0.5, 1.25, 3.0, 0.125])
PART = np.array([0.5, -0.25, 0.75, 0.125])


def wide(x):
    context = wide_numbers(40).context
    made = np.empty(x.shape, object)
    made[...] = np.reshape([context.mpf(float(v)) for v in x.ravel()], x.shape)
    return made.view(Wide)


UNARY = [
    (name, at)
    for at, names in (
        (AT, "exp expm1 sin cos tan sinh cosh tanh arcsinh arctan cbrt exp2 absolute fabs sign floor ceil trunc rint square negative deg2rad isfinite isnan signbit"),
        (POSITIVE, "log log1p log2 log10 sqrt reciprocal"),
        (PART, "arcsin arccos arctanh"),
    )
    for name in names.split()
]  # fmt: skip


@pytest.mark.parametrize(("name", "at"), UNARY, ids=[name for name, _ in UNARY])
def test_numpys_functions_of_one_number(name, at):
    function = getattr(np, name)
    np.testing.assert_allclose(np.array(function(wide(at)), float), function(at).astype(float), rtol=1e-15)


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2", "hypot", "arctan2", "power", "divide", "maximum", "minimum", "copysign", "heaviside", "fmax"])  # fmt: skip
def test_numpys_functions_of_two_numbers(name):
    function, other = getattr(np, name), POSITIVE[::-1].copy()
    expected = function(POSITIVE, other)
    for pair in ((wide(POSITIVE), other), (POSITIVE, wide(other)), (wide(POSITIVE), wide(other))):
        np.testing.assert_allclose(np.array(function(*pair), float), expected, rtol=1e-15)
    np.testing.assert_allclose(float(function(wide(POSITIVE)[0], 2.0)), function(0.5, 2.0), rtol=1e-15)


@pytest.mark.parametrize(
    "function",
    [
        np.sum, np.mean, np.var, np.std, np.prod, np.max, np.ptp, np.cumsum, np.sort, np.median, np.linalg.norm, np.sinc, np.logaddexp.reduce, np.diff,
        lambda x: np.clip(x, -1, 1), lambda x: x @ x, lambda x: np.einsum("i,i->", x, x), lambda x: np.where(np.isfinite(x), x, 0) ** 2,
        lambda x: np.float64(2) * np.hypot(x.sum(), 1.0), lambda x: np.log2(np.asarray([np.abs(v) for v in x]) + 1.0),
    ],
)  # fmt: skip
def test_numpys_other_functions(function):
    numbers = wide_numbers(40)
    numbers.narrowed = False
    found = function(wide(AT))
    assert not numbers.narrowed
    np.testing.assert_allclose(np.array(found, float), function(AT), rtol=1e-14)
    assert numbers.narrowed  # by the line above


def test_scipys_functions():
    special = pytest.importorskip("scipy.special")
    for name in "expit log_expit erf erfc gamma gammaln psi entr ndtr log_ndtr exprel exp10 i0 i1 i0e i1e j0 j1".split():
        function = getattr(special, name)
        np.testing.assert_allclose(np.array(function(wide(POSITIVE)), float), function(POSITIVE), rtol=1e-13)
    for name in ("xlogy", "xlog1py", "rel_entr", "kl_div", "huber", "pseudo_huber", "beta", "betaln"):
        function = getattr(special, name)
        found = np.array(function(wide(POSITIVE), POSITIVE[::-1]), float)
        np.testing.assert_allclose(found, function(POSITIVE, POSITIVE[::-1]), rtol=1e-12)
    np.testing.assert_allclose(np.array(special.logit(wide(POSITIVE / 4)), float), special.logit(POSITIVE / 4), rtol=1e-13)


def filled(x):
    out = np.empty(x.shape)
    for i, v in enumerate(x):
        out[i] = math.exp(v) * v
    return out


NARROWING = {
    "asarray": (lambda x: np.sin(np.asarray(x, float)), lambda x: np.cos(x)),
    "array": (lambda x: np.array(x, dtype=np.float64) ** 3, lambda x: 3 * x * x),
    "astype": (lambda x: np.exp(x.astype(float)), np.exp),
    "math": (lambda x: np.array([math.sqrt(v) for v in x]), lambda x: 0.5 / np.sqrt(x)),
    "a loop": (filled, lambda x: np.exp(x) * (1 + x)),
    "vectorize": (np.vectorize(math.sin), np.cos),
    "vectorize a part": (np.vectorize(lambda v: v * math.sin(v)), lambda x: np.sin(x) + x * np.cos(x)),
    "a factor": (lambda x: x * np.sin(np.asarray(x, float)), lambda x: np.sin(x) + x * np.cos(x)),
    "a term": (lambda x: x**2 + np.tanh(np.asarray(x, float)), lambda x: 2 * x + 1 / np.cosh(x) ** 2),
    "a cast of the size": (lambda x: (x / float(np.max(x))) * float(np.max(x)), np.ones_like),
    "interp": (lambda x: np.interp(x, [0, 1, 2, 3], [0, 1, 4, 9.0]), lambda x: np.select([x < 1, x < 2], [1.0, 3.0], 5.0)),
}  # fmt: skip


@pytest.mark.parametrize("name", NARROWING)
def test_a_function_that_makes_floats_is_not_refused(name):
    forward, slope = NARROWING[name]
    for seed in range(6):
        x = np.random.default_rng(seed).uniform(0.1, 2.9, 3)
        report = check_gradient(forward, lambda g, x: g * slope(x), x, rng=seed, strict=True)
        assert report.confirmed + report.undecided == 3
        for wrong in (0.0, 1.0001, -1.0):
            assert verdict(forward, lambda g, x, w=wrong: g * slope(x) * w, x, rng=seed) == "wrong"


def test_scipys_code_is_not_refused():
    interpolate, linalg = pytest.importorskip("scipy.interpolate"), pytest.importorskip("scipy.linalg")
    spline = interpolate.CubicSpline(np.linspace(0, 3, 7), np.sin(np.linspace(0, 3, 7)))
    matrix = np.array([[3.0, 1.0], [1.0, 2.0]])
    x = np.array([0.3, 1.7])
    for forward, backward in (
        (spline, lambda g, x: g * spline(x, 1)),
        (lambda x: linalg.solve(matrix, x), lambda g, x: linalg.solve(matrix.T, g)),
        (lambda x: linalg.norm(x), lambda g, x: g * x / linalg.norm(x)),
    ):
        assert check_gradient(forward, backward, x, strict=True).confirmed == 2
        assert verdict(forward, lambda g, x, b=backward: 1.001 * b(g, x), x) == "wrong"


@pytest.mark.parametrize("name", ["logaddexp", "logaddexp2", "three of them"])
def test_the_verdict_does_not_depend_on_the_seed(name):
    """e^(a − log(eᵃ + eᵇ)) has lost half of its digits at 1e10, whatever is drawn."""
    if name == "three of them":
        forward = lambda a, b: np.logaddexp(np.logaddexp(a, b), a)  # noqa: E731
        wrong = lambda g, a, b: (2 * g * np.exp(a - forward(a, b)), g * np.exp(b - forward(a, b)))  # noqa: E731
        right = lambda g, a, b: (g * 2 / (2 + np.exp(b - a)), g / (1 + 2 * np.exp(a - b)))  # noqa: E731
    else:
        forward, exp = getattr(np, name), np.exp if name == "logaddexp" else np.exp2
        wrong = lambda g, a, b: (g * exp(a - forward(a, b)), g * exp(b - forward(a, b)))  # noqa: E731
        right = lambda g, a, b: (g / (1 + exp(b - a)), g / (1 + exp(a - b)))  # noqa: E731
    a, b = np.array([1e10]), np.array([1e10 if name == "logaddexp" else 1e10 - 1])
    assert {verdict(forward, wrong, a, b, rng=seed) for seed in range(40)} == {"wrong"}
    assert {verdict(forward, right, a, b, rng=seed) for seed in range(5)} == {"right"}
