"""HIPS autograd: NumPy with derivatives."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from bench.peers import textbook
from bench.peers.base import Calls, Peer

__all__ = ["Autograd"]


class Autograd(Peer):
    title = "autograd"

    def __init__(self) -> None:
        import autograd
        import autograd.numpy

        self.autograd, self.numpy = autograd, autograd.numpy

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        tree = textbook.formula(op)
        f = textbook.for_numpy(tree, self.numpy) if tree else None
        if f is None:
            return {}
        pair = self.autograd.value_and_grad(lambda x: self.numpy.mean(f(x, target)))
        return {("value_and_grad", "new"): lambda: pair(x)}

    def formula(self, name: str, body: Callable[..., Any], arguments: list[Any]) -> Calls:
        from autograd.scipy.special import erfc, expit

        numpy = self.numpy
        m = SimpleNamespace(
            exp=numpy.exp, log=numpy.log, sqrt=numpy.sqrt, tanh=numpy.tanh, where=numpy.where, sigmoid=expit,
            softplus=lambda x: numpy.logaddexp(0.0, x), erfc=erfc,
        )  # fmt: skip
        pair = self.autograd.value_and_grad(lambda several: numpy.sum(body(m, *several)))

        def call() -> Any:
            value, grads = pair(tuple(arguments))
            return [value, *grads]

        return {("value_and_grad", "new"): call}

    def graph(self) -> Calls:
        def L(v: Any) -> Any:
            a, w1, w2, w3, w4 = v
            return 10 - (w3 * (w1 * a) + w4 * (w2 * a))

        grad = self.autograd.grad(L)
        return {("both", "new"): lambda: [float(g) for g in grad((2.0, 3.0, -1.0, 0.5, 4.0))]}

    def mlp_step(self, weights: list[Any], x: Any, labels: Any) -> Calls:
        numpy, rows = self.numpy, range(len(x))

        def loss(own: Any) -> Any:
            h = x
            for w in own[:-1]:
                h = numpy.maximum(h @ w.T, 0)
            scores = h @ own[-1].T
            scores = scores - numpy.max(scores, axis=1, keepdims=True)
            picked = scores[rows, labels]
            return numpy.mean(numpy.log(numpy.sum(numpy.exp(scores), axis=1)) - picked)

        pair = self.autograd.value_and_grad(loss)

        def step() -> Any:
            value, grads = pair(weights)
            return [value, *grads]

        return {("step", "new"): step}
