"""The one pass over X that every regression objective makes, forward and backward.

A range of rows is one thread's. It goes through them in blocks that stay in the cache: scores of the block
(`nbgrad.cpu.regression.products`) in the lanes of `nbgrad.cpu.lanes`; loss and residual, its derivative in the score;
the residuals' product with the block, added to the gradient. Sums over rows are made lane by lane, block by block, in
the precision of the products, and every `FLUSH` rows added up in float64. The ranges follow from the shapes alone, and
their sums are added in order: the same bits for any number of threads.

`value_and_grad` makes the sum of the losses and its gradient, `hessian_product` the product of its Hessian with a
vector, `scores` the scores alone: predictions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from nbgrad.cpu.lanes import LANES, WORK, lane_block
from nbgrad.cpu.regression.products import add_matrix, add_rows, dot_matrix, dot_rows
from nbgrad.jit import Loop, scalar
from nbgrad.jit.memory import move, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = [
    "FLUSH", "Terms", "first_bad_target", "hessian_product", "of_scores", "scores", "value_and_grad", "wide_size",
    "work_size",
]  # fmt: skip

#: Rows whose gradient is summed up in the precision of the products: 10 000 of them would cost float32 a digit.
FLUSH = 512


@dataclass(frozen=True, eq=False)
class Terms:
    """What distinguishes the models. Scores, residuals and all that a block of rows has lie in lane blocks, one for
    each class. ``parameters`` are the model's own, a tuple; ``work`` has `WORK` numbers of scratch, ``rest`` a lane
    block of float64.

    * ``residuals(s, classes, intercept, target, at, count, w, parameters, work, rest)``: scores become residuals,
      weighted with w; the losses, weighted too, are left in block 1 of work.
    * ``curvature(s, kept, classes, intercept, target, at, count, w, parameters, work, rest)``: what `hvp_residual`
      needs of the scores.
    * ``hvp_residual(u, kept, classes, intercept, w, work)``: scores u of a direction become the residuals' change.
    * ``bad_target(target, at, count, classes)``: the place of the first target that there cannot be, or −1.
    * ``matrix``: whether a row of X has a score for each class.
    """

    name: str
    residuals: Callable[..., Any]
    curvature: Callable[..., Any]
    hvp_residual: Callable[..., Any]
    bad_target: Callable[..., Any]
    matrix: bool


def work_size(classes: int, w_step: int) -> int:
    """Numbers of scratch a range needs in the precision of the products, beside those of a converted block."""
    return WORK + LANES + classes * (2 * LANES + w_step)


def wide_size(classes: int, w_step: int) -> int:
    """Numbers it needs in float64: lane blocks of scratch, of losses and of each class's residuals; the gradient."""
    return 2 * LANES + classes * (LANES + w_step)


@scalar
def _same(x):
    return x


@scalar
def _add(a, b):
    return np.float64(a) + b


@scalar
def _in_place(x, buffer, i, count, features, step):
    return x, i * step, step


@scalar
def _converted(x, buffer, i, count, features, step):
    vector_map(_same, (x,), i * features, count * features, (buffer,), 0, ())
    return buffer, 0, features


@scalar
def _fill_weights(count, weights):
    T = weights.dtype.type
    for r in range(LANES):
        weights[r] = T(1) if r < count else T(0)


@scalar
def _load_weights(weight, i, count, weights):
    _fill_weights(count, weights)
    if weight.size:
        move(weight, i, weights, 0, count)


def _pass(terms: Terms, convert: bool, middle: Callable[..., Any], name: str) -> Loop:
    """``loop(x, features, step, rows, first, last, since, end, target, weight, coefficients, w_step, kept, have, work,
    wide)``: over rows first..last − 1, taken ``rows`` ≤ `LANES` at a time. Returns the place of a bad target, or −1.

    A range may come in parts, of whole blocks but for the last: ``since``, the rows of parts before that are not summed
    up in float64 yet (so many of a whole number of `FLUSH` // ``rows`` blocks remain), and ``end``, whether this is the
    last part. The sums are those of the range in one part.

    ``x``: flat, row i at i·step; with ``convert`` its rows are contiguous and of another dtype than the coefficients:
    (w, intercept, v, v_intercept, parameters), w and v with rows of ``w_step`` numbers, flat. ``weight`` may be empty.
    ``work`` is scratch, to ``wide`` the range's sums are added. ``kept``: what depends on w alone, a lane block
    for each class of each block of rows, or of one where it is not to be kept; with ``have`` it is there already.
    """
    rows_of, bad_target, matrix = _converted if convert else _in_place, terms.bad_target, terms.matrix

    def loop(
        x, features, step, rows, first, last, since, end, target, weight, coefficients, w_step, kept, have, work, wide
    ):
        T = work.dtype.type
        classes = coefficients[1].size
        weights, start = unchecked_view(work, WORK, LANES), WORK + LANES
        s = unchecked_view(work, start, 2 * classes * LANES)
        g = unchecked_view(work, start + 2 * classes * LANES, classes * w_step)
        start += classes * (2 * LANES + w_step)
        buffer = unchecked_view(work, start, work.size - start)
        rest, loss = lane_block(wide, 0), lane_block(wide, 1)
        slope = unchecked_view(wide, 2 * LANES, classes * LANES)
        gradient = unchecked_view(wide, (2 + classes) * LANES, classes * w_step)
        if since == 0:
            for j in range(g.size):
                g[j] = T(0)
        _fill_weights(LANES, weights)
        ahead = 0 if convert else rows * step
        for i in range(first, last, rows):
            count = min(rows, last - i)
            wrong = bad_target(target, i, count, classes)
            if wrong >= 0:
                return wrong
            if count < LANES or weight.size:
                _load_weights(weight, i, count, weights)
            block, at, apart = rows_of(x, buffer, i, count, features, step)
            place = (i - first) // rows * classes * LANES if kept.size > classes * LANES else 0
            here = unchecked_view(kept, place, classes * LANES)
            x_rows, y_rows = (block, at, apart, features), (target, i, count, weights)
            middle(x_rows, y_rows, coefficients, w_step, here, have, s, work, rest)
            vector_map(_add, (lane_block(work, 1), loss), 0, LANES, (loss,), 0, ())
            vector_map(_add, (s, slope), 0, classes * LANES, (slope,), 0, ())
            if matrix:
                add_matrix(block, at, apart, count, features, s, g, w_step, classes, ahead)
            else:
                add_rows(block, at, apart, count, features, s, g, ahead)
            since += rows
            if since + rows > FLUSH or (end and i + rows >= last):
                since = 0
                vector_map(_add, (g, gradient), 0, g.size, (gradient,), 0, ())
                for j in range(g.size):
                    g[j] = T(0)
        return -1

    return Loop(loop, name=f"{terms.name}_{name}{'_converted' if convert else ''}")


def _scores(matrix: bool) -> Callable[..., Any]:
    @scalar
    def scores(x_rows, count, w, w_step, classes, s, start, ahead):
        block, at, step, features = x_rows
        s = unchecked_view(s, start, classes * LANES)
        for j in range(s.size):
            s[j] = s.dtype.type(0)
        if matrix:
            dot_matrix(block, at, step, count, features, w, w_step, classes, s)
        else:
            dot_rows(block, at, step, count, features, w, s, ahead)
        return s

    return scores


@functools.cache
def first_bad_target(terms: Terms) -> Loop:
    """``loop(target, classes)``: its place, or −1."""
    bad_target = terms.bad_target

    def loop(target, classes):
        return bad_target(target, 0, target.size, classes)

    return Loop(loop, name=f"{terms.name}_first_bad_target")


@functools.cache
def value_and_grad(terms: Terms, convert: bool) -> Loop:
    """See `_pass`; v, v_intercept, kept and have are not used."""
    scores, residuals = _scores(terms.matrix), terms.residuals

    @scalar
    def middle(x_rows, y_rows, coefficients, w_step, kept, have, s, work, rest):
        w, intercept, _, _, parameters = coefficients
        target, i, count, weights = y_rows
        scores(x_rows, count, w, w_step, intercept.size, s, 0, 0)
        residuals(s, intercept.size, intercept, target, i, count, weights, parameters, work, rest)

    return _pass(terms, convert, middle, "value_and_grad")


@functools.cache
def hessian_product(terms: Terms, convert: bool) -> Loop:
    """The Hessian's product with v, v_intercept: see `_pass`."""
    scores, curvature, hvp_residual = _scores(terms.matrix), terms.curvature, terms.hvp_residual

    @scalar
    def middle(x_rows, y_rows, coefficients, w_step, kept, have, s, work, rest):
        w, intercept, v, v_intercept, parameters = coefficients
        target, i, count, weights = y_rows
        classes = intercept.size
        if not have:
            t = scores(x_rows, count, w, w_step, classes, s, classes * LANES, 0)
            curvature(t, kept, classes, intercept, target, i, count, weights, parameters, work, rest)
        u = scores(x_rows, count, v, w_step, classes, s, 0, 0)
        hvp_residual(u, kept, classes, v_intercept, weights, work)

    return _pass(terms, convert, middle, "hessian_product")


@functools.cache
def scores(matrix: bool) -> Loop:
    """``loop(x, features, step, first, last, to, ahead, w, w_step, intercept, out)``: scores of rows first..last − 1 of
    x, with their intercepts, to out[to·classes], ..., row by row. A row's depend on its numbers alone. Where
    there is one score a row, memory is asked for what lies ``ahead`` (0: it is in the cache).
    """
    scores_of = _scores(matrix)

    def loop(x, features, step, first, last, to, ahead, w, w_step, intercept, out):
        classes = intercept.size
        s = np.empty(classes * LANES, out.dtype)
        for i in range(first, last, LANES):
            count, at = min(LANES, last - i), (to + i - first) * classes
            scores_of((x, i * step, step, features), count, w, w_step, classes, s, 0, ahead)
            for c in range(classes):
                for r in range(count):
                    out[at + r * classes + c] = s[c * LANES + r] + intercept[c]

    return Loop(loop, name="scores_matrix" if matrix else "scores")


@functools.cache
def of_scores(terms: Terms, hessian: bool) -> Loop:
    """``loop(scores, u, n, target, weight, intercept, v_intercept, parameters, work, wide)``: what is between the
    products, for a matrix X that others multiply. ``scores`` (classes, n), flat, become residuals; with ``hessian`` the
    scores ``u`` of a direction become the change of the residuals. The sums are added to ``wide``.
    """
    residuals, curvature, hvp_residual, bad_target = (
        terms.residuals, terms.curvature, terms.hvp_residual, terms.bad_target
    )  # fmt: skip

    @scalar
    def of_values(s, u, classes, intercept, v_intercept, target, i, count, weights, parameters, work, rest):
        residuals(s, classes, intercept, target, i, count, weights, parameters, work, rest)
        return s

    @scalar
    def of_products(s, u, classes, intercept, v_intercept, target, i, count, weights, parameters, work, rest):
        curvature(s, s, classes, intercept, target, i, count, weights, parameters, work, rest)
        hvp_residual(u, s, classes, v_intercept, weights, work)
        return u

    middle = of_products if hessian else of_values

    def loop(scores, u, n, target, weight, intercept, v_intercept, parameters, work, wide):
        classes = intercept.size
        weights, size = unchecked_view(work, WORK, LANES), classes * LANES
        s, t = unchecked_view(work, WORK + LANES, size), unchecked_view(work, WORK + LANES + size, size)
        rest, loss, slope = lane_block(wide, 0), lane_block(wide, 1), unchecked_view(wide, 2 * LANES, size)
        wrong = bad_target(target, 0, n, classes)
        if wrong >= 0:
            return wrong
        for i in range(0, n, LANES):
            count = min(LANES, n - i)
            _load_weights(weight, i, count, weights)
            for c in range(classes):
                move(scores, c * n + i, s, c * LANES, count)
                if hessian:
                    move(u, c * n + i, t, c * LANES, count)
            result = middle(s, t, classes, intercept, v_intercept, target, i, count, weights, parameters, work, rest)
            vector_map(_add, (lane_block(work, 1), loss), 0, LANES, (loss,), 0, ())
            vector_map(_add, (result, slope), 0, size, (slope,), 0, ())
            for c in range(classes):
                move(result, c * LANES, u if hessian else scores, c * n + i, count)
        return -1

    return Loop(loop, name=f"{terms.name}_{'hessian_product' if hessian else 'value_and_grad'}_of_scores")
