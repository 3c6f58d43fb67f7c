"""torch.compile: the same functions, compiled by Inductor through a C++ compiler."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np

from bench.peers.base import Calls
from bench.peers.pytorch import PyTorch

__all__ = ["Compiled"]

_count = itertools.count(1)


class Compiled(PyTorch):
    """What is compiled is a function of tensors, gradients by `torch.func`; results are allocated."""

    title = "compile"

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.kept: dict[Any, Callable[..., Any]] = {}
        double = self._compile(lambda x: x + x)  # here, so that a missing compiler is one reason, not a hundred
        double(self.torch.ones(3))

    def _compile(self, f: Callable[..., Any]) -> Callable[..., Any]:
        # PyTorch keeps what it compiled with the code object and tries one after the other: each function gets its own
        code = f.__code__.replace(co_firstlineno=next(_count))
        own = FunctionType(code, f.__globals__, f.__name__, f.__defaults__, f.__closure__)
        # for any size from the first call on: 3 s once, not once more for the second size
        return self.torch.compile(own, dynamic=True)

    def _once(self, key: Any, f: Callable[..., Any]) -> Callable[..., Any]:
        if key not in self.kept:
            self.kept[key] = self._compile(f)
        return self.kept[key]

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        torch, f = self.torch, self.activation(op)
        if f is None or x.dtype != np.float32:  # 3 s for each: float64 would double them
            return {}
        tx, tg = torch.from_numpy(x), torch.from_numpy(g)
        forward = self._once((op.name, "forward"), lambda x: f(x))
        backward = self._once((op.name, "backward"), lambda g, x: torch.func.vjp(f, x)[1](g)[0])
        return {("forward", "new"): lambda: forward(tx), ("backward", "new"): lambda: backward(tg, tx)}

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        torch = self.torch
        if x.dtype != np.float32 or not hasattr(torch, name):
            return {}
        f, tx, tg = getattr(torch, name), torch.from_numpy(x), torch.from_numpy(g)
        forward = self._once((name, axis, "forward"), lambda x: f(x, axis))
        backward = self._once((name, axis, "backward"), lambda g, x: torch.func.vjp(lambda v: f(v, axis), x)[1](g)[0])
        return {("forward", "new"): lambda: forward(tx), ("backward", "new"): lambda: backward(tg, tx)}

    def maxout(self, x: Any, g: Any, pieces: int, out: Any, grad_out: Any) -> Calls:
        return {}

    def both(self, name: str, f: Callable[[Any, Any], Any], x: Any, target: Any) -> Calls:
        torch = self.torch
        if x.dtype != np.float32:
            return {}
        tx, t = torch.from_numpy(x), torch.from_numpy(target)
        value = self._once((name, "value"), lambda x, t: f(x, t))
        pair = self._once((name, "both"), lambda x, t: torch.func.grad_and_value(f)(x, t)[::-1])
        return {("value", "new"): lambda: value(tx, t), ("value_and_grad", "new"): lambda: pair(tx, t)}

    def regression(self, model: str, params: Any, X: Any, y: Any) -> Calls:
        torch, f = self.torch, self.regression_loss(model)
        w, x, target = torch.from_numpy(params.copy()), torch.from_numpy(X), torch.from_numpy(y)
        pair = self._compile(lambda w, x, t: torch.func.grad_and_value(f)(w, x, t)[::-1])
        return {("value_and_grad", "new"): lambda: pair(w, x, target)}

    def formula(self, name: str, body: Callable[..., Any], arguments: list[Any]) -> Calls:
        f = self._once(("formula", name, len(arguments)), self._summed(body))
        return {("value_and_grad", "new"): self._of_formula(f, arguments)}

    def graph(self) -> Calls:
        torch = self.torch

        def L(a: Any, w1: Any, w2: Any, w3: Any, w4: Any) -> Any:
            return 10 - (w3 * (w1 * a) + w4 * (w2 * a))

        grads = self._compile(lambda *v: torch.func.grad(L, argnums=(0, 1, 2, 3, 4))(*v))
        values = [torch.tensor(v) for v in (2.0, 3.0, -1.0, 0.5, 4.0)]
        return {("both", "new"): lambda: [float(g) for g in grads(*values)]}

    def chain(self, name: str, length: int) -> Calls:
        return {}  # a compiled chain is one operation

    def mlp_step(self, weights: list[Any], x: Any, labels: Any) -> Calls:
        torch, nn = self.torch, self.functional
        own = [torch.from_numpy(w.copy()) for w in weights]
        tx, t = torch.from_numpy(x), torch.from_numpy(labels)

        def loss(own: Any, x: Any, t: Any) -> Any:
            for w in own[:-1]:
                x = torch.relu(x @ w.T)
            return nn.cross_entropy(x @ own[-1].T, t)

        pair = self._compile(lambda own, x, t: torch.func.grad_and_value(loss)(own, x, t))

        def step() -> Any:
            grads, value = pair(own, tx, t)
            return [value, *grads]

        return {("step", "new"): step}

    def trainer(self, weights: list[Any], lr: float) -> Any:
        return None

    def function(self, name: str, direction: str, op: Any) -> Callable[[Any], Any] | None:
        return None  # PyTorch's own formulas, 3 s to compile each
