"""`MatrixProducts`: a Tensor's operator @."""

from __future__ import annotations

import functools
import math
from typing import Any, Self

import numpy as np

from nbgrad.autograd.base import TensorBase
from nbgrad.autograd.devices import matmul, on_cpu
from nbgrad.autograd.operators.apply import binary
from nbgrad.autograd.operators.elementwise import UFUNCS
from nbgrad.autograd.tape import Node

__all__ = ["MatrixProducts", "for_blas", "rows"]


def rows(array: Any) -> Any:
    """All vectors along the last axis as the rows of one matrix; reshape(-1, 0) would be an error."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def for_blas(x: Any) -> Any:
    """The operand of a product, copied where NumPy would multiply without BLAS: slowly, and adding one number after the
    other in the operands' precision (rows backwards, every other column, a broadcast array).
    """
    if not on_cpu(x) or not x.ndim or x.flags.forc:
        return x
    strides = x.strides[-2:]
    return x if x.ndim > 1 and min(strides) > 0 and x.itemsize in strides else x.copy(order="C")


class MatMul(Node):
    __slots__ = ()

    def forward(self, x, y):
        try:
            x, y = for_blas(x), for_blas(y)
            ranks = [getattr(a, "ndim", 0) for a in (x, y)]
            z = matmul(x, y) if all(ranks) else np.matmul(x, y)  # of a number an error
        except ValueError:
            shapes = f"{np.shape(x)} and {np.shape(y)}"
            raise ValueError(f"matmul: expected shapes (..., n, k) and (..., k, m), or (k,), got {shapes}") from None
        a, b = self._edges
        self._saved = b and x, a and y, x.ndim, y.ndim
        return z

    def vjp(self, g):
        x, y, x_ndim, y_ndim = self._saved
        a, b = self._edges
        # A vector stands for a matrix of one row (left) or of one column (right): an axis the result lacks.
        row, column, g = x_ndim == 1, y_ndim == 1, for_blas(g)
        if column:
            g = g[..., None]
        if row:
            g = g[..., None, :]
        if a:
            y = y[:, None] if column else y
            a = matmul(g, y.swapaxes(-1, -2))  # of a row (..., 1, k): `fit` drops the axis with the broadcast ones
        if b:
            x = x[None] if row else x
            if x_ndim > 2 >= y_ndim:  # one product over all matrices, not one each and their sum
                b = matmul(rows(x).T, rows(g))
            else:
                b = matmul(x.swapaxes(-1, -2), g)
            b = b[..., 0] if column else b
        return a, b


UFUNCS[np.matmul] = functools.partial(binary, MatMul)


class MatrixProducts(TensorBase):
    """The part of `nbgrad.Tensor` that multiplies matrices; see there."""

    __slots__ = ()

    def __matmul__(self, other: Any) -> Self:
        return binary(MatMul, self, other)

    def __rmatmul__(self, other: Any) -> Self:
        return binary(MatMul, other, self)
