"""The kernels as rules: activations, softmax, maxout, the linear layer, losses. As
`nbgrad.operators`, on arrays.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad import kernels
from nbgrad.autograd.devices import add_up, on_cpu
from nbgrad.autograd.rules_arithmetic import for_blas, rows
from nbgrad.autograd.tape import Node


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


class Activation(Node):
    """An elementwise kernel by its name; the derivative is taken at the input."""

    __slots__ = ("kernel", "parameters")

    def __init__(self, kernel: str, **parameters: float) -> None:
        self.kernel, self.parameters = kernel, parameters

    def name(self) -> str:
        return _camel(self.kernel) + "Backward"

    def forward(self, x):
        self._saved = x
        return getattr(kernels, self.kernel)(x, **self.parameters)

    def vjp(self, g):
        return (getattr(kernels, self.kernel + "_backward")(g, self._saved, **self.parameters),)


class Softmax(Node):
    """softmax or log_softmax; the derivative is taken at the output."""

    __slots__ = ("kernel",)

    def __init__(self, kernel: str) -> None:
        self.kernel = kernel

    def name(self) -> str:
        return _camel(self.kernel) + "Backward"

    def forward(self, x, axis):
        y = getattr(kernels, self.kernel)(x, axis=axis)
        self._saved = y, axis
        return y

    def vjp(self, g):
        y, axis = self._saved
        return (getattr(kernels, self.kernel + "_backward")(g, y, axis=axis),)


class LogSumExp(Node):
    __slots__ = ()

    def forward(self, x, axis):
        self._saved = x, axis
        return kernels.logsumexp(x, axis=axis)

    def vjp(self, g):
        x, axis = self._saved
        return (kernels.logsumexp_backward(g, x, axis=axis),)


class Maxout(Node):
    __slots__ = ()

    def forward(self, x, num_pieces, axis):
        y, index = kernels.maxout(x, num_pieces, axis=axis)
        self._saved = index, num_pieces, axis
        return y

    def vjp(self, g):
        index, num_pieces, axis = self._saved
        return (kernels.maxout_backward(g, index, num_pieces, axis=axis),)


class Linear(Node):
    """x wᵀ + b for x of shape (..., in), w (out, in), b (out,)."""

    __slots__ = ()

    def forward(self, x, w, *bias):
        if w.ndim != 2 or not x.ndim or x.shape[-1] != w.shape[1]:
            raise ValueError(
                f"input: expected shape (..., in) for a weight (out, in), got {x.shape} and {w.shape}"
            )
        for b in bias:
            if b.shape != w.shape[:1]:
                raise ValueError(f"bias: expected shape {w.shape[:1]}, got {b.shape}")
        a, c = self._edges[:2]
        self._saved = c and x, a and w, x.shape
        y = for_blas(rows(x)) @ for_blas(w.T)
        for b in bias:
            y = np.add(y, b, out=y if b.dtype == y.dtype else None)  # y is fresh
        return y.reshape(*x.shape[:-1], len(w))

    def vjp(self, g):
        x, w, shape = self._saved
        a, c, *bias = self._edges
        g = for_blas(rows(g))
        a = a and (g @ for_blas(w)).reshape(shape)
        c = c and g.T @ for_blas(rows(x))
        return a, c, *(b and add_up(g, 0) for b in bias)


class Loss(Node):
    """A loss of input − target, by its kernel's name: value and gradient in one pass, where a gradient will
    be needed.
    """

    __slots__ = ("kernel", "parameters")
    _shares = True

    def __init__(self, kernel: str, **parameters: Any) -> None:
        self.kernel, self.parameters = kernel, parameters

    def name(self) -> str:
        return _camel(self.kernel) + "Backward"

    def forward(self, x, target):
        a, b = self._edges
        if not (a or b):
            return getattr(kernels, self.kernel)(x, target, **self.parameters)
        value, gradient = getattr(kernels, self.kernel + "_value_and_grad")(x, target, **self.parameters)
        self._saved = gradient, b and x
        return value

    def vjp(self, g):
        a, b = self._edges
        gradient, x = self._saved
        g = self.spread(g, gradient)
        a = a and (gradient if on_cpu(g) and g.size == 1 and g == 1 else gradient * g)
        return a, b and self.target_gradient(gradient, x) * g

    def spread(self, g: Any, gradient: Any) -> Any:
        """The gradient of the loss in a shape that broadcasts to the input's."""
        return g

    def target_gradient(self, gradient: Any, x: Any) -> Any:
        """The derivative in the target, from that in the input: of a function of input − target."""
        return -gradient

    def scale(self, count: int) -> float:
        """What the reduction multiplies each term by."""
        return 1 / (count or 1) if self.parameters["reduction"] == "mean" else 1.0


class BinaryCrossEntropy(Loss):
    __slots__ = ()

    def target_gradient(self, gradient: Any, x: Any) -> Any:
        # d/dt of weight·[pos_weight·t·softplus(−x) + (1 − t)·softplus(x)]
        weight, pos_weight = self._weight("weight", x.dtype), self._weight("pos_weight", x.dtype)
        zero = x.dtype.type(0)
        return weight * (pos_weight * np.logaddexp(zero, -x) - np.logaddexp(zero, x)) * self.scale(x.size)


    def _weight(self, name: str, dtype: Any) -> Any:
        weight: Any = self.parameters[name]
        if hasattr(weight, "astype"):
            return weight.astype(dtype)
        return np.asarray(1 if weight is None else weight, dtype)[()]


class CrossEntropy(Loss):
    """Also nll_loss. The classes are axis 1, or 0 of a single row."""

    __slots__ = ()

    def spread(self, g: Any, gradient: Any) -> Any:
        return g if not g.ndim or gradient.ndim == 1 else np.expand_dims(g, 1)

    def target_gradient(self, gradient: Any, x: Any) -> Any:
        # d/dt of −Σ weight·((1 − ε)·t + ε/C)·log_softmax(x)
        axis = min(1, x.ndim - 1)
        weight = self.parameters["weight"]
        weight = 1 if weight is None else np.reshape(weight, (-1,) + (1,) * (x.ndim - 1 - axis))
        factor = (self.parameters["label_smoothing"] - 1) * self.scale(
            x.size // x.shape[axis] if x.size else 0
        )
        return factor * weight * kernels.log_softmax(x, axis=axis)
