"""The optimisers' updates of one weight p with gradient g: the new p, then what is remembered of it; and their table.

Numbers that are the same for all weights come in the weight's own precision, worked out before (`nbgrad.optim`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nbgrad.jit import scalar

__all__ = ["UPDATES", "Update", "adam", "adamw", "sgd", "sgd_momentum", "sgd_nesterov"]


@scalar
def sgd(p, g, lr, weight_decay):
    """p − lr·(g + weight_decay·p)"""
    return p - lr * (g + weight_decay * p)


@scalar
def sgd_momentum(p, g, buffer, lr, weight_decay, momentum):
    """With d = g + weight_decay·p: b ← momentum·b + d, p ← p − lr·b."""
    b = momentum * buffer + (g + weight_decay * p)
    return p - lr * b, b


@scalar
def sgd_nesterov(p, g, buffer, lr, weight_decay, momentum):
    """The same with p ← p − lr·(d + momentum·b)."""
    d = g + weight_decay * p
    b = momentum * buffer + d
    return p - lr * (d + momentum * b), b


@scalar
def _adam(d, mean, square, rate, root, eps, rest1, beta2, rest2):
    """m ← m + (1 − β₁)(d − m), s ← β₂·s + (1 − β₂)·d²: what p goes down by, rate·m/(√s/root + eps), then m and s."""
    T = type(d)
    m = mean + rest1 * (d - mean)
    s = beta2 * square + rest2 * d * d
    return rate * m / (T(math.sqrt(s)) / root + eps), m, s


@scalar
def adam(p, g, mean, square, rate, root, eps, weight_decay, rest1, beta2, rest2):
    """Adam's step with d = g + weight_decay·p."""
    change, m, s = _adam(g + weight_decay * p, mean, square, rate, root, eps, rest1, beta2, rest2)
    return p - change, m, s


@scalar
def adamw(p, g, mean, square, rate, root, eps, decay, rest1, beta2, rest2):
    """Adam's step with d = g, and beside it p goes down by decay·p. (Not p·(1 − decay): in float32 that factor has lost
    most of a small decay's digits.)
    """
    change, m, s = _adam(g, mean, square, rate, root, eps, rest1, beta2, rest2)
    return p - (decay * p + change), m, s


@dataclass(frozen=True, eq=False)
class Update:
    """A row: ``step(p, g, *memory, *numbers)`` gives the new p, and with it what is to be remembered if anything is;
    ``memory``: the names of that.
    """

    step: Callable[..., Any]
    memory: tuple[str, ...] = ()


#: Loops on both devices, and what an optimiser keeps of a parameter, follow from the rows.
UPDATES = {
    "sgd": Update(sgd),
    "sgd_momentum": Update(sgd_momentum, ("momentum_buffer",)),
    "sgd_nesterov": Update(sgd_nesterov, ("momentum_buffer",)),
    "adam": Update(adam, ("exp_avg", "exp_avg_sq")),
    "adamw": Update(adamw, ("exp_avg", "exp_avg_sq")),
}
