"""What a fitted estimator answers, wherever X lies: arrays, chunks of Dask's, a GPU's memory."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np

from nbgrad.arrays import check_mask, contiguous, on_device
from nbgrad.regression.dispatch import as_dask_array, is_dask_array
from nbgrad.regression.scikit.base import check_is_fitted, numbers_of, validate_data

__all__ = ["by_rows", "score"]


def by_rows(estimator: Any, function: Callable[[Any, Any], Any], X: Any) -> Any:
    """``function(estimator, X)`` of a fitted estimator and its checked X; lazily of each chunk of a dask.array; on the
    GPU that holds X.
    """
    with np.errstate(all="ignore"):
        if on_device(X):
            from nbgrad.regression.scikit import device_data

            check_is_fitted(estimator)
            return device_data.answer(estimator, function, X)
        names, X = getattr(X, "columns", None), as_dask_array(X)
        if not is_dask_array(X):
            return function(estimator, _check_X(estimator, X))
        from nbgrad.regression.distributed import map_rows

        # One row of zeros finds now what would be found chunk by chunk: a fit that is missing, another number of
        # features; and what the answer looks like.
        check_is_fitted(estimator)
        model = copy.copy(estimator)  # a later fit must not change what is computed then
        known = vars(model).pop("feature_names_in_", None)  # chunks have none
        if names is not None and known is not None and list(names) != list(known):
            raise ValueError(f"X: expected the columns of fit, {list(known)}, got {list(names)}")
        checked = estimator if names is None else model  # which warns of names that are missing
        row = function(checked, _check_X(checked, np.zeros((1, *X.shape[1:]), X.dtype)))

        def of_chunk(chunk: Any) -> Any:
            if not chunk.shape[0]:
                return np.zeros((0, *row.shape[1:]), row.dtype)
            return function(model, _check_X(model, chunk))

        return map_rows(of_chunk, X, dtype=row.dtype, columns=row.shape[1] if row.ndim == 2 else None)


def score(mixin: Any, estimator: Any, X: Any, y: Any, sample_weight: Any) -> float:
    """The mixin's score. Of dask arrays the predictions and targets are computed first, all at once; from a GPU they
    are copied.
    """
    with np.errstate(all="ignore"):
        if on_device(X):
            from nbgrad.regression.scikit.device_data import to_host

            predicted, y, sample_weight = map(to_host, (estimator.predict(X), y, sample_weight))
            estimator = SimpleNamespace(predict=lambda X: predicted)
        if is_dask_array(as_dask_array(X)):
            import dask

            predicted, y, sample_weight = dask.compute(estimator.predict(X), *map(as_dask_array, (y, sample_weight)))  # type: ignore[attr-defined]
            estimator = SimpleNamespace(predict=lambda X: predicted)
        check_mask(y, "y")
        check_mask(sample_weight, "sample_weight")
        return mixin.score(estimator, X, _in_order(y), _in_order(sample_weight))


def _in_order(values: Any) -> Any:
    """The same numbers native and side by side: NumPy's sums depend on how they lie."""
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
        return contiguous(values.astype(values.dtype.newbyteorder("="), copy=False))
    return values


def _check_X(estimator: Any, X: Any) -> Any:
    """X of a fitted estimator: float32, float64, uint8 or CSR, with the features of `fit`."""
    check_is_fitted(estimator)
    check_mask(X, "X")
    if _are_blocks(X):
        raise TypeError(
            f"X: expected an array, a sparse matrix, a DataFrame or a dask.array, got {type(X).__name__}. Blocks "
            "answer one by one: [model.predict(X) for X, y in blocks]"
        )
    return numbers_of(validate_data(estimator, X, reset=False, accept_sparse="csr"))


def _are_blocks(X: Any) -> bool:
    """Whether X is what `fit` takes as blocks: a source of them, or a list of (X, y)."""
    if isinstance(X, list):
        return bool(X) and isinstance(X[0], tuple) and bool(X[0]) and len(getattr(X[0][0], "shape", ())) == 2
    return (callable(X) or isinstance(X, Iterator)) and not hasattr(X, "__array__")
