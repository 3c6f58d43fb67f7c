"""Every CUDA kernel as machine code, without a GPU: PTX for compute capability 8.0 and 9.0, and what `ptxas` makes of it.

float32 kernels must not touch float64 units, which most GPUs have few of; elementwise kernels and rows must load 16 bytes at a time;
nothing may spill registers to memory.
"""

import os
import re
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from numba import boolean, float32, float64, int64, uint64
from numba.types import BaseTuple, UniTuple

from nbgrad.formulas.table import LOSSES, OPS, ROW_FUNCTIONS, Elementwise
from nbgrad.jit import scalar

if os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0"):
    pytest.skip("the simulator compiles nothing", allow_module_level=True)
pytestmark = pytest.mark.cuda

CAPABILITIES = ((8, 0), (9, 0))
L, B, i = int64[::1], boolean[::1], int64


def elementwise(op, kinds):
    from nbgrad.cuda import elementwise as ce

    def numbers(t):
        return BaseTuple.from_types([t] * len(op.parameters))

    return {
        "forward": lambda T, t, a: (ce.forward(op, T), (a, a, i, numbers(t))),
        "backward": lambda T, t, a: (ce.backward(op, T), (a, a, a, i, numbers(t))),
        "value": lambda T, t, a: (ce.loss(op, False, T), (a, a, a, i, numbers(t))),
        "slope": lambda T, t, a: (ce.loss(op, True, T), (a, a, a, i, numbers(t))),
        "target_slope": lambda T, t, a: (ce.target_slope(op, T), (a, a, a, i, numbers(t))),
        "sum": lambda T, t, a: (_losses().sums(op, False, T), (a, a, a, i, numbers(t))),
        "sum_and_slope": lambda T, t, a: (_losses().sums(op, True, T), (a, a, a, a, i, numbers(t), t)),
    }[kinds]


def _losses():
    from nbgrad.cuda import losses as cuda_losses

    return cuda_losses


def _rows():
    from nbgrad.cuda import rows as cuda_rows

    return cuda_rows


def _labels():
    from nbgrad.cuda import labels as cuda_labels

    return cuda_labels


def _updates(name):
    from nbgrad.cuda import updates as cuda_updates

    return cuda_updates.update(name)


def _indexing():
    from nbgrad.cuda import indexing as cuda_indexing

    return cuda_indexing


def _random():
    from nbgrad.cuda import random as cuda_random

    return cuda_random


def _captures():
    from nbgrad.cuda import captures as cuda_captures

    return cuda_captures


def _maxout():
    from nbgrad.cuda import maxout as cuda_maxout

    return cuda_maxout


@scalar
def quartic(x, a, b, c, d):
    return a + x * (b + x * (c + x * d))


@scalar
def d_quartic(x, a, b, c, d):
    return b + x * ((c + c) + x * (d + d + d))


FOUR_PARAMETERS = Elementwise(quartic, d_quartic, dict.fromkeys("abcd", 1.0))

# name: (dtype, array) → (what makes a kernel of the lines ahead and whether rows are made of whole lines, its arguments' types)
ROWS = {
    **{f"{name}_rows": lambda T, a, name=name: (_rows().forward(name, T), (a, i, i, i, a)) for name in ROW_FUNCTIONS},
    **{f"{name}_backward_rows": lambda T, a, name=name: (_rows().backward(name, T), (a, a, i, i, i, a)) for name in ROW_FUNCTIONS},
    "logsumexp": lambda T, a: (_rows().logsumexp(T), (a, i, i, i, a)),
    "logsumexp_backward": lambda T, a: (_rows().logsumexp_backward(T), (a, a, i, i, i, a)),
    "cross_entropy": lambda T, a: (_labels().cross_entropy(False, T), (L, a, i, a, L, a, i, i, i, a)),
    "cross_entropy_and_slope": lambda T, a: (_labels().cross_entropy(True, T), (L, a, i, a, L, a, i, i, i, a, a)),
    "soft_cross_entropy": lambda T, a: (_labels().soft_cross_entropy(False, T), (B, a, a, a, i, i, i, a)),
    "soft_cross_entropy_and_slope": lambda T, a: (_labels().soft_cross_entropy(True, T), (B, a, a, a, i, i, i, a, a)),
}

# name: (whether it loads and stores 16 bytes, (dtype, number, array) → (kernel, its arguments' types))
KERNELS = {
    **{
        f"{name}_{kind}": (True, lambda T, t, a, op=op, kind=kind: elementwise(op, kind)(T, t, a))
        for name, op in (OPS | {"four_parameters": FOUR_PARAMETERS}).items()
        for kind in ("forward", "backward")
    },
    **{
        f"{name}_{kind}": (True, lambda T, t, a, op=op, kind=kind: elementwise(op, kind)(T, t, a))
        for name, op in LOSSES.items()
        for kind in ("value", "slope", "sum", "sum_and_slope")
    },
    **{f"{name}_target_slope": (True, lambda T, t, a, op=op: elementwise(op, "target_slope")(T, t, a)) for name, op in LOSSES.items() if op.target_derivative},
    **{
        f"{name}{kind}": (whole, lambda T, t, a, of=of, kind=(ahead, whole): (of(T, a)[0](*kind), of(T, a)[1]))
        for kind, ahead, whole in (("", 4, True), ("_entries", 2, False))
        for name, of in ROWS.items()
    },
    "array_sums": (True, lambda T, t, a: (_losses().array_sums(T), (a, a, a, i, BaseTuple.from_types([])))),
    "finish": (False, lambda T, t, a: (_losses().finish(T), (a, i, t, a, a))),
    "count_labels": (False, lambda T, t, a: (_losses().count_labels(T), (L, a, i, i, a))),
    "nll": (False, lambda T, t, a: (_labels().nll(False, T), (L, a, i, a, L, a, i, i, a))),
    "nll_and_slope": (False, lambda T, t, a: (_labels().nll(True, T), (L, a, i, a, L, a, i, i, a, a))),
    "sgd": (False, lambda T, t, a: (_updates("sgd"), (a, a, UniTuple(t, 2)))),
    "sgd_momentum": (False, lambda T, t, a: (_updates("sgd_momentum"), (a, a, a, UniTuple(t, 3)))),
    "sgd_nesterov": (False, lambda T, t, a: (_updates("sgd_nesterov"), (a, a, a, UniTuple(t, 3)))),
    "adam": (False, lambda T, t, a: (_updates("adam"), (a, a, a, a, UniTuple(t, 7)))),
    "adamw": (False, lambda T, t, a: (_updates("adamw"), (a, a, a, a, UniTuple(t, 7)))),
    "sums_of_picks": (False, lambda T, t, a: (_indexing()._sums_kernel, (L, L, a, a))),
    "last_of_picks": (False, lambda T, t, a: (_indexing()._lasts_kernel, (L, L, L))),
    "sgd_captured": (False, lambda T, t, a: (_updates("sgd"), (a, a, a))),
    "sgd_momentum_captured": (False, lambda T, t, a: (_updates("sgd_momentum"), (a, a, a, a))),
    "adamw_captured": (False, lambda T, t, a: (_updates("adamw"), (a, a, a, a, a))),
    "dropout": (False, lambda T, t, a: (_random()._kernel(T), (a, UniTuple(uint64, 2), uint64, t))),
    "dropout_captured": (False, lambda T, t, a: (_random()._kernel(T), (a, uint64[::1], uint64, t))),
    "numbers_of_a_step": (False, lambda T, t, a: (_captures()._write(), (a, UniTuple(t, 16)))),
    "maxout": (False, lambda T, t, a: (_maxout().maxout(T), (a, i, i, a, L))),
    "maxout_backward": (False, lambda T, t, a: (_maxout().maxout_backward(T), (a, L, i, i, L, a))),
}


@pytest.mark.parametrize("capability", CAPABILITIES, ids=lambda c: f"{c[0]}.{c[1]}")
@pytest.mark.parametrize("number", [float32, float64], ids=str)
@pytest.mark.parametrize("name", KERNELS)
def test_machine_code(name, number, capability, monkeypatch, tmp_path):
    vectors, make = KERNELS[name]
    ptx = compiled(*make(np.dtype(str(number)), number, number[::1]), capability, monkeypatch)
    assert number is float64 or ".f64" not in ptx
    assert "call" not in ptx
    assert not vectors or f"ld.global.v{4 if number is float32 else 2}.f" in ptx
    assembled(ptx, capability, tmp_path)


def compiled(kernel, types, capability, monkeypatch):
    from numba import cuda
    from numba.cuda import dispatcher

    # device functions are compiled for the current device, also where there is none
    device = SimpleNamespace(compute_capability=capability, id=0)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    bounds = kernel.targetoptions.get("launch_bounds")
    return cuda.compile_ptx(kernel.py_func, types, cc=capability, launch_bounds=bounds)[0]


@pytest.mark.parametrize("number", [float32, float64], ids=str)
@pytest.mark.parametrize("op", ROW_FUNCTIONS.values(), ids=ROW_FUNCTIONS)
def test_a_row_function_without_formulas_of_an_entry(op, number, monkeypatch, tmp_path):
    """Any plain function of a row, its sums in float64, a thread for each row."""
    for f, count in ((op.forward, 1), (op.backward, 2)):
        types = (*[number[::1]] * count, i, i, i, number[::1])
        ptx = compiled(_rows().whole_rows(f, count), types, CAPABILITIES[0], monkeypatch)
        assert "call" not in ptx
        assembled(ptx, CAPABILITIES[0], tmp_path)


def assembled(ptx, capability, folder, most=128):
    """`ptxas` takes it, and keeps everything in registers, at most so many: 512 threads of a block have room with 128."""
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        return
    newest = re.search(r"release (\d+\.\d+)", subprocess.run([ptxas, "--version"], capture_output=True, text=True).stdout)
    if newest[1].split(".")[0] < "13":
        return
    # PTX 9.x of a compiler newer than this assembler: nothing in it is newer than 9.0, or it would say so
    ptx = re.sub(r"^\.version 9\..*", ".version 9.0", ptx, flags=re.MULTILINE)
    (folder / "kernel.ptx").write_text(ptx)
    command = [ptxas, "-v", f"-arch=sm_{capability[0]}{capability[1]}", "-o", os.devnull, folder / "kernel.ptx"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in done.stderr, done.stderr
    registers = int(re.search(r"Used (\d+) registers", done.stderr)[1])
    assert registers <= most


def test_cupy_has_what_tensors_call():
    cupy = pytest.importorskip("cupy")
    from nbgrad.cuda.device.simulator import KNOWN, LACKING

    ufuncs = {ufunc.__name__ for ufunc in vars(np).values() if isinstance(ufunc, np.ufunc)}
    assert not [name for name in KNOWN | ufuncs - LACKING if not hasattr(cupy, name)]
