"""What a row's scores and its target make of each other on CUDA: (loss, residual) in each lane of its row and class, or
the change of the residual by a direction.

Used inside the one pass (`nbgrad.cuda.regression.one_pass`) and, where a row does not fit into registers, between two
matrix products.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from nbgrad.cuda import labels as cuda_labels
from nbgrad.cuda import rows as cuda_rows
from nbgrad.cuda.device import WARP, kernel, launch_each, module
from nbgrad.cuda.device.intrinsics import block, block_size, blocks, exchange, thread
from nbgrad.cuda.reduce import larger
from nbgrad.elementary.division import quotient_one_plus
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas import rows
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.formulas.softmax import softmax_backward_entry, softmax_backward_term
from nbgrad.jit import scalar

__all__ = [
    "check_targets", "label_terms", "number_terms", "parameters_of", "row_terms_of", "targets_kernel", "terms_kernel",
    "terms_of",
]  # fmt: skip


def _over_lanes(combine: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A function of (a lane's value, width): what ``combine`` makes of ``width`` lanes' values, in each."""
    pair = scalar(combine)

    @scalar
    def combined(value, width):
        distance = width // 2
        while distance > 0:
            value = pair(value, exchange(value, distance))
            distance //= 2
        return value

    return combined


_sum = _over_lanes(lambda own, other: own + other)
_largest = _over_lanes(lambda own, other: larger(other, own))
_first = _over_lanes(lambda own, other: other if other < own else own)


def _parameters_at(count: int) -> Callable[[Any, Any], Any]:
    """A function of (an array, a place): the tuple of ``count`` numbers from there."""
    if not count:
        return scalar(lambda numbers, at: ())
    before, last = _parameters_at(count - 1), count - 1
    return scalar(lambda numbers, at: (*before(numbers, at), numbers[at + last]))


def _number_terms(model: str, hessian: bool) -> Any:
    row = SCORE_MODELS[model]
    f, df, d2f, is_target = row.loss, row.derivative, row.second_derivative, row.is_target

    @scalar
    def is_good(target, classes):
        return is_target(target)

    @scalar
    def loss_and_residual(s, u, target, w, c, classes, class_lanes, parameters):
        return w * f(s, target, *parameters), w * df(s, target, *parameters)

    @scalar
    def hvp_residual(s, u, target, w, c, classes, class_lanes, parameters):
        return type(s)(0), w * d2f(s, target, *parameters) * u

    return is_good, hvp_residual if hessian else loss_and_residual


def _label_terms(hessian: bool) -> Any:
    @scalar
    def is_good(label, classes):
        return (label >= 0) & (label < classes)

    @scalar
    def sums(s, class_lanes):
        T = type(s)
        largest = _largest(s, class_lanes)
        d = largest - s  # nan where the maximum is infinite: `rows.finite` would cost the registers that there are not
        e = exp_minus(d)
        same, other = _sum(T(1) if d == T(0) else T(0), class_lanes), _sum(T(0) if d == T(0) else e, class_lanes)
        return largest, e, (same - T(1)) + other

    @scalar
    def loss_and_residual(s, u, label, w, c, classes, class_lanes, parameters):
        T = type(s)
        largest, e, others = sums(s, class_lanes)
        loss = w * rows.nll(s, largest, rows.logarithm(T, others))
        own, other = w * rows.label_slope(e, s == largest, others), e * quotient_one_plus(w, others)
        return loss if c == label else T(0), own if c == label else other

    @scalar
    def hvp_residual(s, u, label, w, c, classes, class_lanes, parameters):
        """p(u − Σ p·u), of differences from the likeliest class's u: where one class is sure nothing cancels."""
        T = type(s)
        largest, e, others = sums(s, class_lanes)
        p = e * quotient_one_plus(T(1), others)
        top = _first(c if s == largest else class_lanes, class_lanes)
        reference = _sum(u if c == top else T(0), class_lanes)
        d = u - reference if c < classes else T(0)
        mean = _sum(softmax_backward_term(d, p), class_lanes)
        return T(0), softmax_backward_entry(d, w * p, mean)

    return is_good, hvp_residual if hessian else loss_and_residual


def parameters_of(model: str) -> Callable[[Any, Any], Any]:
    """A function of (an array, a place): the tuple of the model's own parameters, which stand there."""
    return _parameters_at(len(SCORE_MODELS[model].parameters) if model in SCORE_MODELS else 0)


def terms_of(model: str, hessian: bool) -> Any:
    """(whether a target is good, (loss, residual) or, for the Hessian's product, (0, its change)) as compiled
    functions.
    """
    return _label_terms(hessian) if model == "softmax" else _number_terms(model, hessian)


# Where a thread has all classes of a row, and a table their scores


def row_terms_of(model: str, hessian: bool, tile: Any) -> Any:
    """(whether a target is good, the terms of a row) as compiled functions. ``terms(table, row, target, w, bad,
    parameters)``: its loss (0 for the Hessian's product); its residuals, or their changes, take the place of its
    scores in ``table``.
    """
    if model != "softmax":
        is_good, terms = _number_terms(model, hessian)
        behind = tile.scores if hessian else 0

        @scalar
        def number_row(table, row, target, w, bad, parameters):
            value, change = terms(table[row], table[behind + row], target, w, 0, 1, 1, parameters)
            table[row] = change
            return value

        return is_good, number_row
    is_good, classes, scores = _label_terms(hessian)[0], tile.classes, tile.scores

    @scalar
    def exponentials(table, row):
        """(largest score, sum of the others' e^(s − largest)); these take the scores' places."""
        largest = table[row]
        for c in range(1, classes):
            largest = larger(table[c * WARP + row], largest)
        T = type(largest)
        same, other = T(0), T(0)
        for c in range(classes):
            d = largest - table[c * WARP + row]  # as in `sums` above
            e = exp_minus(d)
            table[c * WARP + row] = e
            same += T(1) if d == T(0) else T(0)
            other += T(0) if d == T(0) else e
        return largest, (same - T(1)) + other

    @scalar
    def loss_and_residuals(table, row, label, w, bad, parameters):
        own = row if bad else label * WARP + row
        s = table[own]
        largest, others = exponentials(table, row)
        T = type(largest)
        slope, factor = w * rows.label_slope(table[own], s == largest, others), quotient_one_plus(w, others)
        for c in range(classes):
            table[c * WARP + row] *= factor
        table[own] = slope
        return w * rows.nll(s, largest, rows.logarithm(T, others))

    @scalar
    def hvp_residuals(table, row, label, w, bad, parameters):
        top, largest = 0, table[row]
        for c in range(1, classes):
            if table[c * WARP + row] > largest:
                top, largest = c, table[c * WARP + row]
        _, others = exponentials(table, row)
        T = type(largest)
        reference, share, mean = table[scores + top * WARP + row], quotient_one_plus(T(1), others), T(0)
        for c in range(classes):
            d = table[scores + c * WARP + row] - reference
            mean += softmax_backward_term(d, table[c * WARP + row] * share)
        for c in range(classes):
            d = table[scores + c * WARP + row] - reference
            table[c * WARP + row] = softmax_backward_entry(d, w * (table[c * WARP + row] * share), mean)
        return T(0)

    return is_good, hvp_residuals if hessian else loss_and_residuals


# What is between two matrix products


@functools.cache
def targets_kernel(model: str) -> Any:
    """``kernel(target, classes, flag)``: the place + 1 of a bad target goes to ``flag[0]``."""
    is_good, _ = terms_of(model, False)

    def run(target, classes, flag):
        i = block() * block_size() + thread()
        while i < target.size:
            if not is_good(target[i], classes):
                flag[0] = i + 1
            i += block_size() * blocks()

    return kernel(run)


@functools.cache
def terms_kernel(model: str, hessian: bool, dtype: Any) -> Any:
    """``kernel(s, u, target, weight, parameters, losses, residuals)`` for a model with one score a row."""
    T: Any = dtype.type
    is_good, terms = terms_of(model, hessian)
    own = parameters_of(model)
    nan = T(np.nan)

    def run(s, u, target, weight, parameters, losses, residuals):
        i = block() * block_size() + thread()
        while i < s.size:
            t, w = target[i], weight[i] if weight.size else T(1)
            value, change = terms(s[i], u[i], t, w, 0, 1, 1, own(parameters, 0))
            absent, bad = w == T(0), not is_good(t, 1)
            losses[i] = T(0) if absent else nan if bad else value
            residuals[i] = T(0) if absent else nan if bad else change
            i += block_size() * blocks()

    return kernel(run)


def check_targets(model: str, target: Any, classes: int, flag: Any) -> None:
    """`targets_kernel`"""
    launch_each(targets_kernel(model), target.size, target, classes, flag, per_processor=32)


def number_terms(
    model: str, scores: Any, target: Any, weight: Any, parameters: Any, losses: Any, residuals: Any
) -> None:
    """`terms_kernel` of scores (rows, 1), with a second array of a direction's."""
    flat = [a.reshape(-1) for a in (scores[0], scores[-1])]
    compiled = terms_kernel(model, len(scores) > 1, losses.dtype)
    arguments = *flat, target, weight, parameters, losses, residuals.reshape(-1)
    launch_each(compiled, losses.size, *arguments, per_processor=32)


def label_terms(scores: Any, target: Any, losses: Any) -> Any:
    """Softmax: the residuals, not weighted, ``losses`` filled; with scores of a direction the probabilities."""
    s, dtype = module().ascontiguousarray(scores[0]), losses.dtype
    out, none, flag = module().empty(s.shape, dtype), module().empty(0, dtype), module().zeros(1, np.int64)
    if len(scores) > 1:
        cuda_rows.run(cuda_rows.forward("softmax", dtype), (s.reshape(-1),), *s.shape, out.reshape(-1))
    else:
        before = (target, none, -(2**63), none, flag, s.reshape(-1))
        cuda_rows.run(cuda_labels.cross_entropy(True, dtype), before, *s.shape, losses, out.reshape(-1))
    return out
