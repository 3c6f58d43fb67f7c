"""Activations, layers and losses on tensors, as `torch.nn.functional`, each the kernel of the same name with
its gradient.

What a kernel accepts, refuses and computes at a kink is in its docstring (`nbgrad.kernels`). An argument that
is an array instead of a tensor is taken as a constant. `axis` may be called `dim`.

Activations beyond the six written out here (softplus, silu and so on) are made from `nbgrad.formulas.table` when they
are asked for: ``functional.silu(x)``.

>>> from nbgrad import functional, tensor
>>> functional.softplus(tensor([0.0]), beta=2.0)
tensor([0.3465736])
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.arguments import check_number
from nbgrad.arrays import FLOAT64
from nbgrad.autograd import rules_kernels as rules
from nbgrad.autograd.combine import as_tensors
from nbgrad.autograd.devices import kept
from nbgrad.autograd.from_table import of_elements, of_rows
from nbgrad.autograd.operators.apply import apply
from nbgrad.autograd.operators.axes import choose_axis
from nbgrad.autograd.tensor import Tensor
from nbgrad.formulas.table import OPS, PUBLIC_LOSSES, ROW_FUNCTIONS
from nbgrad.kernels.documentation import documented

__all__ = [
    "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "elu", "gelu", "huber_loss", "l1_loss",
    "leaky_relu", "linear", "log_softmax", "logsumexp", "maxout", "mse_loss", "nll_loss", "relu", "sigmoid",
    "softmax", "tanh",
]  # fmt: skip


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)


def _constant(value: Any, name: str) -> Any:
    """An argument whose gradient nobody has derived: its array."""
    if not isinstance(value, Tensor):
        return value
    if value.requires_grad:
        raise ValueError(f"{name}: expected a tensor that requires no gradient; use {name}.detach()")
    return value._data


def __getattr__(name: str) -> Callable[..., Tensor]:
    if name in ROW_FUNCTIONS:
        return of_rows(name)
    if name in OPS or name in PUBLIC_LOSSES:
        return of_elements(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *OPS, *PUBLIC_LOSSES, *ROW_FUNCTIONS})


def sigmoid(input: Any) -> Tensor:
    """`nbgrad.kernels.sigmoid` on a tensor.

    >>> from nbgrad import tensor
    >>> sigmoid(tensor([0.0, 1000.0]))
    tensor([0.5, 1. ])
    """
    return apply(rules.Activation("sigmoid"), (_tensor(input),))


def tanh(input: Any) -> Tensor:
    """`nbgrad.kernels.tanh` on a tensor.

    >>> from nbgrad import tensor
    >>> tanh(tensor([0.0, 1000.0]))
    tensor([0., 1.])
    """
    return apply(rules.Activation("tanh"), (_tensor(input),))


def relu(input: Any) -> Tensor:
    """`nbgrad.kernels.relu` on a tensor.

    >>> from nbgrad import tensor
    >>> relu(tensor([-1.0, 2.0]))
    tensor([0., 2.])
    """
    return apply(rules.Activation("relu"), (_tensor(input),))


def leaky_relu(input: Any, negative_slope: float = 0.1) -> Tensor:
    """`nbgrad.kernels.leaky_relu` on a tensor.

    >>> from nbgrad import tensor
    >>> leaky_relu(tensor([-1.0, 2.0]))
    tensor([-0.1,  2. ])
    """
    return apply(rules.Activation("leaky_relu", negative_slope=negative_slope), (_tensor(input),))


def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """`nbgrad.kernels.elu` on a tensor.

    >>> from nbgrad import tensor
    >>> elu(tensor([-1000.0, 2.0]))
    tensor([-1.,  2.])
    """
    return apply(rules.Activation("elu", alpha=alpha), (_tensor(input),))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """`nbgrad.kernels.gelu` on a tensor.

    >>> from nbgrad import tensor
    >>> gelu(tensor([-10.0, 10.0]))
    tensor([-7.619853e-23,  1.000000e+01])
    """
    return apply(rules.Activation("gelu", approximate=approximate), (_tensor(input),))


def softmax(input: Any, axis: Any = -1, *, dim: Any = None) -> Tensor:
    """`nbgrad.kernels.softmax` on a tensor.

    >>> from nbgrad import tensor
    >>> softmax(tensor([1000.0, 1000.0]))
    tensor([0.5, 0.5])
    """
    return apply(rules.RowFunction("softmax"), (_tensor(input),), choose_axis(axis, dim, -1))


def log_softmax(input: Any, axis: Any = -1, *, dim: Any = None) -> Tensor:
    """`nbgrad.kernels.log_softmax` on a tensor.

    >>> from nbgrad import tensor
    >>> log_softmax(tensor([0.0, -1000.0]))
    tensor([    0., -1000.])
    """
    return apply(rules.RowFunction("log_softmax"), (_tensor(input),), choose_axis(axis, dim, -1))


def logsumexp(input: Any, axis: Any = -1, keepdims: bool = False, *, dim: Any = None, keepdim: Any = None) -> Tensor:
    """ln Σⱼ e^xⱼ along an axis, a tuple of axes or (None) all, which go or with `keepdims` (PyTorch: `keepdim`) have
    length 1; derivative softmax(x).

    >>> from nbgrad import tensor
    >>> logsumexp(tensor([[1000.0, -1000.0], [5.0, -1000.0]]))
    tensor([1000.,    5.])
    """
    keepdims = keepdims if keepdim is None else keepdim
    return apply(rules.LogSumExp(), (_tensor(input),), choose_axis(axis, dim, -1), keepdims)


def maxout(input: Any, num_pieces: int, axis: int = -1, *, dim: int | None = None) -> Tensor:
    """The greatest of each `num_pieces` neighbours along an axis, whose length they must divide; the first of
    equals has the gradient.

    >>> from nbgrad import tensor
    >>> maxout(tensor([1.0, 4.0, 3.0, 2.0]), 2)
    tensor([4., 3.])
    """
    return apply(rules.Maxout(), (_tensor(input),), num_pieces, choose_axis(axis, dim, -1))


def dropout(input: Any, p: float = 0.5, training: bool = True, *, rng: np.random.Generator | None = None) -> Tensor:
    """Each element is 0 with probability `p`, else x/(1 − p); x itself unless `training`. The gradient is
    scaled the same way.

    `rng` says which elements; without it each call takes a fresh generator. ValueError for a `p` outside
    0..1.

    >>> from nbgrad import tensor
    >>> dropout(tensor([1.0, 1.0, 1.0, 1.0]), rng=np.random.default_rng(0))
    tensor([2., 2., 2., 0.])
    """
    p = float(check_number(p, "p", FLOAT64))
    if not 0 <= p <= 1:
        raise ValueError(f"p: expected a probability in 0..1, got {p}")
    x = _tensor(input)
    if not training or p == 0:
        return x
    if x.dtype.kind != "f":
        raise TypeError(f"input: expected float32 or float64, got {x.dtype}")
    rng = np.random.default_rng() if rng is None else rng
    return x * kept(rng, p, 1 / (1 - p) if p < 1 else 0, x._data)


def linear(input: Any, weight: Any, bias: Any = None) -> Tensor:
    """x wᵀ + b for an input of shape (..., in), a weight of shape (out, in) and a bias of shape (out,).

    >>> from nbgrad import tensor
    >>> linear(tensor([[1.0, 2.0]]), tensor([[3.0, 4.0]]), tensor([0.5]))
    tensor([[11.5]])
    """
    return apply(rules.Linear(), as_tensors(*(t for t in (input, weight, bias) if t is not None)))


def mse_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """`nbgrad.kernels.mse_loss` on tensors; differentiable in both arguments.

    >>> from nbgrad import tensor
    >>> mse_loss(tensor([1.0, 2.0]), tensor([0.0, 0.0]))
    tensor(2.5)
    """
    return apply(rules.Loss("mse_loss", reduction=reduction), as_tensors(input, target))


def l1_loss(input: Any, target: Any, *, reduction: str = "mean") -> Tensor:
    """`nbgrad.kernels.l1_loss` on tensors; differentiable in both arguments.

    >>> from nbgrad import tensor
    >>> l1_loss(tensor([1.0, -2.0]), tensor([0.0, 0.0]))
    tensor(1.5)
    """
    return apply(rules.Loss("l1_loss", reduction=reduction), as_tensors(input, target))


def huber_loss(input: Any, target: Any, *, delta: float = 1.0, reduction: str = "mean") -> Tensor:
    """`nbgrad.kernels.huber_loss` on tensors; differentiable in both arguments.

    >>> from nbgrad import tensor
    >>> huber_loss(tensor([1.0, -3.0]), tensor([0.0, 0.0]))
    tensor(1.5)
    """
    return apply(rules.Loss("huber_loss", delta=delta, reduction=reduction), as_tensors(input, target))


def binary_cross_entropy_with_logits(
    logits: Any, target: Any, *, weight: Any = None, pos_weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """weight·[−pos_weight·t·ln σ(x) − (1 − t)·ln(1 − σ(x))], reduced as in `mse_loss`.

    Differentiable in the logits and in the target; ValueError for weights that require a gradient.

    >>> from nbgrad import tensor
    >>> binary_cross_entropy_with_logits(tensor([-10.0, 1000.0]), tensor([1.0, 1.0])).item()  # ≈ 10 / 2
    5.0000...
    """
    weights = {"weight": _constant(weight, "weight"), "pos_weight": _constant(pos_weight, "pos_weight")}
    node = rules.BinaryCrossEntropy("binary_cross_entropy_with_logits", **weights, reduction=reduction)
    return apply(node, as_tensors(logits, target))


def cross_entropy(
    logits: Any,
    target: Any,
    *,
    weight: Any = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> Tensor:
    """−ln softmax(logits)[target], for logits (N, C) or (N, C, d1, ...) and class labels, or class
    probabilities of logits' shape.

    Differentiable in the logits and in target probabilities; ValueError for a weight that requires a
    gradient.

    >>> from nbgrad import tensor
    >>> cross_entropy(tensor([[2.0, 0.0], [0.0, 50.0]]), tensor([0, 1]))
    tensor(0.06346401)
    """
    node = rules.CrossEntropy(
        "cross_entropy", weight=_constant(weight, "weight"), ignore_index=ignore_index,
        label_smoothing=label_smoothing, reduction=reduction,
    )  # fmt: skip
    return apply(node, as_tensors(logits, target))


def nll_loss(
    log_probs: Any, target: Any, *, weight: Any = None, ignore_index: int = -100, reduction: str = "mean"
) -> Tensor:
    """−log_probs[target] for class labels, shapes as in `cross_entropy`: with `log_softmax` before it, the
    same.

    >>> from nbgrad import tensor
    >>> nll_loss(log_softmax(tensor([[2.0, 0.0], [0.0, 50.0]])), tensor([0, 1]))
    tensor(0.06346401)
    """
    node = rules.CrossEntropy(
        "nll_loss", weight=_constant(weight, "weight"), ignore_index=ignore_index, reduction=reduction
    )
    return apply(node, as_tensors(log_probs, target))


for _name in __all__:
    globals()[_name].__doc__ = documented(globals()[_name], ("Tensor", "With the way back, if recorded."))
