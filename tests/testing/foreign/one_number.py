"""Recurrences, and functions whose result is one number: of NumPy, a Python float, a 0-d array."""

from __future__ import annotations

import math

import numba
import numpy as np

from .entry import BOTH, Table, normal, ties, uniform

TABLE = Table()
function = TABLE.function

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


@function(ties(5))
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
