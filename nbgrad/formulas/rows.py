"""Functions of a whole row (1-D array): what softmax and its kin are made of, cross-entropy, maxout, each with its
derivative directly below. On it `nbgrad.formulas.softmax`.

Like `nbgrad.formulas`, but they write into arrays: the last arguments are the results. Compiled user code
calls them; the loops of `nbgrad.cpu` go through many rows at a time, with the same formulas of one entry
and of a row's end, which stand first here.

Every softmax is taken of x − max, and from two sums, the entries equal to the maximum counted exactly and the
others added up: ln Σ e^(x − max) = log1p(count − 1 + rest) keeps its digits when one entry dominates.
(``others`` below is count − 1 + rest, the sum of e^(x − max) over all entries but one that is the maximum.)
The rounding of x − max stays in: half an ulp of that difference, a relative error of |x − max|·2⁻²⁴ in
float32. To put it back took 0.85 of 3.8 cycles an entry (float64: 3.6 of 9.8).

Sums are made in float64, in `nbgrad.cpu.lanes` of 4 float32 numbers at a time: in float32 a row of
50 000 entries would lose 2 digits. (CUDA's float32 kernels keep their rounding errors instead and hand over a float32
``others``: the formulas below take either.) Where an entry is left out of a sum 0 is added in its place: a branch
would keep LLVM from vectorising the loop (3 to 7 times slower).
"""

from __future__ import annotations

import numpy as np

from nbgrad.elementary import log1p
from nbgrad.elementary.division import quotient_one_plus
from nbgrad.elementary.exponential import exp_minus
from nbgrad.jit import reassociating, scalar

# Formulas of one entry, and of what a row's sums make of it


@scalar
def shifted_exp(x, largest):
    """(e^(x − max), its share of ``count``, its share of ``rest``). What equals the maximum is compared, not
    subtracted: it counts where both are infinite, too.
    """
    T = type(x)
    equal = x == largest
    e = exp_minus(T(0) if equal else largest - x)  # 1 where they are equal, without a branch around it
    return e, T(1) if equal else T(0), T(0) if equal else e


@scalar
def finite(largest, others):
    """``others`` of a softmax, which a row whose maximum is infinite does not have."""
    return others if abs(largest) != type(largest)(np.inf) else type(others)(np.nan)


@scalar
def logarithm(T, others):
    """ln Σ e^(x − max)"""
    return log1p(T(others))


@scalar
def nll(x, largest, log_sum):
    """−ln softmax = log_sum + (max − x): two numbers ≥ 0. (In a `reassociating` one LLVM would add max to log_sum
    first, and lose 772 ulp.)
    """
    return log_sum + (largest - x)


@scalar
def label_slope(e, is_largest, others):
    """∂/∂x[label] of the cross-entropy, p − 1 with p = softmax(x)[label], from e = e^(x[label] − max).

    Where the label is the maximum p − 1 would lose every digit when p → 1: it is −(the sum of the other
    probabilities). Elsewhere p ≤ ½.
    """
    W = type(others)
    share = quotient_one_plus(W(1), others)
    return -others * share if is_largest else W(e) * share - W(1)


@scalar
def soft_term(x, q, largest, log_sum):
    """−q·ln softmax; absent where q = 0."""
    T = type(q)
    return T(0) if q == T(0) else q * nll(x, largest, log_sum)


@scalar
def soft_slope(e, q, factor, total_q, scale):
    """scale·(p·Σq − q) with p = e·factor"""
    return scale * (e * factor * total_q - q)


@scalar
def top_soft_slope(q, others, other_q, factor, scale):
    """The same for the largest p: (its share of the others' q) − q·(the others' p)."""
    return scale * (factor * other_q - q * (others * factor))


# Functions of a row


@scalar
def maximum(x):
    """The largest entry; nan entries are passed over (they come back with every sum)."""
    largest = -x.dtype.type(np.inf)
    for j in range(x.size):
        largest = x[j] if x[j] > largest else largest
    return largest


@reassociating
def other_sum(x, largest):
    """count − 1 + rest: how many more entries than one equal the maximum, plus Σ e^(x − max) over those that
    do not.
    """
    count, rest = -1.0, 0.0
    for j in range(x.size):
        _, equal, other = shifted_exp(x[j], largest)
        count += np.float64(equal)
        rest += np.float64(other)
    return count + rest


@scalar
def cross_entropy(x, label):
    """−ln softmax(x)[label] = ln Σ e^(x − max) + (max − x[label]): a sum of two numbers ≥ 0."""
    largest = maximum(x)
    others = finite(largest, other_sum(x, largest))
    return nll(x[label], largest, logarithm(x.dtype.type, others))


@scalar
def d_cross_entropy(x, label, scale, grad):
    """grad = scale·(softmax(x) − onehot(label)); returns `cross_entropy`. The label's own entry:
    `label_slope`.
    """
    T = x.dtype.type
    largest, own = maximum(x), x[label]
    others = finite(largest, _exp_and_sum(x, largest, grad))
    factor = T(scale / (1.0 + others))
    for j in range(x.size):
        grad[j] *= factor
    grad[label] = T(scale * label_slope(exp_minus(largest - own), own == largest, others))
    return nll(own, largest, logarithm(T, others))


@reassociating
def _exp_and_sum(x, largest, e):
    """`other_sum`, the exponentials written to ``e``."""
    count, rest = -1.0, 0.0
    for j in range(x.size):
        e[j], top, other = shifted_exp(x[j], largest)
        count += np.float64(top)
        rest += np.float64(other)
    return count + rest


@reassociating
def soft_cross_entropy(x, q):
    """−Σ qⱼ ln softmax(x)ⱼ for any weights q ≥ 0 (class probabilities, label smoothing, class weights); a
    term with qⱼ = 0 is absent. ∂/∂qⱼ: −ln softmax(x)ⱼ.
    """
    T = x.dtype.type
    largest = maximum(x)
    log_sum = logarithm(T, finite(largest, other_sum(x, largest)))
    total = 0.0
    for j in range(x.size):
        total += np.float64(soft_term(x[j], q[j], largest, log_sum))
    return T(total)


@reassociating
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
    others = finite(largest, others)
    factor = T(1) / (T(1) + T(others))
    total_q = q[top] + T(other_q)
    for j in range(x.size):
        grad[j] = soft_slope(grad[j], q[j], factor, total_q, scale)
    grad[top] = top_soft_slope(q[top], T(others), T(other_q), factor, scale)


@scalar
def larger(best, index, x, j):
    """(best, index), or (x, j) where x is larger or the first nan."""
    take = (not x <= best) & (best == best)
    return x if take else best, j if take else index


@scalar
def maxout(x):
    """(max, index of the first maximum); a nan entry wins, as everywhere."""
    best, index = x[0], 0
    for j in range(1, x.size):
        best, index = larger(best, index, x[j], j)
    return best, index
