"""Blocks of rows on a Dask cluster, or in Dask's scheduler of this process. How many, and on what: README.md here.

Each pass sends one small graph: a task for each block, where the block lies, and the tree that adds their results up.
The parameters travel inside it, once, as a value that a task of its own holds; workers fetch it from each other. (Not
by ``client.scatter``: what is scattered has no recipe, and is gone with the worker that held it.) Blocks are persisted
on the workers with their recipe, so that Dask computes those of a lost worker again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import dask
import dask.array as da
import numpy as np
from dask.base import get_scheduler
from dask.delayed import Delayed, delayed

from nbgrad.arrays import check_mask
from nbgrad.jit import serial_loops
from nbgrad.regression.blocks import at_block, tree

__all__ = ["DaskBlocks", "map_rows"]


class DaskBlocks:
    """Blocks of rows that Dask holds.

    ``X`` is a dask.array (n, features), ``y`` and ``sample_weight`` (n,) are dask or NumPy arrays, which are cut as X
    is; or X is a list of futures (or delayed values) of ``(X, y)`` or ``(X, y, sample_weight)``. A block is a chunk of
    X: chunks along the features are merged. With a `dask.distributed.Client` the blocks are persisted on its workers;
    without one they are computed again in each pass, unless ``X`` is persisted.

    Rows of unknown number (nan chunks) are taken as they are, if y has as many chunks.

    >>> import dask.array as da
    >>> from nbgrad.regression.blocks import scan
    >>> blocks = DaskBlocks(da.ones((100, 3), chunks=(40, 2)), da.zeros(100, chunks=30))
    >>> len(blocks.blocks), scan(blocks, classify=False).rows
    (3, 100)

    Errors: ValueError for shapes and lengths that do not fit, an unknown number of features, unknown chunks that
    cannot be paired.
    """

    def __init__(self, X: Any, y: Any = None, sample_weight: Any = None, names: Any = None) -> None:
        self.names = names  # of the features
        if isinstance(X, da.Array):
            blocks = _together(X, y, sample_weight)
        elif y is None and sample_weight is None:
            blocks = list(X)
        else:
            raise TypeError("y: expected None, as the blocks of X bring their targets and weights, got an argument")
        delays = all(isinstance(block, Delayed) for block in blocks)
        self.client = _client() if delays else blocks[0].client
        self.blocks = self.client.persist(blocks) if delays and self.client else blocks

    def reduce(self, name: str, function: Callable[..., Any], combine: Callable[..., Any], argument: Any) -> Any:
        """``function(i, (X, y, sample_weight), argument)`` of each block i, combined by
        `nbgrad.regression.blocks.tree`. The tasks are called ``name``, for the dashboard.
        """

        def key(name: str) -> str:
            return f"{name}-{uuid4().hex}"  # a fresh one: a pass must not find the result of another

        value = delayed(argument, name=key("params"), traverse=False)
        task, join = delayed(_task, pure=False), delayed(combine, pure=False)
        results = [task(i, function, block, value, dask_key_name=key(name)) for i, block in enumerate(self.blocks)]
        total = tree(results, lambda *parts: join(*parts, dask_key_name=key(f"add_{name}")))
        return self.client.compute(total, sync=True) if self.client else dask.compute(total)[0]  # type: ignore[attr-defined]


def _task(i: int, function: Callable[..., Any], block: Any, argument: Any) -> Any:
    with serial_loops():  # Dask has a thread for each core: one more pool in each would fight for them
        return at_block(i, function, block, argument)


def _together(X: Any, y: Any, sample_weight: Any) -> list[Delayed]:
    """A delayed (X, y, sample_weight) for each chunk of rows.

    One value holds all three: as values of their own y's chunk could live on another worker than X's.
    """
    if X.ndim != 2:
        raise ValueError(f"X: expected shape (rows, features), got {X.shape}")
    if np.isnan(X.shape[1]):
        raise ValueError("X: expected a known number of features, got nan (X.compute_chunk_sizes() finds it)")
    if y is None:
        raise ValueError("y: expected an array of targets, got None")
    X = X.rechunk({1: -1})
    columns = [_like_rows(X, "y", y)]
    if sample_weight is not None:
        columns.append(_like_rows(X, "sample_weight", sample_weight))
    block = delayed(_tuple, pure=False)
    parts = zip(X.to_delayed().ravel(), *(c.to_delayed().ravel() for c in columns), strict=True)
    return [block(*part, dask_key_name=f"block-{uuid4().hex}") for part in parts]


def _tuple(*parts: Any) -> tuple[Any, ...]:
    return parts


def _like_rows(X: Any, name: str, array: Any) -> Any:
    """``array`` as a dask array in X's chunks."""
    rows = X.chunks[0]
    known = not np.isnan(X.shape[0])
    if not isinstance(array, da.Array):
        check_mask(array, name)
        array = np.asarray(array)
        if not known:
            raise ValueError(f"{name}: expected a dask array, since X's chunks are unknown, got an array in memory")
        array = da.from_array(array, chunks=-1)
    if array.ndim == 2 and name == "y":
        array = array.rechunk({1: -1})
    elif array.ndim != 1:
        raise ValueError(f"{name}: expected shape (rows,), got {array.shape}")
    if known and not np.isnan(array.shape[0]):
        if array.shape[0] != X.shape[0]:
            raise ValueError(f"{name}: expected shape ({X.shape[0]},), an entry for each row of X, got {array.shape}")
        return array.rechunk({0: rows})
    if array.numblocks[0] != len(rows):
        raise ValueError(
            f"{name}: expected {len(rows)} chunks as X has, since sizes are unknown, got {array.numblocks[0]} "
            "(compute_chunk_sizes() of both finds them)"
        )
    return array  # in pairs, whose lengths are compared when they are computed


def _client() -> Any:
    """The client in whose hands Dask is at the moment, or None."""
    distributed = sys.modules.get("distributed")
    owner = getattr(get_scheduler(), "__self__", None)
    return owner if distributed and isinstance(owner, distributed.Client) else None


def map_rows(function: Callable[[Any], Any], X: Any, *, dtype: Any, columns: int | None = None) -> Any:
    """``function`` (rows, features) → (rows,), or (rows, columns), of each chunk of the dask.array ``X``, when it is
    asked for: prediction.

    >>> import dask.array as da
    >>> map_rows(lambda X: X.sum(axis=1), da.ones((4, 3), chunks=2), dtype="f8").compute().tolist()
    [3.0, 3.0, 3.0, 3.0]
    """
    X = X.rechunk({1: -1})
    meta = np.empty((0,) if columns is None else (0, columns), dtype)
    options = {"drop_axis": 1} if columns is None else {"chunks": (X.chunks[0], (columns,))}
    return X.map_blocks(_serially, function=function, meta=meta, **options)


def _serially(block: Any, *, function: Callable[[Any], Any]) -> Any:
    with serial_loops():
        return function(block)
