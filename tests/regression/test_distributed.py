"""Fitting on Dask: the bits of the same blocks in one process, whatever the workers do."""

import copy
import io
import os
import re
import signal
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from regression_models import cut, example, models, same, value_and_grad
from scipy.optimize import minimize

from nbgrad import LogisticRegression, SoftmaxRegression, jit, regression
from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import Blocks, scan
from nbgrad.regression.linear.least_squares import least_squares

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
from nbgrad.regression.distributed import DaskBlocks, map_rows  # noqa: E402  (needs dask)


@pytest.fixture(scope="module")
def two_workers():
    """Two processes of one thread each, on ports that are free."""
    options = {"processes": True, "n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            yield client


@pytest.fixture
def client(two_workers):
    """The client, for one test: the others compute without."""
    with two_workers.as_current():
        yield two_workers


def load(i, classes=3):
    """A block of pixels, made where it is asked for."""
    rng = np.random.default_rng(i)
    y = rng.integers(0, classes, 500)
    return (rng.integers(0, 200, (500, 20)) + 20 * (y[:, None] == np.arange(20) % classes)).astype(np.uint8), y


def blocks_of_pixels(classes=3):
    return [load(i, classes) for i in range(10)]


ESTIMATORS = {
    3: SoftmaxRegression(x_scale=1 / 255, tol=1e-7, C=0.01),
    2: LogisticRegression(x_scale=1 / 255, tol=1e-7, C=0.01),
}


@pytest.fixture(scope="module")
def fitted():
    """By the number of classes, the coefficients of a fit in this process, block by block. Serially: what is compiled is
    what the workers will find on the disk."""
    with jit.serial_loops():
        return {k: coefficients(copy.copy(model).fit(blocks_of_pixels(k))) for k, model in ESTIMATORS.items()}


def coefficients(model):
    return np.column_stack([model.coef_, model.intercept_])


@models
def test_without_a_client_the_bits_are_those_of_the_blocks(model):
    params, X, y = example(model, 300, 5)
    weight = np.random.default_rng(0).random(300)
    sizes = (40,) * 7 + (20,)
    chunked = [da.from_array(X, chunks=(40, 2)), da.from_array(y, chunks=75), weight]
    on_dask = BlockProblem(model, DaskBlocks(*chunked), l2=0.1)
    assert on_dask.blocks.client is None
    one_process = BlockProblem(model, Blocks(cut(sizes, X, y, weight)), l2=0.1)
    same(on_dask.value_and_grad(params), one_process.value_and_grad(params), 0)
    same(on_dask.value_and_grad(params), value_and_grad(model)(params, X, y, sample_weight=weight, l2=0.1), 1e-12)


def test_least_squares():
    _, X, y = example("linear", 300, 5)
    coef, intercept, _ = least_squares(DaskBlocks(da.from_array(X, chunks=(40, 3)), da.from_array(y, chunks=40)))
    one_process, *_ = least_squares(Blocks(cut((40,) * 7 + (20,), X, y)))
    np.testing.assert_array_equal(coef, one_process)
    A = np.column_stack([X, np.ones(300)])
    np.testing.assert_allclose([*coef, intercept], np.linalg.lstsq(A, y)[0], rtol=1e-10)


def test_chunks_of_unknown_length():
    params, X, y = example("logistic", 300, 5)
    keep = X[:, 0] > 0
    dx, dy = da.from_array(X, chunks=(50, 5)), da.from_array(y, chunks=50)
    unknown = DaskBlocks(dx[da.from_array(keep, chunks=50)], dy[da.from_array(keep, chunks=50)])
    problem = BlockProblem("logistic", unknown)
    assert problem.summary.rows == keep.sum()
    same(problem.value_and_grad(params), value_and_grad("logistic")(params, X[keep], y[keep]), 1e-13)


X = da.ones((6, 2), chunks=(3, 2))
Y = da.zeros(6, chunks=3)
NAN = X[da.from_array(np.array([True, False, True] * 2), chunks=3)]
REFUSED = [
    ((X, Y[:5]), ValueError, r"y: expected shape \(6,\), an entry for each row of X, got \(5,\)"),
    ((X, Y, Y[:5]), ValueError, r"sample_weight: expected shape \(6,\), .*, got \(5,\)"),
    ((X, np.zeros(5)), ValueError, r"y: expected shape \(6,\), .*, got \(5,\)"),
    ((X, np.zeros((6, 1, 1))), ValueError, r"y: expected shape \(rows,\), got \(6, 1, 1\)"),
    ((X, Y, X), ValueError, r"sample_weight: expected shape \(rows,\), got \(6, 2\)"),
    ((X,), ValueError, "y: expected an array of targets, got None"),
    ((Y, Y), ValueError, r"X: expected shape \(rows, features\), got \(6,\)"),
    ((NAN.T, Y), ValueError, "X: expected a known number of features, got nan"),
    ((NAN, da.zeros(6, chunks=2)), ValueError, "y: expected 2 chunks as X has, since sizes are unknown, got 3"),
    ((NAN, np.zeros(4)), ValueError, "y: expected a dask array, since X's chunks are unknown, got an array in memory"),
    (([dask.delayed(1)], Y), TypeError, "y: expected None, as the blocks of X bring their targets"),
]


@pytest.mark.parametrize(("arguments", "kind", "message"), REFUSED)
def test_errors_name_the_argument(arguments, kind, message):
    with pytest.raises(kind, match="^" + message) as raised:
        DaskBlocks(*arguments)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("columns", [1, 2])
def test_several_targets_are_linear_regressions_alone(columns):
    blocks = DaskBlocks(X, np.zeros((6, columns)))
    with pytest.raises(ValueError, match=rf"^block [01]: y: expected shape \(3,\), a target for each row of X, got \(3, {columns}\)"):
        BlockProblem("softmax", blocks)
    with pytest.raises(ValueError, match=rf"^block [01]: y: expected shape \(3,\), a target for each row of X, got \(3, {columns}\)"):
        BlockProblem("linear", blocks).value_and_grad(np.zeros(3))


def test_pairs_that_do_not_fit_are_found_in_the_scan():
    with pytest.raises(ValueError, match=r"^block [01]: y: expected shape \(2,\), .*, got \(3,\)"):
        scan(DaskBlocks(NAN, Y), classify=False)


def test_prediction_is_lazy():
    params, X, _ = example("softmax", 100, 6)
    calls = []

    def scores(block):
        calls.append(block.shape)
        return block @ params[:, :-1].T + params[:, -1]

    chunked = da.from_array(X, chunks=(30, 4))
    proba = map_rows(scores, chunked, dtype=np.float64, columns=3)
    labels = map_rows(lambda block: scores(block).argmax(axis=1), chunked, dtype=np.intp)
    assert calls == []
    assert (proba.shape, proba.chunks[0], labels.shape, labels.dtype) == ((100, 3), (30, 30, 30, 10), (100,), np.intp)
    np.testing.assert_allclose(proba.compute(), scores(X))
    np.testing.assert_array_equal(labels.compute(), scores(X).argmax(axis=1))
    unknown = map_rows(scores, chunked[chunked[:, 0] > 0], dtype=np.float64, columns=3)
    np.testing.assert_allclose(unknown.compute(), scores(X[X[:, 0] > 0]))


def test_fit_of_arrays_and_of_futures_on_a_cluster(client, fitted):
    memory = [np.concatenate(parts) for parts in zip(*blocks_of_pixels(), strict=True)]
    model = copy.copy(ESTIMATORS[3])
    np.testing.assert_allclose(fitted[3], coefficients(model.fit(*memory)), atol=1e-6)
    arrays = da.from_array(memory[0], chunks=(500, 7)), da.from_array(memory[1], chunks=700)
    for data in ((client.map(load, range(10)),), arrays, ([dask.delayed(load)(i) for i in range(10)],)):
        assert (coefficients(model.fit(*data)) == fitted[3]).all()  # the same bits
    labels = model.predict(arrays[0])
    assert isinstance(labels, da.Array)
    np.testing.assert_array_equal(labels.compute(), model.predict(memory[0]))
    assert model.score(*arrays) == model.score(*memory)


def test_the_readme_runs():
    text = (Path(regression.__file__).parent / "README.md").read_text()
    (code,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    exec(code, {})


def runs_serially(i, block, argument):
    return jit.is_serial()


def test_loops_in_a_task_are_serial():
    blocks = DaskBlocks(da.ones((4, 2), chunks=2), np.zeros(4))
    assert blocks.reduce("serial", runs_serially, lambda a, b: a and b, None)
    assert map_rows(lambda X: np.full(len(X), jit.is_serial()), da.ones((4, 2)), dtype=bool).compute().all()


def transferred(dask_worker):
    return sum(entry["total"] for entry in dask_worker.transfer_incoming_log)


def test_only_params_and_sums_travel(client):
    """The bytes between workers, over a fit, beside those of the blocks; the tasks' names; progress."""
    X = da.random.default_rng(0).normal(size=(40_000, 100), chunks=(5000, 100))
    problem = BlockProblem("logistic", DaskBlocks(X, X[:, 0] > 0))
    distributed.wait(distributed.futures_of(problem.blocks.blocks))
    before = sum(client.run(transferred).values())
    passes = minimize(problem.value_and_grad, np.zeros(101), jac=True, method="L-BFGS-B", options={"maxiter": 20}).nfev
    assert passes >= 10
    assert sum(client.run(transferred).values()) - before < 0.1 * passes * X.nbytes
    names = client.run_on_scheduler(lambda dask_scheduler: set(dask_scheduler.task_prefixes))
    assert {"block", "scan", "logistic_sums", "params"} <= names
    with redirect_stdout(io.StringIO()) as bar:
        distributed.progress(problem.blocks.blocks, notebook=False)
    assert "100%" in bar.getvalue()


def test_an_error_on_a_worker_names_the_block(client):
    X, y = np.ones((400, 3)), np.arange(400) % 2
    X[250, 1] = np.nan
    with pytest.raises(ValueError, match=r"^block 2: Input X contains NaN\.$"):
        scan(DaskBlocks(da.from_array(X, chunks=(100, 3)), y), classify=True)


@pytest.mark.parametrize("classes", ESTIMATORS)
def test_a_killed_worker_costs_time_and_not_the_result(client, fitted, classes, monkeypatch):
    workers = client.run(os.getpid)
    passes, victims = 0, []
    second_order = BlockProblem.second_order

    def killing(problem, *arguments):
        nonlocal passes
        passes += 1
        if passes == 3:
            held = {worker: sum("load" in key for key in keys) for worker, keys in client.has_what().items()}
            victims.append(max(held, key=held.__getitem__))
            assert held[victims[0]]
            os.kill(workers[victims[0]], signal.SIGKILL)
        return second_order(problem, *arguments)

    monkeypatch.setattr(BlockProblem, "second_order", killing)
    model = copy.copy(ESTIMATORS[classes]).fit([dask.delayed(load)(i, classes) for i in range(10)])
    assert passes > 3 and (coefficients(model) == fitted[classes]).all()
    assert victims[0] not in client.scheduler_info()["workers"]
    client.wait_for_workers(2, timeout=60)
