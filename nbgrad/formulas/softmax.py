"""softmax, log_softmax, logsumexp: functions of a whole row, from the sums of `nbgrad.formulas.rows`, each with its
derivative, from the result, directly below.

The formulas of one entry, and of what a row's sums make of it, are what the loops of both devices take, many rows at a
time; the functions of a row are for compiled user code. A row function without such formulas (``sums``) may be added:
loops over its rows run it as it is.
"""

from __future__ import annotations

import numpy as np

from nbgrad.elementary.division import quotient_one_plus
from nbgrad.elementary.exponential import exp_minus
from nbgrad.formulas.row import OfSums, RowFunction
from nbgrad.formulas.rows import finite, logarithm, maximum, other_sum, shifted_exp
from nbgrad.jit import reassociating, scalar


@scalar
def softmax_terms(T, largest, others):
    """What `softmax_entry` needs of the row."""
    W = type(others)
    return T(0), T(quotient_one_plus(W(1), finite(largest, others)))


@scalar
def softmax_entry(e, _, scale):
    """y, from e^(x − max)"""
    return e * scale


@scalar
def softmax_backward_term(grad_output, y):
    """What is summed over the row."""
    return grad_output * y


@scalar
def softmax_backward_entry(grad_output, y, total):
    return y * (grad_output - total)


@scalar
def softmax(x, y):
    """y = eˣ/Σ eˣ"""
    largest = maximum(x)
    others = other_sum(x, largest)
    zero, scale = softmax_terms(x.dtype.type, largest, others)
    for j in range(x.size):
        y[j] = softmax_entry(exp_minus(largest - x[j]), zero, scale)


@reassociating
def softmax_backward(grad_output, y, grad_x):
    """∂/∂xⱼ = yⱼ(gⱼ − Σₖ gₖyₖ)"""
    total = 0.0
    for j in range(y.size):
        total += np.float64(softmax_backward_term(grad_output[j], y[j]))
    for j in range(y.size):
        grad_x[j] = softmax_backward_entry(grad_output[j], y[j], y.dtype.type(total))


@scalar
def log_softmax_terms(T, largest, others):
    """What `log_softmax_entry` needs of the row."""
    return largest, logarithm(T, finite(largest, others))


@scalar
def log_softmax_entry(x, largest, log_sum):
    """y, from x"""
    return (x - largest) - log_sum


@scalar
def log_softmax_backward_term(grad_output, y):
    """What is summed over the row."""
    return grad_output


@scalar
def log_softmax_backward_entry(grad_output, y, total):
    """e^y by `exp_minus`: y ≤ 0, being a logarithm of a probability."""
    return grad_output - exp_minus(-y) * total


@scalar
def log_softmax(x, y):
    """y = (x − max) − ln Σ e^(x − max)"""
    largest = maximum(x)
    others = other_sum(x, largest)
    largest, log_sum = log_softmax_terms(x.dtype.type, largest, others)
    for j in range(x.size):
        y[j] = log_softmax_entry(x[j], largest, log_sum)


@reassociating
def log_softmax_backward(grad_output, y, grad_x):
    """∂/∂xⱼ = gⱼ − e^(yⱼ) Σₖ gₖ"""
    total = 0.0
    for j in range(y.size):
        total += np.float64(log_softmax_backward_term(grad_output[j], y[j]))
    for j in range(y.size):
        grad_x[j] = log_softmax_backward_entry(grad_output[j], y[j], y.dtype.type(total))


@scalar
def logsumexp_of(largest, others):
    """max + ln Σ e^(x − max): for an infinite maximum the maximum, or nan if there is a nan."""
    return largest + logarithm(type(largest), others)


@scalar
def logsumexp_slope_terms(T, largest, others):
    """The same for the derivative of logsumexp: where the maximum is +inf, the entries that are have equal shares."""
    W = type(others)
    others = W(np.nan) if largest == -T(np.inf) else others
    return T(0), T(quotient_one_plus(W(1), others))


@scalar
def logsumexp_backward_entry(e, _, scale, grad_output):
    """From e^(x − max) and `logsumexp_slope_terms`."""
    return softmax_entry(e, _, scale) * grad_output


@scalar
def logsumexp(x):
    """ln Σ eˣ = max + log1p(count − 1 + rest); −inf for an empty row or one of −inf only; +inf if there is
    one; nan if there is one, beside an infinity, too.
    """
    largest = maximum(x)
    return logsumexp_of(largest, other_sum(x, largest))


@scalar
def logsumexp_slopes(x, y):
    """∂/∂xⱼ = softmax(x)ⱼ; [0, 1] at [0, ∞]"""
    largest = maximum(x)
    zero, scale = logsumexp_slope_terms(x.dtype.type, largest, other_sum(x, largest))
    for j in range(x.size):
        y[j] = softmax_entry(shifted_exp(x[j], largest)[0], zero, scale)


ROWS: tuple[RowFunction, ...] = (
    RowFunction(
        softmax, softmax_backward,
        OfSums(softmax_terms, softmax_entry, softmax_backward_term, softmax_backward_entry, of_exp=True),
    ),
    RowFunction(
        log_softmax, log_softmax_backward,
        OfSums(log_softmax_terms, log_softmax_entry, log_softmax_backward_term, log_softmax_backward_entry),
    ),
)  # fmt: skip
