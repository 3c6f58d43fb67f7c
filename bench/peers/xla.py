"""JAX, every function compiled (jit), each call waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np

from bench.peers import textbook
from bench.peers.base import Calls, Peer

__all__ = ["Jax"]

# where JAX's function has another name
_NAMES = {
    "softsign": "soft_sign",
    "hardtanh": "hard_tanh",
    "hardsigmoid": "hard_sigmoid",
    "hardswish": "hard_silu",
    "gelu_tanh": "gelu",
}


class Jax(Peer):
    title = "JAX"

    def __init__(self) -> None:
        import jax

        jax.config.update("jax_enable_x64", True)
        self.jax, self.numpy = jax, jax.numpy

    def activation(self, op: Any) -> Callable[[Any], Any] | None:
        """JAX's function of an array with the table's parameters; None if there is none."""
        name = _NAMES.get(op.name, op.name)
        function = getattr(self.jax.nn, name, None) or getattr(self.numpy, name, None)
        if function is None or op.parameters.get("min_val", -1.0) != -1.0:
            return None
        known = {k: v for k, v in op.parameters.items() if k in ("negative_slope", "alpha")}
        known |= {"approximate": name != op.name} if name == "gelu" else {}
        return partial(function, **known)

    def _pair(self, f: Callable[..., Any], x: Any, g: Any) -> Calls:
        """f and its gradient for g, waited for."""
        jax = self.jax
        jx, jg = self.numpy.asarray(x), self.numpy.asarray(g)
        forward, backward = jax.jit(f), jax.jit(lambda g, x: jax.vjp(f, x)[1](g)[0])
        return {
            ("forward", "new"): lambda: forward(jx).block_until_ready(),
            ("backward", "new"): lambda: backward(jg, jx).block_until_ready(),
        }

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        f = self.activation(op)
        return self._pair(f, x, g) if f else {}

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        f = getattr(self.jax.nn, name, None)
        return self._pair(partial(f, axis=axis), x, g) if f else {}

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        tree = textbook.formula(op)
        f = textbook.for_numpy(tree, self.numpy) if tree else None
        return self._both(lambda x, t: f(x, t).mean(), x, target) if f else {}

    def cross_entropy(self, x: Any, labels: Any) -> Calls:
        jax, numpy = self.jax, self.numpy

        def f(x: Any, t: Any) -> Any:
            return -numpy.take_along_axis(jax.nn.log_softmax(x), t[:, None], 1).mean()

        return self._both(f, x, labels)

    def _both(self, f: Callable[..., Any], *arrays: Any) -> Calls:
        jax = self.jax
        inputs = [self.numpy.asarray(a) for a in arrays]
        value, pair = jax.jit(f), jax.jit(jax.value_and_grad(f))
        return {
            ("value", "new"): lambda: value(*inputs).block_until_ready(),
            ("value_and_grad", "new"): lambda: jax.block_until_ready(pair(*inputs)),
        }

    def regression(self, model: str, params: Any, X: Any, y: Any) -> Calls:
        jax, numpy = self.jax, self.numpy

        def f(w: Any, X: Any, y: Any) -> Any:
            if model == "softmax":
                scores = jax.nn.log_softmax(X @ w[:, :-1].T + w[:, -1])
                return -numpy.take_along_axis(scores, y[:, None], 1).mean()
            s = X @ w[:-1] + w[-1]
            return (jax.nn.softplus(s) - y * s).mean()

        calls = self._both(f, params, X, y)
        return {("value_and_grad", "new"): calls["value_and_grad", "new"]}

    def formula(self, name: str, body: Callable[..., Any], arguments: list[Any]) -> Calls:
        jax, numpy = self.jax, self.numpy
        m = SimpleNamespace(
            exp=numpy.exp, log=numpy.log, sqrt=numpy.sqrt, tanh=numpy.tanh, where=numpy.where, sigmoid=jax.nn.sigmoid,
            softplus=jax.nn.softplus, erfc=jax.scipy.special.erfc,
        )  # fmt: skip
        inputs = [numpy.asarray(a) if isinstance(a, np.ndarray) else np.float32(a) for a in arguments]
        pair = jax.jit(jax.value_and_grad(lambda *a: body(m, *a).sum(), argnums=tuple(range(len(inputs)))))

        def call() -> Any:
            value, grads = jax.block_until_ready(pair(*inputs))
            return [value, *grads]

        calls: Calls = {("value_and_grad", "new"): call}
        if name == "focal":
            slope = jax.grad(lambda *a: body(m, *a))
            second = jax.jit(lambda *a: (jax.vmap(slope)(*a), jax.vmap(jax.grad(slope))(*a)))
            calls["grad_hess", "new"] = lambda: jax.block_until_ready(second(*inputs))
        return calls

    def graph(self) -> Calls:
        jax = self.jax

        def L(a: Any, w1: Any, w2: Any, w3: Any, w4: Any) -> Any:
            return 10 - (w3 * (w1 * a) + w4 * (w2 * a))

        grads = jax.jit(jax.grad(L, argnums=(0, 1, 2, 3, 4)))
        values = [np.float32(v) for v in (2.0, 3.0, -1.0, 0.5, 4.0)]
        return {("both", "new"): lambda: [float(g) for g in grads(*values)]}

    def mlp_step(self, weights: list[Any], x: Any, labels: Any) -> Calls:
        jax, numpy = self.jax, self.numpy

        def loss(own: Any, x: Any, t: Any) -> Any:
            for w in own[:-1]:
                x = jax.nn.relu(x @ w.T)
            return -numpy.take_along_axis(jax.nn.log_softmax(x @ own[-1].T), t[:, None], 1).mean()

        pair = jax.jit(jax.value_and_grad(loss))
        own, jx, t = [numpy.asarray(w) for w in weights], numpy.asarray(x), numpy.asarray(labels)

        def step() -> Any:
            value, grads = jax.block_until_ready(pair(own, jx, t))
            return [value, *grads]

        return {("step", "new"): step}

    def function(self, name: str, direction: str, op: Any) -> Callable[[Any], Any] | None:
        jax = self.jax
        f = self.activation(op) if op else getattr(self.numpy, name, None) or getattr(jax.scipy.special, name, None)
        if f is None:
            return None
        g = f if direction == "value" else (lambda x: jax.vjp(f, x)[1](self.numpy.ones_like(x))[0])
        compiled = jax.jit(g)
        return lambda x: np.asarray(compiled(x))
