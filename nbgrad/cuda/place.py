"""What a GPU answers to a public function: checked arrays through the kernels. `nbgrad.cpu.place` has
the same methods.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbgrad.cuda import elementwise, formula, losses, maxout, rows
from nbgrad.cuda import label_losses as labelled
from nbgrad.cuda.alarm import alarm
from nbgrad.cuda.arrays import Arrays
from nbgrad.cuda.device import launch_each
from nbgrad.formulas.table import ROW_FUNCTIONS, Elementwise

__all__ = ["Place"]


class Place(Arrays):
    """A GPU, for one call. Methods return arrays: ``out``, where that is given and a kernel can write to it, or fresh
    memory.
    """

    def elementwise(
        self, part: str, op: Elementwise, inputs: list[Any], shape: tuple[int, ...], out: Any,
        parameters: tuple[Any, ...],
    ) -> Any:  # fmt: skip
        """One ``part`` of an operator ("forward", "backward"; of a loss "loss", "loss_slope", "loss_target_slope") on
        arrays of one dtype that broadcast to ``shape``.
        """
        dtype = inputs[0].dtype
        flat = [self._contiguous(a, shape) for a in inputs]
        result = self._room(out, shape, dtype, *flat)
        elementwise.run(elementwise.KERNELS[part](op, dtype), flat, result.reshape(-1), parameters)
        return result

    #: A derived function on arrays of one size.
    formula = formula.Formula

    # Losses

    def loss_sum(
        self, op: Elementwise, x: Any, target: Any, parameters: tuple[Any, ...], mean: bool, grad: bool, grad_out: Any
    ) -> tuple[Any, Any]:
        """(sum or mean of the losses, its gradient where ``grad``), in one pass."""
        flat = [self.flat(x), self.flat(target)]
        gradient = self._room(grad_out, x.shape, x.dtype, *flat, in_place=False) if grad else None
        flat_gradient = None if gradient is None else gradient.reshape(-1)
        return losses.loss_sum(op, flat[0], flat[1], flat_gradient, mean, parameters), gradient

    def total(self, values: Any, mean: bool) -> Any:
        """The sum or mean of losses."""
        return losses.array_sum(self.flat(values), float(values.size) if mean else 1.0, losses.no_divisor(values.dtype))

    class_rows = labelled.class_rows
    label_losses = labelled.label_losses
    smoothed = labelled.smoothed
    soft_losses = labelled.soft_losses

    # Rows

    def _rows_last(self, array: Any, axes: tuple[int, ...]) -> Any:
        """The array as contiguous (rows, length), the axes one: copied where its rows do not lie so."""
        if array.ndim == 2 and axes == (1,) and array.flags.c_contiguous:
            return array
        moved = self.xp.moveaxis(array, axes, tuple(range(-len(axes), 0))) if axes else array
        length = math.prod(array.shape[a] for a in axes)
        return self.flat(moved).reshape(math.prod(moved.shape[: array.ndim - len(axes)]), length)

    def _of_rows(
        self, compiled: Any, before: tuple[Any, ...], shape: Any, axes: tuple[int, ...], out: Any, in_place: bool = True
    ) -> Any:
        """Run a kernel of `nbgrad.cuda.rows` whose result has the shape of its rows, the last of ``before``."""
        flat = before[-1]
        in_order = axes == tuple(range(len(shape) - len(axes), len(shape)))
        result = self._room(out if in_order else None, shape, flat.dtype, *before, in_place=in_place)
        rows.run(compiled, tuple(a.reshape(-1) for a in before), *flat.shape, result.reshape(-1))
        if in_order:
            return result
        whole = result.reshape([n for a, n in enumerate(shape) if a not in axes] + [shape[a] for a in axes])
        whole = self.xp.moveaxis(whole, tuple(range(-len(axes), 0)), axes) if axes else whole
        return whole if out is not None else self.flat(whole).reshape(shape)

    def rows(self, name: str, x: Any, axes: tuple[int, ...], out: Any) -> Any:
        """A row function of the table along these axes together."""
        entrywise = ROW_FUNCTIONS[name].sums is not None
        return self._of_rows(rows.forward(name, x.dtype), (self._rows_last(x, axes),), x.shape, axes, out, entrywise)

    def rows_backward(self, name: str, grad_output: Any, y: Any, axes: tuple[int, ...], out: Any) -> Any:
        """The gradient of `rows`, from its result y."""
        both = self._rows_last(grad_output, axes), self._rows_last(y, axes)
        entrywise = ROW_FUNCTIONS[name].sums is not None
        return self._of_rows(rows.backward(name, y.dtype), both, y.shape, axes, out, entrywise)

    def logsumexp(self, x: Any, axes: tuple[int, ...], shape: tuple[int, ...], out: Any) -> Any:
        """logsumexp along these axes together, in the result's ``shape``."""
        flat = self._rows_last(x, axes)
        result = self._room(out, shape, x.dtype, flat, in_place=False)
        rows.run(rows.logsumexp(x.dtype), (flat.reshape(-1),), *flat.shape, result.reshape(-1))
        return result

    def logsumexp_backward(self, grad_output: Any, x: Any, axes: tuple[int, ...], out: Any) -> Any:
        """grad_output (of `logsumexp`'s shape) times softmax(x)."""
        g = self.flat(grad_output)
        g = g.copy() if out is not None and self.overlap(out, g) else g
        return self._of_rows(rows.logsumexp_backward(x.dtype), (g, self._rows_last(x, axes)), x.shape, axes, out)

    def maxout(
        self, x: Any, pieces: int, inner: int, shape: tuple[int, ...], out: Any, index_out: Any
    ) -> tuple[Any, Any]:
        """(the largest of each ``pieces`` entries that lie ``inner`` elements apart, which it was)"""
        flat, integer = self.flat(x), np.dtype(np.intp)
        y = self._room(out, shape, x.dtype, flat, in_place=False)
        index = self._room(index_out, shape, integer, flat, in_place=False)
        compiled = maxout.maxout(x.dtype)
        launch_each(compiled, y.size, flat, pieces, inner, y.reshape(-1), index.reshape(-1), per_processor=32)
        return y, index

    def maxout_backward(
        self, grad_output: Any, index: Any, pieces: int, inner: int, shape: tuple[int, ...], out: Any
    ) -> Any:
        """The gradient of `maxout`'s input, in its ``shape``. An index out of range: `nbgrad.cuda.alarm`."""
        watch = alarm(self, "index")
        flag, g = watch.arm(f"0..{pieces - 1}"), self.flat(grad_output)
        winners = self.flat(self.cast(index, np.dtype(np.int64)))
        dx = self._room(out, shape, g.dtype, g, winners, in_place=False)
        compiled = maxout.maxout_backward(g.dtype)
        launch_each(compiled, g.size, g, winners, pieces, inner, flag, dx.reshape(-1), per_processor=32)
        watch.look(winners)
        return dx
