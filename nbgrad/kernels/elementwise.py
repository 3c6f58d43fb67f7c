"""The path of an elementwise kernel from a caller's arguments to the compiled loop, for every operator of
`nbgrad.formulas.table`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbgrad.arguments import check_number, plain
from nbgrad.arrays import FLOAT32, FLOAT64, broadcast
from nbgrad.cpu import elementwise as cpu
from nbgrad.formulas.table import Elementwise
from nbgrad.jit import Loop
from nbgrad.jit.locks import lazy
from nbgrad.kernels import foreign
from nbgrad.place import CPU, place_of

__all__ = ["Kernel"]

_ndarray = np.ndarray


class Kernel:
    """One operator on arrays: `forward` and `backward`, thin under the public functions of
    `nbgrad.kernels`.
    """

    def __init__(self, op: Elementwise) -> None:
        self.op = op
        self.defaults = tuple(op.parameters.values())

    @lazy
    def forward_loop(self) -> Loop:
        return cpu.forward(self.op)

    @lazy
    def backward_loop(self) -> Loop:
        return cpu.backward(self.op)

    def parameters(self, values: tuple[Any, ...], dtype: np.dtype[Any]) -> tuple[Any, ...]:
        """The parameters as Python's floats, which Numba takes fastest, in the range of ``dtype``."""
        return tuple(float(check_number(v, name, dtype)) for name, v in zip(self.op.parameters, values, strict=True))

    def ufunc(self, suffix: str, nin: int, parameters: tuple[Any, ...]) -> foreign.Ufunc:
        """The kernel for other libraries, its parameters checked: a lazy array's blocks would tell later."""
        named = dict(zip(self.op.parameters, map(plain, parameters), strict=True))
        for name, value in named.items():
            check_number(value, name, FLOAT64)
        return foreign.Ufunc(self.op.name + suffix, nin, named)

    # The shortest way first, 0.3 µs, for what is called most: arrays that Numba takes as they are. All else takes the
    # general way. (What looks like a helper's work is written out: a call is 0.05 µs.)

    def forward(self, x: Any, out: Any, *parameters: Any) -> Any:
        if type(x) is _ndarray and x.flags.carray and ((dtype := x.dtype) is FLOAT32 or dtype is FLOAT64):
            values = parameters
            if values and not (type(values[0]) is type(values[-1]) is float and values == self.defaults):
                values = self.parameters(values, dtype)
            loop, work = self.forward_loop, x.nbytes >> 2
            if type(out) is _ndarray:
                if out.dtype is dtype and out.flags.carray:
                    if x.ndim == out.ndim == 1:
                        if work <= loop.threshold:
                            if loop.serial_of[dtype](x, out, values):
                                return out
                        elif loop.of_dtype(dtype, work, x, out, values):
                            return out
                    elif x.shape == out.shape and loop.of_dtype(dtype, work, x.ravel(), out.ravel(), values):
                        return out
            elif out is None and x.ndim:
                if x.ndim == 1:
                    out = np.empty(x.size, dtype)
                    loop.of_dtype(dtype, work, x, out, values)
                else:
                    out = np.empty(x.shape, dtype)
                    loop.of_dtype(dtype, work, x.ravel(), out.ravel(), values)
                return out
        if type(x) is _ndarray and (out is None or type(out) is _ndarray):
            place = CPU
        else:
            place = place_of(x=x, out=out)
            if place is CPU and foreign.among(x, out):
                return foreign.apply(self.ufunc("", 1, parameters), {"x": x}, out)
        with place:
            x = place.as_float(x, "x")
            values = self.parameters(parameters, x.dtype) if parameters else ()
            out = place.out(out, x.shape, x.dtype)
            return place.result(place.elementwise("forward", self.op, [x], x.shape, out, values), out)

    def backward(self, grad_output: Any, x: Any, out: Any, *parameters: Any) -> Any:
        if (
            type(x) is type(grad_output) is _ndarray and x.flags.carray and grad_output.flags.carray
            and ((dtype := x.dtype) is FLOAT32 or dtype is FLOAT64) and dtype is grad_output.dtype
        ):  # fmt: skip
            values = parameters
            if values and not (type(values[0]) is type(values[-1]) is float and values == self.defaults):
                values = self.parameters(values, dtype)
            loop, work = self.backward_loop, x.nbytes >> 2
            if type(out) is _ndarray:
                if out.dtype is dtype and out.flags.carray and x.ndim == grad_output.ndim == out.ndim == 1:
                    if work <= loop.threshold:
                        if loop.serial_of[dtype](grad_output, x, out, values):
                            return out
                    elif loop.of_dtype(dtype, work, grad_output, x, out, values):
                        return out
            elif out is None and x.ndim and x.shape == grad_output.shape:
                out = np.empty(x.shape, dtype)
                if x.ndim == 1:
                    loop.of_dtype(dtype, work, grad_output, x, out, values)
                else:
                    loop.of_dtype(dtype, work, grad_output.ravel(), x.ravel(), out.ravel(), values)
                return out
        if type(x) is type(grad_output) is _ndarray and (out is None or type(out) is _ndarray):
            place = CPU
        else:
            place = place_of(grad_output=grad_output, x=x, out=out)
            if place is CPU and foreign.among(grad_output, x, out):
                ufunc = self.ufunc("_backward", 2, parameters)
                return foreign.apply(ufunc, {"grad_output": grad_output, "x": x}, out)
        with place:
            arrays, dtype = place.as_floats({"grad_output": grad_output, "x": x})
            shape = broadcast({"grad_output": arrays[0], "x": arrays[1]})
            values = self.parameters(parameters, dtype) if parameters else ()
            out = place.out(out, shape, dtype)
            return place.result(place.elementwise("backward", self.op, arrays, shape, out, values), out)
