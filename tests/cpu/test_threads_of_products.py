"""Products with threads by their work: what NumPy gives, and the process's setting as it was."""

import os
import subprocess
import sys
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nbgrad.cpu import blas

OPENBLAS = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
needs_openblas = pytest.mark.skipif("openblas" not in OPENBLAS, reason=f"NumPy calls {OPENBLAS}")


class Noted:
    """In the place of OpenBLAS's functions."""

    def __init__(self, count):
        self.count, self.set_to = count, []

    def get(self):
        return self.count

    def set(self, count):
        self.set_to.append(count)
        self.count = count


@pytest.fixture
def noted(monkeypatch):
    control = Noted(7)
    monkeypatch.setattr(blas, "threads", lambda: control)
    return control


def ones(*shape):
    return np.ones(shape, np.float32)


@given(st.data())
def test_products_are_numpys(data):
    shapes = data.draw(hnp.mutually_broadcastable_shapes(signature="(n?,k),(k,m?)->(n?,m?)", max_dims=1, max_side=4))
    x, y = (np.arange(np.prod(s), dtype=np.float32).reshape(s) - 3 for s in shapes.input_shapes)
    product = blas.matmul(x, y)
    assert product.shape == shapes.result_shape and product.dtype == np.float32
    np.testing.assert_array_equal(product, np.matmul(x, y))


@pytest.mark.parametrize("shapes", [((0, 1), (1, 3)), ((2, 1), (1, 3)), ((5, 2, 1), (1, 3)), ((2, 1), (4, 1, 3))])
def test_products_over_one_number_are_numpys(shapes):
    x, y = (np.random.default_rng(0).normal(size=s) for s in shapes)
    np.testing.assert_array_equal(blas.matmul(x, y), np.matmul(x, y))


def test_operands_that_do_not_fit_are_numpys_error():
    for x, y in ((ones(2, 1), ones(3, 2)), (ones(2, 3), ones(2)), (ones(3), ones(2, 3))):
        with pytest.raises(ValueError, match="matmul"):
            blas.matmul(x, y)


def test_threads_by_the_work(noted):
    blas.matmul(ones(30, 20), ones(20, 10))  # OpenBLAS takes one by itself
    assert noted.set_to == []
    blas.matmul(ones(100, 300), ones(300, 200))
    blas.matmul(ones(100, 300), ones(300))
    assert noted.set_to == [1, 7, 1, 7]
    blas.matmul(ones(300, 300), ones(300, 300))
    assert noted.set_to == [1, 7, 1, 7]
    noted.count = 1
    blas.matmul(ones(100, 300), ones(300, 200))
    assert noted.set_to == [1, 7, 1, 7]


def test_the_setting_is_put_back_after_an_error(noted):
    with pytest.raises(ValueError, match="matmul"):
        blas.matmul(ones(100, 300), ones(301, 200))
    assert noted.set_to == [1, 7]


def test_other_threads_leave_the_setting_alone(noted):
    thread = Thread(target=lambda: blas.matmul(ones(100, 300), ones(300, 200)))
    thread.start()
    thread.join()
    assert noted.set_to == []


@needs_openblas
def test_openblas_is_found():
    control = blas.threads()
    before = control.get()
    try:
        control.set(1)
        assert control.get() == 1
    finally:
        control.set(before)


@needs_openblas
@pytest.mark.parametrize(("keep", "expected"), [("", "2 [1, 2]"), ("keep", "2 []")])
def test_the_environment_says_to_keep(keep, expected):
    """In a process of its own; NumPy's own number of threads is what it was, and within a product 1."""
    code = """
import numpy as np, nbgrad
from nbgrad.cpu import blas
control, seen = blas.threads(), []
if control is not None:
    blas.threads = lambda: blas.Threads(control.get, lambda n: (seen.append(n), control.set(n)))
w = nbgrad.tensor(np.ones((300, 200), np.float32), requires_grad=True)
x = nbgrad.tensor(np.ones((100, 300), np.float32))
y = x @ w
print(control.get() if control else 2, seen)
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2", "NBGRAD_BLAS_THREADS": keep}
    answer = subprocess.run([sys.executable, "-c", code], env=environment, cwd=Path(__file__).parent.parent.parent, capture_output=True, text=True)
    assert answer.stdout.strip() == expected, answer.stderr
