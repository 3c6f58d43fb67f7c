"""Another library has changed how a thread computes: no part of an array is computed otherwise than the rest."""

import platform

import pytest
from processes import run

from nbgrad.jit.arithmetic import arithmetic

x86 = pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the switch is written for x86")

# MXCSR by compiled code: 0x8000 flushes results, 0x40 takes subnormal operands as 0, 0x2000 rounds down, 0x4000 up.
SWITCH = """
import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
@intrinsic
def set_mxcsr(typingctx, value):
    def generate(context, builder, signature, args):
        place = cgutils.alloca_once_value(builder, builder.trunc(args[0], ir.IntType(32)))
        pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [pointer.type])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.sse.ldmxcsr"), [pointer])
        return context.get_dummy_value()
    return types.none(types.int64), generate
@njit
def mode(bits):
    set_mxcsr(0x1F80 | bits)
mode(0)
"""


def test_the_default():
    assert arithmetic() == ""


@x86
def test_what_is_told(tmp_path):
    code = """
from nbgrad.jit.arithmetic import arithmetic
from nbgrad.training.info import info
import threading
found = []
for bits in (0x8000, 0x40, 0x8040, 0x2000, 0x4000, 0x6000):
    mode(bits)
    found.append(arithmetic())
    mode(0)
    assert arithmetic() == ""
mode(0x8040)
assert info()["arithmetic"] == found[0] != ""
mode(0)
assert "default" in info()["arithmetic"]
print(*found, sep="|")
"""
    flushed, rounded = "subnormal numbers are flushed to 0", "results are not rounded to the nearest number"
    assert run(SWITCH + code, tmp_path) == "|".join([flushed] * 3 + [rounded] * 3)


@x86
@pytest.mark.parametrize("bits", [0x8000, 0x40, 0x8040, 0x4000])
def test_no_part_of_an_array_is_another(bits, tmp_path_factory):
    """Parallel loops, before and after Numba's threads have started; and the passes of `nbgrad.jit.thread_map`."""
    code = f"""
from nbgrad import kernels, regression
from nbgrad.jit import serial_loops
tiny = np.tile(np.array([1e-40, -3e-42, 1.5, -95], np.float32), 50_000)
X, y = tiny[:60_000].reshape(-1, 4), np.arange(15_000) % 2
def results():
    return [
        kernels.relu(tiny), kernels.leaky_relu(tiny), kernels.sigmoid(tiny), kernels.sigmoid_backward(tiny, tiny),
        kernels.softmax(tiny.reshape(-1, 8)), kernels.mse_loss_value_and_grad(tiny, -tiny)[1],
        regression.logistic_value_and_grad(np.full(5, 0.1), X, y)[1],
    ]
def check():
    mode({bits})
    found = results()
    with serial_loops():
        alone = results()
    mode(0)
    assert all((a.view(np.uint8) == b.view(np.uint8)).all() for a, b in zip(found, alone))
    for a in (found[0], found[1], found[2], found[3], found[5]):
        assert (a.reshape(-1, 4) == a[:4]).all(), "the same number, another result"
    return found
first = check()  # Numba's threads do not run yet
before = results()
assert (before[2] > 0).all() and (before[1] != 0).all(), "and later threads do not inherit the state"
second = check()  # now they do
assert all((a.view(np.uint8) == b.view(np.uint8)).all() for a, b in zip(first, second))
print("good")
"""
    cache = tmp_path_factory.getbasetemp() / "numba_of_arithmetic"
    assert run(SWITCH + code, cache, NUMBA_NUM_THREADS="2") == "good"


@x86
def test_gradient_checks_refuse_it(tmp_path):
    code = """
from nbgrad import kernels, testing
x = np.array([0.5, -3.0])
for bits in (0x8040, 0x4000):
    mode(bits)
    try:
        testing.check_gradient(kernels.sigmoid, kernels.sigmoid_backward, x)
    except RuntimeError as error:
        message = str(error)
    mode(0)
    assert message.startswith("arithmetic: expected the default"), message
testing.check_gradient(kernels.sigmoid, kernels.sigmoid_backward, x)
print("good")
"""
    assert run(SWITCH + code, tmp_path) == "good"
