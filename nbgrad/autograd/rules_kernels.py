"""The kernels as rules: activations, softmax, maxout, the linear layer, losses."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad import kernels
from nbgrad.arguments import plain
from nbgrad.autograd.devices import add_up, matmul, on_cpu
from nbgrad.autograd.factors import times, weighted
from nbgrad.autograd.operators.matmul import for_blas, rows
from nbgrad.autograd.tape import Node
from nbgrad.formulas.table import PUBLIC_LOSSES
from nbgrad.kernels.losses import target_slopes


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


class Activation(Node):
    """An elementwise kernel by its name; the derivative is taken at the input."""

    __slots__ = ("kernel", "parameters")

    def __init__(self, kernel: str, **parameters: Any) -> None:
        self.kernel, self.parameters = kernel, {name: plain(value) for name, value in parameters.items()}

    def name(self) -> str:
        return _camel(self.kernel) + "Backward"

    def forward(self, x):
        self._saved = x
        return getattr(kernels, self.kernel)(x, **self.parameters)

    def vjp(self, g):
        return (getattr(kernels, self.kernel + "_backward")(g, self._saved, **self.parameters),)


class RowFunction(Node):
    """A row function of the table; the derivative is taken at the output."""

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

    def forward(self, x, axis, keepdims):
        self._saved = x, axis, keepdims
        return kernels.logsumexp(x, axis=axis, keepdims=keepdims)

    def vjp(self, g):
        x, axis, keepdims = self._saved
        return (kernels.logsumexp_backward(g, x, axis=axis, keepdims=keepdims),)


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
            raise ValueError(f"input: expected shape (..., in) for a weight (out, in), got {x.shape} and {w.shape}")
        for b in bias:
            if b.shape != w.shape[:1]:
                raise ValueError(f"bias: expected shape {w.shape[:1]}, got {b.shape}")
        a, c = self._edges[:2]
        self._saved = c and x, a and w, x.shape
        y = matmul(for_blas(rows(x)), for_blas(w.T))
        for b in bias:
            y = np.add(y, b, out=y if b.dtype == y.dtype else None)  # y is fresh
        return y.reshape(*x.shape[:-1], len(w))

    def vjp(self, g):
        x, w, shape = self._saved
        a, c, *bias = self._edges
        g = for_blas(rows(g))
        a = a and matmul(g, for_blas(w)).reshape(shape)
        c = c and matmul(g.T, for_blas(rows(x)))
        return a, c, *(b and add_up(g, 0) for b in bias)


class Loss(Node):
    """A loss of the table, by its kernel's name: value and gradient in one pass, where a gradient will be needed."""

    __slots__ = ("kernel", "parameters")
    _shares = True

    def __init__(self, kernel: str, **parameters: Any) -> None:
        self.kernel, self.parameters = kernel, {name: plain(value) for name, value in parameters.items()}

    def name(self) -> str:
        return _camel(self.kernel) + "Backward"

    def forward(self, x, target):
        a, b = self._edges
        if not (a or b):
            return getattr(kernels, self.kernel)(x, target, **self.parameters)
        value, gradient = getattr(kernels, self.kernel + "_value_and_grad")(x, target, **self.parameters)
        mean = self.parameters["reduction"] == "mean"
        self._saved = gradient, x if b or mean else None, target if b or mean else None
        return value

    def vjp(self, g):
        a, b = self._edges
        gradient, x, target = self._saved
        if self._is_flushed(g, gradient):
            gradient = self._of_sum(x, target)
            a = times(gradient, np.float64(g) * self.scale(x, target))
        else:
            a = gradient if on_cpu(g) and g.size == 1 and g == 1 else gradient * self.spread(g, gradient)
        return a, b and self.target_gradient(a, g, x, target)

    def _is_flushed(self, g: Any, gradient: Any) -> bool:
        """Whether the mean's 1/N may have taken digits that a factor after it brings back. (Asked on the CPU: a GPU
        would have to be waited for.)
        """
        if self.parameters["reduction"] != "mean" or not on_cpu(g) or not 1 < abs(g) < np.inf:
            return False
        return bool((abs(gradient) < np.finfo(gradient.dtype).tiny).any())

    def _of_sum(self, x: Any, target: Any) -> Any:
        """The gradient of the sum."""
        parameters = {**self.parameters, "reduction": "sum"}
        return getattr(kernels, self.kernel + "_value_and_grad")(x, target, **parameters)[1]

    def spread(self, g: Any, gradient: Any) -> Any:
        """The gradient of the loss in a shape that broadcasts to the input's."""
        return g

    def target_gradient(self, a: Any, g: Any, x: Any, target: Any) -> Any:
        """The gradient in the target; ``a`` is that in the input."""
        op = PUBLIC_LOSSES[self.kernel]
        if op.target_derivative is None:
            return -a
        parameters = {name: self.parameters[name] for name in op.parameters}
        return self.scaled(self.weighted(target_slopes(op, x, target, parameters)), g, x, target)

    def weighted(self, slopes: Any) -> Any:
        """The derivatives of the terms, times each element's weight."""
        return slopes

    def scaled(self, slopes: Any, g: Any, x: Any, target: Any) -> Any:
        """Derivatives of the terms, times what the reduction and the gradient of the loss multiply each by."""
        scale = self.scale(x, target)
        return times(slopes, np.float64(g) * scale) if on_cpu(g) and g.size == 1 else slopes * (g * scale)

    def scale(self, x: Any, target: Any) -> float:
        """What the reduction multiplies each term by."""
        return 1 / (x.size or 1) if self.parameters["reduction"] == "mean" else 1.0


class BinaryCrossEntropy(Loss):
    __slots__ = ()

    def weighted(self, slopes: Any) -> Any:
        weight: Any = self.parameters["weight"]
        if weight is None:
            return slopes
        return weighted(
            weight.astype(slopes.dtype) if hasattr(weight, "astype") else np.asarray(weight, slopes.dtype)[()], slopes
        )


class CrossEntropy(Loss):
    """Also nll_loss. The classes are axis 1, or 0 of a single row."""

    __slots__ = ()

    def spread(self, g: Any, gradient: Any) -> Any:
        return g if not g.ndim or gradient.ndim == 1 else np.expand_dims(g, 1)

    def target_gradient(self, a: Any, g: Any, x: Any, target: Any) -> Any:
        # d/dt of −Σ weight·((1 − ε)·t + ε/C)·log_softmax(x)
        axis = min(1, x.ndim - 1)
        weight = self.parameters["weight"]
        weight = 1 if weight is None else np.reshape(weight, (-1,) + (1,) * (x.ndim - 1 - axis))
        factor = weight * (x.dtype.type(self.parameters["label_smoothing"]) - x.dtype.type(1))
        return self.scaled(weighted(factor, kernels.log_softmax(x, axis=axis)), self.spread(g, x), x, target)

    def scale(self, x: Any, target: Any) -> float:
        axis = min(1, x.ndim - 1)
        if self.parameters["reduction"] != "mean":
            return 1.0
        if target is None or target.dtype.kind == "f":  # class probabilities
            return 1 / (x.size // x.shape[axis] or 1)
        counted = target != self.parameters["ignore_index"]
        weight = self.parameters["weight"]
        return float(1 / (counted.sum() if weight is None else np.asarray(weight, np.float64)[target[counted]].sum()))
