"""Logistic regression for several strengths of its penalty, each fit from the last one's coefficients."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.regression.estimators import LogisticRegression

__all__ = ["C_path"]


def C_path(
    X: Any, y: Any, Cs: Any, *, sample_weight: Any = None, **parameters: Any
) -> tuple[NDArray[np.float64], NDArray[Any], NDArray[Any], NDArray[np.int32]]:
    """`LogisticRegression` for each of ``Cs``, in their order: each fit starts where the last one ended.

    Parameters
    ----------
    X, y, sample_weight
        As `LogisticRegression.fit` has them: arrays, sparse matrices, blocks, Dask's, on a GPU.
    Cs : (n,)
        Strengths of the data against the penalty. With ``l1_ratio`` begin with the small ones, of few coefficients.
    **parameters
        Those of `LogisticRegression` but for C and warm_start.

    Returns
    -------
    Cs, coefs (n, 1 or n_classes, n_features), intercepts (n, 1 or n_classes), n_iter (n,)

    Raises
    ------
    ValueError
        Cs that are no numbers in one dimension; and as `LogisticRegression.fit`.

    Examples
    --------
    >>> X, y = np.array([[0.0], [1.0], [2.0], [3.0]]), np.array([0, 1, 0, 1])
    >>> Cs, coefs, intercepts, n_iter = C_path(X, y, [0.1, 1.0, 10.0], l1_ratio=1.0)
    >>> coefs.shape, float(coefs[0, 0, 0]), bool(coefs[2, 0, 0] > 0.5)
    ((3, 1, 1), 0.0, True)
    """
    try:
        strengths = np.asarray(Cs, np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"Cs: expected numbers, got {Cs!r}") from error
    if strengths.ndim != 1 or not strengths.size:
        raise ValueError(f"Cs: expected shape (n,), at least one number, got {strengths.shape}")
    for name in ("C", "warm_start"):
        if name in parameters:
            raise TypeError(f"{name}: expected none, as C_path sets it, got {parameters[name]!r}")
    model, found = LogisticRegression(**parameters, warm_start=True), []
    for C in strengths:
        model.set_params(C=float(C)).fit(X, y, sample_weight)
        found.append((model.coef_, model.intercept_, model.n_iter_[0]))
    coefs, intercepts, n_iter = zip(*found, strict=True)
    return strengths, np.array(coefs), np.array(intercepts), np.array(n_iter, np.int32)
