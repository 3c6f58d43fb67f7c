"""The path of an elementwise kernel from a caller's arguments to the compiled loop, for every operator of
`nbgrad.ops`.
"""

from __future__ import annotations

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
        self.defaults = {t: tuple(t.type(v) for v in op.parameters.values()) for t in (FLOAT32, FLOAT64)}
        self.default_values = tuple(op.parameters.values())

    def parameters(self, values: tuple[Any, ...], dtype: np.dtype[Any]) -> tuple[Any, ...]:
        if all([type(v) is float for v in values]) and values == self.default_values:
            return self.defaults[dtype]
        return tuple(check_number(v, name, dtype) for name, v in zip(self.op.parameters, values, strict=True))

    def forward(self, x: Any, out: Any, *parameters: Any) -> Any:
        # The shortest way, 0.5 µs, for what is called most: 1-D arrays as Numba likes them. Everything else
        # takes the general way.
        if (
            type(x) is _ndarray and type(out) is _ndarray and x.ndim == 1 and out.ndim == 1
            and x.dtype is out.dtype and (x.dtype is FLOAT32 or x.dtype is FLOAT64)
            and x.flags.carray and out.flags.carray
            and cpu.forward(self.op)(x.size, x, out, *self.parameters(parameters, x.dtype))
        ):  # fmt: skip
            return out
        x = as_float(x, "x")
        return run(cpu.forward(self.op), [x], x.shape, x.dtype, out, self.parameters(parameters, x.dtype))

    def backward(self, grad_output: Any, x: Any, out: Any, *parameters: Any) -> Any:
        if (
            type(x) is _ndarray and type(out) is _ndarray and type(grad_output) is _ndarray
            and x.ndim == 1 and out.ndim == 1 and grad_output.ndim == 1
            and x.dtype is out.dtype and x.dtype is grad_output.dtype
            and (x.dtype is FLOAT32 or x.dtype is FLOAT64)
            and x.flags.carray and out.flags.carray and grad_output.flags.carray
            and cpu.backward(self.op)(x.size, grad_output, x, out, *self.parameters(parameters, x.dtype))
        ):  # fmt: skip
            return out
        arrays, dtype = as_floats({"grad_output": grad_output, "x": x})
        shape = broadcast({"grad_output": arrays[0], "x": arrays[1]})
        return run(cpu.backward(self.op), arrays, shape, dtype, out, self.parameters(parameters, dtype))


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
