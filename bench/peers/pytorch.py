"""PyTorch as it is (eager), found by the functions' names: a new row of `nbgrad.formulas.table` finds its peer by
itself where PyTorch's function is called as it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

from bench.peers import textbook
from bench.peers.base import Calls, Peer

__all__ = ["PyTorch", "PyTorchOnGpu"]

# where PyTorch's function has another name or is a case of another one
_NAMES = {
    "log_sigmoid": ("logsigmoid", {}),
    "gelu_tanh": ("gelu", {"approximate": "tanh"}),
}
_ATEN = {
    "gelu_tanh": ("gelu", {"approximate": "tanh"}),
    "relu6": ("hardtanh", {"min_val": 0.0, "max_val": 6.0}),
    "selu": ("elu", {"alpha": 1.6732632423543772, "scale": 1.0507009873554805}),
    "celu": ("elu", {}),
}
_ATEN_BACKWARD = {"relu": ("threshold", {"threshold": 0.0})}
# arguments that only PyTorch's inner functions have
_FIXED = {"is_result": False, "self_is_result": False, "scale": 1.0, "input_scale": 1.0}


class PyTorch(Peer):
    title = "PyTorch"
    rough = {("hardsigmoid", "backward"): 4e-8}  # its 1/6 is a float32 number, in float64, too: 0.16666667163372

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        #: an array as a tensor over the same memory
        self.tensor = torch.from_numpy
        self.functional = torch.nn.functional

    def activation(self, op: Any) -> Callable[[Any], Any] | None:
        """PyTorch's public function of a tensor, with the table's parameters."""
        name, more = _NAMES.get(op.name, (op.name, {}))
        function = getattr(self.functional, name, None)
        return function and partial(function, **{**op.parameters, **more})

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        """The backward function takes what PyTorch's own autograd saves."""
        torch, function = self.torch, self.activation(op)
        if function is None:
            return {}
        tx, tg, to = map(self.tensor, (x, g, out))
        tensors = {
            "self": tx,
            "self_or_result": tx,
            "grad_output": tg,
            "out": to,
            "grad_input": to,
            "output": function(tx),
        }
        if op.name == "log_sigmoid":
            tensors["buffer"] = torch.ops.aten.log_sigmoid_forward(tx)[1]
        name, more = _ATEN.get(op.name, (op.name, {}))
        values = {**tensors, **_FIXED, "threshold": 20.0, **op.parameters, **more}
        calls: Calls = {("forward", "new"): lambda: function(tx)}
        into = self._overload(name, ("out",), values)
        if into:
            calls["forward", "out"] = into
        name, more = _ATEN_BACKWARD.get(op.name, (name, more))
        values |= more
        into = self._overload(name + "_backward", ("grad_input", "out"), values)
        if into:
            calls["backward", "out"] = into
        new = self._overload(name + "_backward", ("default",), values)
        if new is None:
            leaf = tx.clone().requires_grad_()
            y = function(leaf)
            new = lambda: torch.autograd.grad(y, leaf, tg, retain_graph=True)[0]  # noqa: E731
        calls["backward", "new"] = new
        return calls

    def _overload(self, name: str, overloads: tuple[str, ...], values: dict[str, Any]) -> Callable[[], Any] | None:
        packet = getattr(self.torch.ops.aten, name, None)
        for overload in overloads:
            if packet is not None and overload in packet.overloads():
                function = getattr(packet, overload)
                known = [a for a in function._schema.arguments if a.name in values]
                positional = [values[a.name] for a in known if not a.kwarg_only]
                return partial(function, *positional, **{a.name: values[a.name] for a in known if a.kwarg_only})
        return None

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        torch = self.torch
        if not hasattr(torch, name):
            return {}
        tx, tg, ty, tdx = map(self.tensor, (x, g, out, grad_out))
        if name == "logsumexp":
            leaf = tx.clone().requires_grad_()
            y = torch.logsumexp(leaf, axis)
            return {
                ("forward", "out"): lambda: torch.logsumexp(tx, axis, out=ty),
                ("forward", "new"): lambda: torch.logsumexp(tx, axis),
                ("backward", "new"): lambda: torch.autograd.grad(y, leaf, tg, retain_graph=True)[0],
            }
        forward = getattr(torch, name)
        backward = getattr(torch.ops.aten, f"_{name}_backward_data").out
        into, value = "out" if name == "log_softmax" else "grad_input", forward(tx, axis)
        return {
            ("forward", "out"): lambda: forward(tx, axis, out=ty),
            ("backward", "out"): lambda: backward(tg, value, axis, tx.dtype, **{into: tdx}),
        }

    def maxout(self, x: Any, g: Any, pieces: int, out: Any, grad_out: Any) -> Calls:
        torch = self.torch
        tx, tg, ty, tdx = map(self.tensor, (x, g, out, grad_out))
        wide = (*tg.shape, pieces)
        where = torch.empty_like(tg, dtype=torch.int64)
        torch.max(tx.view(wide), -1, out=(ty, where))

        def backward() -> Any:
            tdx.zero_()
            tdx.view(wide).scatter_(-1, where[..., None], tg[..., None])
            return tdx

        return {
            ("forward", "out"): lambda: torch.max(tx.view(wide), -1, out=(ty, where))[0],
            ("backward", "out"): backward,
        }

    def loss_function(self, op: Any) -> Callable[[Any, Any], Any] | None:
        """The mean loss of two tensors: PyTorch's own, else the textbook's."""
        function = getattr(self.functional, op.kernel or op.name, None)
        if function is not None:
            known = set(inspect.signature(function).parameters) - {"pos_weight"}  # a tensor there; None is 1
            return partial(function, **{k: v for k, v in op.parameters.items() if k in known})
        if op.name == "half_squared_error":
            return lambda x, t: 0.5 * self.functional.mse_loss(x, t)
        if op.name == "logistic_squared_error":
            return lambda x, t: self.functional.mse_loss(self.torch.sigmoid(x), t)
        tree = textbook.formula(op)
        f = textbook.for_numpy(tree, self.torch) if tree else None
        return f and (lambda x, t: f(x, t).mean())

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        f = self.loss_function(op)
        return self.both(op.name, f, x, target) if f else {}

    def cross_entropy(self, x: Any, labels: Any) -> Calls:
        return self.both("cross_entropy", self.functional.cross_entropy, x, labels)

    def both(self, name: str, f: Callable[[Any, Any], Any], x: Any, target: Any) -> Calls:
        """Value, and value and gradient by autograd."""
        tx, t = self.tensor(x), self.tensor(target)
        leaf = tx.clone().requires_grad_()

        def value_and_grad() -> Any:
            leaf.grad = None
            value = f(leaf, t)
            value.backward()
            return value, leaf.grad

        return {("value", "new"): lambda: f(tx, t), ("value_and_grad", "new"): value_and_grad}

    def regression_loss(self, model: str) -> Callable[[Any, Any, Any], Any]:
        nn = self.functional
        loss = nn.cross_entropy if model == "softmax" else nn.binary_cross_entropy_with_logits

        def value(w: Any, x: Any, target: Any) -> Any:
            weights = w[:, :-1].T if model == "softmax" else w[:-1]
            return loss(x @ weights + w[..., -1], target)

        return value

    def regression(self, model: str, params: Any, X: Any, y: Any) -> Calls:
        f = self.regression_loss(model)
        w, x, target = self.tensor(params.copy()).requires_grad_(), self.tensor(X), self.tensor(y)

        def call() -> Any:
            w.grad = None
            value = f(w, x, target)
            value.backward()
            return value, w.grad

        return {("value_and_grad", "new"): call}

    def formula(self, name: str, body: Callable[..., Any], arguments: list[Any]) -> Calls:
        return {("value_and_grad", "new"): self._of_formula(self._summed(body), arguments)}

    def _summed(self, body: Callable[..., Any]) -> Callable[..., Any]:
        torch = self.torch
        m = SimpleNamespace(
            exp=torch.exp, log=torch.log, sqrt=torch.sqrt, tanh=torch.tanh, where=torch.where, sigmoid=torch.sigmoid,
            softplus=self.functional.softplus, erfc=torch.erfc,
        )  # fmt: skip
        return lambda *tensors: body(m, *tensors).sum()

    def _of_formula(self, f: Callable[..., Any], arguments: list[Any]) -> Callable[[], Any]:
        torch = self.torch
        tensors = (torch.tensor(a) if isinstance(a, float) else self.tensor(a).clone() for a in arguments)
        leaves = [tensor.float().requires_grad_() for tensor in tensors]

        def call() -> Any:
            for leaf in leaves:
                leaf.grad = None
            value = f(*leaves)
            value.backward()
            return [value, *(leaf.grad for leaf in leaves)]

        return call

    def graph(self) -> Calls:
        from bench.suites.autograd import graph

        return {("both", "new"): graph(self.torch.tensor)}

    def chain(self, name: str, length: int) -> Calls:
        from bench.suites.autograd import chain

        return chain(self.torch.tensor, lambda op: self.activation(op), name, length)

    def mlp_step(self, weights: list[Any], x: Any, labels: Any) -> Calls:
        torch, nn = self.torch, self.functional
        own = [torch.from_numpy(w.copy()).requires_grad_() for w in weights]
        tx, t = torch.from_numpy(x), torch.from_numpy(labels)

        def step() -> Any:
            for w in own:
                w.grad = None
            h = tx
            for w in own[:-1]:
                h = torch.relu(h @ w.T)
            value = nn.cross_entropy(h @ own[-1].T, t)
            value.backward()
            return [value, *(w.grad for w in own)]

        return {("step", "new"): step}

    def trainer(self, weights: list[Any], lr: float) -> Any:
        from bench.suites.trainers import TorchTrainer

        return TorchTrainer(self.torch, weights, lr)

    def function(self, name: str, direction: str, op: Any) -> Callable[[Any], Any] | None:
        torch = self.torch
        f = self.activation(op) if op else getattr(torch, name, None)
        if f is None:
            return None
        if direction == "value":
            return lambda x: f(torch.from_numpy(x)).numpy()

        def gradient(x: Any) -> Any:
            t = torch.from_numpy(x).requires_grad_()
            return torch.autograd.grad(f(t), t, torch.ones_like(t))[0].numpy()

        return gradient


class PyTorchOnGpu(PyTorch):
    """The same of CuPy's arrays."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        if not self.torch.cuda.is_available():
            raise ImportError("this PyTorch has no GPU")
        self.tensor = self.torch.from_dlpack
