"""cross_entropy and nll_loss of class labels, forward and backward in one pass over the rows.

Arrays come flat and contiguous: ``x`` of shape (outer, classes, inner), ``labels`` of (outer, inner). Labels
are checked before any memory is read with one of them. The sum of the losses is made in float64, lane by lane
within a block of fixed size, block by block: the same for any number of threads.
"""

from __future__ import annotations

import functools

import numpy as np
from numba import prange

from nbgrad.cpu.elementwise import fill
from nbgrad.cpu.label_terms import label_terms
from nbgrad.cpu.lanes import (
    COLUMNS,
    LANES,
    WORK,
    block_of,
    gather,
    lane_block,
    row_sums_kept,
    scatter,
    total,
)  # fmt: skip
from nbgrad.cpu.transpose import put_results, result_at, row_at, tile_size
from nbgrad.elementary.division import two_sum
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows
from nbgrad.jit import Loop, scalar
from nbgrad.jit.intrinsics import clash, overlap
from nbgrad.jit.memory import stack_array
from nbgrad.jit.vector_map import vector_map

__all__ = ["OVERLAP", "bad_label", "cross_entropy", "first_bad_label", "nll", "soft_cross_entropy"]

#: what the loops answer, having written nothing, if ``grad`` overlaps an argument other than in place
OVERLAP = -2


@scalar
def _product(a, b):
    return a * b


@scalar
def _add(loss, summed):
    return summed + loss


@scalar
def bad_label(labels, classes, ignore_index, exempt):
    """Index of the first label outside 0..classes − 1, or −1. ``exempt``: ignore_index may be outside.

    Counted in blocks, which LLVM vectorises; a loop that leaves at the first takes 4 times as long.
    """
    for start in range(0, labels.size, 512):
        block = labels[start : start + 512]
        bad = 0
        for k in range(block.size):
            label = block[k]
            bad += ((label < 0) | (label >= classes)) & ((label != ignore_index) | (not exempt))
        if bad:
            for k in range(block.size):
                label = block[k]
                if (label < 0 or label >= classes) and not (exempt and label == ignore_index):
                    return start + k
    return -1


@scalar
def _whole(total, rest):
    """A sum of two parts. (The rest of an infinite one is nan.)"""
    return total + rest if rest == rest else total


@scalar
def _counted(labels, weight, ignore_index):
    """The number of labels that are not ignored, or the sum of their weights."""
    if weight.size == 0:
        count = 0
        for i in range(labels.size):
            count += labels[i] != ignore_index
        return np.float64(count)
    total, rest = 0.0, 0.0  # one number alone was off by 57 ulp for a thousand labels
    for i in range(labels.size):
        if labels[i] != ignore_index:
            total, rounding = two_sum(total, np.float64(weight[labels[i]]))
            rest += rounding
    return _whole(total, rest)


@scalar
def _scale(mean, labels, weight, ignore_index):
    """What the sum of the losses is multiplied by; nan for the mean of nothing."""
    if not mean:
        return 1.0
    total = _counted(labels, weight, ignore_index)
    return 1.0 / total if total != 0.0 else np.nan


@scalar
def _overlaps(x, labels, weight, grad):
    return clash(x, grad) or overlap(labels, grad) or overlap(weight, grad)


@functools.cache
def cross_entropy(long: bool) -> Loop:
    """``loop(work, x, labels, weight, n, classes, inner, ignore_index, mean, loss, with_grad, grad)``: (−1,
    sum of the losses times the scale), or (index of a bad label, 0), or (OVERLAP, 0).

    ``weight`` and ``loss`` may be empty; the losses in ``loss`` are not scaled.
    """

    @scalar
    def few(x, labels, weight, first, last, classes, inner, ignore_index, scale, loss, with_grad, grad):
        T = x.dtype.type
        t, work = stack_array(x.dtype, COLUMNS), stack_array(x.dtype, WORK)
        losses, factor = lane_block(work, 1), lane_block(work, 2)
        own, w = lane_block(work, 4), lane_block(work, 5)
        rest, summed = stack_array(np.float64, LANES), stack_array(np.float64, LANES)
        for r in range(LANES):
            summed[r] = 0.0
        for i in range(first, last, LANES):
            count = min(LANES, last - i)
            gather(x, i, count, classes, inner, t)
            for r in range(LANES):
                own[r], w[r] = T(0), T(1)
            ignored = 0
            for r in range(count):
                label = labels[i + r]
                if label == ignore_index:
                    ignored += 1
                else:
                    own[r] = t[label * LANES + r]
                    if weight.size:
                        w[r] = weight[label]
            label_terms(t, classes, work, rest, scale)
            if ignored:
                for r in range(count):
                    if labels[i + r] == ignore_index:  # its logits may be anything, nan too
                        losses[r], factor[r], own[r] = T(0), T(0), T(0)
                        for j in range(classes):
                            t[j * LANES + r] = T(0)
            for r in range(count, LANES):
                losses[r] = T(0)
            vector_map(_add, (losses, summed), 0, LANES, (summed,), 0, ())
            if loss.size:
                for r in range(count):
                    loss[i + r] = losses[r]
            if with_grad:
                for j in range(classes):
                    lane = lane_block(t, j)
                    vector_map(_product, (lane, factor), 0, LANES, (lane,), 0, ())
                for r in range(count):
                    label = labels[i + r]
                    if label != ignore_index:
                        t[label * LANES + r] = own[r]
                scatter(t, i, count, classes, inner, grad)
        return total(summed)

    @scalar
    def many(x, labels, weight, first, last, classes, inner, ignore_index, scale, loss, with_grad, grad):
        T, same = x.dtype.type, x.ctypes.data == grad.ctypes.data
        work, wide = stack_array(x.dtype, WORK), stack_array(np.float64, LANES)
        tile = np.empty(tile_size(classes, inner, same), T)
        result, e_row = np.empty(tile_size(classes, inner, False), T), np.empty(classes, T)
        summed = 0.0
        for i in range(first, last):
            x_row = row_at(x, i, first, last, classes, inner, same, tile)
            g_row = result_at(grad, i, first, classes, inner, result) if with_grad else e_row
            label, value = labels[i], T(0)
            if label == ignore_index:
                for j in range(classes):
                    g_row[j] = T(0)
            else:
                w, own = weight[label] if weight.size else T(1), x_row[label]
                top, others = row_sums_kept(x_row, e_row, g_row, work, wide)
                others = rows.finite(top, others)
                value = w * rows.nll(own, top, rows.logarithm(T, others))
                if with_grad:
                    factor = T(np.float64(w) * scale / (1.0 + others))
                    fill(_product, (e_row,), 0, classes, g_row, (factor,), False)
                    g_row[label] = T(np.float64(w) * scale * rows.label_slope(exp_minus(top - own), own == top, others))
            summed += np.float64(value)
            if loss.size:
                loss[i] = value
            if with_grad:
                put_results(result, i, first, last, classes, inner, grad)
        return summed

    rows_of_block = many if long else few

    def loop(x, labels, weight, n, classes, inner, ignore_index, mean, loss, with_grad, grad):
        bad = bad_label(labels, classes, ignore_index, True)
        if bad >= 0:
            return bad, x.dtype.type(0)
        if with_grad and _overlaps(x, labels, weight, grad):
            return OVERLAP, x.dtype.type(0)
        scale = _scale(mean, labels, weight, ignore_index)
        block = block_of(classes, inner)
        sums = np.empty((n + block - 1) // block)
        for k in prange(sums.size):
            sums[k] = rows_of_block(
                x, labels, weight, k * block, min((k + 1) * block, n), classes, inner, ignore_index, scale,
                loss, with_grad, grad,
            )  # fmt: skip
        value = 0.0
        for k in range(sums.size):
            value += sums[k]
        return -1, x.dtype.type(value * scale)

    return Loop(loop, name=f"cross_entropy_{'long' if long else 'short'}_rows")


@functools.cache
def nll() -> Loop:
    """The same for nll_loss: ``loop(work, x, labels, weight, n, classes, inner, ignore_index, mean, loss,
    with_grad, grad)``.
    """

    def loop(x, labels, weight, n, classes, inner, ignore_index, mean, loss, with_grad, grad):
        T = x.dtype.type
        bad = bad_label(labels, classes, ignore_index, True)
        if bad >= 0:
            return bad, x.dtype.type(0)
        if with_grad and _overlaps(x, labels, weight, grad):
            return OVERLAP, x.dtype.type(0)
        scale = _scale(mean, labels, weight, ignore_index)
        total, rest = 0.0, 0.0
        for i in range(n):
            label, value = labels[i], T(0)
            if label != ignore_index:
                w = weight[label] if weight.size else T(1)
                value = -w * x[i // inner * classes * inner + label * inner + i % inner]
            total, rounding = two_sum(total, np.float64(value))
            rest += rounding
            if loss.size:
                loss[i] = value
        if with_grad:
            for k in prange((grad.size + 16_383) // 16_384):
                piece = grad[k * 16_384 : (k + 1) * 16_384]
                for j in range(piece.size):
                    piece[j] = T(0)
            for i in range(n):
                label = labels[i]
                if label != ignore_index:
                    w = weight[label] if weight.size else T(1)
                    place = i // inner * classes * inner + label * inner + i % inner
                    grad[place] = T(np.float64(-w) * scale)
        return -1, x.dtype.type(_whole(total, rest) * scale)

    return Loop(loop, name="nll_rows")


@functools.cache
def soft_cross_entropy(with_grad: bool) -> Loop:
    """The same with a weight for every class of every row, ``q``; rows with ``skip`` count nothing. Arrays of
    shape (rows, classes).
    """
    value, derivative = rows.soft_cross_entropy, rows.d_soft_cross_entropy

    def value_loop(x, q, skip, loss):
        for i in prange(x.shape[0]):
            loss[i] = x.dtype.type(0) if skip[i] else value(x[i], q[i])

    def grad_loop(x, q, skip, loss, scale, grad):
        for i in prange(x.shape[0]):
            if skip[i]:
                loss[i] = x.dtype.type(0)
                grad[i, :] = x.dtype.type(0)
            else:
                loss[i] = value(x[i], q[i])
                derivative(x[i], q[i], scale, grad[i])

    return (
        Loop(grad_loop, name="soft_cross_entropy_and_grad_rows")
        if with_grad
        else Loop(value_loop, name="soft_cross_entropy_rows")
    )


@functools.cache
def first_bad_label() -> Loop:
    """``loop(work, labels, classes, ignore_index, exempt)``: index of the first label outside 0..classes − 1
    (``exempt``: or ignore_index), or −1.
    """

    def loop(labels, classes, ignore_index, exempt):
        return bad_label(labels, classes, ignore_index, exempt)

    return Loop(loop, name="first_bad_label")
