"""Adding a loss, Tukey's biweight, and a function of whole rows, sparsemax, to a copy of the package: two files each, as the
guide says (nbgrad/README.md), and everything else follows.
"""

import pytest
from test_house import PACKAGE, add, copy, used  # noqa: F401  a fixture

TUKEY = '''

@scalar
def tukey(x, target, c):
    """c²/6·(1 − (1 − (d/c)²)³) for d = |x − t| ≤ c, else c²/6"""
    T = type(x)
    d = x - target
    u = (d / c) * (d / c)
    return d * d * (T(0.5) - u * (T(0.5) - u / T(6))) if abs(d) <= c else (c * c / T(6) if d == d else d)


@scalar
def d_tukey(x, target, c):
    """d·(1 − (d/c)²)² for |d| ≤ c, else 0"""
    T = type(x)
    d = x - target
    v = (T(1) - d / c) * (T(1) + d / c)
    return d * v * v if abs(d) <= c else (T(0) if d == d else d)


ROWS = (
    *ROWS,
    Loss(
        tukey, d_tukey, {"c": 4.685}, ranges={"c": "> 0"}, kernel="tukey_loss",
        textbook="c ** 2 / 6 * (1 - (1 - ((x - target) / c) ** 2) ** 3) if abs(x - target) <= c else c ** 2 / 6",
    ),
)
'''
PUBLIC_TUKEY = '''

def tukey_loss(input: Any, target: Any, *, c: float = 4.685, reduction: str = "mean", out: Any = None) -> Any:
    """Tukey's biweight: an error beyond c costs no more than c."""
    return _loss(LOSSES["tukey"], input, target, reduction, {"c": c}, out=out)


def tukey_loss_value_and_grad(
    input: Any, target: Any, *, c: float = 4.685, reduction: str = "mean", out: Any = None, grad_out: Any = None
) -> tuple[Any, Any]:
    """`tukey_loss` and its gradient in ``input``."""
    return _loss(LOSSES["tukey"], input, target, reduction, {"c": c}, grad=True, out=out, grad_out=grad_out)


__all__ += ["tukey_loss", "tukey_loss_value_and_grad"]
'''
USE_TUKEY = """
import sys, warnings
warnings.simplefilter("error")
import argparse, inspect, numba, numpy as np, nbgrad
from nbgrad import functional, kernels
from nbgrad.testing import check_gradient
x, t, c = np.array([-2.0, 0.25, 3.0, 0.5]), np.array([0.5, 0.0, -4.0, 0.75]), 3.0
d = (x - t) / c
true = np.where(abs(d) <= 1, c**2 / 6 * (1 - (1 - d**2) ** 3), c**2 / 6)
losses = kernels.tukey_loss(x, t, c=c, reduction="none")
assert np.allclose(losses, true, rtol=1e-14) and kernels.tukey_loss(x, t, c=c) == true.mean()
out, grad_out = np.empty(4), np.empty(4)
answer = kernels.tukey_loss_value_and_grad(x, t, c=c, reduction="none", out=out, grad_out=grad_out)
assert answer[0] is out and answer[1] is grad_out and (out == losses).all()
compiled = numba.njit(lambda x, t: kernels.tukey_loss_value_and_grad(x, t, c=2 + 1, reduction="sum"))(x, t)
assert np.isclose(compiled[0], true.sum()) and np.allclose(compiled[1], grad_out)
for run in (kernels.tukey_loss, numba.njit(lambda x, t, c: kernels.tukey_loss(x, t, c))):
    try:
        run(x, t, c=-1.0)
        raise AssertionError
    except ValueError as error:
        assert "c: expected a number > 0" in str(error)


def pull(g, x, t):
    a, b = nbgrad.tensor(x, requires_grad=True), nbgrad.tensor(t, requires_grad=True)
    functional.tukey_loss(a, b, c=c, reduction="none").backward(nbgrad.tensor(g))
    return a.grad.numpy(), b.grad.numpy()


check_gradient(lambda x, t: kernels.tukey_loss(x, t, c=c, reduction="none"), pull, x, t, strict=True)
h = 1e-6
for reduction in ("mean", "sum"):
    slopes = [
        (kernels.tukey_loss(x + h * e, t, c=c, reduction=reduction) - kernels.tukey_loss(x - h * e, t, c=c, reduction=reduction)) / 2 / h
        for e in np.eye(4)
    ]
    assert np.allclose(kernels.tukey_loss_value_and_grad(x, t, c=c, reduction=reduction)[1], slopes, atol=1e-8)
assert list(inspect.signature(functional.tukey_loss).parameters) == ["input", "target", "c", "reduction"]
if {simulator}:
    from numba import cuda
    there, target = cuda.to_device(x), cuda.to_device(t)
    value, grad = kernels.tukey_loss_value_and_grad(there, target, c=c, reduction="none")
    assert np.allclose(value.copy_to_host(), true) and np.allclose(grad.copy_to_host(), grad_out)
    value, grad = kernels.tukey_loss_value_and_grad(there, target, c=c)
    assert np.isclose(value.copy_to_host(), true.mean()) and np.allclose(grad.copy_to_host(), grad_out / 4)
else:
    sys.path.append("REPOSITORY")
    from bench.peers import find
    from bench.session import Session
    from bench.suites import losses as suite
    session = Session(find(["numpy"], 1)[0], quick=True)
    arguments = argparse.Namespace(dtypes=["float32"], only=["tukey"])
    assert [job.label for job in suite.jobs(session, arguments)] == ["tukey float32 65,536"]
    records = session.measure(suite.case(session, nbgrad.formulas.table.LOSSES["tukey"], 100, "float32"))
    assert {r.who for r in records if r.direction == "value"} == {"nbgrad", "NumPy"} and not session.wrong
    sys.path.append("REPOSITORY/tests/testing")
    import hypothesis
    from right import NBGRAD
    few = hypothesis.settings(max_examples=2, deadline=None, database=None)
    for name in ("tukey float64", "kernels.tukey_loss float32, none"):
        NBGRAD[name](settings=few)()
print("used")
"""
SPARSEMAX = '''

@scalar
def sparsemax(x, y):
    """The point of the simplex next to x: max(x − τ, 0) with τ so that the entries sum up to 1. τ is that of all entries,
    then of those above it, and so on, till all are. [1]

    [1] A. Martins, R. Astudillo, From softmax to sparsemax, ICML 2016; C. Michelot, J. Optim. Theory Appl. 50 (1986) 195.
    """
    T = x.dtype.type
    largest, threshold, kept, before = maximum(x), -T(np.inf), -1, -2
    while kept != before:
        before, kept, total = kept, 0, 0.0
        for j in range(x.size):
            above = x[j] - largest > threshold
            kept += 1 if above else 0
            total += np.float64(x[j] - largest) if above else 0.0
        threshold = T((total - 1.0) / kept) if kept else T(np.nan)
    for j in range(x.size):
        d = x[j] - largest - threshold
        y[j] = T(0) if d <= T(0) else d


@scalar
def sparsemax_backward(grad_output, y, grad_x):
    """On the support, where y > 0, gⱼ less the mean of g over it; 0 elsewhere."""
    T = y.dtype.type
    total, count = 0.0, 0
    for j in range(y.size):
        total += np.float64(grad_output[j]) if y[j] > T(0) else 0.0
        count += 1 if y[j] > T(0) else 0
    mean = T(total / count) if count else T(np.nan)
    for j in range(y.size):
        grad_x[j] = T(0) if y[j] <= T(0) else grad_output[j] - mean


ROWS = (*ROWS, RowFunction(sparsemax, sparsemax_backward))
'''
PUBLIC_SPARSEMAX = '''

def sparsemax(x: Any, *, axis: Any = -1, out: Any = None) -> Any:
    """The point of the simplex next to x along ``axis``: probabilities, of which many are 0."""
    return _forward("sparsemax", x, axis, out)


def sparsemax_backward(grad_output: Any, y: Any, *, axis: Any = -1, out: Any = None) -> Any:
    """From the *output* y = sparsemax(x): on its support grad_output less its mean there, else 0."""
    return _backward("sparsemax", grad_output, y, axis, out)


__all__ += ["sparsemax", "sparsemax_backward"]
'''
USE_SPARSEMAX = """
import sys, warnings
warnings.simplefilter("error")
import argparse, numba, numpy as np, nbgrad
from nbgrad import functional, kernels
from nbgrad.testing import check_gradient
rng = np.random.default_rng(0)


def by_sorting(row):
    z = np.sort(row)[::-1]
    taus = (np.cumsum(z) - 1) / np.arange(1, len(z) + 1)
    return np.maximum(row - taus[z > taus][-1], 0)


x, g = rng.normal(size=(2, 3, 5, 4))
true = np.apply_along_axis(by_sorting, 1, x)
y = kernels.sparsemax(x, axis=1)
assert np.allclose(y, true, rtol=0, atol=1e-14) and (y == 0).any() and ((y == 0) == (true == 0)).all()
assert kernels.sparsemax(x.astype(np.float32), axis=1).dtype == np.float32
assert np.allclose(kernels.sparsemax(x, axis=None), by_sorting(x.ravel()).reshape(x.shape), rtol=0, atol=1e-14)
assert np.array_equal(kernels.sparsemax(x, axis=(0, 2)), np.moveaxis(kernels.sparsemax(np.moveaxis(x, 1, 0).reshape(5, 12)).reshape(5, 3, 4), 0, 1))
assert kernels.sparsemax(np.zeros((2, 0))).shape == (2, 0) and kernels.sparsemax(np.zeros((0, 2)), axis=0).shape == (0, 2)
long = rng.normal(size=(400, 300)) * 0.01
assert np.allclose(kernels.sparsemax(long), np.apply_along_axis(by_sorting, 1, long), rtol=0, atol=1e-14)
out = np.empty_like(x)
back = kernels.sparsemax_backward(g, y, axis=1)
assert kernels.sparsemax(x, axis=1, out=out) is out and np.array_equal(out, y)
assert np.array_equal(kernels.sparsemax_backward(g, y, axis=1, out=out), back) and np.array_equal(out, back)
z, h = x.copy(), g.copy()
assert np.array_equal(kernels.sparsemax(z, axis=1, out=z), y) and np.array_equal(kernels.sparsemax_backward(h, z, axis=1, out=h), back)
assert np.array_equal(numba.njit(lambda x: kernels.sparsemax(x, axis=1))(x), y)
assert np.array_equal(numba.njit(lambda g, y: kernels.sparsemax_backward(g, y, axis=1))(g, y), back)
leaf = nbgrad.tensor(x, requires_grad=True)
functional.sparsemax(leaf, dim=1).backward(nbgrad.tensor(g))
assert np.array_equal(leaf.grad.numpy(), back)
check_gradient(
    lambda x: kernels.sparsemax(x, axis=1), lambda g, x: kernels.sparsemax_backward(g, kernels.sparsemax(x, axis=1), axis=1), x, strict=True
)
for k in range(20):
    e = np.zeros(x.size)
    e[k] = 1e-6
    e = e.reshape(x.shape)
    assert np.isclose(np.sum(g * (kernels.sparsemax(x + e, axis=1) - kernels.sparsemax(x - e, axis=1))) / 2e-6, back.flat[k], atol=1e-7)
if {simulator}:
    from numba import cuda
    there = cuda.to_device(x)
    for axis in (1, -1, None):
        y = kernels.sparsemax(x, axis=axis)
        assert np.allclose(kernels.sparsemax(there, axis=axis).copy_to_host(), y, rtol=0, atol=1e-15)
        back = kernels.sparsemax_backward(cuda.to_device(g), cuda.to_device(y), axis=axis).copy_to_host()
        assert np.allclose(back, kernels.sparsemax_backward(g, y, axis=axis), rtol=0, atol=1e-15)
    assert kernels.sparsemax(there, out=there) is there and np.allclose(there.copy_to_host(), kernels.sparsemax(x), rtol=0, atol=1e-15)
else:
    sys.path.append("REPOSITORY")
    from bench.peers import find
    from bench.session import Session
    from bench.suites import rows as suite
    session = Session(find(["numpy", "torch"], 1)[0], quick=True)
    arguments = argparse.Namespace(dtypes=["float32"], only=["sparsemax"])
    assert {job.label.split()[0] for job in suite.jobs(session, arguments)} == {"sparsemax"}
    assert {r.direction for r in suite._rows(session, "sparsemax", "float32", (4, 10), 1)} >= {"forward", "backward"}
    sys.path.append("REPOSITORY/tests/testing")
    import hypothesis
    from right import NBGRAD
    few = hypothesis.settings(max_examples=2, deadline=None, database=None)
    for name in ("sparsemax float64, axis 0",):
        NBGRAD[name](settings=few)()
print("used")
"""
#: what is added: its texts by the files they are added to, how it is used
ADDITIONS = {
    "a loss": ({"formulas/losses.py": TUKEY, "kernels/losses.py": PUBLIC_TUKEY}, USE_TUKEY),
    "a row function": ({"formulas/softmax.py": SPARSEMAX, "kernels/rowwise.py": PUBLIC_SPARSEMAX}, USE_SPARSEMAX),
}


@pytest.mark.parametrize("simulator", [False, True])
@pytest.mark.parametrize("what", ADDITIONS)
def test_what_an_addition_touches(copy, what, simulator):  # noqa: F811
    texts, use = ADDITIONS[what]
    for file, text in texts.items():
        add(copy / file, text)
    used(copy, use.replace("REPOSITORY", str(PACKAGE.parent)), simulator)
