"""What the CPU answers to a public function: checked arrays through the loops. `nbgrad.cuda.place` has
the same methods.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbgrad.arrays import contiguous, out_of_range
from nbgrad.cpu import elementwise, losses, maxout, rows
from nbgrad.cpu import label_losses as labelled
from nbgrad.cpu.arrays import Arrays, flat, fresh_or, split
from nbgrad.cpu.derived import loops as formula
from nbgrad.formulas.table import Elementwise

__all__ = ["CPU", "Place"]


def _together(array: NDArray[Any], axes: tuple[int, ...]) -> NDArray[Any]:
    """Several axes as one, the last."""
    moved = np.moveaxis(array, axes, range(-len(axes), 0))
    shape = moved.shape[: array.ndim - len(axes)]
    return moved.reshape(*shape, math.prod(array.shape[a] for a in axes))


def _apart(array: NDArray[Any], shape: tuple[int, ...], axes: tuple[int, ...]) -> NDArray[Any]:
    """`_together` backwards: an array of this shape."""
    ends = [n for a, n in enumerate(shape) if a not in axes] + [shape[a] for a in axes]
    return contiguous(np.moveaxis(array.reshape(ends), range(-len(axes), 0), axes))


class Place(Arrays):
    """The CPU. Methods return arrays: ``out``, where that is given and a loop can write to it, or fresh memory."""

    def elementwise(
        self, part: str, op: Elementwise, inputs: list[Any], shape: tuple[int, ...], out: Any,
        parameters: tuple[Any, ...],
    ) -> NDArray[Any]:  # fmt: skip
        """One ``part`` of an operator ("forward", "backward"; of a loss "loss", "loss_slope", "loss_target_slope") on
        arrays of one dtype that broadcast to ``shape``.
        """
        loop, dtype = elementwise.LOOPS[part](op), inputs[0].dtype
        vectors = [contiguous(a, shape).ravel() for a in inputs]
        result = fresh_or(out, shape, dtype)
        if not loop(elementwise.work_of(result), *vectors, result.ravel(), *parameters):  # it overlaps an input
            result = np.empty(shape, dtype)
            loop(elementwise.work_of(result), *vectors, result.ravel(), *parameters)
        return result

    #: A derived function on arrays of one size.
    formula = formula.Formula

    # Losses

    loss_sum = staticmethod(losses.loss_sum)

    def total(self, values: NDArray[Any], mean: bool) -> Any:
        """The sum or mean of losses."""
        return losses.scaled_sum(values, losses.mean_scale(mean, values.size), values.dtype)

    class_rows = staticmethod(labelled.class_rows)
    label_losses = staticmethod(labelled.label_losses)
    smoothed = staticmethod(labelled.smoothed)
    soft_losses = staticmethod(labelled.soft_losses)

    # Rows

    def rows(self, name: str, x: NDArray[Any], axes: tuple[int, ...], out: Any) -> NDArray[Any]:
        """A row function of the table along these axes together."""
        if len(axes) != 1:
            along = _together(x, axes)
            return _apart(self.rows(name, along, (along.ndim - 1,), None), x.shape, axes)
        n, length, inner = split(x.shape, axes[0])
        loop, vector = rows.forward(name, rows.form(length, inner)), flat(x)
        y = fresh_or(out, x.shape, x.dtype)
        if not loop(x.size, vector, n, length, inner, y.ravel()):
            y = np.empty(x.shape, x.dtype)
            loop(x.size, vector, n, length, inner, y.ravel())
        return y

    def rows_backward(
        self, name: str, grad_output: NDArray[Any], y: NDArray[Any], axes: tuple[int, ...], out: Any
    ) -> NDArray[Any]:
        """The gradient of `rows`, from its result y."""
        if len(axes) != 1:
            along = _together(y, axes)
            grad_x = self.rows_backward(name, _together(grad_output, axes), along, (along.ndim - 1,), None)
            return _apart(grad_x, y.shape, axes)
        n, length, inner = split(y.shape, axes[0])
        loop, vectors = rows.backward(name, rows.form(length, inner)), (flat(grad_output), flat(y))
        grad_x = fresh_or(out, y.shape, y.dtype)
        if not loop(y.size, *vectors, n, length, inner, grad_x.ravel()):
            grad_x = np.empty(y.shape, y.dtype)
            loop(y.size, *vectors, n, length, inner, grad_x.ravel())
        return grad_x

    def logsumexp(self, x: NDArray[Any], axes: tuple[int, ...], shape: tuple[int, ...], out: Any) -> NDArray[Any]:
        """logsumexp along these axes together, in the result's ``shape``."""
        along = x if len(axes) == 1 else _together(x, axes)
        n, length, inner = split(along.shape, axes[0] if len(axes) == 1 else along.ndim - 1)
        loop, vector = rows.logsumexp(rows.form(length, inner)), flat(along)
        y = fresh_or(out, shape, x.dtype)
        if not loop(x.size, vector, n, length, inner, y.ravel()):
            y = np.empty(shape, x.dtype)
            loop(x.size, vector, n, length, inner, y.ravel())
        return y

    def logsumexp_backward(
        self, grad_output: NDArray[Any], x: NDArray[Any], axes: tuple[int, ...], out: Any
    ) -> NDArray[Any]:
        """grad_output (of `logsumexp`'s shape) times softmax(x)."""
        if len(axes) != 1:
            along = _together(x, axes)
            return _apart(self.logsumexp_backward(grad_output, along, (along.ndim - 1,), None), x.shape, axes)
        n, length, inner = split(x.shape, axes[0])
        loop, vectors = rows.logsumexp_backward(rows.form(length, inner)), (flat(grad_output), flat(x))
        grad_x = fresh_or(out, x.shape, x.dtype)
        if not loop(x.size, *vectors, n, length, inner, grad_x.ravel()):
            grad_x = np.empty(x.shape, x.dtype)
            loop(x.size, *vectors, n, length, inner, grad_x.ravel())
        return grad_x

    def maxout(
        self, x: NDArray[Any], pieces: int, inner: int, shape: tuple[int, ...], out: Any, index_out: Any
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """(the largest of each ``pieces`` entries that lie ``inner`` elements apart, which it was)"""
        loop, vector, integer = maxout.maxout(pieces), flat(x), np.dtype(np.intp)
        y, index = fresh_or(out, shape, x.dtype), fresh_or(index_out, shape, integer)
        if not loop(x.size, vector, pieces, inner, y.ravel(), index.ravel()):
            y, index = np.empty(shape, x.dtype), np.empty(shape, integer)
            loop(x.size, vector, pieces, inner, y.ravel(), index.ravel())
        return y, index

    def maxout_backward(
        self, grad_output: NDArray[Any], index: NDArray[Any], pieces: int, inner: int, shape: tuple[int, ...], out: Any
    ) -> NDArray[Any]:
        """The gradient of `maxout`'s input, in its ``shape``. ValueError for an index out of range."""
        loop = maxout.maxout_backward(pieces)
        g, winners = flat(grad_output), flat(index.astype(np.int64, copy=False))
        grad_x = fresh_or(out, shape, grad_output.dtype)
        bad = loop(grad_x.size, g, winners, pieces, inner, grad_x.ravel())
        if bad >= 0:
            raise out_of_range("index", f"0..{pieces - 1}", winners[bad], bad)
        if bad != -1:
            grad_x = np.empty(shape, grad_output.dtype)
            loop(grad_x.size, g, winners, pieces, inner, grad_x.ravel())
        return grad_x


CPU = Place()
