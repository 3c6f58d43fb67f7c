"""The elementwise kernels and `nbgrad.elementary` on numbers inside ``@cuda.jit``: in Numba's simulator, compiled to PTX without a GPU,
and on a GPU where there is one.
"""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import mpmath
import numpy as np
import pytest
from numba import float32, float64, int64, njit
from numba.extending import register_jitable
from ptx import Program
from reference import DIGITS, MPMATH, derivative, exact, float_inputs, worst_ulps
from strategies import DTYPES, same_bits

import nbgrad
from nbgrad import elementary, kernels
from nbgrad.formulas.table import OPS

# name: (function of numbers, the same in exact arithmetic)
FUNCTIONS = {
    **{n: (getattr(elementary, n), MPMATH.get(n, getattr(mpmath, n))) for n in elementary.__all__},
    **{n: (getattr(kernels, n), exact(op.forward)) for n, op in OPS.items()},
    **{n + "_backward": (getattr(kernels, n + "_backward"), exact(op.derivative)) for n, op in OPS.items()},
}
PARAMETERS = {"_".join(n.split("_backward")): tuple(op.parameters.values()) for n, op in OPS.items()}
TYPES = {np.float32: float32, np.float64: float64}


#: Gradients that cross zero, with the formula whose slope they are.
CROSSING = {n + "_backward": exact(op.forward) for n, op in OPS.items() if op.crosses_zero}


def near_zero(name, dtype):
    """Numbers around where the gradient crosses zero, from a few ulp to an eighth away, if it does."""
    if name not in CROSSING:
        return np.empty(0, dtype)
    with mpmath.workdps(DIGITS[np.dtype(dtype)]):
        zero = float(mpmath.findroot(lambda x: derivative(CROSSING[name], x), (-2, -0.5), solver="illinois", tol=1e-40))
    steps = np.exp2(-np.linspace(3, np.finfo(dtype).nmant, 30))
    return (zero * np.concatenate([1 - steps, [1], 1 + steps])).astype(dtype)


def of_one_number(name):
    """The function of x alone: a gradient of 1 flows back."""
    function = FUNCTIONS[name][0]
    if name.endswith("_backward"):
        return lambda x: function(type(x)(1), x)
    return lambda x: function(x)


@pytest.fixture
def ptx_of(monkeypatch):
    """``ptx_of(function, types, result)``: the PTX of the kernel ``y[0] = function(x[0])``, for compute capability 9.0."""
    from numba.cuda import dispatcher

    from nbgrad.cuda.device import cuda  # mends what stands in the way of NumPy 2.5

    # device functions are compiled for the current device, also where there is none
    device = SimpleNamespace(compute_capability=(9, 0), id=0)
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)

    def compile_to_ptx(function, kind, result=None):
        called = register_jitable(function)

        def kernel(y, x):
            y[0] = called(x[0])

        return cuda.compile_ptx(kernel, ((result or kind)[::1], kind[::1]), cc=(9, 0))[0]

    return compile_to_ptx


@pytest.mark.cuda
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_ptx_computes_what_the_cpu_computes(name, dtype, ptx_of):
    """To the last bit as it stands; and as close as the contract says if `ptxas` fuses products with sums."""
    function = of_one_number(name)
    ptx = ptx_of(function, TYPES[dtype])
    assert dtype is np.float64 or ".f64" not in ptx, "float64 runs at a 32nd to a 64th of float32's speed on most GPUs"
    assert "call" not in ptx
    x = float_inputs(dtype, 240)
    x = np.concatenate([x, near_zero(name, dtype), np.array([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype)])
    compiled, program = njit(function), Program(ptx)
    same_bits(np.array([program(v) for v in x]), np.array([compiled(v) for v in x], dtype))
    x = np.append(float_inputs(dtype, 120, seed=1), near_zero(name, dtype))
    if name in ("log", "log1p"):
        x = np.abs(x)
    fused = Program(ptx, contract=True)
    parameters = PARAMETERS.get(name.removesuffix("_backward"), ())
    error, where = worst_ulps(
        np.array([fused(v) for v in x]),
        x,
        FUNCTIONS[name][1],
        *(np.full(x.size, p, dtype) for p in parameters),
        crosses_zero=name in CROSSING,
    )
    assert error <= 2, f"{error:.3f} ulp at {where!r}"


@pytest.mark.cuda
def test_parameters_and_integers_in_ptx(ptx_of):
    slope = ptx_of(lambda x: kernels.leaky_relu(x, negative_slope=0.25), float32)
    assert Program(slope)(np.float32(-2)) == np.float32(-0.5) and ".f64" not in slope
    alpha = ptx_of(lambda x: kernels.elu_backward(x, -x, alpha=2.0), float32)
    assert Program(alpha)(np.float32(3)) == kernels.elu_backward(np.float32(3), np.float32(-3), alpha=2.0)
    assert ".f64" not in alpha
    for function in (kernels.sigmoid, elementary.exp):
        assert "rn.f64.s64" in ptx_of(lambda x, f=function: f(x), int64, float64)


def launch(**environment):
    # The disk cache stays the run's own: the kernels on the CPU, which the results are compared with, are there already.
    env = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_") or k == "NUMBA_CACHE_DIR"}
    env |= {"PYTHONPATH": str(Path(nbgrad.__file__).parents[1]), **environment}
    script = Path(__file__).with_name("cuda_launch.py")
    done = subprocess.run([sys.executable, script], env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_in_the_simulator():
    """Numba brings the simulator, numba-cuda as well: there formulas run as plain Python."""
    assert launch(NUMBA_ENABLE_CUDASIM="1") == "simulated"


@pytest.mark.cuda
def test_on_a_gpu():
    from numba import cuda

    if not cuda.is_available():
        pytest.skip("no GPU")
    assert launch() == "on a GPU"
