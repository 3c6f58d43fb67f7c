"""Layers as they are written by hand with the textbooks' gradients; scikit-learn's and pandas' functions."""

from __future__ import annotations

import importlib.util
import math

import numpy as np
from scipy import special

from .entry import BOTH, F32, F64, Table, integers, normal, uniform
from .losses import onehot, softmax_of

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


# ---- scikit-learn and pandas

if importlib.util.find_spec("sklearn"):
    from sklearn import metrics
    from sklearn._loss import loss as compiled

    def of_sklearn(name, loss, target, specs, dtypes=(F64,)):
        """Its compiled losses, which take float32 and float64, nothing wider."""
        pair = type(name, (), {})

        def arguments(f):
            return {"y_true": np.asarray(target, f.dtype), "raw_prediction": np.ascontiguousarray(f)}

        pair.forward = lambda f: loss.loss(**arguments(f))
        pair.backward = lambda g, f: (g if f.ndim == 1 else g[:, None]) * loss.gradient(**arguments(f))
        function(*specs, dtypes=dtypes)(pair)

    of_sklearn("sklearn HalfBinomialLoss", compiled.HalfBinomialLoss(), [0, 1, 1], [normal(3, 3)], BOTH)
    of_sklearn("sklearn HalfPoissonLoss", compiled.HalfPoissonLoss(), [0, 2, 5], [normal(3)], BOTH)
    of_sklearn("sklearn HalfGammaLoss", compiled.HalfGammaLoss(), [0.5, 2, 5], [normal(3)])
    of_sklearn("sklearn HalfSquaredError", compiled.HalfSquaredError(), [0.5, 2, 5], [normal(3)])
    of_sklearn("sklearn PinballLoss", compiled.PinballLoss(quantile=0.25), [0.5, 2, -1], [normal(3)])
    of_sklearn("sklearn HuberLoss", compiled.HuberLoss(quantile=0.9, delta=1.0), [0.5, 2, -1], [normal(3)])
    of_sklearn("sklearn HalfMultinomialLoss", compiled.HalfMultinomialLoss(n_classes=3), [0, 2], [normal((2, 3))], BOTH)

    @function(normal((2, 3)))
    class sklearn_log_loss:
        def forward(z):
            return metrics.log_loss([2, 0], softmax_of(z), labels=[0, 1, 2])

        def backward(g, z):
            return g * (softmax_of(z) - onehot([2, 0], 3, float)) / 2

    @function(normal(4))
    class sklearn_mean_squared_error:
        def forward(f):
            return metrics.mean_squared_error([1.0, 0, 2, -1], f)

        def backward(g, f):
            return g * (f - np.array([1.0, 0, 2, -1])) / 2

    @function(normal((2, 2)), normal((3, 2)))
    class sklearn_rbf_kernel:
        def forward(x, y):
            return metrics.pairwise.rbf_kernel(x, y, gamma=0.5)

        def backward(g, x, y):
            difference = x[:, None] - y
            d = (g * np.exp(-0.5 * (difference**2).sum(axis=-1)))[..., None] * difference
            return -d.sum(axis=1), d.sum(axis=0)


if importlib.util.find_spec("pandas"):
    import pandas as pd

    @function(normal(6))
    class pandas_rolling_mean:
        def forward(x):
            return pd.Series(x).rolling(3).mean().to_numpy()[2:]

        def backward(g, x):
            return np.convolve(g, np.ones(3) / 3)

    @function(normal(6))
    class pandas_centred_by_group:
        groups = np.array([0, 1, 0, 1, 1, 2])

        def forward(x):
            s = pd.Series(x)
            return (s - s.groupby(pandas_centred_by_group.groups).transform("mean")).to_numpy()

        def backward(g, x):
            same = (pandas_centred_by_group.groups[:, None] == pandas_centred_by_group.groups).astype(float)
            return g - (same / same.sum(axis=1)) @ g

    @function(normal((4, 2)), dtypes=(F32, F64))
    class pandas_table_to_weighted_sum:
        def forward(x):
            table = pd.DataFrame(x, columns=["a", "b"])
            return (table["a"] * table["b"] + table["a"] ** 2).to_numpy()

        def backward(g, x):
            a, b = x.T
            return np.stack([g * (b + 2 * a), g * a], axis=1)

    @function(normal(5))
    class pandas_exponential_mean:
        def forward(x):
            return float(pd.Series(x).ewm(alpha=0.5, adjust=False).mean().iloc[-1])

        def backward(g, x):
            return g * np.array([1 / 16, 1 / 16, 1 / 8, 1 / 4, 1 / 2])
