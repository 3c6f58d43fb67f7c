"""The one pass over X that every regression objective makes, on CUDA: `nbgrad.cpu.regression.one_pass`, for a GPU.

A group of threads (`nbgrad.cuda.regression.tiles`) goes through its rows tile by tile, and loads the next tile before
it works on this one: scores, added up over the group; loss and residual, by the same formulas as on the CPU, in the
lane of the row and class; the residuals times the rows, added to the slopes that each thread keeps. X is read once.
Sums over rows are made in the precision of the products; every `FLUSH` rows they are added to sums of two parts, and
these in a fixed order, by one more kernel: no atomic operations, the same bits on every run on one kind of GPU.

What does not fit into registers (`tile_of` says None: more than 80 of a thread for slopes: in float32 more than 8 192
features of one score, 2 048 of 10 classes, 512 of 32; or more than 32 classes) is left to two matrix products:
`nbgrad.regression.passes.device`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import WARP, cuda, kernel, launch, module, processors
from nbgrad.cuda.device.intrinsics import barrier, block, block_size, blocks, thread
from nbgrad.cuda.reduce import add
from nbgrad.cuda.regression.models import parameters_of, terms_of
from nbgrad.cuda.regression.registers import words
from nbgrad.cuda.regression.staged import resident, staged_kernel, staged_of
from nbgrad.cuda.regression.tiles import Staged, Tile
from nbgrad.jit import scalar

__all__ = ["FLUSH", "bounds", "one_pass", "pass_kernel", "tile_of"]

#: Rows whose slopes are added up in the precision of the products, as on the CPU.
FLUSH = 512
# 32-bit registers of a thread for slopes (of a group of one warp, of several) and for a tile's numbers. With several
# warps a tile costs a barrier and a loss's terms in each of them: few warps with many slopes are better.
SLOPES, SLOPES_SHARED, NUMBERS_OF_TILE = 48, 80, 32
WARPS = (1, 2, 4, 8)
#: Tiles that are worth a group.
TILES = 2


@functools.cache
def tile_of(classes: int, features: int, dtype: Any, x_dtype: Any, aligned: bool) -> Tile | Staged | None:
    """How a group takes rows of X; None where it cannot. ``aligned``: whether X begins on 16 bytes."""
    staged = staged_of(classes, features, dtype, x_dtype, aligned)
    if staged is not None:
        return staged
    size, widest = np.dtype(dtype).itemsize // 4, min(16 // np.dtype(x_dtype).itemsize, 4)
    for width in (widest, 1) if aligned and features % widest == 0 else (1,):
        for warps in WARPS:
            lines = max(1, -(-features // (width * warps * WARP)))
            own = lines * width
            tile = Tile(classes, 1, lines, width, warps * WARP)
            if tile.class_lanes > WARP:
                return None
            most = SLOPES if warps == 1 else SLOPES_SHARED
            if own * size <= NUMBERS_OF_TILE and own * classes * size <= most:
                lanes = tile.class_lanes
                count = min(8, WARP // lanes, 32 // (lanes * size), NUMBERS_OF_TILE // (own * size))
                count = 1 << (max(count, 1).bit_length() - 1)
                return Tile(classes, count, lines, width, warps * WARP)
    return None


@functools.cache
def bounds(tile: Tile, hessian: bool, dtype: Any) -> tuple[int, int]:
    """(threads of a block, blocks that a multiprocessor holds at a time): its 65 536 registers are shared out, and the
    compiler told so (the tests hold it to do without memory).
    """
    size, threads = np.dtype(dtype).itemsize // 4, 4 * WARP if tile.threads == WARP else tile.threads
    numbers = tile.own * (tile.classes + 2 * tile.rows) + tile.slots * (2 if hessian else 1)
    others = 120 if size == 2 else 64 if hessian else 16  # places of lines and what the formulas take
    needed = max(112, size * numbers + 4 * tile.lines + others)
    return threads, max(1, min(65536 // (threads * needed), 2048 // threads))


@functools.cache
def pass_kernel(model: str, hessian: bool, dtype: Any, tile: Tile, once: bool) -> Any:
    """``kernel(x, n, features, target, weight, coefficients, nothing, flag, sums)``

    ``coefficients``: w (classes, pitch) and a warp's numbers that begin with the intercepts and the model's own
    parameters (lines remain lines); with ``hessian`` the same of the direction. ``weight`` may be empty. ``sums``: (2,
    groups, its length), in two parts; behind it (groups, classes · pitch) of scratch. With ``once`` no group has more
    than `FLUSH` rows: its slopes have no second part, and there is no scratch. The place + 1 of a bad target goes to
    ``flag[0]``, and its row's numbers are nan.
    """
    T: Any = dtype.type
    (is_good, terms), parameters = terms_of(model, hessian), parameters_of(model)
    of = words(tile, dtype)
    zeros, load_rows, dots, scatter = of.zeros, of.load_rows, of.dots, of.scatter
    broadcast, outer, put = of.broadcast, of.outer, of.put
    classes, count, class_lanes, slots, width = tile.classes, tile.rows, tile.class_lanes, tile.slots, tile.threads
    size, length, warps = classes * tile.pitch, tile.length, tile.threads // WARP
    often, both, tile_width = max(1, FLUSH // count), 2 * warps * WARP, tile.width
    infinity, nan = T(np.inf), T(np.nan)

    @scalar
    def alone(value, parts, side):
        return value

    @scalar
    def together(value, parts, side):
        """The group's sum of its warps' numbers. ``side`` (0, 1) changes each time: one barrier is enough."""
        lane, start = thread() % WARP, side * warps * WARP
        parts[start + thread() // WARP * WARP + lane] = value
        barrier()
        value = T(0)
        for k in range(warps):
            value += parts[start + k * WARP + lane]
        return value

    over_warps = alone if warps == 1 else together

    @scalar
    def flush(g, sums, group, own, groups):
        """Add a thread's slopes to its places of the group's sums. (To know the first and spare the zeros before it
        cost registers: ptxas spilled up to 100 bytes.)
        """
        scratch, high = 2 * groups * length + group * size, group * length
        put(g, sums, scratch, own)
        for line in range(size // (width * tile_width)):
            for v in range(tile_width):
                j = (line * width + own) * tile_width + v
                low = groups * length + high + j
                sums[high + j], sums[low] = add(sums[high + j], sums[low], sums[scratch + j], T(0))

    def run(x, n, features, target, weight, coefficients, nothing, flag, sums):
        parts = cuda.shared.array(both, T)
        own, lane, at_once = thread() % width, thread() % WARP, block_size() // width
        group, groups = block() * at_once + thread() // width, blocks() * at_once
        slot, c = lane % slots // class_lanes, lane % class_lanes
        first, step = group * count, groups * count
        v = coefficients[size + WARP :] if hessian else coefficients
        b = coefficients[size + c] if c < classes else -infinity
        b_v = v[size + c] if hessian and c < classes else T(0)
        own_parameters = parameters(coefficients, size + classes)
        rounds = (n + step - 1) // step  # all threads of a block go round together
        loss, loss_low, slope, slope_low = T(0), T(0), T(0), T(0)
        here = load_rows(x, first, n, features, own, nothing)
        g = zeros(here)
        if not once:
            put(g, sums, group * length, own)
            put(g, sums, (groups + group) * length, own)
        for k in range(rounds):
            ahead = load_rows(x, first + step, n, features, own, nothing)
            s = over_warps(scatter(dots(here, coefficients, own)), parts, 0 if hessian else k % 2) + b
            u = s
            if hessian:
                u = over_warps(scatter(dots(here, v, own)), parts, 1) + b_v
            i = first + slot
            row = i if i < n else n - 1
            t, w = target[row], weight[row] if weight.size else T(1)
            bad = not is_good(t, classes)
            if bad and i < n:
                flag[0] = row + 1
            absent = i >= n or w == T(0)
            value, change = terms(s, u, t, w, c, classes, class_lanes, own_parameters)
            value = T(0) if absent else nan if bad else value
            change = T(0) if absent else nan if bad else change
            loss, loss_low = add(loss, loss_low, value, T(0))
            slope, slope_low = add(slope, slope_low, change, T(0))
            g = outer(g, broadcast(change), here)
            if not once and ((k + 1) % often == 0 or k + 1 == rounds):
                flush(g, sums, group, own, groups)
                g = zeros(here)
            here = ahead
            first += step
        if once:
            put(g, sums, group * length, own)
        if own < WARP:
            place, plane = group * length + size + own, groups * length
            sums[place], sums[plane + place] = slope, slope_low
            sums[WARP + place], sums[WARP + plane + place] = loss, loss_low

    return kernel(run, bounds(tile, hessian, dtype))


def one_pass(
    model: str, hessian: bool, tile: Tile | Staged, x: Any, n: int, features: int, target: Any, weight: Any,
    coefficients: Any, nothing: Any, flag: Any,
) -> tuple[Any, int, bool]:  # fmt: skip
    """(the groups' sums, their number, whether their slopes have one part alone); n > 0."""
    dtype, x_dtype, staged = coefficients.dtype, nothing.dtype, isinstance(tile, Staged)
    if isinstance(tile, Staged):
        threads, per_processor, rows, at_once = WARP, resident(tile, hessian, dtype, x_dtype), WARP, tile.parts
    else:
        threads, per_processor = bounds(tile, hessian, dtype)
        at_once = threads // tile.threads
        rows = tile.rows * at_once
    number = max(1, min(-(-n // (TILES * rows)), per_processor * processors()))
    groups, once = number * at_once, -(-n // (number * rows)) * (rows // at_once) <= FLUSH
    sums = module().empty(groups * (2 * tile.length + (0 if once else tile.classes * tile.pitch)), dtype)
    kernel_of = functools.partial(staged_kernel, x_dtype=x_dtype, flush=FLUSH) if staged else pass_kernel
    compiled = kernel_of(model, hessian, dtype, tile=tile, once=once)
    launch(compiled, number, threads, x, n, features, target, weight, coefficients, nothing, flag, sums)
    return sums, groups, once
