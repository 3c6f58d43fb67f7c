"""Functions of NumPy arrays with another library inside: scikit-learn, pandas, xarray, sympy, numexpr, PyTorch, Numba."""

from __future__ import annotations

import importlib.util
import math

import numba
import numpy as np

from .entry import BOTH, F32, F64, Table, normal, uniform
from .losses import onehot, softmax_of

TABLE = Table()
function = TABLE.function

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


if importlib.util.find_spec("xarray"):
    import xarray as xr

    @function(normal((2, 3)), dtypes=BOTH)
    class xarray_anomalies:
        def forward(x):
            a = xr.DataArray(x, dims=("time", "place"))
            return (a - a.mean("time")).to_numpy()

        def backward(g, x):
            return g - g.mean(axis=0)


if importlib.util.find_spec("sympy"):
    import sympy

    symbol = sympy.symbols("x")
    formula = sympy.exp(-(symbol**2) / 2) * sympy.cos(3 * symbol)

    @function(normal(3))
    class sympy_lambdified_for_NumPy:
        f = staticmethod(sympy.lambdify(symbol, formula, "numpy"))
        slope = staticmethod(sympy.lambdify(symbol, formula.diff(symbol), "numpy"))

        def forward(x):
            return sympy_lambdified_for_NumPy.f(x)

        def backward(g, x):
            return g * sympy_lambdified_for_NumPy.slope(x)

    @function(normal(()))
    class sympy_lambdified_for_math:
        f = staticmethod(sympy.lambdify(symbol, formula, "math"))
        slope = staticmethod(sympy.lambdify(symbol, formula.diff(symbol), "math"))

        def forward(x):
            return sympy_lambdified_for_math.f(x)

        def backward(g, x):
            return g * sympy_lambdified_for_math.slope(x)


if importlib.util.find_spec("numexpr"):
    import numexpr

    @function(normal(4), dtypes=BOTH)
    class numexpr_evaluate:
        def forward(x):
            return numexpr.evaluate("tanh(x) * x")

        def backward(g, x):
            return g * (np.tanh(x) + x / np.cosh(x) ** 2)


if importlib.util.find_spec("torch"):
    import torch

    @function(normal((2, 3)), dtypes=BOTH)
    class torch_inside_a_function_of_arrays:
        def forward(x):
            return torch.special.expit(torch.from_numpy(np.array(x))).numpy()

        def backward(g, x):
            t = torch.from_numpy(np.array(x)).requires_grad_()
            torch.special.expit(t).backward(torch.from_numpy(np.array(g)))
            return t.grad.numpy()


# ---- of contiguous arrays alone, and said so


@function(normal(4), layouts=False)
class numba_with_a_signature:
    @staticmethod
    @numba.njit("f8(f8[::1])")
    def forward(x):
        return np.sum(np.exp(x) * x)

    def backward(g, x):
        return g * np.exp(x) * (1 + x)


@function(normal(3), layouts=False)
class bytes_of_a_buffer:
    def forward(x):
        numbers = np.frombuffer(x.tobytes(), np.float64)
        return np.array([math.sinh(v) for v in numbers])

    def backward(g, x):
        return g * np.cosh(x)


@function(uniform(3, -1, 1))
class Chebyshev_series:
    series = np.polynomial.Chebyshev([1.0, -0.5, 0.25, 2])

    def forward(x):
        return Chebyshev_series.series(x)

    def backward(g, x):
        return g * Chebyshev_series.series.deriv()(x)
