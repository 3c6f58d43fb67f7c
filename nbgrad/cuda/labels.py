"""cross_entropy and nll_loss of class labels, and of class probabilities, on CUDA: forward and backward in one pass.

``x``: contiguous rows of logits. A label out of range reads no memory: its row's loss and gradient are nan, and
its place + 1 goes to ``flag[0]``, which the host looks at later. ``divisor``: what the mean divides by, in two parts;
empty for the sum.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.cuda.device import WARP, cuda, kernel
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, thread
from nbgrad.cuda.device.lines import size_of
from nbgrad.cuda.reduce import add, exp_sums, group_first, group_sum, total
from nbgrad.cuda.rows import Row, bounds, over_rows
from nbgrad.elementary.division import quotient_one_plus
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows
from nbgrad.jit import scalar

__all__ = ["cross_entropy", "nll", "soft_cross_entropy"]


@scalar
def _scaled(w, divisor):
    """The weight of a row in the gradient; nan for the mean of nothing."""
    T = type(w)
    if divisor.size == 0:
        return w
    d = total(divisor[0], divisor[1])
    return w / d if d != T(0) else T(np.nan)


@functools.cache
def cross_entropy(grad: bool, dtype: Any) -> Any:
    """``compiled(ahead, whole)`` makes ``kernel(labels, weight, ignore_index, divisor, flag, x, n, length, shift,
    losses[, grad])``; the losses are not divided.
    """
    T, slope = dtype.type, scalar(lambda x, largest, factor: exp_minus(largest - x) * factor)
    nan = T(np.nan)

    def compiled(ahead: int, whole: bool) -> Any:
        sums, fill = exp_sums(dtype, ahead, whole), Row(dtype, 1, ahead, whole).fill(slope)
        unit = size_of(dtype) if whole else 1

        @scalar
        def counts(inputs, label, length):
            return 0 <= label < length and label != inputs[2]

        @scalar
        def loss_of(inputs, row, place, room):
            """(the label's logit, what `exp_sums` returns, the loss)"""
            labels, weight, ignore_index, _, flag, x = inputs
            start, length, lane, _ = place
            own, label = T(0), labels[row]
            if counts(inputs, label, length):
                own = x[start + label]
            elif label != ignore_index and lane == 0:
                flag[0] = row + 1
            largest, others, held, i = sums(x, place, room)
            others = rows.finite(largest, others)
            label = labels[row]  # not kept in registers meanwhile
            loss = T(0) if label == ignore_index else nan
            if counts(inputs, label, length):
                w = weight[label] if weight.size else T(1)
                loss = w * rows.nll(own, largest, rows.logarithm(T, others))
            return own, largest, others, held, i, loss

        @scalar
        def value(inputs, results, row, live, place, room):
            result = loss_of(inputs, row, place, room)
            if live and place[2] == 0:
                results[0][row] = result[5]

        @scalar
        def value_and_slopes(inputs, results, row, live, place, room):
            labels, weight, _, divisor, _, x = inputs
            losses, dx = results
            own, largest, others, held, i, loss = loss_of(inputs, row, place, room)
            if live:
                (start, length, lane, width), label = place, labels[row]
                if lane == 0:
                    losses[row] = loss
                if counts(inputs, label, length):
                    scaled = _scaled(weight[label] if weight.size else T(1), divisor)
                    fill((x,), dx, place, held, i, (largest, quotient_one_plus(scaled, others)))
                    label = labels[row]
                    if (label // unit) & (width - 1) == lane:  # the thread that has just written the label's entry
                        e = exp_minus(largest - own)
                        dx[start + label] = scaled * rows.label_slope(e, own == largest, others)
                else:
                    j = lane
                    while j < length:
                        dx[start + j] = loss  # 0 or nan
                        j += width

        over = over_rows(value_and_slopes if grad else value)

        def values(labels, weight, ignore_index, divisor, flag, x, n, length, shift, losses):
            inputs, room = (labels, weight, ignore_index, divisor, flag, x), cuda.shared.array(WARP, T)
            over(inputs, n, length, shift, (losses,), room)

        def values_and_slopes(labels, weight, ignore_index, divisor, flag, x, n, length, shift, losses, dx):
            inputs, room = (labels, weight, ignore_index, divisor, flag, x), cuda.shared.array(WARP, T)
            over(inputs, n, length, shift, (losses, dx), room)

        return kernel(values_and_slopes if grad else values, bounds(dtype))

    return functools.cache(compiled)


@functools.cache
def nll(grad: bool, dtype: Any) -> Any:
    """``kernel(labels, weight, ignore_index, divisor, flag, x, classes, inner, losses[, grad])`` for x of shape (outer,
    classes, inner), a thread for each label; ``grad`` holds zeros.
    """
    T: Any = dtype.type
    nan = T(np.nan)

    @scalar
    def loss_of(labels, weight, ignore_index, flag, x, classes, inner, i):
        """(place of the label's entry or −1, its weight, the loss)"""
        label = labels[i]
        if label == ignore_index:
            return -1, T(0), T(0)
        if label < 0 or label >= classes:
            flag[0] = i + 1
            return -1, nan, nan
        place = i // inner * classes * inner + label * inner + i % inner
        w = weight[label] if weight.size else T(1)
        return place, w, -w * x[place]

    def values(labels, weight, ignore_index, divisor, flag, x, classes, inner, losses):
        i = block() * block_size() + thread()
        while i < labels.size:
            losses[i] = loss_of(labels, weight, ignore_index, flag, x, classes, inner, i)[2]
            i += block_size() * blocks()

    def values_and_slopes(labels, weight, ignore_index, divisor, flag, x, classes, inner, losses, dx):
        i = block() * block_size() + thread()
        while i < labels.size:
            place, w, loss = loss_of(labels, weight, ignore_index, flag, x, classes, inner, i)
            losses[i] = loss
            if place >= 0:
                dx[place] = _scaled(-w, divisor)
            i += block_size() * blocks()

    return kernel(values_and_slopes if grad else values)


@functools.cache
def soft_cross_entropy(grad: bool, dtype: Any) -> Any:
    """``compiled(ahead, whole)`` makes ``kernel(skip, q, divisor, x, n, length, shift, losses[, grad])`` with a weight
    q for every class of every row; rows with ``skip`` count nothing.
    """
    T = dtype.type

    def compiled(ahead: int, whole: bool) -> Any:
        sums = exp_sums(dtype, ahead, whole)

        @scalar
        def value(inputs, results, row, live, place, room):
            skip, q, _, x = inputs
            start, length, lane, width = place
            largest, others, _, _ = sums(x, place, room[0])
            log_sum = rows.logarithm(T, rows.finite(largest, others))
            high, low = T(0), T(0)
            j = lane
            while j < length:
                high, low = add(high, low, rows.soft_term(x[start + j], q[start + j], largest, log_sum), T(0))
                j += width
            high, low = group_sum(high, low, width, room[0])
            if live and lane == 0:
                results[0][row] = T(0) if skip[row] else total(high, low)

        @scalar
        def value_and_slopes(inputs, results, row, live, place, room):
            (skip, q, divisor, x), (losses, dx) = inputs, results
            start, length, lane, width = place
            largest, others, _, _ = sums(x, place, room[0])
            others = rows.finite(largest, others)
            log_sum = rows.logarithm(T, others)
            high, low, top = T(0), T(0), length - 1
            j = lane
            while j < length:
                high, low = add(high, low, rows.soft_term(x[start + j], q[start + j], largest, log_sum), T(0))
                if x[start + j] == largest and j < top:
                    top = j
                j += width
            high, low = group_sum(high, low, width, room[0])
            loss, top = total(high, low), group_first(top, width, room[1])
            high, low = T(0), T(0)
            j = lane
            while j < length:
                if j != top:
                    high, low = add(high, low, q[start + j], T(0))
                j += width
            high, low = group_sum(high, low, width, room[0])
            other_q, factor, top_q = total(high, low), quotient_one_plus(T(1), others), q[start + top]
            scale = _scaled(T(1), divisor)
            if live:
                if lane == 0:
                    losses[row] = T(0) if skip[row] else loss
                j = lane
                while j < length:
                    e = exp_minus(largest - x[start + j])
                    slope = rows.soft_slope(e, q[start + j], factor, top_q + other_q, scale)
                    if j == top:
                        slope = rows.top_soft_slope(top_q, others, other_q, factor, scale)
                    dx[start + j] = T(0) if skip[row] else slope
                    j += width

        over = over_rows(value_and_slopes if grad else value)

        def values(skip, q, divisor, x, n, length, shift, losses):
            room = (cuda.shared.array(WARP, T),)
            over((skip, q, divisor, x), n, length, shift, (losses,), room)

        def values_and_slopes(skip, q, divisor, x, n, length, shift, losses, dx):
            sums_room = cuda.shared.array(WARP, T)
            places_room = cuda.shared.array(WARP, np.int64)
            over((skip, q, divisor, x), n, length, shift, (losses, dx), (sums_room, places_room))

        return kernel(values_and_slopes if grad else values, bounds(dtype))

    return functools.cache(compiled)
