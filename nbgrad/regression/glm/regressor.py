"""What the regressors of this room share: their data, their predictions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import on_device
from nbgrad.regression.blocks import Blocks
from nbgrad.regression.dispatch import as_blocks
from nbgrad.regression.scikit.base import (
    BaseEstimator,
    RegressorMixin,
    check_blocks,
    check_parameters,
    check_sample_weight,
    check_X_y,
    linear_scores,
    precision,
)

__all__ = ["Regressor"]


class Regressor(RegressorMixin, BaseEstimator):
    """A regressor with one score x·coef + intercept a row."""

    coef_: NDArray[Any]
    intercept_: float
    n_iter_: int
    n_features_in_: int

    def _data(self, X: Any, y: Any, sample_weight: Any) -> tuple[Any, Any, Any, Any]:
        """What `fit` was given, checked: (X, y, weights, dtype of X), y and weights None where X are blocks."""
        check_parameters(self)
        if on_device(X):
            from nbgrad.regression.scikit.device_data import Measured

            data = Measured(self, X, y, sample_weight)
            return data, None, None, data.dtype
        blocks = as_blocks(X, y, sample_weight)
        if blocks is None:
            X, y = check_X_y(self, X, y, y_numeric=True)
            return X, y.astype(np.float64, copy=False), check_sample_weight(sample_weight, X.shape[0]), X.dtype
        self._summary = check_blocks(self, blocks, classify=False)
        return blocks, None, None, self._summary.dtype

    def _last(self) -> NDArray[np.float64] | None:
        """(coefficients, intercept) of the last `fit`, where this one is to start from them."""
        if not (self.warm_start and hasattr(self, "coef_")):  # type: ignore[attr-defined]
            return None
        if self.coef_.shape != (self.n_features_in_,):
            raise ValueError(
                f"Initialization coef is of shape {self.coef_.shape}, expected shape {(self.n_features_in_,)}"
            )
        return np.append(self.coef_, self.intercept_).astype(np.float64)

    def _keep(self, coef: NDArray[np.float64], intercept: float, dtype: Any) -> None:
        dtype = precision(dtype)
        self.coef_, self.intercept_ = coef.astype(dtype), dtype.type(intercept)

    def _scores(self, X: Any) -> Any:
        return linear_scores(X, self.coef_, self.intercept_, self.x_scale)  # type: ignore[attr-defined]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.input_tags.sparse = True
        return tags


def in_one(X: Any, y: Any, weight: Any) -> Any:
    """As blocks: arrays are one."""
    return X if y is None else Blocks([(X, y, weight)])
