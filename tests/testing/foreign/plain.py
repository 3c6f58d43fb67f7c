"""Python's own ways: numbers of math, loops, comprehensions, Numba; float64 made of what came."""

from __future__ import annotations

import math

import numba
import numpy as np

from .entry import BOTH, Table, normal, spread, uniform

TABLE = Table()
function = TABLE.function

# ---- float64 is made of what comes


@function(spread(3, -100, 100))
class sin_of_asarray_float:
    def forward(x):
        return np.sin(np.asarray(x, float))

    def backward(g, x):
        return g * np.cos(x)


@function(normal(4))
class sigmoid_of_array_float64:
    def forward(x):
        x = np.array(x, dtype=np.float64)
        return 1 / (1 + np.exp(-x))

    def backward(g, x):
        y = 1 / (1 + np.exp(-x))
        return g * y * (1 - y)


@function(normal((2, 3)))
class astype_float:
    def forward(x):
        return x.astype(float) ** 3

    def backward(g, x):
        return 3 * g * x**2


@function(normal(4))
class half_converted:
    def forward(x):
        return np.concatenate([x[:2].astype(np.float64) ** 2, x[2:] ** 3])

    def backward(g, x):
        return g * np.concatenate([2 * x[:2], 3 * x[2:] ** 2])


@function(uniform(4, 0.5, 2))
class divided_by_a_Python_float:
    def forward(x):
        return x / float(x.sum())

    def backward(g, x):
        s = x.sum()
        return (g - (g * x).sum() / s) / s


@function(normal(3), uniform((), 0.5, 2))
class scaled_by_a_converted_number:
    def forward(x, t):
        return x / float(t)

    def backward(g, x, t):
        return g / t, np.array(-(g * x).sum() / t**2)


@function(normal(3))
class largest_subtracted_as_float:
    def forward(x):
        e = np.exp(x - float(np.max(x)))
        return e / e.sum()

    def backward(g, x):
        e = np.exp(x - x.max())
        y = e / e.sum()
        return y * (g - (g * y).sum())


@function(normal(3), dtypes=BOTH)
class through_float32:
    """Computed in the argument's dtype or, if it came wider, in float64."""

    def forward(x):
        d = np.float32 if x.dtype == np.float32 else np.float64
        return np.exp(x.astype(d))

    def backward(g, x):
        return g * np.exp(x)


def of_asarray(name, f, slope, low, high):
    pair = type(f"{name} of asarray", (), {})
    pair.forward = lambda x: f(np.asarray(x, float))
    pair.backward = lambda g, x: (g * slope(x)).astype(x.dtype)
    function(spread(3, low, high), dtypes=BOTH)(pair)


of_asarray("log", np.log, lambda x: 1 / x, 0, np.inf)
of_asarray("sqrt", np.sqrt, lambda x: 0.5 / np.sqrt(x), 0, np.inf)
of_asarray("log1p", np.log1p, lambda x: 1 / (1 + x), -1, 1e300)
of_asarray("reciprocal", np.reciprocal, lambda x: -1 / x / x, 0, np.inf)
of_asarray("logistic", lambda x: 1 / (1 + np.exp(-x)), lambda x: 1 / (np.exp(x / 2) + np.exp(-x / 2)) ** 2, -80, 80)
of_asarray("absolute", abs, np.sign, -1, 1)


# ---- math, element by element


@function(spread(3, -20, 20))
class math_exp_in_a_comprehension:
    def forward(x):
        return np.array([math.exp(v) for v in x])

    def backward(g, x):
        return np.array([gi * math.exp(v) for gi, v in zip(g, x, strict=True)])


@function(normal(4, 2))
class math_tanh_into_np_empty:
    def forward(x):
        y = np.empty(len(x))
        for i in range(len(x)):
            y[i] = math.tanh(x[i])
        return y

    def backward(g, x):
        return g / np.cosh(x) ** 2


@function(normal((2, 3)))
class atan_into_zeros:
    def forward(x):
        y = np.zeros(x.shape)
        for i in np.ndindex(*x.shape):
            y[i] = math.atan(x[i])
        return y

    def backward(g, x):
        return g / (1 + x * x)


@function(normal(3))
class vectorized_erf:
    def forward(x):
        return np.vectorize(math.erf)(x)

    def backward(g, x):
        return g * 2 / math.sqrt(math.pi) * np.exp(-x * x)


@function(uniform(3, 0.5, 20))
class vectorized_lgamma:
    def forward(x):
        return np.vectorize(math.lgamma, otypes=[float])(x)

    def backward(g, x):
        from scipy.special import psi

        return g * psi(x)


@function(normal(4), dtypes=BOTH)
class vectorized_with_a_branch:
    def forward(x):
        def f(v):
            return v if v > 0 else math.expm1(v)

        return np.vectorize(f, otypes=[x.dtype])(x)

    def backward(g, x):
        return g * np.where(x > 0, 1, np.exp(np.minimum(x, 0)))


@function(normal(3), normal(3))
class frompyfunc_hypot:
    def forward(x, y):
        return np.frompyfunc(math.hypot, 2, 1)(x, y).astype(float)

    def backward(g, x, y):
        r = np.hypot(x, y)
        return g * x / r, g * y / r


@function(uniform(3, 0.1, 4))
class map_of_math_log:
    def forward(x):
        return np.fromiter(map(math.log, x), float, count=len(x))

    def backward(g, x):
        return g / x


@function(normal((3, 2)))
class apply_along_axis:
    def forward(x):
        return np.apply_along_axis(lambda row: math.sqrt(sum(v * v for v in row)), 1, x)

    def backward(g, x):
        return g[:, None] * x / np.sqrt((x**2).sum(axis=1, keepdims=True))


@function(uniform(3, -1.2, 1.2))
class tan_of_items:
    def forward(x):
        return np.array([math.tan(v.item()) for v in x])

    def backward(g, x):
        return g * (1 + np.tan(x) ** 2)


@function(uniform(3, -3, 3), dtypes=BOTH)
class numba_loop:
    @staticmethod
    @numba.njit
    def forward(x):
        y = np.empty_like(x)
        for i in range(x.size):
            y[i] = x[i] * x[i] * x[i] - 2 * x[i]
        return y

    @staticmethod
    @numba.njit
    def backward(g, x):
        return g * (3 * x * x - 2).astype(x.dtype)


@function(uniform(3, 0.2, 3), dtypes=BOTH)
class numba_vectorize:
    forward = staticmethod(numba.vectorize(["f4(f4)", "f8(f8)"])(lambda x: math.log(x) * x))

    def backward(g, x):
        return g * (np.log(x) + 1)
