"""NumPy, numexpr, plain Numba and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bench.peers import textbook
from bench.peers.base import Calls, Peer

__all__ = ["Numba", "NumPy", "Numexpr", "SciPy"]


class NumPy(Peer):
    """The textbook definition with whole arrays, one function after the other. (`out` would only take the last.)"""

    title = "NumPy"

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        tree = textbook.formula(op)
        f = textbook.for_numpy(tree) if tree else None
        return {("forward", "new"): lambda: f(x)} if f else {}

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        def logsumexp() -> Any:
            top = x.max(axis, keepdims=True)
            return top + np.log(np.exp(x - top).sum(axis, keepdims=True))

        def softmax() -> Any:
            e = np.exp(x - x.max(axis, keepdims=True))
            return e / e.sum(axis, keepdims=True)

        calls = {
            "softmax": softmax,
            "log_softmax": lambda: x - logsumexp(),
            "logsumexp": lambda: logsumexp().squeeze(axis),
        }
        return {("forward", "new"): calls[name]} if name in calls else {}

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        tree = textbook.formula(op)
        f = textbook.for_numpy(tree) if tree else None
        return {("value", "new"): lambda: f(x, target).mean()} if f else {}

    def cross_entropy(self, x: Any, labels: Any) -> Calls:
        rows = np.arange(len(x))

        def value_and_grad() -> Any:
            shifted = x - x.max(1, keepdims=True)
            e = np.exp(shifted)
            total = e.sum(1, keepdims=True)
            value = (np.log(total[:, 0]) - shifted[rows, labels]).mean()
            grad = e / total
            grad[rows, labels] -= 1
            grad /= len(x)
            return value, grad

        return {("value_and_grad", "new"): value_and_grad}


class Numexpr(Peer):
    title = "numexpr"

    def __init__(self, threads: int) -> None:
        import numexpr

        numexpr.set_num_threads(threads)
        self.evaluate = numexpr.evaluate

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        tree = textbook.formula(op)
        found = textbook.for_numexpr(tree, x.dtype) if tree else None
        if found is None:
            return {}
        text, values = found
        names = {**values, "x": x}
        return {("forward", "out"): lambda: self.evaluate(text, names, {}, out=out)}

    def loss(self, op: Any, x: Any, target: Any) -> Calls:
        tree = textbook.formula(op)
        found = textbook.for_numexpr(tree, x.dtype) if tree else None
        if found is None:
            return {}
        names = {**found[1], "x": x, "target": target}
        # NumPy's mean: numexpr's own sum adds float32 one after the other, wrong in the second digit at 16 million
        return {("value", "new"): lambda: self.evaluate(found[0], names, {}).mean()}


class Numba(Peer):
    """The textbook definition with `math.exp` in a `prange` loop."""

    title = "Numba"

    def __init__(self) -> None:
        self.compiled: dict[Any, Callable[..., Any]] = {}

    def _loop(self, op: Any, dtype: Any) -> Callable[..., Any] | None:
        tree = textbook.formula(op)
        if tree is None:
            return None
        if (op.name, dtype) not in self.compiled:
            from numba import njit, prange

            f, T = njit(error_model="numpy")(textbook.for_numba(tree)), dtype.type

            @njit(parallel=True, error_model="numpy")
            def loop(x, out):
                for i in prange(x.size):
                    out[i] = f(x[i], T(0), T)
                return out

            self.compiled[op.name, dtype] = loop
        return self.compiled[op.name, dtype]

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        loop = self._loop(op, x.dtype) if x.dtype == np.float32 else None  # a second to compile each
        return {("forward", "out"): lambda: loop(x, out)} if loop else {}


class SciPy(Peer):
    title = "SciPy"
    NAMES = {"sigmoid": "expit", "log_sigmoid": "log_expit", "erf": "erf", "erfc": "erfc"}

    def __init__(self) -> None:
        from scipy import special

        self.special = special

    def elementwise(self, op: Any, x: Any, g: Any, out: Any) -> Calls:
        f = getattr(self.special, self.NAMES.get(op.name, ""), None)
        return {("forward", "out"): lambda: f(x, out=out)} if f else {}

    def rows(self, name: str, x: Any, g: Any, out: Any, grad_out: Any, axis: int) -> Calls:
        f = getattr(self.special, name, None)
        return {("forward", "new"): lambda: f(x, axis=axis)} if f else {}

    def function(self, name: str, direction: str, op: Any) -> Callable[[Any], Any] | None:
        return getattr(self.special, self.NAMES.get(name, ""), None) if direction == "value" else None
