"""The path of an elementwise kernel from a caller's arguments to the compiled loop, for every operator of
`nbgrad.ops`.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from nbgrad.arrays import (
    FLOAT32,
    FLOAT64,
    as_float,
    as_floats,
    broadcast,
    check_number,
    contiguous,
    output,
    store,
)
from nbgrad.backends import cpu
from nbgrad.jit import Loop
from nbgrad.ops import Elementwise

__all__ = ["Kernel"]

_ndarray = np.ndarray


class Kernel:
    """One operator on arrays: `forward` and `backward`, thin under the public functions of
    `nbgrad.kernels`.
    """

    def __init__(self, op: Elementwise) -> None:
        self.op = op
        # default parameters, converted once: making a NumPy scalar costs 0.1 µs
        self.defaults = [tuple(t.type(v) for v in op.parameters.values()) for t in (FLOAT64, FLOAT32)]
        self.default_values = tuple(op.parameters.values())

    @functools.cached_property
    def forward_loop(self) -> Loop:
        return cpu.forward(self.op)

    @functools.cached_property
    def backward_loop(self) -> Loop:
        return cpu.backward(self.op)

    def parameters(self, values: tuple[Any, ...], dtype: np.dtype[Any]) -> tuple[Any, ...]:
        if values == self.default_values and all([type(v) is float for v in values]):
            return self.defaults[dtype is FLOAT32]
        return tuple(check_number(v, name, dtype) for name, v in zip(self.op.parameters, values, strict=True))

    # The shortest way first, 0.6 µs, for what is called most: 1-D arrays as Numba likes them. Everything else takes the
    # general way.

    def forward(self, x: Any, out: Any, *parameters: Any) -> Any:
        if (
            type(x) is _ndarray and type(out) is _ndarray and (dtype := x.dtype) is out.dtype
            and (dtype is FLOAT32 or dtype is FLOAT64) and x.ndim == out.ndim == 1
            and x.flags.carray and out.flags.carray
            and self.forward_loop(x.size, x, out, *(self.parameters(parameters, dtype) if parameters else ()))
        ):  # fmt: skip
            return out
        x = as_float(x, "x")
        return run(self.forward_loop, [x], x.shape, x.dtype, out, self.parameters(parameters, x.dtype))

    def backward(self, grad_output: Any, x: Any, out: Any, *parameters: Any) -> Any:
        if (
            type(x) is _ndarray and type(out) is _ndarray and type(grad_output) is _ndarray
            and (dtype := x.dtype) is out.dtype and dtype is grad_output.dtype
            and (dtype is FLOAT32 or dtype is FLOAT64) and x.ndim == out.ndim == grad_output.ndim == 1
            and x.flags.carray and out.flags.carray and grad_output.flags.carray
            and self.backward_loop(
                x.size, grad_output, x, out, *(self.parameters(parameters, dtype) if parameters else ())
            )
        ):  # fmt: skip
            return out
        arrays, dtype = as_floats({"grad_output": grad_output, "x": x})
        shape = broadcast({"grad_output": arrays[0], "x": arrays[1]})
        return run(self.backward_loop, arrays, shape, dtype, out, self.parameters(parameters, dtype))


def run(
    loop: Loop, inputs: list[Any], shape: tuple[int, ...], dtype: Any, out: Any, parameters: tuple[Any, ...]
) -> Any:
    """Run an elementwise loop on arrays of one dtype that broadcast to ``shape``; any layout of the inputs
    and of ``out``.
    """
    if out is not None:
        output(out, shape, dtype)
        direct = out.flags.carray and out.dtype.isnative
    else:
        direct = False
    flat = [contiguous(a, shape).reshape(-1) for a in inputs]
    if direct and loop(out.size, *flat, out.reshape(-1), *parameters):
        return out
    result = np.empty(shape, dtype)  # fresh memory: `out` is absent, or not contiguous, or overlaps an input
    loop(result.size, *flat, result.reshape(-1), *parameters)
    return store(result, out)
