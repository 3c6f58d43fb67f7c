"""What distinguishes the regression models: how scores in the lanes become residuals, and which targets there are."""

from __future__ import annotations

import functools

from nbgrad.cpu.label_terms import label_terms
from nbgrad.cpu.lanes import LANES, lane_block
from nbgrad.cpu.regression.one_pass import Terms
from nbgrad.formulas.regression import SCORE_MODELS
from nbgrad.formulas.row import ScoreModel
from nbgrad.formulas.softmax import softmax_backward_entry, softmax_backward_term
from nbgrad.jit import outlined, scalar
from nbgrad.jit.memory import move, unchecked_view
from nbgrad.jit.vector_map import vector_map

__all__ = ["terms_of"]


@scalar
def _product(a, b):
    return a * b


@scalar
def _change(u, kept, w, intercept):
    T = type(u)
    return T(0) if w == T(0) else kept * (u + intercept)


def _of_numbers(row: ScoreModel) -> Terms:
    """One score a row, a target that is a number."""
    f, df, d2f, is_target = row.loss, row.derivative, row.second_derivative, row.is_target

    # a row of weight 0 is absent, even where its loss is infinite
    @scalar
    def slope_and_loss(score, target, w, intercept, *parameters):
        T, x = type(score), score + intercept
        absent = w == T(0)
        return T(0) if absent else w * df(x, target, *parameters), T(0) if absent else w * f(x, target, *parameters)

    @scalar
    def weighted_curvature(score, target, w, intercept, *parameters):
        T = type(score)
        return T(0) if w == T(0) else w * d2f(score + intercept, target, *parameters)

    @scalar
    def load(target, at, count, t):
        move(target, at, t, 0, count)
        for r in range(count, LANES):
            t[r] = t.dtype.type(0)

    @outlined
    def residuals(s, classes, intercept, target, at, count, w, parameters, work, rest):
        losses, t = lane_block(work, 1), lane_block(work, 2)
        load(target, at, count, t)
        vector_map(slope_and_loss, (s, t, w), 0, LANES, (s, losses), 0, (intercept[0], *parameters))

    @outlined
    def curvature(s, kept, classes, intercept, target, at, count, w, parameters, work, rest):
        t = lane_block(work, 2)
        load(target, at, count, t)
        vector_map(weighted_curvature, (s, t, w), 0, LANES, (kept,), 0, (intercept[0], *parameters))

    @outlined
    def hvp_residual(u, kept, classes, intercept, w, work):
        vector_map(_change, (u, kept, w), 0, LANES, (u,), 0, (intercept[0],))

    @outlined
    def bad_target(target, at, count, classes):
        wrong, t = 0, unchecked_view(target, at, count)
        for r in range(t.size):
            wrong += not is_target(t[r])
        if wrong:
            for r in range(t.size):
                if not is_target(t[r]):
                    return at + r
        return -1

    return Terms(f.__name__, residuals, curvature, hvp_residual, bad_target, matrix=False)


# Softmax


@scalar
def _own_and_weight(s, intercept, classes, label, at, count, w, work):
    """The intercepts are added; lane blocks 4 and 5 of ``work``, as `label_terms` wants them."""
    T, own, weight = s.dtype.type, lane_block(work, 4), lane_block(work, 5)
    for c in range(classes):
        b = intercept[c]
        for r in range(c * LANES, (c + 1) * LANES):
            s[r] += b
    for r in range(LANES):
        weight[r] = w[r]
        own[r] = s[label[at + r] * LANES + r] if r < count else T(0)


@outlined
def _residuals(s, classes, intercept, label, at, count, w, parameters, work, rest):
    T, losses, factor, own = s.dtype.type, lane_block(work, 1), lane_block(work, 2), lane_block(work, 4)
    _own_and_weight(s, intercept, classes, label, at, count, w, work)
    label_terms(s, classes, work, rest, 1.0)
    for r in range(LANES):
        if w[r] == T(0):  # absent, even where its scores are not finite
            losses[r], factor[r], own[r] = T(0), T(0), T(0)
            for c in range(classes):
                s[c * LANES + r] = T(0)
    for c in range(classes):
        lane = lane_block(s, c)
        vector_map(_product, (lane, factor), 0, LANES, (lane,), 0, ())
    for r in range(count):
        s[label[at + r] * LANES + r] = own[r]


@outlined
def _curvature(s, kept, classes, intercept, label, at, count, w, parameters, work, rest):
    """The probabilities."""
    T, factor = s.dtype.type, lane_block(work, 2)
    _own_and_weight(s, intercept, classes, label, at, count, w, work)
    label_terms(s, classes, work, rest, 1.0)
    for r in range(LANES):
        factor[r] = T(0) if w[r] == T(0) else T(1.0 / (1.0 + rest[r]))
    for c in range(classes):
        lane = lane_block(s, c)
        vector_map(_product, (lane, factor), 0, LANES, (lane_block(kept, c),), 0, ())


@scalar
def _likelier(p, u, best, reference):
    more = p > best
    return p if more else best, u if more else reference


@scalar
def _deviation(u, p, reference, mean):
    d = u - reference
    return d, mean + softmax_backward_term(d, p)


@scalar
def _class_change(d, p, mean, w):
    T = type(d)
    return T(0) if w == T(0) else softmax_backward_entry(d, w * p, mean)


@outlined
def _hvp_residual(u, kept, classes, intercept, w, work):
    """p_c(u_c − Σ p·u), of differences from the likeliest class's u: where one class is sure nothing cancels."""
    T, best, reference, mean = u.dtype.type, lane_block(work, 3), lane_block(work, 4), lane_block(work, 5)
    for r in range(LANES):
        best[r], reference[r], mean[r] = T(-1), T(0), T(0)
    for c in range(classes):
        b = intercept[c]
        for r in range(c * LANES, (c + 1) * LANES):
            u[r] += b
        p, lane = lane_block(kept, c), lane_block(u, c)
        vector_map(_likelier, (p, lane, best, reference), 0, LANES, (best, reference), 0, ())
    for c in range(classes):
        lane = lane_block(u, c)
        vector_map(_deviation, (lane, lane_block(kept, c), reference, mean), 0, LANES, (lane, mean), 0, ())
    for c in range(classes):
        lane = lane_block(u, c)
        vector_map(_class_change, (lane, lane_block(kept, c), mean, w), 0, LANES, (lane,), 0, ())


@outlined
def _bad_label(label, at, count, classes):
    wrong, t = 0, unchecked_view(label, at, count)
    for r in range(t.size):
        wrong += (t[r] < 0) | (t[r] >= classes)
    if wrong:
        for r in range(t.size):
            if t[r] < 0 or t[r] >= classes:
                return at + r
    return -1


@functools.cache
def terms_of(model: str) -> Terms:
    if model == "softmax":
        return Terms("softmax", _residuals, _curvature, _hvp_residual, _bad_label, matrix=True)
    return _of_numbers(SCORE_MODELS[model])
