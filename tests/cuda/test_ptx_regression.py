"""The regression models' CUDA kernels as machine code: like ``test_ptx``, with as many blocks side by side as are launched."""

import re
from types import SimpleNamespace

import numba
import numpy as np
import pytest
from numba import float32, float64, int64
from numba.types import UniTuple
from test_ptx import CAPABILITIES, L, assembled, i

pytestmark = pytest.mark.cuda

# (model, Hessian, classes, features, dtype of X, of the products): those that must be fast
FAST = [
    ("logistic", False, 1, 100, "float32", "float32"),
    ("softmax", False, 10, 100, "float32", "float32"),
    ("softmax", False, 10, 784, "float32", "float32"),
    ("softmax", True, 10, 784, "float32", "float32"),
    ("softmax", False, 10, 784, "uint8", "float32"),
    ("logistic", False, 1, 784, "float32", "float32"),
]
# other ways to take rows, up to the widest; registers are scarcest for 8.0
OTHERS = [
    ("softmax", True, 10, 100, "float32", "float32"),
    ("softmax", False, 7, 33, "float32", "float32"),
    ("softmax", False, 3, 100, "uint8", "float32"),
    ("logistic", True, 1, 33, "uint8", "float32"),
    ("huber", True, 1, 100, "float32", "float64"),
    ("logistic_mse", True, 1, 784, "float32", "float32"),
    ("linear", False, 1, 33, "float32", "float32"),
    ("logistic", False, 1, 8192, "float32", "float32"),
    ("softmax", False, 32, 60, "float32", "float32"),
    ("softmax", True, 10, 2048, "float32", "float32"),
    ("softmax", False, 10, 100, "float32", "float64"),
    ("logistic", True, 1, 784, "float64", "float64"),
    ("softmax", True, 32, 256, "float64", "float64"),
]


@pytest.fixture(params=CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
def capability(request, monkeypatch):
    from numba.cuda import dispatcher

    device = SimpleNamespace(compute_capability=request.param, id=0)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    return request.param


def code(kernel, types, capability, bounds=None):
    from numba import cuda

    ptx = cuda.compile_ptx(kernel.py_func, types, cc=capability, launch_bounds=bounds)[0]
    assert "call" not in ptx and ".local" not in ptx and "atom." not in ptx
    return ptx


@pytest.mark.parametrize("case", FAST + OTHERS, ids=lambda c: "-".join(map(str, c)))
@pytest.mark.parametrize("once", [False, True])
def test_passes(case, capability, once, tmp_path):
    if (case in OTHERS or once) and capability != CAPABILITIES[0]:
        return
    from nbgrad.cuda.regression import one_pass as cuda_regression
    from nbgrad.cuda.regression.staged import staged_kernel
    from nbgrad.cuda.regression.tiles import Staged

    model, hessian, classes, features, x_dtype, name = case
    dtype, x, numbers = np.dtype(name), getattr(numba, x_dtype)[::1], getattr(numba, name)[::1]
    tile = cuda_regression.tile_of(classes, features, dtype, x_dtype, True)
    staged = isinstance(tile, Staged)
    if staged:
        kernel = staged_kernel(model, hessian, dtype, np.dtype(x_dtype), tile, 512, once)
    else:
        kernel = cuda_regression.pass_kernel(model, hessian, dtype, tile, once)
    target = L if model == "softmax" else numbers
    threads, side_by_side = bounds = kernel.targetoptions["launch_bounds"]
    ptx = code(kernel, (x, i, i, target, numbers, numbers, x, L, numbers), capability, bounds)
    assert name == "float64" or ".f64" not in ptx
    if staged:  # rows go to shared memory, and are read there
        assert not re.search(r"(ld|st)\.(v\d\.)?(f32|f64|u8)", ptx), "a generic address"
        if tile.width * np.dtype(x_dtype).itemsize > 2:
            assert ptx.count("cp.async.c") >= tile.own * tile.together
    elif tile.width > 1:  # each line of X once before the loop, and once in it: the next tile
        line = {"float32": "v4.f32", "float64": "v2.f64", "uint8": "v4.u8"}[x_dtype]
        assert ptx.count(f"ld.global.{line}") >= 2 * tile.rows * tile.lines
    assembled(ptx, capability, tmp_path, 65536 // (threads * side_by_side))


@pytest.mark.parametrize("number", [float32, float64], ids=str)
def test_what_is_around_them(number, capability, tmp_path):
    from nbgrad.cuda.regression import models as cuda_terms
    from nbgrad.cuda.regression import packing

    a, dtype = number[::1], np.dtype(str(number))
    for kernel, types in (
        (cuda_terms.terms_kernel("logistic", False, dtype), (a, a, a, a, a, a, a)),
        (cuda_terms.terms_kernel("logistic_mse", True, dtype), (a, a, a, a, a, a, a)),
        (cuda_terms.targets_kernel("linear"), (a, i, L)),
        (cuda_terms.targets_kernel("softmax"), (int64[::1], i, L)),
    ):
        ptx = code(kernel, types, capability)
        assert number is float64 or ".f64" not in ptx
        assembled(ptx, capability, tmp_path)
    for kernel, types in (  # with float64 numbers, which are few there
        (packing.pack_kernel(dtype), (a, a, a, UniTuple(i, 5), float64, a)),
        (packing.answer_kernel(dtype), (a, i, UniTuple(i, 9), float64, float64, a, a)),
    ):
        bounds = kernel.targetoptions.get("launch_bounds")
        assembled(code(kernel, types, capability, bounds), capability, tmp_path, 64 if bounds else 128)


def test_what_fits():
    """Where X is read once: the table of the documentation."""
    from nbgrad.cuda.regression import one_pass as cuda_regression

    def fits(classes, features, dtype=np.float32):
        return cuda_regression.tile_of(classes, features, dtype, dtype, True) is not None

    for classes, features in ((1, 8192), (10, 2048), (32, 512)):
        assert fits(classes, features) and not fits(classes, features + 4)
    assert fits(classes, features - 1) and (classes == 32 or fits(classes, features // 2, np.float64))
    assert not fits(33, 1)
