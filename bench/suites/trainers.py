"""The same network trained by each library: linear layers with biases, ReLU between, cross-entropy, Adam, from the same
weights. An epoch takes its batches in the given order and returns the mean of the batches' losses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import nbgrad
from nbgrad import functional, nn, optim

__all__ = ["OwnTrainer", "ScikitTrainer", "TorchTrainer"]

#: weight, bias, weight, bias, ...
Weights = list[Any]
BATCH = 100


class OwnTrainer:
    """nbgrad, as `nbgrad train` does it: a compiled step."""

    def __init__(self, weights: Weights, lr: float) -> None:
        layers: list[Any] = []
        for weight in weights[::2]:
            layers += [nn.Linear(weight.shape[1], weight.shape[0]), nn.ReLU()]
        self.net = nn.Sequential(*layers[:-1])
        for parameter, weight in zip(self.net.parameters(), weights, strict=True):
            parameter.detach().numpy()[...] = weight
        self.optimizer = optim.Adam(self.net.parameters(), lr=lr)
        self.step = nbgrad.compile(self._step)

    def _step(self, x: Any, labels: Any) -> Any:
        self.optimizer.zero_grad()
        loss = functional.cross_entropy(self.net(x), labels)
        loss.backward()
        self.optimizer.step()
        return loss

    def epoch(self, x: Any, labels: Any, order: Any) -> float:
        total = 0.0
        for start in range(0, len(x), BATCH):
            at = order[start : start + BATCH]
            total += self.step(nbgrad.Tensor(x[at]), labels[at]).item() * len(at)
        return total / len(x)

    def accuracy(self, x: Any, labels: Any) -> float:
        return float((self.net(nbgrad.Tensor(x)).numpy().argmax(1) == labels).mean())


class TorchTrainer:
    def __init__(self, torch: Any, weights: Weights, lr: float) -> None:
        self.torch = torch
        layers: list[Any] = []
        for weight in weights[::2]:
            layers += [torch.nn.Linear(weight.shape[1], weight.shape[0]), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        with torch.no_grad():
            for parameter, weight in zip(self.net.parameters(), weights, strict=True):
                parameter.copy_(torch.from_numpy(weight.copy()))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)

    def epoch(self, x: Any, labels: Any, order: Any) -> float:
        torch, total = self.torch, 0.0
        for start in range(0, len(x), BATCH):
            at = order[start : start + BATCH]
            self.optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(self.net(torch.from_numpy(x[at])), torch.from_numpy(labels[at]))
            loss.backward()
            self.optimizer.step()
            total += loss.item() * len(at)
        return total / len(x)

    def accuracy(self, x: Any, labels: Any) -> float:
        with self.torch.no_grad():
            return float((self.net(self.torch.from_numpy(x)).numpy().argmax(1) == labels).mean())


class ScikitTrainer:
    """`MLPClassifier.partial_fit`: an epoch in the order of the rows, which are brought into the given one. Without
    hidden layers it is softmax regression.
    """

    def __init__(self, weights: Weights, lr: float) -> None:
        from sklearn.neural_network import MLPClassifier

        pairs = list(zip(weights[::2], weights[1::2], strict=True))

        class FromWeights(MLPClassifier):
            def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> Any:
                weight, bias = pairs.pop(0)
                return weight.T.astype(dtype, order="C"), bias.astype(dtype)

        self.model = FromWeights(
            tuple(w.shape[0] for w in weights[:-2:2]), solver="adam", alpha=0.0, batch_size=BATCH,
            learning_rate_init=lr, shuffle=False,
        )  # fmt: skip
        self.classes = np.arange(weights[-1].size)

    def epoch(self, x: Any, labels: Any, order: Any) -> float:
        self.model.partial_fit(x[order], labels[order], classes=self.classes)
        return float(self.model.loss_curve_[-1])

    def accuracy(self, x: Any, labels: Any) -> float:
        return float((self.model.predict(x) == labels).mean())
