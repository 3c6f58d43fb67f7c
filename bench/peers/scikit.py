"""scikit-learn: its losses, linear models and multi-layer perceptrons."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.peers.base import Calls, Peer

__all__ = ["ScikitLearn"]

_LOSSES = {
    "half_squared_error": "HalfSquaredError",
    "absolute_error": "AbsoluteError",
    "binary_cross_entropy_with_logits": "HalfBinomialLoss",
}


class ScikitLearn(Peer):
    title = "sklearn"

    def __init__(self, threads: int) -> None:
        import sklearn

        self.sklearn, self.threads = sklearn, threads

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        import sklearn._loss

        kind = getattr(sklearn._loss, _LOSSES.get(op.name, ""), None)
        if kind is None:
            return {}
        loss, losses, grads = kind(), np.empty_like(x), np.empty_like(x)
        flat, t, n = x.reshape(-1), target.reshape(-1), x.size

        def value() -> Any:
            return loss.loss(t, flat, loss_out=losses, n_threads=self.threads).mean(dtype=np.float64)

        def value_and_grad() -> Any:
            loss.loss_gradient(t, flat, loss_out=losses, gradient_out=grads, n_threads=self.threads)
            return losses.mean(dtype=np.float64), np.multiply(grads, 1 / n, out=grads)

        return {("value", "out"): value, ("value_and_grad", "out"): value_and_grad}

    def regression(self, model: str, params: Any, X: Any, y: Any) -> Calls:
        from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
        from sklearn.linear_model._linear_loss import LinearModelLoss

        base = HalfMultinomialLoss(n_classes=len(params)) if model == "softmax" else HalfBinomialLoss()
        loss = LinearModelLoss(base_loss=base, fit_intercept=True)
        flat, target = params.ravel(order="F"), y.astype(np.float32)

        def call() -> Any:
            value, grad = loss.loss_gradient(flat, X, target, l2_reg_strength=0.0, n_threads=self.threads)
            return value, grad.reshape(params.shape, order="F")

        return {("value_and_grad", "new"): call}

    def trainer(self, weights: list[Any], lr: float) -> Any:
        from bench.suites.trainers import ScikitTrainer

        return ScikitTrainer(weights, lr)
