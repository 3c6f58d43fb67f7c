"""Fitting on blocks of rows: the same objective as on all rows at once, within a stated budget of memory."""

import functools
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from regression_models import MODELS, cut, example, models, reference, same, value_and_grad
from scipy import sparse
from scipy.optimize import minimize

from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import FAN_IN, Blocks, scan, tree


@given(st.integers(0, 300))
def test_tree_is_the_tree_that_is_built_level_by_level(n):
    def join(*parts):
        assert 2 <= len(parts) <= FAN_IN
        return "(" + " ".join(parts) + ")"

    level = [str(i) for i in range(n)]
    while len(level) > 1:
        groups = [level[i : i + FAN_IN] for i in range(0, len(level), FAN_IN)]
        level = [join(*group) if len(group) > 1 else group[0] for group in groups]
    assert tree(map(str, range(n)), join) == (level[0] if level else None)


@models
@given(sizes=st.lists(st.integers(0, 40), min_size=1, max_size=20).filter(sum), seed=st.integers(0, 99))
def test_value_and_grad_is_that_of_all_rows(model, sizes, seed):
    params, X, y = example(model, sum(sizes), 3, seed=seed)
    weight = np.random.default_rng(seed).random(len(y)) + 0.1
    problem = BlockProblem(model, Blocks(cut(sizes, X, y, weight)), num_classes=3 if model == "softmax" else 2, l2=0.3, x_scale=0.5)
    value, grad = problem.value_and_grad(params)
    assert type(value) is float and grad.dtype == np.float64
    same((value, grad), value_and_grad(model)(params, X, y, sample_weight=weight, l2=0.3, x_scale=0.5), 1e-12)
    true = reference(model, params, X, y, sample_weight=weight, l2=0.3, x_scale=0.5)
    assert value == pytest.approx(float(true), rel=1e-12)
    assert problem.weight_sum == pytest.approx(weight.sum(), rel=1e-14)


@models
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_gradient_is_the_slope(model, fit_intercept):
    params, X, y = example(model, 60, 4)
    params = params if fit_intercept else params[..., :-1]
    blocks = Blocks(cut([10, 50], X, y))
    problem = BlockProblem(model, blocks, l2=0.7, fit_intercept=fit_intercept)
    at, h = params.ravel(), 1e-6
    _, grad = problem.value_and_grad(at)
    assert grad.shape == at.shape
    for j, e in enumerate(np.eye(at.size)):
        slope = (problem.value_and_grad(at + h * e)[0] - problem.value_and_grad(at - h * e)[0]) / (2 * h)
        assert grad[j] == pytest.approx(slope, abs=1e-8)


@models
def test_the_hessian_is_the_slope_of_the_gradient(model):
    params, X, y = example(model, 60, 4)
    weight = np.repeat([1.5, 0.0, 0.5], 20)  # a block without weight
    problem = BlockProblem(model, Blocks(cut([20, 20, 20], X, y, weight)), l2=0.7)
    at, h = params.ravel(), 1e-6
    hessian = problem.hessian(at)
    for e in np.random.default_rng(0).normal(size=(5, at.size)):
        slope = (problem.value_and_grad(at + h * e)[1] - problem.value_and_grad(at - h * e)[1]) / (2 * h)
        np.testing.assert_allclose(hessian @ e, slope, atol=1e-7)
    shaped = problem.hessian(params)
    np.testing.assert_array_equal(shaped @ e, hessian @ e)


@models
def test_fit_is_that_of_all_rows(model):
    params, X, y = example(model, 500, 4)
    weight = np.random.default_rng(1).random(500)
    problem = BlockProblem(model, Blocks(cut([100, 150, 250], X, y, weight)), l2=0.1)
    fit = functools.partial(minimize, x0=np.zeros(params.size), jac=True, method="L-BFGS-B", options={"gtol": 1e-9})
    got = fit(problem.value_and_grad)
    true = fit(lambda p: value_and_grad(model)(p, X, y, sample_weight=weight, l2=0.1))
    assert got.success
    np.testing.assert_allclose(got.x, true.x, atol=1e-6)
    np.testing.assert_array_equal(got.x, fit(problem.value_and_grad).x)  # the same bits again


def test_labels_are_found_in_the_first_pass():
    params, X, y = example("softmax", 90, 4)
    names = np.array(["rose", "iris", "tulip"])[y]
    problem = BlockProblem("softmax", Blocks(cut([30, 60], X, names)))
    assert problem.summary.classes.tolist() == ["iris", "rose", "tulip"] and problem.num_classes == 3
    codes = np.array([1, 0, 2])[y]
    same(problem.value_and_grad(params), value_and_grad("softmax")(params, X, codes), 1e-13)
    flags = BlockProblem("logistic", Blocks(cut([30, 60], X, y > 0)))
    assert flags.summary.classes.tolist() == [False, True]
    same(flags.value_and_grad(params[0]), value_and_grad("logistic")(params[0], X, y > 0), 1e-13)


def test_class_weight_multiplies_the_rows_weights():
    params, X, y = example("softmax", 90, 4)
    weight, of_class = np.random.default_rng(1).random(90), np.array([1.0, 5.0, 0.5])
    for weights in ((), (weight,)):
        problem = BlockProblem("softmax", Blocks(cut([30, 60], X, y + 10, *weights)))
        problem.class_weight, problem.l2 = of_class, 0.25
        total = of_class[y] * (weight if weights else 1)
        same(
            problem.value_and_grad(params),
            value_and_grad("softmax")(params, X, y, sample_weight=total, l2=0.25),
            1e-13,
        )
        assert problem.weight_sum == pytest.approx(total.sum(), rel=1e-14)
        counts = [(weight if weights else np.ones(90))[y == c].sum() for c in range(3)]
        np.testing.assert_allclose(problem.summary.class_weights, counts, rtol=1e-13)


def test_sources_and_dtypes():
    params, X, y = example("softmax", 90, 4)
    pixels = np.random.default_rng(0).integers(0, 256, X.shape).astype(np.uint8)
    blocks = cut([30, 60], pixels, y)
    true = value_and_grad("softmax")(params, pixels / 255, y)
    again = type("Again", (), {"__iter__": lambda self: iter(blocks)})()
    for source in (blocks, tuple(blocks), again, lambda: iter(blocks), lambda: (b for b in blocks)):
        same(BlockProblem("softmax", Blocks(source), x_scale=1 / 255).value_and_grad(params), true, 1e-12)
    csr = [(sparse.csr_array(a), b) for a, b in blocks]
    same(BlockProblem("softmax", Blocks(csr), x_scale=1 / 255).value_and_grad(params), true, 1e-12)
    single = BlockProblem("softmax", Blocks(cut([90], X.astype(np.float32), y)))
    assert single.dtype == np.float32 and single.value_and_grad(params)[1].dtype == np.float64
    same(
        BlockProblem("softmax", Blocks(blocks), dtype=np.float32).value_and_grad(params),
        value_and_grad("softmax")(params.astype(np.float32), pixels, y),
        1e-6,
    )


X, Y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
GOOD = (X, Y)


def _with(array, at, value):
    array = np.array(array, np.float64)
    array[at] = value
    return array


REFUSED = [
    ([GOOD, (X[:, :1], Y)], ValueError, "block 1: X: expected the number of features 2 as in block 0, got 1"),
    ([GOOD, GOOD, (X.astype(np.float32), Y)], TypeError, "block 2: X: expected dtype float64 as in block 0, got float32"),
    ([GOOD, (X, np.array(list("abab")))], TypeError, "block 1: y: expected labels of dtype int64 as in block 0, got <U1"),
    ([GOOD, (X, Y[:3])], ValueError, r"block 1: y: expected shape \(4,\), .*, got \(3,\)"),
    ([GOOD, (X[0], Y)], ValueError, r"block 1: X: expected shape \(rows, features\), got \(2,\)"),
    ([GOOD, (X, Y, Y, Y)], TypeError, r"block 1: expected \(X, y\) or \(X, y, sample_weight\), got tuple of 4"),
    ([GOOD, X], TypeError, r"block 1: expected \(X, y\) or \(X, y, sample_weight\), got ndarray"),
    ([GOOD, (X * 1j, Y)], TypeError, "block 1: X: expected float32, .* got complex128"),
    ([GOOD, (_with(X, 1, np.nan), Y)], ValueError, r"block 1: Input X contains NaN\."),
    ([GOOD, (_with(X, 1, np.inf), Y)], ValueError, r"block 1: Input X contains infinity\."),
    ([GOOD, (X, _with(Y, 1, np.nan))], ValueError, r"block 1: Input y contains NaN\."),
    ([GOOD, (X, Y, Y[:3])], ValueError, r"block 1: sample_weight: expected shape \(4,\), .*, got \(3,\)"),
    ([GOOD, (X, Y, -Y)], ValueError, "block 1: sample_weight: expected finite numbers >= 0, got -1.*"),
    ([GOOD, (X, Y, _with(Y, 1, np.inf))], ValueError, "block 1: sample_weight: expected finite numbers >= 0, got inf"),
    ([GOOD, (X, Y + 1)], ValueError, "y: expected 2 classes for logistic regression, got 3"),
    ([], ValueError, "X: expected at least one row, got no blocks"),
    ([(X[:0], Y[:0])], ValueError, "X: expected at least one row, got empty blocks"),
]


@pytest.mark.parametrize(("blocks", "kind", "message"), REFUSED)
def test_errors_name_the_block(blocks, kind, message):
    with pytest.raises(kind, match="^" + message + "$") as raised:
        BlockProblem("logistic", Blocks(blocks))
    assert "\n" not in str(raised.value)


def test_what_can_be_read_once_is_refused():
    with pytest.raises(TypeError, match="^X: expected blocks that can be read again .* got generator, which"):
        Blocks(block for block in [GOOD])
    with pytest.raises(TypeError, match="^X: expected an iterable of blocks .* got int"):
        Blocks(3)


def test_blocks_that_change_are_noticed():
    blocks = [GOOD, GOOD]
    problem = BlockProblem("logistic", Blocks(blocks))
    blocks.append(GOOD)
    with pytest.raises(ValueError, match="^X: expected the 8 rows of the first pass, got 12"):
        problem.value_and_grad(np.zeros(3))
    named = [(X, np.array(list("abab")))]
    problem = BlockProblem("logistic", Blocks(named))
    named[0] = (X, np.array(list("abac")))
    with pytest.raises(ValueError, match="^block 0: y: expected the labels of the first pass, got .*'c'"):
        problem.value_and_grad(np.zeros(3))


@pytest.mark.parametrize("model", MODELS)
def test_the_sums_refuse_what_the_scan_does_not_know(model):
    with pytest.raises(ValueError, match="^block 0: "):
        BlockProblem(model, Blocks([GOOD]), num_classes=2).value_and_grad(np.zeros(7))


# A child process that may not have more private memory than it has after its first call, and 32 MiB; X is 160 MB.
BUDGET = """
import resource, sys
import numpy as np
from nbgrad.regression import softmax_value_and_grad
from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import Blocks

rows, features, path, how = 200_000, 800, sys.argv[1], sys.argv[2]
X = np.memmap(path, np.uint8, "r", shape=(rows, features))
y = np.arange(rows) % 10
params = np.zeros((10, features + 1), np.float32)

def source():
    for start in range(0, rows, 10_000):
        yield np.fromfile(path, np.uint8, 10_000 * features, offset=start * features).reshape(-1, features), \\
            y[start : start + 10_000]

def memmap(rows):
    return softmax_value_and_grad(params, X[:rows], y[:rows], x_scale=1 / 255)

memmap(5000)  # compiles
if how == "blocks":  # the budget: two blocks of 8 MB, the pass's own buffers
    first = next(source())
    BlockProblem("softmax", Blocks([first]), dtype=np.float32, x_scale=1 / 255).value_and_grad(params)
    del first
with open("/proc/self/status") as status:
    private = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (private + 32 * 2**20,) * 2)
if how == "blocks":
    value, _ = BlockProblem("softmax", Blocks(source), dtype=np.float32, x_scale=1 / 255).value_and_grad(params)
else:
    value, _ = memmap(rows)
assert abs(value - np.log(10)) < 1e-5
try:
    np.array(X)
except MemoryError:
    print("the limit works")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit of private memory is Linux's")
@pytest.mark.parametrize("how", ["memmap", "blocks"])
def test_memory_stays_within_the_budget(tmp_path, how):
    path = tmp_path / "pixels"
    with open(path, "wb") as file:
        file.truncate(200_000 * 800)  # a file of zeros without blocks on the disk
    done = subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(BUDGET), str(path), how], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the limit works" in done.stdout


def test_scan_keeps_no_labels_of_regression():
    assert scan(Blocks([(X, X[:, 0])]), classify=False).classes is None
