"""nbgrad's own gradients: every row of the tables of operators and losses, row function, loss kernel and objective."""

import hypothesis
import pytest
from right import NBGRAD, OTHERS

from nbgrad.formulas.table import LOSSES, OPS

few = hypothesis.settings(max_examples=5, deadline=None)


@pytest.mark.parametrize("name", NBGRAD)
def test_gradient(name):
    test = NBGRAD[name](settings=few)
    test()
    assert test.report.elements


@pytest.mark.parametrize("name", OTHERS)
def test_no_false_alarm(name):
    test = OTHERS[name](settings=few)
    test()
    assert test.report.elements


def test_every_row_of_the_tables_is_there():
    for op in (*OPS, *LOSSES):
        for dtype in ("float32", "float64"):
            assert f"{op} {dtype}" in NBGRAD
