"""What is before the pass over X and behind it: coefficients as its blocks read them, value and gradient from its
groups' sums. One launch each; that of the float64 numbers in them are few.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import BLOCK, WARP, cuda, kernel, launch, module
from nbgrad.cuda.device.intrinsics import barrier, block, block_size, blocks, thread
from nbgrad.cuda.reduce import add
from nbgrad.jit import scalar

__all__ = ["answer", "answer_kernel", "pack_kernel", "packed", "packed_on_host"]

#: Threads of a block that adds up.
COLLECTORS = WARP * WARP


def packed_on_host(matrices: list[Any], parameters: Any, tile: Any, features: int, x_scale: float, dtype: Any) -> Any:
    """``coefficients`` of the pass: for params, and for the Hessian's product the direction, coefficients times
    ``x_scale`` (classes, pitch) and a warp's numbers that begin with the intercepts and the model's own parameters.
    """
    size, classes = tile.size, tile.classes
    lines = np.zeros((len(matrices), size + WARP), dtype)
    for line, matrix in zip(lines, matrices, strict=True):
        w = line[: classes * tile.pitch].reshape(classes, tile.pitch)
        w[:, :features] = matrix[:, :features].astype(np.float64) * x_scale
        if matrix.shape[1] > features:
            line[size : size + classes] = matrix[:, features]
    lines[0, size + classes : size + classes + len(parameters)] = parameters
    return lines.reshape(-1)


@functools.cache
def pack_kernel(dtype: Any) -> Any:
    """``kernel(params, direction, parameters, shape, x_scale, out)``: `packed_on_host`; ``shape``: classes, features,
    columns of params, pitch, size.
    """
    T: Any = dtype.type
    double = np.float64

    def run(params, direction, parameters, shape, x_scale, out):
        classes, features, columns, pitch, size = shape
        i, length = block() * block_size() + thread(), size + WARP
        while i < out.size:
            first, j = i < length, i if i < length else i - length
            c, column, factor = j // pitch, j % pitch, x_scale
            inside = j < classes * pitch and column < features
            if j >= size:
                c, column, factor = j - size, features, double(1)
                inside = c < classes and features < columns
            number = double(0)
            if inside:
                place = c * columns + column
                number = double(params[place] if first else direction[place]) * factor
            out[i] = T(number)
            own = j - size - classes
            if first and 0 <= own < parameters.size:
                out[i] = parameters[own]
            i += block_size() * blocks()

    return kernel(run)


def packed(matrices: list[Any], parameters: Any, tile: Any, features: int, x_scale: float, dtype: Any) -> Any:
    """`packed_on_host`, of arrays of one dtype on the GPU."""
    out = module().empty(len(matrices) * (tile.size + WARP), dtype)
    flat = [module().ascontiguousarray(m).reshape(-1) for m in matrices]
    shape = tile.classes, features, matrices[0].shape[1], tile.pitch, tile.size
    launch(
        pack_kernel(dtype), -(-out.size // BLOCK), BLOCK, flat[0], flat[-1], parameters, shape, np.float64(x_scale), out
    )
    return out


@functools.cache
def answer_kernel(dtype: Any) -> Any:
    """``kernel(sums, groups, shape, x_scale, scale, value, gradient)``: the sum, in two parts, over the groups. A block
    takes a warp's columns, each of its warps some of the groups. ``shape``: numbers of a group, classes, pitch,
    features, columns of the gradient; lanes of residuals (0: the column behind the features has their sums) and of
    losses, lanes of a row's residuals; whether slopes have one part alone.
    """
    T: Any = dtype.type
    warps, double = COLLECTORS // WARP, np.float64

    @scalar
    def of_group(sums, group, groups, length, column, in_two):
        place = group * length + column
        high = sums[place] if group < groups else T(0)
        return high, sums[groups * length + place] if in_two and group < groups else T(0)

    @scalar
    def total(high, low):
        return double(high) + (double(low) if low == low else double(0))  # the rest of an infinite sum is nan

    def run(sums, groups, shape, x_scale, scale, value, gradient):
        length, classes, pitch, features, columns, residuals, losses, class_lanes, once = shape
        highs = cuda.shared.array(COLLECTORS, T)
        lows = cuda.shared.array(COLLECTORS, T)
        lane, own = thread() % WARP, thread() // WARP
        column = block() * WARP + lane
        high, low, in_two = T(0), T(0), not once or column >= classes * pitch
        if column < length:
            for group in range(own, groups, 4 * warps):  # four at a time are on their way
                a, a_low = of_group(sums, group, groups, length, column, in_two)
                b, b_low = of_group(sums, group + warps, groups, length, column, in_two)
                c, c_low = of_group(sums, group + 2 * warps, groups, length, column, in_two)
                d, d_low = of_group(sums, group + 3 * warps, groups, length, column, in_two)
                a, a_low = add(a, a_low, b, b_low)
                c, c_low = add(c, c_low, d, d_low)
                a, a_low = add(a, a_low, c, c_low)
                high, low = add(high, low, a, a_low)
        highs[thread()], lows[thread()] = high, low
        barrier()
        if own == 0 and column < length:
            for k in range(1, warps):
                high, low = add(high, low, highs[k * WARP + lane], lows[k * WARP + lane])
            highs[lane], lows[lane] = high, low
        barrier()
        size = classes * pitch
        if own == 0 and column < size:
            c, j = column // pitch, column % pitch
            if j < features:
                gradient[c * columns + j] = total(high, low) * x_scale * scale
            elif j < columns and residuals == 0:
                gradient[c * columns + j] = total(high, low) * scale
        elif own == 0 and column == size + residuals:
            s = double(0)
            for k in range(losses):
                s += total(highs[lane + k], lows[lane + k])
            value[0] = s * scale
        elif own == 0 and residuals and column < size + classes and features < columns:
            s = double(0)
            for k in range(lane, losses, class_lanes):
                s += total(highs[k], lows[k])
            gradient[(column - size) * columns + features] = s * scale

    return kernel(run, (COLLECTORS, 1))


def answer(
    sums: Any, groups: int, once: bool, tile: Any, features: int, columns: int, x_scale: float, scale: Any, dtype: Any
) -> Any:
    """Σ loss, and behind it its gradient (classes, columns), times ``scale``, of this dtype."""
    out, length = module().empty(1 + tile.classes * columns, dtype), tile.length
    shape = length, tile.classes, tile.pitch, features, columns, *tile.lanes_of_sums, int(once)
    value, gradient = out[:1], out[1:]
    launch(
        answer_kernel(sums.dtype), -(-length // WARP), COLLECTORS, sums, groups, shape, np.float64(x_scale),
        np.float64(scale), value, gradient,
    )  # fmt: skip
    return out
