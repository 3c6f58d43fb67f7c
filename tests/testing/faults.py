"""Faults planted in backward functions, each beside the right one: what `nbgrad.testing` must catch, and must not.

`FAULTS` is the table of ``python -m bench faults`` and of the tests; the right versions are among the functions of
``python -m bench false-alarms``.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nbgrad.testing import array, labels

F32, F64 = np.float32, np.float64


@dataclass(frozen=True)
class Fault:
    """``wrong`` in place of ``right`` as backward of ``forward``; ``verdicts``: the words that the error may have."""

    name: str
    forward: Callable[..., Any]
    right: Callable[..., Any]
    wrong: Callable[..., Any]
    specs: tuple[Any, ...]
    verdicts: tuple[str, ...] = ("wrong",)
    keywords: dict[str, Any] = field(default_factory=dict)


# ---- functions, in plain NumPy


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def d_sigmoid(g, x):
    e = np.exp(-np.abs(x))
    return g * e / (1 + e) ** 2


def d_tanh(g, x):
    e = np.exp(-2 * np.abs(x))
    return g * 4 * e / (1 + e) ** 2


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def stable_sigmoid(x):
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def elu(x):
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


def relu(x):
    return np.maximum(x, 0)


def leaky(x):
    return np.where(x > 0, x, x / 8)


def relu6(x):
    return np.minimum(np.maximum(x, 0), 6)


def huber(x):
    a = np.abs(x)
    return np.where(a <= 2, a * a / 2, 2 * a - 2)


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def d_softmax(g, x):
    """y(g − Σ gy) with g taken from that of the largest entry, and its own entry as −(the sum of the others)."""
    y = softmax(x)
    top = np.argmax(x, axis=-1, keepdims=True)
    d = g - np.take_along_axis(g, top, -1)
    found = y * (d - np.sum(d * y, axis=-1, keepdims=True))
    np.put_along_axis(found, top, 0, -1)
    np.put_along_axis(found, top, -found.sum(axis=-1, keepdims=True), -1)
    return found


def log_sum_exp(x):
    top = x.max()
    return top + np.log(np.sum(np.exp(x - top)))


def cross_entropy(x, label):
    d = x - x.max(axis=1, keepdims=True)
    log_sum = np.log(np.exp(d).sum(axis=1))
    return (log_sum - d[np.arange(len(x)), label]).mean()


def d_cross_entropy(g, x, label):
    rows = np.arange(len(x))
    p = softmax(x)
    p[rows, label] = 0
    p[rows, label] = -p.sum(axis=1)
    return g * p / len(x), None


def cancelling(g, x, label):
    rows = np.arange(len(x))
    p = softmax(x)
    p[rows, label] -= 1
    return (g * p / len(x)).astype(x.dtype), None


def layer_norm(x):
    d = x - x.mean(axis=-1, keepdims=True)
    return d / np.sqrt((d * d).mean(axis=-1, keepdims=True) + x.dtype.type(1))


def d_layer_norm(g, x, mean=1):
    d = x - x.mean(axis=-1, keepdims=True)
    r = 1 / np.sqrt((d * d).mean(axis=-1, keepdims=True) + x.dtype.type(1))
    y = d * r
    return r * (g - mean * g.mean(axis=-1, keepdims=True) - y * (g * y).mean(axis=-1, keepdims=True))


ROWS = np.array([0, 2, 0, 1])


def take(x):
    return x[ROWS]


def d_take(g, x):
    grad = np.zeros_like(x)
    np.add.at(grad, ROWS, g)
    return grad


def d_take_overwriting(g, x):
    grad = np.zeros_like(x)
    grad[ROWS] = g
    return grad


def one_winner(g, x):
    grad = np.zeros_like(x)
    grad.flat[np.argmax(x)] = g
    return grad


def sum_of_squares(x):
    return np.sum(x * x)


def norm(x):
    size = np.abs(x).max()
    return np.sqrt(np.sum((x / size) ** 2)) * size if size > 0 else np.sum(np.abs(x))


def d_norm(g, x):
    size = norm(x)
    return g * x / size if size > 0 else np.zeros_like(x)


def with_stale_cache():
    kept = {}

    def backward(g, x):
        y = kept.setdefault((x.shape, x.dtype), np.cos(x))
        return g * y

    return backward


def with_race(right):
    """Every third call loses one of the updates, as threads do that add to the same memory."""
    calls = itertools.count()

    def backward(g, x):
        grad = np.array(right(g, x))
        if next(calls) % 3 == 2:
            grad.flat[0] = 0
        return grad

    return backward


def mutating(g, x):
    x *= 2
    return g * x


def mutating_grad_output(g, x):
    g *= x
    return 2 * g


def accumulating(g, x, out=None):
    grad = g * 2 * x
    if out is None:
        return grad
    out += grad
    return out


def writing(g, x, out=None):
    return np.multiply(g, 2 * x, out=out)


def square(x):
    return x * x


def d_square(g, x):
    return g * 2 * x


def in_memory_order(g, x):
    return g * 2 * x.ravel(order="K").reshape(x.shape)


def fails_for_one(g, x):
    return g * np.diff(x)[0] * 0 + 2 * g * x


MODERATE = (-50.0, 50.0)
ones = array(3, domain=MODERATE)
small = array(domain=(-4.0, 4.0))
square_matrix = array((3, 3), domain=(-4.0, 4.0))
wide32 = array(4, F32, domain=(-80.0, 80.0))
logits32 = array((2, 3), F32, domain=(-80.0, 80.0))
away = array(3, domain=(0.25, 8.0))

FAULTS = [
    Fault("factor: x² gives x", square, d_square, lambda g, x: g * x, (ones,)),
    Fault("sign: cos gives sin", np.cos, lambda g, x: -g * np.sin(x), lambda g, x: g * np.sin(x), (ones,)),
    Fault("missing term: x·eˣ gives x·eˣ", lambda x: x * np.exp(x), lambda g, x: g * (1 + x) * np.exp(x), lambda g, x: g * x * np.exp(x), (small,)),
    Fault("constant off by 1e-9: x³", lambda x: x**3, lambda g, x: 3 * g * x * x, lambda g, x: (3 + 1e-9) * g * x * x, (ones,), ("wrong",)),
    Fault("exponent off by one: x⁴", lambda x: x**4, lambda g, x: 4 * g * x**3, lambda g, x: 4 * g * x**4, (small,)),
    Fault("chain rule: sin(x²) without 2x", lambda x: np.sin(x * x), lambda g, x: g * np.cos(x * x) * 2 * x, lambda g, x: g * np.cos(x * x), (small,)),
    Fault("transposed: A·B, g·B for g·Bᵀ", np.matmul, lambda g, a, b: (g @ b.T, a.T @ g), lambda g, a, b: (g @ b, a.T @ g), (square_matrix, square_matrix)),
    Fault("transposed: second operand", np.matmul, lambda g, a, b: (g @ b.T, a.T @ g), lambda g, a, b: (g @ b.T, (a.T @ g).T.copy()), (square_matrix, square_matrix)),
    Fault("tail: sigmoid as y(1 − y), float32", stable_sigmoid, d_sigmoid, lambda g, x: g * stable_sigmoid(x) * (1 - stable_sigmoid(x)), (wide32,), ("wrong", "imprecise")),
    Fault("tail: sigmoid as y(1 − y), float64", stable_sigmoid, d_sigmoid, lambda g, x: g * stable_sigmoid(x) * (1 - stable_sigmoid(x)), (array(4, domain=(-300, 300)),), ("wrong", "imprecise")),
    Fault("tail: tanh as 1 − y², float32", np.tanh, d_tanh, lambda g, x: g * (1 - np.tanh(x) ** 2), (array(4, F32, domain=(-40, 40)),), ("wrong", "imprecise")),
    Fault("tail: softplus as 1 − 1/(1 + eˣ)", softplus, lambda g, x: g * stable_sigmoid(x), lambda g, x: g * (1 - 1 / (1 + np.exp(x))), (wide32,), ("wrong", "imprecise")),
    Fault("tail: elu as y + 1", elu, lambda g, x: g * np.where(x > 0, 1, np.exp(np.minimum(x, 0))), lambda g, x: g * np.where(x > 0, 1, elu(x) + 1), (array(4, F32, domain=(-80, 80), kinks=(0,)),), ("wrong", "imprecise")),
    Fault("tail: softmax as y(g − Σ gy)", softmax, d_softmax, lambda g, x: softmax(x) * (g - np.sum(g * softmax(x), -1, keepdims=True)), (logits32,), ("wrong", "imprecise")),
    Fault("tail: label entry p − 1", cross_entropy, d_cross_entropy, cancelling, (logits32, labels(2, 3)), ("wrong", "imprecise")),
    Fault("wrong branch: leaky relu from 1e-3 on", leaky, lambda g, x: g * np.where(x > 0, 1, 0.125), lambda g, x: g * np.where(x > 1e-3, 1, 0.125), (array(3, kinks=(0,)),), ("wrong", "imprecise")),
    Fault("wrong branch: relu6 without 6", relu6, lambda g, x: g * ((x > 0) & (x < 6)), lambda g, x: g * (x > 0), (array(3, kinks=(0, 6)),)),
    Fault("at the kink: relu gives 2 at 0", relu, lambda g, x: g * (x > 0), lambda g, x: g * ((x > 0) + 2.0 * (x == 0)), (array(3, kinks=(0,)),), ("kink",)),
    Fault("at an undeclared kink: |x| gives −1.5 at 0", np.abs, lambda g, x: g * np.sign(x), lambda g, x: g * (np.sign(x) - 1.5 * (x == 0)), (ones,), ("kink",)),
    Fault("huber: δ forgotten outside", huber, lambda g, x: g * np.clip(x, -2, 2), lambda g, x: g * np.where(np.abs(x) <= 2, x, np.sign(x)), (ones,)),
    Fault("clip: gradient outside too", lambda x: np.clip(x, -1, 1), lambda g, x: g * (np.abs(x) < 1), lambda g, x: g * 1, (array(3, kinks=(-1, 1)),)),
    Fault("ties: every maximum gets the gradient", np.max, one_winner, lambda g, x: g * (x == x.max()) * np.where((x == x.max()).sum() > 1, 1.5, 1), (small,), ("kink", "wrong")),
    Fault("norm: nan at 0", norm, d_norm, lambda g, x: g * x / norm(x), (small,), ("wrong", "kink")),
    Fault("swapped arguments: a − b", np.subtract, lambda g, a, b: (g * 1, -g), lambda g, a, b: (-g, g * 1), (ones, ones)),
    Fault("swapped arguments: a / b", np.divide, lambda g, a, b: (g / b, -g * a / b / b), lambda g, a, b: (-g * a / b / b, g / b), (away, away)),
    Fault("second argument detached: a·b", np.multiply, lambda g, a, b: (g * b, g * a), lambda g, a, b: (g * b, g * 0), (ones, ones)),
    Fault("forgotten broadcast sum: x + b", np.add, lambda g, x, b: (g * 1, g.sum(0)), lambda g, x, b: (g * 1, g * 1), (array((2, 3), domain=MODERATE), ones), ("shape",)),
    Fault("broadcast sum over the wrong axis", np.add, lambda g, x, b: (g * 1, g.sum(0)), lambda g, x, b: (g * 1, g.sum(1)), (square_matrix, ones)),
    Fault("off by one row: differences", lambda x: x[1:] - x[:-1], lambda g, x: np.concatenate([-g[:1], g[:-1] - g[1:], g[-1:]]), lambda g, x: np.concatenate([-g[:1], g[:-1] - g[1:], g[:1]]), (array((4, 2), domain=MODERATE),)),
    Fault("off by one row among 60", lambda x: np.cumsum(x), lambda g, x: np.cumsum(g[::-1])[::-1], lambda g, x: np.cumsum(np.concatenate([g[:-1], g[:1] * 0])[::-1])[::-1] + 0 * x, (array(60, domain=MODERATE),)),
    Fault("unscaled mean", np.mean, lambda g, x: np.full_like(x, g / x.size), lambda g, x: np.full_like(x, g), (ones,)),
    Fault("mean over the batch scaled twice", cross_entropy, d_cross_entropy, lambda g, x, label: (d_cross_entropy(g, x, label)[0] / len(x), None), (array((2, 3), domain=(-4, 4)), labels(2, 3))),
    Fault("label off by one", cross_entropy, d_cross_entropy, lambda g, x, label: (d_cross_entropy(g, x, (label + 1) % 3)[0], None), (array((2, 3), domain=(-4, 4)), labels(2, 3))),
    Fault("softmax without the sum", softmax, d_softmax, lambda g, x: g * softmax(x), (array((2, 3), domain=(-4, 4)),)),
    Fault("layer norm without the mean's term", layer_norm, d_layer_norm, lambda g, x: d_layer_norm(g, x, 0), (array((2, 3), domain=(-4, 4)),)),
    Fault("overflow: log Σ eˣ without the maximum", log_sum_exp, lambda g, x: g * softmax(x), lambda g, x: g * np.exp(x) / np.sum(np.exp(x)), (array(3, domain=(-1000, 1000)),)),
    Fault("repeated index overwritten", take, d_take, d_take_overwriting, (array((3, 2), domain=MODERATE),)),
    Fault("float32 inside a float64 gradient", np.tanh, d_tanh, lambda g, x: d_tanh(g.astype(F32), x.astype(F32)).astype(x.dtype), (array(3, domain=(-4, 4)),)),
    Fault("float32 accumulation", sum_of_squares, lambda g, x: 2 * g * x, lambda g, x: ((g * x + F32(1e3)) - F32(1e3)) * 2, (array(3, F32, domain=(-4, 4)),), ("imprecise", "wrong")),
    Fault("gradient below 1e-30 set to 0", np.exp, lambda g, x: g * np.exp(x), lambda g, x: g * np.where(np.exp(x) < 1e-30, 0, np.exp(x)), (array(3, domain=(-300, 5)),)),
    Fault("grad_output ignored", np.sin, lambda g, x: g * np.cos(x), lambda g, x: np.cos(x), (ones,), ("wrong", "not linear")),
    Fault("grad_output clipped to ±1", np.sin, lambda g, x: g * np.cos(x), lambda g, x: np.clip(g, -1, 1) * np.cos(x), (ones,), ("wrong", "not linear")),
    Fault("grad_output as if all ones: sum over rows", lambda x: x.sum(0), lambda g, x: np.broadcast_to(g, x.shape).copy(), lambda g, x: np.full_like(x, g.mean()), (square_matrix,)),
    Fault("dtype: float64 for float32", np.sin, lambda g, x: g * np.cos(x), lambda g, x: (g * np.cos(x)).astype(F64), (array(3, F32, domain=MODERATE),), ("dtype",)),
    Fault("shape: a column for a vector", np.sin, lambda g, x: g * np.cos(x), lambda g, x: (g * np.cos(x))[:, None], (ones,), ("shape",)),
    Fault("input mutated", square, d_square, mutating, (ones,), ("mutated",)),
    Fault("grad_output mutated", square, d_square, mutating_grad_output, (ones,), ("mutated",)),
    Fault("stale cache, by shape", np.sin, lambda g, x: g * np.cos(x), with_stale_cache(), (ones,), ("wrong", "imprecise", "dtype")),
    Fault("race: updates lost", np.sin, lambda g, x: g * np.cos(x), with_race(lambda g, x: g * np.cos(x)), (ones,), ("not repeatable", "wrong")),
    Fault("memory order taken for index order", square, d_square, in_memory_order, (array((3, 2), domain=MODERATE),), ("layout", "wrong")),
    Fault("out= added to instead of written", square, writing, accumulating, (ones,), ("out",)),
    Fault("exception for one element", square, d_square, fails_for_one, (array(st.integers(1, 3), domain=MODERATE),), ("raised",)),
]  # fmt: skip
