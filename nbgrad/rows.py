"""Functions of a whole row (1-D array), with their derivatives directly below: softmax, log_softmax,
logsumexp, cross-entropy, maxout.

Like `nbgrad.formulas`, but they write into arrays: the last arguments are the results. Shared by CPU loops
and compiled user code.

Every softmax here is taken of x − max, with the rounding error of that subtraction put back (it alone costs
4e-6 on small entries), and from two sums, the entries equal to the maximum counted exactly and the others
added up: ln Σ e^(x − max) = log1p(count − 1 + rest) keeps its digits when one entry dominates. Sums are made
in float64: in float32 a row of 50 000 entries would lose 2 digits. Where an entry is left out of a sum it is
multiplied by 0: a branch would keep LLVM from vectorising the loop (3 to 7 times slower).
"""

from __future__ import annotations

import numpy as np

from nbgrad.elementary import exp, log1p
from nbgrad.jit import row, scalar


@scalar
def maximum(x):
    """The largest entry; nan entries are passed over (they come back with every sum)."""
    largest = -x.dtype.type(np.inf)
    for j in range(x.size):
        largest = x[j] if x[j] > largest else largest
    return largest


@scalar
def shifted_exp(x, largest):
    """(e^(x − max), x − max), the first with the subtraction's rounding error put back; (0, −inf) for x =
    −inf.
    """
    T = type(x)
    d = x - largest
    b = d + largest
    error = (x - b) + ((b - d) - largest)
    e = exp(d)
    return (e + e * error if d > -T(np.inf) else e), d


@row
def exp_sums(x, largest):
    """(count − 1, rest): how many more entries than one equal the maximum, and the sum of e^(x − max) over
    the others.
    """
    T = x.dtype.type
    count, rest = -1.0, 0.0
    for j in range(x.size):
        e, d = shifted_exp(x[j], largest)
        top = T(d == T(0))
        count += np.float64(top)
        rest += np.float64(e * (T(1) - top))
    return T(count), T(rest)


@scalar
def logsumexp(x):
    """ln Σ eˣ = max + log1p(count − 1 + rest); −inf for an empty row or one of −inf only; +inf if there is
    one.
    """
    largest = maximum(x)
    if x.size == 0 or largest == x.dtype.type(np.inf):
        return largest
    if largest == -x.dtype.type(np.inf):
        count, rest = exp_sums(x, x.dtype.type(0))  # nan if there is one
        return largest + rest
    count, rest = exp_sums(x, largest)
    return largest + log1p(count + rest)


@scalar
def softmax(x, y):
    """y = eˣ/Σ eˣ"""
    T = x.dtype.type
    largest = maximum(x)
    count, rest = exp_sums(x, largest)
    scale = T(1) / (T(1) + count + rest)
    for j in range(x.size):
        y[j] = shifted_exp(x[j], largest)[0] * scale


@row
def softmax_backward(grad_output, y, grad_x):
    """∂/∂xⱼ = yⱼ(gⱼ − Σₖ gₖyₖ)"""
    T = y.dtype.type
    total = 0.0
    for j in range(y.size):
        total += np.float64(grad_output[j]) * np.float64(y[j])
    for j in range(y.size):
        grad_x[j] = y[j] * (grad_output[j] - T(total))


@scalar
def log_softmax(x, y):
    """y = (x − max) − ln Σ e^(x − max)"""
    largest = maximum(x)
    count, rest = exp_sums(x, largest)
    log_sum = log1p(count + rest)
    for j in range(x.size):
        y[j] = (x[j] - largest) - log_sum


@row
def log_softmax_backward(grad_output, y, grad_x):
    """∂/∂xⱼ = gⱼ − e^(yⱼ) Σₖ gₖ"""
    T = y.dtype.type
    total = 0.0
    for j in range(y.size):
        total += np.float64(grad_output[j])
    for j in range(y.size):
        grad_x[j] = grad_output[j] - exp(y[j]) * T(total)


@scalar
def surprise(x, largest, log_sum):
    """−ln softmax = log_sum + (max − x): two numbers ≥ 0. (In a `row` function LLVM would add max to log_sum
    first, and lose 772 ulp.)
    """
    return log_sum + (largest - x)


@scalar
def cross_entropy(x, label):
    """−ln softmax(x)[label] = ln Σ e^(x − max) + (max − x[label]): a sum of two numbers ≥ 0."""
    largest = maximum(x)
    count, rest = exp_sums(x, largest)
    return surprise(x[label], largest, log1p(count + rest))


@row
def d_cross_entropy(x, label, scale, grad):
    """grad = scale·(softmax(x) − onehot(label)); returns `cross_entropy`.

    The label's own entry is −(the sum of the others): p − 1 would lose every digit when p → 1.
    """
    T = x.dtype.type
    largest = maximum(x)
    count, rest, others = -1.0, 0.0, 0.0
    for j in range(x.size):
        e, d = shifted_exp(x[j], largest)
        grad[j] = e
        top = T(d == T(0))
        count += np.float64(top)
        rest += np.float64(e * (T(1) - top))
        others += np.float64(e * T(j != label))
    factor = scale / (T(1) + T(count) + T(rest))
    for j in range(x.size):
        grad[j] *= factor
    grad[label] = -T(others) * factor
    return surprise(x[label], largest, log1p(T(count) + T(rest)))


@row
def soft_cross_entropy(x, q):
    """−Σ qⱼ ln softmax(x)ⱼ for any weights q ≥ 0 (class probabilities, label smoothing, class weights); a
    term with qⱼ = 0 is absent.
    """
    T = x.dtype.type
    largest = maximum(x)
    count, rest = exp_sums(x, largest)
    log_sum = log1p(count + rest)
    total = 0.0
    for j in range(x.size):
        total += np.float64(T(0) if q[j] == T(0) else q[j] * surprise(x[j], largest, log_sum))
    return T(total)


@row
def d_soft_cross_entropy(x, q, scale, grad):
    """gradⱼ = scale·(pⱼ Σₖ qₖ − qⱼ) with p = softmax(x).

    For the largest p as (its share of the others' q) − qⱼ·(the others' p): nothing cancels when p → 1 and qⱼ
    → Σ q.
    """
    T = x.dtype.type
    largest = maximum(x)
    top = 0
    for j in range(x.size):
        if x[j] == largest:
            top = j
            break
    others, other_q = 0.0, 0.0
    for j in range(x.size):
        e = shifted_exp(x[j], largest)[0]
        grad[j] = e
        others += np.float64(e * T(j != top))
        other_q += np.float64(q[j] * T(j != top))
    factor = T(1) / (T(1) + T(others))
    total_q = q[top] + T(other_q)
    for j in range(x.size):
        grad[j] = scale * (grad[j] * factor * total_q - q[j])
    grad[top] = scale * (factor * T(other_q) - q[top] * (T(others) * factor))


@scalar
def maxout(x):
    """(max, index of the first maximum); a nan entry wins, as everywhere."""
    index = 0
    for j in range(1, x.size):
        if x[j] > x[index] or (x[j] != x[j] and x[index] == x[index]):
            index = j
    return x[index], index
