"""Python's own ways: numbers of math, loops, comprehensions, float64 made of what came; results that are one number."""

from __future__ import annotations

import math

import numba
import numpy as np

from .entry import BOTH, F64, Table, normal, spread, ties, uniform

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


@function(normal(5))
class numba_sum_of_squares:
    @staticmethod
    @numba.njit
    def forward(x):
        s = 0.0
        for v in x:
            s += v * v
        return s

    def backward(g, x):
        return 2 * g * x


@function(uniform(3, 0.2, 3), dtypes=BOTH)
class numba_vectorize:
    forward = staticmethod(numba.vectorize(["f4(f4)", "f8(f8)"])(lambda x: math.log(x) * x))

    def backward(g, x):
        return g * (np.log(x) + 1)


# ---- recurrences


@function(normal(5), dtypes=BOTH)
class recurrent_tanh:
    def forward(x):
        h, states = 0.0, []
        for v in x:
            h = math.tanh(0.5 * h + float(v))
            states.append(h)
        return np.array(states, x.dtype)

    def backward(g, x):
        h, slopes = 0.0, []
        for v in x:
            h = np.tanh(0.5 * h + np.float64(v))
            slopes.append(1 - h * h)
        grad, carried = np.zeros(len(x)), 0.0
        for t in reversed(range(len(x))):
            carried = (g[t] + 0.5 * carried) * slopes[t]
            grad[t] = carried
        return grad.astype(x.dtype)


@function(normal(6), dtypes=BOTH)
class exponential_smoothing:
    def forward(x):
        y = np.empty_like(x)
        s = x[0]
        for i, v in enumerate(x):
            s = 0.75 * s + 0.25 * v
            y[i] = s
        return y

    def backward(g, x):
        grad, s = np.zeros_like(x), x.dtype.type(0)
        for i in range(len(x) - 1, -1, -1):
            s = s * 0.75 + g[i]
            grad[i] = 0.25 * s
        grad[0] += 0.75 * s
        return grad


@function(uniform((), 0.5, 5))
class root_by_Newton:
    """y³ + y = x; the derivative by the implicit function theorem."""

    def forward(x):
        y = 1.0
        for _ in range(60):
            y -= (y**3 + y - float(x)) / (3 * y * y + 1)
        return np.array(y)

    def backward(g, x):
        y = root_by_Newton.forward(x)
        return g / (3 * y * y + 1)


# ---- one number as the result


@function(normal(4), dtypes=BOTH)
class sum_of_squares:
    def forward(x):
        return (x**2).sum()

    def backward(g, x):
        return g * 2 * x


@function(normal(4))
class float_of_dot:
    def forward(x):
        return float(np.dot(x, x))

    def backward(g, x):
        return 2 * g * x


@function(normal((2, 2)))
class fsum_of_squares:
    def forward(x):
        return math.fsum(v * v for v in x.ravel())

    def backward(g, x):
        return 2 * g * x


@function(normal(4), dtypes=BOTH)
class mean_as_0d_array:
    def forward(x):
        return np.array(np.mean(np.sin(x)))

    def backward(g, x):
        return g * np.cos(x) / x.size


@function(normal(()), dtypes=BOTH)
class number_to_number:
    def forward(x):
        return x * np.exp(-x)

    def backward(g, x):
        return g * (1 - x) * np.exp(-x)


@function(normal(()))
class math_of_a_number:
    def forward(x):
        return math.cos(x) * math.cosh(x)

    def backward(g, x):
        return g * (math.cos(x) * math.sinh(x) - math.sin(x) * math.cosh(x))


@function(normal(4), dtypes=BOTH)
class builtin_sum:
    def forward(x):
        return sum(v * v * v for v in x)

    def backward(g, x):
        return g * 3 * x**2


@function(ties(5), dtypes=(F64,))
class builtin_max:
    def forward(x):
        return max(float(v) for v in x)

    def backward(g, x):
        grad = np.zeros_like(x)
        grad[np.argmax(x)] = g
        return grad


@TABLE.objective(normal(4, 0.5))
def rosenbrock(x):
    value = sum(100 * (x[i + 1] - x[i] ** 2) ** 2 + (1 - x[i]) ** 2 for i in range(len(x) - 1))
    gradient = np.zeros_like(x)
    for i in range(len(x) - 1):
        gradient[i] += -400 * x[i] * (x[i + 1] - x[i] ** 2) - 2 * (1 - x[i])
        gradient[i + 1] += 200 * (x[i + 1] - x[i] ** 2)
    return float(value), gradient


@TABLE.objective(normal(3), dtypes=BOTH)
def least_squares(w):
    A = np.arange(12.0).reshape(4, 3) % 5 - 2
    r = A @ np.asarray(w, np.float64) - np.array([1.0, 0, 2, -1])
    return 0.5 * float(r @ r), (A.T @ r).astype(w.dtype)


@TABLE.objective(normal(3))
def himmelblau_in_lists(x):
    a, b, c = x.tolist()
    value = (a * a + b - 11) ** 2 + (a + b * b - 7) ** 2 + c**2
    return value, np.array([4 * a * (a * a + b - 11) + 2 * (a + b * b - 7), 2 * (a * a + b - 11) + 4 * b * (a + b * b - 7), 2 * c])
