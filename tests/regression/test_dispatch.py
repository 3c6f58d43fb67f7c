"""Which kind of data it is, and that asking does not import Dask."""

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
