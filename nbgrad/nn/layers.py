"""Layers: functions with parameters of their own, or with settings alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad import functional
from nbgrad.arguments import check_choice
from nbgrad.autograd.operators.axes import choose_axis, integers
from nbgrad.autograd.tensor import Tensor
from nbgrad.module import Module

__all__ = [
    "ELU", "GELU", "Dropout", "Flatten", "LeakyReLU", "Linear", "LogSoftmax", "Maxout", "ReLU", "Sigmoid",
    "Softmax", "Tanh",
]  # fmt: skip


def _sizes(**sizes: Any) -> list[int]:
    """The integers, of whatever kind, as ints: a product of NumPy's small ones would wrap around."""
    for name, value in sizes.items():
        size = integers(value, name)
        if isinstance(value, bool) or not isinstance(size, int):
            raise TypeError(f"{name}: expected an integer, got {type(value).__name__}")
        if size < 1:
            raise ValueError(f"{name}: expected at least 1, got {size}")
        sizes[name] = size
    return list(sizes.values())


def _uniform(rng: np.random.Generator, bound: float, shape: tuple[int, ...], dtype: Any) -> Tensor:
    return Tensor(rng.uniform(-bound, bound, shape).astype(dtype, copy=False), requires_grad=True)


class Linear(Module):
    """x wᵀ + b, with w of shape (out_features, in_features); see `functional.linear`.

    Weight and bias begin uniform in ±1/√in_features, as PyTorch's, drawn from `rng` (weight first) or from a
    fresh generator.

    >>> Linear(3, 2)
    Linear(in_features=3, out_features=2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        in_features, out_features = _sizes(in_features=in_features, out_features=out_features)
        self.in_features, self.out_features = in_features, out_features
        rng = np.random.default_rng() if rng is None else rng
        bound = in_features**-0.5
        self.weight = _uniform(rng, bound, (out_features, in_features), dtype)
        self.bias = _uniform(rng, bound, (out_features,), dtype) if bias else None

    def forward(self, input: Any) -> Tensor:
        return functional.linear(input, self.weight, self.bias)

    def __repr__(self) -> str:
        bias = "" if self.bias is not None else ", bias=False"
        return f"Linear(in_features={self.in_features}, out_features={self.out_features}{bias})"


class Maxout(Module):
    """Each of `out_features` units is the greatest of `num_pieces` linear functions of the input; see
    `functional.maxout`.

    `linear` is a Linear of out_features·num_pieces outputs; the pieces of one unit are neighbours.

    >>> import nbgrad
    >>> Maxout(3, 2, 4)(nbgrad.tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        num_pieces: int,
        *,
        rng: np.random.Generator | None = None,
        dtype: Any = np.float32,
    ) -> None:
        in_features, out_features, num_pieces = _sizes(
            in_features=in_features, out_features=out_features, num_pieces=num_pieces
        )
        self.num_pieces = num_pieces
        self.linear = Linear(in_features, out_features * num_pieces, rng=rng, dtype=dtype)

    def forward(self, input: Any) -> Tensor:
        return functional.maxout(self.linear(input), self.num_pieces)


class Sigmoid(Module):
    """`functional.sigmoid` as a layer.

    >>> import nbgrad
    >>> Sigmoid()(nbgrad.tensor([0.0]))
    tensor([0.5])
    """

    def forward(self, input: Any) -> Tensor:
        return functional.sigmoid(input)


class Tanh(Module):
    """`functional.tanh` as a layer.

    >>> import nbgrad
    >>> Tanh()(nbgrad.tensor([0.0]))
    tensor([0.])
    """

    def forward(self, input: Any) -> Tensor:
        return functional.tanh(input)


class ReLU(Module):
    """`functional.relu` as a layer.

    >>> import nbgrad
    >>> ReLU()(nbgrad.tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """

    def forward(self, input: Any) -> Tensor:
        return functional.relu(input)


class LeakyReLU(Module):
    """`functional.leaky_relu` as a layer; the default slope is 0.1, PyTorch's is 0.01.

    >>> import nbgrad
    >>> LeakyReLU()(nbgrad.tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """

    def __init__(self, negative_slope: float = 0.1) -> None:
        self.negative_slope = negative_slope

    def forward(self, input: Any) -> Tensor:
        return functional.leaky_relu(input, self.negative_slope)


class ELU(Module):
    """`functional.elu` as a layer.

    >>> import nbgrad
    >>> ELU()(nbgrad.tensor([-1000.0, 2.0]))
    tensor([-1.,  2.])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = alpha

    def forward(self, input: Any) -> Tensor:
        return functional.elu(input, self.alpha)


class GELU(Module):
    """`functional.gelu` as a layer.

    >>> import nbgrad
    >>> GELU()(nbgrad.tensor([0.0, 10.0]))
    tensor([ 0., 10.])
    """

    def __init__(self, approximate: str = "none") -> None:
        check_choice(approximate, "approximate", ("none", "tanh"))
        self.approximate = approximate

    def forward(self, input: Any) -> Tensor:
        return functional.gelu(input, self.approximate)


class Softmax(Module):
    """`functional.softmax` as a layer; `dim` is another name of `axis`.

    >>> import nbgrad
    >>> Softmax()(nbgrad.tensor([1000.0, 1000.0]))
    tensor([0.5, 0.5])
    """

    def __init__(self, axis: int = -1, *, dim: int | None = None) -> None:
        self.axis = choose_axis(axis, dim, -1)

    def forward(self, input: Any) -> Tensor:
        return functional.softmax(input, self.axis)


class LogSoftmax(Module):
    """`functional.log_softmax` as a layer; `dim` is another name of `axis`.

    >>> import nbgrad
    >>> LogSoftmax()(nbgrad.tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """

    def __init__(self, axis: int = -1, *, dim: int | None = None) -> None:
        self.axis = choose_axis(axis, dim, -1)

    def forward(self, input: Any) -> Tensor:
        return functional.log_softmax(input, self.axis)


class Dropout(Module):
    """`functional.dropout` as a layer, in training only; `rng` is one generator for all calls, a fresh one
    where none is given.

    >>> import nbgrad
    >>> Dropout(0.9).eval()(nbgrad.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """

    def __init__(self, p: float = 0.5, *, rng: np.random.Generator | None = None) -> None:
        if not 0 <= p <= 1:
            raise ValueError(f"p: expected a probability in 0..1, got {p}")
        self.p = p
        self.rng = np.random.default_rng() if rng is None else rng

    def forward(self, input: Any) -> Tensor:
        return functional.dropout(input, self.p, self.training, rng=self.rng)


class Flatten(Module):
    """The axes from `start_dim` to `end_dim` as one: by default all but the first, the batch.

    >>> import nbgrad
    >>> Flatten()(nbgrad.tensor([[[1.0], [2.0]]])).shape
    (1, 2)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim, self.end_dim = start_dim, end_dim

    def forward(self, input: Tensor) -> Tensor:
        return input.flatten(self.start_dim, self.end_dim)
