"""Row functions become loops over the rows of contiguous 2-D arrays, serial and parallel. Each row is one
thread's alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from numba import prange

from nbgrad import rows
from nbgrad.jit import Loop

__all__ = [
    "backward",
    "cross_entropy",
    "first_bad_label",
    "forward",
    "maxout",
    "maxout_backward",
    "reduce",
    "soft_cross_entropy",
]


@functools.cache
def forward(f: Callable[..., Any]) -> Loop:
    """``loop(work, x, y)``: f(x row, y row)."""

    def loop(x, y):
        for i in prange(x.shape[0]):
            f(x[i], y[i])

    return Loop(loop, name=f.__name__ + "_rows")


@functools.cache
def backward(df: Callable[..., Any]) -> Loop:
    """``loop(work, grad_output, y, grad_x)``: df(row, row, row)."""

    def loop(grad_output, y, grad_x):
        for i in prange(y.shape[0]):
            df(grad_output[i], y[i], grad_x[i])

    return Loop(loop, name=df.__name__ + "_rows")


@functools.cache
def reduce(f: Callable[..., Any]) -> Loop:
    """``loop(work, x, y)``: y[i] = f(x row)."""

    def loop(x, y):
        for i in prange(x.shape[0]):
            y[i] = f(x[i])

    return Loop(loop, name=f.__name__ + "_rows")


@functools.cache
def cross_entropy(with_grad: bool) -> Loop:
    """``loop(work, x, label, weight, ignore_index, scale, loss[, grad])``: class labels; the loss of a row is
    not scaled.
    """
    value, value_and_grad = rows.cross_entropy, rows.d_cross_entropy

    def value_loop(x, label, weight, ignore_index, loss):
        for i in prange(x.shape[0]):
            t = label[i]
            w = weight[t] if weight.size and t != ignore_index else x.dtype.type(1)
            loss[i] = x.dtype.type(0) if t == ignore_index else w * value(x[i], t)

    def grad_loop(x, label, weight, ignore_index, loss, scale, grad):
        for i in prange(x.shape[0]):
            t = label[i]
            w = weight[t] if weight.size and t != ignore_index else x.dtype.type(1)
            if t == ignore_index:
                loss[i] = x.dtype.type(0)
                grad[i, :] = x.dtype.type(0)
            else:
                loss[i] = w * value_and_grad(x[i], t, w * scale, grad[i])

    return (
        Loop(grad_loop, name="cross_entropy_and_grad_rows")
        if with_grad
        else Loop(value_loop, name="cross_entropy_rows")
    )


@functools.cache
def soft_cross_entropy(with_grad: bool) -> Loop:
    """The same with a weight for every class of every row, ``q``; rows with ``skip`` count nothing."""
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
    """``loop(work, label, num_classes, ignore_index)``: index of the first label outside 0..num_classes − 1,
    or −1.
    """

    def loop(label, num_classes, ignore_index):
        for i in range(label.size):
            if (label[i] < 0 or label[i] >= num_classes) and label[i] != ignore_index:
                return i
        return -1

    return Loop(loop, name="first_bad_label")


@functools.cache
def maxout() -> Loop:
    """``loop(work, x, y, index)``: rows are the groups of pieces."""
    f = rows.maxout

    def loop(x, y, index):
        for i in prange(x.shape[0]):
            y[i], index[i] = f(x[i])

    return Loop(loop, name="maxout_rows")


@functools.cache
def maxout_backward() -> Loop:
    """``loop(work, grad_output, index, grad_x)``: each group's gradient goes to the piece that won, 0 to the
    others.
    """

    def loop(grad_output, index, grad_x):
        for i in prange(grad_x.shape[0]):
            for j in range(grad_x.shape[1]):
                grad_x[i, j] = grad_output[i] if j == index[i] else grad_output.dtype.type(0)

    return Loop(loop, name="maxout_backward_rows")
