"""One model on one data set, for minimizers: value and gradient in a pass over X, Hessian-vector products."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator

from nbgrad.regression import objectives

__all__ = ["Problem"]


class Problem:
    """Temporary: on the ``..._sums`` of `nbgrad.regression.objectives`."""

    def __init__(
        self,
        model: str,
        X: Any,
        y: Any,
        *,
        num_classes: int | None = None,
        sample_weight: Any = None,
        l2: float = 0.0,
        fit_intercept: bool = True,
        x_scale: float = 1.0,
        dtype: Any = None,
    ) -> None:
        self.sums = getattr(objectives, model + "_sums")
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.l2, self.fit_intercept, self.x_scale = l2, fit_intercept, x_scale
        self.num_classes = num_classes
        self.dtype = np.dtype(dtype or (X.dtype if X.dtype in (np.float32, np.float64) else np.float64))
        self.weight = np.ones(len(y)) if sample_weight is None else np.asarray(sample_weight, float)

    def _penalty(self, params: NDArray[Any]) -> NDArray[Any]:
        w = self.l2 * np.array(params, float)
        if self.fit_intercept:
            w.reshape(-1, self.X.shape[1] + 1)[:, -1] = 0
        return w

    def value_and_grad(self, params: Any) -> tuple[float, NDArray[np.float64]]:
        params = np.asarray(params, float)
        loss, grad, weight = self.sums(
            params.astype(self.dtype), self.X, self.y, sample_weight=self.sample_weight,
            fit_intercept=self.fit_intercept, x_scale=self.x_scale,
        )  # fmt: skip
        penalty = self._penalty(params)
        return float(loss / weight + 0.5 * np.vdot(params, penalty)), grad / weight + penalty

    def hessian(self, params: Any) -> LinearOperator:
        X = self.X.toarray() if not isinstance(self.X, np.ndarray) else self.X
        X = X.astype(float) * self.x_scale
        if self.fit_intercept:
            X = np.column_stack([X, np.ones(len(X))])
        W = np.asarray(params, float).reshape(-1, X.shape[1])
        s = X @ W.T
        weight = (self.weight / self.weight.sum())[:, None]
        if self.num_classes is None:
            e = np.exp(-abs(s))
            d = weight * e / (1 + e) ** 2
        else:
            p = np.exp(s - s.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)

        def product(v: NDArray[Any]) -> NDArray[Any]:
            z = X @ v.reshape(W.shape).T
            if self.num_classes is None:
                r = d * z
            else:
                r = weight * p * (z - (p * z).sum(1, keepdims=True))
            return (r.T @ X).ravel() + self._penalty(v).ravel()

        return LinearOperator((W.size, W.size), matvec=product, dtype=np.float64)
