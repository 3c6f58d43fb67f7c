"""The table of operators: parameters, and kinks where the slope jumps. (Accuracy: ``tests/test_ops.py``.)"""

import mpmath
import numpy as np
import pytest
from mpmath import mpf
from reference import exact

from nbgrad.formulas.table import LOSSES, OPS


def test_the_table():
    for name, op in {**OPS, **LOSSES}.items():
        assert op.name == name and op.forward.__doc__ and op.derivative.__doc__
        names = op.forward.__code__.co_varnames[: op.forward.__code__.co_argcount]
        assert names == op.derivative.__code__.co_varnames[: op.derivative.__code__.co_argcount]
        assert list(op.parameters) == list(names[1 + (name in LOSSES) :])


@pytest.mark.parametrize("op", [op for op in {**OPS, **LOSSES}.values() if op.kinks], ids=lambda op: op.name)
def test_kinks_are_where_the_slope_jumps(op):
    """And nowhere else among ordinary numbers: the table's list is what other gradient checks leave out."""
    f = exact(op.forward)
    arguments = [mpf(v) for v in ([0.0] if op.name in LOSSES else []) + [0.5 * (i + 3) for i in range(len(op.parameters))]]
    with mpmath.workdps(150):
        h = mpf(10) ** -50

        def jump(x):
            return abs((f(x + h, *arguments) - f(x, *arguments)) - (f(x, *arguments) - f(x - h, *arguments))) / h

        kinks = op.kinks_at(*map(float, arguments[op.name in LOSSES :]))
        assert all(jump(mpf(kink)) > 1e-3 for kink in kinks)
        assert all(jump(mpf(x)) < 1e-40 for x in np.linspace(-4, 4, 33) if x not in kinks)
