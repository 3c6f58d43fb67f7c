"""Layers as they are written by hand, with the textbooks' gradients."""

from __future__ import annotations

import math

import numpy as np
from scipy import special

from .entry import BOTH, Table, integers, normal, uniform
from .losses import softmax_of

TABLE = Table()
function = TABLE.function

# ---- layers


@function(normal((2, 5)), uniform(5, 0.5, 2), normal(5), dtypes=BOTH)
class layer_norm:
    def normalized(x):
        scale = 1 / np.sqrt(x.var(axis=-1, keepdims=True) + x.dtype.type(1e-5))
        return (x - x.mean(axis=-1, keepdims=True)) * scale, scale

    def forward(x, w, b):
        return layer_norm.normalized(x)[0] * w + b

    def backward(g, x, w, b):
        n, scale = layer_norm.normalized(x)
        d = g * w
        dx = scale * (d - d.mean(axis=-1, keepdims=True) - n * (d * n).mean(axis=-1, keepdims=True))
        return dx, (g * n).sum(axis=0), g.sum(axis=0)


@function(normal((5, 2)), uniform(2, 0.5, 2))
class batch_norm:
    def forward(x, w):
        return w * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)

    def backward(g, x, w):
        n = len(x)
        scale = 1 / np.sqrt(x.var(axis=0) + 1e-5)
        y = (x - x.mean(axis=0)) * scale
        return w * scale / n * (n * g - g.sum(axis=0) - y * (g * y).sum(axis=0)), (g * y).sum(axis=0)


@function(normal((2, 4)), dtypes=BOTH)
class rms_norm:
    def forward(x):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(1e-6))

    def backward(g, x):
        r = 1 / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + x.dtype.type(1e-6))
        return r * (g - x * r * r * np.mean(g * x, axis=-1, keepdims=True))


@function(uniform((3, 2), -1.5, 1.5), uniform((3, 2), -1.5, 1.5), normal((3, 2)), dtypes=BOTH)
class attention:
    def forward(q, k, v):
        return softmax_of(q @ k.T / q.dtype.type(math.sqrt(2))) @ v

    def backward(g, q, k, v):
        root = q.dtype.type(math.sqrt(2))
        p = softmax_of(q @ k.T / root)
        dp = g @ v.T
        ds = p * (dp - (dp * p).sum(axis=1, keepdims=True)) / root
        return ds @ k, ds.T @ q, p.T @ g


@function(normal((3, 2)), normal((2, 4)), normal((4, 1)), dtypes=BOTH)
class two_layers_of_tanh:
    def forward(x, w, u):
        return np.tanh(x @ w) @ u

    def backward(g, x, w, u):
        h = np.tanh(x @ w)
        d = g @ u.T * (1 - h * h)
        return d @ w.T, x.T @ d, h.T @ g


@function(normal(4, 2), dtypes=BOTH)
class gelu_by_math_erf:
    def forward(x):
        return np.array([v * 0.5 * (1 + math.erf(v / math.sqrt(2))) for v in x], x.dtype)

    def backward(g, x):
        density = np.exp(-(x**2) / 2) / x.dtype.type(math.sqrt(2 * math.pi))
        return (g * (special.ndtr(x) + x * density)).astype(x.dtype)


@function(normal((4, 3)), integers(6, 4), dtypes=BOTH)
class embedding:
    def forward(table, index):
        return table[index]

    def backward(g, table, index):
        grad = np.zeros_like(table)
        np.add.at(grad, index, g)
        return grad, None
