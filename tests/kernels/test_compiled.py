"""The public activations inside a user's ``@njit`` function give what they give outside, for numbers and arrays, whatever
that function's options are. (Rows and losses: ``test_compiled_rows.py``, ``test_compiled_losses.py``.)
"""

import inspect
import math

import numpy as np
import pytest
from numba import njit, prange
from numba.core.errors import TypingError
from reference import float_inputs
from strategies import DTYPES, FEW_OPS, nearly_same, same_bits

from nbgrad import kernels
from nbgrad.formulas.table import OPS

RNG = np.random.default_rng(0)
X = RNG.normal(size=(4, 6)) * 3
G = RNG.normal(size=(4, 6))

# everything but nnan and ninf, which would remove the tests for nan and inf
FLAGS = {"contract", "reassoc", "nsz", "arcp", "afn"}
KERNELS = [name for op in OPS for name in (op, op + "_backward")]
OF_ARRAYS = [name for op in FEW_OPS for name in (op, op + "_backward")]


def call(name, place=""):
    """The source of a kernel's call on ``x`` and, for a gradient, on ``g``."""
    return f"{name}(g{place}, x{place})" if name.endswith("_backward") else f"{name}(x{place})"


def plain(name, g, x):
    return getattr(kernels, name)(*((g, x) if name.endswith("_backward") else (x,)))


def users_function(lines, **options):
    """A function of ``(g, x, numbers)`` that may call every kernel: one, because each takes its time to compile."""
    namespace = {"prange": prange, **{name: getattr(kernels, name) for name in KERNELS}}
    exec("\n".join(["def f(g, x, numbers):", *lines]), namespace)
    return njit(**options)(namespace["f"])


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_kernel_of_a_number(dtype):
    f = users_function([f" return ({', '.join(map(call, KERNELS))})"])
    for x, g in ((0.5, 2.0), (-1.25, -0.75), (0.0, 1.0)):
        x, g = dtype(x), dtype(g)
        for name, value in zip(KERNELS, f(g, x, None), strict=True):
            expected = plain(name, g, x)
            assert type(expected) is dtype and value == expected, name
    (signature,) = f.nopython_signatures
    assert {str(kind) for kind in signature.return_type} == {dtype.__name__}


def test_a_number_stays_float32():
    @njit
    def f(x):
        return kernels.leaky_relu(x, negative_slope=0.25)

    f(np.float32(1))
    assert str(f.nopython_signatures[0].return_type) == "float32"


def test_layouts_of_arrays():
    """Each is compiled anew; the elements are the same function whatever the layout."""

    @njit
    def array(x, g):
        return kernels.sigmoid(x), kernels.sigmoid_backward(g, x)

    x, g = X.astype(np.float32), np.float32(0.75)
    for layout in (x, x[:0], x.T, x[::2, ::-1]):
        gradient = np.full(layout.shape, g)
        value, slope = array(layout, gradient)
        same_bits(value, kernels.sigmoid(layout))
        same_bits(slope, kernels.sigmoid_backward(gradient, layout))


@pytest.mark.parametrize(
    ("dtype", "of_numbers", "of_arrays", "options"),
    [
        (np.float32, KERNELS, OF_ARRAYS, {"fastmath": FLAGS}),
        (np.float64, KERNELS, [], {"fastmath": FLAGS}),
        (np.float64, OF_ARRAYS, OF_ARRAYS, {"fastmath": FLAGS, "parallel": True}),
    ],
    ids=["float32", "float64", "float64-parallel"],
)
def test_a_callers_options_change_nothing(dtype, of_numbers, of_arrays, options):
    """In loops over numbers, one for each kernel, which LLVM vectorises; and on arrays. (One parallel loop for all kernels:
    each takes seconds to compile.)
    """
    x = np.append(float_inputs(dtype, 3000), np.array([0.0, -0.0, np.inf, -np.inf, np.nan], dtype))
    g = np.random.default_rng(0).normal(size=x.size).astype(dtype)
    numbers = np.empty((len(of_numbers), x.size), dtype)
    loop, lines = " for i in prange(x.size):", []
    for k, name in enumerate(of_numbers):
        lines += [loop] * (k == 0 or "parallel" not in options) + [f"  numbers[{k}, i] = {call(name, '[i]')}"]
    arrays = users_function([*lines, f" return ({', '.join(map(call, of_arrays))})"], **options)(g, x, numbers)
    for name, result in (*zip(of_numbers, numbers, strict=True), *zip(of_arrays, arrays, strict=True)):
        same_bits(result, plain(name, g, x))


def test_parameters_integers_out_and_broadcasting():
    @njit
    def parameters(x):
        return (
            kernels.elu(x, alpha=2.0),
            kernels.elu_backward(1.0, x, alpha=2.0),
            kernels.leaky_relu(x, negative_slope=0.5),
        )

    for compiled, plain in zip(
        parameters(X),
        (
            kernels.elu(X, alpha=2.0),
            kernels.elu_backward(1.0, X, alpha=2.0),
            kernels.leaky_relu(X, negative_slope=0.5),
        ),
        strict=True,
    ):
        nearly_same(compiled, plain)

    @njit
    def integers(x):
        return kernels.sigmoid(x)

    nearly_same(integers(np.arange(3)), kernels.sigmoid(np.arange(3)))
    assert integers(2) == kernels.sigmoid(2)

    @njit
    def into(x, out):
        kernels.tanh(x, out=out)

    for out in (np.empty_like(X), np.empty((6, 4)).T, X.copy()):
        into(X, out)
        nearly_same(out, kernels.tanh(X))
    line = np.linspace(-2, 2, 9)
    expected = kernels.tanh(line[:-1])
    into(line[:-1], line[1:])  # overlapping memory
    nearly_same(line[1:], expected)
    with pytest.raises(ValueError, match="out: expected"):
        into(X, np.empty((6, 4)))

    @njit
    def broadcast(g, x):
        return kernels.sigmoid_backward(g, x)

    nearly_same(broadcast(G[0], X), kernels.sigmoid_backward(G[0], X))
    nearly_same(broadcast(2.0, X), kernels.sigmoid_backward(2.0, X))
    nearly_same(broadcast(G[:, :1], X[0]), kernels.sigmoid_backward(G[:, :1], X[0]))


def test_in_a_parallel_loop():
    @njit(parallel=True)
    def f(x):
        total = 0.0
        for i in prange(x.size):
            total += kernels.tanh_backward(1.0, x[i])
        return total

    x = np.linspace(-3, 3, 1000)
    assert math.isclose(f(x), kernels.tanh_backward(1.0, x).sum(), rel_tol=1e-12)


def test_what_is_not_a_real_number_is_refused_at_compile_time():
    @njit
    def f(x):
        return kernels.sigmoid(x)

    for bad in (1j, np.zeros(3, np.complex128), "a"):
        with pytest.raises(TypingError):
            f(bad)


def test_every_public_kernel_can_be_compiled():
    from numba.core.registry import cpu_target

    context = cpu_target.typing_context
    context.refresh()
    for name in kernels.__all__:
        function = getattr(kernels, name)
        assert inspect.isfunction(function) and function.__doc__
        assert context.resolve_value_type(function) is not None  # raises for a function without an overload
