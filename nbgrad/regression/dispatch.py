"""Which kind of data a fit was given: in memory, in blocks, or Dask's. Dask is not imported here: whoever has data of
its has imported it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from nbgrad.regression.block_problem import BlockProblem
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.data import MODELS
from nbgrad.regression.problem import Problem

__all__ = ["as_blocks", "as_dask_array", "as_problem", "is_dask_array"]


def as_problem(model: str, X: Any, y: Any = None, *, sample_weight: Any = None, **options: Any) -> Any:
    """The `Problem` (X in memory or memory-mapped) or `BlockProblem` (blocks, dask) of the data.

    >>> import numpy as np
    >>> as_problem("linear", [(np.ones((2, 1)), np.zeros(2))]).value_and_grad(np.ones(2))[0]
    2.0
    """
    blocks = as_blocks(X, y, sample_weight)
    if blocks is None:
        return Problem(model, X, y, sample_weight=sample_weight, **options)
    own = {name: options.pop(name) for name in MODELS[model].parameters if name in options}
    return BlockProblem(model, blocks, parameters=own, **options)


def as_blocks(X: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """`Blocks` or `DaskBlocks` where ``X`` comes in blocks of rows; None where it lies in memory.

    Blocks bring their targets, (X, y) or (X, y, sample_weight): ``y`` is None with an iterable, a function that returns
    one, or a list of futures. Errors: TypeError for ``sample_weight`` beside them.
    """
    given, (X, y, sample_weight) = X, map(as_dask_array, (X, y, sample_weight))
    if is_dask_array(X) or (isinstance(X, list) and y is None and _dasks(X)):
        from nbgrad.regression.distributed import DaskBlocks

        return DaskBlocks(X, y, sample_weight, names=None if X is given else list(given.columns))
    if y is not None or hasattr(X, "shape") or not (callable(X) or isinstance(X, Iterable)):
        return None
    if sample_weight is not None:
        raise TypeError("sample_weight: expected None, as blocks bring their weights, (X, y, weight), got an argument")
    return Blocks(X)


def is_dask_array(X: Any) -> bool:
    """Whether X is a dask.array."""
    array = sys.modules.get("dask.array")
    return array is not None and isinstance(X, array.Array)


def as_dask_array(X: Any) -> Any:
    """A dask.dataframe or a column of one as a dask.array, its partitions as chunks; all else as it is."""
    frame = sys.modules.get("dask.dataframe")
    return X.to_dask_array() if frame is not None and isinstance(X, (frame.DataFrame, frame.Series)) else X


def _dasks(items: list[Any]) -> bool:
    """Whether all are futures or delayed values."""
    kinds = [
        getattr(sys.modules[module], name)
        for module, name in (("distributed", "Future"), ("dask.delayed", "Delayed"))
        if module in sys.modules
    ]
    return bool(items) and bool(kinds) and all(isinstance(item, tuple(kinds)) for item in items)
