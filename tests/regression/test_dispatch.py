"""Which kind of data it is, and that asking does not import Dask."""

import numpy as np
import pytest
from processes import run
from regression_models import example
from scipy import sparse

from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.dispatch import as_blocks, as_problem, is_dask_array

_, X, Y = example("softmax", 20, 3)


def test_in_memory_is_none():
    for data in (X, X.tolist(), sparse.csr_array(X)):
        assert as_blocks(data, Y) is None and not is_dask_array(data)
    assert as_blocks(X) is None  # y is missing: an error of fit's
    assert as_blocks(3) is None


def test_blocks():
    for source in ([(X, Y)], ((X, Y),), lambda: iter([(X, Y)])):
        assert type(as_blocks(source)) is Blocks
        assert type(as_problem("softmax", source, l2=0.5)) is BlockProblem
    with pytest.raises(TypeError, match="^sample_weight: expected None, as blocks bring their weights"):
        as_blocks([(X, Y)], None, Y)
    with pytest.raises(TypeError, match="^X: expected blocks that can be read again"):
        as_blocks(iter([(X, Y)]))


def test_dask():
    da = pytest.importorskip("dask.array")
    dask = pytest.importorskip("dask")
    from nbgrad.regression.distributed import DaskBlocks

    array = da.from_array(X, chunks=(5, 3))
    assert is_dask_array(array)
    for arguments in ((array, Y), ([dask.delayed((X, Y))],)):
        assert type(as_blocks(*arguments)) is DaskBlocks
        assert as_problem("softmax", *arguments).summary.rows == 20


def test_dask_is_not_imported(tmp_path):
    code = """
import sys
import numpy as np
from nbgrad.regression.dispatch import as_problem
as_problem("linear", [(np.ones((2, 1)), np.zeros(2))])
print([name for name in sys.modules if name.partition(".")[0] in ("dask", "distributed")])
"""
    assert run(code, tmp_path) == "[]"


@pytest.mark.parametrize("kind", ["LinearRegression", "LogisticRegression", "PoissonRegressor", "HuberRegressor"])
def test_a_dask_dataframe_is_distributed_as_it_is(kind):
    """Partitions of unknown length, names kept, predictions lazy."""
    frame, pd = pytest.importorskip("dask.dataframe"), pytest.importorskip("pandas")
    from nbgrad import regression

    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(90, 3)), columns=["a", "b", "c"])
    table["y"] = (table["a"] + rng.logistic(size=90) > 0).astype(float)
    there = frame.from_pandas(table, npartitions=3)
    X, y = there[["a", "b", "c"]], there["y"]
    model = getattr(regression, kind)().fit(X, y)
    assert list(model.feature_names_in_) == ["a", "b", "c"]
    alone = getattr(regression, kind)().fit(table[["a", "b", "c"]], table["y"])
    np.testing.assert_allclose(model.coef_, alone.coef_, atol=1e-4)
    predicted = model.predict(X)
    assert is_dask_array(predicted)
    np.testing.assert_allclose(predicted.compute(), model.predict(table[["a", "b", "c"]]), atol=1e-12)
    assert model.score(X, y) == pytest.approx(alone.score(table[["a", "b", "c"]], table["y"]), abs=1e-4)
    with pytest.raises(ValueError, match=r"X: expected the columns of fit, \['a', 'b', 'c'\], got \['b', 'a', 'c'\]"):
        model.predict(there[["b", "a", "c"]])


@pytest.mark.parametrize("model", ["huber", "quantile", "poisson"])
def test_objectives_of_one_score_on_dask(model):
    da = pytest.importorskip("dask.array")
    rng = np.random.default_rng(1)
    X, y, weight = rng.normal(size=(200, 3)), rng.poisson(2.0, 200).astype(float), rng.integers(0, 3, 200).astype(float)
    arrays = [da.from_array(a, chunks=(60, *a.shape[1:])) for a in (X, y, weight)]
    here = as_problem(model, X, y, sample_weight=weight, l2=0.1)
    there = as_problem(model, *arrays[:2], sample_weight=arrays[2], l2=0.1)
    p, v = rng.normal(size=(2, 4))
    for a, b in zip(here.value_and_grad(p), there.value_and_grad(p), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(there.hessian(p) @ v, here.hessian(p) @ v, rtol=1e-12, atol=1e-14)
