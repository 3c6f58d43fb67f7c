"""How a foreign function joins the table: by a decorator, once for each dtype, with what its arguments are drawn from."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import strategies as st

from nbgrad.testing import array, check_autograd, check_gradient, check_objective, gradient_test
from nbgrad.testing.examples.specs import Spec

__all__ = ["BOTH", "F32", "F64", "Table", "fixed", "integers", "normal", "spread", "ties", "uniform"]

F32, F64 = np.float32, np.float64
BOTH = (F32, F64)

Make = Callable[[Any], Spec]


_numbers = itertools.count()


def _drawn(draw: Callable[[Any], Any], dtype: Any, **limits: Any) -> Spec:
    """Arrays of a random generator whose seed is drawn, as users draw them; another one for every argument, so that
    equal seeds make no equal arguments.
    """
    own = next(_numbers)
    seeds = st.integers(0, 2**32 - 1)
    return Spec(seeds.map(lambda seed: draw(np.random.default_rng([own, seed])).astype(dtype)), **limits)


def normal(shape: Any, scale: float = 1.0, kinks: Any = ()) -> Make:
    return lambda dtype: _drawn(lambda rng: rng.normal(0, scale, shape), dtype, kinks=kinks)


def uniform(shape: Any, low: float, high: float, kinks: Any = ()) -> Make:
    return lambda dtype: _drawn(lambda rng: rng.uniform(low, high, shape), dtype, kinks=kinks, domain=(low, high))


def ties(shape: Any) -> Make:
    """Halves from -2 to 2: most of the elements are equal to others."""
    return lambda dtype: _drawn(lambda rng: rng.integers(-4, 5, shape) / 2, dtype)


def spread(shape: Any, low: float, high: float, kinks: Any = ()) -> Make:
    """`nbgrad.testing.array`: every exponent, the ends, ties, all ways to lie in memory."""
    return lambda dtype: array(shape, dtype, (low, high), kinks)


def integers(shape: Any, below: int) -> Make:
    return lambda dtype: _drawn(lambda rng: rng.integers(0, below, shape), np.int64)


def fixed(value: Any) -> Make:
    """The same array in every example."""
    return lambda dtype: Spec(st.just(np.asarray(value, dtype)))


class Table(dict[str, Callable[..., Any]]):
    """Names to functions of hypothesis settings that make the property, as in `right.RIGHT`."""

    def _add(self, name: str, check: Any, functions: Any, specs: Any, dtypes: Any, keywords: dict[str, Any]) -> None:
        for dtype in dtypes:
            key = f"{name.replace('_', ' ').strip()}, {np.dtype(dtype).name}"
            assert key not in self, key
            drawn = (make(dtype) for make in specs)
            self[key] = functools.partial(gradient_test, *functions, *drawn, check=check, **keywords)

    def function(self, *specs: Make, dtypes: Any = (F64,), **keywords: Any) -> Callable[[Any], Any]:
        """For a class with ``forward(*args)`` and ``backward(g, *args)``."""

        def add(pair: Any) -> Any:
            self._add(pair.__name__, check_gradient, (pair.forward, pair.backward), specs, dtypes, keywords)
            return pair

        return add

    def objective(self, *specs: Make, dtypes: Any = (F64,), **keywords: Any) -> Callable[[Any], Any]:
        """For a function ``f(x) -> (value, gradient)``."""

        def add(f: Any) -> Any:
            self._add(f.__name__, check_objective, (f,), specs, dtypes, keywords)
            return f

        return add

    def tensors(self, framework: str, name: str, f: Any, *specs: Make, dtypes: Any = (F64,), **keywords: Any) -> None:
        """For a function of a framework's tensors, whose gradient is the framework's."""
        given = {"framework": framework, **keywords}
        self._add(f"{framework}: {name}", check_autograd, (f,), specs, dtypes, given)
