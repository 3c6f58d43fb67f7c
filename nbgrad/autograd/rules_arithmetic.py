"""The rules of the arithmetic operators, on arrays: a class computes a result and carries its gradient back.

`forward` puts what `vjp` needs into `_saved`. For an input that needs no gradient `_edges` has None; what
only its gradient would need is then neither kept nor computed: `a and g * y` is None for a None. No rule
reduces over broadcast axes: `nbgrad.autograd.propagate` does it for all.

A result of dimension 0 is a NumPy scalar, not an array: its arithmetic takes 40 ns instead of 300.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from nbgrad.autograd.devices import device_name, move, on_cpu, zeros
from nbgrad.autograd.factors import in_range, power, product
from nbgrad.autograd.tape import Node


class Add(Node):
    __slots__ = ()
    _shares = True

    def forward(self, x, y):
        return x + y

    def vjp(self, g):
        return g, g


class Sub(Node):
    __slots__ = ()
    _shares = True

    def forward(self, x, y):
        return x - y

    def vjp(self, g):
        return g, self._edges[1] and -g


class Mul(Node):
    __slots__ = ()

    def forward(self, x, y):
        a, b = self._edges
        self._saved = b and x, a and y
        return x * y

    def vjp(self, g):
        x, y = self._saved
        a, b = self._edges
        return a and g * y, b and g * x


class Div(Node):
    __slots__ = ()

    def forward(self, x, y):
        self._saved = self._edges[1] and x, y
        return x / y

    def vjp(self, g):
        x, y = self._saved
        if not self._edges[1]:
            return g / y, None

        ga = None

        def quick():
            nonlocal ga
            ga = g / y
            return -ga * (x / y)  # not x/y²: y² overflows where the quotient does not

        gb = in_range(quick, lambda: -product((g, x), (y, y)), g)
        return ga, gb


class FloorDiv(Node):
    """⌊x/y⌋: a step function, whose derivative is 0."""

    __slots__ = ()

    def forward(self, x, y):
        return x // y

    def vjp(self, g):
        a, b = self._edges
        return a and zeros(g.shape, g), b and zeros(g.shape, g)


class Mod(Node):
    """x − y·⌊x/y⌋."""

    __slots__ = ()
    _shares = True

    def forward(self, x, y):
        self._saved = self._edges[1] and x // y
        return x % y

    def vjp(self, g):
        return g, self._edges[1] and -g * self._saved


class Pow(Node):
    __slots__ = ()

    def forward(self, x, y):
        z = x**y
        self._saved = x, y, self._edges[1] and z
        return z

    def vjp(self, g):
        x, y, z = self._saved
        a, b = self._edges
        if a:
            # d(x^0)/dx = 0 at x = 0 too; y·x^(y-1) would be 0·inf
            less = np.where(y == 0, y, y - 1) if isinstance(y, np.ndarray) else y if y == 0 else y - 1
            a = in_range(lambda: g * (y * x**less), lambda: product((g, y, *power(x, less))), g)
        if b:
            # d(0^y)/dy = 0 for y >= 0, the limit from above in x; z·log(x) would be 0·-inf
            log = np.log(np.where((x == 0) & (y >= 0), z.dtype.type(1), x))
            # z itself may have left the range before; a GPU is not asked, there `in_range` always makes both
            lost = on_cpu(g) and np.any(((abs(z) < np.finfo(z.dtype).tiny) & (x != 0)) | ~np.isfinite(z))
            b = in_range(lambda: g * (z * log), lambda: product((g, *power(x, y), log)), g, bool(lost))
        return a, b


class Neg(Node):
    __slots__ = ()

    def forward(self, x):
        return -x

    def vjp(self, g):
        return (-g,)


class Abs(Node):
    __slots__ = ()

    def forward(self, x):
        self._saved = x
        return abs(x)

    def vjp(self, g):
        return (g * np.sign(self._saved),)


def _floats(x: Any) -> Any:
    """Integers and bools as float64: of small ones NumPy makes float16."""
    return x if x.dtype.kind == "f" else x.astype(np.float64)


class Exp(Node):
    __slots__ = ()

    def forward(self, x):
        y = self._saved = np.exp(_floats(x))
        return y

    def vjp(self, g):
        return (g * self._saved,)


class Log(Node):
    __slots__ = ()

    def forward(self, x):
        self._saved = x = _floats(x)
        return np.log(x)

    def vjp(self, g):
        return (g / self._saved,)


class Sqrt(Node):
    __slots__ = ()

    def forward(self, x):
        y = self._saved = np.sqrt(_floats(x))
        return y

    def vjp(self, g):
        return (g / (2 * self._saved),)


def rows(array: Any) -> Any:
    """All vectors along the last axis as the rows of one matrix; reshape(-1, 0) would be an error."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def for_blas(x: Any) -> Any:
    """The operand of a product, copied where NumPy would multiply without BLAS: slowly, and adding one number after the
    other in the operands' precision (rows backwards, every other column, a broadcast array).
    """
    if type(x) is not np.ndarray or x.flags.forc or not x.ndim:
        return x
    strides = x.strides[-2:]
    return x if x.ndim > 1 and min(strides) > 0 and x.itemsize in strides else x.copy(order="C")


class MatMul(Node):
    __slots__ = ()

    def forward(self, x, y):
        try:
            x, y = for_blas(x), for_blas(y)
            z = np.matmul(x, y)
        except ValueError:
            shapes = f"{np.shape(x)} and {np.shape(y)}"
            raise ValueError(
                f"matmul: expected shapes (..., n, k) and (..., k, m), or (k,), got {shapes}"
            ) from None
        a, b = self._edges
        self._saved = b and x, a and y, x.ndim, y.ndim
        return z

    def vjp(self, g):
        x, y, x_ndim, y_ndim = self._saved
        a, b = self._edges
        # A vector stands for a matrix of one row (left) or of one column (right): an axis the result lacks.
        row, column, g = x_ndim == 1, y_ndim == 1, for_blas(g)
        if column:
            g = g[..., None]
        if row:
            g = g[..., None, :]
        if a:
            y = y[:, None] if column else y
            a = g @ y.swapaxes(-1, -2)  # of a row (..., 1, k): `fit` drops the axis with the broadcast ones
        if b:
            x = x[None] if row else x
            if x_ndim > 2 >= y_ndim:  # one product over all matrices, not one each and their sum
                b = rows(x).T @ rows(g)
            else:
                b = x.swapaxes(-1, -2) @ g
            b = b[..., 0] if column else b
        return a, b


class Maximum(Node):
    """Where both are equal each has half of the gradient."""

    __slots__ = ()

    def forward(self, x, y):
        self._saved = x, y
        return np.maximum(x, y)

    def vjp(self, g):
        return self._share(g, *self._saved)

    @staticmethod
    def _share(g, greater, smaller):
        half = np.where(greater == smaller, g / 2, g)
        return np.where(greater < smaller, 0, half), np.where(greater > smaller, 0, half)


class Minimum(Maximum):
    """Where both are equal each has half of the gradient."""

    __slots__ = ()

    def forward(self, x, y):
        self._saved = x, y
        return np.minimum(x, y)

    def vjp(self, g):
        return self._share(g, *self._saved)[::-1]


def _fitting(x: Any, y: Any) -> Any:
    """A Python integer beside integers in their dtype: OverflowError where that does not hold it."""
    return y.dtype.type(x) if type(x) is int and y.dtype.kind in "iu" else x


class Where(Node):
    __slots__ = ()

    def forward(self, x, y, condition):
        self._saved = condition
        return np.where(condition, _fitting(x, y), _fitting(y, x))

    def vjp(self, g):
        condition = self._saved
        return np.where(condition, g, 0), np.where(condition, 0, g)  # not products: 0·inf


class Clip(Node):
    __slots__ = ()

    def forward(self, x, low, high):
        self._saved = x, low, high
        return np.clip(x, low, high)

    def vjp(self, g):
        x, low, high = self._saved
        inside = (low is None or x >= low) & (high is None or x <= high)
        return (np.where(inside, g, 0),)


class Move(Node):
    """The same elements on another device; the gradient goes back."""

    __slots__ = ()
    _shares = True

    def forward(self, x, moved):
        self._saved = device_name(x)
        return moved

    def vjp(self, g):
        return (move(g, self._saved),)


class Cast(Node):
    """A copy of another dtype, or of the same."""

    __slots__ = ()
    _shares = True

    def forward(self, x, dtype):
        return x.astype(dtype)

    def vjp(self, g):
        return (g,)  # cast back by `propagate`
