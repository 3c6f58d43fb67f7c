"""Whatever the options of the user's ``@njit`` function, the elementwise kernels give the same bits in it as from Python.

All rows of the table are called in one function, which costs seconds to compile. (Without options: ``test_compiled.py``.)
"""

import numpy as np
import pytest
from numba import njit, prange
from reference import float_inputs
from strategies import same_bits

from nbgrad import kernels
from nbgrad.ops import OPS

# everything but nnan and ninf, which would remove the tests for nan and inf
FLAGS = {"contract", "reassoc", "nsz", "arcp", "afn"}


def users_function(names, **options):
    """``f(g, x, numbers)``: fills numbers[k] by the k-th kernel of each number, and returns every kernel of the arrays."""
    arguments = ["g{0}, x{0}" if name.endswith("_backward") else "x{0}" for name in names]
    lines = [
        f"  numbers[{k}, i] = {n}({a.format('[i]')})"
        for k, (n, a) in enumerate(zip(names, arguments, strict=True))
    ]
    arrays = "".join(f"{n}({a.format('')}), " for n, a in zip(names, arguments, strict=True))
    source = "\n".join(["def f(g, x, numbers):", " for i in prange(x.size):", *lines, f" return ({arrays})"])
    namespace = {"prange": prange, **{name: getattr(kernels, name) for name in names}}
    exec(source, namespace)
    return njit(**options)(namespace["f"])


@pytest.mark.parametrize(
    ("dtype", "options", "step"),
    [
        (np.float32, {"fastmath": FLAGS}, 1),
        (np.float64, {"parallel": True, "fastmath": FLAGS}, 3),  # every third row: a parallel one takes long
    ],
    ids=["fastmath-float32", "parallel-fastmath-float64"],
)
def test_a_callers_options_change_nothing(dtype, options, step):
    names = [name for op in list(OPS)[::step] for name in (op, op + "_backward")]
    x = np.append(float_inputs(dtype, 3000), np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype))
    g = np.random.default_rng(0).normal(size=x.size).astype(dtype)
    numbers = np.empty((len(names), x.size), dtype)
    arrays = users_function(names, **options)(g, x, numbers)
    for name, of_numbers, of_array in zip(names, numbers, arrays, strict=True):
        expected = getattr(kernels, name)(*((g, x) if name.endswith("_backward") else (x,)))
        same_bits(of_numbers, expected)
        same_bits(of_array, expected)
