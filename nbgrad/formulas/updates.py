"""The optimisers' updates of one weight p with gradient g: the new p, then what is remembered of it.

Numbers that are the same for all weights come in the weight's own precision, worked out before (`nbgrad.optim`).
"""

from __future__ import annotations

import math

from nbgrad.jit import scalar

__all__ = ["adam", "sgd", "sgd_momentum"]


@scalar
def sgd(p, g, lr, weight_decay):
    """p − lr·(g + weight_decay·p)"""
    return p - lr * (g + weight_decay * p)


@scalar
def sgd_momentum(p, g, buffer, lr, weight_decay, momentum, nesterov):
    """With d = g + weight_decay·p: b ← momentum·b + d, p ← p − lr·b, or with Nesterov's p ← p − lr·(d + momentum·b)."""
    d = g + weight_decay * p
    b = momentum * buffer + d
    return p - lr * (d + momentum * b if nesterov else b), b


@scalar
def adam(p, g, mean, square, rate, root, eps, weight_decay, rest1, beta2, rest2):
    """With d = g + weight_decay·p: m ← m + (1 − β₁)(d − m), s ← β₂·s + (1 − β₂)·d², p ← p − rate·m/(√s/root + eps)."""
    T = type(p)
    d = g + weight_decay * p
    m = mean + rest1 * (d - mean)
    s = beta2 * square + rest2 * d * d
    return p - rate * m / (T(math.sqrt(s)) / root + eps), m, s
