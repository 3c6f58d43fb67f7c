"""Elementwise loops: when they are parallel, and how many vectors they take at once."""

import numpy as np
import pytest

from nbgrad.cpu import elementwise
from nbgrad.formulas.table import OPS
from nbgrad.jit.vector_map import _SHORT, _length


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "hardtanh", "hardswish", "softsign"])
def test_light_formulas_are_serial_for_longer(name):
    assert elementwise.forward(OPS[name]).threshold == 65_536
    assert elementwise.backward(OPS[name]).threshold == 32_768  # it reads two arrays


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "silu", "gelu", "softplus", "celu"])
def test_formulas_with_an_exponential_are_not(name):
    assert elementwise.forward(OPS[name]).threshold == elementwise.backward(OPS[name]).threshold == 32_768


def test_work_is_memory():
    assert elementwise.work_of(np.empty(10, np.float32)) == 10
    assert elementwise.work_of(np.empty((5, 2))) == 20


def test_the_length_of_a_formula_counts_what_it_calls():
    short, long = (_length(op) for op in (OPS["silu"].forward, OPS["gelu_tanh"].derivative))
    assert 0 < short < _SHORT < long
    assert _length(OPS["softplus"].derivative) > _length(OPS["sigmoid"].forward)
    assert _length(len) == _length(None) == 0
