"""NumPy's functions of one and two numbers, sums and scans."""

from __future__ import annotations

import numpy as np

from .entry import BOTH, Table, normal, spread, ties, uniform

TABLE = Table()
function = TABLE.function


def expit(x):
    return np.where(x >= 0, 1, np.exp(-np.abs(x))) / (1 + np.exp(-np.abs(x)))


# ---- functions of one or two numbers


@function(spread(3, -50, 50), spread(3, -50, 50), dtypes=BOTH)
class logaddexp:
    def forward(x, y):
        return np.logaddexp(x, y)

    def backward(g, x, y):
        return g * expit(x - y).astype(x.dtype), g * expit(y - x).astype(x.dtype)


@function(uniform(3, -5, 5), uniform(3, -5, 5))
class logaddexp2:
    def forward(x, y):
        return np.logaddexp2(x, y)

    def backward(g, x, y):
        return g / (1 + 2 ** (y - x)), g / (1 + 2 ** (x - y))


@function(normal(3), normal(3), dtypes=BOTH)
class hypot:
    def forward(x, y):
        return np.hypot(x, y)

    def backward(g, x, y):
        h = np.hypot(x, y)
        return g * x / h, g * y / h


@function(normal(3), normal(3))
class arctan2:
    def forward(y, x):
        return np.arctan2(y, x)

    def backward(g, y, x):
        return g * x / (x * x + y * y), -g * y / (x * x + y * y)


@function(uniform(3, 0.2, 4), uniform(3, -3, 3), dtypes=BOTH)
class power:
    def forward(x, p):
        return x**p

    def backward(g, x, p):
        return g * p * x ** (p - 1), g * x**p * np.log(x)


@function(uniform(3, 0.1, 3))
class sinc:
    def forward(x):
        return np.sinc(x)

    def backward(g, x):
        p = np.pi * x
        return g * np.pi * (np.cos(p) / p - np.sin(p) / p**2)


@function(uniform(3, 0.05, 50), dtypes=BOTH)
class cbrt:
    def forward(x):
        return np.cbrt(x)

    def backward(g, x):
        return g / (3 * np.cbrt(x) ** 2)


@function(uniform(3, 0.1, 50))
class log2_and_exp2:
    def forward(x):
        return np.log2(x) + np.exp2(-x)

    def backward(g, x):
        return g * (1 / (x * np.log(2)) - np.log(2) * np.exp2(-x))


@function(uniform(3, -0.9, 0.9), dtypes=BOTH)
class inverse_functions:
    def forward(x):
        return np.arcsin(x) + np.arctanh(x) * np.arcsinh(x)

    def backward(g, x):
        return g * (1 / np.sqrt(1 - x * x) + np.arcsinh(x) / (1 - x * x) + np.arctanh(x) / np.sqrt(1 + x * x))


@function(spread(3, -1, 1), dtypes=BOTH)
class arctanh:
    """NumPy's loops give other last bits for arrays that lie apart."""

    forward = np.arctanh

    def backward(g, x):
        return g / ((1 - x) * (1 + x))


@function(uniform(3, -80, 80))
class degrees:
    def forward(x):
        return np.cos(np.deg2rad(x))

    def backward(g, x):
        return -g * np.pi / 180 * np.sin(np.deg2rad(x))


@function(ties(4), ties(4))
class maximum_of_two_shares_ties:
    def forward(x, y):
        return np.maximum(x, y)

    def backward(g, x, y):
        share = np.where(x == y, 0.5, x > y)
        return g * share, g * (1 - share)


@function(ties(4), ties(4))
class fmin_takes_the_first:
    def forward(x, y):
        return np.fmin(x, y)

    def backward(g, x, y):
        return g * (x <= y), g * (x > y)


@function(normal(4), dtypes=BOTH)
class absolute:
    def forward(x):
        return np.abs(x)

    def backward(g, x):
        return g * np.sign(x)


@function(spread(4, -3, 3))
class clip:
    def forward(x):
        return np.clip(x, -1, 1)

    def backward(g, x):
        return g * ((x >= -1) & (x <= 1))


@function(normal(4, 2), dtypes=BOTH)
class where_of_two_branches:
    def forward(x):
        return np.where(x > 0, x * x, np.sin(x))

    def backward(g, x):
        return g * np.where(x > 0, 2 * x, np.cos(x))


@function(uniform(4, -1, 4))
class piecewise:
    def forward(x):
        return np.piecewise(x, [x < 0, (x >= 0) & (x < 2), x >= 2], [lambda v: -v, lambda v: v**2, lambda v: 4 * v - 4])

    def backward(g, x):
        return g * np.select([x < 0, x < 2], [-1, 2 * x], 4)


@function(uniform(4, 0, 5))
class interp_in_x:
    nodes = np.array([0.0, 1, 2, 3.5, 5]), np.array([1.0, -1, 0.5, 2, 0])

    def forward(x):
        return np.interp(x, *interp_in_x.nodes)

    def backward(g, x):
        at, values = interp_in_x.nodes
        i = np.clip(np.searchsorted(at, x, side="right") - 1, 0, 3)
        return g * (np.diff(values) / np.diff(at))[i]


@function(normal(4))
class interp_in_the_values:
    def forward(values):
        return np.interp([0.25, 1.5, 2.75], [0, 1, 2, 3], values)

    def backward(g, values):
        weights = np.array([[0.75, 0.25, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0.25, 0.75]])
        return g @ weights


@function(normal(4), uniform((), -2, 2))
class polyval:
    def forward(c, x):
        return np.polyval(c, x)

    def backward(g, c, x):
        return g * x ** np.arange(3, -1, -1), g * np.polyval(np.polyder(c), x)


# ---- sums and scans


@function(normal((2, 3)), dtypes=BOTH)
class cumsum:
    def forward(x):
        return np.cumsum(x, axis=1)

    def backward(g, x):
        return np.cumsum(g[:, ::-1], axis=1)[:, ::-1]


@function(uniform(5, 0.3, 2), dtypes=BOTH)
class cumprod:
    def forward(x):
        return np.cumprod(x)

    def backward(g, x):
        return np.cumsum((g * np.cumprod(x))[::-1])[::-1] / x


@function(uniform(4, 0.2, 3))
class prod_by_division:
    def forward(x):
        return np.prod(x)

    def backward(g, x):
        return g * np.prod(x) / x


@function(normal((3, 2)), dtypes=BOTH)
class variance:
    def forward(x):
        return np.var(x, axis=0, ddof=1)

    def backward(g, x):
        return 2 * g * (x - x.mean(axis=0)) / 2


@function(normal(5))
class standard_deviation:
    def forward(x):
        return x.std()

    def backward(g, x):
        return g * (x - x.mean()) / (x.size * x.std())


@function(normal(4), uniform(4, 0.5, 2))
class average:
    def forward(x, w):
        return np.average(x, weights=w)

    def backward(g, x, w):
        return g * w / w.sum(), g * (x - np.average(x, weights=w)) / w.sum()


@function(normal(5))
class trapezoid:
    def forward(y):
        return np.trapezoid(y, dx=0.5)

    def backward(g, y):
        return g * np.array([0.25, 0.5, 0.5, 0.5, 0.25])


@function(normal(5))
class total_variation:
    def forward(x):
        return np.abs(np.diff(x)).sum()

    def backward(g, x):
        s = np.sign(np.diff(x))
        return g * (np.concatenate([[0.0], s]) - np.concatenate([s, [0.0]]))


@function(normal(5))
class gradient_of_samples:
    def forward(x):
        return np.gradient(x)

    def backward(g, x):
        matrix = np.array([np.gradient(row) for row in np.eye(5)])
        return matrix @ g
